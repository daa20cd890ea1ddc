"""Table changes: how the columns that a feed declares differ from those that its table has.

Takes both; returns what a load does about it, and what it leaves to a person. `prepare` of a feed's
table does what the plan says, because both ask here. The SQL is in `warehouse/table_columns.py`,
and what is left to a person in `migrate.py`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.sql import PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN

COMMAND = "partitioned-etl migrate"
"""The command that does what a load does not."""
_ADDED_BY_LOAD = (PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN)
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_EXACT_DOUBLE = 1 << 53
"""Up to here, every whole number is a DOUBLE, and the one that its text stands for."""


class ChangeKind(StrEnum):
    """What becomes of a column of a feed's table."""

    ADDED = "added"
    """The table does not have it: a load adds it."""
    WIDENED = "widened"
    """Its new type has every value of the old one: a load changes it."""
    GONE = "gone"
    """The feed does not declare it: it stays, and new rows have no value in it."""
    RETYPED = "retyped"
    """Its new type may not have every value: nothing is loaded until a person has decided."""


@dataclass(frozen=True)
class ColumnChange:
    """What becomes of one column.

    Attributes:
        kind: What.
        column: Its name.
        type: Its type in the feed; empty if it is gone.
        former_type: Its type in the table; empty if it is added.
    """

    kind: ChangeKind
    column: str
    type: str = ""
    former_type: str = ""


@dataclass(frozen=True)
class TableChanges:
    """How a feed's declaration changes its table.

    Attributes:
        columns: What becomes of each column that differs.
        is_made_anew: Whether the table has no rows, and is simply made as the feed declares it.
        missing: Columns of every feed's table that this one lacks: no load has made it.
        unheld: Why the warehouse cannot hold the table, one sentence each.
    """

    columns: Sequence[ColumnChange] = ()
    is_made_anew: bool = False
    missing: Sequence[str] = ()
    unheld: Sequence[str] = ()

    def of(self, *kinds: ChangeKind) -> list[ColumnChange]:
        """Return the changes of some kinds."""
        return [change for change in self.columns if change.kind in kinds]

    @property
    def gone(self) -> list[str]:
        """The table's columns that the feed does not declare."""
        return [change.column for change in self.of(ChangeKind.GONE)]

    @property
    def is_refused(self) -> bool:
        """Whether nothing is loaded until a person has decided."""
        retyped = self.of(ChangeKind.RETYPED)
        return bool(self.missing or self.unheld or (retyped and not self.is_made_anew))

    @property
    def is_altered(self) -> bool:
        """Whether a load alters the table."""
        is_wider = bool(self.of(ChangeKind.ADDED, ChangeKind.WIDENED))
        return not self.is_refused and (self.is_made_anew or is_wider)

    def require_loadable(self, feed_name: str, table: str) -> None:
        """Make sure that a load may go on.

        Raises:
            WarehouseError: A person has to decide first.
        """
        if self.is_refused:
            reasons = "; ".join(self.describe(feed_name))
            raise WarehouseError(f"feed {feed_name}: table {table}: {reasons}")

    def describe(self, feed_name: str, loaded: int | None = None) -> list[str]:
        """Return one sentence for each change, of what the next load does about it.

        Args:
            feed_name: The feed, for the command that a person may run.
            loaded: How many partitions the table has; None if that is of no interest.
        """
        if self.unheld:
            return [f"refused: {reason}" for reason in self.unheld]
        if self.missing:
            lacks = ", ".join(self.missing)
            return [f"refused: no load has made the table, which lacks {lacks}: rename or drop it"]
        if self.is_made_anew:
            return ["the table has no rows, and is made anew with the columns of the feed"]
        return list(self._describe_columns(feed_name, loaded))

    def _describe_columns(self, feed_name: str, loaded: int | None) -> Iterator[str]:
        in_loaded = f" in {loaded:,} loaded partition(s)" if loaded else ""
        for change in self.columns:
            column = f"column {change.column}"
            match change.kind:
                case ChangeKind.ADDED:
                    yield f"{column} {change.type} is added: NULL{in_loaded}"
                case ChangeKind.WIDENED:
                    yield f"{column} becomes {change.type} from {change.former_type}"
                case ChangeKind.GONE:
                    yield f"{column} is no longer declared: kept, NULL in new loads"
                case ChangeKind.RETYPED:
                    yield (
                        f"refused: {column} is {change.former_type} in the table and "
                        f"{change.type} in the feed: run `{COMMAND} {feed_name}`"
                    )


