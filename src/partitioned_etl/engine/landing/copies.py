"""Copies: landed objects on disk, where DuckDB reads them for the time of one load.

Takes files and a folder; copies many at once, each exactly in the version that was listed. A file
that cannot be copied costs itself alone. Whose folder it is belongs in `load_folder.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from partitioned_etl.engine.landing.landing import LandedFile, Place, changed_while_read

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


@dataclass(eq=False)
class CopiedPlace:
    """A feed's place, of which some files are copied to a folder.

    Attributes:
        place: The place.
        bucket: Its bucket.
        prefix: What the keys of its objects begin with.
        folder: The folder.
        copies: The file's copy, by the file's name.
        failures: Why a file could not be copied, by its name.
    """

    place: Place
    bucket: Bucket
    prefix: str
    folder: Path
    copies: dict[str, Path] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    _failed_in_a_row: int = 0

    def path_of(self, name: str) -> Path:
        """Return the path of a file's copy.

        Raises:
            LandedFileError: It could not be copied.
        """
        if name in self.failures:
            raise LandedFileError(self.failures[name])
        return self.copies[name]

    def uri_of(self, name: str) -> str:
        """Return the address of a file, not of its copy."""
        return self.place.uri_of(name)

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the files whose objects are gone, or have another version now."""
        return self.place.find_changed(versions)

    @contextmanager
    def open(self, name: str, version: str) -> Iterator[BinaryIO]:  # noqa: ARG002
        """Open a file's copy, which is of the version that was listed.

        Raises:
            LandedFileError: It could not be copied.
        """
        with self.path_of(name).open("rb", buffering=0) as handle:
            yield handle

    def copy(self, files: Sequence[LandedFile]) -> list[LandedFile]:
        """Copy files of the place, and return them as they are to be read."""
        for number, file in enumerate(files):
            # A key may be longer than a name on disk, and need not be possible as one.
            self.copies[file.name] = self.folder / f"{number:06}"
            self.copies[file.name].touch()
        parts = [part for file in files for part in _list_parts(file)]
        pool = ThreadPoolExecutor(min(MOST_AT_ONCE, max(len(parts), 1)))
        try:
            for _ in pool.map(self._copy_part, parts):
                pass
        finally:
            pool.shutdown(cancel_futures=True)
        return [file._replace(place=self) for file in files]

    def _copy_part(self, part: Part) -> None:
        file = part.file
        if file.name in self.failures:
            return
        if self._failed_in_a_row >= MOST_AT_ONCE:
            self.failures[file.name] = (
                f"{file.name}: not read, because the store failed for those before it"
            )
            return
        try:
            self._write(part)
            self._failed_in_a_row = 0
        except ChangedObjectError:
            self.failures[file.name] = str(changed_while_read(file))
        except GoneObjectError:
            self.failures[file.name] = f"{file.name}: is gone since it was listed"
        except LandedFileError as error:
            self._failed_in_a_row += 1
            self.failures[file.name] = f"{file.name}: {error}"
        except OSError as error:
            self._failed_in_a_row += 1
            reason = f"cannot be copied to {self.folder.parent}: {error.strerror}"
            self.failures[file.name] = f"{file.name}: {reason}"

    def _write(self, part: Part) -> None:
        file, key = part.file, self.prefix + part.file.name
        with self.copies[file.name].open("r+b") as copy:
            copy.seek(part.start)
            for chunk in self.bucket.read(key, file.version, part.start, part.stop):
                copy.write(chunk)
                failpoints.reach(failpoints.MID_STAGING)
            if copy.tell() != part.stop:
                raise ChangedObjectError


def _list_parts(file: LandedFile) -> Iterator[Part]:
    for start in range(0, max(file.size_bytes, 1), PART_BYTES):
        yield Part(file, start, min(start + PART_BYTES, file.size_bytes))
