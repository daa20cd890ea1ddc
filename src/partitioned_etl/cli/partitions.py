"""Partitions: the keys that a command is called with, which are data and never code.

Takes keys as a person typed them, and a feed's plan; a key of which nothing is known is refused.
"""

from collections.abc import Collection

from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.plan import Plan


def require_partitions(
    feed: Feed, plan: Plan, keys: Collection[str], registered: Collection[str]
) -> None:
    """Make sure that something is known of every partition that was asked for.

    Args:
        feed: The feed.
        plan: Its plan.
        keys: The keys that were asked for.
        registered: The keys that Dagster knows, of which a feed computes those that people add.

    Raises:
        PartitionKeyError: Nothing has landed, and nothing is loaded, of one of them.
    """
    if not keys:
        return
    known = plan.known_keys.union(registered if feed.is_computed else ())
    for key in sorted({*keys} - known):
        feed.check_partition_key(key)
        if feed.is_computed:
            raise PartitionKeyError(
                f"feed {feed.name}: nobody has added partition {key[:200]!a}: "
                f"`partitioned-etl add-key {feed.name} KEY` does"
            )
        raise PartitionKeyError(
            f"feed {feed.name}: nothing has landed of partition {key[:200]!a}, and nothing of it "
            "is loaded"
        )
