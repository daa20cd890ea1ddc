"""The ledger: what is written of a file is read again, and one row a file is kept."""

import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.landing.local import LocalFolder
from partitioned_etl.engine.plan import Action, Plan, make_plan
from partitioned_etl.engine.sql import LEDGER_TABLE
from partitioned_etl.engine.warehouse.ledger import (
    Ledger,
    LedgerRow,
    LoadStatus,
    ensure_ledger,
    read_ledger,
    record_versions,
    upsert_rows,
)
from support.workbench import (
    NOTES,
    Child,
    Workbench,
    change_feed,
    land_numbers,
)

LOADED = LedgerRow(
    feed="notes",
    source_file="a.csv",
    partition_key="a",
    version="1099511627776-1600000000123456789-1600000001987654321-18446744073709551615",
    size_bytes=2**40,
    landed_ns=1_600_000_001_987_654_321,
    content_hash="ab" * 32,
    row_count=3,
    rejected_count=1,
    file_row_count=4,
    status=LoadStatus.LOADED,
    error=None,
    loaded_at=datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    run_id="run 1",
)
REFUSED = LOADED._replace(
    source_file="b'; DROP TABLE file_loads; --",
    partition_key="b'; DROP TABLE file_loads; --",
    file_row_count=None,
    status=LoadStatus.REFUSED,
    error="b.csv: line 2: 'quoted' \"text\"\nover two lines",
    broken_rules=("contract", "a 'rule'"),
    contract="0123456789abcdef",
    loaded_at=None,
)
TOUCHED = LandedFile("a", "a.csv", "1-2-3-4", 1, 3, LocalFolder(Path("/landing/notes")))


@pytest.fixture
def connection(bench: Workbench) -> Iterator[duckdb.DuckDBPyConnection]:
    with bench.connect() as connection:
        ensure_ledger(connection)
        yield connection


def read(connection: duckdb.DuckDBPyConnection, feed_name: str = "notes") -> list[LedgerRow]:
    return list(read_ledger(connection, feed_name, {}))


def row_of(name: str, **changes: object) -> LedgerRow:
    return LOADED._replace(source_file=f"{name}.csv", partition_key=name)._replace(**changes)


def test_a_row_is_read_as_it_was_written(connection: duckdb.DuckDBPyConnection) -> None:
    upsert_rows(connection, [LOADED, REFUSED])
    ledger = read_ledger(connection, "notes", {})
    assert ledger.rows == {row.source_file: row for row in (LOADED, REFUSED)}
    assert ledger.by_key == {row.partition_key: [row] for row in (LOADED, REFUSED)}


