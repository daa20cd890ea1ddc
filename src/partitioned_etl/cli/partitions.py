"""Partitions: the keys that a command is called with, which are data and never code.

Takes keys as a person typed them, and a feed's plan; a key of which nothing is known is refused.
"""

from collections.abc import Collection

from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.plan import Plan


def require_partitions(feed: Feed, plan: Plan, keys: Collection[str]) -> None:
    """Make sure that something is known of every partition that was asked for.

    Raises:
        PartitionKeyError: Nothing has landed, and nothing is loaded, of one of them.
    """
    if not keys:
        return
    for key in sorted({*keys} - plan.known_keys):
        feed.check_partition_key(key)
        raise PartitionKeyError(
            f"feed {feed.name}: nothing has landed of partition {key[:200]!a}, and nothing of it "
            "is loaded"
        )
