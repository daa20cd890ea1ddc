"""Copies: landed objects on disk, where DuckDB reads them for the time of one load.

Takes files and a folder; copies many at once, each exactly in the version that was listed. What has
arrived can be read while the rest is on its way. A file that cannot be copied costs itself alone.
Whose folder it is belongs in `load_folder.py`.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import BinaryIO, NamedTuple

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.landing.bucket import (
    MOST_AT_ONCE,
    PART_BYTES,
    Bucket,
    ChangedObjectError,
    GoneObjectError,
)
from partitioned_etl.engine.landing.landing import (
    CHUNK_BYTES,
    LandedFile,
    Place,
    changed_while_read,
)

logger = getLogger(__name__)


class Part(NamedTuple):
    """A range of a file's bytes, which is copied at once.

    Attributes:
        file: The file.
        start: The first byte.
        stop: The byte after the last.
    """

    file: LandedFile
    start: int
    stop: int


@dataclass
class _Copy:
    """The copy of a file, of which parts may still be on their way.

    Attributes:
        path: Its path.
        arrivals: When each of its parts has arrived, in the order of the file's bytes.
        failure: Why it cannot be copied; empty if it can.
    """

    path: Path
    arrivals: list[Future[None]] = field(default_factory=list)
    failure: str = ""

    def wait_for(self, arrivals: Sequence[Future[None]]) -> None:
        """Wait until parts have arrived.

        Raises:
            LandedFileError: The file could not be copied.
        """
        for arrival in arrivals:
            arrival.result()
        if self.failure:
            raise LandedFileError(self.failure)


@dataclass(eq=False)
class CopiedPlace:
    """A feed's place, of which some files are copied to a folder.

    Attributes:
        place: The place.
        bucket: Its bucket.
        prefix: What the keys of its objects begin with.
        folder: The folder.
    """

    place: Place
    bucket: Bucket
    prefix: str
    folder: Path
    _copies: dict[str, _Copy] = field(default_factory=dict)
    _failed_in_a_row: int = 0

    def path_of(self, name: str) -> Path:
        """Return the path of a file's copy, once all of it has arrived.

        Raises:
            LandedFileError: It could not be copied.
        """
        copy = self._copies[name]
        copy.wait_for(copy.arrivals)
        return copy.path

    def uri_of(self, name: str) -> str:
        """Return the address of a file, not of its copy."""
        return self.place.uri_of(name)

    def count_missing(self, name: str) -> int:
        """Return how many bytes of a file are in parts that are still on their way, at most."""
        return PART_BYTES * sum(not arrival.done() for arrival in self._copies[name].arrivals)

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the files whose objects are gone, or have another version now."""
        return self.place.find_changed(versions)

    @contextmanager
    def open(self, name: str, version: str) -> Iterator[BinaryIO]:
        """Open a file's copy, which is of the version that was listed.

        What has not arrived yet is waited for when it is read.

        Raises:
            LandedFileError: It could not be copied; when it is opened or while it is read.
        """
        if not self.count_missing(name):
            with self.path_of(name).open("rb", buffering=0) as handle:
                yield handle
            return
        size_bytes = int(version.partition("-")[0])
        with io.BufferedReader(_ArrivingCopy(self._copies[name], size_bytes), CHUNK_BYTES) as copy:
            yield copy

    @contextmanager
    def copy(self, files: Sequence[LandedFile]) -> Iterator[list[LandedFile]]:
        """Copy files of the place, and return them as they are to be read meanwhile."""
        pool = ThreadPoolExecutor(MOST_AT_ONCE)
        try:
            for number, file in enumerate(files):
                # A key may be longer than a name on disk, and need not be possible as one.
                copy = self._copies[file.name] = _Copy(self.folder / f"{number:06}")
                copy.arrivals += [
                    pool.submit(self._copy_part, part, copy) for part in _list_parts(file)
                ]
            yield [file._replace(place=self) for file in files]
        finally:
            pool.shutdown(cancel_futures=True)

    def _copy_part(self, part: Part, copy: _Copy) -> None:
        file = part.file
        if copy.failure:
            return
        if self._failed_in_a_row >= MOST_AT_ONCE:
            copy.failure = f"{file.name}: not read, because the store failed for those before it"
            return
        try:
            self._write(part, copy.path)
            self._failed_in_a_row = 0
        except ChangedObjectError:
            copy.failure = str(changed_while_read(file))
        except GoneObjectError:
            copy.failure = f"{file.name}: is gone since it was listed"
        except LandedFileError as error:
            self._failed_in_a_row += 1
            copy.failure = f"{file.name}: {error}"
        except OSError as error:
            self._failed_in_a_row += 1
            reason = f"cannot be copied to {self.folder.parent}: {error.strerror}"
            copy.failure = f"{file.name}: {reason}"

    def _write(self, part: Part, path: Path) -> None:
        file, position = part.file, part.start
        # There are many small files, and each call of the system costs as much as one of them.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for chunk in self.bucket.read(
                self.prefix + file.name, file.version, part.start, part.stop
            ):
                _write_at(handle, chunk, position)
                position += len(chunk)
                failpoints.reach(failpoints.MID_STAGING)
        finally:
            os.close(handle)
        if position != part.stop:
            raise ChangedObjectError


class _ArrivingCopy(io.RawIOBase):
    """A copy that is read while it arrives."""

    def __init__(self, copy: _Copy, size_bytes: int) -> None:
        self._copy, self._size_bytes, self._position = copy, size_bytes, 0
        copy.wait_for(copy.arrivals[:1])
        self._handle = os.open(copy.path, os.O_RDONLY | os.O_CLOEXEC)

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, whether or not the bytes there have arrived."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}
        self._position = origin[whence] + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the part that the position is in, once that has arrived."""
        if self._position >= self._size_bytes:
            return 0
        number = self._position // PART_BYTES
        self._copy.wait_for(self._copy.arrivals[number : number + 1])
        wanted = memoryview(buffer)[: (number + 1) * PART_BYTES - self._position]
        count = os.preadv(self._handle, [wanted], self._position)
        self._position += count
        return count

    def close(self) -> None:
        """Close it."""
        if not self.closed:
            os.close(self._handle)
        super().close()


def _list_parts(file: LandedFile) -> Iterator[Part]:
    for start in range(0, max(file.size_bytes, 1), PART_BYTES):
        yield Part(file, start, min(start + PART_BYTES, file.size_bytes))


def _write_at(handle: int, chunk: memoryview, position: int) -> None:
    while chunk:
        written = os.pwrite(handle, chunk, position)
        chunk, position = chunk[written:], position + written
