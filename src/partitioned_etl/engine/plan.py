"""Plan: compare the landed files with the ledger to find out what has to be done.

Takes a listing and the ledger; returns one step per landed file, and per file of the ledger that is
gone. Next: the agenda says what to do with it now, or `sync.py` loads at once. A file is read only
to tell a touched one from changed content.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from partitioned_etl.engine.collection import no_garbage_collection
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.landing.landing import (
    LandedFile,
    Landing,
    Listing,
    PassedOver,
    group_by_key,
    hash_content,
)
from partitioned_etl.engine.landing.names import Scan
from partitioned_etl.engine.stale import is_stale
from partitioned_etl.engine.table_changes import TableChanges
from partitioned_etl.engine.unchanged import LoadOfRun, Totals, Unchanged, set_aside_unchanged
from partitioned_etl.engine.warehouse.ledger import (
    Ledger,
    LedgerRow,
    LoadStatus,
    is_still_loaded,
    ledger_row,
)
from partitioned_etl.engine.warehouse.warehouse import Warehouse

MAX_ATTEMPTS = 3
"""How often a front end tries a file until it is loaded or refused."""
DEFAULT_TOUCHED_BYTES = 4 << 30
"""The most bytes that are read to tell touched files from changed ones."""


class Action(StrEnum):
    """What has to be done for a file."""

    NEW = "new"
    """The ledger does not know its partition: load."""
    CHANGED = "changed"
    """Its version differs from the ledger's: load, unless the content proves the same."""
    IDENTICAL = "identical"
    """The ledger's version, loaded: nothing to do."""
    REFUSED = "refused"
    """The ledger's version, refused: nothing to do until it or the feed's contract changes."""
    UNSETTLED = "unsettled"
    """New or changed, but younger than the settle time or without its marker: look again later."""
    SUPERSEDED = "superseded"
    """Another file has a higher version: nothing to do until that one is gone."""
    UNUSABLE = "unusable"
    """Its partition has files that cannot be loaded, such as two of them; its rows are kept."""
    MISSING = "missing"
    """The ledger's file no longer exists; the feed's policy decides what happens to its rows."""
    STALE = "stale"
    """The feed cannot name the ledger's file any more; its rows are kept until a person decides."""


class Step(NamedTuple):
    """What has to be done for one file.

    Attributes:
        partition_key: The file's partition.
        action: What to do.
        file: The landed file, unless it is missing.
        ledger_row: What the ledger knows of the file or, if it knows nothing, of the one that the
            file takes the place of.
        superseded_by: The file that has a higher version, if another has.
    """

    partition_key: str
    action: Action
    file: LandedFile | None = None
    ledger_row: LedgerRow | None = None
    superseded_by: str = ""

    @property
    def name(self) -> str:
        """The file's name."""
        if self.file:
            return self.file.name
        return self.ledger_row.source_file if self.ledger_row else ""

    @property
    def row_count(self) -> int:
        """Rows that the table holds of the file."""
        return self.ledger_row.row_count if self.ledger_row else 0

    @property
    def is_of_loaded_file(self) -> bool:
        """Whether it is about a landed file that was loaded, in this version or another."""
        is_loadable = self.action in (Action.IDENTICAL, Action.CHANGED)
        row = self.ledger_row if is_loadable else None
        return bool(row and row.source_file == self.name and row.status == LoadStatus.LOADED)

    @property
    def is_touched(self) -> bool:
        """Whether the file has the ledger's content under another version."""
        is_known = self.action in (Action.IDENTICAL, Action.REFUSED)
        return bool(
            is_known
            and self.file
            and self.ledger_row
            and self.file.version != self.ledger_row.version
        )

    def explain(self, removal: "Removal") -> str:
        """Return why nothing is loaded for the file; empty if there is nothing to explain.

        Args:
            removal: Which partitions the feed's policy removes.
        """
        if self.action is Action.MISSING:
            if self.name in removal:
                return "the file is gone"
            kept = "the file is gone; rows are kept"
            return f"{kept}: {removal.brake}" if removal.brake else kept
        if self.action is Action.STALE and self.ledger_row:
            return f"the feed cannot name it any more: forget {self.ledger_row.feed} --stale"
        if self.action is Action.UNUSABLE:
            return "its file cannot be used; rows are kept"
        if self.action is Action.REFUSED and self.ledger_row:
            return self.ledger_row.error or ""
        if self.action is Action.UNSETTLED and self.file:
            return self.file.why_not_ready(math.inf)
        if self.action is Action.SUPERSEDED:
            return f"superseded by {self.superseded_by or 'files that cannot be told apart'}"
        return ""


