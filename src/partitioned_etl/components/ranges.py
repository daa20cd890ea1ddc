"""Ranges: which keys one run takes, because a run carries one key or one range.

Takes keys to load; returns ranges of adjacent keys and the tags of their runs, and the keys of a
run from its tags. A range of two-dimensional keys (name x date) is a range of names times one of
dates.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import dagster as dg

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def group_into_ranges(keys: Iterable[str], ordered: Sequence[str], most: int) -> list[list[str]]:
    """Group keys into ranges that contain exactly these keys.

    A range of two-dimensional keys is a range of names times one of dates. Adjacent names that need
    the same dates share a range.

    Args:
        keys: The keys to load.
        ordered: All keys, in the order used by ranges.
        most: Most keys in one range.

    Returns:
        The keys of each range, in order.
    """
    wanted = set(keys)
    if not wanted:
        return []
    ranges: list[list[str]] = []
    above: dict[tuple[str, ...], list[str]] = {}
    for _, of_name in groupby(ordered, lambda key: _split(key)[0]):
        here = {}
        for group in _group_neighbours(wanted, of_name, most):
            dates = tuple(_split(key)[1] for key in group)
            whole = above.get(dates)
            if whole is not None and len(whole) + len(group) <= most:
                whole += group
            else:
                whole = group
                ranges.append(whole)
            here[dates] = whole
        above = here
    return ranges


def _group_neighbours(wanted: set[str], ordered: Iterable[str], most: int) -> list[list[str]]:
    groups: list[list[str]] = []
    group: list[str] = []
    for key in ordered:
        if key not in wanted or len(group) == most:
            if group:
                groups.append(group)
            group = []
        if key in wanted:
            group.append(key)
    return [*groups, group] if group else groups


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """Return the run tags that select a range of keys; a single key needs none."""
    if len(keys) < 2:
        return {}
    return {RANGE_START_TAG: str(keys[0]), RANGE_END_TAG: str(keys[-1])}


def request_run(
    keys: Sequence[str], *, tags: Mapping[str, str] | None = None, run_key: str | None = None
) -> dg.RunRequest:
    """Request one run for a range of keys.

    Args:
        keys: The keys of the range.
        tags: Tags of the run beside those that select the range.
        run_key: Dagster starts one run for it and no second one.
    """
    # Dagster keeps all variables of the function that makes the first request in a process, so this
    # one knows no plan.
    return dg.RunRequest(
        run_key=run_key,
        partition_key=str(keys[0]) if len(keys) == 1 else None,
        tags={**(tags or {}), **range_tags(keys)},
    )


def keys_of_run(tags: Mapping[str, str], ordered: Sequence[str]) -> list[str]:
    """Return the partition keys that a run takes.

    Args:
        tags: The run's tags.
        ordered: All keys, in the order used by ranges.
    """
    if PARTITION_TAG in tags:
        return [tags[PARTITION_TAG]]
    if RANGE_START_TAG not in tags:
        return []
    parts = {key: _split(key) for key in ordered}
    ends = parts.get(tags[RANGE_START_TAG]), parts.get(tags[RANGE_END_TAG])
    if not all(ends):
        return []
    names, dates = (
        _between([part[at] for part in parts.values()], *(end[at] for end in ends if end))
        for at in (0, 1)
    )
    return [key for key, (name, date) in parts.items() if name in names and date in dates]


def _between(values: Iterable[str], first: str, last: str) -> set[str]:
    once = list(dict.fromkeys(values))
    return set(once[once.index(first) : once.index(last) + 1])


def _split(key: str) -> tuple[str, str]:
    """Return name and date of a two-dimensional key from Dagster; other keys have no name."""
    if not isinstance(key, dg.MultiPartitionKey):
        return "", key
    name, date = key.dimension_keys
    return name.partition_key, date.partition_key