def test_rows_are_read_in_the_order_of_their_keys_and_names(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    names = {"1.csv": "c", "2.csv": "a", "4.csv": "b", "3.csv": "b"}
    rows = [LOADED._replace(source_file=name, partition_key=names[name]) for name in names]
    upsert_rows(connection, rows)
    assert [row.source_file for row in read(connection)] == ["2.csv", "3.csv", "4.csv", "1.csv"]
    assert list(read_ledger(connection, "notes", {}).by_key) == ["a", "b", "c"]


def test_a_row_shares_the_values_of_its_landed_file(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    upsert_rows(connection, [LOADED])
    landed = TOUCHED._replace(version=LOADED.version)
    (row,) = read_ledger(connection, "notes", {landed.name: landed})
    assert row == LOADED
    assert row.source_file is landed.name
    assert row.version is landed.version


def test_a_row_replaces_that_of_its_feed_and_file_only(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    of_other_file = row_of("b")
    of_other_feed = LOADED._replace(feed="prices")
    upsert_rows(connection, [LOADED, of_other_file, of_other_feed])

    corrected = LOADED._replace(row_count=7, error="none", loaded_at=None, partition_key="z")
    upsert_rows(connection, [corrected])

    assert read(connection) == [of_other_file, corrected]
    assert read(connection, "prices") == [of_other_feed]


def test_a_partition_may_have_several_files(connection: duckdb.DuckDBPyConnection) -> None:
    compressed = LOADED._replace(source_file="a.csv.gz", row_count=0, status=LoadStatus.REFUSED)
    upsert_rows(connection, [compressed, LOADED])
    ledger = read_ledger(connection, "notes", {})
    assert ledger.by_key == {"a": [LOADED, compressed]}
    assert ledger.count_rows("a") == 3


def test_a_database_without_ledger_knows_nothing(bench: Workbench) -> None:
    with bench.open_table(NOTES) as table:
        assert table.read_ledger() == Ledger()
        assert not table.read_ledger()
    assert bench.tables() == []


def test_making_the_ledger_again_keeps_its_rows(connection: duckdb.DuckDBPyConnection) -> None:
    upsert_rows(connection, [LOADED])
    ensure_ledger(connection)
    assert read(connection) == [LOADED]


def test_writing_no_rows_changes_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    upsert_rows(connection, [LOADED])
    upsert_rows(connection, [])
    assert read(connection) == [LOADED]


def test_a_row_is_part_of_the_transaction_that_wrote_it(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    upsert_rows(connection, [LOADED])
    connection.execute("BEGIN")
    upsert_rows(connection, [REFUSED, LOADED._replace(row_count=9)])
    connection.execute("ROLLBACK")
    assert read(connection) == [LOADED]


def test_of_two_transactions_that_write_the_same_new_file_one_commits(
    connection: duckdb.DuckDBPyConnection, bench: Workbench
) -> None:
    with bench.connect() as other:
        for each in (connection, other):
            each.execute("BEGIN")
        upsert_rows(connection, [LOADED])
        upsert_rows(other, [LOADED._replace(row_count=9)])
        connection.execute("COMMIT")
        with pytest.raises((duckdb.TransactionException, duckdb.ConstraintException)):
            other.execute("COMMIT")
    assert read(connection) == [LOADED]


def test_a_new_version_changes_nothing_else(connection: duckdb.DuckDBPyConnection) -> None:
    of_other_file = row_of("b")
    of_other_feed = LOADED._replace(feed="prices")
    upsert_rows(connection, [LOADED, of_other_file, of_other_feed])
    record_versions(connection, [LOADED], [TOUCHED])
    assert read(connection) == [LOADED._replace(version="1-2-3-4", landed_ns=3), of_other_file]
    assert read(connection, "prices") == [of_other_feed]


@pytest.mark.parametrize("change", [{"content_hash": "cd" * 32}, {"version": "5-6-7-8"}])
def test_a_row_that_another_load_has_changed_keeps_its_version(
    connection: duckdb.DuckDBPyConnection, change: dict[str, object]
) -> None:
    changed = LOADED._replace(**change)
    upsert_rows(connection, [changed])
    record_versions(connection, [LOADED], [TOUCHED])
    assert read(connection) == [changed]


def test_recording_no_version_needs_no_ledger(bench: Workbench) -> None:
    with bench.open_table(NOTES) as table:
        table.record_versions([], [])
    assert bench.tables() == []


def test_the_ledger_has_the_columns_that_are_documented(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    described = connection.execute(f"DESCRIBE {LEDGER_TABLE}").fetchall()
    assert {name: type_name for name, type_name, *_ in described} == {
        "feed": "VARCHAR",
        "source_file": "VARCHAR",
        "partition_key": "VARCHAR",
        "version": "VARCHAR",
        "size_bytes": "BIGINT",
        "landed_ns": "BIGINT",
        "content_hash": "VARCHAR",
        "row_count": "BIGINT",
        "rejected_count": "BIGINT",
        "file_row_count": "BIGINT",
        "status": "VARCHAR",
        "error": "VARCHAR",
        "broken_rules": "VARCHAR[]",
        "contract": "VARCHAR",
        "left_out": "VARCHAR[]",
        "loaded_at": "TIMESTAMP WITH TIME ZONE",
        "run_id": "VARCHAR",
    }
    assert [name for name, _, _, key, *_ in described if key == "PRI"] == ["feed", "source_file"]


def test_the_ledger_is_a_frame_with_a_column_for_each_field(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.land(NOTES, "b.csv", "bad")
    bench.load(NOTES)
    frame = bench.ledger(NOTES).to_frame()
    assert list(frame.columns) == list(LedgerRow._fields)
    assert list(frame["source_file"]) == ["a.csv", "b.csv"]
    assert list(frame["status"]) == ["loaded", "refused"]
    assert list(frame["row_count"]) == [2, 0]
    assert list(frame["error"])[1].startswith("b.csv: line 1: ")
    assert list(Ledger().to_frame().columns) == list(LedgerRow._fields)
    assert len(Ledger().to_frame()) == 0


def test_a_partition_is_a_frame_of_its_rows_and_no_others(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    land_numbers(bench, "b' OR true --", 3)
    bench.load(NOTES)
    with bench.warehouse.open_read_only() as opened:
        table = opened.table(NOTES)
        frame = table.read_partition("a")
        assert list(frame.columns) == ["id", "note", "partition_key", "source_file"]
        assert sorted(frame.itertuples(index=False, name=None)) == [
            (1, "x", "a", "a.csv"),
            (2, "x", "a", "a.csv"),
        ]
        assert list(table.read_partition("b' OR true --")["id"]) == [3]
        assert len(table.read_partition("nobody")) == 0


QUARANTINING = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=50)
BY_MONTH = Feed(
    name="months",
    table="raw_months",
    pattern="{date:%Y-%m}.csv",
    columns=NOTES.columns,
    bad_rows=BadRows.QUARANTINE,
    max_rejected_percent=50,
)
LANDED_BEFORE = {
    "loaded.csv": "id,note\n1,x\n2,y\n",
    "quarantined.csv": "id,note\n3,x\nbad,y\n",
    "refused.csv": "id\n6\n",
    "refused_first.csv": "id,note\nbad,x\nbad,y\n",
}
"""What the ledger of version 0.1 knows of the feed; the rows of `refused.csv` are older ones."""
ROWS_BEFORE = [
    (1, "x", "loaded", "loaded.csv"),
    (2, "y", "loaded", "loaded.csv"),
    (3, "x", "quarantined", "quarantined.csv"),
    (4, "old", "refused", "refused.csv"),
    (5, "old", "refused", "refused.csv"),
]
NO_COLUMN = "refused.csv: line 1: header: column note is missing"
TOO_MANY = (
    "refused_first.csv: 2 of 2 rows are bad; at most 10,000 rows and 50 % may be; "
    "line 2, column id: not a BIGINT; line 3, column id: not a BIGINT"
)


@pytest.fixture
def old(bench: Workbench) -> Workbench:
    """A workbench with a database of version 0.1, and the files that it was loaded from."""
    for name, content in LANDED_BEFORE.items():
        bench.land(NOTES, name, content)
    bench.land(BY_MONTH, "2018-01.csv", "id,note\n7,x\n")
    packed = Path(__file__).parents[1] / "support/ledger_0_1.duckdb.gz"
    bench.database.write_bytes(gzip.decompress(packed.read_bytes()))
    return bench


def plan(bench: Workbench, feed: Feed = QUARANTINING, *, read_only: bool = True) -> Plan:
    scan = bench.landing.scan(feed)
    return make_plan(feed, scan, bench.landing, bench.warehouse, read_only=read_only)


def is_converted(bench: Workbench) -> bool:
    return "version" in {name for name, *_ in bench.query(f"DESCRIBE {LEDGER_TABLE}")}


def tell(bench: Workbench, feed: Feed = QUARANTINING) -> dict[str, tuple[object, ...]]:
    return {
        row.source_file: (
            *(row.partition_key, str(row.status), row.row_count, row.rejected_count),
            *(row.file_row_count, row.error, row.broken_rules),
        )
        for row in bench.ledger(feed)
    }


TOLD_BEFORE = {
    "loaded.csv": ("loaded", "loaded", 2, 0, 2, None, ()),
    "quarantined.csv": ("quarantined", "loaded", 1, 1, 2, None, ()),
    "refused.csv": ("refused", "refused", 2, 0, 2, NO_COLUMN, ("contract",)),
    "refused_first.csv": ("refused_first", "refused", 0, 0, None, TOO_MANY, ("contract",)),
}


def test_a_ledger_of_version_0_1_is_read_as_it_is(old: Workbench) -> None:
    before = old.database.read_bytes()
    assert tell(old) == TOLD_BEFORE
    rows = old.ledger(QUARANTINING).rows
    assert [row.source_file for row in rows.values() if row.loaded_at is None] == [
        "refused_first.csv"
    ]
    assert {row.version.split("-")[0] for row in rows.values()} == {
        str(len(content)) for content in LANDED_BEFORE.values()
    }
    assert old.database.read_bytes() == before
    assert not is_converted(old)


@pytest.mark.parametrize("read_only", [True, False])
def test_what_version_0_1_loaded_is_not_loaded_again(old: Workbench, read_only: bool) -> None:
    planned = plan(old, read_only=read_only)
    steps = {name: planned.steps[name] for name in ("loaded.csv", "quarantined.csv")}
    assert {step.action for step in steps.values()} == {Action.IDENTICAL}
    assert all(step.is_touched for step in steps.values())
    assert is_converted(old) is not read_only
    again = plan(old)
    assert all(again.steps[name].is_touched is read_only for name in steps)
    assert tell(old) == TOLD_BEFORE


@pytest.mark.parametrize("read_only", [True, False])
def test_what_version_0_1_refused_is_validated_once_more(old: Workbench, read_only: bool) -> None:
    names = ("refused.csv", "refused_first.csv")
    planned = plan(old, read_only=read_only)
    assert {planned.steps[name].action for name in names} == {Action.CHANGED}
    before = old.rows(QUARANTINING)
    old.sync(QUARANTINING)
    assert old.rows(QUARANTINING) == before
    assert {plan(old).steps[name].action for name in names} == {Action.REFUSED}


def test_the_first_load_converts_a_ledger_of_version_0_1(old: Workbench) -> None:
    before = {row.source_file: row.loaded_at for row in old.ledger(QUARANTINING)}
    land_numbers(old, "new", 8)
    (file,) = [one for one in old.list_files(QUARANTINING) if one.name == "new.csv"]
    old.load(QUARANTINING, [file])
    assert is_converted(old)
    assert old.rows(QUARANTINING) == [*ROWS_BEFORE, (8, "x", "new", "new.csv")]
    assert old.query("SELECT * EXCLUDE (reason) FROM rejected_rows") == [
        ("notes", "quarantined", "quarantined.csv", 3, "id", "bad,y")
    ]
    assert tell(old) == {**TOLD_BEFORE, "new.csv": ("new", "loaded", 1, 0, 1, None, ())}
    after = {row.source_file: row.loaded_at for row in old.ledger(QUARANTINING)}
    assert {name: after[name] for name in before} == before
    assert after["new.csv"] == max(moment for moment in after.values() if moment)
    old.assert_level(QUARANTINING)


def test_a_converted_ledger_is_opened_and_loaded_into_again(old: Workbench) -> None:
    for _ in range(2):
        old.sync(QUARANTINING)
        assert tell(old) == TOLD_BEFORE
        assert old.rows(QUARANTINING) == ROWS_BEFORE
    old.land(NOTES, "refused.csv", "id,note\n6,x\n")
    assert [record.partition_key for record in old.sync(QUARANTINING).loaded] == ["refused"]
    assert [row[0] for row in old.rows(QUARANTINING)] == [1, 2, 3, 6]
    assert old.ledger(QUARANTINING).rows["refused.csv"].status == LoadStatus.LOADED
    described = old.query(f"DESCRIBE {LEDGER_TABLE}")
    assert [name for name, _, _, key, *_ in described if key == "PRI"] == ["feed", "source_file"]


def test_a_process_that_is_killed_after_the_conversion_leaves_it_done(
    old: Workbench, start_child: Callable[[str], Child]
) -> None:
    child = start_child("""
with bench.open_table(NOTES) as table:
    table.prepare()
    pause("converted")
""")
    child.wait_for("converted")
    child.kill()
    with old.open_table(QUARANTINING) as table:
        table.prepare()
    assert is_converted(old)
    assert tell(old) == TOLD_BEFORE
    assert old.rows(QUARANTINING) == ROWS_BEFORE


def test_of_two_rows_of_one_file_in_a_ledger_of_version_0_1_the_latest_load_is_kept(
    old: Workbench,
) -> None:
    of_feed = "FROM file_loads WHERE feed = 'months' ORDER BY loaded_at"
    (_, first), (key, latest) = old.query(f"SELECT partition_key, loaded_at {of_feed}")
    assert (key, first < latest) == ("2018-01-01", True)
    (row,) = old.ledger(BY_MONTH)
    assert (row.source_file, row.partition_key, row.loaded_at) == ("2018-01.csv", key, latest)
    planned = plan(old, BY_MONTH, read_only=False)
    assert {name: step.action for name, step in planned.steps.items()} == {
        "2018-01.csv": Action.IDENTICAL
    }
    assert is_converted(old)
    assert old.query(f"SELECT source_file, partition_key {of_feed}") == [("2018-01.csv", key)]
    assert old.sync(BY_MONTH).loaded == []
