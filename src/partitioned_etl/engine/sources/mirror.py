"""Mirror: makes a feed's place hold what its source offers.

Takes a feed with a source, and its landing; fetches what is new or changed, each file aside, and
lets it land when it is whole. So the landing never shows half a file, and what follows is the same
as for any landed file. Where it was killed, the next one goes on. What landing means in a folder
and in a bucket belongs in the modules of places.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from threading import Lock

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import LandedFileError, SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.sources.difference import (
    Difference,
    WhyOutside,
    compare_with_source,
)
from partitioned_etl.engine.sources.manifest import Manifest, Mark, Noted
from partitioned_etl.engine.sources.place import FetchPlace
from partitioned_etl.engine.sources.places import find_place, landing_may_fail
from partitioned_etl.engine.sources.retries import retry
from partitioned_etl.engine.sources.source import Remote, RemoteItem, Sink, Source
from partitioned_etl.engine.sources.troubles import write_troubles

_REMOVED_AT_ONCE = 50
"""How many files are looked at once more together, right before they are removed."""
_MOST_FAILURES = 10
"""After so many files in a row that may be fetched later, the others are left to a later look."""


def everything(key: str) -> str:  # noqa: ARG001
    """Say of no key that it is outside."""
    return ""


@dataclass
class Fetched:
    """What a look at a source, and the fetches after it, came to.

    Attributes:
        difference: What was found.
        landed: The names of files that landed, or lay there already.
        unmodified: How many items the source said are the same, when it was asked for them.
        removed: The names of files that were removed.
        waiting: Items that are still being written at the source.
        failed: Items that could not be fetched, and why.
        size_bytes: How many bytes were fetched.
    """

    difference: Difference
    landed: list[str] = field(default_factory=list)
    unmodified: int = 0
    removed: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    failed: list[PassedOver] = field(default_factory=list)
    size_bytes: int = 0

    def describe(self) -> str:
        """Return all of it in one line."""
        found = self.difference
        counts = {
            f"fetched, {self.size_bytes:,} bytes": len(self.landed),
            "not modified": self.unmodified,
            "unchanged": found.unchanged,
            "removed": len(self.removed),
            "still being written": len(self.waiting),
            "of no partition": found.outside,
            "not usable": len(found.passed_over),
            "failed": len(self.failed),
        }
        told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        return (told or "nothing offered") + (f"; {found.brake}" if found.brake else "")


def look_at_source(
    feed: Feed, address: Path | str, remote: Remote, why_outside: WhyOutside = everything
) -> Difference:
    """Find out what a mirror would do, and change nothing.

    Raises:
        SourceError: The source cannot be listed, or the landing cannot be read.
    """
    with _of_feed(feed):
        listing = remote.list_items()
    with landing_may_fail(feed, address):
        place = find_place(feed, address)
        manifest = place.read_manifest()
        return compare_with_source(feed, listing, manifest, place.find_many(manifest), why_outside)


def find_difference(
    feed: Feed, address: Path | str, why_outside: WhyOutside = everything
) -> Difference:
    """Look at a feed's source by a connection of its own, and change nothing.

    Raises:
        SourceError: The source cannot be listed, or the landing cannot be read.
    """
    if feed.fetched_from is None:
        raise SourceError(f"feed {feed.name} has no source")
    with _of_feed(feed):
        remote = feed.fetched_from.connect(feed)
    try:
        return look_at_source(feed, address, remote, why_outside)
    finally:
        remote.close()


def mirror_source(feed: Feed, address: Path | str, why_outside: WhyOutside = everything) -> Fetched:
    """Make a feed's place hold what its source offers, as far as the feed has partitions for it.

    Args:
        feed: The feed.
        address: Its landing, a folder or a URL of object storage.
        why_outside: Returns why there is no partition of a key; empty if there is one.

    Returns:
        What was fetched, and what could not be: one item that fails stops no other.

    Raises:
        SourceError: The source cannot be listed, or the landing cannot be written to.
    """
    source, place = feed.fetched_from, find_place(feed, address)
    if source is None:
        raise SourceError(f"feed {feed.name} has no source")
    with ExitStack() as stack:
        stack.enter_context(landing_may_fail(feed, address))
        place.check()
        folder = stack.enter_context(place.alone())
        stack.enter_context(_of_feed(feed))
        remote = source.connect(feed)
        try:
            return _Mirror(feed, source, place, folder, remote, why_outside).make()
        finally:
            remote.close()


class _Mirror:
    """One look at a source, and the fetches after it."""

    def __init__(
        self,
        feed: Feed,
        source: Source,
        place: FetchPlace,
        folder: Path,
        remote: Remote,
        why_outside: WhyOutside,
    ) -> None:
        self._feed, self._source, self._place, self._folder = feed, source, place, folder
        self._remote, self._why_outside = remote, why_outside
        self._manifest: Manifest = place.read_manifest()
        self._landed: Mapping[str, Mark] = {}
        self._failures, self._lock = 0, Lock()

    def make(self) -> Fetched:
        difference = self._look()
        fetched = Fetched(difference)
        try:
            self._make(difference, fetched)
        finally:
            self._manifest.flush()
        write_troubles(self._place, [*fetched.failed, *difference.passed_over])
        return fetched

    def _make(self, difference: Difference, fetched: Fetched) -> None:
        wanted = self._wait_for(difference.wanted, fetched)
        with ThreadPoolExecutor(self._source.parallel, thread_name_prefix="fetch") as pool:
            futures = {pool.submit(self._fetch, item): item for item in wanted}
            try:
                for future in as_completed(futures):
                    self._take(futures[future], future, fetched)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._remote.close()  # what is being read ends
                raise
        if not difference.brake:
            self._remove(difference.gone, fetched)
        self._manifest.compact()

    def _look(self) -> Difference:
        listing = self._remote.list_items()
        self._landed = self._place.find_many(self._manifest)
        return compare_with_source(
            self._feed, listing, self._manifest, self._landed, self._why_outside
        )

    def _wait_for(self, wanted: list[RemoteItem], fetched: Fetched) -> list[RemoteItem]:
        """Leave out what is still being written: what changes within the settle time."""
        if not wanted or not self._source.settle_seconds:
            return wanted
        time.sleep(self._source.settle_seconds)
        again = {*self._remote.list_items().items}
        fetched.waiting = [item.name for item in wanted if item not in again]
        return [item for item in wanted if item in again]

    def _take(self, item: RemoteItem, future: "Future[_Done]", fetched: Fetched) -> None:
        try:
            done = future.result()
        except SourceError as error:
            fetched.failed.append(PassedOver(item.name, str(error)))
            return
        noted = Noted(item.version, done.validator, *done.mark, time.time())
        self._manifest.note(item.name, noted)
        failpoints.reach(failpoints.AFTER_FETCH)
        if done.is_same:
            fetched.unmodified += 1
        else:
            fetched.landed.append(item.name)
            fetched.size_bytes += done.mark.size_bytes

    def _fetch(self, item: RemoteItem) -> "_Done":
        if self._failures >= _MOST_FAILURES:
            raise SourceError("was left to a later look, because too many others failed")
        try:
            done = retry(lambda: self._try(item))
        except SourceError as error:
            self._count_failure(error.may_pass)
            raise
        except OSError as error:
            self._count_failure()
            what = error.strerror or type(error).__name__
            where = error.filename or self._folder
            raise SourceError(f"cannot be written to {where}: {what}") from None
        except LandedFileError as error:
            self._count_failure()
            raise SourceError(f"cannot be written to the landing: {error}") from None
        except Exception as error:
            what = type(error).__name__
            raise SourceError(f"something unforeseen happened ({what})") from error
        self._failures = 0
        return done

    def _count_failure(self, may_pass: bool = True) -> None:
        with self._lock:
            self._failures += may_pass

    def _try(self, item: RemoteItem) -> "_Done":
        noted = self._manifest.get(item.name)
        is_known = noted is not None and noted.mark == self._landed.get(item.name)
        known = noted.validator if noted and is_known else ""
        part = self._folder / f"part-{token_hex(8)}"
        try:
            with part.open("xb") as file:
                sink = Sink(_watched(file.write), self._source)
                validator = self._remote.fetch(item, sink, known)
                if validator is None and noted:
                    return _Done(noted.validator, noted.mark, True)
                if item.size_bytes not in (None, sink.size_bytes):
                    reason = "is not as long as it was listed: it changes, or was cut off"
                    raise SourceError(reason, may_pass=True)
                file.flush()
                os.fsync(file.fileno())
            failpoints.reach(failpoints.BEFORE_LANDING)
            mark = self._place.land(part, item.name)
        finally:
            part.unlink(missing_ok=True)
        failpoints.reach(failpoints.AFTER_LANDING)
        return _Done(validator or "", mark)

    def _remove(self, gone: list[str], fetched: Fetched) -> None:
        for start in range(0, len(gone), _REMOVED_AT_ONCE):
            some = gone[start : start + _REMOVED_AT_ONCE]
            landed = self._place.find_many(some)
            for name in some:
                # What somebody else put there is not the source's to remove.
                if self._manifest[name].mark == landed.get(name):
                    self._place.remove(name)
                    fetched.removed.append(name)
                self._manifest.note(name, None)


@dataclass(frozen=True)
class _Done:
    validator: str
    mark: Mark
    is_same: bool = False


def _watched(write: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def watch(chunk: bytes) -> None:
        write(chunk)
        failpoints.reach(failpoints.MID_FETCH)

    return watch


@contextmanager
def _of_feed(feed: Feed) -> Iterator[None]:
    """Name the feed in what goes wrong with its source."""
    try:
        yield
    except SourceError as error:
        reason = f"feed {feed.name}: its source: {error}"
        raise SourceError(
            reason, may_pass=error.may_pass, retry_after_seconds=error.retry_after_seconds
        ) from None
