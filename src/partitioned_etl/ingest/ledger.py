"""Ledger: table `file_loads`, what is loaded now, one row per feed and partition key.

It is the only proof of a load, and is written in the load's own transaction. Takes and returns
`LedgerRow`; next: `reconcile.py` compares them with the landed files. Feeds' rows do not belong
here.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

import duckdb

from partitioned_etl.ingest.collection import no_garbage_collection
from partitioned_etl.ingest.database import has_table
from partitioned_etl.ingest.errors import LedgerConflictError
from partitioned_etl.ingest.feed import LEDGER_TABLE, Feed
from partitioned_etl.ingest.landing import LandedFile, Signature


class LoadStatus(StrEnum):
    """What happened to the file that was last processed."""

    LOADED = "loaded"
    REJECTED = "rejected"


class LedgerRow(NamedTuple):
    """What the ledger records for one partition.

    Attributes:
        feed: Name of the feed.
        partition_key: The partition.
        source_file: Name of the file that was last validated.
        size_bytes: Its size; with the next three, its signature.
        mtime_ns: Its time of last write.
        ctime_ns: Its time of last change.
        inode: Its number in the file system.
        sha256: Its content hash, hexadecimal; empty if it could not be read.
        row_count: Rows that the table holds for the partition. A refused file does not change it.
        rejected_count: Rows of the loaded file that went to table `rejected_rows` instead.
        file_row_count: Rows that were counted in the loaded file: the sum of the two. None if the
            partition was loaded before the ledger had this column, or never.
        status: Whether the file that was last validated was loaded or refused.
        error: Why it was refused.
        broken_rules: The row rules for which it was refused, and `contract` for anything else.
        contract: Fingerprint of the contract that it was validated against.
        loaded_at: When the rows in the table were loaded, UTC; later than every earlier load of the
            feed. None if there never were any.
        run_id: The Dagster run that validated the file, or empty.
    """

    feed: str
    partition_key: str
    source_file: str
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str = ""
    row_count: int = 0
    rejected_count: int = 0
    file_row_count: int | None = None
    status: LoadStatus = LoadStatus.LOADED
    error: str | None = None
    broken_rules: tuple[str, ...] = ()
    contract: str = ""
    loaded_at: datetime | None = None
    run_id: str = ""

    @property
    def signature(self) -> Signature:
        """The signature of the file that was last validated."""
        return Signature(self.size_bytes, self.mtime_ns, self.ctime_ns, self.inode)

    def is_about(self, file: LandedFile) -> bool:
        """Return whether a landed file is exactly the one that was last validated."""
        signature = (self.size_bytes, self.mtime_ns, self.ctime_ns, self.inode)
        return self.source_file == file.name and signature == file.signature

    @property
    def adds_up(self) -> bool:
        """Whether loaded and rejected rows add up to the rows of the file that was loaded."""
        total = self.row_count + self.rejected_count
        return self.file_row_count is None or self.file_row_count == total


_COLUMNS = {
    "feed": "VARCHAR",
    "partition_key": "VARCHAR",
    "source_file": "VARCHAR",
    "size_bytes": "BIGINT",
    "mtime_ns": "BIGINT",
    "ctime_ns": "BIGINT",
    "inode": "UBIGINT",
    "sha256": "VARCHAR",
    "row_count": "BIGINT",
    "rejected_count": "BIGINT",
    "file_row_count": "BIGINT",
    "status": "VARCHAR",
    "error": "VARCHAR",
    "broken_rules": "VARCHAR[]",
    "contract": "VARCHAR",
    "loaded_at": "TIMESTAMPTZ",
    "run_id": "VARCHAR",
}
assert tuple(_COLUMNS) == LedgerRow._fields
_ADDED_COLUMNS = {"file_row_count": "NULL", "broken_rules": "NULL", "contract": "''"}
"""Columns that an earlier version's ledger lacks, and what is read instead."""
_EXPRESSIONS = {
    "broken_rules": "nullif(broken_rules, [])",
    "contract": "coalesce(contract, '')",
    # A time without zone avoids a zone lookup per row.
    "loaded_at": "make_timestamp(epoch_us(loaded_at))",
}
"""SQL for the columns that are not read unchanged."""
_NO_FILES: Mapping[str, LandedFile] = {}
_ROWS_PER_FETCH = 1_000
"""How many rows are held twice at a time, as read and as `LedgerRow`."""


def ensure_ledger(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the ledger's table if it does not exist, and add any columns it lacks."""
    columns = ", ".join(f"{name} {type_name}" for name, type_name in _COLUMNS.items())
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {LEDGER_TABLE} ({columns}, PRIMARY KEY (feed, partition_key))"
    )
    for name in _ADDED_COLUMNS.keys() - _columns_there(connection):
        connection.execute(
            f"ALTER TABLE {LEDGER_TABLE} ADD COLUMN IF NOT EXISTS {name} {_COLUMNS[name]}"
        )


def _columns_there(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = ? "
        "AND database_name = current_database() AND schema_name = current_schema()",
        [LEDGER_TABLE],
    ).fetchall()
    return {name for (name,) in rows}


