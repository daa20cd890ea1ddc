"""Arrivals: which partitions of a feed came, came late, were refused or are missing, and when.

Takes a feed's ledger and landed files; returns one arrival per partition. Next: the checks of a
feed, and the calendar of all feeds. Deciding what to load does not belong here.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from operator import itemgetter
from statistics import median

from partitioned_etl.engine.feed import LATE_FOR, Feed
from partitioned_etl.engine.file_names import Partitioning
from partitioned_etl.engine.landing.landing import Listing
from partitioned_etl.engine.list_since import is_left_out
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow, LoadStatus

USUAL_OF = 14
"""How many preceding partitions determine the usual number of rows."""
LEAST_USUAL = 5
"""The least number of preceding partitions that determine it."""


class ArrivalStatus(StrEnum):
    """What happened to a partition's file, from good to bad."""

    LOADED = "loaded"
    LATE = "late"
    MISSING = "missing"
    REFUSED = "refused"


@dataclass(frozen=True)
class Arrival:
    """What happened to a partition's file.

    Attributes:
        partition_key: The partition.
        day: Its place in the calendar: the partition's first day; if it has no period, the day on
            which its file was loaded or refused.
        status: Loaded, late, missing or refused.
        reason: Why it is not simply loaded, one sentence; empty if it is.
    """

    partition_key: str
    day: date
    status: ArrivalStatus
    reason: str = ""


def due_at(feed: Feed, partition_key: str) -> datetime | None:
    """Return when a partition's file is due, UTC; None if the feed does not specify it."""
    window = feed.window_of(partition_key)
    if window is None or feed.due_after is None:
        return None
    if feed.partitioning is Partitioning.HOURLY:
        return window[1] + feed.due_after
    # By the clock on the wall: seven hours after midnight is 07:00 also when clocks are set.
    return (window[1].astimezone(feed.zone) + feed.due_after).astimezone(UTC)


def list_arrivals(
    feed: Feed,
    ledger: Ledger,
    listing: Listing,
    expected: Iterable[str],
    now: datetime,
) -> list[Arrival]:
    """Return what happened to each partition's file.

    A file that changes after its load does not become late.

    Args:
        feed: The feed.
        ledger: What the ledger knows of the feed.
        listing: The feed's files, as listed.
        expected: The partition keys that should eventually have a file.
        now: The time to compare with, UTC.

    Returns:
        The arrivals in the order of their keys; none for a file that is not yet validated or not
        due.
    """
    arrivals = {}
    for key, rows in ledger.by_key.items():
        refused = [row for row in rows if _is_refusal(row, listing)]
        if refused:
            day = _day_of(feed, key, _landed_at(refused[0]))
            reason = refused[0].error or "refused"
            arrivals[key] = Arrival(key, day, ArrivalStatus.REFUSED, reason)
        elif loads := [(row.loaded_at, row) for row in rows if row.loaded_at]:
            loaded_at, row = max(loads, key=itemgetter(0))
            late = _why_late(feed, key, min(_landed_at(row), loaded_at))
            status = ArrivalStatus.LATE if late else ArrivalStatus.LOADED
            arrivals[key] = Arrival(key, _day_of(feed, key, loaded_at), status, late)
    for entry in listing.refused:
        if key := entry.partition_key:
            reason = f"{entry.name}: {entry.reason}"
            arrivals[key] = Arrival(key, _day_of(feed, key, now), ArrivalStatus.REFUSED, reason)
    waited_for = [key for key in expected if key not in arrivals]
    for key, reason in list_missing(feed, listing, waited_for, now).items():
        day = _day_of(feed, key, now)
        arrivals[key] = Arrival(key, day, ArrivalStatus.MISSING, reason)
    return [arrivals[key] for key in sorted(arrivals)]


def list_missing(
    feed: Feed, listing: Listing, expected: Iterable[str], now: datetime
) -> dict[str, str]:
    """Return the partitions whose file is due and has not arrived, or arrived without its marker.

    Args:
        feed: The feed.
        listing: The feed's files, as listed.
        expected: The partition keys without rows that should eventually have a file.
        now: The time to compare with, UTC.

    Returns:
        One sentence per partition key.
    """
    missing = {}
    for key in expected:
        due, files = due_at(feed, key), listing.by_key.get(key, [])
        if due is None or due >= now or any(not file.lacks for file in files):
            continue
        what = f"{files[0].name}: {files[0].lacks}" if files else "no file has come"
        if is_left_out(feed.file_names.start_of_key(key), listing.first_name):
            what = "no file is in the ledger"
        missing[key] = f"{what}; it was due at {_minute(due)}"
    return missing


