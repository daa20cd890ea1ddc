"""Repair: compare directory, ledger and tables, and repair what the files allow.

Takes a feed and its folder; returns the differences, and loads or removes what they require. The
sensors and `sync.py` already follow changes in the folder; this finds what changed behind their
backs: deleted rows, a database restored from a backup, an edited ledger.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import duckdb

from partitioned_etl.ingest.columns import quote_identifier
from partitioned_etl.ingest.database import has_table
from partitioned_etl.ingest.feed import PARTITION_KEY_COLUMN, REJECTED_ROWS_TABLE, Feed
from partitioned_etl.ingest.landing import LandedFile, Listing
from partitioned_etl.ingest.ledger import LedgerRow, read_ledger
from partitioned_etl.ingest.outcomes import Outcome
from partitioned_etl.ingest.reconcile import Action, Plan, find_removable, reconcile
from partitioned_etl.ingest.warehouse import remove_partitions, replace_partitions

logger = logging.getLogger(__name__)


class DifferenceKind(StrEnum):
    """What is not as it should be."""

    NOT_LOADED = "landed and not loaded"
    ROWS = "the table holds another number of rows than were loaded"
    REJECTED_ROWS = "rejected_rows holds another number of rows than were rejected"
    SUM = "loaded and rejected rows do not add up to the rows of the file"
    UNKNOWN = "the table holds rows that the ledger does not know"
    GONE = "the file is gone, and the feed's policy is to remove its rows"
    UNUSABLE = "a landed file cannot be loaded"


@dataclass(frozen=True)
class Difference:
    """One partition that is not as it should be.

    Attributes:
        partition_key: The partition; empty for a file whose name does not map to one.
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
class State:
    """Directory, ledger and tables of a feed at one moment.

    Attributes:
        plan: The folder compared with the ledger.
        ledger: Ledger row per partition key.
        differences: What is not as it should be.
        brake: Safeguard: why partitions whose files are gone are not removed; may be empty.
    """

    plan: Plan
    ledger: dict[str, LedgerRow]
    differences: list[Difference]
    brake: str = ""

    @property
    def keys(self) -> set[str]:
        """The partition keys that are not as they should be."""
        return {difference.partition_key for difference in self.differences}


@dataclass
class Repair:
    """What a repair did.

    Attributes:
        outcomes: What happened to the files that were loaded again.
        removed: Partition keys that were removed.
        left: The state afterwards; its differences need manual action.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: State = field(default_factory=lambda: State(Plan(), {}, []))


def examine_feed(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    listing: Listing,
    *,
    settle_seconds: float = 0.0,
) -> State:
    """Compare a feed's folder, ledger and tables. Every partition's rows are counted.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        listing: The feed's folder, as listed just now.
        settle_seconds: How long a file must be unchanged before its absence from the table is a
            difference.
    """
    is_there = has_table(connection, feed.table)
    ledger = read_ledger(connection, feed) if is_there else {}
    plan = reconcile(
        listing, ledger, contract=feed.contract_fingerprint, settle_seconds=settle_seconds
    )
    rows = _count_rows(connection, feed.table) if is_there else {}
    rejected: dict[str, int] = {}
    if has_table(connection, REJECTED_ROWS_TABLE):
        rejected = _count_rows(connection, REJECTED_ROWS_TABLE, feed)
    removal = find_removable(feed, plan)
    gone = plan.keys(Action.MISSING) if removal.keys or removal.brake else []
    differences = [
        *(Difference(key, DifferenceKind.NOT_LOADED) for key in plan.keys(*_WANTED)),
        *_compare_counts(ledger, rows, rejected),
        *(
            Difference(key, DifferenceKind.UNKNOWN, f"{rows[key]:,} rows")
            for key in sorted(rows.keys() - ledger.keys())
        ),
        *(Difference(key, DifferenceKind.GONE) for key in gone),
        *(
            Difference(
                entry.partition_key, DifferenceKind.UNUSABLE, f"{entry.name}: {entry.reason}"
            )
            for entry in listing.refused
        ),
    ]
    return State(plan, ledger, differences, removal.brake)


_WANTED = (Action.NEW, Action.CHANGED)


def _count_rows(
    connection: duckdb.DuckDBPyConnection, table: str, of_feed: Feed | None = None
) -> dict[str, int]:
    condition, bound = ("WHERE feed = ? ", [of_feed.name]) if of_feed else ("", [])
    return dict(
        connection.execute(
            f"SELECT coalesce({PARTITION_KEY_COLUMN}, ''), count(*) FROM {quote_identifier(table)} "
            f"{condition}GROUP BY ALL",
            bound,
        ).fetchall()
    )


def _compare_counts(
    ledger: dict[str, LedgerRow], rows: dict[str, int], rejected: dict[str, int]
) -> list[Difference]:
    found = []
    for key, row in ledger.items():
        for kind, there, told in (
            (DifferenceKind.ROWS, rows.get(key, 0), row.row_count),
            (DifferenceKind.REJECTED_ROWS, rejected.get(key, 0), row.rejected_count),
        ):
            if there != told:
                found.append(Difference(key, kind, f"{there:,} instead of {told:,}"))
        if not row.adds_up:
            found.append(Difference(key, DifferenceKind.SUM))
    return found


def repair_feed(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    listing: Listing,
    *,
    settle_seconds: float = 0.0,
    allow_most: bool = False,
    run_id: str = "",
    log: logging.Logger = logger,
) -> Repair:
    """Reload what differs and has a landed file, and remove what the feed's policy removes.

    A partition that differs and has no loadable file is left as it is and reported.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        listing: The feed's folder, as listed just now.
        settle_seconds: How long a file must be unchanged before it is loaded.
        allow_most: Whether more than half of the partitions may be removed.
        run_id: The Dagster run, for the ledger.
        log: Where progress is logged.
    """
    found = examine_feed(connection, feed, listing, settle_seconds=settle_seconds)
    for difference in found.differences:
        log.warning(f"feed {feed.name}: {difference}")
    repair = Repair()
    files = _files_to_load(found, settle_seconds)
    if files:
        repair.outcomes = replace_partitions(connection, feed, files, run_id=run_id, log=log)
    repair.removed = find_removable(feed, found.plan, allow_most=allow_most).keys
    if repair.removed:
        remove_partitions(connection, feed, repair.removed)
    repair.left = examine_feed(connection, feed, listing, settle_seconds=settle_seconds)
    return repair


def _files_to_load(found: State, settle_seconds: float) -> Sequence[LandedFile]:
    files = [found.plan.steps[key].file for key in sorted(found.keys) if key in found.plan.steps]
    return [file for file in files if file and not file.why_not_ready(settle_seconds)]
