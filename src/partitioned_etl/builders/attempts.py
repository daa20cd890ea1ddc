"""Attempts: how often a sensor requested something without success.

Takes what a sensor's cursor remembers about a key; returns how often it was requested, and so
whether to request another run. Once `MAX_ATTEMPTS` is reached, it is retried once an hour: a full
disk may have room again.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from partitioned_etl.ingest.reconcile import MAX_ATTEMPTS

RETRY_SECONDS = 3600
"""How long to wait before another attempt once `MAX_ATTEMPTS` is reached."""

Mark = TypeVar("Mark", int, str)


def count_attempts(asked: Mapping[str, tuple[Mark, int, int]], key: str, mark: Mark) -> int:
    """Return how often a key was requested; once an hour, one less than the limit.

    Args:
        asked: Per key, what it was requested for, how often, and when last, in seconds since 1970.
        key: The key.
        mark: What it would be requested for now; a different mark starts the count anew.
    """
    if key not in asked or asked[key][0] != mark:
        return 0
    _, attempts, asked_at = asked[key]
    is_long_ago = time.time() - asked_at >= RETRY_SECONDS
    return min(attempts, MAX_ATTEMPTS - 1) if is_long_ago else attempts


def note_attempt(asked: dict[str, tuple[Mark, int, int]], key: str, mark: Mark) -> None:
    """Record that a key is requested now."""
    asked[key] = (mark, count_attempts(asked, key, mark) + 1, int(time.time()))


def parse_attempts(
    values: Mapping[str, Any], to_mark: Callable[[Any], Mark]
) -> dict[str, tuple[Mark, int, int]]:
    """Read attempts from a cursor's JSON.

    Raises:
        ValueError, TypeError, AttributeError: The attempts cannot be read.
    """
    return {key: (to_mark(mark), int(count), int(at)) for key, (mark, count, at) in values.items()}
