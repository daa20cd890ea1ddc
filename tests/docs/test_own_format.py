"""A format of one's own, as the page on feeds describes it, loads and refuses like any other."""

from importlib import util

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import registry
from partitioned_etl.engine.settings import project_dir
from support.workbench import Workbench


@pytest.fixture(autouse=True)
def _fixed_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's module, and its line in the registry."""
    path = project_dir() / "docs" / "examples" / "fixed_width.py"
    spec = util.spec_from_file_location("fixed_width", path)
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, module.FixedWidthFormat))


def make_feed(**changes: object) -> Feed:
    declared: dict[str, object] = {
        "name": "stock",
        "pattern": "{key}.dat",
        "columns": {"article": "VARCHAR", "pieces": "BIGINT"},
        "format": {"type": "fixed_width", "widths": [5, 4]},
    }
    return Feed(**declared | changes)  # type: ignore[arg-type]


def test_it_loads_its_files(bench: Workbench) -> None:
    feed = make_feed()
    bench.land(feed, "north.dat", "tea    12\nchai    3\n       0 \n")
    [loaded] = bench.sync(feed).loaded
    assert loaded.rows == 3
    assert bench.rows(feed) == [
        ("chai", 3, "north", "north.dat"),
        ("tea", 12, "north", "north.dat"),
        (None, 0, "north", "north.dat"),
    ]


def test_it_refuses_with_line_and_reason(bench: Workbench) -> None:
    feed = make_feed()
    bench.land(feed, "short.dat", "tea    12\nchai  3\n")
    bench.land(feed, "letters.dat", "tea    12\nchai   o3\n")
    refused = {record.source_file: record.reason for record in bench.sync(feed).refused}
    assert refused == {
        "short.dat": "short.dat: line 2: 7 characters instead of 9",
        "letters.dat": "letters.dat: line 2, column pieces: not a BIGINT",
    }


def test_its_options_are_checked_with_the_feed() -> None:
    with pytest.raises(FeedDefinitionError, match="2 widths for 1 columns"):
        make_feed(columns={"article": "VARCHAR"})
    with pytest.raises(FeedDefinitionError, match=r"format\.widths: is needed"):
        make_feed(format="fixed_width")
