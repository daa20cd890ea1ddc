"""Partitions of a feed: what Dagster has partitions for.

Takes a feed or a listing; returns partitions definitions, the keys that Dagster knows, and the
files that fit no partition. Next: `ranges.py` groups keys into runs. The shipped definitions are in
`defs/`.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from itertools import product
from pathlib import Path

import dagster as dg

from partitioned_etl.ingest.collection import no_garbage_collection
from partitioned_etl.ingest.errors import FeedDefinitionError, PartitionKeyError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.file_names import FRIDAY, KEY_SEPARATOR, Partitioning
from partitioned_etl.ingest.landing import Listing, PassedOver, list_landed_files

NAME_DIMENSION, DATE_DIMENSION = "name", "period"
"""Dimensions of a two-dimensional key. Dagster sorts them, so the name comes first."""
_MOST_NAMED = 20


def build_partitions_def(
    feed: Feed,
    *,
    start: date | str | None = None,
    end: date | str | None = None,
    keys: Sequence[str] = (),
    dynamic_name: str | None = None,
) -> dg.PartitionsDefinition:
    """Build the partitions that a feed's partitioning requires.

    An hour, day, week or month gets its partition when it begins in the feed's time zone, because
    its file may land before it ends.

    Args:
        feed: The feed.
        start: First moment of a dated feed's window, as a date or in ISO 8601.
        end: First moment after it; None for "until now".
        keys: The names that a static feed accepts; makes the names of a two-dimensional feed
            static.
        dynamic_name: Name under which Dagster registers new names; by default the feed's.

    Raises:
        FeedDefinitionError: An argument is missing, invalid, or meaningless for the feed.
    """
    partitioning, is_two = Partitioning(str(feed.partitioning)), feed.file_names.has_folder

    def require(is_sound: object, attribute: str, reason: str) -> None:
        if not is_sound:
            raise FeedDefinitionError(f"feed {feed.name}: {reason}", attribute=attribute)

    is_static = partitioning is Partitioning.STATIC or (is_two and bool(keys))
    is_dynamic = not is_static and (is_two or not partitioning.is_dated)
    require(start or not partitioning.is_dated, "start", f"{partitioning} partitions need a start")
    require(
        partitioning.is_dated or not (start or end),
        "start" if start else "end",
        f"{partitioning} partitions have no start or end",
    )
    require(keys or not is_static, "keys", "static partitions need keys")
    require(is_static or not keys, "keys", f"{partitioning} partitions have no keys")
    reason = "only names that are not listed have a dynamic_name"
    require(is_dynamic or not dynamic_name, "dynamic_name", reason)
    require(
        len(set(keys)) == len(keys), "keys", "the keys of static partitions are there once each"
    )

    dates = _build_window(feed, start, end) if partitioning.is_dated else None
    names = None
    if is_dynamic:
        names = dg.DynamicPartitionsDefinition(name=dynamic_name or feed.name)
    elif is_static:
        _check_names(feed, keys)
        names = dg.StaticPartitionsDefinition(list(keys))
    if dates and names:
        return dg.MultiPartitionsDefinition({NAME_DIMENSION: names, DATE_DIMENSION: dates})
    partitions_def = dates or names
    assert partitions_def, "a partitioning is dated, dynamic or static"
    return partitions_def


def _check_names(feed: Feed, keys: Iterable[str]) -> None:
    try:
        for key in keys:
            feed.check_name(key)
    except PartitionKeyError as error:
        raise FeedDefinitionError(f"feed {feed.name}: {error}", attribute="keys") from None


def _build_window(
    feed: Feed, start: date | str | None, end: date | str | None
) -> dg.TimeWindowPartitionsDefinition:
    first = _parse_moment(feed, "start", start)
    end_moment = _parse_moment(feed, "end", end) if end else None
    if end_moment and _in_zone(feed, end_moment) <= _in_zone(feed, first):
        reason = f"feed {feed.name}: end {end} is not after start {start}"
        raise FeedDefinitionError(reason, attribute="end")
    window = {
        "start_date": first,
        "end_date": end_moment,
        "end_offset": 0 if end else 1,
        "timezone": feed.timezone,
    }
    match feed.partitioning:
        case Partitioning.HOURLY:
            return dg.HourlyPartitionsDefinition(**window)
        case Partitioning.WEEKDAYS:
            first, end_moment = window.pop("start_date"), window.pop("end_date")
            while end_moment and end_moment.isoweekday() > FRIDAY:
                # For Dagster, Friday lasts until Monday, and has no partition if cut short.
                end_moment += timedelta(days=1)
            return dg.TimeWindowPartitionsDefinition(
                start=first,
                end=end_moment,
                fmt="%Y-%m-%d",
                cron_schedule=f"0 0 * * 1-{FRIDAY}",
                **window,
            )
        case Partitioning.WEEKLY:
            return dg.WeeklyPartitionsDefinition(**window, day_offset=1)
        case Partitioning.MONTHLY:
            return dg.MonthlyPartitionsDefinition(**window)
        case _:
            return dg.DailyPartitionsDefinition(**window)


def _in_zone(feed: Feed, moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=feed.zone)


def _parse_moment(feed: Feed, attribute: str, moment: date | str | None) -> datetime:
    if isinstance(moment, datetime):
        return moment
    if isinstance(moment, date):
        return datetime.combine(moment, time.min)
    try:
        return datetime.fromisoformat(moment or "")
    except ValueError as error:
        raise FeedDefinitionError(f"feed {feed.name}: {error}", attribute=attribute) from None


@no_garbage_collection()
def list_partition_keys(
    partitions_def: dg.PartitionsDefinition, instance: dg.DagsterInstance
) -> list[str]:
    """Return all keys that Dagster knows, in the order used by ranges."""
    return list(partitions_def.get_partition_keys(dynamic_partitions_store=instance))


def list_files_in_window(
    feed: Feed, landing_dir: Path, partitions_def: dg.PartitionsDefinition
) -> Listing:
    """List a feed's folder, with landed files that fit no partition as refused.

    Args:
        feed: The feed.
        landing_dir: The landing directory.
        partitions_def: The partitions; dynamic ones include every name that the feed accepts.

    Raises:
        LandedFileError: The folder cannot be listed.
    """
    listing = list_landed_files(feed, landing_dir)
    dimensions = _dimensions(partitions_def)
    if all(_is_dynamic(one) for one in dimensions):
        return listing
    windows = [
        {} if _is_dynamic(one) else dict.fromkeys(one.get_partition_keys()) for one in dimensions
    ]
    for key, file in list(listing.files.items()):
        parts = key.split(KEY_SEPARATOR) if len(dimensions) > 1 else [key]
        for part, dimension, window in zip(parts, dimensions, windows, strict=True):
            if part not in window and not _is_dynamic(dimension):
                del listing.files[key]
                reason = _reason_outside(feed, key, part, dimension, list(window))
                listing.refused.append(PassedOver(file.name, reason, key))
                break
    return listing


def _reason_outside(
    feed: Feed, key: str, part: str, dimension: dg.PartitionsDefinition, window: Sequence[str]
) -> str:
    if isinstance(dimension, dg.StaticPartitionsDefinition):
        named = ", ".join(window[:_MOST_NAMED]) + (", …" if window[_MOST_NAMED:] else "")
        return f"{part} is not in the list of names that feed {feed.name} takes: {named}"
    reason = f"partition key {key} is outside the window of {feed.partitioning} partitions"
    return f"{reason}, {window[0]} to {window[-1]}" if window else reason


def check_partitions_fit(feed: Feed, partitions_def: dg.PartitionsDefinition) -> None:
    """Validate that partitions have the kind of keys that a feed's file names stand for.

    Raises:
        FeedDefinitionError: Only one of the two has names and dates, Dagster puts the date before
            the name, or the dates are in another time zone.
    """
    is_two = isinstance(partitions_def, dg.MultiPartitionsDefinition)
    is_dated = [
        isinstance(one, dg.TimeWindowPartitionsDefinition) for one in _dimensions(partitions_def)
    ]
    if is_two != feed.file_names.has_folder or (is_two and is_dated != [False, True]):
        raise FeedDefinitionError(
            f"feed {feed.name}: pattern {feed.pattern!r} and the partitions do not fit: a pattern "
            "with a folder needs two dimensions, the alphabetically first for the names and the "
            "other for the dates"
        )
    for one in _dimensions(partitions_def):
        if isinstance(one, dg.TimeWindowPartitionsDefinition) and one.timezone != feed.timezone:
            raise FeedDefinitionError(
                f"feed {feed.name}: its partitions are in {one.timezone}, and the feed in "
                f"{feed.timezone}"
            )


def find_dynamic(
    partitions_def: dg.PartitionsDefinition,
) -> dg.DynamicPartitionsDefinition | None:
    """Return the definition that registers new names; None if the partitions are fixed."""
    return next(
        (
            one
            for one in _dimensions(partitions_def)
            if isinstance(one, dg.DynamicPartitionsDefinition) and one.name
        ),
        None,
    )


def list_names(partitions_def: dg.PartitionsDefinition, keys: Iterable[str]) -> list[str]:
    """Return the names to register for dynamic keys: the keys, or their name dimension."""
    if len(_dimensions(partitions_def)) == 1:
        return list(keys)
    return list(dict.fromkeys(key.partition(KEY_SEPARATOR)[0] for key in keys))


def register_names(instance: dg.DagsterInstance, dynamic_name: str, names: Sequence[str]) -> None:
    """Register names as dynamic partitions, even while another process registers some of them.

    Args:
        instance: The Dagster instance.
        dynamic_name: Name under which Dagster keeps them.
        names: The names; already registered ones stay as they are.
    """
    # Every process of the code location imports this module, and only the command line registers.
    from sqlalchemy.exc import IntegrityError

    try:
        instance.add_dynamic_partitions(dynamic_name, names)
    except IntegrityError:
        # Another process registered one between Dagster's query and its INSERT, which was rolled
        # back. The next query finds that name, so every retry settles at least one of them.
        register_names(instance, dynamic_name, names)


def add_names(
    partitions_def: dg.PartitionsDefinition, known: Sequence[str], names: Iterable[str]
) -> list[str]:
    """Return all keys that Dagster will know once it has registered new names.

    Args:
        partitions_def: The partitions.
        known: All keys that it knows now, in the order used by ranges.
        names: The new names, whose keys come after the others.
    """
    if not isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return [*known, *names]
    first, second = partitions_def.partitions_defs
    dates = second.partitions_def.get_partition_keys()
    return [
        *known,
        *(
            dg.MultiPartitionKey({first.name: name, second.name: date})
            for name, date in product(names, dates)
        ),
    ]


def _dimensions(partitions_def: dg.PartitionsDefinition) -> list[dg.PartitionsDefinition]:
    if isinstance(partitions_def, dg.MultiPartitionsDefinition):
        return [dimension.partitions_def for dimension in partitions_def.partitions_defs]
    return [partitions_def]


def _is_dynamic(partitions_def: dg.PartitionsDefinition) -> bool:
    return isinstance(partitions_def, dg.DynamicPartitionsDefinition)
