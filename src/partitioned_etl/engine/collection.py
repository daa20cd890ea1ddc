"""Garbage collection: suspended while a scan of a folder creates one object per file.

Takes a function that creates many long-lived objects; returns it wrapped. Otherwise Python would
search everything in the process for cycles again and again: two fifths of the time, to find none.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Suspend garbage collection, as a decorator or in a `with` statement.

    A caller that finds it off leaves it off. So it is back on once the first of several threads is
    done, and always in the end.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
