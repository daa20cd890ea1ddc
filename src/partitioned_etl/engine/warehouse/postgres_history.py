"""PostgreSQL history: the SQL of `load_history`, and of what a load changes, on PostgreSQL.

What its rows mean is in `load_history.py`. Rows that are to be deleted are kept in a temporary
table, which the end of the transaction drops.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from partitioned_etl.engine.sql import (
    LEDGER_TABLE,
    LOAD_HISTORY_TABLE,
    PARTITION_KEY_COLUMN,
    SOURCE_FILE_COLUMN,
    internal_identifier,
)
from partitioned_etl.engine.warehouse.load_history import (
    COLUMNS,
    HistoryRow,
    LoadHistory,
    collect_history,
)
from partitioned_etl.engine.warehouse.postgres_session import Session, quote_name

_KEPT = f"pg_temp.{internal_identifier('kept')}"
_FILE, _KEY, _NAME, _SIGN, _BALANCE = map(
    internal_identifier, ("file", "key", "name", "sign", "balance")
)
_COMPARE_MEMORY = "256MB"
"""For one comparison, which would otherwise sort the rows on disk."""


def insert_history(session: Session, rows: Sequence[HistoryRow]) -> None:
    """Insert rows, inside the transaction that changes the feed's table."""
    _insert(session, rows, "told.changed_at", "")


def insert_loads(session: Session, rows: Sequence[HistoryRow]) -> None:
    """Insert rows of loads, with the time that the ledger has; just before they are committed."""
    of_ledger = f"JOIN {LEDGER_TABLE} AS known USING (feed, source_file)"
    _insert(session, rows, "known.loaded_at", of_ledger)


def _insert(session: Session, rows: Sequence[HistoryRow], changed_at: str, join: str) -> None:
    if not rows:
        return
    values = ", ".join(changed_at if name == "changed_at" else f"told.{name}" for name in COLUMNS)
    session.run(
        f"INSERT INTO {LOAD_HISTORY_TABLE} ({', '.join(COLUMNS)}) SELECT {values} "
        f"FROM json_populate_recordset(NULL::{LOAD_HISTORY_TABLE}, %s::json) AS told {join}",
        [json.dumps([row._asdict() for row in rows], ensure_ascii=False, default=str)],
    )


def read_history(session: Session, feed_name: str, since: datetime | None) -> LoadHistory:
    """Read what changed a feed's table; the history exists."""
    names = ", ".join(COLUMNS).replace("changed_at", "changed_at AT TIME ZONE 'UTC'")
    found = session.fetch(
        f"SELECT {names} FROM {LOAD_HISTORY_TABLE} WHERE feed = %s "
        "AND changed_at >= coalesce(%s::timestamptz, '-infinity') "
        f'ORDER BY {LOAD_HISTORY_TABLE}.changed_at DESC, partition_key COLLATE "C", '
        'source_file COLLATE "C"',
        [feed_name, since],
    )
    return collect_history(found)


def forget_history(session: Session, feed_name: str) -> None:
    """Delete a feed's rows."""
    session.run(f"DELETE FROM {LOAD_HISTORY_TABLE} WHERE feed = %s", [feed_name])


def has_history_before(session: Session, before: datetime) -> bool:
    """Return whether there are rows of any feed from before a time."""
    query = f"SELECT 1 FROM {LOAD_HISTORY_TABLE} WHERE changed_at < %s LIMIT 1"
    return bool(session.fetch(query, [before]))


def delete_history_before(session: Session, before: datetime) -> None:
    """Delete the rows of all feeds from before a time, in a transaction of its own."""
    with session.transaction():
        session.lock([f"trim of {LOAD_HISTORY_TABLE}"])
        session.run(f"DELETE FROM {LOAD_HISTORY_TABLE} WHERE changed_at < %s", [before])


def keep_rows(
    session: Session,
    table: str,
    columns: Mapping[str, str],
    successors: Mapping[tuple[str, str], int],
) -> int | None:
    """Copy rows of a feed's table aside, inside a transaction.

    Args:
        session: The session.
        table: The table.
        columns: The columns by which rows are compared, with their types as DuckDB spells them.
        successors: The files whose rows are kept, by partition key and name, each with the number
            of the one that takes its place.

    Returns:
        How many rows are kept; None if the role may make no temporary table.
    """
    allowed = session.fetch("SELECT has_database_privilege(current_database(), 'TEMPORARY')")
    if allowed != [(True,)]:
        return None
    rows, bound = _select_of_files(table, columns, successors)
    return session.run(f"CREATE TEMPORARY TABLE {_KEPT} ON COMMIT DROP AS {rows}", bound)


def compare_kept_rows(
    session: Session,
    table: str,
    columns: Mapping[str, str],
    loaded: Mapping[tuple[str, str], int],
) -> dict[int, tuple[int, int]]:
    """Count by how many rows loaded files differ from the kept ones, and let these go.

    Args:
        session: The session.
        table: The table.
        columns: As for `keep_rows`.
        loaded: The numbers of the loaded files, by partition key and name.

    Returns:
        How many rows are added and removed, by the number of a loaded file that differs.
    """
    new_rows, bound = _select_of_files(table, columns, loaded)
    ((before,),) = session.fetch("SELECT current_setting('work_mem')")
    _set_memory(session, _COMPARE_MEMORY)
    group = ", ".join(str(place + 1) for place in range(len(columns) + 1))
    listed = ", ".join([_FILE, *_numbered(columns)])
    found = session.fetch(
        f"SELECT {_FILE}, sum(greatest({_BALANCE}, 0))::bigint, "
        f"sum(greatest(-{_BALANCE}, 0))::bigint FROM ("
        f"SELECT {listed}, sum({_SIGN}) AS {_BALANCE} FROM ("
        f"SELECT {listed}, -1 AS {_SIGN} FROM {_KEPT} UNION ALL SELECT *, 1 FROM ({new_rows}) AS n"
        f") AS b GROUP BY {group} HAVING sum({_SIGN}) <> 0) AS d GROUP BY {_FILE}",
        bound,
    )
    _set_memory(session, before)
    session.run(f"DROP TABLE {_KEPT}")
    return {file: (added, removed) for file, added, removed in found}


def _set_memory(session: Session, size: str) -> None:
    session.fetch("SELECT set_config('work_mem', %s, true)", [size])


def _numbered(columns: Mapping[str, str]) -> list[str]:
    """Return names of columns that none of the temporary table's others can have."""
    return [f"c{place}" for place in range(len(columns))]


def _select_of_files(
    table: str, columns: Mapping[str, str], files: Mapping[tuple[str, str], int]
) -> tuple[str, list[object]]:
    """Return a query for the number of a row's file, and the columns that are compared."""
    values = ", ".join(
        # JSON, which is kept as it is spelled, has no equality.
        f"{quote_name(name)}{'::text' if kind == 'JSON' else ''} AS {number}"
        for (name, kind), number in zip(columns.items(), _numbered(columns), strict=True)
    )
    keys, names = [key for key, _ in files], [name for _, name in files]
    query = (
        f"SELECT {_FILE}, {values} FROM {quote_name(table)} "
        f"JOIN unnest(%s::text[], %s::text[], %s::int[]) AS files({_KEY}, {_NAME}, {_FILE}) "
        f"ON {PARTITION_KEY_COLUMN} = {_KEY} AND {SOURCE_FILE_COLUMN} = {_NAME} "
        f"WHERE {PARTITION_KEY_COLUMN} = ANY(%s)"
    )
    return query, [keys, names, [*files.values()], keys]
