"""Computed rows: what a function gave for a key becomes a landed file of that key.

Takes a feed with source `parameters`, a key and its rows; writes them aside, and lets the file land
when it is whole. So the landing never shows half of it, and what follows is the same as for any
landed file. A function that fails halfway leaves the file as it was.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import PartitionKeyError, SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.landing.slots import to_one_spelling
from partitioned_etl.engine.sources.difference import why_unusable
from partitioned_etl.engine.sources.json_rows import Rows as Rows
from partitioned_etl.engine.sources.json_rows import write_records
from partitioned_etl.engine.sources.places import find_place, landing_may_fail


def list_spellings(keys: Iterable[str]) -> dict[str, str]:
    """Return keys by what they are where case and Unicode form make no difference."""
    return {to_one_spelling(key): key for key in keys}


def check_key(feed: Feed, key: str, spellings: Mapping[str, str] | None = None) -> None:
    """Make sure that the rows of a key can be a file of their own.

    Args:
        feed: The feed.
        key: The key, as a person gave it.
        spellings: The keys that are there, as `list_spellings` gives them.

    Raises:
        PartitionKeyError: They cannot, or the feed does not accept the key.
    """
    feed.check_partition_key(key)
    if reason := why_unusable(feed, feed.file_names.name_of(key)):
        raise PartitionKeyError(f"partition key {key[:200]!a}: as the name of a file, {reason}")
    other = (spellings or {}).get(to_one_spelling(key), key)
    if other != key:
        raise PartitionKeyError(
            f"partition key {key[:200]!a} is another spelling of {other[:200]!a}, which is there: "
            "not every file system tells their files apart"
        )


def land_rows(feed: Feed, landing_dir: Path | str, key: str, compute: Callable[[], Rows]) -> str:
    """Let the rows of a key land as a whole file, in place of one before that has other rows.

    Args:
        feed: The feed, with source `parameters`.
        landing_dir: Its landing directory, or a bucket's prefix.
        key: The key.
        compute: Returns or yields the rows; it is called once.

    Returns:
        The name of the file.

    Raises:
        PartitionKeyError: The feed does not accept the key.
        ContractError: A row holds something that cannot be written exactly.
        SourceError: The landing cannot be written to, or the feed has another source, or none.
        Exception: Whatever the function raises.
    """
    if not feed.is_computed:
        raise SourceError(f"feed {feed.name}: rows are computed only with source parameters")
    check_key(feed, key)
    name = feed.file_names.name_of(key)
    place = find_place(feed, landing_dir)
    with ExitStack() as stack:
        with landing_may_fail(feed, landing_dir):
            place.check()
            file = stack.enter_context(place.aside())
        for number, record in enumerate(write_records(compute())):
            with landing_may_fail(feed, landing_dir):
                file.write(f"{',' if number else '['}\n{record}".encode())
            failpoints.reach(failpoints.MID_FETCH)
        with landing_may_fail(feed, landing_dir):
            file.write(b"\n]\n" if file.tell() else b"[]\n")
            file.flush()
            os.fsync(file.fileno())
            failpoints.reach(failpoints.BEFORE_LANDING)
            place.land(Path(file.name), name)
    failpoints.reach(failpoints.AFTER_LANDING)
    return name


def remove_files(feed: Feed, address: Path | str, files: Iterable[LandedFile]) -> None:
    """Remove files of computed rows, but none that changed since it was listed.

    Raises:
        SourceError: They cannot be removed.
    """
    place, versions = find_place(feed, address), {file.name: file.version for file in files}
    with landing_may_fail(feed, address):
        for name in versions.keys() - place.find_changed(versions):
            place.remove(name)
