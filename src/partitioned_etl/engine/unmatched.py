"""Unmatched: what lies in a feed's folder, and is a file of no feed.

Takes what a listing ignored, and all feeds; returns the entries that nobody will ever load. What is
hidden or temporary is none of them, nor is what another feed finds in the same folder.
"""

from collections.abc import Iterable, Sequence
from posixpath import join, normpath

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import PassedOver


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
    others = [other for other in feeds if other.name != feed.name]
    return [entry for entry in entries if not any(_is_of(other, feed, entry) for other in others)]


def _is_of(other: Feed, feed: Feed, entry: PassedOver) -> bool:
    """Return whether an entry of a feed's folder is one of another feed."""
    path = normpath(join(feed.folder, entry.name))
    folder = normpath(join(other.folder, "x")).removesuffix("x")
    if folder.startswith(f"{path}/"):
        return True
    if not path.startswith(folder):
        return False
    name = path.removeprefix(folder)
    names, done = other.file_names, other.done_suffix
    is_folder = name.count("/") < names.depth and names.matches_folder(name)
    is_marker = bool(done) and name.endswith(done) and names.match(name.removesuffix(done))
    return bool(is_folder or is_marker or names.match(name))