@dataclass
class Plan:
    """What has to be done for a feed.

    Attributes:
        steps: One step per file, by its name, in the order of partition keys; where there are many
            files, without those that are set aside.
        ledger: What the ledger knows of these files.
        unchanged: Files that are set aside, because there is nothing to do for any of them.
        first_name: Names that sort before it were not looked at, in the landing nor in the ledger;
            empty if all were.
        has_table: Whether there is a table, of which the ledger then may know more than that.
        ignored: Entries of the landing that do not concern the feed.
        refused: Entries that cannot be used for any partition.
        changes: How the feed's declaration changes its table.
    """

    steps: dict[str, Step] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    ignored: list[PassedOver] = field(default_factory=list)
    refused: list[PassedOver] = field(default_factory=list)
    changes: TableChanges = field(default_factory=TableChanges)
    unchanged: Unchanged = field(default_factory=Unchanged)
    first_name: str = ""
    has_table: bool = False

    @property
    def is_first(self) -> bool:
        """Whether the ledger knows no file of the feed."""
        may_know_others = bool(self.first_name) and self.has_table
        return not (self.ledger or self.unchanged.count or may_know_others)

    @property
    def stale(self) -> list[LedgerRow]:
        """What the ledger holds of files that the feed cannot name any more."""
        steps = self.steps.values()
        return [
            step.ledger_row for step in steps if step.ledger_row and step.action is Action.STALE
        ]

    def keys(self, *actions: Action) -> list[str]:
        """Return the partition keys of the files whose step is one of these actions, each once."""
        steps = self.steps.values()
        return list(dict.fromkeys(step.partition_key for step in steps if step.action in actions))

    def files(self, *actions: Action) -> list[LandedFile]:
        """Return the landed files whose step is one of these actions."""
        return [step.file for step in self.steps.values() if step.file and step.action in actions]

    @property
    def is_settling(self) -> bool:
        """Whether a short wait helps: a file is being written, not only lacking its marker."""
        return any(not file.lacks for file in self.files(Action.UNSETTLED))

    @property
    def landed_keys(self) -> list[str]:
        """The partition keys that have a landed file, each once."""
        keys = dict.fromkeys(step.partition_key for step in self.steps.values() if step.file)
        return [*keys, *self.unchanged.list_keys()]

    @property
    def known_keys(self) -> set[str]:
        """The partition keys of which anything has landed, or the ledger knows anything."""
        keys = {*self.landed_keys, *self.ledger.by_key}
        return keys | {entry.partition_key for entry in self.refused if entry.partition_key}

    @property
    def listing(self) -> Listing:
        """The landed files that have steps, and what was passed over."""
        files = {step.name: step.file for step in self.steps.values() if step.file}
        superseded = {file.name: file for file in self.files(Action.SUPERSEDED)}
        standing = {name: file for name, file in files.items() if name not in superseded}
        return Listing(standing, superseded, [*self.ignored], [*self.refused])

    def list_keys_not_of(self, run_ids: Collection[str]) -> set[str]:
        """Return the partition keys of landed files on which other runs passed their verdict.

        Args:
            run_ids: The runs that do not count.
        """
        keys = {
            step.partition_key
            for step in self.steps.values()
            if step.action in (Action.IDENTICAL, Action.REFUSED)
            and not (step.ledger_row and step.ledger_row.run_id in run_ids)
        }
        of_runs = set[str]()
        for load in self.unchanged.list_loads(0.0):
            (of_runs if load.run_id in run_ids else keys).add(load.partition_key)
        return keys.union(self.unchanged.list_keys()) - (of_runs - keys)

    def count_actions(self) -> Counter[Action]:
        """Return how many files have a step that is this action, by action."""
        counts = Counter(step.action for step in self.steps.values())
        counts[Action.IDENTICAL] += self.unchanged.count
        return counts

    def list_loads(self, since: float = 0.0) -> Iterator[LoadOfRun]:
        """Yield which runs loaded what the table holds.

        Args:
            since: Only loads after this time, in seconds since 1970.
        """
        for row in self.ledger:
            seconds = row.loaded_at.timestamp() if row.loaded_at else 0.0
            if row.status == LoadStatus.LOADED and row.run_id and seconds > since:
                yield LoadOfRun(row.run_id, row.partition_key, seconds)
        yield from self.unchanged.list_loads(since)

    def sum_up(self) -> Totals:
        """Return what the files that were loaded add up to."""
        loaded = [row for row in self.ledger if row.loaded_at]
        others = self.unchanged.sum_up()
        times = [row.loaded_at for row in loaded if row.loaded_at]
        times += [others.loaded_at] if others.loaded_at else []
        return Totals(
            others.partitions + len({row.partition_key for row in loaded}),
            others.rows + sum(row.row_count for row in loaded),
            others.rejected_rows + sum(row.rejected_count for row in loaded),
            max(times, default=None),
        )

    def describe_changes(self, feed_name: str) -> list[str]:
        """Return one sentence for each way in which the next load changes the feed's table.

        Args:
            feed_name: The feed.
        """
        is_counted = self.changes.columns and not self.first_name
        loaded = self.sum_up().partitions if is_counted else None
        return self.changes.describe(feed_name, loaded)

    def count_rows(self, feed: Feed, step: Step) -> int:
        """Return how many rows the table holds of what the file of a step stands for.

        Args:
            feed: The feed.
            step: One of the plan's steps.
        """
        if step.action is Action.SUPERSEDED:
            return 0
        # A loaded file's rows are all that its partition, or part of one, has.
        if step.action is Action.IDENTICAL or feed.file_names.has_parts:
            return step.row_count
        return self.ledger.count_rows(step.partition_key)

    def candidates(
        self, unreported: Collection[str] = (), again: Collection[str] = ()
    ) -> list[LandedFile]:
        """Return the landed files to load.

        Args:
            unreported: Partition keys whose file was loaded but not reported; they come last.
            again: Partition keys whose files are loaded although nothing is new of them.
        """
        keys = {*unreported, *again}
        untold = [file for file in self.files(Action.IDENTICAL) if file.partition_key in keys]
        refused = [file for file in self.files(Action.REFUSED) if file.partition_key in again]
        untold += self.unchanged.list_files(keys)
        return self.files(Action.NEW, Action.CHANGED) + refused + untold


