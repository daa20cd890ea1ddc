"""Progress bar: how far a batch of files has progressed, on a terminal.

Takes the progress that loads report; if standard error is not a terminal, it goes to their log.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars

from partitioned_etl.engine import progress
from partitioned_etl.engine.progress import Progress


class ProgressBars:
    """One bar after another: the files of a batch are surveyed, then loaded.

    Args:
        terminal: Where the bars are drawn.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._console = Console(file=terminal)
        self._batch: Progress | None = None
        self._bars: Bars | None = None
        self._task = TaskID(0)

    def show(self, batch: Progress, what: str, done_bytes: float) -> None:
        """Show how many bytes of a batch are done."""
        if self._bars is None or batch is not self._batch:
            self.finish()
            self._batch, self._bars = batch, self._draw(batch, what)
        self._bars.update(
            self._task,
            completed=int(done_bytes),
            files=f"{batch.done_files} of {len(batch.files)} files",
        )
        if batch.done_files == len(batch.files):
            self.finish()

    def _draw(self, batch: Progress, what: str) -> Bars:
        bars = Bars(
            *(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[files]}")),
            *(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()),
            console=self._console,
        )
        description = f"{batch.feed_name}: {what}"
        self._task = bars.add_task(description, total=max(1, batch.all_bytes), files="")
        bars.start()
        return bars

    def finish(self) -> None:
        """Leave the last bar as it is, and end its line."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None


@contextmanager
def show_progress() -> Iterator[None]:
    """Show a bar for every batch of files loaded meanwhile, if there is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    # Dagster redirects standard error to a run's log, which would then contain the bars.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as terminal:
        bars = ProgressBars(terminal)
        progress.listener = bars.show
        try:
            yield
        finally:
            progress.listener = None
            bars.finish()
