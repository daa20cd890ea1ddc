"""Progress: a log line every few seconds of a long batch, or whatever a terminal shows."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile

PROGRESS_SECONDS = 5.0

listener: "Callable[[Progress, str, float], None] | None" = None
"""Called instead of the log, with the kind of work and the bytes done: after every file and, from
another thread, every few seconds of a long one."""


@dataclass
class Progress:
    """How far a batch of files has progressed.

    Attributes:
        log: Where progress is logged.
        feed: The feed.
        files: The files of the batch.
        started: When it began, on the monotonic clock; `said`, on the same clock, is the time of
            the last line.
        done_files: Files done.
        done_bytes: Bytes of those files.
    """

    log: logging.Logger
    feed: Feed
    files: Sequence[LandedFile]
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    done_files: int = 0
    done_bytes: int = 0

    @property
    def all_bytes(self) -> int:
        """Size of all files of the batch."""
        return sum(file.signature.size_bytes for file in self.files)

    def done(self, what: str, file: LandedFile) -> None:
        """Count a file as done, and report progress if it is time to."""
        self.done_files += 1
        self.done_bytes += file.signature.size_bytes
        if listener is not None or time.monotonic() - self.said >= PROGRESS_SECONDS:
            self._say(what, 0)

    @contextmanager
    def watch(self, what: str, read_bytes: Callable[[], float]) -> Iterator[None]:
        """Report progress every few seconds while one long step runs.

        Args:
            what: What the step does.
            read_bytes: Returns how many bytes the step has read; called from another thread.
        """
        ended = threading.Event()

        def say() -> None:
            while not ended.wait(PROGRESS_SECONDS):
                self._say(what, read_bytes())

        thread = threading.Thread(target=say, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _say(self, what: str, read_bytes: float) -> None:
        self.said = time.monotonic()
        done_bytes = self.done_bytes + read_bytes
        if listener is not None:
            listener(self, what, done_bytes)
            return
        speed = done_bytes / (self.said - self.started)
        left = f", about {(self.all_bytes - done_bytes) / speed:,.0f} s left" if speed else ""
        self.log.info(
            f"feed {self.feed.name}: {what} {self.done_files} of {len(self.files)} files, "
            f"{done_bytes / 1e6:,.0f} of {self.all_bytes / 1e6:,.0f} MB, "
            f"{speed / 1e6:,.0f} MB/s{left}"
        )