@no_garbage_collection()
def compare(
    feed: Feed,
    listing: Listing,
    ledger: Ledger,
    *,
    settle_seconds: float = 0.0,
    now_ns: int | None = None,
) -> Plan:
    """Compare a feed's landed files with the ledger.

    Args:
        feed: The feed; a file that was refused under another contract is loaded again, and so is
            one that was loaded without columns that the feed declares and the table had.
        listing: The feed's files, as listed.
        ledger: What the ledger knows of the feed; what was not listed, for its name, is left out.
        settle_seconds: How long a file must be unchanged before it is loaded.
        now_ns: The time to compare with, in nanoseconds since 1970; by default the current time.
    """
    ledger = ledger.since(listing.first_name)
    plan = Plan({}, ledger, list(listing.ignored), list(listing.refused))
    plan.first_name = listing.first_name
    slots = _Slots(feed, listing, ledger)
    for file in listing.files.values():
        key, row = file.partition_key, ledger.rows.get(file.name)
        if row and row.is_about(file) and _is_valid(row, feed):
            is_loaded = row.status == LoadStatus.LOADED
            action = Action.IDENTICAL if is_loaded else Action.REFUSED
        else:
            row = row or next(iter(slots.rows_of(key, file.name)), None)
            if file.why_not_ready(settle_seconds, now_ns):
                action = Action.UNSETTLED
            else:
                action = Action.CHANGED if row else Action.NEW
        plan.steps[file.name] = Step(key, action, file, row)
    for name, file in listing.superseded.items():
        key = file.partition_key
        by = slots.landed_name(key, name)
        plan.steps[name] = Step(key, Action.SUPERSEDED, file, ledger.rows.get(name), by)
    unusable = {entry.partition_key for entry in listing.refused}
    for row in ledger:
        key, name = row.partition_key, row.source_file
        if row.is_superseded or name in listing.files:
            continue
        # Another file of the slot takes the place of one that is superseded or gone.
        if winner := slots.landed_name(key, name):
            step = plan.steps[winner]
            # Before the feed's declaration changed, both were loaded. So the winner is loaded again
            # to take the other's place, also if it was only touched.
            if row.loaded_at and step.is_of_loaded_file:
                plan.steps[winner] = step._replace(action=Action.CHANGED, ledger_row=row)
            continue
        if name in plan.steps:
            continue
        if is_stale(feed, row, listing.has_partition):
            plan.steps[name] = Step(key, Action.STALE, None, row)
        # One that has rows takes it, too, if this one has none.
        elif row.loaded_at or not any(other.loaded_at for other in slots.rows_of(key, name)):
            action = Action.UNUSABLE if key in unusable else Action.MISSING
            plan.steps[name] = Step(key, action, None, row)
    return plan