@no_garbage_collection()
def read_ledger(
    connection: duckdb.DuckDBPyConnection, feed: Feed, landed: Mapping[str, LandedFile] = _NO_FILES
) -> dict[str, LedgerRow]:
    """Read the ledger rows of one feed.

    Args:
        connection: A connection.
        feed: The feed.
        landed: Landed file per partition key; values shared by a row and its file are kept in
            memory once.

    Returns:
        Ledger row per partition key, in the order of the keys.
    """
    if not has_table(connection, LEDGER_TABLE):
        return {}
    missing = _ADDED_COLUMNS.keys() - _columns_there(connection)
    expressions = [
        _ADDED_COLUMNS[name] if name in missing else _EXPRESSIONS.get(name, name)
        for name in _COLUMNS
    ]
    found = connection.execute(
        f"SELECT {', '.join(expressions)} FROM {LEDGER_TABLE} WHERE feed = ?",
        [feed.name],
    )
    read: list[LedgerRow] = []
    # Values shared by many rows are kept in memory once.
    texts: dict[str, str] = {}
    times: dict[datetime, datetime] = {}
    share = texts.setdefault
    while rows := found.fetchmany(_ROWS_PER_FETCH):
        for _, key, name, *rest, status, error, rules, contract, loaded_at, run_id in rows:
            identity = (key, name, *rest[:4])
            file = landed.get(key)
            if file and file.name == name and file.signature == identity[2:]:
                identity = (file.partition_key, file.name, *file.signature)
            if loaded_at and loaded_at not in times:
                times[loaded_at] = loaded_at.replace(tzinfo=UTC)
            shared = (share(contract, contract), times.get(loaded_at), share(run_id, run_id))
            judged = (share(status, status), error, tuple(rules or ()))
            read.append(LedgerRow._make((feed.name, *identity, *rest[4:], *judged, *shared)))
    # Sorted here, because DuckDB would hold all of them a second time to sort them.
    read.sort(key=attrgetter("partition_key"))
    return {row.partition_key: row for row in read}


def forget_partitions(
    connection: duckdb.DuckDBPyConnection, feed: Feed, keys: Sequence[str]
) -> None:
    """Delete the ledger rows of partitions."""
    connection.execute(
        f"DELETE FROM {LEDGER_TABLE} WHERE feed = ? "
        "AND partition_key IN (SELECT unnest(CAST(? AS VARCHAR[])))",
        [feed.name, list(keys)],
    )


def find_latest_load(connection: duckdb.DuckDBPyConnection, feed: Feed) -> datetime | None:
    """Return when any partition of a feed was last loaded; None if none is."""
    found = connection.execute(
        f"SELECT max(loaded_at) FROM {LEDGER_TABLE} WHERE feed = ?", [feed.name]
    ).fetchone()
    return found[0].astimezone(UTC) if found and found[0] else None


def find_same_content(
    connection: duckdb.DuckDBPyConnection, feed: Feed, hashes: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Find a feed's loaded files that have one of these content hashes.

    Returns:
        File name per partition key, per content hash.
    """
    rows = connection.execute(
        f"SELECT sha256, partition_key, source_file FROM {LEDGER_TABLE} WHERE feed = ? "
        "AND status = ? AND row_count > 0 AND sha256 IN (SELECT unnest(CAST(? AS VARCHAR[]))) "
        "ORDER BY partition_key",
        [feed.name, LoadStatus.LOADED, list(hashes)],
    ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for content_hash, key, name in rows:
        found.setdefault(content_hash, {})[key] = name
    return found


def forget_feed(connection: duckdb.DuckDBPyConnection, feed: Feed) -> None:
    """Delete a feed's ledger rows, because its table is new and every file must be loaded again."""
    connection.execute(f"DELETE FROM {LEDGER_TABLE} WHERE feed = ?", [feed.name])


def upsert_ledger(connection: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow]) -> None:
    """Write ledger rows, replacing those of the same feed and partition key.

    Two transactions that write the same new key conflict on the primary key, so only one commits.

    Args:
        connection: A connection, inside a transaction.
        rows: The rows to write.

    Raises:
        LedgerConflictError: Another transaction wrote one of them first.
    """
    if not rows:
        return
    unnested = ", ".join(f"unnest(CAST(? AS {type_name}[]))" for type_name in _COLUMNS.values())
    columns = [[getattr(row, name) for row in rows] for name in _COLUMNS]
    try:
        connection.execute(
            f"INSERT OR REPLACE INTO {LEDGER_TABLE} ({', '.join(_COLUMNS)}) SELECT {unnested}",
            columns,
        )
    except duckdb.ConstraintException:
        raise LedgerConflictError("another load wrote its ledger row first") from None


def record_signatures(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow], files: Sequence[LandedFile]
) -> None:
    """Record new signatures of files whose content is unchanged from the ledger's.

    A row that another load has changed since it was read is left alone.

    Args:
        connection: A connection, outside a transaction.
        rows: The ledger rows of these partitions, as read.
        files: The landed files, in the same order.
    """
    if not rows:
        return
    connection.executemany(
        f"UPDATE {LEDGER_TABLE} SET source_file = ?, size_bytes = ?, mtime_ns = ?, ctime_ns = ?, "
        "inode = ? WHERE feed = ? AND partition_key = ? AND sha256 = ? AND mtime_ns = ? "
        "AND ctime_ns = ? AND inode = ?",
        [
            (
                file.name,
                *file.signature,
                row.feed,
                row.partition_key,
                row.sha256,
                row.mtime_ns,
                row.ctime_ns,
                row.inode,
            )
            for row, file in zip(rows, files, strict=True)
        ],
    )
