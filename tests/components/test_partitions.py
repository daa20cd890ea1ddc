"""Partitions of a feed: what its partitioning calls for, and nothing else."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components.assets import FeedAssets, find_feeds
from partitioned_etl.components.file_feed import FileFeed
from partitioned_etl.components.partitions import FeedPartitions, build_partitions_def
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.plan import compare
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow
from support.define import define_feed

HOURS = {"pattern": "{date:%Y-%m-%d-%H}.csv", "timezone": "Europe/Berlin"}
DAYS = {"pattern": "{date:%Y-%m-%d}.csv"}
WEEKS = {"pattern": "{date:%G-W%V}.csv"}
MONTHS = {"pattern": "{date:%Y-%m}.csv"}
WEEKDAYS = {"pattern": "{date:%Y-%m-%d}.csv", "partitioning": "weekdays"}
NAMES = {"pattern": "{key}.csv"}
REGIONS = {"pattern": "{key}.csv", "partitioning": "static"}
NAME_DAYS = {"pattern": "{key}/{date:%Y-%m-%d}.csv"}
JANUARY = {"start": "2018-01-01", "end": "2018-02-01"}


def make_feed(kind: dict[str, str], **declared: Any) -> Feed:
    """A feed of a kind."""
    return Feed(**{"name": "f", "columns": {"a": "BIGINT"}, "table": "t", **kind, **declared})


def make_partitions(feed: Feed, **given: Any) -> FeedPartitions:
    """The partitions that a feed declares."""
    return FeedPartitions(feed, build_partitions_def(feed, **given))


def test_new_names_come_after_the_others_as_dagster_has_them_once_they_are_registered(
    instance: dg.DagsterInstance,
) -> None:
    partitions = make_partitions(make_feed(NAME_DAYS, **JANUARY), dynamic_name="customers")
    assert partitions.dynamic_name == "customers"
    for names in (["b"], ["d", "a"]):
        expected = partitions.add_names(partitions.list_keys(instance), names)
        instance.add_dynamic_partitions("customers", names)
        assert partitions.list_keys(instance) == expected
    assert len(expected) == 3 * 31


@pytest.mark.parametrize(
    ("kind", "declared", "dynamic_name", "expected"),
    [
        (
            HOURS,
            {"start": "2018-01-01T03:00"},
            "",
            dg.HourlyPartitionsDefinition(
                "2018-01-01-03:00", timezone="Europe/Berlin", end_offset=1
            ),
        ),
        (DAYS, JANUARY, "", dg.DailyPartitionsDefinition("2018-01-01", end_date="2018-02-01")),
        (
            WEEKS,
            {"start": date(2018, 1, 1)},
            "",
            dg.WeeklyPartitionsDefinition("2018-01-01", day_offset=1, end_offset=1),
        ),
        (
            MONTHS,
            {"start": "2018-01-01"},
            "",
            dg.MonthlyPartitionsDefinition("2018-01-01", end_offset=1),
        ),
        (NAMES, {}, "", dg.DynamicPartitionsDefinition(name="f")),
        (NAMES, {}, "customers", dg.DynamicPartitionsDefinition(name="customers")),
        (REGIONS, {"keys": ["b", "a"]}, "", dg.StaticPartitionsDefinition(["b", "a"])),
        (
            NAME_DAYS,
            {"start": "2018-01-01", "keys": ["a"]},
            "",
            dg.MultiPartitionsDefinition(
                {
                    "name": dg.StaticPartitionsDefinition(["a"]),
                    "period": dg.DailyPartitionsDefinition("2018-01-01", end_offset=1),
                }
            ),
        ),
        (
            NAME_DAYS,
            {"start": "2018-01-01"},
            "",
            dg.MultiPartitionsDefinition(
                {
                    "name": dg.DynamicPartitionsDefinition(name="f"),
                    "period": dg.DailyPartitionsDefinition("2018-01-01", end_offset=1),
                }
            ),
        ),
    ],
)
def test_a_feed_gets_the_partitions_that_its_partitioning_calls_for(
    kind: dict[str, str],
    declared: dict[str, Any],
    dynamic_name: str,
    expected: dg.PartitionsDefinition,
) -> None:
    partitions = make_partitions(make_feed(kind, **declared), dynamic_name=dynamic_name)
    assert partitions.definition == expected


@pytest.mark.parametrize("end", ["2018-01-27", "2018-01-28", "2018-01-29"])
def test_weekdays_end_with_a_friday_whichever_day_of_the_weekend_is_given(end: str) -> None:
    partitions_def = build_partitions_def(make_feed(WEEKDAYS, start="2018-01-20", end=end))
    assert partitions_def.get_partition_keys() == [f"2018-01-{day}" for day in range(22, 27)]


@pytest.mark.parametrize(
    ("now", "latest"),
    [
        (datetime(2018, 1, 26, 12, tzinfo=UTC), "2018-01-26"),
        (datetime(2018, 1, 28, 12, tzinfo=UTC), "2018-01-26"),
        (datetime(2018, 1, 29, 0, 1, tzinfo=UTC), "2018-01-29"),
    ],
)
def test_a_weekday_has_its_partition_as_soon_as_it_begins(now: datetime, latest: str) -> None:
    partitions_def = build_partitions_def(make_feed(WEEKDAYS, start="2018-01-01"))
    assert partitions_def.get_partition_keys(current_time=now)[-1] == latest


@pytest.mark.parametrize(
    ("kind", "declared", "message"),
    [
        (DAYS, {}, "daily partitions need a start"),
        (NAME_DAYS, {"keys": ["a"]}, "daily partitions need a start"),
        (DAYS, {"start": "22 January"}, "start: Input should be a valid datetime"),
        (DAYS, {**JANUARY, "keys": ["a"]}, "daily partitions have no keys"),
        (NAMES, {"start": "2018-01-01"}, "dynamic partitions have no start or end"),
        (NAMES, {"keys": ["a"]}, "dynamic partitions have no keys"),
        (REGIONS, {}, "static partitions need keys"),
        (REGIONS, {"keys": ["a", "a"]}, "are there once each"),
        (REGIONS, {"keys": ["a b"]}, "partition key 'a b' is not made of the characters"),
    ],
)
def test_partitions_that_lack_something_or_have_no_use_for_it_are_refused(
    kind: dict[str, str], declared: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeedDefinitionError, match=message) as refused:
        build_partitions_def(make_feed(kind, **declared))
    assert str(refused.value).startswith("feed f: ")


@pytest.mark.parametrize(("kind", "declared"), [(DAYS, JANUARY), (REGIONS, {"keys": ["a"]})])
def test_only_names_that_are_not_listed_are_registered_under_a_name(
    kind: dict[str, str], declared: dict[str, Any]
) -> None:
    with pytest.raises(FeedDefinitionError, match="feed f: only names that are not listed have a"):
        build_partitions_def(make_feed(kind, **declared), dynamic_name="a")


@pytest.mark.parametrize(
    ("kind", "partitions_def"),
    [
        (NAME_DAYS, build_partitions_def(make_feed(DAYS, **JANUARY))),
        (DAYS, build_partitions_def(make_feed(NAME_DAYS, **JANUARY, keys=["a"]))),
        (
            NAME_DAYS,
            dg.MultiPartitionsDefinition(
                {
                    "name": dg.StaticPartitionsDefinition(["a"]),
                    "date": dg.DailyPartitionsDefinition("2018-01-01"),
                }
            ),
        ),
    ],
)
def test_partitions_whose_keys_no_file_name_stands_for_are_refused(
    kind: dict[str, str], partitions_def: dg.PartitionsDefinition
) -> None:
    with pytest.raises(FeedDefinitionError, match="and the partitions do not fit"):
        FeedPartitions(make_feed(kind), partitions_def)


def test_partitions_in_another_time_zone_than_the_feed_are_refused() -> None:
    with pytest.raises(FeedDefinitionError, match="in Europe/Berlin, and the feed in UTC"):
        FeedPartitions(
            make_feed(DAYS), dg.DailyPartitionsDefinition("2018-01-01", timezone="Europe/Berlin")
        )


def test_an_hour_is_where_dagster_has_it_also_when_clocks_are_set_back() -> None:
    feed = make_feed(HOURS, timezone="America/New_York", start="2026-11-01")
    partitions_def = build_partitions_def(feed)
    assert isinstance(partitions_def, dg.TimeWindowPartitionsDefinition)
    for key in partitions_def.get_partition_keys(current_time=datetime(2026, 11, 28, tzinfo=UTC)):
        window = partitions_def.time_window_for_partition_key(key)
        if feed.window_of(key):
            in_utc = (window.start.astimezone(UTC), window.end.astimezone(UTC))
            assert feed.window_of(key) == in_utc


@pytest.mark.parametrize(
    ("timezone", "skipped"),
    [("Europe/Berlin", "2018-03-25-02"), ("America/New_York", "2018-03-11-02")],
)
def test_a_file_of_an_hour_that_the_clock_skips_is_refused_for_that(
    landing_dir: Path, timezone: str, skipped: str
) -> None:
    feed = make_feed(
        HOURS | {"timezone": timezone}, folder="daily", start="2018-01-01", end="2018-12-31"
    )
    for name in (skipped, "2018-06-01-02"):
        (landing_dir / "daily" / f"{name}.csv").write_text("a\n1\n", encoding="utf-8")
    listing = define_feed(feed).assets.list_files(LocalLanding(landing_dir))
    assert list(listing.by_key) == ["2018-06-01-02:00"]
    [refused] = listing.refused
    assert refused.reason == (
        f"partition key {skipped}:00: in {timezone}, the clock skips this hour"
    )


def in_python(**declared: Any) -> FeedAssets:
    return define_feed(Feed(**declared)).assets


def in_yaml(**declared: Any) -> FeedAssets:
    [assets] = find_feeds(FileFeed(**declared).definitions)
    return assets


@pytest.mark.parametrize("declare", [in_python, in_yaml])
@pytest.mark.parametrize(
    ("kind", "names", "stale"),
    [
        (
            DAYS | {"start": "2018-01-10", "end": "2018-01-20"},
            {f"2018-01-{day}.csv": f"2018-01-{day}" for day in ("09", "10", "19", "20")},
            ["2018-01-09.csv", "2018-01-20.csv"],
        ),
        (REGIONS | {"keys": ("a", "b")}, {"a.csv": "a", "c.csv": "c"}, ["c.csv"]),
        (
            NAME_DAYS | JANUARY | {"keys": ("a",)},
            {
                "a/2018-01-01.csv": "a|2018-01-01",
                "a/2017-12-31.csv": "a|2017-12-31",
                "b/2018-01-01.csv": "b|2018-01-01",
            },
            ["a/2017-12-31.csv", "b/2018-01-01.csv"],
        ),
        (NAMES, {"a.csv": "a"}, []),
    ],
    ids=["window", "names", "both", "any name"],
)
def test_what_was_loaded_of_a_partition_that_there_is_no_more_is_stale(
    tmp_path: Path,
    declare: Callable[..., FeedAssets],
    kind: dict[str, Any],
    names: dict[str, str],
    stale: list[str],
) -> None:
    assets = declare(name="f", columns={"a": "BIGINT"}, **kind)
    rows = {name: LedgerRow("f", name, key, "1", 1, 1) for name, key in names.items()}
    listing = assets.list_files(LocalLanding(tmp_path))
    assert [row.source_file for row in compare(assets.feed, listing, Ledger(rows)).stale] == stale
    # One that still lies there is refused, and no less stale.
    for name in names:
        (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "f" / name).touch()
    listing = assets.list_files(LocalLanding(tmp_path))
    assert sorted(entry.name for entry in listing.refused) == stale
    assert [row.source_file for row in compare(assets.feed, listing, Ledger(rows)).stale] == stale
