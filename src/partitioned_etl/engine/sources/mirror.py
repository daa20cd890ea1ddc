"""Mirror: makes a feed's folder hold what its source offers.

Takes a feed with a source, and its landing directory; fetches what is new or changed, each file
under a hidden name beside the feeds' folders, and renames it when it is whole. So the landing never
shows half a file, and what follows is the same as for any landed file. Where it was killed, the
next one goes on.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from filecmp import cmp
from pathlib import Path
from secrets import token_hex
from threading import Lock

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import PassedOver
from partitioned_etl.engine.landing_address import parse_address
from partitioned_etl.engine.sources.difference import (
    Difference,
    MirrorPlace,
    WhyOutside,
    compare_with_source,
)
from partitioned_etl.engine.sources.manifest import Manifest, Noted
from partitioned_etl.engine.sources.retries import retry
from partitioned_etl.engine.sources.source import Remote, RemoteItem, Sink, Source
from partitioned_etl.engine.sources.troubles import write_troubles

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


def folder_of_landing(feed: Feed, address: Path | str) -> Path:
    """Return the landing directory that a feed's files are fetched to, or computed rows written.

    Raises:
        SourceError: The landing is a bucket.
    """
    parsed = parse_address(address) if isinstance(address, str) else address
    if isinstance(parsed, str):
        raise SourceError(
            f"feed {feed.name}: {feed.what_comes} to a folder, and its landing is a bucket: give "
            "the feed a landing of its own"
        )
    return parsed


def find_place(feed: Feed, landing_dir: Path) -> MirrorPlace:
    """Return where files of a feed land that are fetched or computed.

    Raises:
        SourceError: They would land nowhere, or elsewhere.
    """
    place = MirrorPlace.of(feed, landing_dir)
    if not landing_dir.is_dir():
        raise SourceError(f"feed {feed.name}: the landing directory {landing_dir} does not exist")
    if not place.folder.resolve().is_relative_to(landing_dir.resolve()):
        raise SourceError(f"feed {feed.name}: {place.folder} is linked out of {landing_dir}")
    return place


def look_at_source(
    feed: Feed, landing_dir: Path, remote: Remote, why_outside: WhyOutside = everything
) -> Difference:
    """Find out what a mirror would do, and change nothing.

    Raises:
        SourceError: The source cannot be listed.
    """
    place = MirrorPlace.of(feed, landing_dir)
    with _of_feed(feed):
        listing = remote.list_items()
    return compare_with_source(feed, listing, place.read_manifest(), place, why_outside)


def find_difference(
    feed: Feed, landing_dir: Path, why_outside: WhyOutside = everything
) -> Difference:
    """Look at a feed's source by a connection of its own, and change nothing.

    Raises:
        SourceError: The source cannot be listed.
    """
    if feed.fetched_from is None:
        raise SourceError(f"feed {feed.name} has no source")
    with _of_feed(feed):
        remote = feed.fetched_from.connect(feed)
    try:
        return look_at_source(feed, landing_dir, remote, why_outside)
    finally:
        remote.close()


def mirror_source(feed: Feed, landing_dir: Path, why_outside: WhyOutside = everything) -> Fetched:
    """Make a feed's folder hold what its source offers, as far as the feed has partitions for it.

    Args:
        feed: The feed.
        landing_dir: Its landing directory.
        why_outside: Returns why there is no partition of a key; empty if there is one.

    Returns:
        What was fetched, and what could not be: one item that fails stops no other.

    Raises:
        SourceError: The source cannot be listed, or the landing cannot be written to.
    """
    source, place = feed.fetched_from, find_place(feed, landing_dir)
    if source is None:
        raise SourceError(f"feed {feed.name} has no source")
    try:
        with _of_feed(feed), alone(place.state):
            remote = source.connect(feed)
            try:
                return _Mirror(feed, source, place, remote, why_outside).make()
            finally:
                remote.close()
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise SourceError(f"feed {feed.name}: {landing_dir} cannot be written to: {what}") from None


class _Mirror:
    """One look at a source, and the fetches after it."""

    def __init__(
        self,
        feed: Feed,
        source: Source,
        place: MirrorPlace,
        remote: Remote,
        why_outside: WhyOutside,
    ) -> None:
        self._feed, self._source, self._place = feed, source, place
        self._remote, self._why_outside = remote, why_outside
        self._manifest: Manifest = place.read_manifest()
        self._failures, self._lock = 0, Lock()

    def make(self) -> Fetched:
        difference = self._look()
        fetched = Fetched(difference)
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
        write_troubles(self._place, [*fetched.failed, *difference.passed_over])
        return fetched

    def _look(self) -> Difference:
        listing = self._remote.list_items()
        return compare_with_source(
            *(self._feed, listing, self._manifest, self._place, self._why_outside)
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
        noted = Noted(item.version, done.validator, done.size_bytes, done.modified_ns, time.time())
        self._manifest.note(item.name, noted)
        failpoints.reach(failpoints.AFTER_FETCH)
        if done.is_same:
            fetched.unmodified += 1
        else:
            fetched.landed.append(item.name)
            fetched.size_bytes += done.size_bytes

    def _fetch(self, item: RemoteItem) -> "_Done":
        if self._failures >= _MOST_FAILURES:
            raise SourceError("was left to a later look, because too many others failed")
        try:
            done = retry(lambda: self._try(item))
        except SourceError as error:
            with self._lock:
                self._failures += error.may_pass
            raise
        except OSError as error:
            what = error.strerror or type(error).__name__
            raise SourceError(f"cannot be written to the landing: {what}") from None
        except Exception as error:
            what = type(error).__name__
            raise SourceError(f"something unforeseen happened ({what})") from error
        self._failures = 0
        return done

    def _try(self, item: RemoteItem) -> "_Done":
        path, noted = self._place.folder / item.name, self._manifest.get(item.name)
        is_known = noted is not None and self._place.is_as_noted(item.name, noted)
        known = noted.validator if noted and is_known else ""
        part = self._place.state / f"part-{token_hex(8)}"
        try:
            with part.open("xb") as file:
                sink = Sink(_watched(file.write), self._source)
                validator = self._remote.fetch(item, sink, known)
                if validator is None and noted:
                    return _Done(noted.validator, noted.size_bytes, noted.modified_ns, True)
                if item.size_bytes not in (None, sink.size_bytes):
                    reason = "is not as long as it was listed: it changes, or was cut off"
                    raise SourceError(reason, may_pass=True)
                file.flush()
                os.fsync(file.fileno())
            failpoints.reach(failpoints.BEFORE_LANDING)
            self._land(part, path)
        finally:
            part.unlink(missing_ok=True)
        status = os.lstat(path)
        failpoints.reach(failpoints.AFTER_LANDING)
        return _Done(validator or "", status.st_size, status.st_mtime_ns)

    def _land(self, part: Path, path: Path) -> None:
        """Rename a whole file, unless the same bytes lie there already."""
        if not path.parent.resolve().is_relative_to(self._place.folder.resolve()):
            raise SourceError("would land outside of the feed's folder, through a link")
        path.parent.mkdir(parents=True, exist_ok=True)
        lies = self._place.find(path.relative_to(self._place.folder).as_posix())
        if lies is None or lies.st_size != part.stat().st_size or not cmp(part, path, False):
            part.replace(path)

    def _remove(self, gone: list[str], fetched: Fetched) -> None:
        for name in gone:
            # What somebody else put there is not the source's to remove.
            if self._place.is_as_noted(name, self._manifest[name]):
                (self._place.folder / name).unlink(missing_ok=True)
                fetched.removed.append(name)
            self._manifest.note(name, None)


@dataclass(frozen=True)
class _Done:
    validator: str
    size_bytes: int
    modified_ns: int
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


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Let one process at a time fetch for a feed, and remove what a killed one left on its way."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for part in state.glob("part-*"):
            part.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)
