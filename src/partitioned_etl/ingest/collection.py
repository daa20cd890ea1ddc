"""Garbage collection: put off while a look at a folder makes an object for every file.

Takes a function that makes many objects which stay; gives it back. Python would search all that
the process holds for cycles again and again meanwhile: two fifths of the time, to find none.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Put off garbage collection, as a decorator or in a `with` statement.

    Whoever finds it off leaves it off, so that it is on again when the first of several threads
    is done, and always in the end.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
