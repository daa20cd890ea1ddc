"""Places: which feeds a message is about.

Takes a landing's address and a feed's folder in it; tells whether an object that a message names
may be one of the feed's. Whether its name is one of a file of the feed, the look at it tells.
"""

from pathlib import Path
from posixpath import join, normpath
from typing import NamedTuple

from partitioned_etl.engine.notifications.messages import NamedObject


class FeedPlace(NamedTuple):
    """Where a feed's files lie, as messages name it.

    Attributes:
        bucket: The bucket; empty if it is a folder.
        prefix: What keys, or absolute paths, of the feed's files begin with.
        folder: The same, seen from the landing.
    """

    bucket: str
    prefix: str
    folder: str

    def may_hold(self, named: NamedObject) -> bool:
        """Return whether what a message names lies in the place, or the place in it."""
        if named.bucket:
            return named.bucket == self.bucket and _meet(named.key, self.prefix)
        return _meet(named.key, self.prefix) or _meet(named.key, self.folder)


def place_of(address: Path | str, folder: str) -> FeedPlace:
    """Return where a feed's files lie.

    Args:
        address: Its landing: a folder, or a URL as `parse_address` returns it.
        folder: The feed's folder in it.
    """
    within = normpath(join(folder, "x")).removesuffix("x")
    if isinstance(address, Path):
        return FeedPlace("", f"{address.absolute().as_posix().rstrip('/')}/{within}", within)
    bucket, _, prefix = address.partition("://")[2].partition("/")
    return FeedPlace(bucket, f"{prefix}/{within}" if prefix else within, within)


def _meet(key: str, prefix: str) -> bool:
    """Return whether a key lies below a prefix, or is empty or a folder that has the prefix."""
    return not key or key.startswith(prefix) or prefix.startswith(f"{key.rstrip('/')}/")
