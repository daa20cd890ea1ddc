"""Stale: what the ledger holds of files that the feed's declaration cannot name any more.

Takes a ledger row; returns whether the feed, as it is declared now, can have such a file. A feed
whose pattern, partitioning, `start` or `keys` changed leaves such rows behind, and the same data
may have landed under other names. Next: the plan keeps them, and a person decides.
"""

from collections.abc import Callable, Sequence

from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.warehouse.ledger import LedgerRow

_MOST_NAMED = 5


def is_stale(feed: Feed, row: LedgerRow, has_partition: Callable[[str], bool]) -> bool:
    """Return whether a feed cannot have the file of a ledger row under its partition key.

    Args:
        feed: The feed, as it is declared now.
        row: What the ledger knows of a file.
        has_partition: Whether the feed has a partition of a key.
    """
    try:
        key = feed.partition_key_of(row.source_file)
    except PartitionKeyError:
        return True
    return key != row.partition_key or not has_partition(key)


def describe_stale(feed_name: str, names: Sequence[str]) -> str:
    """Return how many files are stale, the first of them, and what a person can do.

    Args:
        feed_name: The feed.
        names: The names of the files, at least one.
    """
    first = ", ".join(names[:_MOST_NAMED]) + (", …" if names[_MOST_NAMED:] else "")
    return (
        f"{len(names):,} file(s), {first}; their rows are kept until someone calls "
        f"`partitioned-etl forget {feed_name} --stale`"
    )
