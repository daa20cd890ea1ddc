"""The warehouse: a partition is replaced all or nothing, and one bad file stops no other."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest.workbench import (
    NOTES,
    PRICES,
    FakeClock,
    Workbench,
    at_moment,
    land_numbers,
    loaded_numbers,
)
from partitioned_etl.ingest import database, failpoints, loading, warehouse
from partitioned_etl.ingest.contract import Survey
from partitioned_etl.ingest.errors import LedgerConflictError, WarehouseError
from partitioned_etl.ingest.feed import Feed, RowRule
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.ledger import LoadStatus, read_ledger
from partitioned_etl.ingest.outcomes import OutcomeStatus
from partitioned_etl.ingest.warehouse import replace_partitions

HEADER = "id,note\n"


@pytest.mark.parametrize("statement_bytes", [1, 60, 1 << 20])
def test_every_row_of_a_batch_is_loaded_exactly_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, statement_bytes: int
) -> None:
    monkeypatch.setattr(loading, "_STATEMENT_BYTES", statement_bytes)
    wanted = {f"k{count}": list(range(count)) for count in range(12)}
    for key, of_key in wanted.items():
        land_numbers(bench, key, *of_key)
    outcomes = bench.load(NOTES)
    assert loaded_numbers(bench) == {key: of_key for key, of_key in wanted.items() if of_key}
    assert {key: outcome.row_count for key, outcome in outcomes.items()} == {
        key: len(of_key) for key, of_key in wanted.items()
    }
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.LOADED}
    bench.assert_level(NOTES)


def test_reloading_a_partition_keeps_one_copy(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    land_numbers(bench, "b", 3)
    for _ in range(3):
        bench.load(NOTES)
    assert loaded_numbers(bench) == {"a": [1, 2], "b": [3]}
    bench.assert_level(NOTES)


def test_rows_of_one_file_that_are_alike_are_all_kept(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 1, 1)
    bench.load(NOTES)
    assert loaded_numbers(bench) == {"a": [1, 1, 1]}


def test_a_partition_is_replaced_by_its_key_and_not_by_a_date_in_its_rows(
    bench: Workbench,
) -> None:
    bench.land(PRICES, "2018-01-22.csv", "day,price\n2017-05-05,1\n2018-01-23,2\n")
    bench.land(PRICES, "2018-01-23.csv", "day,price\n2018-01-23,3\n")
    bench.load(PRICES)
    bench.land(PRICES, "2018-01-22.csv", "day,price\n2018-01-23,4\n")
    bench.load(PRICES)
    day = date(2018, 1, 23)
    assert bench.rows(PRICES) == [
        (day, 3.0, "2018-01-23", "2018-01-23.csv"),
        (day, 4.0, "2018-01-22", "2018-01-22.csv"),
    ]


def test_a_corrected_file_replaces_only_its_partition(bench: Workbench) -> None:
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1, 2, 3)
    bench.load(NOTES)
    before = bench.ledger(NOTES)

    land_numbers(bench, "b", 7)
    bench.load(NOTES, [file for file in bench.list_files(NOTES) if file.partition_key == "b"])

    assert loaded_numbers(bench) == {"a": [1, 2, 3], "b": [7], "c": [1, 2, 3]}
    after = bench.ledger(NOTES)
    assert (after["a"], after["c"]) == (before["a"], before["c"])
    assert after["b"].row_count == 1
    assert after["b"].sha256 != before["b"].sha256


def test_feeds_do_not_touch_each_others_partitions(bench: Workbench) -> None:
    other = replace(NOTES, name="other", folder="other", table="raw_other")
    land_numbers(bench, "a", 1)
    bench.land(other, "a.csv", HEADER + "2,y\n")
    bench.load(NOTES)
    bench.load(other)
    bench.land(other, "a.csv", HEADER + "3,z\n")
    bench.load(other)
    assert bench.rows(NOTES) == [(1, "x", "a", "a.csv")]
    assert bench.rows(other) == [(3, "z", "a", "a.csv")]
    assert list(bench.ledger(NOTES)) == list(bench.ledger(other)) == ["a"]


def test_bad_files_do_not_keep_the_others_of_a_batch_from_loading(bench: Workbench) -> None:
    for key in "abcdef":
        land_numbers(bench, key, 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 2)
    bench.land(NOTES, "b.csv", HEADER + "2\n")
    land_numbers(bench, "c", 2, 2)
    bench.land(NOTES, "d.csv", HEADER + "2,x\n1.5,x\n")
    bench.land(NOTES, "e.csv", "")
    land_numbers(bench, "f", 2, 2, 2)

    outcomes = bench.load(NOTES)

    assert loaded_numbers(bench) == {
        "a": [2],
        "b": [1],
        "c": [2, 2],
        "d": [1],
        "e": [1],
        "f": [2, 2, 2],
    }
    assert {key: outcome.reason for key, outcome in outcomes.items()} == {
        "a": "",
        "b": "b.csv: line 2: 1 fields instead of 2",
        "c": "",
        "d": "d.csv: line 3, column id: not a BIGINT",
        "e": "e.csv: the file is empty",
        "f": "",
    }
    bench.assert_level(NOTES)


def test_a_refused_file_leaves_the_proof_of_the_rows_that_are_there(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.load(NOTES)
    before = bench.ledger(NOTES)["a"]
    bench.land(NOTES, "a.csv", HEADER + "x,y\n")
    bench.load(NOTES)
    row = bench.ledger(NOTES)["a"]
    assert (row.status, row.row_count, row.loaded_at) == (
        LoadStatus.REJECTED,
        2,
        before.loaded_at,
    )
    assert row.sha256 != before.sha256
    assert row.signature == bench.list_files(NOTES)[0].signature


def test_a_refused_file_that_is_fixed_loads(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", HEADER + "x,y\n")
    bench.load(NOTES)
    assert bench.rows(NOTES) == []
    assert bench.ledger(NOTES)["a"].loaded_at is None
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    assert loaded_numbers(bench) == {"a": [1]}
    row = bench.ledger(NOTES)["a"]
    assert (row.status, row.error, row.row_count) == (LoadStatus.LOADED, None, 1)
    assert row.loaded_at is not None


def test_the_ledger_says_what_was_loaded_and_by_which_run(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.land(NOTES, "b.csv", "")
    files = bench.list_files(NOTES)
    with bench.connect() as connection:
        outcomes = replace_partitions(connection, NOTES, files, run_id="run 7")
        ledger = read_ledger(connection, NOTES)
    assert [outcome.file for outcome in outcomes] == files
    for file, outcome in zip(files, outcomes, strict=True):
        row = ledger[file.partition_key]
        assert row.signature == file.signature
        assert row.source_file == file.name
        assert row.run_id == "run 7"
        assert outcome.survey is not None
        assert row.sha256 == outcome.survey.sha256
    assert [row.row_count for row in ledger.values()] == [2, 0]


def test_outcomes_come_in_the_order_of_the_files(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    bench.land(NOTES, "b.csv", "")
    land_numbers(bench, "c", 1)
    files = bench.list_files(NOTES)[::-1]
    with bench.connect() as connection:
        outcomes = replace_partitions(connection, NOTES, files)
    assert [outcome.file for outcome in outcomes] == files


def test_loading_no_file_makes_the_tables_and_nothing_else(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    assert bench.load(NOTES, []) == {}
    assert bench.tables() == ["file_loads", "raw_notes", "rejected_rows"]
    assert bench.rows(NOTES) == []


@pytest.mark.parametrize(
    "columns",
    [
        "id BIGINT, note VARCHAR, partition_key VARCHAR",
        "id BIGINT, note VARCHAR, partition_key VARCHAR, source_file VARCHAR, extra INT",
        "id INTEGER, note VARCHAR, partition_key VARCHAR, source_file VARCHAR",
        "note VARCHAR, id BIGINT, partition_key VARCHAR, source_file VARCHAR",
        "number BIGINT, note VARCHAR, partition_key VARCHAR, source_file VARCHAR",
    ],
    ids=["missing", "extra", "type", "order", "name"],
)
def test_a_table_with_other_columns_is_left_alone(bench: Workbench, columns: str) -> None:
    land_numbers(bench, "a", 1)
    with duckdb.connect(str(bench.database)) as connection:
        connection.execute(f"CREATE TABLE raw_notes ({columns})")
        connection.execute("INSERT INTO raw_notes (partition_key) VALUES ('a')")
        described = connection.execute("DESCRIBE raw_notes").fetchall()
    before = bench.rows(NOTES)
    with pytest.raises(WarehouseError, match="table raw_notes has other columns than the feed"):
        bench.load(NOTES)
    assert bench.rows(NOTES) == before
    assert bench.query("DESCRIBE raw_notes") == described
    assert bench.ledger(NOTES) == {}


def test_the_columns_that_differ_are_named(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    changed = replace(NOTES, columns={"id": "BIGINT", "note": "DATE"})
    bench.land(changed, "a.csv", HEADER + "1,2024-01-02\n")
    with pytest.raises(WarehouseError, match=r"than the feed: note; rename or drop the table"):
        bench.load(changed)
    assert loaded_numbers(bench) == {"a": [1]}


@pytest.mark.parametrize("moment", failpoints.ALL[:-1])
def test_an_error_that_lies_in_no_file_changes_nothing(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    before = bench.ledger(NOTES)
    land_numbers(bench, "a", 2)
    land_numbers(bench, "b", 2)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    at_moment(monkeypatch, moment, fail)
    with bench.connect() as connection:
        with pytest.raises(OSError, match="No space left"):
            replace_partitions(connection, NOTES, bench.list_files(NOTES))
        assert read_ledger(connection, NOTES) == before
        replace_partitions(connection, NOTES, bench.list_files(NOTES)[1:])
    assert loaded_numbers(bench) == {"a": [1], "b": [2]}


def test_a_file_is_refused_if_duckdb_reads_another_number_of_rows_than_were_counted(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 2, 3)

    def miscount(feed: Feed, file: LandedFile, *others: Any) -> Survey:
        return replace(original(feed, file, *others), row_count=3)

    original = warehouse.survey_file
    monkeypatch.setattr(warehouse, "survey_file", miscount)
    outcome = bench.load(NOTES)["a"]
    assert outcome.status == OutcomeStatus.REJECTED
    assert "cannot be counted" in outcome.reason
    assert loaded_numbers(bench) == {"a": [1]}
    bench.assert_level(NOTES)


def collide(monkeypatch: pytest.MonkeyPatch, error: type[Exception], times: int) -> None:
    """Let the first so many transactions collide with another load."""

    def fail() -> None:
        raise error("Conflict on tuple deletion!")

    at_moment(monkeypatch, failpoints.AFTER_DELETE, fail, times)
    monkeypatch.setattr(database, "time", FakeClock())


@pytest.mark.parametrize("error", [duckdb.TransactionException, LedgerConflictError])
def test_a_load_that_collides_with_another_one_is_tried_again(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    land_numbers(bench, "a", 1)
    collide(monkeypatch, error, times=4)
    bench.load(NOTES)
    assert loaded_numbers(bench) == {"a": [1]}


def test_a_load_that_always_collides_gives_up(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    collide(monkeypatch, duckdb.TransactionException, times=1_000)
    with pytest.raises(WarehouseError, match="Conflict on tuple deletion"):
        bench.load(NOTES)
    assert bench.rows(NOTES) == []
    assert bench.ledger(NOTES) == {}


def rewrite(path: Path) -> None:
    path.write_bytes(b"id,note\n7,changed\n8,changed\n9,changed\n")


def append(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b"9,appended\n")


def swap(path: Path) -> None:
    other = path.with_name(".other")
    rewrite(other)
    other.replace(path)


def link(path: Path) -> None:
    path.rename(path.with_name(".other"))
    path.symlink_to(path.with_name(".other"))


CHANGES = [rewrite, append, swap, link, Path.unlink]


WHILE_READ = [failpoints.AFTER_BEGIN, failpoints.AFTER_DELETE, failpoints.MID_INSERT]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("moment", ["before the survey", *WHILE_READ])
def test_a_file_that_changes_while_it_is_read_is_not_committed(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    change: Callable[[Path], object],
) -> None:
    for key in "abc":
        land_numbers(bench, key, 1)
    bench.load(NOTES)
    before = bench.ledger(NOTES)
    path = land_numbers(bench, "a", 2)
    land_numbers(bench, "b", 2)
    bench.land(NOTES, "c.csv", HEADER + "1.5,x\n")
    files = bench.list_files(NOTES)

    if moment in failpoints.ALL:
        at_moment(monkeypatch, moment, lambda: change(path))
    else:
        change(path)
    outcomes = bench.load(NOTES, files)

    assert loaded_numbers(bench) == {"a": [1], "b": [2], "c": [1]}
    assert {key: outcome.status for key, outcome in outcomes.items()} == {
        "a": OutcomeStatus.CHANGED,
        "b": OutcomeStatus.LOADED,
        "c": OutcomeStatus.REJECTED,
    }
    assert outcomes["a"].reason.startswith("a.csv: ")
    assert bench.ledger(NOTES)["a"] == before["a"]
    bench.assert_level(NOTES)


@pytest.mark.parametrize("moment", [*WHILE_READ, failpoints.BEFORE_COMMIT, failpoints.AFTER_COMMIT])
@pytest.mark.parametrize("change", [rewrite, append, swap])
def test_a_file_that_changed_during_its_load_is_loaded_by_the_next_sync(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    change: Callable[[Path], object],
) -> None:
    path = land_numbers(bench, "a", 1)
    at_moment(monkeypatch, moment, lambda: change(path))
    was_read = moment not in WHILE_READ
    assert (bench.load(NOTES)["a"].status == OutcomeStatus.LOADED) is was_read
    assert loaded_numbers(bench) == ({"a": [1]} if was_read else {})
    bench.assert_level(NOTES)

    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [1, 9] if change is append else [7, 8, 9]}
    bench.assert_level(NOTES)


def test_files_that_only_together_break_a_constraint_do_not_stop_the_others(
    bench: Workbench,
) -> None:
    land_numbers(bench, "z", 100)
    bench.load(NOTES)
    with bench.connect() as connection:
        connection.execute("CREATE UNIQUE INDEX one_of_each ON raw_notes(id)")
    for key, number in {"a": 1, "b": 1, "c": 3, "d": 3}.items():
        land_numbers(bench, key, number)
    outcomes = bench.load(NOTES)
    assert loaded_numbers(bench) == {"a": [1], "c": [3], "z": [100]}
    for key in ("b", "d"):
        assert "the table does not take its rows (ConstraintException)" in outcomes[key].reason


def test_a_table_of_the_same_name_in_another_schema_is_not_the_feeds(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    with bench.connect() as connection:
        connection.execute("CREATE SCHEMA staging")
        connection.execute("CREATE TABLE staging.raw_notes (id INT)")
        connection.execute("CREATE TABLE staging.file_loads (contract INT)")
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [1]}
    with bench.connect() as connection:
        connection.execute("DROP TABLE raw_notes")
    assert len(bench.sync(NOTES).loaded) == 1
    assert loaded_numbers(bench) == {"a": [1]}


def test_a_row_rule_may_look_at_the_name_of_the_file(bench: Workbench) -> None:
    rule = RowRule(
        name="id_is_in_the_name",
        column="id",
        expression="contains(source_file, CAST(id AS VARCHAR))",
        reason="not the number in the name",
    )
    feed = replace(NOTES, row_rules=(rule,), bad_rows="quarantine", max_rejected_percent=50)
    for key, numbers in {"f1": (1,), "f2": (2, 3)}.items():
        land_numbers(bench, key, *numbers)
    bench.load(feed)
    assert loaded_numbers(bench) == {"f1": [1], "f2": [2]}
    assert bench.query("SELECT line, reason FROM rejected_rows") == [
        (3, "not the number in the name (id_is_in_the_name)")
    ]


@pytest.mark.parametrize("content", ["id,note\n2,x\n", "id,note\nbad,x\n"])
def test_a_load_that_meets_an_open_one_of_the_same_partition_says_so(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 1, 1)
    files = bench.list_files(NOTES)
    monkeypatch.setattr(database, "time", FakeClock())
    seen: list[str] = []

    def load_newer() -> None:
        bench.land(NOTES, "a.csv", content)
        with pytest.raises(WarehouseError) as error:
            bench.load(NOTES)
        seen.append(str(error.value))

    at_moment(monkeypatch, failpoints.BEFORE_COMMIT, load_newer)
    bench.load(NOTES, files)
    assert "another load is changing the same partitions" in seen[0]
    assert loaded_numbers(bench) == {"a": [1, 1]}
