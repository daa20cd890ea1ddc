"""Attempts: how often a sensor requested something without success.

A sensor's cursor remembers them per key. Once `MAX_ATTEMPTS` is reached, a key is requested once an
hour: a full disk may have room again. A run that could not even start says nothing of what it was
to do, so it does not count; its keys are requested again after a pause.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from partitioned_etl.engine.plan import MAX_ATTEMPTS

RETRY_SECONDS = 3600
"""How long to wait before another attempt once `MAX_ATTEMPTS` is reached."""
PAUSE_SECONDS = 60
"""How long to wait before another attempt if a run could not start."""


class Attempt(NamedTuple):
    """What was requested for a key.

    Attributes:
        mark: What it was requested for; another mark starts the count anew.
        times: How often.
        at: When last, or when its run could not start, in seconds since 1970.
        could_not_start: Whether the latest run could not start.
    """

    mark: str
    times: int
    at: int
    could_not_start: bool = False


@dataclass
class Attempts:
    """How often each key was requested for what it would be requested for now.

    Attributes:
        of_key: The attempts by key.
    """

    of_key: dict[str, Attempt] = field(default_factory=dict)

    def count(self, key: str, mark: str) -> int:
        """Return how often a key was requested; once an hour, one less than the limit."""
        attempt = self.of_key.get(key)
        if attempt is None or attempt.mark != mark:
            return 0
        is_long_ago = time.time() - attempt.at >= RETRY_SECONDS
        return min(attempt.times, MAX_ATTEMPTS - 1) if is_long_ago else attempt.times

    def note(self, key: str, mark: str) -> None:
        """Record that a key is requested now."""
        self.of_key[key] = Attempt(mark, self.count(key, mark) + 1, int(time.time()))

    def give_up(self, key: str, mark: str) -> None:
        """Record that a key is requested now for the last time."""
        self.of_key[key] = Attempt(mark, MAX_ATTEMPTS, int(time.time()))

    def take_back(self, keys: Collection[str]) -> None:
        """Record that the latest runs of keys could not start."""
        for key in keys:
            if attempt := self.of_key.get(key):
                times = max(0, attempt.times - 1)
                self.of_key[key] = attempt._replace(
                    times=times, at=int(time.time()), could_not_start=True
                )

    def is_pausing(self, key: str, mark: str) -> bool:
        """Return whether a key's latest run could not start just now."""
        attempt = self.of_key.get(key)
        if attempt is None or attempt.mark != mark or not attempt.could_not_start:
            return False
        return time.time() - attempt.at < PAUSE_SECONDS

    def keep(self, keys: Collection[str]) -> None:
        """Forget all keys but these."""
        self.of_key = {key: attempt for key, attempt in self.of_key.items() if key in keys}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "Attempts":
        """Read attempts from a cursor's JSON.

        Raises:
            ValueError, TypeError, AttributeError: They cannot be read.
        """
        return cls(
            {
                key: Attempt(str(mark), int(times), int(at), bool(could_not_start))
                for key, (mark, times, at, could_not_start) in values.items()
            }
        )
