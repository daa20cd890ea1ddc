"""Landing: what is in a feed's folder.

Takes a feed and the landing directory; returns landed files with key and signature, and what it
skipped and why. Next: `reconcile.py` compares them with the ledger. Reading a file's bytes belongs
in `opening.py`; what it must contain, in `contract.py`.
"""

import os
import stat
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from partitioned_etl.ingest.collection import no_garbage_collection
from partitioned_etl.ingest.errors import LandedFileError, PartitionKeyError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.file_names import KEY_SEPARATOR

_PATTERN_CHARACTERS = "*?[\\"
"""Characters in a folder's name that DuckDB reads as a pattern, however they are escaped."""
_MOST_NS = 2**63 - 1
"""The most nanoseconds since 1970 that the ledger can hold; some senders set later times."""
_TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp")


class Signature(NamedTuple):
    """What `stat` reports for a file: cheap to read, and different if the file may have changed.

    Attributes:
        size_bytes: Length of the file.
        mtime_ns: Time of the last write, which a sender can set; capped at the year 2262.
        ctime_ns: Time of the last change to the file or its name, set only by the kernel.
        inode: Number of the file in its file system.
    """

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Signature":
        """Return the signature in a `stat` result."""
        mtime_ns = status.st_mtime_ns
        if not -_MOST_NS <= mtime_ns <= _MOST_NS:
            mtime_ns = _MOST_NS if mtime_ns > 0 else -_MOST_NS
        return cls(status.st_size, mtime_ns, status.st_ctime_ns, status.st_ino)

    def is_settled(self, settle_seconds: float, now_ns: int | None = None) -> bool:
        """Return whether the file has been unchanged for the settle time.

        The kernel's ctime is used, because a copy may keep an old mtime. A ctime further in the
        future than the settle time comes from a clock that was set back, and counts as settled.

        Args:
            settle_seconds: How long a file must have been unchanged.
            now_ns: The time to compare with, in nanoseconds since 1970; by default the current
                time.
        """
        age_ns = (time.time_ns() if now_ns is None else now_ns) - self.ctime_ns
        return abs(age_ns) >= settle_seconds * 1e9


class LandedFile(NamedTuple):
    """A regular file in a feed's folder whose name matches the feed's pattern.

    Every scan creates one per file, so it is a tuple, which is cheap to create.

    Attributes:
        partition_key: The partition that it belongs to.
        folder: The feed's folder.
        name: The file name relative to the feed's folder, as in column `source_file`.
        signature: What `stat` reports for it.
        lacks_marker: Whether the marker file that the feed requires beside it is absent.
    """

    partition_key: str
    folder: Path
    name: str
    signature: Signature
    lacks_marker: bool = False

    def __fspath__(self) -> str:
        """Return its path, for functions that open files."""
        return f"{self.folder}/{self.name}"

    @property
    def path(self) -> Path:
        """Its path."""
        return Path(self)

    def why_not_ready(self, settle_seconds: float, now_ns: int | None = None) -> str:
        """Return why the file may not be read yet; empty if it may.

        Args:
            settle_seconds: How long a file must have been unchanged.
            now_ns: The time to compare with, in nanoseconds since 1970; by default the current
                time.
        """
        if self.lacks_marker:
            return "its marker file has not landed"
        if not self.signature.is_settled(settle_seconds, now_ns):
            return "it is still being written"
        return ""


@dataclass(frozen=True)
class PassedOver:
    """A directory entry that was skipped: not a landed file, or not usable for any partition.

    Attributes:
        name: The entry's name relative to the feed's folder, made printable.
        reason: Why it was skipped.
        partition_key: The key that its name stands for, if any.
    """

    name: str
    reason: str
    partition_key: str = ""


@dataclass
class Listing:
    """The result of one scan of a feed's folder.

    Attributes:
        files: Landed file per partition key, in the order of the keys.
        ignored: Entries that do not concern this feed: hidden, temporary, not a file.
        refused: Entries that are named like a landed file but cannot be loaded.
    """

    files: dict[str, LandedFile] = field(default_factory=dict)
    ignored: list[PassedOver] = field(default_factory=list)
    refused: list[PassedOver] = field(default_factory=list)


