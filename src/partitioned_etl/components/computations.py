"""Computations: the rows that a feed's function gives for the ad-hoc keys of a run.

Takes the keys of a run; lets their rows land, and returns why some did not. Next: the landed files
are loaded like any others. Writing the rows belongs in `engine/sources/computed_rows.py`, and which
keys a run is requested for in `ad_hoc_keys.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import dagster as dg

from partitioned_etl.engine.errors import ContractError, PartitionKeyError, SourceError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import Listing
from partitioned_etl.engine.sources.computed_rows import (
    Rows,
    check_key,
    land_rows,
    list_spellings,
)

COMPUTES_TAG = "partitioned_etl/computes"
COMPUTES_MISSING = "missing"
"""Run tag, and its value: what has landed is loaded as it is, and only the other keys computed.

A run without it computes all of its keys: a person asked for them.
"""
RETRY_TAG = "dagster/retry_number"
"""Run tag of Dagster: it retries a run by itself. A person's new run of the same lacks it."""
_MOST_CHARS = 1000
"""How much of what a function says is told when it fails."""

Compute: TypeAlias = Callable[[str], Rows]
"""Returns or yields the rows of a key."""


def tags_of_request(feed: Feed) -> dict[str, str]:
    """Return the tags of a run for what has landed, and for keys of which nothing has."""
    return {COMPUTES_TAG: COMPUTES_MISSING} if feed.is_computed else {}


def compute_keys(
    context: dg.AssetExecutionContext,
    feed: Feed,
    address: Path | str,
    listing: Listing,
    compute: Compute,
) -> dict[str, str]:
    """Let the rows of a run's keys land, as far as the run is there to compute them.

    A function that fails for one key is called for the others, and the file of that key stays.

    Args:
        context: The context of a step that `feed_assets` made, with partition keys.
        feed: The feed.
        address: Its landing, a folder or a URL of object storage.
        listing: What lies there.
        compute: Returns or yields the rows of a key.

    Returns:
        Why the rows of a key could not be computed, by key.
    """
    reasons = dict[str, str]()
    spellings = list_spellings(listing.by_key)
    takes_landed = not _is_asked_for(context.instance, context.run)
    for key in context.partition_keys:
        if takes_landed and key in listing.by_key:
            continue
        try:
            check_key(feed, key, spellings)
            land_rows(feed, address, key, lambda key=key: compute(key))
            spellings |= list_spellings([key])
        except Exception as error:
            reasons[key] = _explain(key, error)
            context.log.exception(f"feed {feed.name}, partition {key}: not computed")
    return reasons


def _is_asked_for(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether a person asked for a run. One that Dagster retries is as its parent was."""
    while RETRY_TAG in run.tags and run.parent_run_id:
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            break
        run = parent
    if run.tags.get(COMPUTES_TAG) != COMPUTES_MISSING:
        return True
    # A person who starts a run again wants what it was for, and not what it left.
    return bool(run.parent_run_id) and RETRY_TAG not in run.tags


def _explain(key: str, error: Exception) -> str:
    """Return what kept the rows of a key from landing, as one sentence."""
    said = error.description if isinstance(error, dg.Failure) else str(error)
    text = " ".join((said or "").split())[:_MOST_CHARS]
    if isinstance(error, PartitionKeyError | SourceError):
        return text
    if isinstance(error, ContractError):
        return f"{key}: what its function gives: {text}"
    return f"{key}: its function raised {type(error).__name__}" + (f": {text}" if text else "")
