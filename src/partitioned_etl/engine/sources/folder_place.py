"""Folder place: files that are fetched or computed land in a folder, by a rename.

What is on its way, and what is kept of a source, is below a hidden folder beside those of the
feeds. One process fetches for a feed at a time: a lock that ends with its process tells.
"""

import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.local import LocalFolder
from partitioned_etl.engine.sources.manifest import Manifest, Mark
from partitioned_etl.engine.sources.place import MANIFEST, state_folder_of

_ROWS = "rows-"


class _ManifestFile:
    """A manifest in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        return _read(self._path)

    def append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text)

    def replace(self, text: str) -> None:
        _replace(self._path, text)

    def flush(self) -> None:
        """Do nothing: every line is written at once."""


@dataclass(frozen=True)
class FolderPlace:
    """A feed's folder in a landing directory.

    Attributes:
        feed_name: The feed.
        landing_dir: The landing directory.
        folder: The feed's folder.
        state: The folder for the manifest, the lock, and files on their way.
    """

    feed_name: str
    landing_dir: Path
    folder: Path
    state: Path

    @classmethod
    def of(cls, feed: Feed, landing_dir: Path) -> "FolderPlace":
        """Return the place of a feed in a landing directory."""
        state = landing_dir / state_folder_of(feed)
        return cls(feed.name, landing_dir, landing_dir / feed.folder, state)

    def check(self) -> None:
        """Make sure that the landing directory is there, and the feed's folder in it.

        Raises:
            SourceError: They are not.
        """
        name, landing_dir = self.feed_name, self.landing_dir
        if not landing_dir.is_dir():
            raise SourceError(f"feed {name}: the landing directory {landing_dir} does not exist")
        if not self.folder.resolve().is_relative_to(landing_dir.resolve()):
            raise SourceError(f"feed {name}: {self.folder} is linked out of {landing_dir}")

    def read_manifest(self) -> Manifest:
        """Read what was fetched."""
        return Manifest(_ManifestFile(self.state / MANIFEST))

    def read(self, name: str) -> str:
        """Return the text of a file beside the manifest; empty if there is none."""
        return _read(self.state / name)

    def keep(self, name: str, text: str) -> None:
        """Keep a text in a file beside the manifest, or with an empty one, no file."""
        if text:
            _replace(self.state / name, text)
        else:
            (self.state / name).unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[Path]:
        """Let one process at a time fetch for the feed; remove what a killed one left."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for part in self.state.glob("part-*"):
                part.unlink(missing_ok=True)
            yield self.state
        finally:
            os.close(lock)

    @contextmanager
    def aside(self) -> Iterator[BinaryIO]:
        """Give a new file beside the manifest, and remove what killed processes left.

        Many processes may have one at once: nobody holds the lock of one that was left.
        """
        with self.alone():
            for path in self.state.glob(f"{_ROWS}*"):
                _remove_if_left(path)
            file = (self.state / f"{_ROWS}{token_hex(8)}").open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)
            file.close()

    def find_many(self, names: Iterable[str]) -> dict[str, Mark]:
        """Find files in the feed's folder, never through a link."""
        found = {name: self._find(name) for name in names}
        return {name: mark for name, mark in found.items() if mark}

    def _find(self, name: str) -> Mark | None:
        try:
            status = os.lstat(self.folder / name)
        except OSError:
            return None
        return _mark_of(status) if stat.S_ISREG(status.st_mode) else None

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the files that are gone, or have another version now."""
        return LocalFolder(self.folder).find_changed(versions)

    def land(self, path: Path, name: str) -> Mark:
        """Rename a whole file, unless the same bytes lie there already.

        Raises:
            SourceError: It would land outside of the feed's folder, through a link.
        """
        landed = self.folder / name
        if not landed.parent.resolve().is_relative_to(self.folder.resolve()):
            raise SourceError("would land outside of the feed's folder, through a link")
        landed.parent.mkdir(parents=True, exist_ok=True)
        lies = self._find(name)
        if lies is None or lies.size_bytes != path.stat().st_size or not cmp(path, landed, False):
            path.replace(landed)
        return _mark_of(os.lstat(landed))

    def remove(self, name: str) -> None:
        """Remove a file of the feed's folder, if it is there."""
        (self.folder / name).unlink(missing_ok=True)


def _mark_of(status: os.stat_result) -> Mark:
    return Mark(status.st_size, status.st_mtime_ns)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _replace(path: Path, text: str) -> None:
    aside = path.with_suffix(".new")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


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
