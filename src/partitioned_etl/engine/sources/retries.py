"""Retries: what a source refuses for a while is asked for again, later each time."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from partitioned_etl.engine.errors import SourceError

T = TypeVar("T")

MOST_TRIES = 4
FIRST_PAUSE_SECONDS = 1.0
"""The pause after the first failure; each further one is twice as long, and some more at random."""
MOST_PAUSE_SECONDS = 60.0
"""A source that asks for a longer pause is left to a later look."""


def retry(call: Callable[[], T]) -> T:
    """Call until it goes well, a few times at most.

    Raises:
        SourceError: It failed for good, or too often.
    """
    pause_seconds = FIRST_PAUSE_SECONDS
    for tries in range(1, MOST_TRIES + 1):
        try:
            return call()
        except SourceError as error:
            is_last = tries == MOST_TRIES or not error.may_pass
            if is_last or error.retry_after_seconds > MOST_PAUSE_SECONDS:
                raise
            pause = pause_seconds * random.uniform(1, 1.5)
            time.sleep(max(pause, error.retry_after_seconds))
            pause_seconds *= 2
    raise SourceError("was not tried")  # never reached
