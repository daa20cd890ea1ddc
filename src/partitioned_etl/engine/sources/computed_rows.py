"""Computed rows: what a function gave for a key becomes a landed file of that key.

Takes a feed with source `parameters`, a key and its rows; writes them under a hidden name beside
the feeds' folders, and renames the file when it is whole. So the landing never shows half of it,
and what follows is the same as for any landed file. A function that fails halfway leaves the file
as it was.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import PartitionKeyError, SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.landing.slots import to_one_spelling
from partitioned_etl.engine.sources.difference import MirrorPlace, why_unusable
from partitioned_etl.engine.sources.json_rows import Rows as Rows
from partitioned_etl.engine.sources.json_rows import write_records
from partitioned_etl.engine.sources.mirror import alone, find_place

_PREFIX = "rows-"


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


def land_rows(feed: Feed, landing_dir: Path, key: str, compute: Callable[[], Rows]) -> str:
    """Let the rows of a key land as a whole file, in place of the one before.

    Args:
        feed: The feed, with source `parameters`.
        landing_dir: Its landing directory.
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
    with _written_to(feed, landing_dir):
        place = find_place(feed, landing_dir)
    with _aside(feed, landing_dir, place) as file:
        for number, record in enumerate(write_records(compute())):
            with _written_to(feed, landing_dir):
                file.write(f"{',' if number else '['}\n{record}".encode())
            failpoints.reach(failpoints.MID_FETCH)
        with _written_to(feed, landing_dir):
            file.write(b"\n]\n" if file.tell() else b"[]\n")
            file.flush()
            os.fsync(file.fileno())
            failpoints.reach(failpoints.BEFORE_LANDING)
            place.folder.mkdir(parents=True, exist_ok=True)
            Path(file.name).replace(place.folder / name)
    failpoints.reach(failpoints.AFTER_LANDING)
    return name


def remove_files(files: Iterable[LandedFile]) -> None:
    """Remove files of computed rows, but none that changed since it was listed."""
    for file in files:
        if not file.has_changed:
            file.path.unlink(missing_ok=True)


@contextmanager
def _aside(feed: Feed, landing_dir: Path, place: MirrorPlace) -> Iterator[BinaryIO]:
    """Open a new file beside the folders of the feeds, for as long as it takes to compute its rows.

    Many processes may do so at once, each for keys of its own. What a killed one left is removed:
    nobody holds its lock any more.
    """
    with _written_to(feed, landing_dir), alone(place.state):
        for path in place.state.glob(f"{_PREFIX}*"):
            _remove_if_left(path)
        file = (place.state / f"{_PREFIX}{token_hex(8)}").open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield file
    finally:
        Path(file.name).unlink(missing_ok=True)
        file.close()


def _remove_if_left(path: Path) -> None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # its process has renamed or removed it meanwhile
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        path.unlink(missing_ok=True)


@contextmanager
def _written_to(feed: Feed, landing_dir: Path) -> Iterator[None]:
    """Say of an error that the landing cannot be written to; the function's own pass by."""
    try:
        yield
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise SourceError(f"feed {feed.name}: {landing_dir} cannot be written to: {what}") from None
