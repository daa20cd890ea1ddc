"""Interrupts: a Ctrl-C that arrived while Dagster executed a run, or DuckDB a statement.

Returns a function that raises it afterwards: Dagster treats it as a failure of the run or, between
two steps, ignores it; DuckDB treats it as an error; neither ends the command.
"""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")
_POLL_SECONDS = 0.1


def run_interruptibly(work: Callable[[], Result], interrupt: Callable[[], None]) -> Result:
    """Run work in a thread of its own, and interrupt it when Ctrl-C comes.

    DuckDB 2.0 misses a signal while the thread that waits for a statement works on it, too.

    Args:
        work: What to do.
        interrupt: Ends what the work waits for, called from this thread.

    Returns:
        What the work returns.

    Raises:
        KeyboardInterrupt: Ctrl-C came, and the work has ended.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            # Once is not enough if the statement has not begun.
            while not future.done():
                interrupt()
                wait([future], _POLL_SECONDS)
            raise


@contextmanager
def watch_interrupts() -> Iterator[Callable[[], None]]:
    """Record every Ctrl-C, whoever handles it.

    Yields:
        A function that raises KeyboardInterrupt if there was one.
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
