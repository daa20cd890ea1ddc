"""Bucket: one bucket of an object store, as the library obstore reaches it.

Takes keys; lists, looks at, reads and writes objects, each whole and of exactly one version. Every
error of the store becomes one sentence that repeats nothing of the store's answer: that may hold
what is secret. Which objects are files of a feed, and where they are copied to, is decided in other
modules.
"""

import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.landing import store_errors

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ObjectStore

logger = getLogger(__name__)

MOST_AT_ONCE = 16
"""How many requests a process sends at once for one load."""
PART_BYTES = 8 << 20
"""A larger object is read in parts, so that none has to arrive within the time of one request."""
_CHUNK_BYTES = 1 << 20
_PARTS_AT_ONCE = 2
"""How many parts of a large object are sent at once: each has to get through within a request."""
_OBJECTS_AT_ONCE = 10_000
_READ_ATTEMPTS = 3
_LEAST_LISTED = 50
"""Of fewer objects each is looked at."""
_MOST_BETWEEN = 20
"""How many objects are listed, at most, to find one that is looked for."""
_OBJECTS_LISTED_AT_ONCE = 1_000
_MOST_KEPT = 100_000
_VARIABLES = re.compile(r"(AWS|GOOGLE|AZURE)_\w+|(https?|no)_proxy", re.IGNORECASE)
"""What of the environment decides how a store is reached."""


class StoredObject(NamedTuple):
    """An object as a listing or a look at it tells.

    Attributes:
        key: Its key in the bucket.
        size_bytes: Its length.
        etag: What tells that its bytes changed, without quotes; empty if the store has none.
        modified: When it was written, in UTC.
    """

    key: str
    size_bytes: int
    etag: str
    modified: datetime

    @property
    def version(self) -> str:
        """Size, ETag and time of the last write, in whole seconds, as not every answer has more."""
        return f"{self.size_bytes}-{self.etag}-{int(self.modified.timestamp())}"

    @property
    def modified_ns(self) -> int:
        """When it was written, in nanoseconds since 1970."""
        return int(self.modified.timestamp()) * 10**9 + self.modified.microsecond * 1000

    def has_bytes_of(self, version: str) -> bool:
        """Return whether it has the bytes of a version: its size and its ETag, if there is one."""
        if not self.etag:
            return self.version == version
        return version.rpartition("-")[0] == f"{self.size_bytes}-{self.etag}"


class ChangedObjectError(Exception):
    """An object is not the version that was asked for."""


class GoneObjectError(Exception):
    """There is no such object."""


