"""Landing: what every place where files land must be able to do, and what it says of a file.

A landing lists a feed's files, each with its version, opens them, and puts them where DuckDB can
read them. What a version is made of is known to its landing alone. Next: `plan.py` compares the
listing with the ledger. `local.py` is a folder; another kind of place is another module here.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.list_since import is_left_out

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed
    from partitioned_etl.engine.landing.names import Bounds, Scan


CHUNK_BYTES = 1 << 22


class Readable(Protocol):
    """A source of bytes that are read from start to end."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes; fewer only at the end."""
        ...


class Place(Protocol):
    """One feed's part of a landing, such as a folder; its files are named relative to it."""

    def path_of(self, name: str) -> Path:
        """Return where DuckDB reads a file, once it is staged.

        Raises:
            LandedFileError: It is not, or could not be.
        """
        ...

    def uri_of(self, name: str) -> str:
        """Return the address of a file, for people."""
        ...

    def count_missing(self, name: str) -> int:
        """Return how many bytes of a staged file are still on their way, at most.

        Whoever opens it reads it as it arrives.
        """
        ...

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the files that are gone, cannot be looked at, or have another version now.

        Args:
            versions: The version of each file, by its name.
        """
        ...

    def open(self, name: str, version: str) -> AbstractContextManager[BinaryIO]:
        """Open a file of a version, never through a link and never a pipe or a device.

        Raises:
            LandedFileError: It is gone, is no regular file, or has another version.
        """
        ...


class LandedFile(NamedTuple):
    """A file of a feed in its landing.

    Every listing creates one per file, so it is a tuple, which is cheap to create.

    Attributes:
        partition_key: The partition that it belongs to.
        name: Its name in its place, as in column `source_file`.
        version: What cheaply tells that it may have changed; opaque to all but its landing.
        size_bytes: Its length.
        landed_ns: When it last changed, in nanoseconds since 1970, by a clock that no sender sets.
        place: The place that it lies in.
        lacks: That something the feed requires with it has not landed, one sentence; or empty.
    """

    partition_key: str
    name: str
    version: str
    size_bytes: int
    landed_ns: int
    place: Place
    lacks: str = ""

    @property
    def path(self) -> Path:
        """Where DuckDB reads it."""
        return self.place.path_of(self.name)

    @property
    def uri(self) -> str:
        """Its address, for people."""
        return self.place.uri_of(self.name)

    @property
    def missing_bytes(self) -> int:
        """How many of its bytes are still on their way to where it is staged, at most."""
        return self.place.count_missing(self.name)

    @property
    def has_changed(self) -> bool:
        """Whether it is no longer the version that was listed."""
        return bool(list_changed([self]))

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open exactly the version that was listed.

        Raises:
            LandedFileError: It is gone, is no regular file, or changed since it was listed.
        """
        return self.place.open(self.name, self.version)

    def is_settled(self, settle_seconds: float, now_ns: int | None = None) -> bool:
        """Return whether the file has been unchanged for the settle time.

        A change further in the future than the settle time comes from a clock that was set back,
        and counts as settled.

        Args:
            settle_seconds: How long a file must have been unchanged.
            now_ns: The time to compare with, in nanoseconds since 1970; by default the current
                time.
        """
        now_ns = time.time_ns() if now_ns is None else now_ns
        return abs(now_ns - self.landed_ns) >= settle_seconds * 1e9

    def why_not_ready(self, settle_seconds: float, now_ns: int | None = None) -> str:
        """Return why the file may not be read yet; empty if it may.

        Args:
            settle_seconds: How long a file must have been unchanged.
            now_ns: The time to compare with, in nanoseconds since 1970; by default the current
                time.
        """
        if self.lacks:
            return self.lacks
        if not self.is_settled(settle_seconds, now_ns):
            return "it is still being written"
        return ""


def list_changed(files: Iterable[LandedFile]) -> list[LandedFile]:
    """Return those files that are no longer the versions that were listed."""
    by_place: dict[Place, dict[str, LandedFile]] = {}
    for file in files:
        by_place.setdefault(file.place, {})[file.name] = file
    return [
        file
        for place, of_place in by_place.items()
        for changed in [place.find_changed({file.name: file.version for file in of_place.values()})]
        for file in of_place.values()
        if file.name in changed
    ]


def changed_while_read(file: LandedFile) -> LandedFileError:
    """Return the error for a file whose bytes are no longer those read before."""
    return LandedFileError(f"{file.name}: changed while it was read; it will be read again")


def read_chunks(handle: Readable) -> Iterator[bytes]:
    """Read a file in chunks of a few MiB."""
    while chunk := handle.read(CHUNK_BYTES):
        yield chunk


