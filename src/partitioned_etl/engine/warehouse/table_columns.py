"""Table columns: which columns a DuckDB table has, and the statements that change them.

All alterations of one call belong in one transaction. There they stand before any statement that
changes rows: DuckDB 1 refuses to commit them in another order.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.sql import (
    PARTITION_KEY_COLUMN,
    SOURCE_FILE_COLUMN,
    quote_identifier,
)
from partitioned_etl.engine.table_changes import (
    ChangeKind,
    ColumnChange,
    is_exact_number,
)


def create_table(
    duck: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], *, anew: bool = False
) -> None:
    """Create a feed's table: its columns, then partition key and file name.

    Args:
        duck: A connection, inside a transaction.
        table: The table.
        columns: Maps column name to type.
        anew: Whether to put it in the place of the one that is there.
    """
    both = {**columns, PARTITION_KEY_COLUMN: "VARCHAR", SOURCE_FILE_COLUMN: "VARCHAR"}
    listed = ", ".join(f"{quote_identifier(name)} {one}" for name, one in both.items())
    create = "CREATE OR REPLACE TABLE" if anew else "CREATE TABLE"
    duck.execute(f"{create} {quote_identifier(table)} ({listed})")


def insert_columns(
    duck: duckdb.DuckDBPyConnection,
    table: str,
    columns: Mapping[str, str],
    values: Sequence[Sequence[object]],
    insert: str = "INSERT",
) -> None:
    """Insert rows into one of the package's own tables, all in one statement.

    Args:
        duck: A connection, inside a transaction.
        table: The table.
        columns: Maps column name to type.
        values: The values of each column.
        insert: What to do with rows of the same key.
    """
    unnested = ", ".join(f"unnest(CAST(? AS {one}[]))" for one in columns.values())
    duck.execute(f"{insert} INTO {table} ({', '.join(columns)}) SELECT {unnested}", list(values))


def spell_types(duck: duckdb.DuckDBPyConnection, columns: Mapping[str, str]) -> dict[str, str]:
    """Return columns with their types as DuckDB spells them."""
    listed = ", ".join(
        f"CAST(NULL AS {one}) AS {quote_identifier(name)}" for name, one in columns.items()
    )
    return _describe(duck, f"SELECT {listed}")


def read_types(duck: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns of a table with their types."""
    return _describe(duck, quote_identifier(table))


def _describe(duck: duckdb.DuckDBPyConnection, what: str) -> dict[str, str]:
    return {name: one for name, one, *_ in duck.execute(f"DESCRIBE {what}").fetchall()}


def has_rows(duck: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Return whether a table has any row."""
    return bool(duck.execute(f"SELECT 1 FROM {quote_identifier(table)} LIMIT 1").fetchall())


def alter_columns(
    duck: duckdb.DuckDBPyConnection, table: str, changes: Sequence[ColumnChange]
) -> None:
    """Add and drop columns and change types, inside a transaction.

    A value that does not fit its new type becomes NULL; its rows are not to be kept.

    Raises:
        WarehouseError: Something depends on the table as it is, such as an index.
    """
    with _told_what_depends(table):
        for change in changes:
            column = quote_identifier(change.column)
            match change.kind:
                case ChangeKind.ADDED:
                    what = f"ADD COLUMN {column} {change.type}"
                case ChangeKind.GONE:
                    what = f"DROP COLUMN {column}"
                case ChangeKind.WIDENED:
                    what = f"ALTER COLUMN {column} TYPE {change.type}"
                case ChangeKind.RETYPED:
                    value = f"TRY_CAST({column} AS {change.type})"
                    what = f"ALTER COLUMN {column} TYPE {change.type} USING {value}"
            duck.execute(f"ALTER TABLE {quote_identifier(table)} {what}")


@contextmanager
def _told_what_depends(table: str) -> Iterator[None]:
    try:
        yield
    except (duckdb.DependencyException, duckdb.CatalogException, duckdb.BinderException) as error:
        raise WarehouseError(
            f"table {table} cannot be altered ({type(error).__name__}): drop the index or "
            "constraint that depends on it, and make it again afterwards"
        ) from error


def count_values(duck: duckdb.DuckDBPyConnection, table: str, column: str) -> dict[str, int]:
    """Return how many values a column has, by partition key; without those that have none."""
    return _count(duck, table, f"{quote_identifier(column)} IS NOT NULL")


def count_misfits(
    duck: duckdb.DuckDBPyConnection, table: str, change: ColumnChange
) -> dict[str, int]:
    """Return how many values of a column do not fit its new type, by partition key.

    A whole number or decimal fits if it is the same number in the new type. Of any other value it
    cannot be said what its file would load as.
    """
    if not (is_exact_number(change.type) and is_exact_number(change.former_type)):
        return count_values(duck, table, change.column)
    column = quote_identifier(change.column)
    back = f"TRY_CAST(TRY_CAST({column} AS {change.type}) AS {change.former_type})"
    return _count(duck, table, f"{back} IS DISTINCT FROM {column}")


def _count(duck: duckdb.DuckDBPyConnection, table: str, condition: str) -> dict[str, int]:
    rows = duck.execute(
        f"SELECT coalesce({PARTITION_KEY_COLUMN}, ''), count(*) FROM {quote_identifier(table)} "
        f"WHERE {condition} GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return dict(rows)