def list_unpunctual(
    feed: Feed,
    ledger: Ledger,
    listing: Listing,
    expected: Iterable[str],
    now: datetime,
) -> dict[str, str]:
    """Return the recently due partitions whose file arrived late or has not arrived.

    Nor has one come where several stand for one partition, and none was loaded. A file that broke
    the contract has come: its run fails, and says why.

    Args:
        feed: The feed.
        ledger: What the ledger knows of the feed.
        listing: The feed's files, as listed.
        expected: The partition keys that should eventually have a file.
        now: The time to compare with, UTC.

    Returns:
        One sentence per partition key.
    """
    recent = {key for key in expected if _is_recent(feed, key, now)}
    of_recent = Ledger({row.source_file: row for row in ledger if row.partition_key in recent})
    passed_over = {entry.partition_key for entry in listing.refused}
    unloaded = passed_over.intersection(recent) - of_recent.loaded_keys
    return {
        arrival.partition_key: arrival.reason
        for arrival in list_arrivals(feed, of_recent, listing, recent, now)
        if arrival.status in (ArrivalStatus.LATE, ArrivalStatus.MISSING)
        or arrival.partition_key in unloaded
    }


def list_overdue(
    feed: Feed,
    ledger: Ledger,
    listing: Listing,
    expected: Iterable[str],
    now: datetime,
) -> dict[str, str]:
    """Return the recently due partitions of which nothing is loaded yet.

    A file that came late and is loaded is nobody's business any more.

    Args:
        feed: The feed.
        ledger: What the ledger knows of the feed.
        listing: The feed's files, as listed.
        expected: The partition keys that should eventually have a file.
        now: The time to compare with, UTC.

    Returns:
        One sentence per partition key.
    """
    late = list_unpunctual(feed, ledger, listing, expected, now)
    loaded = ledger.loaded_keys
    return {key: reason for key, reason in late.items() if key not in loaded}


def list_short(feed: Feed, ledger: Ledger) -> dict[str, str]:
    """Return the partitions of the latest load with far fewer rows than those before them.

    Args:
        feed: The feed, whose partitions form a time series.
        ledger: What the ledger knows of the feed.

    Returns:
        One sentence per partition key.
    """
    latest = max((row.loaded_at for row in ledger if row.loaded_at), default=None)
    before: deque[int] = deque(maxlen=USUAL_OF)
    short = {}
    for key, rows in ledger.by_key.items():
        loaded = [row for row in rows if row.loaded_at]
        if not loaded:
            continue
        row_count = sum(row.row_count for row in loaded)
        is_latest = any(row.loaded_at == latest for row in loaded)
        if is_latest and len(before) >= LEAST_USUAL:
            usual = median(before)
            if row_count < usual * feed.short_below_percent / 100:
                short[key] = (
                    f"{row_count:,} rows; {usual:,g} is the median of the {len(before)} "
                    "partitions before it"
                )
        before.append(row_count)
    return short


def _is_refusal(row: LedgerRow, listing: Listing) -> bool:
    """Return whether a ledger row refuses a file that is still there."""
    return row.status == LoadStatus.REFUSED and listing.is_there(row.source_file)


def _landed_at(row: LedgerRow) -> datetime:
    return datetime.fromtimestamp(row.landed_ns / 1e9, UTC)


def _is_recent(feed: Feed, partition_key: str, now: datetime) -> bool:
    due = due_at(feed, partition_key)
    return due is not None and due <= now < due + LATE_FOR


def _why_late(feed: Feed, partition_key: str, came: datetime) -> str:
    due = due_at(feed, partition_key)
    if due is None or not due < came < due + LATE_FOR:
        return ""
    return f"the file came at {_minute(came)}; it was due at {_minute(due)}"


def _day_of(feed: Feed, partition_key: str, moment: datetime) -> date:
    window = feed.window_of(partition_key)
    return window[0].astimezone(feed.zone).date() if window else moment.date()


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
