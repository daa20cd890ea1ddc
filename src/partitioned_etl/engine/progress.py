"""Progress: a log line every few seconds of a long batch, or whatever a terminal shows."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from logging import getLogger

from partitioned_etl.engine.formats.format import Watch
from partitioned_etl.engine.landing.landing import LandedFile

logger = getLogger(__name__)

PROGRESS_SECONDS = 5.0

listener: "Callable[[Progress, str, float], None] | None" = None
"""Called instead of the log, with the kind of work and the bytes done: after every file and, from
another thread, every few seconds of a long one."""


@dataclass
class Progress:
    """How far a batch of files has progressed.

    Attributes:
        feed_name: The feed's name.
        files: The files of the batch.
        started: When it began, on the monotonic clock; `said`, on the same clock, is the time of
            the last line.
        done_files: Files done.
        done_bytes: Bytes of those files.
    """

    feed_name: str
    files: Sequence[LandedFile]
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    done_files: int = 0
    done_bytes: int = 0

    @property
    def all_bytes(self) -> int:
        """Size of all files of the batch."""
        return sum(file.size_bytes for file in self.files)

    def done(self, what: str, file: LandedFile) -> None:
        """Count a file as done, and report progress if it is time to."""
        self.done_files += 1
        self.done_bytes += file.size_bytes
        if listener is not None or time.monotonic() - self.said >= PROGRESS_SECONDS:
            self._say(what, 0)

    def watch(self, what: str) -> Watch:
        """Return what reports progress every few seconds while one long step runs.

        Args:
            what: What the step does.
        """
        return partial(self._watch, what)

    def _watch(self, what: str, read_bytes: Callable[[], float]) -> AbstractContextManager[None]:
        return _every_few_seconds(lambda: self._say(what, read_bytes()))

    def _say(self, what: str, read_bytes: float) -> None:
        self.said = time.monotonic()
        done_bytes = self.done_bytes + read_bytes
        if listener is not None:
            listener(self, what, done_bytes)
            return
        speed = done_bytes / (self.said - self.started)
        left = f", about {(self.all_bytes - done_bytes) / speed:,.0f} s left" if speed else ""
        logger.info(
            f"feed {self.feed_name}: {what} {self.done_files} of {len(self.files)} files, "
            f"{done_bytes / 1e6:,.0f} of {self.all_bytes / 1e6:,.0f} MB, "
            f"{speed / 1e6:,.0f} MB/s{left}"
        )


@contextmanager
def _every_few_seconds(act: Callable[[], None]) -> Iterator[None]:
    """Do something every few seconds, in another thread."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(PROGRESS_SECONDS):
            act()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
