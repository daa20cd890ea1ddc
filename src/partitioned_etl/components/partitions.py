"""Partitions of a feed: what Dagster has partitions for.

Takes a feed; returns its partitions definition, the keys that Dagster knows, and the landed files
that fit no partition. `ranges.py` groups keys into runs. The shipped definitions are in `defs/`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import product
from typing import TypeAlias
from zoneinfo import ZoneInfo

import dagster as dg

from partitioned_etl.engine.collection import no_garbage_collection
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.file_names import (
    FRIDAY,
    KEY_SEPARATOR,
    Partitioning,
    is_skipped_hour,
)

NAME_DIMENSION, DATE_DIMENSION = "name", "period"
"""Dimensions of a two-dimensional key. Dagster sorts them, so the name comes first."""
_MOST_NAMED = 20
_LIKELY_NAMES = ("x", "X", "1")
"""Names of which a feed with names of its own is likely to take one."""


def build_partitions_def(feed: Feed, *, dynamic_name: str = "") -> dg.PartitionsDefinition:
    """Build the partitions that a feed declares.

    An hour, day, week or month gets its partition when it begins in the feed's time zone, because
    its file may land before it ends.

    Args:
        feed: The feed.
        dynamic_name: Name under which Dagster registers new names; by default the feed's.

    Raises:
        FeedDefinitionError: The feed does not say where its partitions begin, or which there are.
    """
    partitioning, is_two = Partitioning(str(feed.partitioning)), feed.file_names.is_two_dimensional

    def require(is_sound: object, attribute: str, reason: str) -> None:
        if not is_sound:
            raise FeedDefinitionError(f"feed {feed.name}: {reason}", attribute=attribute)

    is_static = partitioning is Partitioning.STATIC or (is_two and bool(feed.keys))
    is_dynamic = not is_static and (is_two or not partitioning.is_dated)
    is_started = feed.start or not partitioning.is_dated
    require(is_started, "start", f"{partitioning} partitions need a start")
    require(feed.keys or not is_static, "keys", "static partitions need keys")
    reason = "only names that are not listed have a dynamic_name"
    require(is_dynamic or not dynamic_name, "dynamic_name", reason)
    names = (
        dg.StaticPartitionsDefinition(list(feed.keys))
        if is_static
        else dg.DynamicPartitionsDefinition(name=dynamic_name or feed.name)
    )
    if not partitioning.is_dated:
        return names
    dates = _build_window(feed)
    return (
        dg.MultiPartitionsDefinition({NAME_DIMENSION: names, DATE_DIMENSION: dates})
        if is_two
        else dates
    )


def _build_window(feed: Feed) -> dg.TimeWindowPartitionsDefinition:
    start, end = feed.start, feed.end
    window = {"end_offset": 0 if end else 1, "timezone": feed.timezone}
    of_calendar = {"start_date": start, "end_date": end, **window}
    match feed.partitioning:
        case Partitioning.HOURLY:
            return dg.HourlyPartitionsDefinition(**of_calendar)
        case Partitioning.WEEKDAYS:
            while end and end.isoweekday() > FRIDAY:
                # For Dagster, Friday lasts until Monday, and has no partition if cut short.
                end += timedelta(days=1)
            return dg.TimeWindowPartitionsDefinition(
                start=start,  # pyright: ignore[reportArgumentType]
                end=end,
                fmt="%Y-%m-%d",
                cron_schedule=f"0 0 * * 1-{FRIDAY}",
                **window,
            )
        case Partitioning.WEEKLY:
            return dg.WeeklyPartitionsDefinition(**of_calendar, day_offset=1)
        case Partitioning.MONTHLY:
            return dg.MonthlyPartitionsDefinition(**of_calendar)
        case _:
            return dg.DailyPartitionsDefinition(**of_calendar)


@dataclass(frozen=True)
class FeedPartitions:
    """The partitions of a feed in Dagster.

    Attributes:
        feed: The feed.
        definition: Dagster's definition of them.

    Raises:
        FeedDefinitionError: The definition does not have the kind of keys that the feed's file
            names stand for: only one of the two has names and dates, Dagster puts the date before
            the name, the dates are in another time zone, or nobody can add ad-hoc keys.
    """

    feed: Feed
    definition: dg.PartitionsDefinition

    def __post_init__(self) -> None:
        feed = self.feed
        is_two = isinstance(self.definition, dg.MultiPartitionsDefinition)
        is_dated = [isinstance(one, dg.TimeWindowPartitionsDefinition) for one in self._dimensions]
        if is_two != feed.file_names.is_two_dimensional or (is_two and is_dated != [False, True]):
            raise FeedDefinitionError(
                f"feed {feed.name}: pattern {feed.pattern!r} and the partitions do not fit: a "
                "pattern with a folder needs two dimensions, the alphabetically first for the "
                "names and the other for the dates"
            )
        if feed.is_computed and not self.dynamic:
            reason = "people add ad-hoc keys: its partitions are dynamic, and have a name"
            raise FeedDefinitionError(f"feed {feed.name}: {reason}")
        for one in self._dimensions:
            if isinstance(one, dg.TimeWindowPartitionsDefinition) and one.timezone != feed.timezone:
                raise FeedDefinitionError(
                    f"feed {feed.name}: its partitions are in {one.timezone}, and the feed in "
                    f"{feed.timezone}"
                )

    @cached_property
    def _dimensions(self) -> list[dg.PartitionsDefinition]:
        if isinstance(self.definition, dg.MultiPartitionsDefinition):
            return [dimension.partitions_def for dimension in self.definition.partitions_defs]
        return [self.definition]

    @cached_property
    def dynamic(self) -> dg.DynamicPartitionsDefinition | None:
        """The definition that registers new names; None if the partitions are fixed."""
        for one in self._dimensions:
            if isinstance(one, dg.DynamicPartitionsDefinition) and one.name:
                return one
        return None

    @property
    def dynamic_name(self) -> str:
        """The name under which Dagster registers new names; empty if the partitions are fixed."""
        return (self.dynamic and self.dynamic.name) or ""

    def list_keys(self, instance: dg.DagsterInstance) -> list[str]:
        """Return all keys that Dagster knows, in the order used by ranges."""
        with no_garbage_collection():
            return list(self.definition.get_partition_keys(dynamic_partitions_store=instance))

    def list_names(self, keys: Iterable[str]) -> list[str]:
        """Return the names to register for dynamic keys: the keys, or their name dimension."""
        if len(self._dimensions) == 1:
            return list(keys)
        return list(dict.fromkeys(key.partition(KEY_SEPARATOR)[0] for key in keys))

    def add_names(self, known: Sequence[str], names: Iterable[str]) -> list[str]:
        """Return all keys that Dagster will know once it has registered new names.

        Args:
            known: All keys that it knows now, in the order used by ranges.
            names: The new names, whose keys come after the others.
        """
        if not isinstance(self.definition, dg.MultiPartitionsDefinition):
            return [*known, *names]
        first, second = self.definition.partitions_defs
        dates = second.partitions_def.get_partition_keys()
        added = (
            dg.MultiPartitionKey({first.name: name, second.name: date})
            for name, date in product(names, dates)
        )
        return [*known, *added]

    def register(self, instance: dg.DagsterInstance, names: Sequence[str]) -> None:
        """Register names, even while another process registers some of them.

        Args:
            instance: The Dagster instance.
            names: The names; already registered ones stay as they are.
        """
        try:
            instance.add_dynamic_partitions(self.dynamic_name, names)
        except Exception:
            # Another process may register one between Dagster's query and its INSERT, which is
            # rolled back. The next query finds that name, so every retry settles at least one.
            left = sorted({*names} - {*instance.get_dynamic_partitions(self.dynamic_name)})
            if len(left) == len({*names}):
                raise
            self.register(instance, left)

    def unregister(self, instance: dg.DagsterInstance, names: Collection[str]) -> None:
        """Delete names, as far as they are registered."""
        for name in {*names}.intersection(instance.get_dynamic_partitions(self.dynamic_name)):
            instance.delete_dynamic_partition(self.dynamic_name, name)

    def list_windows(self) -> "PartitionWindows":
        """Return which keys there are partitions of, now."""
        dimensions = [
            (one, dict.fromkeys(one.get_partition_keys()))
            if not isinstance(one, dg.DynamicPartitionsDefinition)
            else None
            for one in self._dimensions
        ]
        return PartitionWindows(self.feed, dimensions)


Window: TypeAlias = tuple[dg.PartitionsDefinition, Mapping[str, None]]
"""A dimension of a feed's partitions, and its keys."""


