"""Attempts: how often a sensor asked for something that did not come of it.

Takes what a sensor's cursor remembers of a key; says whether it is worth another run. What is tried
as often as anything is tried once an hour from then on: a disk that was full may have room again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from partitioned_etl.ingest.reconcile import MAX_ATTEMPTS

RETRY_SECONDS = 3600
"""How long what was tried as often as anything is waits until it is tried once more."""

Mark = TypeVar("Mark", int, str)


def count_attempts(asked: Mapping[str, tuple[Mark, int, int]], key: str, mark: Mark) -> int:
    """Tell how often a key was asked for; once an hour, once less than too often.

    Args:
        asked: Per key what it was asked for, how often, and when last, in seconds since 1970.
        key: The key.
        mark: What it would be asked for now; another one starts anew.
    """
    if key not in asked or asked[key][0] != mark:
        return 0
    _, attempts, asked_at = asked[key]
    is_long_ago = time.time() - asked_at >= RETRY_SECONDS
    return min(attempts, MAX_ATTEMPTS - 1) if is_long_ago else attempts


def note_attempt(asked: dict[str, tuple[Mark, int, int]], key: str, mark: Mark) -> None:
    """Note that a key is asked for now."""
    asked[key] = (mark, count_attempts(asked, key, mark) + 1, int(time.time()))


def parse_attempts(
    values: Mapping[str, Any], to_mark: Callable[[Any], Mark]
) -> dict[str, tuple[Mark, int, int]]:
    """Read attempts from a cursor's JSON.

    Raises:
        ValueError, TypeError, AttributeError: They cannot be read.
    """
    return {key: (to_mark(mark), int(count), int(at)) for key, (mark, count, at) in values.items()}
