"""A file that two feeds take, which nobody could tell before it landed, is loaded by neither."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components import isolation
from partitioned_etl.engine.landing.local import LocalLanding
from support.define import DefinedFeed, define_feed, define_location
from support.location import Location
from support.workbench import NOTES, change_feed

PREFIXED = change_feed(NOTES, folder="in", pattern="a_{key}.csv")
SUFFIXED = change_feed(PREFIXED, name="others", table="others", pattern="{key}_b.csv")
REASONS = {
    "notes": "feed others takes this file, too: neither loads it",
    "others": "feed notes takes this file, too: neither loads it",
}


@pytest.fixture
def folder(landing_dir: Path, database: Path) -> Path:
    """The folder of two feeds, with a file of each and one of both."""
    folder = landing_dir / "in"
    folder.mkdir()
    for name in ("a_x.csv", "x_b.csv", "a_x_b.csv"):
        (folder / name).write_text("id,note\n1,x\n", encoding="utf-8")
    return folder


@pytest.fixture
def feeds() -> list[DefinedFeed]:
    """The two feeds, defined anew, because each is told of the other."""
    return [define_feed(PREFIXED), define_feed(SUFFIXED)]


def test_neither_a_tick_nor_a_person_loads_it(
    folder: Path,
    feeds: list[DefinedFeed],
    instance: dg.DagsterInstance,
    query: Callable[..., list[tuple[Any, ...]]],
) -> None:
    defs = isolation.Location(define_location(*feeds)).definitions
    for defined, key in zip(feeds, ("x_b", "a_x"), strict=True):
        location = Location(defs, defined, instance)
        assert location.settle() == [["x"]]
        instance.add_dynamic_partitions(defined.feed.name, [key])
        result = location.materialize(key)
        assert not result.success
        [failed] = result.get_step_failure_events()
        assert REASONS[defined.feed.name] in str(failed.step_failure_data.user_failure_data)
        passed, named = location.check()
        assert not passed
        assert named[0].endswith(f"(a_x_b.csv: {REASONS[defined.feed.name]})")
    assert query("SELECT feed, source_file FROM file_loads ORDER BY 1") == [
        ("notes", "a_x.csv"),
        ("others", "x_b.csv"),
    ]


def test_a_version_that_another_feed_takes_leaves_no_room_for_an_older_one(
    landing_dir: Path,
) -> None:
    versions = define_feed(change_feed(PREFIXED, pattern="{key}_v{version}.csv"))
    second = define_feed(change_feed(SUFFIXED, pattern="{key}_v2.csv"))
    isolation.Location(define_location(versions, second))
    (landing_dir / "in").mkdir()
    for name in ("x_v1.csv", "x_v2.csv"):
        (landing_dir / "in" / name).write_text("id,note\n1,x\n", encoding="utf-8")
    listing = versions.assets.list_files(LocalLanding(landing_dir, settle_seconds=0))
    assert listing.files == {}
    assert list(listing.superseded) == ["x_v1.csv"]
    assert [(one.name, one.reason) for one in listing.refused] == [("x_v2.csv", REASONS["notes"])]
