"""Kept rows: those that a load is about to delete, and how its own differ from them, in DuckDB.

Rows are compared by their values, in the database's own equality: NULL is NULL, and NaN is NaN. To
compare all of them takes most of the time of a load. So rows are first put into buckets by a hash.
A bucket whose rows are as many as before, and whose hashes add up to the same, is taken for
unchanged, and only the rows of the others are compared. Decision 0026 says how sure that is.
"""

from collections.abc import Mapping, Sequence

import duckdb

from partitioned_etl.engine.sql import (
    PARTITION_KEY_COLUMN,
    SOURCE_FILE_COLUMN,
    Query,
    internal_identifier,
    quote_identifier,
)

_KEPT = f"temp.{internal_identifier('kept')}"
_FILE, _KEY, _NAME, _SIGN, _HASH, _BUCKET, _BALANCE = map(
    internal_identifier, ("file", "key", "name", "sign", "hash", "bucket", "balance")
)
_BUCKET_BITS = 15
"""Few enough buckets that they are summed up fast, and so many that some edits concern few rows."""


def keep_rows(
    duck: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[str],
    successors: Mapping[tuple[str, str], int],
) -> int:
    """Copy rows of a feed's table aside, inside a transaction.

    Args:
        duck: A connection.
        table: The table.
        columns: The columns by which rows are compared.
        successors: The files whose rows are kept, by partition key and name, each with the number
            of the one that takes its place.

    Returns:
        How many rows are kept.
    """
    listed = ", ".join(map(quote_identifier, columns))
    rows = _select_of_files(table, listed, successors)
    kept = duck.execute(f"CREATE OR REPLACE TEMP TABLE {_KEPT} AS {rows.sql}", rows.bound)
    return sum(count for (count,) in kept.fetchall())


def compare_kept_rows(
    duck: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[str],
    loaded: Mapping[tuple[str, str], int],
) -> dict[int, tuple[int, int]]:
    """Count by how many rows loaded files differ from the kept ones, and let these go.

    Args:
        duck: A connection.
        table: The table.
        columns: The columns by which rows are compared.
        loaded: The numbers of the loaded files, by partition key and name.

    Returns:
        How many rows are added and removed, by the number of a loaded file that differs.
    """
    listed = ", ".join(map(quote_identifier, columns))
    new_rows = _select_of_files(table, listed, loaded)
    # The hash is hashed again, as its lowest bits are the same in a bucket.
    addend = f"{_SIGN} * CAST(hash({_HASH}) >> 2 AS BIGINT)"
    found = duck.execute(
        f"""
        WITH hashed AS NOT MATERIALIZED (
            SELECT *, hash({listed}) AS {_HASH} FROM (
                SELECT *, -1 AS {_SIGN} FROM {_KEPT} UNION ALL SELECT *, 1 FROM ({new_rows.sql}))),
        rows AS NOT MATERIALIZED (
            SELECT *, (CAST({_FILE} AS UBIGINT) << {_BUCKET_BITS})
                | ({_HASH} & {(1 << _BUCKET_BITS) - 1}) AS {_BUCKET}
            FROM hashed),
        differing AS MATERIALIZED (
            SELECT {_BUCKET} FROM rows GROUP BY {_BUCKET}
            HAVING sum({_SIGN}) <> 0 OR sum({addend}) <> 0)
        SELECT {_FILE}, CAST(sum(greatest({_BALANCE}, 0)) AS BIGINT),
            CAST(sum(greatest(-{_BALANCE}, 0)) AS BIGINT)
        FROM (
            SELECT {_FILE}, sum({_SIGN}) AS {_BALANCE}
            FROM rows WHERE {_BUCKET} IN (FROM differing)
            GROUP BY {_FILE}, {listed} HAVING sum({_SIGN}) <> 0)
        GROUP BY {_FILE}
        """,
        new_rows.bound,
    ).fetchall()
    duck.execute(f"DROP TABLE {_KEPT}")
    return {file: (added, removed) for file, added, removed in found}


def _select_of_files(table: str, listed: str, files: Mapping[tuple[str, str], int]) -> Query:
    """Return a query for the number of a row's file, and the columns that are compared."""
    name = quote_identifier(table)
    if len(files) == 1:
        # A large file is alone, and this twice as fast.
        [((key, file_name), number)] = files.items()
        where = f"{PARTITION_KEY_COLUMN} = ? AND {SOURCE_FILE_COLUMN} = ?"
        return Query(
            f"SELECT CAST({number} AS INTEGER) AS {_FILE}, {listed} FROM {name} WHERE {where}",
            [key, file_name],
        )
    return Query(
        f"SELECT {_FILE}, {listed} FROM {name} JOIN "
        f"(SELECT unnest(CAST(? AS VARCHAR[])) AS {_KEY}, unnest(CAST(? AS VARCHAR[])) AS {_NAME}, "
        f"unnest(CAST(? AS INTEGER[])) AS {_FILE}) "
        f"ON {PARTITION_KEY_COLUMN} = {_KEY} AND {SOURCE_FILE_COLUMN} = {_NAME}",
        [[key for key, _ in files], [name for _, name in files], [*files.values()]],
    )
