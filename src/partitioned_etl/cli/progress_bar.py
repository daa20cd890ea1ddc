"""Progress bar: how far a batch of files has progressed, on a terminal.

Takes the progress that loads report; if standard error is not a terminal, it goes to their log.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from partitioned_etl.ingest import progress
from partitioned_etl.ingest.progress import Progress


class ProgressBars:
    """One bar after another: the files of a batch are checked, then loaded.

    Args:
        terminal: Where the bars are drawn.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._batch: Progress | None = None
        self._bar = None
        self._shown_bytes = 0

    def show(self, batch: Progress, what: str, done_bytes: float) -> None:
        """Show how many bytes of a batch are done."""
        if self._bar is None or batch is not self._batch:
            self.finish()
            self._batch, self._shown_bytes = batch, 0
            self._bar = click.progressbar(
                length=max(1, batch.all_bytes),
                label=f"{batch.feed.name}: {what}",
                item_show_func=lambda _: f"{batch.done_files} of {len(batch.files)} files",
                file=self._terminal,
            )
        self._bar.update(max(0, int(done_bytes) - self._shown_bytes), batch)
        self._shown_bytes = max(self._shown_bytes, int(done_bytes))
        if batch.done_files == len(batch.files):
            self.finish()

    def finish(self) -> None:
        """Leave the last bar as it is, and end its line."""
        if self._bar is not None:
            self._bar.render_finish()
        self._bar = None


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
