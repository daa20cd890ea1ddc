"""Ranges of partition keys: together they hold the wanted keys, and no other."""

from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.builders.partitions import group_into_ranges, keys_of_run, range_tags


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
