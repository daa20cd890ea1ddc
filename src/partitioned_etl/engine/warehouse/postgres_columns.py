"""PostgreSQL columns: which columns a table has, and the statements that change them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.sql import PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN
from partitioned_etl.engine.table_changes import (
    ChangeKind,
    ColumnChange,
    exact_number_range,
    is_exact_number,
)
from partitioned_etl.engine.warehouse.postgres_session import Session, quote_name
from partitioned_etl.engine.warehouse.postgres_types import to_duckdb, to_postgres, write_comment

_OF_TABLE = """
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = current_schema() AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""


def find_columns(session: Session, table: str) -> list[str]:
    """Return the names of a table's columns; none if the current schema has no such table."""
    return [name for (name,) in session.fetch(f"SELECT a.attname {_OF_TABLE}", [table])]


def read_types(session: Session, table: str, declared: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a table with their types, as DuckDB spells them.

    Args:
        session: The session.
        table: The table.
        declared: The feed's columns with their types, as DuckDB spells them.
    """
    added = {PARTITION_KEY_COLUMN: "VARCHAR", SOURCE_FILE_COLUMN: "VARCHAR"}
    known = {name.casefold(): one for name, one in {**declared, **added}.items()}
    found = session.fetch(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), "
        f"col_description(c.oid, a.attnum) {_OF_TABLE}",
        [table],
    )
    return {
        name: to_duckdb(kind, comment, known.get(name.casefold(), ""))
        for name, kind, comment in found
    }


def has_rows(session: Session, table: str) -> bool:
    """Return whether a table has any row."""
    return bool(session.fetch(f"SELECT 1 FROM {quote_name(table)} LIMIT 1"))


def create_table(session: Session, table: str, columns: Mapping[str, str]) -> None:
    """Create a feed's table: its columns, then partition key and file name, inside a transaction.

    Args:
        session: The session.
        table: The table.
        columns: Maps column name to type, as DuckDB spells it.
    """
    both = {**columns, PARTITION_KEY_COLUMN: "VARCHAR", SOURCE_FILE_COLUMN: "VARCHAR"}
    listed = ", ".join(f"{quote_name(name)} {to_postgres(one)}" for name, one in both.items())
    session.run(f"CREATE TABLE {quote_name(table)} ({listed})")
    session.run(f"CREATE INDEX ON {quote_name(table)} ({PARTITION_KEY_COLUMN})")
    for name, one in columns.items():
        _comment(session, table, name, one)


def make_anew(session: Session, table: str, columns: Mapping[str, str]) -> None:
    """Put a feed's table in the place of one without rows."""
    with _told_what_depends(table):
        session.run(f"DROP TABLE {quote_name(table)}")
    create_table(session, table, columns)


def alter_columns(session: Session, table: str, changes: Sequence[ColumnChange]) -> None:
    """Add and drop columns and change types, inside a transaction.

    Where a type is another one, no row is left with a value that does not fit.

    Raises:
        WarehouseError: Something depends on the table as it is, such as a view.
    """
    with _told_what_depends(table):
        for change in changes:
            column, kind = quote_name(change.column), to_postgres(change.type)
            match change.kind:
                case ChangeKind.ADDED:
                    what = f"ADD COLUMN {column} {kind}"
                case ChangeKind.GONE:
                    what = f"DROP COLUMN {column}"
                case ChangeKind.WIDENED | ChangeKind.RETYPED:
                    is_number = is_exact_number(change.former_type) and (
                        change.kind is ChangeKind.WIDENED or is_exact_number(change.type)
                    )
                    value = column if is_number else "NULL"
                    what = f"ALTER COLUMN {column} TYPE {kind} USING {value}::{kind}"
            session.run(f"ALTER TABLE {quote_name(table)} {what}")
            if change.kind is not ChangeKind.GONE:
                _comment(session, table, change.column, change.type)


def _comment(session: Session, table: str, column: str, type_name: str) -> None:
    of_column = f"{quote_name(table)}.{quote_name(column)}"
    session.run(f"COMMENT ON COLUMN {of_column} IS '{write_comment(type_name)}'")


@contextmanager
def _told_what_depends(table: str) -> Iterator[None]:
    try:
        yield
    except WarehouseError as error:
        depends = ("DependentObjectsStillExist", "FeatureNotSupported")
        if not any(name in str(error) for name in depends):
            raise
        raise WarehouseError(
            f"table {table} cannot be altered: drop the view or constraint that depends on it, "
            "and make it again afterwards"
        ) from None


def count_values(session: Session, table: str, column: str) -> dict[str, int]:
    """Return how many values a column has, by partition key; without those that have none."""
    return _count(session, table, f"{quote_name(column)} IS NOT NULL")


def count_misfits(session: Session, table: str, change: ColumnChange) -> dict[str, int]:
    """Return how many values of a column do not fit its new type, by partition key.

    A whole number or decimal fits if it is the same number in the new type. Of any other value it
    cannot be said what its file would load as.
    """
    wide = exact_number_range(change.type)
    if not (wide and is_exact_number(change.former_type)):
        return count_values(session, table, change.column)
    lowest, highest, digits = wide
    number = f"{quote_name(change.column)}::numeric"
    shifted = f"({number} * 1e{digits})"
    return _count(
        session,
        table,
        f"NOT ({shifted} BETWEEN {lowest} AND {highest} AND {shifted} = trunc({shifted}))",
    )


def _count(session: Session, table: str, condition: str) -> dict[str, int]:
    rows = session.fetch(
        f"SELECT coalesce({PARTITION_KEY_COLUMN}, ''), count(*) FROM {quote_name(table)} "
        f"WHERE {condition} GROUP BY 1 ORDER BY coalesce({PARTITION_KEY_COLUMN}, '') COLLATE \"C\""
    )
    return dict(rows)
