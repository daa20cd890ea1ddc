"""Agenda: what is to be done for a feed now.

Takes a feed's assets, Dagster, landing and warehouse; returns one value with the plan, what runs
have already, what is loaded next and in which runs, and what is removed. The sensor turns it into
requests, `partitioned-etl plan` into a table and `sync` into runs.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

import dagster as dg

from partitioned_etl.components.ad_hoc_keys import (
    KeyChoice,
    choose_keys,
    find_unregistered,
)
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.attempts import Attempts
from partitioned_etl.components.partitions import FeedPartitions
from partitioned_etl.components.ranges import group_into_ranges
from partitioned_etl.components.runs import list_keys_in_flight, list_unreported_keys
from partitioned_etl.components.scans import scan_in_time
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, Landing, group_by_key
from partitioned_etl.engine.list_since import find_first_name, find_first_name_of, is_left_out
from partitioned_etl.engine.plan import (
    DEFAULT_TOUCHED_BYTES,
    Action,
    Choice,
    Plan,
    Removal,
    choose_files,
    find_removable,
    make_plan,
)
from partitioned_etl.engine.warehouse.warehouse import Warehouse

MAX_RUNS_AT_ONCE = 25
"""Most runs that are requested at once; changed keys that are not adjacent need one each."""


@dataclass(frozen=True)
class Limits:
    """How much one look at a feed may take.

    Attributes:
        max_files: Most files that are loaded by one run, and by all that are requested at once.
        lock_wait_seconds: How long to wait for others that have the warehouse open; None for as
            long as configured.
        settle_wait_seconds: The longest settle time that is waited out, once.
        touched_bytes: The most bytes to read to tell touched files from changed ones.
        scan_seconds: How long to wait for a look at the landing, which goes on meanwhile; None for
            as long as it takes.
        read_only: Whether to change nothing, not even in the ledger.
        first_name: Names that sort before it are not looked at; empty to look at all.
    """

    max_files: int
    lock_wait_seconds: float | None = None
    settle_wait_seconds: float = 0.0
    touched_bytes: int = DEFAULT_TOUCHED_BYTES
    scan_seconds: float | None = None
    read_only: bool = False
    first_name: str = ""


def _find_none(_: Plan) -> Collection[str]:
    return ()


@dataclass(frozen=True)
class Scope:
    """What of a feed one look is about.

    Attributes:
        keys: The partition keys; none for all of them, and for what has no file any more.
        find_again: Returns, of a plan, the partition keys that are loaded although nothing is new.
    """

    keys: frozenset[str] = frozenset()
    find_again: Callable[[Plan], Collection[str]] = _find_none

    def has(self, key: str) -> bool:
        """Return whether the look is about a partition."""
        return not self.keys or key in self.keys


WHOLE_FEED = Scope()


@dataclass(frozen=True)
class Agenda:
    """What is to be done for a feed now.

    Attributes:
        plan: Landing and ledger, compared.
        known: All partition keys that Dagster knows, in the order used by ranges.
        in_flight: Partition keys that a run is loading.
        unreported: Partition keys that a run loaded and did not report.
        reported_until: Time up to which loads are known to be reported, in seconds since 1970.
        choice: Which files are loaded next, which later, and which not.
        pausing: Files that wait because their latest run could not start.
        names: Names to register: those that are wanted, then others that have landed.
        ranges: The partition keys of each run; the next look goes on from there.
        removal: Which partitions are removed.
        to_compute: Of a feed with ad-hoc keys, those of which nothing has landed.
        unregistered: Of such a feed, what is loaded and has a key that is registered again.
    """

    plan: Plan
    known: Sequence[str]
    in_flight: set[str]
    unreported: set[str]
    reported_until: float
    choice: Choice
    pausing: list[LandedFile]
    names: list[str]
    ranges: list[list[str]]
    removal: Removal
    to_compute: KeyChoice = field(default_factory=KeyChoice)
    unregistered: list[LandedFile] = field(default_factory=list[LandedFile])

    def keys_to_remember(self) -> set[str]:
        """Return the keys whose attempts still matter: those that are not as they should be."""
        choice = self.choice
        pending = (*choice.wanted, *choice.in_flight, *choice.later, *choice.given_up)
        keys = {file.partition_key for file in (*pending, *self.pausing)}
        return keys | {*self.plan.keys(Action.UNSETTLED), *self.to_compute.pending}

    def leaves_open(self, feed: Feed, now: datetime) -> bool:
        """Return whether a later look has to go on with what is before the feed's window.

        What waits for a marker, or was given up, may wait for the nightly job.

        Args:
            feed: The feed, with `list_since_days`.
            now: The moment of the look.
        """
        first_name = find_first_name(feed, now)
        if self.names or find_first_name_of(feed, self.in_flight, now) < first_name:
            return True
        choice = self.choice
        settling = (file for file in self.plan.files(Action.UNSETTLED) if not file.lacks)
        pending = (*choice.wanted, *choice.in_flight, *choice.later, *self.pausing, *settling)
        return any(is_left_out(file.name, first_name) for file in pending)


def make_agenda(
    assets: FeedAssets,
    instance: dg.DagsterInstance,
    landing: Landing,
    warehouse: Warehouse,
    remember: Callable[[Plan], Attempts],
    limits: Limits,
    *,
    reported_since: float = 0.0,
    waits_for_runs: bool = True,
    scope: Scope = WHOLE_FEED,
) -> Agenda:
    """Find out what is to be done for a feed now.

    Args:
        assets: The feed's assets.
        instance: The Dagster instance.
        landing: The landing.
        warehouse: The warehouse.
        remember: Returns how often each key was tried, as far as that matters for the plan.
        limits: How much this may take.
        reported_since: Time up to which loads are known to be reported, in seconds since 1970.
        waits_for_runs: Whether what a run is loading is left to that run.
        scope: Which partitions are loaded, and which of them in any case.

    Raises:
        LandedFileError: The landing cannot be listed, or takes longer than that.
        WarehouseError: The warehouse cannot be opened.
    """

    def look() -> tuple[list[str], set[str], Plan]:
        # Dagster is queried first: the plan then includes what a run has loaded meanwhile. The plan
        # also reuses the memory that the query for the keys needed.
        known = assets.partitions.list_keys(instance)
        in_flight = list_keys_in_flight(instance, assets, known) if waits_for_runs else set()
        plan = make_plan(
            assets.feed,
            scan_in_time(
                assets,
                landing,
                seconds=limits.scan_seconds,
                asker="agenda",
                first_name=limits.first_name,
            ),
            landing,
            warehouse,
            lock_wait_seconds=limits.lock_wait_seconds,
            touched_bytes=limits.touched_bytes,
            read_only=limits.read_only,
        )
        return known, in_flight, plan

    known, in_flight, plan = look()
    is_soon = landing.settle_seconds <= limits.settle_wait_seconds
    # Two looks at a large landing may take longer than a tick, and two plans too much memory.
    if plan.is_settling and is_soon and not plan.unchanged.found:
        del known, plan
        time.sleep(landing.settle_seconds)
        known, in_flight, plan = look()
    unreported, reported_until = list_unreported_keys(
        instance, assets.load_key, plan.list_loads(reported_since), reported_since
    )
    attempts = remember(plan)
    pausing, candidates = list[LandedFile](), list[LandedFile]()
    candidates_of_all = plan.candidates(unreported, scope.find_again(plan))
    to_load = [file for file in candidates_of_all if scope.has(file.partition_key)]
    marks = {key: mark_of(files) for key, files in group_by_key(to_load).items()}
    for file in to_load:
        is_pausing = attempts.is_pausing(file.partition_key, marks[file.partition_key])
        (pausing if is_pausing else candidates).append(file)
    choice = choose_files(
        candidates,
        lambda file: attempts.count(file.partition_key, marks[file.partition_key]),
        in_flight=in_flight,
        most=limits.max_files,
    )
    wanted = list(dict.fromkeys(file.partition_key for file in choice.wanted))
    to_compute = choose_keys(
        *(assets, plan, known, attempts),
        in_flight=in_flight,
        most=limits.max_files - len(wanted),
        asked=scope.keys,
    )
    plan.refused += to_compute.refused
    wanted += to_compute.wanted
    most_names = 0 if scope.keys else limits.max_files
    names = _list_new_names(assets.partitions, plan, known, wanted, most_names)
    unregistered = find_unregistered(instance, assets, plan, {*names}.difference(wanted))
    ordered = assets.partitions.add_names(known, names)
    ranges = group_into_ranges(wanted, ordered, limits.max_files)[:MAX_RUNS_AT_ONCE]
    removal = Removal() if scope.keys else find_removable(assets.feed, plan)
    return Agenda(
        *(plan, known, in_flight, unreported, reported_until),
        *(choice, pausing, names, ranges, removal, to_compute, unregistered),
    )


def mark_of(files: Iterable[LandedFile]) -> str:
    """Return what a partition is requested for: a short digest of its files and their versions."""
    return digest((file.name, file.version) for file in files)


def digest(parts: Iterable[object]) -> str:
    """Return a short digest of values."""
    return blake2b(repr(list(parts)).encode(), digest_size=6).hexdigest()


def _list_new_names(
    partitions: FeedPartitions,
    plan: Plan,
    known: Collection[str],
    wanted: Sequence[str],
    most: int,
) -> list[str]:
    """Return the names to register: those that are wanted, then others that have landed."""
    if not partitions.dynamic:
        return []
    registered = set(partitions.list_names(known))
    needed = sorted(set(partitions.list_names(wanted)) - registered)
    registered.update(needed)
    others = sorted(
        name for name in partitions.list_names(plan.landed_keys) if name not in registered
    )
    return needed + others[: max(0, most - len(needed))]
