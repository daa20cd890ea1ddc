"""A format of one's own, as the page on feeds describes it, loads and refuses like any other."""

from importlib import util

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import registry
from partitioned_etl.engine.project import project_dir
from support.workbench import Workbench


@pytest.fixture(autouse=True)
def _name_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's module, and its line in the registry."""
    path = project_dir() / "docs" / "examples" / "name_value.py"
    spec = util.spec_from_file_location("name_value", path)
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, module.NameValueFormat))


def make_feed(**changes: object) -> Feed:
    declared: dict[str, object] = {
        "name": "stock",
        "pattern": "{key}.pairs",
        "columns": {"article": "VARCHAR", "pieces": "BIGINT"},
        "format": {"type": "name_value"},
    }
    return Feed(**declared | changes)  # type: ignore[arg-type]


def test_it_loads_its_files(bench: Workbench) -> None:
    feed = make_feed()
    bench.land(
        feed, "north.pairs", "article=tea;pieces=12\npieces=3;article=chai\narticle=;pieces=0\n"
    )
    [loaded] = bench.sync(feed).loaded
    assert loaded.rows == 3
    assert bench.rows(feed) == [
        ("chai", 3, "north", "north.pairs"),
        ("tea", 12, "north", "north.pairs"),
        (None, 0, "north", "north.pairs"),
    ]


def test_it_refuses_with_line_and_reason(bench: Workbench) -> None:
    feed = make_feed()
    bench.land(feed, "short.pairs", "article=tea;pieces=12\narticle=chai\n")
    bench.land(feed, "letters.pairs", "article=tea;pieces=12\narticle=chai;pieces=o3\n")
    refused = {record.source_file: record.reason for record in bench.sync(feed).refused}
    assert refused == {
        "short.pairs": "short.pairs: line 2, column pieces: missing",
        "letters.pairs": "letters.pairs: line 2, column pieces: not a BIGINT",
    }


def test_it_has_the_options_of_a_text(bench: Workbench) -> None:
    feed = make_feed(format={"type": "name_value", "encoding": "utf-16", "comment": "#"})
    bench.land(feed, "a.pairs", "# stock\narticle=tea;pieces=12\n".encode("utf-16"))
    assert [record.rows for record in bench.sync(feed).loaded] == [1]


def test_its_options_are_checked_with_the_feed() -> None:
    with pytest.raises(FeedDefinitionError, match="column a=b: no name of a pair"):
        make_feed(columns={"a=b": "VARCHAR"})
    with pytest.raises(FeedDefinitionError, match=r"format\.separator: String should have"):
        make_feed(format={"type": "name_value", "separator": ""})
