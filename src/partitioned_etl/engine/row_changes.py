"""Row changes: how the rows that a load puts into the table differ from those that it replaces.

Takes what a load replaces, before and after; returns per file how many rows are new, gone and the
same: a difference of multisets, counted by the warehouse inside the load's transaction. Two rows
are the same if no column of the table tells them apart, `partition_key` and `source_file` aside.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from partitioned_etl.engine.warehouse.ledger import LedgerRow, Replaced
from partitioned_etl.engine.warehouse.load_history import RowChanges
from partitioned_etl.engine.warehouse.warehouse import FeedTable

CANNOT_KEEP = "the warehouse lets this role make no temporary table"
UNKNOWN_ROWS = "the table held rows that the ledger did not know"


class ChangeCount:
    """Counts what one load changes in a feed's table.

    Its two methods are called in their order, inside the load's transaction. A file that takes
    nobody's place costs nothing: all of its rows are new.
    """

    def __init__(self, table: FeedTable, replaced: Replaced) -> None:
        self._table, self._formers = table, replaced.formers
        self._former_counts = Counter[str]()
        for former in replaced.formers:
            self._former_counts[former.successor] += former.row_count
        self._numbers = {name: number for number, name in enumerate(self._former_counts)}
        self._reasons: dict[str, str] = {}
        self._kept_count: int | None = None

    def keep(self) -> None:
        """Keep the rows that are to be deleted, of files that are not too large."""
        for name, count in self._former_counts.items():
            self._limit(name, count)
        counts = self._former_counts
        wanted = {name for name in counts if counts[name] and name not in self._reasons}
        if wanted:
            self._kept_count = self._table.keep_replaced(
                {
                    (former.partition_key, former.source_file): self._numbers[former.successor]
                    for former in self._formers
                    if former.successor in wanted
                }
            )
            if self._kept_count is None:
                self._reasons |= dict.fromkeys(wanted, CANNOT_KEEP)

    def _limit(self, name: str, count: int) -> None:
        most = self._table.feed.compare_up_to_rows
        if count > most:
            reason = f"{count:,} rows, more than {most:,}" if most else "compare_up_to_rows is 0"
            self._reasons.setdefault(name, reason)

    def count(self, rows: Sequence[LedgerRow], deleted_count: int) -> dict[str, RowChanges]:
        """Return what the load changed, by the names of its files.

        Args:
            rows: The ledger rows of the files, which are loaded.
            deleted_count: How many rows were deleted for them.
        """
        known_count = self._kept_count or 0
        for name, count in self._former_counts.items():
            known_count += count if name in self._reasons else 0
        reloaded = [row for row in rows if row.source_file in self._former_counts]
        for row in reloaded:
            self._limit(row.source_file, row.row_count)
        found: Mapping[int, tuple[int, int]] = {}
        if self._kept_count is not None:
            found = self._table.compare_kept(
                {
                    (row.partition_key, row.source_file): self._numbers[row.source_file]
                    for row in reloaded
                    if row.source_file not in self._reasons
                }
            )
        if deleted_count > known_count:
            # Whose they were, nobody knows.
            told = dict.fromkeys((row.source_file for row in rows), UNKNOWN_ROWS)
            self._reasons = told | self._reasons
        return {row.source_file: self._changes_of(row, found) for row in rows}

    def _changes_of(self, row: LedgerRow, found: Mapping[int, tuple[int, int]]) -> RowChanges:
        name = row.source_file
        is_reload = name in self._former_counts
        if reason := self._reasons.get(name):
            return RowChanges(not_compared=reason, is_reload=is_reload)
        if self._former_counts[name]:
            added, removed = found.get(self._numbers[name], (0, 0))
        else:
            added, removed = row.row_count, 0
        return RowChanges(added, removed, row.row_count - added, is_reload=is_reload)
