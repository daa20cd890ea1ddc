"""Object store: a landing that is a bucket's prefix, with a prefix in it for each feed.

Its versions are size, ETag and time of the last write. DuckDB reads copies, which live as long as
one load: see `copies.py`. The library that reaches the store, and its errors, belong in
`bucket.py`.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from posixpath import join, normpath
from typing import TYPE_CHECKING, BinaryIO

from partitioned_etl.engine.errors import LandedFileError, SettingError
from partitioned_etl.engine.landing.bucket import (
    Bucket,
    ChangedObjectError,
    GoneObjectError,
    connect_bucket,
)
from partitioned_etl.engine.landing.copies import CopiedPlace
from partitioned_etl.engine.landing.landing import CHUNK_BYTES, LandedFile, Listing, Place
from partitioned_etl.engine.landing.names import PATTERN_CHARACTERS, Bounds, Scan
from partitioned_etl.engine.landing.object_listing import scan_objects
from partitioned_etl.engine.load_folder import load_folder

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

logger = getLogger(__name__)


@dataclass(frozen=True)
class ObjectPrefix:
    """A feed's prefix in a bucket.

    Attributes:
        bucket: The bucket.
        prefix: What the keys of the feed's files begin with; empty, or with a slash at its end.
    """

    bucket: Bucket
    prefix: str

    def path_of(self, name: str) -> Path:
        """Refuse: only a copy has a path.

        Raises:
            LandedFileError: Always.
        """
        raise LandedFileError(f"{name}: is in a bucket, and was not staged")

    def uri_of(self, name: str) -> str:
        """Return the address of an object."""
        return f"{self.bucket.url}/{self.prefix}{name}"

    def count_missing(self, name: str) -> int:  # noqa: ARG002
        """Return that none are: only a copy arrives."""
        return 0

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the objects that are gone, cannot be looked at, or have other bytes now."""
        try:
            return self.list_changed(versions)
        except LandedFileError as error:
            logger.warning(str(error))
            return set(versions)  # then the load fails in any case

    def list_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Return the names of the objects that are gone, or have other bytes now.

        Raises:
            LandedFileError: They cannot be looked at.
        """
        found = self.bucket.find_many([self.prefix + name for name in versions])
        return {
            name
            for name, version in versions.items()
            if (one := found.get(self.prefix + name)) is None or not one.has_bytes_of(version)
        }

    @contextmanager
    def open(self, name: str, version: str) -> Iterator[BinaryIO]:
        """Open an object of a version, to be read from start to end.

        Raises:
            LandedFileError: It is gone, has another version, or cannot be read; when it is opened
                or while it is read.
        """
        with io.BufferedReader(_ObjectReader(self, name, version), CHUNK_BYTES) as handle:
            yield handle


class _ObjectReader(io.RawIOBase):
    """The bytes of an object's version."""

    def __init__(self, place: ObjectPrefix, name: str, version: str) -> None:
        self._name = name
        self._chunks = place.bucket.read(place.prefix + name, version)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer with what comes next, as far as it has arrived."""
        try:
            while not self._left:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return 0
                self._left = chunk
        except ChangedObjectError:
            raise LandedFileError(f"{self._name}: changed since it was listed") from None
        except GoneObjectError:
            raise LandedFileError(f"{self._name}: is gone since it was listed") from None
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


@dataclass(frozen=True)
class ObjectLanding:
    """A bucket's prefix with a prefix in it for each feed.

    Attributes:
        bucket: The bucket.
        prefix: What all keys begin with; empty, or with a slash at its end.
        staging_dir: The folder of the copies that DuckDB reads.
    """

    bucket: Bucket
    prefix: str
    staging_dir: Path

    @property
    def settle_seconds(self) -> float:
        """None: an object is there as a whole, or not at all."""
        return 0.0

    @property
    def readable_dir(self) -> Path:
        """The folder of the copies; all buckets share it."""
        return self.staging_dir.resolve()

    def describe(self, feed: "Feed") -> str:
        """Return the address of a feed's prefix."""
        return self.place_of(feed).uri_of("")

    def list_files(self, feed: "Feed") -> Listing:
        """List the objects below a feed's prefix; see `scan`."""
        return self.scan(feed).list_files()

    def scan(self, feed: "Feed", bounds: Bounds | None = None, first_name: str = "") -> Scan:
        """Look at the objects below a feed's prefix once.

        Raises:
            LandedFileError: They cannot be listed.
        """
        place = self.place_of(feed)
        try:
            return scan_objects(feed, self.bucket, place.prefix, place, bounds, first_name)
        except LandedFileError as error:
            raise LandedFileError(f"feed {feed.name}: {error}") from None

    @contextmanager
    def stage(self, files: Sequence[LandedFile]) -> Iterator[Sequence[LandedFile]]:
        """Copy files to disk, many at once, for the time of one load.

        They may be read at once: what has not arrived yet is waited for. A file that cannot be
        copied, or is no longer the version that was listed, says so when it is opened.

        Raises:
            LandedFileError: The folder of the copies cannot be used.
        """
        by_place: dict[Place, list[LandedFile]] = {}
        for file in files:
            by_place.setdefault(file.place, []).append(file)
        staged: dict[LandedFile, LandedFile] = {}
        with ExitStack() as stack:
            for place, of_place in by_place.items():
                if not isinstance(place, ObjectPrefix):  # it is a place of copies
                    staged |= zip(of_place, of_place, strict=True)
                    continue
                folder = stack.enter_context(self.load_folder())
                copied = CopiedPlace(place, place.bucket, place.prefix, folder)
                copies = stack.enter_context(copied.copy(of_place))
                staged |= zip(of_place, copies, strict=True)
            yield [staged[file] for file in files]

    @contextmanager
    def load_folder(self) -> Iterator[Path]:
        """Give a folder of this machine, which is removed at the end, or by the next one.

        Raises:
            LandedFileError: None can be made.
        """
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(load_folder(self.staging_dir))
            except OSError as error:
                reason = f"nothing can be staged in {self.staging_dir}: {error.strerror}"
                raise LandedFileError(reason) from error
            yield folder

    def place_of(self, feed: "Feed") -> ObjectPrefix:
        """Return a feed's place.

        Raises:
            LandedFileError: Its folder leads out of the landing.
        """
        folder = normpath(join(feed.folder, "x")).removesuffix("x")
        if folder.startswith(("/", "../")):
            raise LandedFileError(f"feed {feed.name}: its folder leads out of the landing")
        return ObjectPrefix(self.bucket, self.prefix + folder)


def connect_object_landing(url: str, staging_dir: Path) -> ObjectLanding:
    """Return the landing of a URL of object storage.

    Args:
        url: Bucket and prefix, as `parse_address` returns them.
        staging_dir: The folder of the copies that DuckDB reads.

    Raises:
        SettingError: DuckDB cannot read in the folder.
        LandedFileError: The library is not installed, or the environment makes no sense.
    """
    if any(character in str(staging_dir.absolute()) for character in PATTERN_CHARACTERS):
        raise SettingError(
            f"setting STAGING_DIR: DuckDB takes a character of {staging_dir} for a pattern: one of "
            + " ".join(PATTERN_CHARACTERS)
        )
    scheme, _, rest = url.partition("://")
    name, _, prefix = rest.partition("/")
    bucket = connect_bucket(f"{scheme}://{name}")
    return ObjectLanding(bucket, f"{prefix}/" if prefix else "", staging_dir)
