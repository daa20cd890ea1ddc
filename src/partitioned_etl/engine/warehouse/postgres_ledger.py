"""PostgreSQL ledger: the SQL of `file_loads` and `rejected_rows` on a PostgreSQL database.

What their rows mean is in `ledger.py` and `rejected_rows.py`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.sql import LEDGER_TABLE, LOAD_HISTORY_TABLE, REJECTED_ROWS_TABLE
from partitioned_etl.engine.warehouse.ledger import (
    COLUMNS,
    KnownFile,
    KnownLoad,
    Ledger,
    LedgerRow,
    LoadStatus,
    collect_ledger,
)
from partitioned_etl.engine.warehouse.load_history import COLUMNS as HISTORY_COLUMNS
from partitioned_etl.engine.warehouse.postgres_session import Session
from partitioned_etl.engine.warehouse.rejected_rows import COLUMNS as REJECTED_COLUMNS
from partitioned_etl.engine.warehouse.rejected_rows import RejectedRow

_TYPES = {
    "VARCHAR": "text",
    "BIGINT": "bigint",
    "VARCHAR[]": "text[]",
    "TIMESTAMPTZ": "timestamptz",
}
_EXPRESSIONS = {
    "broken_rules": "nullif(broken_rules, '{}')",
    "left_out": "nullif(left_out, '{}')",
    "loaded_at": "loaded_at AT TIME ZONE 'UTC'",
    "loaded_us": "coalesce(CAST(extract(epoch FROM loaded_at) * 1000000 AS bigint), 0)",
}
"""SQL for the columns that are not read unchanged."""
_INDEXED = ("partition_key", "content_hash", "loaded_at")
"""What is looked up among all rows of a feed."""
_NUL_SHOWN = "\N{SYMBOL FOR NULL}"


def ensure_tables(session: Session) -> None:
    """Create the package's own tables if they do not exist; inside a transaction.

    Others may create them at the same time: they take turns.
    """
    session.lock(["tables of the package"])
    _create(session, LEDGER_TABLE, COLUMNS, ", PRIMARY KEY (feed, source_file)")
    for column in _INDEXED:
        session.run(
            f"CREATE INDEX IF NOT EXISTS {LEDGER_TABLE}_{column} ON {LEDGER_TABLE} (feed, {column})"
        )
    _create(session, REJECTED_ROWS_TABLE, REJECTED_COLUMNS)
    session.run(
        f"CREATE INDEX IF NOT EXISTS {REJECTED_ROWS_TABLE}_partition_key "
        f"ON {REJECTED_ROWS_TABLE} (feed, partition_key)"
    )
    _create(session, LOAD_HISTORY_TABLE, HISTORY_COLUMNS)
    session.run(
        f"CREATE INDEX IF NOT EXISTS {LOAD_HISTORY_TABLE}_changed_at "
        f"ON {LOAD_HISTORY_TABLE} (changed_at)"
    )


def _create(session: Session, table: str, columns: Mapping[str, str], key: str = "") -> None:
    listed = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in columns.items())
    session.run(f"CREATE TABLE IF NOT EXISTS {table} ({listed}{key})")


def read_ledger(
    session: Session,
    feed_name: str,
    landed: Mapping[str, LandedFile],
    names: Sequence[str] | None = None,
    first_name: str = "",
) -> Ledger:
    """Read the ledger rows of one feed, or of some of its files; the ledger exists."""
    rows = _stream(session, feed_name, COLUMNS, names, first_name)
    return collect_ledger(feed_name, landed, rows)


def read_loads(session: Session, feed_name: str, first_name: str = "") -> Iterator[tuple[Any, ...]]:
    """Yield what the ledger knows of each file of a feed, as the values of `KnownLoad`."""
    return _stream(session, feed_name, KnownLoad._fields, first_name=first_name)


def _stream(
    session: Session,
    feed_name: str,
    wanted: Iterable[str],
    names: Sequence[str] | None = None,
    first_name: str = "",
) -> Iterator[tuple[Any, ...]]:
    expressions = ", ".join(_EXPRESSIONS.get(name, name) for name in wanted)
    query, bound = f"SELECT {expressions} FROM {LEDGER_TABLE} WHERE feed = %s", [feed_name]
    if first_name:
        # As Python compares them, and not by the rules of a language.
        query, bound = f'{query} AND source_file >= %s COLLATE "C"', [*bound, first_name]
    if names is None:
        return session.stream(query, bound)
    return session.stream(f"{query} AND source_file = ANY(%s)", [*bound, list(names)])


def upsert_rows(session: Session, rows: Sequence[LedgerRow]) -> None:
    """Write ledger rows, replacing those of the same feed and file; inside a transaction."""
    if not rows:
        return
    # In one order: two transactions that write the same rows wait for each other only one way.
    told = [row._asdict() for row in sorted(rows, key=lambda row: row.source_file)]
    names = ", ".join(COLUMNS)
    updates = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS)
    session.run(
        f"INSERT INTO {LEDGER_TABLE} ({names}) "
        f"SELECT {names} FROM json_populate_recordset(NULL::{LEDGER_TABLE}, %s::json) "
        f"ON CONFLICT (feed, source_file) DO UPDATE SET {updates}",
        [json.dumps(told, ensure_ascii=False, default=str)],
    )


def stamp_loads(session: Session, feed_name: str, names: Sequence[str]) -> None:
    """Give loads their time, just before they are committed.

    Transactions of a feed do so one after the other, each until its commit: who reads a load's time
    has read every load of an earlier one.
    """
    session.lock([f"commit of {feed_name}"])
    session.run(
        f"""
        UPDATE {LEDGER_TABLE} SET loaded_at = greatest(statement_timestamp(), (
            SELECT max(loaded_at) + interval '1 microsecond' FROM {LEDGER_TABLE} WHERE feed = %s))
        WHERE feed = %s AND source_file = ANY(%s)
        """,
        [feed_name, feed_name, list(names)],
    )


def find_files(
    session: Session, feed_name: str, names: Sequence[str], keys: Sequence[str] = ()
) -> list[KnownFile]:
    """Find a feed's files in the ledger: all of the partitions of some files, and of others."""
    query = f"""
        SELECT source_file, partition_key, landed_ns,
            CASE WHEN loaded_at IS NOT NULL THEN row_count END
        FROM {LEDGER_TABLE}
        WHERE feed = %s AND (partition_key = ANY(%s) OR partition_key IN (
            SELECT partition_key FROM {LEDGER_TABLE} WHERE feed = %s AND source_file = ANY(%s)))
    """
    rows = session.fetch(query, [feed_name, list(keys), feed_name, list(names)])
    return [KnownFile._make(row) for row in rows]


