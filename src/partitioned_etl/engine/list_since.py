"""List since: which names a look leaves out, because they begin with a date that is too long ago.

Takes a feed with a moment or with partition keys; returns the first name that is looked at. All
names that sort before it as texts are left out, in the landing and in the ledger alike, so that
nothing is gone or new only because nobody looked.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from partitioned_etl.engine.errors import PartitionKeyError

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

_LAST_CHARACTER = "~"
"""Of those that names have, it sorts last."""


def find_first_name(feed: "Feed", now: datetime | None = None) -> str:
    """Return the first name that a look is interested in; empty if that is all of them.

    It is the start of all names of the period in which `list_since_days` ago lies.

    Args:
        feed: The feed.
        now: The moment of the look; by default the current one. Its day is that in the feed's time
            zone.
    """
    if feed.list_since_days is None:
        return ""
    day = (now or datetime.now(UTC)).astimezone(feed.zone).date()
    day = feed.first_day_of(day - timedelta(days=feed.list_since_days))
    return feed.file_names.start_of_date(day)


def find_first_name_of(feed: "Feed", keys: Iterable[str], now: datetime | None = None) -> str:
    """Return the first name that a look is interested in which also concerns partitions.

    Args:
        feed: The feed.
        keys: The partition keys; those that the feed does not accept have no name.
        now: As for `find_first_name`.
    """
    first = find_first_name(feed, now)
    for key in keys if first else ():
        try:
            feed.check_partition_key(key)
        except PartitionKeyError:
            continue
        first = min(first, feed.file_names.start_of_key(key))
    return first


def is_left_out(name: str, first_name: str) -> bool:
    """Return whether a look leaves a name out."""
    return name < first_name


def is_folder_left_out(folder: str, first_name: str) -> bool:
    """Return whether a look leaves out all names in a folder."""
    start = f"{folder}/"
    return start < first_name[: len(start)]


def find_name_before(first_name: str) -> str:
    """Return a text that sorts before a first name, and after nearly all that sorts before it."""
    number = first_name
    while not number[-1].isdecimal():
        number = number[:-1]
    return f"{number[:-1]}{chr(ord(number[-1]) - 1)}{_LAST_CHARACTER}"