class Bucket:
    """A bucket of an object store.

    Attributes:
        url: Its address, without the prefix of a landing.
    """

    def __init__(self, url: str, store: "ObjectStore") -> None:
        self.url, self._store = url, store
        self._are_objects: dict[StoredObject, bool] = {}

    def list_objects(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Yield the objects below a prefix, page by page, in whatever order the store has.

        Args:
            prefix: What their keys begin with; empty, or with a slash at its end.
            after: Only those whose keys sort after the prefix and this; empty for all.

        Raises:
            LandedFileError: They cannot be listed.
        """
        import obstore

        prefix_of_all = prefix.rstrip("/") or None
        try:
            pages = iter(
                obstore.list(
                    self._store,
                    prefix=prefix_of_all,
                    offset=prefix + after if after else None,
                    chunk_size=_OBJECTS_AT_ONCE,
                )
            )
            # While one page is looked at, the next one is on its way.
            with ThreadPoolExecutor(1) as ahead:
                coming = ahead.submit(next, pages, None)
                while (page := coming.result()) is not None:
                    coming = ahead.submit(next, pages, None)
                    for meta in page:
                        yield _stored(meta)
        except Exception as error:
            raise self._explain(error, f"{self.url}/{prefix} cannot be listed") from None

    def find(self, key: str) -> StoredObject | None:
        """Return an object as it is now; None if there is none.

        Raises:
            LandedFileError: It cannot be looked at.
        """
        import obstore

        try:
            return _stored(obstore.head(self._store, key))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._explain(error, f"{self.url}/{key} cannot be looked at") from None

    def find_many(self, keys: Sequence[str]) -> dict[str, StoredObject]:
        """Return objects as they are now, by their keys, without those that there are not.

        Raises:
            LandedFileError: They cannot be looked at.
        """
        # Of the stores, this one surely begins a listing in the middle.
        is_listed = len(keys) >= _LEAST_LISTED and self.url.startswith("s3://")
        found = self._find_by_listing(keys) if is_listed else {}
        left = [key for key in keys if key not in found]
        with ThreadPoolExecutor(min(MOST_AT_ONCE, len(left) or 1)) as pool:
            try:
                looks = list(pool.map(self.find, left))
            except LandedFileError:
                pool.shutdown(cancel_futures=True)
                raise
        return found | {one.key: one for one in looks if one}

    def _find_by_listing(self, keys: Sequence[str]) -> dict[str, StoredObject]:
        """Find objects that lie close together with few requests; those far apart are left out.

        A request lists a thousand objects, and looks at one.
        """
        import obstore

        wanted, found, left = set(keys), dict[str, StoredObject](), len(keys) * _MOST_BETWEEN
        folder = posixpath.commonpath([posixpath.dirname(key) for key in keys])
        listing = obstore.list(
            self._store,
            prefix=folder or None,
            offset=min(keys)[:-1],  # all that follows it, so also the first key
            chunk_size=_OBJECTS_LISTED_AT_ONCE,
        )
        try:
            for page in listing:
                found |= {meta["path"]: _stored(meta) for meta in page if meta["path"] in wanted}
                left -= len(page)
                if left <= 0 or len(found) == len(wanted):
                    break
        except Exception:
            return {}  # then each is looked at, and says what is wrong
        return found

    def get(self, key: str) -> bytes | None:
        """Return all bytes of a small object as it is now; None if there is none.

        Raises:
            LandedFileError: It cannot be read.
        """
        import obstore

        try:
            return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._explain(error, f"{self.url}/{key} cannot be read") from None

    def put(self, key: str, content: bytes | Path) -> StoredObject:
        """Write an object, in place of the one before, at one moment; return it as it is then.

        Args:
            key: Its key.
            content: Its bytes, or the file that holds them.

        Raises:
            LandedFileError: It cannot be written.
        """
        import obstore

        try:
            obstore.put(self._store, key, content, max_concurrency=_PARTS_AT_ONCE)
            return _stored(obstore.head(self._store, key))
        except Exception as error:
            raise self._explain(error, f"{self.url}/{key} cannot be written") from None

    def delete(self, key: str) -> None:
        """Remove an object, if it is there.

        Raises:
            LandedFileError: It cannot be removed.
        """
        import obstore

        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            pass
        except Exception as error:
            raise self._explain(error, f"{self.url}/{key} cannot be removed") from None

    def read(
        self, key: str, version: str, start: int = 0, stop: int | None = None
    ) -> Iterator[memoryview]:
        """Yield the bytes of an object's version, all of them or those of a range.

        Where the connection ends early, it goes on from there, a few times.

        Raises:
            ChangedObjectError: The object has another version.
            GoneObjectError: It is gone.
            LandedFileError: It cannot be read, or not as many bytes arrived as were listed.
        """
        size_bytes = int(version.partition("-")[0])
        stop = size_bytes if stop is None else stop
        position, failures, is_done = start, 0, False
        while not is_done:
            part_end = min(position + PART_BYTES, stop)
            answer = self._ask(key, version, position, part_end)
            try:
                for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
                    position += len(chunk)
                    if position > part_end:
                        raise ChangedObjectError
                    yield memoryview(chunk)
                if position < part_end:
                    raise EOFError
            except ChangedObjectError:
                raise
            except Exception as error:
                failures += 1
                if failures == _READ_ATTEMPTS:
                    raise self._explain(error, f"{self.url}/{key} cannot be read") from None
            is_done = position == stop

    def _ask(self, key: str, version: str, start: int, stop: int) -> "GetResult":
        """Ask for the bytes of a range, of the object if it still is the version."""
        import obstore
        from obstore.exceptions import PreconditionError

        size_bytes, etag = int(version.partition("-")[0]), _etag_of(version)
        options: GetOptions = {}
        if etag and not etag.startswith("W/"):  # a weak one never matches
            options["if_match"] = f'"{etag}"'
        if (start, stop) != (0, size_bytes):
            options["range"] = (start, stop)
        try:
            answer = obstore.get(self._store, key, options=options)
        except PreconditionError:
            raise ChangedObjectError from None
        except FileNotFoundError:
            raise GoneObjectError from None
        except Exception as error:
            raise self._explain(error, f"{self.url}/{key} cannot be read") from None
        if not _stored(answer.meta).has_bytes_of(version):
            raise ChangedObjectError
        return answer

    def find_empty(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        """Return those of objects listed as empty that are objects, and no mark of a folder.

        A folder's mark has a slash at the end of its key, which the library's listing loses. What
        was found is kept, so that each is looked at once.
        """

        def is_object(listed: StoredObject) -> bool:
            if (verdict := self._are_objects.get(listed)) is not None:
                return verdict
            found = self.find(listed.key)
            self._are_objects[listed] = verdict = bool(found and found.version == listed.version)
            return verdict

        if len(self._are_objects) > _MOST_KEPT:
            self._are_objects.clear()
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            verdicts = pool.map(is_object, objects)
            return [one for one, is_one in zip(objects, verdicts, strict=True) if is_one]

    def _explain(self, error: Exception, what: str) -> LandedFileError:
        return LandedFileError(f"{what}: {store_errors.explain(error)}")


def connect_bucket(url: str) -> Bucket:
    """Return the bucket of an address; credentials and endpoint come from the environment.

    Args:
        url: The bucket, such as `s3://bucket`.

    Raises:
        LandedFileError: What it needs is not installed, or the environment makes no sense.
    """
    found = {name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}
    return _connect(url, tuple(sorted(found.items())))


@lru_cache(maxsize=16)
def _connect(url: str, variables: tuple[tuple[str, str], ...]) -> Bucket:
    """Connect to a bucket once per environment: its client holds connections and tokens."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise LandedFileError(
            f"{url} needs more than is installed: pip install 'partitioned-etl[object-storage]'"
        ) from None
    endpoint = next((value for name, value in variables if "ENDPOINT" in name.upper()), "")
    try:
        store = from_url(
            url,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=store_errors.REQUEST_SECONDS),
            },
            retry_config={
                "max_retries": 5,
                "retry_timeout": timedelta(seconds=15),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=2),
                    "base": 2,
                },
            },
        )
    except Exception as error:
        raise LandedFileError(f"{url} cannot be used: {store_errors.explain(error)}") from None
    return Bucket(url, store)


def _stored(meta: Any) -> StoredObject:
    # Some stores list an ETag without the quotes that they give it elsewhere.
    etag = (meta["e_tag"] or "").removeprefix('"').removesuffix('"')
    return StoredObject(meta["path"], meta["size"], etag, meta["last_modified"].astimezone(UTC))


def _etag_of(version: str) -> str:
    return version.partition("-")[2].rpartition("-")[0]