class _Slots:
    """What a feed's ledger and its listing have for each slot of the table."""

    def __init__(self, feed: Feed, listing: Listing, ledger: Ledger) -> None:
        self._feed, self._listing, self._ledger = feed, listing, ledger

    def rows_of(self, key: str, name: str) -> Sequence[LedgerRow]:
        """Return the ledger rows of the slot that a file stands for."""
        if not self._feed.file_names.has_parts:
            return self._ledger.by_key.get(key, ())
        return self._rows.get(self._feed.slot_of(key, name), ())

    def landed_name(self, key: str, name: str) -> str:
        """Return the name of the landed file in the slot of a file; empty if there is none."""
        return self._landed_names.get(self._feed.slot_of(key, name), "")

    @cached_property
    def _rows(self) -> dict[tuple[str, str], list[LedgerRow]]:
        found: dict[tuple[str, str], list[LedgerRow]] = {}
        for row in self._ledger:
            slot = self._feed.slot_of(row.partition_key, row.source_file)
            found.setdefault(slot, []).append(row)
        return found

    @cached_property
    def _landed_names(self) -> dict[tuple[str, str], str]:
        files, slot_of = self._listing.files.values(), self._feed.slot_of
        return {slot_of(file.partition_key, file.name): file.name for file in files}


def _is_valid(row: LedgerRow, feed: Feed) -> bool:
    """Return whether the ledger's verdict on the content is still valid under the contract."""
    if row.status == LoadStatus.REFUSED:
        return row.contract == feed.contract_fingerprint
    return is_still_loaded(feed, row.status, row.left_out)


def find_touched(plan: Plan, feed: Feed, *, max_bytes: int) -> list[Step]:
    """Find changed files whose content is still the ledger's.

    Only a file of the size in the ledger is read. The plan's steps for the files found become
    `IDENTICAL` or `REFUSED`; recording their new versions is left to the caller.

    Args:
        plan: The plan; it is modified.
        feed: The feed; a file refused under another contract stays `CHANGED`.
        max_bytes: The most bytes to read; a file that exceeds the remainder stays `CHANGED`.

    Returns:
        The steps whose files were only touched.
    """
    touched = []
    for file in plan.files(Action.CHANGED):
        row = plan.steps[file.name].ledger_row
        # The verdict depends on the name, too, which says whether the file is compressed.
        is_same = row and (row.source_file, row.partition_key) == (file.name, file.partition_key)
        if row is None or not is_same or row.size_bytes != file.size_bytes:
            continue
        if row.version == file.version:  # it is to be loaded for another reason
            continue
        if not _is_valid(row, feed) or file.size_bytes > max_bytes:
            continue
        max_bytes -= file.size_bytes
        try:
            if hash_content(file) != row.content_hash:
                continue
        except LandedFileError:
            continue
        is_loaded = row.status == LoadStatus.LOADED
        action = Action.IDENTICAL if is_loaded else Action.REFUSED
        plan.steps[file.name] = Step(file.partition_key, action, file, row)
        touched.append(plan.steps[file.name])
    return touched


def make_plan(
    feed: Feed,
    scan: Scan,
    landing: Landing,
    warehouse: Warehouse,
    *,
    lock_wait_seconds: float | None = None,
    touched_bytes: int = DEFAULT_TOUCHED_BYTES,
    read_only: bool = False,
) -> Plan:
    """Compare a feed's landed files with the ledger, and record what changes no row.

    That is new versions of files that were only touched, and which files are superseded.

    Args:
        feed: The feed.
        scan: What lies in its place.
        landing: The landing.
        warehouse: The warehouse; it is not made if it does not exist.
        lock_wait_seconds: How long to wait for others that have it open; by default as configured.
        touched_bytes: The most bytes to read to tell touched files from changed ones.
        read_only: Whether to change nothing: such files are detected but not recorded.

    Raises:
        WarehouseLockedError: The warehouse was in use for longer than the wait.
    """
    ledger, changes, unchanged = Ledger(), TableChanges(), Unchanged()
    has_table, listing = False, None if scan.found.are_many else scan.list_files()
    if warehouse.exists():
        with (
            warehouse.open_read_only(lock_wait_seconds=lock_wait_seconds)
            if read_only
            else warehouse.open(landing.readable_dir, lock_wait_seconds=lock_wait_seconds)
        ) as opened:
            table = opened.table(feed)
            if listing:
                ledger = table.read_ledger(listing.files, first_name=scan.first_name)
            else:
                unchanged = set_aside_unchanged(scan.found, table, scan.first_name)
                ledger = table.read_ledger(names=unchanged.names)
            changes, has_table = table.find_changes(), table.exists()
    if listing is None:
        listing = scan.list_files(unchanged.list_others() if unchanged.found else None)
    plan = compare(feed, listing, ledger, settle_seconds=landing.settle_seconds)
    plan.changes, plan.unchanged, plan.has_table = changes, unchanged, has_table
    touched = find_touched(plan, feed, max_bytes=touched_bytes)
    superseded = [] if plan.is_first else list(list_newly_superseded(feed, plan))
    if (touched or superseded) and not read_only:
        rows = [step.ledger_row for step in touched if step.ledger_row]
        files = [step.file for step in touched if step.file]
        with warehouse.open(landing.readable_dir, lock_wait_seconds=lock_wait_seconds) as opened:
            opened.table(feed).record_versions(rows, files)
            opened.table(feed).record_superseded(superseded)
    return plan


