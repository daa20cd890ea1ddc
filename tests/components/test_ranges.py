"""Ranges of keys: together they hold the wanted keys, and no other."""

from typing import Any

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.components.partitions import build_partitions_def
from partitioned_etl.components.ranges import (
    RANGE_END_TAG,
    RANGE_START_TAG,
    group_into_ranges,
    keys_of_run,
    range_tags,
)
from partitioned_etl.engine.feed import Feed


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


def two_dimensional(*names: str, end: str = "2018-02-01") -> dg.PartitionsDefinition:
    """Give names by days, by default those of January."""
    pattern, columns = "{key}/{date:%Y-%m-%d}.csv", {"a": "BIGINT"}
    window: dict[str, Any] = {"start": "2018-01-01", "end": end}
    return build_partitions_def(
        Feed(name="f", pattern=pattern, columns=columns, keys=names, **window)
    )


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
    days = two_dimensional("a", "b", end="2020-09-27")
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
