"""The ledger: what is written of a partition is read again, and one row a partition is kept."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from ingest.workbench import NOTES, PRICES, Workbench
from partitioned_etl.ingest.landing import LandedFile, Signature
from partitioned_etl.ingest.ledger import (
    LEDGER_TABLE,
    LedgerRow,
    LoadStatus,
    ensure_ledger,
    read_ledger,
    record_signatures,
    upsert_ledger,
)

LOADED = LedgerRow(
    feed="notes",
    partition_key="a",
    source_file="a.csv",
    size_bytes=2**40,
    mtime_ns=1_600_000_000_123_456_789,
    ctime_ns=1_600_000_001_987_654_321,
    inode=2**64 - 1,
    sha256="ab" * 32,
    row_count=3,
    rejected_count=1,
    status=LoadStatus.LOADED,
    error=None,
    loaded_at=datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    run_id="run 1",
)
REJECTED = LOADED._replace(
    partition_key="b'; DROP TABLE file_loads; --",
    status=LoadStatus.REJECTED,
    error="b.csv: line 2: 'quoted' \"text\"\nover two lines",
    loaded_at=None,
)


@pytest.fixture
def connection(bench: Workbench) -> Iterator[duckdb.DuckDBPyConnection]:
    with bench.connect() as connection:
        ensure_ledger(connection)
        yield connection


def test_a_row_is_read_as_it_was_written(connection: duckdb.DuckDBPyConnection) -> None:
    upsert_ledger(connection, [LOADED, REJECTED])
    ledger = read_ledger(connection, NOTES)
    assert ledger == {row.partition_key: row for row in (LOADED, REJECTED)}
    assert ledger["a"].signature == Signature(
        2**40, 1_600_000_000_123_456_789, 1_600_000_001_987_654_321, 2**64 - 1
    )


def test_rows_are_read_in_the_order_of_their_keys(connection: duckdb.DuckDBPyConnection) -> None:
    upsert_ledger(connection, [LOADED._replace(partition_key=key) for key in ("c", "a", "b")])
    assert list(read_ledger(connection, NOTES)) == ["a", "b", "c"]


def test_a_row_replaces_that_of_its_feed_and_key_only(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    of_other_key = LOADED._replace(partition_key="b")
    of_other_feed = LOADED._replace(feed="prices")
    upsert_ledger(connection, [LOADED, of_other_key, of_other_feed])

    corrected = LOADED._replace(row_count=7, error="none", loaded_at=None)
    upsert_ledger(connection, [corrected])

    assert read_ledger(connection, NOTES) == {"a": corrected, "b": of_other_key}
    assert read_ledger(connection, PRICES) == {"a": of_other_feed}


def test_a_database_without_ledger_knows_nothing(bench: Workbench) -> None:
    with bench.connect() as connection:
        assert read_ledger(connection, NOTES) == {}
    assert bench.tables() == []


def test_making_the_ledger_again_keeps_its_rows(connection: duckdb.DuckDBPyConnection) -> None:
    upsert_ledger(connection, [LOADED])
    ensure_ledger(connection)
    assert read_ledger(connection, NOTES) == {"a": LOADED}


def test_writing_no_rows_changes_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    upsert_ledger(connection, [LOADED])
    upsert_ledger(connection, [])
    assert read_ledger(connection, NOTES) == {"a": LOADED}


def test_a_row_is_part_of_the_transaction_that_wrote_it(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    upsert_ledger(connection, [LOADED])
    connection.execute("BEGIN")
    upsert_ledger(connection, [REJECTED, LOADED._replace(row_count=9)])
    connection.execute("ROLLBACK")
    assert read_ledger(connection, NOTES) == {"a": LOADED}


def test_of_two_transactions_that_write_the_same_new_key_one_commits(
    connection: duckdb.DuckDBPyConnection, bench: Workbench
) -> None:
    with bench.connect() as other:
        for each in (connection, other):
            each.execute("BEGIN")
        upsert_ledger(connection, [LOADED])
        upsert_ledger(other, [LOADED._replace(row_count=9)])
        connection.execute("COMMIT")
        with pytest.raises((duckdb.TransactionException, duckdb.ConstraintException)):
            other.execute("COMMIT")
    assert read_ledger(connection, NOTES) == {"a": LOADED}


TOUCHED = LandedFile("a", Path("/landing/notes"), "touched.csv", Signature(1, 2, 3, 4))


def test_a_new_signature_changes_nothing_else(connection: duckdb.DuckDBPyConnection) -> None:
    of_other_key = LOADED._replace(partition_key="b")
    of_other_feed = LOADED._replace(feed="prices")
    upsert_ledger(connection, [LOADED, of_other_key, of_other_feed])
    record_signatures(connection, [LOADED], [TOUCHED])
    assert read_ledger(connection, NOTES) == {
        "a": LOADED._replace(
            source_file="touched.csv", size_bytes=1, mtime_ns=2, ctime_ns=3, inode=4
        ),
        "b": of_other_key,
    }
    assert read_ledger(connection, PRICES) == {"a": of_other_feed}


@pytest.mark.parametrize(
    "change", [{"sha256": "cd" * 32}, {"mtime_ns": 7}, {"ctime_ns": 7}, {"inode": 7}]
)
def test_a_row_that_another_load_has_changed_keeps_its_signature(
    connection: duckdb.DuckDBPyConnection, change: dict[str, object]
) -> None:
    changed = LOADED._replace(**change)
    upsert_ledger(connection, [changed])
    record_signatures(connection, [LOADED], [TOUCHED])
    assert read_ledger(connection, NOTES) == {"a": changed}


def test_recording_no_signature_needs_no_ledger(bench: Workbench) -> None:
    with bench.connect() as connection:
        record_signatures(connection, [], [])
    assert bench.tables() == []


def test_the_ledger_has_the_columns_that_are_documented(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    described = connection.execute(f"DESCRIBE {LEDGER_TABLE}").fetchall()
    assert {name: type_name for name, type_name, *_ in described} == {
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
        "loaded_at": "TIMESTAMP WITH TIME ZONE",
        "run_id": "VARCHAR",
    }
    assert [name for name, _, _, key, *_ in described if key == "PRI"] == ["feed", "partition_key"]