def compare_columns(
    declared: Mapping[str, str], present: Mapping[str, str], *, has_rows: bool
) -> TableChanges:
    """Compare the columns that a feed declares with those of its table. Their order is no matter.

    Args:
        declared: The feed's columns, with their types as the warehouse spells them.
        present: The table's columns likewise, and those that a load adds.
        has_rows: Whether the table has any.
    """
    names = {name.casefold(): name for name in present}
    missing = [name for name in _ADDED_BY_LOAD if present.get(names.get(name, "")) != "VARCHAR"]
    changes: list[ColumnChange] = []
    for name, type_name in declared.items():
        there = names.get(name.casefold())
        if there is None:
            changes.append(ColumnChange(ChangeKind.ADDED, name, type_name))
        elif (former := present[there]) != type_name:
            kind = ChangeKind.WIDENED if has_every_value(type_name, former) else ChangeKind.RETYPED
            changes.append(ColumnChange(kind, there, type_name, former))
    changes += [
        ColumnChange(ChangeKind.GONE, name, former_type=present[name])
        for name in list_gone(declared, present)
    ]
    return TableChanges(tuple(changes), bool(changes) and not has_rows, tuple(missing))


def require_added_columns(table: str, columns: Collection[str]) -> None:
    """Make sure that a table, if it has columns and so exists, is one of a feed.

    Raises:
        WarehouseError: It lacks a column that every load adds.
    """
    if columns and not {*_ADDED_BY_LOAD}.issubset(columns):
        raise WarehouseError(
            f"table {table} is of no feed: it lacks the columns {' and '.join(_ADDED_BY_LOAD)}"
        )


def list_gone(declared: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the columns of a feed's table that the feed does not declare."""
    known = {*map(str.casefold, declared), *_ADDED_BY_LOAD}
    return [name for name in present if name.casefold() not in known]


def list_compared(present: Iterable[str]) -> list[str]:
    """Return the columns of a feed's table by which its rows are compared: those no load adds."""
    return list_gone((), present)


def has_every_value(type_name: str, former: str) -> bool:
    """Return whether a type has every value of another, and each is what its file would load as.

    That can be said of whole numbers and decimals alone. A FLOAT is another number than the DOUBLE
    of the same text, and a value does not tell which text it was.

    Args:
        type_name: The type, as DuckDB spells it.
        former: The other one.
    """
    narrow, wide = exact_number_range(former), exact_number_range(type_name)
    if narrow is None:
        return False
    if type_name == "DOUBLE":
        lowest, highest, digits = narrow
        return digits == 0 and lowest >= -_EXACT_DOUBLE and highest <= _EXACT_DOUBLE
    if wide is None:
        return False
    factor = 10 ** max(0, wide[2] - narrow[2])
    has_range = wide[0] <= narrow[0] * factor and narrow[1] * factor <= wide[1]
    return wide[2] >= narrow[2] and has_range


def is_exact_number(type_name: str) -> bool:
    """Return whether a type, as DuckDB spells it, is one of whole numbers or decimals."""
    return exact_number_range(type_name) is not None


def exact_number_range(type_name: str) -> tuple[int, int, int] | None:
    """Return the lowest and highest value of a type, without their point, and its digits behind it.

    None for a type that is not of exact numbers.
    """
    if decimal := _DECIMAL.fullmatch(type_name):
        width, digits = map(int, decimal.groups())
        return 1 - 10**width, 10**width - 1, digits
    if bits := _BITS.get(type_name):
        return -(1 << bits - 1), (1 << bits - 1) - 1, 0
    if bits := _BITS.get(type_name.removeprefix("U")):
        return 0, (1 << bits) - 1, 0
    return None
