"""Unmatched: what lies in a feed's folder, and is a file of no feed.

Takes what a listing ignored, and all feeds; returns the entries that nobody will ever load. What is
hidden or temporary is none of them, nor is what another feed finds in the same folder.
"""

from collections.abc import Iterable, Sequence

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.overlap import folder_of, may_share_files


def list_unmatched(
    feed: Feed, ignored: Sequence[PassedOver], feeds: Iterable[Feed]
) -> list[PassedOver]:
    """Return the entries of a feed's folder that are of no feed.

    Args:
        feed: The feed.
        ignored: What a listing of its files ignored.
        feeds: All feeds, which may share the folder, or have one in it.
    """
    entries = [entry for entry in ignored if entry.is_unmatched]
    if not entries:  # then the feeds need not be found
        return []
    own = folder_of(feed)
    others = [
        (folder_of(other), other)
        for other in feeds
        if other.name != feed.name and may_share_files(feed, other)
    ]
    return [
        entry
        for entry in entries
        if not any(_is_of(other, folder, own + entry.name) for folder, other in others)
    ]


def _is_of(feed: Feed, folder: str, path: str) -> bool:
    """Return whether what lies at a path is of a feed, whose folder it may be or lead to."""
    if folder.startswith(f"{path}/"):
        return True
    if not path.startswith(folder):
        return False
    name = path.removeprefix(folder)
    names = feed.file_names
    is_folder = name.count("/") < names.depth and names.matches_folder(name)
    return bool(is_folder or feed.is_marker(name) or names.match(name))
