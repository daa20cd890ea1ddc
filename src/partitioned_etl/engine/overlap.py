"""Overlap: whether a file that one feed takes is a file of another one, too.

Takes feeds, whose folders may be the same or one within the other; returns what they have in
common. A file of two feeds is loaded by neither: its rows would be in two tables, or in the wrong
one. Next: `isolation.py` refuses two such feeds where a common file is certain; what lands is
refused where it is listed.
"""

from collections.abc import Iterable

from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.feed import Feed


def folder_of(feed: Feed) -> str:
    """Return a feed's folder with a slash behind it; empty for the landing directory itself.

    Where the feed has a landing of its own, that is in front.
    """
    return feed.path_from_landing("x").removesuffix("x")


def may_share_files(feed: Feed, other: Feed) -> bool:
    """Return whether the folder of one of two feeds is, or is in, that of the other."""
    folder, other_folder = folder_of(feed), folder_of(other)
    return folder.startswith(other_folder) or other_folder.startswith(folder)


def key_of_path(feed: Feed, path: str) -> str:
    """Return the partition key of a file in the landing directory; empty if the feed has no such.

    Args:
        feed: The feed.
        path: The file's name with its folders, from the landing directory on.
    """
    folder = folder_of(feed)
    if not path.startswith(folder):
        return ""
    try:
        return feed.partition_key_of(path.removeprefix(folder))
    except PartitionKeyError:
        return ""


def list_common_files(feed: Feed, keys: Iterable[str], other: Feed) -> list[tuple[str, str, str]]:
    """Return files of some partitions of a feed that are files of another one, too.

    Args:
        feed: The feed.
        keys: Keys of some of its partitions.
        other: The other feed.

    Returns:
        For each, its path from the landing directory on, and its key in either feed.
    """
    paths = {folder_of(feed) + feed.file_names.name_of(key): key for key in keys}
    found = [(path, key, key_of_path(other, path)) for path, key in paths.items()]
    return [one for one in found if one[2] and key_of_path(feed, one[0]) == one[1]]
