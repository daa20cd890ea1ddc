"""Whether two feeds have a file in common is told by sample names, of either."""

from typing import Any

import pytest

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.file_names import FileNamePattern
from partitioned_etl.engine.overlap import key_of_path, list_common_files
from support.workbench import change_feed

DAY = "2018-01-22"
NAMED = Feed(name="named", folder="in", pattern="{key}.csv", columns={"id": "BIGINT"})
DAILY = change_feed(NAMED, name="daily", pattern="{date:%Y-%m-%d}.csv")


@pytest.mark.parametrize(
    ("pattern", "key", "name"),
    [
        ("{key}.csv", "acme", "acme.csv"),
        ("{date:%Y%m%d}{any}.csv", DAY, "20180122.csv"),
        ("{date:%Y}/{key}_{date:%Y-%m}.csv.gz", "acme|2018-01-01", "2018/acme_2018-01.csv.gz"),
        ("{date:%G-W%V}.csv", DAY, "2018-W04.csv"),
        ("{date:%Y%m%dT%H}.csv", "2018-01-22-13:00", "20180122T13.csv"),
    ],
)
def test_a_name_is_made_of_a_key(pattern: str, key: str, name: str) -> None:
    names = FileNamePattern(pattern)
    assert names.name_of(key) == name
    match = names.match(name)
    assert match
    assert names.key_of(match) == key


COMMON: dict[str, tuple[Feed, str, dict[str, Any], list[tuple[str, str, str]]]] = {
    "a day is a name": (DAILY, DAY, {}, [(f"in/{DAY}.csv", DAY, DAY)]),
    "a folder within": (
        DAILY,
        DAY,
        {"folder": ".", "pattern": "in/{key}.csv"},
        [(f"in/{DAY}.csv", DAY, DAY)],
    ),
    "a compressed file": (
        change_feed(DAILY, pattern="{date:%Y-%m-%d}.csv.gz"),
        DAY,
        {},
        [(f"in/{DAY}.csv.gz", DAY, DAY)],
    ),
    "another ending": (DAILY, DAY, {"pattern": "{key}.txt"}, []),
    "another folder": (DAILY, DAY, {"folder": "in2"}, []),
    "a folder below": (DAILY, DAY, {"folder": "in/more"}, []),
    "other characters": (DAILY, DAY, {"key_pattern": "[a-z]+"}, []),
    "a day that is none": (change_feed(DAILY, partitioning="weekdays"), "2018-01-21", {}, []),
}


@pytest.mark.parametrize(("feed", "key", "changes", "found"), COMMON.values(), ids=list(COMMON))
def test_a_file_that_two_feeds_take_is_found(
    feed: Feed, key: str, changes: dict[str, Any], found: list[tuple[str, str, str]]
) -> None:
    assert list_common_files(feed, [key], change_feed(NAMED, **changes)) == found


def test_a_path_has_a_key_only_in_the_folder_of_its_feed() -> None:
    assert key_of_path(NAMED, "in/a.csv") == "a"
    assert key_of_path(change_feed(NAMED, folder="./x/../in"), "in/a.csv") == "a"
    for path in ("a.csv", "other/a.csv", "in/more/a.csv", "in/a b.csv", "in/a.txt"):
        assert key_of_path(NAMED, path) == ""
