"""Interrupts: a Ctrl-C that came while Dagster executed a run, or DuckDB a statement.

Gives what tells of it afterwards: Dagster takes it for a failure of the run, or, between two steps,
for nothing, DuckDB for an error, and none of them for the end of the command.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watch_interrupts() -> Iterator[Callable[[], None]]:
    """Note every Ctrl-C, whoever handles it.

    Yields:
        What raises KeyboardInterrupt if there was one.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def raise_interrupt() -> None:
        try:
            signals = os.read(reading, 1024)
        except BlockingIOError:
            return
        if signal.SIGINT in signals:
            raise KeyboardInterrupt

    try:
        yield raise_interrupt
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)
