"""Reconcile: compare the landed files with the ledger to find out what has to be done.

Takes a listing and the ledger; returns a plan, one entry per partition key with its action. Next:
the sensor requests a run, or `sync.py` loads at once. It opens no database, and reads a file only
to distinguish changed content from a touched file.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from partitioned_etl.ingest.collection import no_garbage_collection
from partitioned_etl.ingest.errors import LandedFileError
from partitioned_etl.ingest.feed import Feed, OnMissing
from partitioned_etl.ingest.landing import LandedFile, Listing, PassedOver
from partitioned_etl.ingest.ledger import LedgerRow, LoadStatus
from partitioned_etl.ingest.opening import hash_landed_file

MAX_ATTEMPTS = 3
"""How often a front end tries a file until it is loaded or refused."""


class Action(StrEnum):
    """What has to be done for a partition key."""

    NEW = "new"
    """The ledger does not know the key: load."""
    CHANGED = "changed"
    """The file's signature differs from the ledger's: load, unless the content proves the same."""
    IDENTICAL = "identical"
    """The ledger's file, loaded: nothing to do."""
    REJECTED = "rejected"
    """The ledger's file, refused: nothing to do until it or the feed's contract changes."""
    UNSETTLED = "unsettled"
    """New or changed, but younger than the settle time or without its marker: check again later."""
    UNUSABLE = "unusable"
    """The ledger's key has files that cannot be loaded, such as two of them; its rows are kept."""
    MISSING = "missing"
    """The ledger's file no longer exists; the feed's policy decides what happens to its rows."""


class Step(NamedTuple):
    """What has to be done for one partition key.

    Attributes:
        partition_key: The key.
        action: What to do.
        file: The landed file, unless it is missing.
        ledger_row: The key's ledger row, if any.
    """

    partition_key: str
    action: Action
    file: LandedFile | None = None
    ledger_row: LedgerRow | None = None

    @property
    def is_touched(self) -> bool:
        """Whether the file has the ledger's content under another signature."""
        judged = self.action in (Action.IDENTICAL, Action.REJECTED)
        return bool(
            judged
            and self.file
            and self.ledger_row
            and self.file.signature != self.ledger_row.signature
        )

    def explain(self, removal: "Removal") -> str:
        """Return why nothing is loaded for the key; empty if there is nothing to explain.

        Args:
            removal: Which partitions the feed's policy removes.
        """
        if self.action is Action.MISSING:
            if self.partition_key in removal:
                return "the file is gone"
            kept = "the file is gone; rows are kept"
            return f"{kept}: {removal.brake}" if removal.brake else kept
        if self.action is Action.UNUSABLE:
            return "its file cannot be used; rows are kept"
        if self.action is Action.REJECTED and self.ledger_row:
            return self.ledger_row.error or ""
        if self.action is Action.UNSETTLED and self.file:
            return self.file.why_not_ready(math.inf)
        return ""


@dataclass
class Plan:
    """What has to be done for a feed.

    Attributes:
        steps: One step per partition key, in the order of the keys.
        ignored: Entries of the folder that do not concern the feed.
        refused: Entries that cannot be used for any partition.
    """

    steps: dict[str, Step] = field(default_factory=dict)
    ignored: list[PassedOver] = field(default_factory=list)
    refused: list[PassedOver] = field(default_factory=list)

    def keys(self, *actions: Action) -> list[str]:
        """Return the partition keys whose step is one of these actions."""
        return [key for key, step in self.steps.items() if step.action in actions]

    @property
    def is_settling(self) -> bool:
        """Whether a short wait helps: a file is being written, not only lacking its marker."""
        return any(not file.lacks_marker for file in self.files(Action.UNSETTLED))

    @property
    def landed(self) -> list[str]:
        """The partition keys that have a landed file."""
        return [key for key, step in self.steps.items() if step.file]

    @property
    def ledger_rows(self) -> list[LedgerRow]:
        """The ledger rows of all these partitions."""
        return [step.ledger_row for step in self.steps.values() if step.ledger_row]

    def files_of(self, keys: Collection[str]) -> list[LandedFile]:
        """Return the landed files of those partitions that are `IDENTICAL`."""
        steps = [self.steps[key] for key in sorted(keys) if key in self.steps]
        return [step.file for step in steps if step.file and step.action is Action.IDENTICAL]

    def candidates(self, unreported: Collection[str] = ()) -> list[LandedFile]:
        """Return the landed files to load; last, those that were loaded but not reported."""
        return self.files(Action.NEW, Action.CHANGED) + self.files_of(unreported)

    def files(self, *actions: Action) -> list[LandedFile]:
        """Return the landed files whose step is one of these actions."""
        return [step.file for step in self.steps.values() if step.file and step.action in actions]


