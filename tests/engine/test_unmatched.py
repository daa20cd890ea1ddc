"""What lies in a feed's folder and is a file of no feed is told from what another feed loads."""

from typing import Any

import pytest

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.unmatched import list_unmatched
from support.workbench import NOTES, Workbench, change_feed

DAYS = change_feed(
    NOTES, name="days", folder="days", pattern="{date:%Y-%m-%d}.csv", start="2018-01-01"
)


def other(**declared: Any) -> Feed:
    return change_feed(NOTES, name="other", table="other", **declared)


def find_names(bench: Workbench, feed: Feed, *others: Feed) -> list[str]:
    ignored = bench.landing.list_files(feed).ignored
    return [entry.name for entry in list_unmatched(feed, ignored, [feed, *others])]


@pytest.mark.parametrize(
    "name", ["README.md", "2018-01-22.CSV", "2018-01-22 (1).csv", "2018/2018-01-22.csv"]
)
def test_what_has_another_name_is_unmatched(bench: Workbench, name: str) -> None:
    bench.land(DAYS, name, "")
    assert find_names(bench, DAYS, other()) == [name.split("/")[0]]


@pytest.mark.parametrize(
    "name", [".hidden", "x.csv.part", "~x.csv", "2018-01-22.csv", "2018-01-22.csv.done"]
)
def test_what_is_hidden_temporary_or_a_file_of_the_feed_is_not(bench: Workbench, name: str) -> None:
    feed = change_feed(DAYS, done_suffix=".done")
    bench.land(feed, name, "")
    assert find_names(bench, feed) == []


def test_a_folder_that_is_not_there_is_not(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", "")
    assert find_names(bench, DAYS) == []


OTHERS: dict[str, tuple[str, Feed]] = {
    "a file": ("acme.csv", other(folder="days", pattern="{key}.csv")),
    "a compressed file": ("acme.csv.gz", other(folder="./days", pattern="{key}.csv")),
    "a marker": ("acme.csv.ok", other(folder="days", pattern="{key}.csv", done_suffix=".ok")),
    "a folder of its files": ("acme/x.csv", other(folder="days", pattern="{key}/x.csv")),
    "its own folder": ("in/acme.csv", other(folder="days/in")),
    "a folder on the way to its own": ("in/all/acme.csv", other(folder="days/in/all")),
    "a folder below its own": ("acme.csv", other(folder=".", pattern="days/{key}.csv")),
}


@pytest.mark.parametrize(("name", "owner"), OTHERS.values(), ids=list(OTHERS))
def test_what_is_of_another_feed_is_not(bench: Workbench, name: str, owner: Feed) -> None:
    bench.land(DAYS, name, "")
    assert find_names(bench, DAYS, owner) == []
    assert find_names(bench, DAYS, other(folder="elsewhere")) == [name.split("/")[0]]


def test_a_folder_below_the_files_of_another_feed_is(bench: Workbench) -> None:
    bench.land(DAYS, "acme/more/x.csv", "")
    below = other(folder="days", pattern="{key}/x.csv")
    assert find_names(bench, DAYS, below) == []
    assert find_names(bench, below, DAYS) == ["acme/more"]