def find_other_keys(
    session: Session, feed_name: str, names: Sequence[str], keys: Sequence[str]
) -> list[str]:
    """Return the partition keys, other than these, that the ledger knows files by."""
    query = (
        f"SELECT DISTINCT partition_key FROM {LEDGER_TABLE} WHERE feed = %s "
        "AND source_file = ANY(%s) AND NOT partition_key = ANY(%s)"
    )
    return [key for (key,) in session.fetch(query, [feed_name, list(names), list(keys)])]


def find_same_content(
    session: Session, feed_name: str, hashes: Sequence[str]
) -> dict[str, list[str]]:
    """Find a feed's loaded files with rows that have one of these content hashes."""
    query = (
        f"SELECT content_hash, source_file FROM {LEDGER_TABLE} WHERE feed = %s AND status = %s "
        "AND row_count > 0 AND content_hash = ANY(%s) "
        'ORDER BY partition_key COLLATE "C", source_file COLLATE "C"'
    )
    found: dict[str, list[str]] = {}
    for content_hash, name in session.fetch(query, [feed_name, LoadStatus.LOADED, list(hashes)]):
        found.setdefault(content_hash, []).append(name)
    return found


def forget_feed(session: Session, feed_name: str) -> None:
    """Delete a feed's ledger rows and rejected rows."""
    for table in (LEDGER_TABLE, REJECTED_ROWS_TABLE):
        session.run(f"DELETE FROM {table} WHERE feed = %s", [feed_name])


def forget_files(session: Session, feed_name: str, names: Sequence[str]) -> None:
    """Delete the ledger rows of files."""
    if names:
        query = f"DELETE FROM {LEDGER_TABLE} WHERE feed = %s AND source_file = ANY(%s)"
        session.run(query, [feed_name, list(names)])


def mark_superseded(session: Session, feed_name: str, by: Mapping[str, str]) -> None:
    """Record that files have no rows any more, because others of a higher version are loaded."""
    for name, winner in sorted(by.items()):
        session.run(
            f"UPDATE {LEDGER_TABLE} SET status = %s, error = %s, broken_rules = '{{}}', "
            "row_count = 0, rejected_count = 0, file_row_count = NULL, loaded_at = NULL "
            "WHERE feed = %s AND source_file = %s",
            [LoadStatus.SUPERSEDED, f"superseded by {winner}", feed_name, name],
        )


def record_versions(
    session: Session, rows: Sequence[LedgerRow], files: Sequence[LandedFile]
) -> None:
    """Record new versions of files whose content is unchanged; rows that changed are left alone."""
    told = [
        {
            "source_file": row.source_file,
            "content_hash": row.content_hash,
            "version": row.version,
            "new_version": file.version,
            "landed_ns": file.landed_ns,
        }
        for row, file in zip(rows, files, strict=True)
    ]
    session.run(
        f"UPDATE {LEDGER_TABLE} AS known "
        "SET version = told.new_version, landed_ns = told.landed_ns "
        "FROM json_to_recordset(%s::json) AS told(source_file text, content_hash text, "
        "version text, new_version text, landed_ns bigint) "
        "WHERE known.feed = %s AND known.source_file = told.source_file "
        "AND known.content_hash = told.content_hash AND known.version = told.version",
        [json.dumps(told, ensure_ascii=False), rows[0].feed],
    )


def insert_rejected_rows(
    session: Session, feed_name: str, file: LandedFile, rows: Sequence[RejectedRow]
) -> None:
    """Insert rejected rows of a file; inside the transaction that loads it.

    No text of PostgreSQL has a NUL character: in a rejected line, its symbol stands for it.
    """
    if not rows:
        return
    same = {"feed": feed_name, "partition_key": file.partition_key, "source_file": file.name}
    told = [
        {**same, **row._asdict(), "raw_line": row.raw_line.replace("\0", _NUL_SHOWN)}
        for row in rows
    ]
    names = ", ".join(REJECTED_COLUMNS)
    session.run(
        f"INSERT INTO {REJECTED_ROWS_TABLE} ({names}) SELECT {names} "
        f"FROM json_populate_recordset(NULL::{REJECTED_ROWS_TABLE}, %s::json)",
        [json.dumps(told, ensure_ascii=False)],
    )
