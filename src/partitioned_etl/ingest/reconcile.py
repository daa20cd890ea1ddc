"""Reconcile: hold the landed files against the ledger and say what has to be done.

Takes a listing and the ledger; gives a plan, one entry per partition key with its action. Next:
the sensor asks for a run, or `sync.py` loads at once. It opens no database, and reads a file only
to tell a changed content from a touched file.
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
"""How often a front tries a file until it is loaded or refused."""


class Action(StrEnum):
    """What has to be done for a partition key."""

    NEW = "new"
    """The ledger does not know the key: load."""
    CHANGED = "changed"
    """The file's signature is not the ledger's: load, unless the content turns out the same."""
    IDENTICAL = "identical"
    """The ledger's file, loaded: nothing to do."""
    REJECTED = "rejected"
    """The ledger's file, refused: nothing to do until it or the feed's contract changes."""
    UNSETTLED = "unsettled"
    """New or changed, but younger than the settle time or without its marker: look again later."""
    UNUSABLE = "unusable"
    """The ledger's key has files that cannot be loaded, such as two of them; its rows are kept."""
    MISSING = "missing"
    """The ledger's file is not there any more; the feed's policy says what becomes of its rows."""


class Step(NamedTuple):
    """What has to be done for one partition key.

    Attributes:
        partition_key: The key.
        action: What to do.
        file: The landed file, unless it is missing.
        ledger_row: What the ledger says of the key, if anything.
    """

    partition_key: str
    action: Action
    file: LandedFile | None = None
    ledger_row: LedgerRow | None = None

    @property
    def is_touched(self) -> bool:
        """Whether the file has the content that the ledger knows under another signature."""
        judged = self.action in (Action.IDENTICAL, Action.REJECTED)
        return bool(
            judged
            and self.file
            and self.ledger_row
            and self.file.signature != self.ledger_row.signature
        )

    def explain(self, removal: "Removal") -> str:
        """Say why nothing is loaded for the key; empty if there is nothing to explain.

        Args:
            removal: Which partitions the feed's policy has removed.
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
        ignored: Entries of the folder that are none of the feed's business.
        refused: Entries that no partition can take.
    """

    steps: dict[str, Step] = field(default_factory=dict)
    ignored: list[PassedOver] = field(default_factory=list)
    refused: list[PassedOver] = field(default_factory=list)

    def keys(self, *actions: Action) -> list[str]:
        """Give the partition keys whose step is one of these actions."""
        return [key for key, step in self.steps.items() if step.action in actions]

    @property
    def is_settling(self) -> bool:
        """Whether a short wait helps: a file is being written, not only without its marker."""
        return any(not file.lacks_marker for file in self.files(Action.UNSETTLED))

    @property
    def landed(self) -> list[str]:
        """The partition keys that have a landed file."""
        return [key for key, step in self.steps.items() if step.file]

    @property
    def ledger_rows(self) -> list[LedgerRow]:
        """What the ledger says of all these partitions."""
        return [step.ledger_row for step in self.steps.values() if step.ledger_row]

    def files_of(self, keys: Collection[str]) -> list[LandedFile]:
        """Give the landed files of partitions whose file the ledger knows as it is."""
        steps = [self.steps[key] for key in sorted(keys) if key in self.steps]
        return [step.file for step in steps if step.file and step.action is Action.IDENTICAL]

    def candidates(self, unreported: Collection[str] = ()) -> list[LandedFile]:
        """Give the landed files that want loading, those last that were loaded and not reported."""
        return self.files(Action.NEW, Action.CHANGED) + self.files_of(unreported)

    def files(self, *actions: Action) -> list[LandedFile]:
        """Give the landed files whose step is one of these actions."""
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
        contract: Fingerprint of the feed's contract; a file refused under another is looked at
            again.
        settle_seconds: How long a file must have been left alone before it is loaded.
        now_ns: The time to judge that by, in nanoseconds since 1970; by default the clock's.

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
    """Tell whether the ledger's verdict on a content is the one that the contract gives."""
    return row.status == LoadStatus.LOADED or row.contract == contract


@dataclass(frozen=True)
class Choice:
    """Which of the files that want loading are loaded next.

    Attributes:
        wanted: These are.
        in_flight: A run is loading these.
        later: There are too many at once; these follow.
        given_up: These were tried as often as a file is, and neither loaded nor refused.
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
        candidates: The files that want loading, in the order in which they are taken.
        count_attempts: Tells how often a file was tried.
        in_flight: Partition keys that a run is loading.
        most: Most files to choose; None for no limit. With those in flight it is twice as many: who
            writes down what it loaded and who prepares the next need not wait for each other.
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
    """Which partitions the feed's policy has removed.

    Attributes:
        keys: The partition keys.
        brake: Why none is, although files are gone; empty otherwise.
    """

    keys: list[str] = field(default_factory=list)
    brake: str = ""

    def __contains__(self, key: str) -> bool:
        """Tell whether a partition is removed."""
        return key in self._once

    @cached_property
    def _once(self) -> frozenset[str]:
        return frozenset(self.keys)


def find_removable(feed: Feed, plan: Plan, *, allow_most: bool = False) -> Removal:
    """Find the partitions that go because their files are gone.

    When more than half of the files that the ledger knows are gone, a folder that is not mounted is
    likelier than so many deletions, and none goes.

    Args:
        feed: The feed, which gives the policy.
        plan: The plan.
        allow_most: Whether more than half may go: somebody has looked.
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
    """Find changed files whose content is still the one that the ledger knows.

    Only a file of the ledger's size is read. The plan's steps for the files found become
    `IDENTICAL` or `REJECTED`; recording their new signatures is left to the caller.

    Args:
        plan: The plan; it is changed.
        max_bytes: How much to read at most; a file that exceeds what is left stays `CHANGED`.
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
