"""Migrate: make a table what its feed declares, where something may be lost by it.

Takes a feed's table and its listing; returns what would change, or changes it, all in one
transaction. A value that does not fit its column's new type is never cut to fit: its partition
loads again from its landed file. What a load does by itself belongs in
`table_changes.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from partitioned_etl.engine.conflicts import run_until_done
from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.landing.landing import Listing
from partitioned_etl.engine.table_changes import ChangeKind, TableChanges
from partitioned_etl.engine.warehouse.warehouse import FeedTable

_MOST_NAMED = 10


@dataclass(frozen=True)
class Migration:
    """What becomes of a table that is made what its feed declares.

    Attributes:
        changes: How the declaration differs.
        lost: How many values each column has that is dropped.
        misfits: How many values of a column do not fit its new type, by column and partition key.
        reloaded: Partition keys whose rows are removed, so that they load again.
        stuck: Partition keys with values that do not fit, and without a landed file.
    """

    changes: TableChanges = field(default_factory=TableChanges)
    lost: Mapping[str, int] = field(default_factory=dict)
    misfits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reloaded: Sequence[str] = ()
    stuck: Sequence[str] = ()

    @property
    def refusal(self) -> str:
        """Why it is not done; empty if it can be."""
        if self.changes.missing or self.changes.unheld:
            return "; ".join(self.changes.describe(""))
        if not self.stuck:
            return ""
        return (
            "refused: values do not fit, and there is no landed file to load again, in "
            f"{_name_first(self.stuck)}"
        )

    def describe(self) -> list[str]:
        """Return one sentence for each change, and for what follows from all of them."""
        changes = self.changes
        if changes.missing or changes.unheld or changes.is_made_anew:
            return changes.describe("")
        told = list(self._describe_columns())
        if self.reloaded:
            told.append(f"load again from their landed files: {_name_first(self.reloaded)}")
        if self.stuck:
            told.append(self.refusal)
        return told

    def _describe_columns(self) -> Iterator[str]:
        for change in self.changes.columns:
            column = f"column {change.column}"
            match change.kind:
                case ChangeKind.ADDED:
                    yield f"{column} {change.type} is added: NULL in all rows"
                case ChangeKind.GONE:
                    count = self.lost[change.column]
                    yield f"{column} {change.former_type} is dropped: {count:,} value(s) are lost"
                case ChangeKind.WIDENED | ChangeKind.RETYPED:
                    misfits = self.misfits.get(change.column, {})
                    count, keys = sum(misfits.values()), len(misfits)
                    fits = f"{count:,} value(s) in {keys:,} partition(s) do not fit"
                    becomes = f"{column} becomes {change.type} from {change.former_type}"
                    yield f"{becomes}: {fits if misfits else 'every value fits'}"


def _name_first(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MOST_NAMED:,} more" if len(keys) > _MOST_NAMED else ""
    return ", ".join(key or "rows without a partition" for key in keys[:_MOST_NAMED]) + more


def find_migration(table: FeedTable, listing: Listing) -> Migration:
    """Find out what becomes of a table that is made what its feed declares; change nothing.

    Args:
        table: The feed's table.
        listing: The feed's files, as listed just now.
    """
    changes = table.find_changes()
    if changes.missing or changes.unheld or changes.is_made_anew:
        return Migration(changes)
    lost = {name: sum(table.count_values(name).values()) for name in changes.gone}
    misfits = {
        change.column: table.count_misfits(change) for change in changes.of(ChangeKind.RETYPED)
    }
    keys = sorted({key for by_key in misfits.values() for key in by_key})
    landed = _list_landed(table, listing)
    return Migration(
        changes,
        lost,
        misfits,
        [key for key in keys if key in landed],
        [key for key in keys if key not in landed],
    )


def _list_landed(table: FeedTable, listing: Listing) -> set[str]:
    """Return the partition keys that can load again from landed files, all of their parts."""
    landed = {file.partition_key for file in listing.files.values()}
    if not table.feed.file_names.has_parts:
        return landed
    return landed - {
        row.partition_key
        for row in table.read_ledger()
        if row.loaded_at and row.source_file not in listing.files
    }


def apply_migration(table: FeedTable, listing: Listing) -> Migration:
    """Make a table what its feed declares, all at once; partitions that do not fit are removed.

    Args:
        table: The feed's table, which exists, outside a transaction.
        listing: The feed's files, as listed just now.

    Returns:
        What was done.

    Raises:
        WarehouseError: Something would be lost that no landed file holds, or something depends on
            the table as it is; nothing was changed.
    """
    return run_until_done(lambda: _migrate(table, listing))


def _migrate(table: FeedTable, listing: Listing) -> Migration:
    with table.transaction():
        migration = find_migration(table, listing)
        if migration.refusal:
            reason = f"feed {table.feed.name}: table {table.feed.table}: {migration.refusal}"
            raise WarehouseError(reason)
        table.migrate(migration.changes, migration.reloaded)
    return migration
