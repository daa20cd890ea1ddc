"""docs/comparison.md: its table is what was measured, of every way and in everything."""

import json
import re
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


def test_the_lines_of_the_recipes_are_counted() -> None:
    recipes = (project_dir() / "docs" / "recipes.md").read_text(encoding="utf-8")
    feeds = re.findall(r"^```yaml\n(.*?)^```$", recipes, re.DOTALL | re.MULTILINE)
    lines = [line.strip() for feed in feeds for line in feed.splitlines()]
    count = sum(bool(line) and not line.startswith("#") for line in lines)
    assert len(feeds) == 10
    assert f"other two were not asked for, are {count} lines." in PAGE.read_text(encoding="utf-8")


def test_the_lines_of_each_way_are_those_of_its_files(compare: ModuleType) -> None:
    ways = json.loads(compare.RESULTS.read_text(encoding="utf-8"))["ways"]
    count_lines = import_module("ways").count_lines
    told = {name: of_way["lines written by the user"] for name, of_way in ways.items()}
    assert told == {way.name: str(count_lines(way)) for way in compare.WAYS}