@no_garbage_collection()
def reconcile(
    listing: Listing,
    ledger: Mapping[str, LedgerRow],
    *,
    contract: str = "",
    settle_seconds: float = 0.0,
    now_ns: int | None = None,
) -> Plan:
    """Compare a feed's landed files with the ledger.

    Args:
        listing: The feed's folder, as listed.
        ledger: Ledger row per partition key.
        contract: Fingerprint of the feed's contract; a file refused under another is checked again.
        settle_seconds: How long a file must be unchanged before it is loaded.
        now_ns: The time to compare with, in nanoseconds since 1970; by default the current time.

    Returns:
        The plan.
    """
    plan = Plan(ignored=list(listing.ignored), refused=list(listing.refused))
    for key, file in listing.files.items():
        row = ledger.get(key)
        if row and row.is_about(file) and _stands(row, contract):
            loaded = row.status == LoadStatus.LOADED
            action = Action.IDENTICAL if loaded else Action.REJECTED
        elif file.why_not_ready(settle_seconds, now_ns):
            action = Action.UNSETTLED
        else:
            action = Action.CHANGED if row else Action.NEW
        plan.steps[key] = Step(key, action, file, row)
    unusable = {entry.partition_key for entry in listing.refused}
    for key, row in ledger.items():
        if key not in listing.files:
            action = Action.UNUSABLE if key in unusable else Action.MISSING
            plan.steps[key] = Step(key, action, None, row)
    return plan


def _stands(row: LedgerRow, contract: str) -> bool:
    """Return whether the ledger's verdict on the content is still valid under the contract."""
    return row.status == LoadStatus.LOADED or row.contract == contract


@dataclass(frozen=True)
class Choice:
    """Which of the files to load are loaded next.

    Attributes:
        wanted: Files to load next.
        in_flight: Files that a run is loading.
        later: Files that exceed the limit and follow later.
        given_up: Files that reached `MAX_ATTEMPTS` and were neither loaded nor refused.
    """

    wanted: list[LandedFile] = field(default_factory=list)
    in_flight: list[LandedFile] = field(default_factory=list)
    later: list[LandedFile] = field(default_factory=list)
    given_up: list[LandedFile] = field(default_factory=list)


def choose_files(
    candidates: Sequence[LandedFile],
    count_attempts: Callable[[LandedFile], int],
    *,
    in_flight: Collection[str] = (),
    most: int | None = None,
) -> Choice:
    """Choose which files to load next.

    Args:
        candidates: The files to load, in order of priority.
        count_attempts: Returns how often a file was tried.
        in_flight: Partition keys that a run is loading.
        most: Most files to choose; None for no limit. Including those in flight, twice as many are
            allowed, so that recording one load and preparing the next can overlap.
    """
    choice = Choice()
    room = math.inf if most is None else min(most, 2 * most - len(in_flight))
    for file in candidates:
        if file.partition_key in in_flight:
            choice.in_flight.append(file)
        elif count_attempts(file) >= MAX_ATTEMPTS:
            choice.given_up.append(file)
        elif len(choice.wanted) >= room:
            choice.later.append(file)
        else:
            choice.wanted.append(file)
    return choice


@dataclass(frozen=True)
class Removal:
    """Which partitions the feed's policy removes.

    Attributes:
        keys: The partition keys.
        brake: Safeguard: why none is removed although files are gone; empty otherwise.
    """

    keys: list[str] = field(default_factory=list)
    brake: str = ""

    def __contains__(self, key: str) -> bool:
        """Return whether a partition is removed."""
        return key in self._once

    @cached_property
    def _once(self) -> frozenset[str]:
        return frozenset(self.keys)


def find_removable(feed: Feed, plan: Plan, *, allow_most: bool = False) -> Removal:
    """Find the partitions to remove because their files are gone.

    When more than half of the ledger's files are gone, an unmounted folder is more likely than that
    many deletions, so none is removed.

    Args:
        feed: The feed, which defines the policy.
        plan: The plan.
        allow_most: Whether more than half may be removed, because a person has confirmed it.
    """
    gone = plan.keys(Action.MISSING)
    if feed.on_missing is OnMissing.KEEP or not gone:
        return Removal()
    known = len(plan.ledger_rows)
    if 2 * len(gone) > known and not allow_most:
        return Removal(
            brake=f"{len(gone)} of {known} files are gone, more than half: nothing is removed. Is "
            "the folder mounted? If they were deleted on purpose, run the reconcile job with "
            "allow_most"
        )
    return Removal(gone)


def find_touched(plan: Plan, *, max_bytes: int, contract: str = "") -> list[Step]:
    """Find changed files whose content is still the ledger's.

    Only a file of the size in the ledger is read. The plan's steps for the files found become
    `IDENTICAL` or `REJECTED`; recording their new signatures is left to the caller.

    Args:
        plan: The plan; it is modified.
        max_bytes: The most bytes to read; a file that exceeds the remainder stays `CHANGED`.
        contract: Fingerprint of the feed's contract; a file refused under another stays `CHANGED`.

    Returns:
        The steps whose files were only touched.
    """
    touched = []
    for key in plan.keys(Action.CHANGED):
        step = plan.steps[key]
        file, row = step.file, step.ledger_row
        if file is None or row is None or file.signature.size_bytes != row.size_bytes:
            continue
        if file.name != row.source_file:
            # The verdict depends on the name, too, which says whether the file is compressed.
            continue
        if not _stands(row, contract):
            continue
        if row.size_bytes > max_bytes:
            continue
        max_bytes -= row.size_bytes
        try:
            same = hash_landed_file(file) == row.sha256
        except LandedFileError:
            continue
        if same:
            loaded = row.status == LoadStatus.LOADED
            action = Action.IDENTICAL if loaded else Action.REJECTED
            plan.steps[key] = Step(key, action, file, row)
            touched.append(plan.steps[key])
    return touched
