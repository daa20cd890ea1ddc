"""docs/performance.md: it tells of every benchmark, and its table is what was measured."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
NAMES = sorted(
    path.stem for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


@pytest.fixture
def results_table(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "page", raising=False)
    return import_module("page").results_table()


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_its_section(name: str) -> None:
    assert f"\n## {name}\n" in PAGE


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_is_of_a_benchmark_and_has_its_chart(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["name"] == path.stem
    assert path.stem in NAMES
    assert {"measured", "reference", "ratio", "must", "met", "machine", "versions"} <= set(result)
    assert (ROOT / "docs" / "images" / f"{path.stem}.png").is_file()
    assert f"\n![{path.stem}](images/{path.stem}.png)\n" in PAGE


def test_the_table_is_what_was_measured(results_table: str) -> None:
    assert RESULTS
    assert results_table in PAGE
