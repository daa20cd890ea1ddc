"""Partitions of a feed, and ranges of keys: together they hold the wanted keys, and no other."""

from datetime import date
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.builders.partitions import (
    RANGE_END_TAG,
    RANGE_START_TAG,
    add_names,
    build_partitions_def,
    check_partitions_fit,
    group_into_ranges,
    keys_of_run,
    list_partition_keys,
    range_tags,
)
from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import Feed


def make_feed(pattern: str, partitioning: str | None = None) -> Feed:
    """A feed with this pattern."""
    return Feed(
        name="f",
        folder="f",
        pattern=pattern,
        partitioning=partitioning,
        columns={"a": "BIGINT"},
        table="t",
    )


HOURS = make_feed("{date:%Y-%m-%d-%H}.csv")
DAYS = make_feed("{date:%Y-%m-%d}.csv")
WEEKS = make_feed("{date:%G-W%V}.csv")
MONTHS = make_feed("{date:%Y-%m}.csv")
NAMES = make_feed("{key}.csv")
REGIONS = make_feed("{key}.csv", "static")
NAME_DAYS = make_feed("{key}/{date:%Y-%m-%d}.csv")
JANUARY = {"start": "2018-01-01", "end": "2018-02-01"}


@given(
    st.lists(st.text("abc", min_size=1, max_size=3), unique=True),
    st.sets(st.integers(0, 20)),
    st.integers(1, 5),
)
def test_ranges_hold_exactly_the_wanted_keys(
    ordered: list[str], positions: set[int], most: int
) -> None:
    wanted = [key for at, key in enumerate(ordered) if at in positions]
    ranges = group_into_ranges(wanted, ordered, most)
    assert [key for keys in ranges for key in keys] == wanted
    assert all(1 <= len(keys) <= most for keys in ranges)
    for keys in ranges:
        at = ordered.index(keys[0])
        assert ordered[at : at + len(keys)] == keys


def test_neighbouring_keys_are_one_range() -> None:
    assert group_into_ranges("abde", "abcde", 10) == [["a", "b"], ["d", "e"]]


def test_the_keys_of_a_run_are_read_from_its_tags() -> None:
    assert keys_of_run(range_tags(["b", "c", "d"]), list("abcde")) == ["b", "c", "d"]
    assert keys_of_run({"dagster/partition": "x"}, []) == ["x"]
    assert keys_of_run({}, ["a"]) == []
    assert keys_of_run(range_tags(["gone", "b"]), list("abc")) == []


def two_dimensional(*names: str) -> dg.PartitionsDefinition:
    """Give names by the days of January."""
    return build_partitions_def(NAME_DAYS, **JANUARY, keys=names)


@given(st.sets(st.tuples(st.sampled_from("dbac"), st.integers(1, 5))), st.integers(1, 9))
def test_two_dimensional_ranges_hold_exactly_the_wanted_keys(
    cells: set[tuple[str, int]], most: int
) -> None:
    partitions_def = two_dimensional(*"dbac")
    ordered = list(partitions_def.get_partition_keys())
    wanted = {f"{name}|2018-01-{day:02d}" for name, day in cells}
    ranges = group_into_ranges(wanted, ordered, most)
    assert sorted(key for keys in ranges for key in keys) == sorted(wanted)
    for keys in ranges:
        assert len(keys) <= most
        ends = dg.PartitionKeyRange(keys[0], keys[-1])
        assert list(partitions_def.get_partition_keys_in_range(ends)) == keys
        if keys[1:]:
            assert keys_of_run(range_tags(keys), ordered) == keys


def test_names_that_want_the_same_dates_are_one_range() -> None:
    ordered = two_dimensional("a", "b", "c").get_partition_keys()
    block = [f"{name}|2018-01-{day:02d}" for name in "ab" for day in (3, 4, 5)]
    alone = "c|2018-01-03"
    assert group_into_ranges([*block, alone], ordered, 10) == [block, [alone]]


def test_a_thousand_files_of_one_name_or_of_one_day_are_one_range() -> None:
    days = build_partitions_def(NAME_DAYS, start="2018-01-01", end="2020-09-27", keys=["a", "b"])
    of_a = [key for key in days.get_partition_keys() if key.startswith("a|")]
    assert len(of_a) == 1000
    assert group_into_ranges(of_a, days.get_partition_keys(), 1000) == [of_a]
    names = two_dimensional(*(f"n{number}" for number in range(1000)))
    of_day = [key for key in names.get_partition_keys() if key.endswith("|2018-01-09")]
    assert len(of_day) == 1000
    assert group_into_ranges(of_day, names.get_partition_keys(), 1000) == [of_day]


def test_a_two_dimensional_run_of_keys_that_are_gone_or_reversed_has_none() -> None:
    ordered = two_dimensional("a", "b").get_partition_keys()
    gone = {RANGE_START_TAG: "z|2018-01-01", RANGE_END_TAG: "a|2018-01-02"}
    reversed_names = {RANGE_START_TAG: "b|2018-01-01", RANGE_END_TAG: "a|2018-01-02"}
    assert keys_of_run(gone, ordered) == keys_of_run(reversed_names, ordered) == []


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
            {"start": "2018-01-01T03:00", "timezone": "Europe/Berlin"},
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


@pytest.mark.parametrize(
    ("feed", "given", "message"),
    [
        (DAYS, {}, "daily partitions need a start"),
        (NAME_DAYS, {"keys": ["a"]}, "daily partitions need a start"),
        (DAYS, {"start": "22 January"}, "Invalid isoformat string: '22 January'"),
        (DAYS, {**JANUARY, "timezone": "Mars/Crater"}, "No time zone found with key Mars/Crater"),
        (DAYS, {**JANUARY, "keys": ["a"]}, "daily partitions have no keys"),
        (DAYS, {**JANUARY, "dynamic_name": "a"}, "only names that are not listed have a dynamic"),
        (NAMES, {"start": "2018-01-01"}, "dynamic partitions have no start, end or timezone"),
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
        (DAYS, two_dimensional("a")),
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
