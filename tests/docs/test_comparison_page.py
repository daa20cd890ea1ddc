"""docs/comparison.md: its table is what was measured, of every way and in everything."""

import json
from importlib import import_module
from types import ModuleType

import pytest

from partitioned_etl.engine.project import project_dir

FOLDER = project_dir() / "benchmarks" / "against"
PAGE = project_dir() / "docs" / "comparison.md"


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("compare")


def test_the_table_is_what_was_measured(compare: ModuleType) -> None:
    assert compare.results_table() in PAGE.read_text(encoding="utf-8")


def test_every_way_was_tried_in_everything(compare: ModuleType) -> None:
    ways = json.loads(compare.RESULTS.read_text(encoding="utf-8"))["ways"]
    assert list(ways) == [way.name for way in compare.WAYS]
    assert len({tuple(of_way) for of_way in ways.values()}) == 1
