"""Scans: looks at a feed's place that may take longer than a tick.

Takes a feed's assets, its landing and how long a tick waits; gives what lies there, or says that
the look goes on. It does so in a thread of the code server, and a later tick takes what it found:
so a place is looked at to its end, however many ticks that takes.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from threading import Lock, Thread
from typing import Generic, TypeVar

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.landing.landing import Landing
from partitioned_etl.engine.landing.names import Scan

TICK_SCAN_SECONDS = 30.0
"""How long a tick waits for a look. Dagster ends a tick after 60 seconds:
https://docs.dagster.io/deployment/troubleshooting/sensor-timeouts.
"""


_MOST_AGE_SECONDS = 300.0


class StillScanningError(LandedFileError):
    """A look at a feed's place goes on for longer than somebody waits for it."""


T = TypeVar("T")


class LookUnderWay(Generic[T]):
    """A look that goes on in a thread, which ends with its process.

    Attributes:
        found: What it found, once it has ended.
    """

    def __init__(self, look: Callable[[], T]) -> None:
        self.found: Future[T] = Future()
        self._started = self._ended = time.monotonic()
        Thread(target=self._run, args=(look,), daemon=True).start()

    def _run(self, look: Callable[[], T]) -> None:
        try:
            self.found.set_result(look())
        except BaseException as error:
            self.found.set_exception(error)
        self._ended = time.monotonic()

    def ends_within(self, seconds: float) -> bool:
        """Wait for it, and return whether it has ended."""
        wait([self.found], seconds)
        return self.found.done()

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return time.monotonic() - self._started

    @property
    def is_too_old(self) -> bool:
        """Whether it ended so long ago that nobody should go by it."""
        return self.found.done() and time.monotonic() - self._ended > _MOST_AGE_SECONDS


_under_way: dict[tuple[str, bool, str, str], LookUnderWay[Scan]] = {}
_lock = Lock()


def scan_in_time(
    assets: FeedAssets,
    landing: Landing,
    *,
    seconds: float | None,
    asker: str = "",
    first_name: str = "",
) -> Scan:
    """Look at a feed's place, or go on waiting for the look of an earlier call.

    Args:
        assets: The feed's assets.
        landing: The landing.
        seconds: How long to wait for it; None for as long as it takes, in this thread.
        asker: Who asks, and later takes what was found: what two ask for, two looks find.
        first_name: Names that sort before it are not looked at; empty to look at all. What was
            found may be from an earlier one on.

    Raises:
        StillScanningError: It goes on; the next call waits for the same look.
        LandedFileError: The landing cannot be listed.
    """
    if seconds is None:
        return assets.scan(landing, first_name)
    place = landing.describe(assets.feed)
    key = asker, bool(first_name), assets.feed.name, place
    with _lock:
        scan = _under_way.pop(key, None)
        if scan is None or scan.is_too_old:
            scan = LookUnderWay(partial(assets.scan, landing, first_name))
    if scan.ends_within(seconds):
        return scan.found.result()
    with _lock:
        _under_way.setdefault(key, scan)
    raise StillScanningError(f"{place} is still being listed, for {scan.seconds:.0f} s now")
