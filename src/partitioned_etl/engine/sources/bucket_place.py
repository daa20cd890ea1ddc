"""Bucket place: files that are fetched or computed land in a bucket, each by one request.

A store shows an object whole or not at all, so no other name is needed for what is on its way: it
is in a folder of this machine. What is kept of a source are objects beside the feeds' prefixes.
Other machines are not kept from fetching at the same time: then something is fetched twice, and no
file is ever mixed of two.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.bucket import Bucket, StoredObject
from partitioned_etl.engine.landing.object_store import ObjectLanding, ObjectPrefix
from partitioned_etl.engine.sources.manifest import Manifest, Mark
from partitioned_etl.engine.sources.place import MANIFEST, state_folder_of

_WRITE_SECONDS = 10.0
"""How often a manifest is written while files are fetched: each time, all of it."""


class _ManifestObject:
    """A manifest in an object, which is written as a whole: now and then, and at the end."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket, self._key = bucket, key
        self._lines: list[str] = []
        self._written_at, self._is_written = time.monotonic(), True

    def read(self) -> str:
        text = _read(self._bucket, self._key)
        self._lines = [text]
        return text

    def append(self, text: str) -> None:
        self._lines.append(text)
        self._is_written = False
        if time.monotonic() - self._written_at > _WRITE_SECONDS:
            # They only spare fetches: the next ones, or the last, may be written again.
            with suppress(LandedFileError):
                self.flush()

    def replace(self, text: str) -> None:
        self._lines, self._is_written = [text], False
        self.flush()

    def flush(self) -> None:
        if not self._is_written:
            self._written_at = time.monotonic()
            self._bucket.put(self._key, "".join(self._lines).encode())
            self._is_written = True


@dataclass(frozen=True)
class BucketPlace:
    """A feed's prefix in a bucket.

    Attributes:
        landing: The landing.
        files: The feed's prefix in it.
        state: What the keys of all begin with that is kept of its source.
    """

    landing: ObjectLanding
    files: ObjectPrefix
    state: str

    @classmethod
    def of(cls, feed: Feed, landing: ObjectLanding) -> "BucketPlace":
        """Return the place of a feed in a landing.

        Raises:
            LandedFileError: Its folder leads out of the landing.
        """
        state = f"{landing.prefix}{state_folder_of(feed)}/"
        return cls(landing, landing.place_of(feed), state)

    @property
    def bucket(self) -> Bucket:
        """Its bucket."""
        return self.landing.bucket

    def check(self) -> None:
        """Do nothing: a prefix need not be there."""

    def read_manifest(self) -> Manifest:
        """Read what was fetched."""
        return Manifest(_ManifestObject(self.bucket, self.state + MANIFEST))

    def read(self, name: str) -> str:
        """Return the text of an object beside the manifest; empty if there is none."""
        return _read(self.bucket, self.state + name)

    def keep(self, name: str, text: str) -> None:
        """Keep a text in an object beside the manifest, or with an empty one, no object."""
        if text:
            self.bucket.put(self.state + name, text.encode())
        elif self.bucket.find(self.state + name):
            self.bucket.delete(self.state + name)

    def alone(self) -> AbstractContextManager[Path]:
        """Give a folder of this machine, and remove what killed processes left."""
        return self.landing.load_folder()

    @contextmanager
    def aside(self) -> Iterator[BinaryIO]:
        """Give a new file in a folder of its own."""
        with self.alone() as folder, (folder / "rows").open("xb") as file:
            yield file

    def find_many(self, names: Iterable[str]) -> dict[str, Mark]:
        """Find objects below the feed's prefix."""
        keys = [self.files.prefix + name for name in names]
        found = self.bucket.find_many(keys) if keys else {}
        return {key[len(self.files.prefix) :]: _mark_of(one) for key, one in found.items()}

    def find_changed(self, versions: Mapping[str, str]) -> set[str]:
        """Find the objects that are gone, or have other bytes now."""
        return self.files.list_changed(versions)

    def land(self, path: Path, name: str) -> Mark:
        """Put a whole file in place of the object that was there."""
        return _mark_of(self.bucket.put(self.files.prefix + name, path))

    def remove(self, name: str) -> None:
        """Remove an object below the feed's prefix, if it is there."""
        self.bucket.delete(self.files.prefix + name)


def _read(bucket: Bucket, key: str) -> str:
    return (bucket.get(key) or b"").decode("utf-8", "replace")


def _mark_of(one: StoredObject) -> Mark:
    # A look at one object tells whole seconds, a listing more.
    return Mark(one.size_bytes, int(one.modified.timestamp()) * 10**9)
