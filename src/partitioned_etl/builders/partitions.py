"""Partitions of a feed: which landed files Dagster has a partition for, and how keys become runs.

Takes a listing, or keys that want loading; gives what no partition can take, and ranges of
neighbouring keys, because a run carries one key or one range. Which definitions ship is in `defs/`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import Listing, PassedOver, list_landed_files

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def list_partition_keys(
    partitions_def: dg.PartitionsDefinition, instance: dg.DagsterInstance
) -> list[str]:
    """Give all keys that Dagster knows, in the order that ranges follow."""
    return list(partitions_def.get_partition_keys(dynamic_partitions_store=instance))


def list_files_in_window(
    feed: Feed,
    landing_dir: Path,
    partitions_def: dg.PartitionsDefinition,
    known: Iterable[str],
) -> Listing:
    """List a feed's folder, with the landed files that no partition can take as refused.

    Args:
        feed: The feed.
        landing_dir: The landing directory.
        partitions_def: The partitions; dynamic ones take every key that the feed accepts.
        known: All keys that Dagster knows.

    Raises:
        LandedFileError: The folder cannot be listed.
    """
    listing = list_landed_files(feed, landing_dir)
    if isinstance(partitions_def, dg.DynamicPartitionsDefinition):
        return listing
    known = set(known)
    outside = [key for key in listing.files if key not in known]
    for key in outside:
        file = listing.files.pop(key)
        reason = f"partition key {key} is outside the window of {feed.partitioning} partitions"
        if known:
            reason += f", {min(known)} to {max(known)}"
        listing.refused.append(PassedOver(file.name, reason, key))
    return listing


def group_into_ranges(keys: Iterable[str], ordered: Sequence[str], most: int) -> list[list[str]]:
    """Group keys into ranges that hold these keys and no other.

    Args:
        keys: The keys that want loading.
        ordered: All keys, in the order that ranges follow.
        most: Most keys in one range.

    Returns:
        The keys of each range, in order.
    """
    wanted = set(keys)
    ranges: list[list[str]] = []
    group: list[str] = []
    for key in ordered:
        if key not in wanted or len(group) == most:
            if group:
                ranges.append(group)
            group = []
        if key in wanted:
            group.append(key)
    return [*ranges, group] if group else ranges


def range_tags(keys: Sequence[str]) -> dict[str, str]:
    """Give the run tags that make a run take a range of keys; one key needs none."""
    if len(keys) < 2:
        return {}
    return {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]}


def keys_of_run(tags: Mapping[str, str], ordered: Sequence[str]) -> list[str]:
    """Give the partition keys that a run takes.

    Args:
        tags: The run's tags.
        ordered: All keys, in the order that ranges follow.
    """
    if PARTITION_TAG in tags:
        return [tags[PARTITION_TAG]]
    try:
        first = ordered.index(tags[RANGE_START_TAG])
        return list(ordered[first : ordered.index(tags[RANGE_END_TAG], first) + 1])
    except (KeyError, ValueError):
        return []