def hash_content(file: LandedFile) -> str:
    """Return the sha256 of a landed file's bytes, in hexadecimal.

    Raises:
        LandedFileError: The file is gone or changed since it was listed.
    """
    digest = sha256()
    with file.open() as handle:
        for chunk in read_chunks(handle):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class PassedOver:
    """An entry that was skipped: not a landed file, or not usable for any partition.

    Attributes:
        name: The entry's name in its place, made printable.
        reason: Why it was skipped.
        partition_key: The key that its name stands for, if any.
        is_unmatched: Whether it is no file of the feed, and neither hidden nor temporary.
    """

    name: str
    reason: str
    partition_key: str = ""
    is_unmatched: bool = False


@dataclass
class Listing:
    """The result of one look at a feed's place.

    Attributes:
        files: The landed files that stand for a partition or a part of one, by their names, in the
            order of keys and names.
        superseded: Files that do not because another has a higher version, by their names; their
            keys have one in `files`, or in `refused`.
        ignored: Entries that do not concern this feed: hidden, temporary, not a file.
        refused: Entries that are named like a landed file but cannot be loaded.
        has_partition: Whether the feed has a partition of a key; by default of all that it accepts.
        first_name: Names that sort before it were not looked at; empty if all were.
    """

    files: dict[str, LandedFile] = field(default_factory=dict)
    superseded: dict[str, LandedFile] = field(default_factory=dict)
    ignored: list[PassedOver] = field(default_factory=list)
    refused: list[PassedOver] = field(default_factory=list)
    has_partition: Callable[[str], bool] = field(default=lambda _: True, compare=False)
    first_name: str = ""

    @cached_property
    def by_key(self) -> dict[str, list[LandedFile]]:
        """The files of each partition, which is the union of them."""
        return group_by_key(self.files.values())

    def is_there(self, name: str) -> bool:
        """Return whether a file that was there is not known to be gone."""
        return name in self.files or is_left_out(name, self.first_name)


def group_by_key(files: Iterable[LandedFile]) -> dict[str, list[LandedFile]]:
    """Return files by their partition keys."""
    found: dict[str, list[LandedFile]] = {}
    for file in files:
        found.setdefault(file.partition_key, []).append(file)
    return found


class Landing(Protocol):
    """Where files land. What an implementation does beyond this is its own business."""

    @property
    def settle_seconds(self) -> float:
        """How long a file must be unchanged before it is loaded; 0 where writes are atomic."""
        ...

    @property
    def readable_dir(self) -> Path:
        """The one folder in which DuckDB may read files."""
        ...

    def describe(self, feed: "Feed") -> str:
        """Return where a feed's files lie, for messages."""
        ...

    def list_files(self, feed: "Feed") -> Listing:
        """List a feed's place once.

        Returns:
            The landed files and what was skipped. Names that differ only in case or in Unicode form
            stand for one partition key, because a file system or a database may not tell them
            apart.

        Raises:
            LandedFileError: The landing does not exist, or cannot be read.
        """
        ...

    def scan(self, feed: "Feed", bounds: "Bounds | None" = None, first_name: str = "") -> "Scan":
        """Look at a feed's place once, as `list_files` does, and leave open what is listed of it.

        Args:
            feed: The feed.
            bounds: What else decides whether the feed takes a file.
            first_name: Names that sort before it are not looked at; empty to look at all.

        Raises:
            LandedFileError: The landing does not exist, or cannot be read.
        """
        ...

    def stage(self, files: Sequence[LandedFile]) -> AbstractContextManager[Sequence[LandedFile]]:
        """Bring files to where DuckDB reads them, for the time of one load.

        Files that are staged already stay as they are.

        Yields:
            The files as they are to be read, in the order given, and some may still be on their
            way. One that cannot be brought there says why when it is opened; the others are not
            concerned.
        """
        ...


def find_landed_files(
    feed: "Feed", landing: Landing, listing: Listing, key: str
) -> list[LandedFile]:
    """Find the landed files of a partition key in a listing: one, unless the feed has parts.

    Args:
        feed: The feed.
        landing: The landing, for the message.
        listing: The feed's place, as listed.
        key: The partition key, which is looked up and never turned into a path.

    Raises:
        LandedFileError: There is no such file, or it cannot be used for the key.
    """
    files = listing.by_key.get(key)
    if files:
        return files
    where = f"feed {feed.name}, partition key {key[:200]!a}"
    for passed_over in listing.refused:
        if passed_over.partition_key == key:
            raise LandedFileError(f"{where}: {passed_over.name}: {passed_over.reason}")
    raise LandedFileError(
        f"{where}: no file in {landing.describe(feed)} matches the pattern {feed.pattern!r}"
    )
