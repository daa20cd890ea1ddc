"""Local landing: a folder with one folder per feed.

Its versions are what `stat` reports: size, times and inode. The kernel's ctime, which no sender can
set, tells when a file landed.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.landing.landing import LandedFile, Listing, PassedOver
from partitioned_etl.engine.landing.names import (
    PATTERN_CHARACTERS,
    Bounds,
    Scan,
    is_hidden_or_temporary,
)
from partitioned_etl.engine.list_since import is_folder_left_out, is_left_out

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

DEFAULT_SETTLE_SECONDS = 2.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def version_in(status: os.stat_result) -> str:
    """Return the version in a `stat` result: size, mtime, ctime and inode."""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


@dataclass(frozen=True)
class LocalFolder:
    """A feed's folder.

    Attributes:
        folder: Its path.
    """

    folder: Path

    def path_of(self, name: str) -> Path:
        """Return the path of a file."""
        return Path(f"{self.folder}/{name}")

    def uri_of(self, name: str) -> str:
        """Return the address of a file."""
        return self.path_of(name).resolve().as_uri()

    def count_missing(self, name: str) -> int:  # noqa: ARG002
        """Return that none are: DuckDB reads it where it lies."""
        return 0

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the files that are gone, or have another version now."""
        return {name for name, version in versions.items() if self._version_of(name) != version}

    def _version_of(self, name: str) -> str:
        try:
            return version_in(os.lstat(f"{self.folder}/{name}"))
        except OSError:
            return ""

    @contextmanager
    def open(self, name: str, version: str) -> Iterator[BinaryIO]:
        """Open a file of a version, never through a link and never a pipe or a device.

        Raises:
            LandedFileError: It is gone, is no regular file, or has another version.
        """
        try:
            handle = os.fdopen(os.open(f"{self.folder}/{name}", _FILE), "rb", buffering=0)
        except OSError as error:
            raise LandedFileError(f"{name}: cannot be opened: {error.strerror}") from error
        with handle:
            status = os.fstat(handle.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise LandedFileError(f"{name}: is not a regular file")
            if version_in(status) != version:
                raise LandedFileError(f"{name}: changed since it was listed")
            yield handle


@dataclass(frozen=True)
class LocalLanding:
    """A folder with one folder per feed.

    Attributes:
        directory: Its path.
        settle_seconds: How long a file must be unchanged before it is loaded.
    """

    directory: Path
    settle_seconds: float = DEFAULT_SETTLE_SECONDS

    @property
    def readable_dir(self) -> Path:
        """The folder itself: DuckDB reads its files where they lie."""
        return self.directory.resolve()

    def describe(self, feed: "Feed") -> str:
        """Return the path of a feed's folder."""
        return str(self.directory / feed.folder)

    def stage(self, files: Sequence[LandedFile]) -> nullcontext[Sequence[LandedFile]]:
        """Do nothing: DuckDB reads the files where they lie."""
        return nullcontext(files)

    def list_files(self, feed: "Feed") -> Listing:
        """List a feed's folder; see `scan`."""
        return self.scan(feed).list_files()

    def scan(self, feed: "Feed", bounds: Bounds | None = None, first_name: str = "") -> Scan:
        """Look at a feed's folder once, and at the folders in it that the feed's pattern has.

        A folder that does not exist is ignored.

        Raises:
            LandedFileError: The landing directory does not exist, or a folder cannot be read.
        """
        place = LocalFolder(self.directory / feed.folder)
        self._check_folder(feed, place.folder)
        scan = _FolderScan(feed, place, bounds, first_name)
        try:
            scan.read()
        except FileNotFoundError:
            scan = _FolderScan(feed, place, bounds, first_name)
            scan.ignored.append(PassedOver(str(place.folder), "the feed's folder does not exist"))
        except OSError as error:
            raise LandedFileError(
                f"feed {feed.name}: cannot list {place.folder}: {error}"
            ) from error
        return scan

    def _check_folder(self, feed: "Feed", folder: Path) -> None:
        if not self.directory.is_dir():
            raise LandedFileError(f"the landing directory {self.directory} does not exist")
        if any(character in str(folder.absolute()) for character in PATTERN_CHARACTERS):
            raise LandedFileError(
                f"feed {feed.name}: DuckDB takes a character of {folder} for a pattern: one of "
                + " ".join(PATTERN_CHARACTERS)
            )
        if not folder.resolve().is_relative_to(self.readable_dir):
            raise LandedFileError(f"feed {feed.name}: {folder} is linked out of {self.directory}")


class _FolderScan(Scan):
    """One look at a feed's folder."""

    def __init__(
        self, feed: "Feed", place: LocalFolder, bounds: Bounds | None, first_name: str
    ) -> None:
        super().__init__(feed, place, bounds, first_name)
        self._folder = place.folder

    def read(self) -> None:
        """Look at every entry."""
        self._read_folders("", self.feed.file_names.depth)

    def _read_folders(self, folder: str, depth: int) -> None:
        """Look at the entries of a folder, in which files are so many folders down."""
        if not depth:
            self._read_folder(folder)
            return
        for name in self._list_subfolders(folder):
            with suppress(FileNotFoundError):
                self._read_folders(name, depth - 1)

    def _list_subfolders(self, folder: str) -> list[str]:
        names = []
        for name, entry in self._scan(folder):
            if self.take_marker(name):
                continue
            if not entry.is_dir(follow_symlinks=False):
                self._ignore(name, entry)
            elif self.take_folder(name):
                names.append(name)
        return sorted(names)

    def _scan(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield the entries of the feed's folder, or of one in it, never through a link."""
        prefix = f"{folder}/" if folder else ""
        opened = os.open(self._folder, _DIRECTORY)
        try:
            for part in folder.split("/") if folder else ():
                inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
                os.close(opened)
                opened = inner
            with os.scandir(opened) as entries:
                for entry in entries:
                    name = prefix + entry.name
                    if not (self.first_name and self._leaves_out(name, entry)):
                        yield name, entry
        finally:
            os.close(opened)

    def _leaves_out(self, name: str, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir(follow_symlinks=False):
            return is_folder_left_out(name, self.first_name)
        return is_left_out(name, self.first_name)

    def _read_folder(self, folder: str) -> None:
        """Look at the entries of the feed's folder, or of a folder in it, that may be files."""
        for name, entry in self._scan(folder):
            if self.take_marker(name):
                continue
            if is_hidden_or_temporary(entry.name):
                self._ignore(name, entry)
            elif match := self.feed.file_names.match(name):
                self._add(match, entry)
            else:
                self._ignore(name, entry)

    def _add(self, match: re.Match[str], entry: os.DirEntry[str]) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if not stat.S_ISREG(status.st_mode):
            self._ignore(match.string, entry)
            return
        self.add(match, version_in(status), status.st_size, status.st_ctime_ns)

    def _ignore(self, name: str, entry: os.DirEntry[str]) -> None:
        what = ""
        if entry.is_symlink():
            what = "symbolic link"
        elif entry.is_dir(follow_symlinks=False):
            what = "folder"
        elif not entry.is_file(follow_symlinks=False):
            what = "not a regular file"
        self.ignore(name, what)
