"""Ad-hoc keys: keys that people add to a feed, or delete, and what follows from that.

Takes what Dagster and a plan know; returns the keys whose rows are to be computed, and the landed
files whose keys are registered again. Next: the agenda has them; `computations.py` does what a run
is for.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import dagster as dg

from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.engine.errors import PartitionKeyError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, PassedOver
from partitioned_etl.engine.landing.names import to_printable
from partitioned_etl.engine.plan import MAX_ATTEMPTS, Action, Plan
from partitioned_etl.engine.sources.computed_rows import check_key, list_spellings

MARK = "rows of which nothing has landed"
"""What a key is requested for that is to be computed."""


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


def find_unregistered(
    instance: dg.DagsterInstance, assets: FeedAssets, plan: Plan, names: Collection[str]
) -> list[LandedFile]:
    """Find the files that are loaded, or refused, and whose keys Dagster does not know.

    Somebody deleted the key, but it may as well be that the partitions have another name now, or
    that the instance is new. So nothing is removed: the key is registered again.

    Args:
        instance: The Dagster instance.
        assets: The feed's assets.
        plan: The feed's plan.
        names: Keys that have landed and were not known before the plan was made. Dagster is asked
            again: one may have been added, and its rows loaded, meanwhile.
    """
    if not (assets.feed.is_computed and names):
        return []
    missing = {*names}.difference(assets.partitions.list_keys(instance))
    files = plan.files(Action.IDENTICAL, Action.REFUSED)
    found = [file for file in files if file.partition_key in missing]
    return found + plan.unchanged.list_files(missing)


def describe_unregistered(feed: Feed, files: Sequence[LandedFile]) -> str:
    """Return what becomes of keys that Dagster does not know, and how to be rid of them."""
    return (
        f"{len(files)} key(s) that Dagster does not know have landed, as {files[0].name}, and are "
        f"registered again: `partitioned-etl forget {feed.name} --partition KEY` removes a key "
        "with its rows and its file"
    )
