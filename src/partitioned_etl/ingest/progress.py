"""Progress: a line in the log every few seconds of a long batch, or whatever a terminal shows."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile

PROGRESS_SECONDS = 5.0

listener: "Callable[[Progress, str], None] | None" = None
"""What is called with every file that is done, and what was done to it, instead of the log."""


@dataclass
class Progress:
    """How far a batch of files is.

    Attributes:
        log: Where the lines go.
        feed: The feed.
        files: The files of the batch.
        started: When it began, on the monotonic clock; so is `said`, the time of the last line.
        done_files: Files done.
        done_bytes: Bytes done.
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
        """Count a file as done, and say how far the batch is if it is time to."""
        self.done_files += 1
        self.done_bytes += file.signature.size_bytes
        if listener is not None:
            listener(self, what)
            return
        now = time.monotonic()
        if now - self.said < PROGRESS_SECONDS:
            return
        self.said = now
        speed = self.done_bytes / (now - self.started)
        left = (self.all_bytes - self.done_bytes) / speed if speed else 0
        self.log.info(
            f"feed {self.feed.name}: {what} {self.done_files} of {len(self.files)} files, "
            f"{self.done_bytes / 1e6:,.0f} of {self.all_bytes / 1e6:,.0f} MB, "
            f"{speed / 1e6:,.0f} MB/s, about {left:,.0f} s left"
        )
