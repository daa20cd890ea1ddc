"""Reconcile: compare landing, ledger and table, and repair what the files allow.

Takes a feed's table and its listing; returns the differences, and loads or removes what they
require. The sensors and `sync.py` already follow changes in the landing; this finds what changed
behind their backs: deleted rows, a database restored from a backup, an edited ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from logging import getLogger

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.landing.landing import LandedFile, Landing, Listing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import Outcome
from partitioned_etl.engine.plan import Action, Plan, Removal, compare, find_removable
from partitioned_etl.engine.stale import describe_stale
from partitioned_etl.engine.warehouse.ledger import Ledger
from partitioned_etl.engine.warehouse.warehouse import FeedTable

logger = getLogger(__name__)


class DifferenceKind(StrEnum):
    """What is not as it should be."""

    NOT_LOADED = "landed and not loaded"
    ROWS = "the table holds another number of rows than were loaded"
    REJECTED_ROWS = "rejected_rows holds another number of rows than were rejected"
    SUM = "loaded and rejected rows do not add up to the rows of the file"
    UNKNOWN = "the table holds rows that the ledger does not know"
    GONE = "the file is gone, and the feed's policy is to remove its rows"
    STALE = "the table holds rows of files that the feed cannot name any more"
    UNUSABLE = "a landed file cannot be loaded"


@dataclass(frozen=True)
class Difference:
    """One partition that is not as it should be.

    Attributes:
        partition_key: The partition; empty for a file whose name does not map to one, and for
            several.
        kind: What is wrong with it.
        detail: The numbers, or the file and the reason; may be empty.
    """

    partition_key: str
    kind: DifferenceKind
    detail: str = ""

    def __str__(self) -> str:
        """Return the difference as one sentence."""
        detail = f" ({self.detail})" if self.detail else ""
        where = f"partition {self.partition_key}: " if self.partition_key else ""
        return f"{where}{self.kind}{detail}"


@dataclass
class Comparison:
    """Landing, ledger and table of a feed at one moment.

    Attributes:
        plan: The landing compared with the ledger.
        differences: What is not as it should be.
        brake: Safeguard: why partitions whose files are gone are not removed; may be empty.
    """

    plan: Plan
    differences: list[Difference]
    brake: str = ""

    @property
    def keys(self) -> set[str]:
        """The partition keys that are not as they should be."""
        return {difference.partition_key for difference in self.differences}


@dataclass
class Reconciled:
    """What reconciling a feed did.

    Attributes:
        outcomes: What happened to the files that were loaded again.
        removed: Partition keys of which rows were removed.
        left: The comparison afterwards; its differences need a person.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: Comparison = field(default_factory=lambda: Comparison(Plan(), []))


def compare_table(table: FeedTable, listing: Listing, *, settle_seconds: float = 0.0) -> Comparison:
    """Compare a feed's landing, ledger and table. Every file's rows are counted.

    Args:
        table: The feed's table, outside a transaction.
        listing: The feed's files, as listed just now.
        settle_seconds: How long a file must be unchanged before its absence from the table is a
            difference.
    """
    feed, ledger = table.feed, table.read_ledger()
    plan = compare(feed, listing, ledger, settle_seconds=settle_seconds)
    removal = find_removable(feed, plan)
    gone = plan.keys(Action.MISSING) if removal != Removal() else []
    stale = [row.source_file for row in plan.stale]
    differences = [
        *(Difference(key, DifferenceKind.NOT_LOADED) for key in plan.keys(*_WANTED)),
        *_compare_counts(
            ledger,
            table.count_rows() if table.exists() else {},
            table.count_rejected_rows(),
        ),
        *(Difference(key, DifferenceKind.GONE) for key in gone),
        *(
            [Difference("", DifferenceKind.STALE, describe_stale(feed.name, stale))]
            if stale
            else []
        ),
        *(
            Difference(
                entry.partition_key, DifferenceKind.UNUSABLE, f"{entry.name}: {entry.reason}"
            )
            for entry in listing.refused
        ),
    ]
    return Comparison(plan, differences, removal.brake)


_WANTED = (Action.NEW, Action.CHANGED)

Counts = Mapping[tuple[str, str], int]
"""Number of rows by partition key and file name."""


def _compare_counts(ledger: Ledger, rows: Counts, rejected: Counts) -> list[Difference]:
    found = []
    for row in ledger:
        key, of_file = row.partition_key, (row.partition_key, row.source_file)
        for kind, there, told in (
            (DifferenceKind.ROWS, rows.get(of_file, 0), row.row_count),
            (DifferenceKind.REJECTED_ROWS, rejected.get(of_file, 0), row.rejected_count),
        ):
            if there != told:
                found.append(Difference(key, kind, f"{there:,} instead of {told:,}"))
        if not row.adds_up:
            found.append(Difference(key, DifferenceKind.SUM))
    known = {(row.partition_key, row.source_file) for row in ledger}
    for key, name in sorted(rows.keys() - known):
        found.append(Difference(key, DifferenceKind.UNKNOWN, f"{rows[key, name]:,} rows"))
    return found


def reconcile_table(
    table: FeedTable,
    landing: Landing,
    listing: Listing,
    *,
    allow_most: bool = False,
    run_id: str = "",
    history_days: int = 0,
) -> Reconciled:
    """Reload what differs and has a landed file, and remove what the feed's policy removes.

    A partition that differs and has no loadable file is left as it is and reported.

    Args:
        table: The feed's table, outside a transaction.
        landing: The landing.
        listing: The feed's files, as listed just now.
        allow_most: Whether more than half of the partitions may be removed.
        run_id: The Dagster run, for the ledger.
        history_days: How long the load history of all feeds is kept; 0 for ever.
    """
    feed, settle_seconds = table.feed, landing.settle_seconds
    found = compare_table(table, listing, settle_seconds=settle_seconds)
    for difference in found.differences:
        logger.warning(f"feed {feed.name}: {difference}")
    reconciled = Reconciled()
    if files := _files_to_load(found, settle_seconds):
        reconciled.outcomes = load_files(table, landing, files, run_id=run_id)
    removal = find_removable(feed, found.plan, allow_most=allow_most)
    if removal.rows:
        table.remove(removal.names, run_id=run_id)
    reconciled.removed = removal.keys
    reconciled.left = compare_table(table, listing, settle_seconds=settle_seconds)
    if table.exists():
        try:
            if history_days:
                table.trim_history(datetime.now(UTC) - timedelta(days=history_days))
            table.tidy()
        except WarehouseError as error:
            # What was repaired is told nevertheless.
            logger.error(f"feed {feed.name}: the warehouse was not tidied: {error}")
    return reconciled


def _files_to_load(found: Comparison, settle_seconds: float) -> Sequence[LandedFile]:
    files = [step.file for step in found.plan.steps.values() if step.partition_key in found.keys]
    return [file for file in files if file and not file.why_not_ready(settle_seconds)]
