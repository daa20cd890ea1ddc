"""docs/performance.md: it tells of every benchmark, and its table is what was measured."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PAGE = ROOT / "docs" / "performance.md"
NAMES = sorted(
    path.stem
    for path in BENCHMARKS.glob("*/*.py")
    if "\nfrom measure import" in path.read_text(encoding="utf-8")
)


@pytest.fixture
def results_table(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "page", raising=False)
    return import_module("page").results_table()


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_its_result_its_chart_and_its_section(name: str) -> None:
    result = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert result["name"] == name
    assert {"measured", "reference", "ratio", "must", "met", "machine", "versions"} <= set(result)
    assert (ROOT / "docs" / "images" / f"{name}.png").is_file()
    assert f"\n## {name}\n\n![{name}](images/{name}.png)\n" in PAGE.read_text(encoding="utf-8")


def test_every_result_is_of_a_benchmark() -> None:
    assert sorted(path.stem for path in (BENCHMARKS / "results").glob("*.json")) == NAMES


def test_the_table_is_what_was_measured(results_table: str) -> None:
    assert results_table in PAGE.read_text(encoding="utf-8")