@dataclass(frozen=True)
class PartitionWindows:
    """Which keys a feed has partitions of, at one moment.

    Attributes:
        feed: The feed.
        of_parts: The window of each part of a key; None for names that are registered as they land.
    """

    feed: Feed
    of_parts: Sequence[Window | None]

    def __contains__(self, key: object) -> bool:
        """Return whether there is a partition of a key that the feed accepts."""
        return self._find_outside(str(key)) is None

    def why_outside(self, key: str) -> str:
        """Return why there is no partition of a key; empty if there is one."""
        outside = self._find_outside(key)
        return _why_outside(self.feed, key, *outside) if outside else ""

    def list_examples(self) -> list[str]:
        """Return some keys: all listed names, or some that are likely; the first and last date."""
        parts = [self._list_some(window) for window in self.of_parts]
        return [KEY_SEPARATOR.join(names) for names in product(*parts)]

    @staticmethod
    def _list_some(window: Window | None) -> Sequence[str]:
        if window is None:
            return _LIKELY_NAMES
        keys = list(window[1])
        is_listed = isinstance(window[0], dg.StaticPartitionsDefinition)
        return keys if is_listed else [*keys[:1], *keys[1:][-1:]]

    def _find_outside(self, key: str) -> tuple[str, dg.PartitionsDefinition, Iterable[str]] | None:
        parts = key.split(KEY_SEPARATOR) if len(self.of_parts) > 1 else [key]
        for part, window in zip(parts, self.of_parts, strict=True):
            if window and part not in window[1]:
                return part, *window
        return None


def _why_outside(
    feed: Feed, key: str, part: str, dimension: dg.PartitionsDefinition, taken: Iterable[str]
) -> str:
    keys = list(taken)
    if isinstance(dimension, dg.StaticPartitionsDefinition):
        named = ", ".join(keys[:_MOST_NAMED]) + (", …" if keys[_MOST_NAMED:] else "")
        return f"{part} is not in the list of names that feed {feed.name} takes: {named}"
    is_hourly = feed.partitioning is Partitioning.HOURLY
    if is_hourly and is_skipped_hour(part, ZoneInfo(feed.timezone)):
        return f"partition key {key}: in {feed.timezone}, the clock skips this hour"
    reason = f"partition key {key} is outside the window of {feed.partitioning} partitions"
    return f"{reason}, {keys[0]} to {keys[-1]}" if keys else reason