def feed_folder(feed: Feed, landing_dir: Path) -> Path:
    """Return the folder that a feed's files land in."""
    return Path(landing_dir) / feed.folder


@no_garbage_collection()
def list_landed_files(feed: Feed, landing_dir: Path) -> Listing:
    """List a feed's folder once, with its subfolders if the feed's pattern has a folder.

    Args:
        feed: The feed.
        landing_dir: The landing directory, which contains the feed's folder.

    Returns:
        The landed files and what was skipped. A folder that does not exist is listed as ignored.
        Names that differ only in case or in Unicode form stand for one partition key, because a
        file system or a database may not tell them apart.

    Raises:
        LandedFileError: The landing directory does not exist, or a folder cannot be read.
    """
    folder = feed_folder(feed, landing_dir)
    _check_folder(feed, folder, Path(landing_dir))
    listing = Listing()
    found: list[LandedFile] = []
    markers: set[str] = set()
    try:
        if not feed.file_names.has_folder:
            found += _list_folder(feed, folder, "", markers, listing)
        else:
            for name in _list_subfolders(feed, folder, listing):
                try:
                    found += _list_folder(feed, folder, name, markers, listing)
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        listing.ignored.append(PassedOver(str(folder), "the feed's folder does not exist"))
        return listing
    except OSError as error:
        raise LandedFileError(f"feed {feed.name}: cannot list {folder}: {error}") from error
    alone = _refuse_look_alikes(feed, found, listing)
    for file in sorted(alone, key=lambda file: file.partition_key):
        lacks_marker = feed.done_suffix and file.name + feed.done_suffix not in markers
        listing.files[file.partition_key] = (
            file._replace(lacks_marker=True) if lacks_marker else file
        )
    listing.ignored.sort(key=lambda passed_over: passed_over.name)
    listing.refused.sort(key=lambda passed_over: passed_over.name)
    return listing


def _list_subfolders(feed: Feed, folder: Path, listing: Listing) -> list[str]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name, shown = entry.name, _printable(entry.name)
            is_named = feed.file_names.matches_folder(name) and not _is_hidden_or_temporary(name)
            if not is_named or not entry.is_dir(follow_symlinks=False):
                listing.ignored.append(PassedOver(shown, _reason_to_ignore(feed, entry)))
            elif any(character in name for character in _PATTERN_CHARACTERS):
                reason = "DuckDB takes a character of the folder's name for a pattern: one of "
                listing.refused.append(PassedOver(shown, reason + " ".join(_PATTERN_CHARACTERS)))
            else:
                names.append(name)
    return sorted(names)


def _list_folder(
    feed: Feed, folder: Path, subfolder: str, markers: set[str], listing: Listing
) -> list[LandedFile]:
    """List the feed's folder, or a folder in it."""
    found = []
    prefix = f"{subfolder}/" if subfolder else ""
    opening = _open_folder(folder / subfolder, follow_symlinks=not subfolder)
    with opening as opened, os.scandir(opened) as entries:
        for entry in entries:
            if feed.done_suffix and entry.name.endswith(feed.done_suffix):
                markers.add(prefix + entry.name)
            elif file := _list_entry(feed, folder, prefix, entry, listing):
                found.append(file)
    return found


@contextmanager
def _open_folder(folder: Path, *, follow_symlinks: bool) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    opened = os.open(folder, flags if follow_symlinks else flags | os.O_NOFOLLOW)
    try:
        yield opened
    finally:
        os.close(opened)


