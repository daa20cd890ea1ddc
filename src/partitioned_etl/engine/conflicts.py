"""Conflicts: a transaction that gave way to another is run again, a few times.

Takes what runs one transaction as a whole. Which transactions wait for each other, so that this is
rare, is decided in `warehouse/`.
"""

import random
import time
from collections.abc import Callable
from logging import getLogger
from typing import TypeVar

from partitioned_etl.engine.errors import WarehouseConflictError

logger = getLogger(__name__)
Result = TypeVar("Result")

MAX_RUNS = 5
_FIRST_PAUSE_SECONDS = 0.05


def run_until_done(work: Callable[[], Result]) -> Result:
    """Run one transaction, again after a random pause if it gave way to another one.

    Args:
        work: What runs it; whatever it did before it failed was undone.

    Raises:
        WarehouseConflictError: It gave way each time.
    """
    pause, runs = _FIRST_PAUSE_SECONDS, 0
    while True:
        try:
            return work()
        except WarehouseConflictError as error:
            runs += 1
            if runs >= MAX_RUNS:
                raise
            logger.info(f"{error}; it is run again")
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause *= 2
