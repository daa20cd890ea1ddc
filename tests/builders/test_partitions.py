"""Partitions of a feed: what its partitioning calls for, and nothing else."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.builders.partitions import (
    add_names,
    build_partitions_def,
    check_partitions_fit,
    list_partition_keys,
)
from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import Feed


def make_feed(pattern: str, partitioning: str | None = None, timezone: str = "UTC") -> Feed:
    """A feed with this pattern."""
    return Feed(
        name="f",
        folder="f",
        pattern=pattern,
        partitioning=partitioning,
        columns={"a": "BIGINT"},
        table="t",
        timezone=timezone,
    )


HOURS = make_feed("{date:%Y-%m-%d-%H}.csv", timezone="Europe/Berlin")
DAYS = make_feed("{date:%Y-%m-%d}.csv")
WEEKS = make_feed("{date:%G-W%V}.csv")
MONTHS = make_feed("{date:%Y-%m}.csv")
WEEKDAYS = make_feed("{date:%Y-%m-%d}.csv", "weekdays")
NAMES = make_feed("{key}.csv")
REGIONS = make_feed("{key}.csv", "static")
NAME_DAYS = make_feed("{key}/{date:%Y-%m-%d}.csv")
JANUARY = {"start": "2018-01-01", "end": "2018-02-01"}


def test_new_names_come_after_the_others_as_dagster_has_them_once_they_are_registered(
    instance: dg.DagsterInstance,
) -> None:
    partitions_def = build_partitions_def(NAME_DAYS, **JANUARY, dynamic_name="customers")
    for names in (["b"], ["d", "a"]):
        expected = add_names(partitions_def, list_partition_keys(partitions_def, instance), names)
        instance.add_dynamic_partitions("customers", names)
        assert list_partition_keys(partitions_def, instance) == expected
    assert len(expected) == 3 * 31


@pytest.mark.parametrize(
    ("feed", "given", "expected"),
    [
        (
            HOURS,
            {"start": "2018-01-01T03:00"},
            dg.HourlyPartitionsDefinition(
                "2018-01-01-03:00", timezone="Europe/Berlin", end_offset=1
            ),
        ),
        (DAYS, JANUARY, dg.DailyPartitionsDefinition("2018-01-01", end_date="2018-02-01")),
        (
            WEEKS,
            {"start": date(2018, 1, 1)},
            dg.WeeklyPartitionsDefinition("2018-01-01", day_offset=1, end_offset=1),
        ),
        (
            MONTHS,
            {"start": "2018-01-01"},
            dg.MonthlyPartitionsDefinition("2018-01-01", end_offset=1),
        ),
        (NAMES, {}, dg.DynamicPartitionsDefinition(name="f")),
        (NAMES, {"dynamic_name": "customers"}, dg.DynamicPartitionsDefinition(name="customers")),
        (REGIONS, {"keys": ["b", "a"]}, dg.StaticPartitionsDefinition(["b", "a"])),
        (
            NAME_DAYS,
            {"start": "2018-01-01", "keys": ["a"]},
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
    feed: Feed, given: dict[str, Any], expected: dg.PartitionsDefinition
) -> None:
    partitions_def = build_partitions_def(feed, **given)
    assert partitions_def == expected
    check_partitions_fit(feed, partitions_def)


@pytest.mark.parametrize("end", ["2018-01-27", "2018-01-28", "2018-01-29"])
def test_weekdays_end_with_a_friday_whichever_day_of_the_weekend_is_given(end: str) -> None:
    partitions_def = build_partitions_def(WEEKDAYS, start="2018-01-20", end=end)
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
    partitions_def = build_partitions_def(WEEKDAYS, start="2018-01-01")
    assert partitions_def.get_partition_keys(current_time=now)[-1] == latest


@pytest.mark.parametrize(
    ("feed", "given", "message"),
    [
        (DAYS, {}, "daily partitions need a start"),
        (NAME_DAYS, {"keys": ["a"]}, "daily partitions need a start"),
        (DAYS, {"start": "22 January"}, "Invalid isoformat string: '22 January'"),
        (DAYS, {**JANUARY, "keys": ["a"]}, "daily partitions have no keys"),
        (DAYS, {**JANUARY, "dynamic_name": "a"}, "only names that are not listed have a dynamic"),
        (NAMES, {"start": "2018-01-01"}, "dynamic partitions have no start or end"),
        (NAMES, {"keys": ["a"]}, "dynamic partitions have no keys"),
        (REGIONS, {}, "static partitions need keys"),
        (REGIONS, {"keys": ["a", "a"]}, "are there once each"),
        (REGIONS, {"keys": ["a b"]}, "partition key 'a b' is not made of the characters"),
        (REGIONS, {"keys": ["a"], "dynamic_name": "a"}, "only names that are not listed"),
    ],
)
def test_partitions_that_lack_something_or_have_no_use_for_it_are_refused(
    feed: Feed, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeedDefinitionError, match=message) as refused:
        build_partitions_def(feed, **given)
    assert "feed f: " in str(refused.value)


@pytest.mark.parametrize(
    ("feed", "partitions_def"),
    [
        (NAME_DAYS, build_partitions_def(DAYS, **JANUARY)),
        (DAYS, build_partitions_def(NAME_DAYS, **JANUARY, keys=["a"])),
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
    feed: Feed, partitions_def: dg.PartitionsDefinition
) -> None:
    with pytest.raises(FeedDefinitionError, match="and the partitions do not fit"):
        check_partitions_fit(feed, partitions_def)


def test_partitions_in_another_time_zone_than_the_feed_are_refused() -> None:
    with pytest.raises(FeedDefinitionError, match="in Europe/Berlin, and the feed in UTC"):
        check_partitions_fit(
            DAYS, dg.DailyPartitionsDefinition("2018-01-01", timezone="Europe/Berlin")
        )


def test_an_hour_is_where_dagster_has_it_also_when_clocks_are_set_back() -> None:
    feed = make_feed("{date:%Y-%m-%d-%H}.csv", timezone="America/New_York")
    partitions_def = build_partitions_def(feed, start="2026-11-01")
    assert isinstance(partitions_def, dg.TimeWindowPartitionsDefinition)
    for key in partitions_def.get_partition_keys(current_time=datetime(2026, 11, 28, tzinfo=UTC)):
        window = partitions_def.time_window_for_partition_key(key)
        if feed.window_of(key):
            in_utc = (window.start.astimezone(UTC), window.end.astimezone(UTC))
            assert feed.window_of(key) == in_utc