def _refuse_look_alikes(
    feed: Feed, found: Sequence[LandedFile], listing: Listing
) -> list[LandedFile]:
    """Return the files that are the only one for their key and whose name has a single spelling."""
    first: dict[str, LandedFile] = {}
    together: dict[str, list[LandedFile]] = {}
    for file in found:
        key = _one_spelling(file.partition_key)
        other = first.setdefault(key, file)
        if other is not file:
            together.setdefault(key, [other]).append(file)
    reasons: dict[str, str] = {}
    if feed.file_names.has_folder:
        spellings: dict[str, set[str]] = defaultdict(set)
        for name in {_name_in_key(file) for file in found}:
            spellings[_one_spelling(name)].add(name)
        for file in found:
            names = spellings[_one_spelling(_name_in_key(file))]
            if len(names) > 1:
                reasons[file.name] = f"several spellings of one name: {', '.join(sorted(names))}"
    for files in together.values():
        names = sorted(file.name for file in files)
        reason = f"several files stand for one partition key: {', '.join(names)}"
        reasons |= dict.fromkeys(names, reason)
    listing.refused += [
        PassedOver(file.name, reasons[file.name], file.partition_key)
        for file in found
        if file.name in reasons
    ]
    return [file for file in found if file.name not in reasons]


def _name_in_key(file: LandedFile) -> str:
    return file.partition_key.partition(KEY_SEPARATOR)[0]


def _one_spelling(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _check_folder(feed: Feed, folder: Path, landing_dir: Path) -> None:
    if not landing_dir.is_dir():
        raise LandedFileError(f"the landing directory {landing_dir} does not exist")
    if any(character in str(folder.absolute()) for character in _PATTERN_CHARACTERS):
        raise LandedFileError(
            f"feed {feed.name}: DuckDB takes a character of {folder} for a pattern: one of * ? [ \\"
        )
    if not folder.resolve().is_relative_to(landing_dir.resolve()):
        raise LandedFileError(f"feed {feed.name}: {folder} is linked out of {landing_dir}")


def find_landed_file(feed: Feed, landing_dir: Path, listing: Listing, key: str) -> LandedFile:
    """Find the landed file of a partition key in a listing.

    Args:
        feed: The feed.
        landing_dir: The landing directory, for the message.
        listing: The feed's folder, as listed.
        key: The partition key, which is looked up and never turned into a path.

    Raises:
        LandedFileError: There is no such file, or it cannot be used for the key.
    """
    file = listing.files.get(key)
    if file is not None:
        return file
    where = f"feed {feed.name}, partition key {key[:200]!a}"
    for passed_over in listing.refused:
        if passed_over.partition_key == key:
            raise LandedFileError(f"{where}: {passed_over.name}: {passed_over.reason}")
    raise LandedFileError(
        f"{where}: no file in {feed_folder(feed, landing_dir)} matches the pattern {feed.pattern!r}"
    )


def _list_entry(
    feed: Feed, folder: Path, prefix: str, entry: os.DirEntry[str], listing: Listing
) -> LandedFile | None:
    name = prefix + entry.name
    match = feed.file_names.match(name)
    if match is None or _is_hidden_or_temporary(entry.name):
        listing.ignored.append(PassedOver(_printable(name), _reason_to_ignore(feed, entry)))
        return None
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        listing.ignored.append(PassedOver(_printable(name), _reason_to_ignore(feed, entry)))
        return None
    try:
        key = feed.file_names.key_of(match)
        feed.check_partition_key(key)
        _check_duckdb_can_open(name)
    except PartitionKeyError as error:
        listing.refused.append(PassedOver(_printable(name), str(error)))
        return None
    return LandedFile(key, folder, name, Signature.of(status))


def _check_duckdb_can_open(name: str) -> None:
    if "\\" in name:
        raise PartitionKeyError("the name holds a backslash, which DuckDB takes for an escape")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise PartitionKeyError("the name is not UTF-8") from None


def _is_hidden_or_temporary(name: str) -> bool:
    return name.startswith((".", "~")) or name.endswith((*_TEMPORARY_SUFFIXES, "~"))


def _reason_to_ignore(feed: Feed, entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "hidden file"
    if _is_hidden_or_temporary(entry.name):
        return "temporary file"
    if entry.is_symlink():
        return "symbolic link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    return f"the name does not match the pattern {feed.pattern!r}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