def list_newly_superseded(feed: Feed, plan: Plan) -> Iterator[LedgerRow]:
    """Yield ledger rows of superseded files that have none, or another; not of those with rows.

    These are superseded when the file of the higher version is loaded.

    Args:
        feed: The feed.
        plan: Its plan.
    """
    for step in plan.steps.values():
        file, row = step.file, step.ledger_row
        if step.action is not Action.SUPERSEDED or file is None or (row and row.loaded_at):
            continue
        if not (row and row.is_superseded and row.version == file.version):
            reason = step.explain(Removal())
            yield ledger_row(feed, file, status=LoadStatus.SUPERSEDED, error=reason)


def choose_parts(plan: Plan, files: Sequence[LandedFile]) -> list[LandedFile]:
    """Choose which parts of partitions a run loads: those that are new or changed.

    Of a partition where none is, a person wants all loaded again.

    Args:
        plan: The feed's plan.
        files: The landed files of the run's partitions.
    """
    is_wanted = {file.name for file in plan.files(Action.NEW, Action.CHANGED)}
    return [
        file
        for of_key in group_by_key(files).values()
        for file in [one for one in of_key if one.name in is_wanted] or of_key
    ]


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
            allowed, so that recording one load and preparing the next can overlap. A run loads all
            files of a partition, so these are not divided.
    """
    choice, chosen = Choice(), set[str]()
    room = math.inf if most is None else min(most, 2 * most - len(in_flight))
    for file in candidates:
        if file.partition_key in in_flight:
            choice.in_flight.append(file)
        elif count_attempts(file) >= MAX_ATTEMPTS:
            choice.given_up.append(file)
        elif len(choice.wanted) >= room and file.partition_key not in chosen:
            choice.later.append(file)
        else:
            choice.wanted.append(file)
            chosen.add(file.partition_key)
    return choice


@dataclass(frozen=True)
class Removal:
    """Which files' rows the feed's policy removes.

    Attributes:
        rows: The ledger rows of the files, which are gone.
        brake: Safeguard: why none is removed although files are gone; empty otherwise.
    """

    rows: Sequence[LedgerRow] = ()
    brake: str = ""

    def __contains__(self, name: str) -> bool:
        """Return whether the rows of a file are removed."""
        return name in self._once

    @property
    def names(self) -> list[str]:
        """The names of the files."""
        return [row.source_file for row in self.rows]

    @property
    def keys(self) -> list[str]:
        """The partition keys that lose rows, each once."""
        return list(dict.fromkeys(row.partition_key for row in self.rows))

    @cached_property
    def _once(self) -> frozenset[str]:
        return frozenset(self.names)


def find_removable(feed: Feed, plan: Plan, *, allow_most: bool = False) -> Removal:
    """Find the files whose rows are to be removed because they are gone.

    When more than half of the ledger's files are gone, an unmounted folder is more likely than that
    many deletions, so none is removed.

    Args:
        feed: The feed, which defines the policy.
        plan: The plan.
        allow_most: Whether more than half may be removed, because a person has confirmed it.
    """
    gone = {
        feed.slot_of(step.partition_key, step.name)
        for step in plan.steps.values()
        if step.action is Action.MISSING
    }
    if feed.on_missing is OnMissing.KEEP or not gone:
        return Removal()
    stale = {row.source_file for row in plan.stale}
    slots = [
        (feed.slot_of(row.partition_key, row.source_file), row)
        for row in plan.ledger
        if row.source_file not in stale
    ]
    # A file that is set aside is the only one of its slot.
    known = len({slot for slot, _ in slots}) + plan.unchanged.count
    if 2 * len(gone) > known and not allow_most:
        return Removal(
            brake=f"{len(gone)} of {known} files are gone, more than half: nothing is removed. Is "
            "the folder mounted? If they were deleted on purpose, run the reconcile job with "
            "allow_most"
        )
    return Removal([row for slot, row in slots if slot in gone])
