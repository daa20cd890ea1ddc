"""The feed of which ticks are measured, but for the shipped one.

It is a module of its own, because what is imported with it counts as the sensor's memory.
"""

from typing import Any

from partitioned_etl.engine.feed import Feed


def build_feed(pattern: str, **declared: Any) -> Feed:
    """Give the feed of a pattern, with more of its attributes."""
    return Feed(name="events", pattern=pattern, columns={"id": "INTEGER"}, **declared)
