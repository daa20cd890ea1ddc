"""Ad-hoc keys: keys that people add, and the rows that a feed's function computes for them.

Takes the keys of a run, and lets their rows land; takes what Dagster and a plan know, and returns
keys of which nothing is known yet, and files whose key a person has deleted. From the landed file
on, such a feed is like any other. Writing the rows belongs in `engine/sources/computed_rows.py`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import dagster as dg

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.engine.errors import (
    ContractError,
    PartitionKeyError,
    SourceError,
)
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.landing.landing import LandedFile, Listing, PassedOver
from partitioned_etl.engine.landing.names import to_printable
from partitioned_etl.engine.plan import MAX_ATTEMPTS, Action, Plan
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
MARK = "rows of which nothing has landed"
"""What a key is requested for that is to be computed."""
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
    landing_dir: Path,
    listing: Listing,
    compute: Compute,
) -> dict[str, str]:
    """Let the rows of a run's keys land, as far as the run is there to compute them.

    A function that fails for one key is called for the others, and the file of that key stays.

    Args:
        context: The context of a step that `feed_assets` made, with partition keys.
        feed: The feed.
        landing_dir: Its landing directory.
        listing: What lies there.
        compute: Returns or yields the rows of a key.

    Returns:
        Why the rows of a key could not be computed, by key.
    """
    reasons, run = dict[str, str](), context.run
    spellings = list_spellings(listing.by_key)
    # A person who starts a run again wants what it was for, and not what it left.
    takes_landed = run.tags.get(COMPUTES_TAG) == COMPUTES_MISSING and not run.parent_run_id
    for key in context.partition_keys:
        if takes_landed and key in listing.by_key:
            continue
        try:
            check_key(feed, key, spellings)
            land_rows(feed, landing_dir, key, lambda key=key: compute(key))
            spellings |= list_spellings([key])
        except Exception as error:
            reasons[key] = _explain(key, error)
            context.log.exception(f"feed {feed.name}, partition {key}: not computed")
    return reasons


def _explain(key: str, error: Exception) -> str:
    """Return what kept the rows of a key from landing, as one sentence."""
    said = error.description if isinstance(error, dg.Failure) else str(error)
    text = " ".join((said or "").split())[:_MOST_CHARS]
    if isinstance(error, PartitionKeyError | SourceError):
        return text
    if isinstance(error, ContractError):
        return f"{key}: what its function gives: {text}"
    return f"{key}: its function raised {type(error).__name__}" + (f": {text}" if text else "")


@dataclass(frozen=True)
class KeyChoice:
    """Keys that Dagster knows and of which nothing has landed, and what becomes of each.

    Attributes:
        wanted: Keys to compute next.
        waiting: Keys that a run computes, or whose latest run could not start.
        later: Keys that exceed the limit and follow later.
        given_up: Keys that were requested `MAX_ATTEMPTS` times in vain.
        refused: Keys that no file can be named after, and why.
    """

    wanted: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    refused: list[PassedOver] = field(default_factory=list)

    @property
    def pending(self) -> list[str]:
        """The keys that are still to be computed."""
        return [*self.wanted, *self.waiting, *self.later, *self.given_up]


def choose_keys(
    assets: FeedAssets,
    plan: Plan,
    known: Sequence[str],
    attempts: Attempts,
    *,
    in_flight: Collection[str] = (),
    most: int,
    asked: Collection[str] = (),
) -> KeyChoice:
    """Choose which keys to compute next.

    Args:
        assets: The feed's assets.
        plan: The feed's plan.
        known: All partition keys that Dagster knows.
        attempts: How often each key was requested.
        in_flight: Keys that a run has already.
        most: Most keys to choose.
        asked: Keys that a person named: of them, it is enough that no file is there; none for all
            keys of which the ledger knows nothing, either.
    """
    choice = KeyChoice()
    if not assets.feed.is_computed:
        return choice
    seen = {*plan.landed_keys} if asked else plan.known_keys
    spellings = list_spellings(seen)
    for key in known:
        if key in seen or (asked and key not in asked):
            continue
        try:
            check_key(assets.feed, key, spellings)
        except PartitionKeyError as error:
            choice.refused.append(PassedOver(to_printable(key), str(error), key))
            continue
        spellings |= list_spellings([key])
        if key in in_flight or attempts.is_pausing(key, MARK):
            choice.waiting.append(key)
        elif attempts.count(key, MARK) >= MAX_ATTEMPTS:
            choice.given_up.append(key)
        elif len(choice.wanted) >= most:
            choice.later.append(key)
        else:
            choice.wanted.append(key)
    return choice


def describe_given_up_key(key: str) -> str:
    """Return a message that a key has reached `MAX_ATTEMPTS`."""
    return (
        f"{key} was requested {MAX_ATTEMPTS} times and could not be computed; it is requested once "
        "an hour, and when the feed's file changes. See the failed runs for the reason."
    )


@dataclass(frozen=True)
class Withdrawn:
    """Landed files whose keys a person deleted in Dagster, and the feed's policy is to remove them.

    Attributes:
        files: The files that are removed.
        keys: Their keys, which are not registered again.
        brake: Safeguard: why no file is removed; empty otherwise.
    """

    files: list[LandedFile] = field(default_factory=list)
    keys: frozenset[str] = frozenset()
    brake: str = ""


def find_withdrawn(instance: dg.DagsterInstance, assets: FeedAssets, plan: Plan) -> Withdrawn:
    """Find the files whose keys were deleted.

    A key that this instance never told anything of was not deleted from it: it may have been added
    to another one, or this one is new. Nor is a file meant that the ledger does not know as it is.

    Args:
        instance: The Dagster instance.
        assets: The feed's assets.
        plan: The feed's plan. Dagster is asked for its keys only now: one may have been added, and
            its rows loaded, while the plan was made.
    """
    feed, landed = assets.feed, plan.landed_keys
    if not feed.is_computed or feed.on_missing is OnMissing.KEEP:
        return Withdrawn()
    missing = {*landed}.difference(assets.partitions.list_keys(instance))
    if not missing:
        return Withdrawn()
    told = set[str]()
    for of_type in (
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.ASSET_OBSERVATION,
    ):
        told.update(instance.get_latest_storage_id_by_partition(assets.load_key, of_type))
    gone = missing & told
    files = [*plan.files(Action.IDENTICAL, Action.REFUSED), *plan.unchanged.list_files(gone)]
    files = [file for file in files if file.partition_key in gone]
    keys = frozenset(file.partition_key for file in files)
    if 2 * len(keys) > len(landed):
        brake = (
            f"{len(keys)} of {len(landed)} keys were deleted, more than half: nothing is removed. "
            f"If that is as it should be: `partitioned-etl forget {feed.name} --partition KEY`"
        )
        return Withdrawn([], keys, brake)
    return Withdrawn(files, keys)
