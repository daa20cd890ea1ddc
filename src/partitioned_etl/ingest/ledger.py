"""Ledger: table `file_loads`, what is loaded now, one row per feed and partition key.

It is the only proof of a load, and is written in the load's own transaction. Takes and gives
`LedgerRow`; `reconcile.py` compares them with the landed files. Rows of feeds do not belong here.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum

import duckdb

from partitioned_etl.ingest.database import has_table
from partitioned_etl.ingest.feed import LEDGER_TABLE, Feed
from partitioned_etl.ingest.landing import LandedFile, Signature


class LoadStatus(StrEnum):
    """What became of the file that was last looked at."""

    LOADED = "loaded"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """What the ledger says of one partition.

    Attributes:
        feed: Name of the feed.
        partition_key: The partition.
        source_file: Name of the file that was last judged.
        size_bytes: Its size; with the next three, its signature.
        mtime_ns: Its time of last write.
        ctime_ns: Its time of last change.
        inode: Its number in the file system.
        sha256: Its content hash, hexadecimal; empty if it could not be read.
        row_count: Rows that the table holds for the partition. A refused file does not change it.
        rejected_count: Rows of the file that were not loaded.
        status: Whether that file was loaded or refused.
        error: Why it was refused.
        loaded_at: When the rows in the table were loaded, UTC; None if there never were any.
        run_id: The Dagster run that judged the file, or empty.
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
    status: LoadStatus = LoadStatus.LOADED
    error: str | None = None
    loaded_at: datetime | None = None
    run_id: str = ""

    @property
    def signature(self) -> Signature:
        """The signature of the file that was last judged."""
        return Signature(self.size_bytes, self.mtime_ns, self.ctime_ns, self.inode)


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
    "status": "VARCHAR",
    "error": "VARCHAR",
    "loaded_at": "TIMESTAMPTZ",
    "run_id": "VARCHAR",
}
assert list(_COLUMNS) == [field.name for field in fields(LedgerRow)]


def ensure_ledger(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the ledger's table if the database does not have it."""
    columns = ", ".join(f"{name} {type_name}" for name, type_name in _COLUMNS.items())
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {LEDGER_TABLE} ({columns}, PRIMARY KEY (feed, partition_key))"
    )


def read_ledger(connection: duckdb.DuckDBPyConnection, feed: Feed) -> dict[str, LedgerRow]:
    """Read what the ledger says of one feed.

    Returns:
        Ledger row per partition key, in the order of the keys.
    """
    if not has_table(connection, LEDGER_TABLE):
        return {}
    rows = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM {LEDGER_TABLE} WHERE feed = ? ORDER BY partition_key",
        [feed.name],
    ).fetchall()
    ledger = {}
    for row in rows:
        values = dict(zip(_COLUMNS, row, strict=True))
        if values["loaded_at"]:
            values["loaded_at"] = values["loaded_at"].astimezone(UTC)
        ledger[values["partition_key"]] = LedgerRow(**values)
    return ledger


def forget_feed(connection: duckdb.DuckDBPyConnection, feed: Feed) -> None:
    """Delete a feed's ledger rows, because its table is new: every file is to be loaded again."""
    connection.execute(f"DELETE FROM {LEDGER_TABLE} WHERE feed = ?", [feed.name])


def upsert_ledger(connection: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow]) -> None:
    """Write ledger rows, replacing those of the same feed and partition key.

    Two transactions that write the same new key collide on the primary key, so that only one of
    them commits.

    Args:
        connection: A connection, inside a transaction.
        rows: The rows to write.
    """
    if not rows:
        return
    unnested = ", ".join(f"unnest(CAST(? AS {type_name}[]))" for type_name in _COLUMNS.values())
    connection.execute(
        f"INSERT OR REPLACE INTO {LEDGER_TABLE} ({', '.join(_COLUMNS)}) SELECT {unnested}",
        [list(column) for column in zip(*(astuple(row) for row in rows), strict=True)],
    )


def record_signatures(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow], files: Sequence[LandedFile]
) -> None:
    """Record new signatures of files whose content is the one that the ledger knows.

    A row that another load has changed since it was read is left as it is.

    Args:
        connection: A connection, outside a transaction.
        rows: The ledger's rows of these partitions, as they were read.
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
                *astuple(file.signature),
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
