"""Load: a partition is replaced all or nothing, and one bad file stops no other."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.format import Survey
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.plan import Action, make_plan
from partitioned_etl.engine.sync import SyncRecord, SyncReport
from partitioned_etl.engine.warehouse.ledger import Ledger, LoadStatus
from support.workbench import (
    NOTES,
    PRICES,
    Workbench,
    at_moment,
    call_large_from,
    change_feed,
    in_background,
    land_numbers,
    loaded_numbers,
)

HEADER = "id,note\n"


@pytest.mark.parametrize("large_bytes", [1, 60, 1 << 20])
def test_every_row_of_a_batch_is_loaded_exactly_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, large_bytes: int
) -> None:
    call_large_from(monkeypatch, large_bytes)
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
    before = bench.ledger(NOTES).rows

    land_numbers(bench, "b", 7)
    bench.load(NOTES, [file for file in bench.list_files(NOTES) if file.partition_key == "b"])

    assert loaded_numbers(bench) == {"a": [1, 2, 3], "b": [7], "c": [1, 2, 3]}
    after = bench.ledger(NOTES).rows
    assert [after[name] for name in ("a.csv", "c.csv")] == [before["a.csv"], before["c.csv"]]
    assert after["b.csv"].row_count == 1
    assert after["b.csv"].content_hash != before["b.csv"].content_hash


def test_feeds_do_not_touch_each_others_partitions(bench: Workbench) -> None:
    other = change_feed(NOTES, name="other", folder="other", table="raw_other")
    land_numbers(bench, "a", 1)
    bench.land(other, "a.csv", HEADER + "2,y\n")
    bench.load(NOTES)
    bench.load(other)
    bench.land(other, "a.csv", HEADER + "3,z\n")
    bench.load(other)
    assert bench.rows(NOTES) == [(1, "x", "a", "a.csv")]
    assert bench.rows(other) == [(3, "z", "a", "a.csv")]
    assert list(bench.ledger(NOTES).rows) == list(bench.ledger(other).rows) == ["a.csv"]


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
    before = bench.ledger(NOTES).rows["a.csv"]
    bench.land(NOTES, "a.csv", HEADER + "x,y\n")
    bench.load(NOTES)
    row = bench.ledger(NOTES).rows["a.csv"]
    assert (row.status, row.row_count, row.loaded_at) == (
        LoadStatus.REFUSED,
        2,
        before.loaded_at,
    )
    assert row.content_hash != before.content_hash
    assert row.version == bench.list_files(NOTES)[0].version


def test_a_refused_file_that_is_fixed_loads(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", HEADER + "x,y\n")
    bench.load(NOTES)
    assert bench.rows(NOTES) == []
    assert bench.ledger(NOTES).rows["a.csv"].loaded_at is None
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    assert loaded_numbers(bench) == {"a": [1]}
    row = bench.ledger(NOTES).rows["a.csv"]
    assert (row.status, row.error, row.row_count) == (LoadStatus.LOADED, None, 1)
    assert row.loaded_at is not None


def test_the_ledger_says_what_was_loaded_and_by_which_run(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.land(NOTES, "b.csv", "")
    files = bench.list_files(NOTES)
    with bench.open_table(NOTES) as table:
        outcomes = load_files(table, bench.landing, files, run_id="run 7")
        ledger = table.read_ledger()
    assert [outcome.file for outcome in outcomes] == files
    for file, outcome in zip(files, outcomes, strict=True):
        row = ledger.rows[file.name]
        assert row.is_about(file)
        assert (row.size_bytes, row.landed_ns) == (file.size_bytes, file.landed_ns)
        assert row.run_id == "run 7"
        assert outcome.survey is not None
        assert row.content_hash == outcome.survey.content_hash
    assert [row.row_count for row in ledger] == [2, 0]


def test_outcomes_come_in_the_order_of_the_files(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    bench.land(NOTES, "b.csv", "")
    land_numbers(bench, "c", 1)
    files = bench.list_files(NOTES)[::-1]
    with bench.open_table(NOTES) as table:
        outcomes = load_files(table, bench.landing, files)
    assert [outcome.file for outcome in outcomes] == files


def test_loading_no_file_makes_the_tables_and_nothing_else(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    assert bench.load(NOTES, []) == {}
    assert bench.tables() == ["file_loads", "load_history", "raw_notes", "rejected_rows"]
    assert bench.rows(NOTES) == []


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ("id BIGINT, note VARCHAR, partition_key VARCHAR", "lacks source_file: rename or drop it"),
        ("id BIGINT, partition_key INT, source_file VARCHAR", "lacks partition_key"),
        (
            "id VARCHAR, note VARCHAR, partition_key VARCHAR, source_file VARCHAR",
            "column id is VARCHAR in the table and BIGINT in the feed",
        ),
    ],
    ids=["missing", "of another type", "type"],
)
def test_a_table_that_cannot_become_the_feeds_is_left_alone(
    bench: Workbench, columns: str, reason: str
) -> None:
    land_numbers(bench, "a", 1)
    with duckdb.connect(str(bench.database)) as connection:
        connection.execute(f"CREATE TABLE raw_notes ({columns})")
        connection.execute("INSERT INTO raw_notes (partition_key) VALUES (7)")
        described = connection.execute("DESCRIBE raw_notes").fetchall()
    before = bench.rows(NOTES)
    with pytest.raises(WarehouseError, match=f"table raw_notes: refused: .*{reason}"):
        bench.load(NOTES)
    assert bench.rows(NOTES) == before
    assert bench.query("DESCRIBE raw_notes") == described
    assert bench.ledger(NOTES) == Ledger()


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
    with bench.open_table(NOTES) as table:
        with pytest.raises(OSError, match="No space left"):
            load_files(table, bench.landing, bench.list_files(NOTES))
        assert table.read_ledger() == before
        load_files(table, bench.landing, bench.list_files(NOTES)[1:])
    assert loaded_numbers(bench) == {"a": [1], "b": [2]}


def test_a_file_is_refused_if_duckdb_reads_another_number_of_rows_than_were_counted(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 2, 3)

    def miscount(csv: CsvFormat, *given: Any, **others: Any) -> Survey:
        return replace(original(csv, *given, **others), row_count=3)

    original = CsvFormat.survey
    monkeypatch.setattr(CsvFormat, "survey", miscount)
    outcome = bench.load(NOTES)["a"]
    assert outcome.status == OutcomeStatus.REFUSED
    assert "cannot be counted" in outcome.reason
    assert loaded_numbers(bench) == {"a": [1]}
    bench.assert_level(NOTES)


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
        "c": OutcomeStatus.REFUSED,
    }
    assert outcomes["a"].reason.startswith("a.csv: ")
    assert bench.ledger(NOTES).rows["a.csv"] == before.rows["a.csv"]
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
    feed = change_feed(NOTES, row_rules=(rule,), bad_rows="quarantine", max_rejected_percent=50)
    for key, numbers in {"f1": (1,), "f2": (2, 3)}.items():
        land_numbers(bench, key, *numbers)
    bench.load(feed)
    assert loaded_numbers(bench) == {"f1": [1], "f2": [2]}
    assert bench.query("SELECT line, reason FROM rejected_rows") == [
        (3, "not the number in the name (id_is_in_the_name)")
    ]


@pytest.mark.parametrize(
    ("content", "numbers"), [("id,note\n2,x\n", [2]), ("id,note\nbad,x\n", [1, 1])]
)
def test_a_load_that_meets_an_open_one_of_the_same_partition_waits_for_it(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, content: str, numbers: list[int]
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 1, 1)
    files = bench.list_files(NOTES)

    def load_newer() -> None:
        bench.land(NOTES, "a.csv", content)
        bench.load(NOTES)

    with in_background(monkeypatch, failpoints.BEFORE_COMMIT, load_newer):
        bench.load(NOTES, files)
    assert loaded_numbers(bench) == {"a": numbers}
    bench.assert_level(NOTES)


BY_MONTH = change_feed(NOTES, pattern="{date:%Y-%m}.csv")
MONTH = "2018-01.csv"


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [(NOTES, BY_MONTH, "2018-01-01"), (BY_MONTH, NOTES, "2018-01")],
    ids=["to a month", "to a name"],
)
def test_a_file_that_is_declared_under_another_key_has_its_rows_once(
    bench: Workbench, before: Feed, after: Feed, key: str
) -> None:
    bench.land(NOTES, MONTH, HEADER + "1,x\n2,x\n")
    bench.land(NOTES, "2018-02.csv", HEADER + "3,x\n")
    bench.sync(before)
    former = bench.ledger(before).rows[MONTH].partition_key
    assert former != key
    report = bench.sync(after)
    assert sorted(record.source_file for record in report.loaded) == [MONTH, "2018-02.csv"]
    other = key.replace("2018-01", "2018-02", 1)
    assert bench.rows(after) == [
        (1, "x", key, MONTH),
        (2, "x", key, MONTH),
        (3, "x", other, "2018-02.csv"),
    ]
    assert {row.source_file: row.partition_key for row in bench.ledger(after)} == {
        MONTH: key,
        "2018-02.csv": other,
    }
    bench.assert_level(after)
    assert bench.sync(after).loaded == []


def test_a_file_under_another_key_takes_its_rejected_rows_along(bench: Workbench) -> None:
    before, after = (
        change_feed(feed, bad_rows="quarantine", max_rejected_percent=50)
        for feed in (NOTES, BY_MONTH)
    )
    bench.land(NOTES, MONTH, HEADER + "1,x\nbad,x\n")
    bench.sync(before)
    bench.sync(after)
    assert bench.query("SELECT partition_key, source_file, line FROM rejected_rows") == [
        ("2018-01-01", MONTH, 3)
    ]


def test_one_file_of_two_under_another_key_is_loaded_alone(bench: Workbench) -> None:
    bench.land(NOTES, MONTH, HEADER + "1,x\n")
    bench.land(NOTES, "2018-02.csv", HEADER + "2,x\n")
    bench.sync(NOTES)
    bench.load(BY_MONTH, [one for one in bench.list_files(BY_MONTH) if one.name == MONTH])
    assert bench.rows(BY_MONTH) == [
        (1, "x", "2018-01-01", MONTH),
        (2, "x", "2018-02", "2018-02.csv"),
    ]
    bench.assert_level(BY_MONTH)


def test_a_file_that_is_refused_under_another_key_keeps_its_rows_and_their_proof(
    bench: Workbench,
) -> None:
    bench.land(NOTES, MONTH, HEADER + "1,x\n")
    bench.sync(NOTES)
    bench.land(NOTES, MONTH, HEADER + "bad,x\n")
    bench.sync(BY_MONTH)
    assert [row[0] for row in bench.rows(BY_MONTH)] == [1]
    assert sum(row.row_count for row in bench.ledger(BY_MONTH)) == 1


def test_a_file_that_is_refused_under_another_key_and_then_mended_has_its_rows_once(
    bench: Workbench,
) -> None:
    bench.land(NOTES, MONTH, HEADER + "1,x\n")
    bench.sync(NOTES)
    for content in ("bad,x\n", "2,x\n"):
        bench.land(NOTES, MONTH, HEADER + content)
        bench.sync(BY_MONTH)
    assert bench.rows(BY_MONTH) == [(2, "x", "2018-01-01", MONTH)]
    bench.assert_level(BY_MONTH)


def compress(bench: Workbench, content: str) -> Path:
    """Land a compressed file in the place of `a.csv`."""
    bench.path(NOTES, "a.csv").unlink()
    return bench.land(NOTES, "a.csv.gz", gzip.compress(content.encode(), mtime=0))


def plan_steps(bench: Workbench) -> dict[str, Action]:
    scan = bench.landing.scan(NOTES)
    plan = make_plan(NOTES, scan, bench.landing, bench.warehouse, read_only=True)
    return {name: step.action for name, step in plan.steps.items()}


@pytest.mark.parametrize("content", [HEADER + "1,x\n", HEADER + "2,x\n3,x\n"])
def test_a_compressed_file_takes_the_place_of_the_plain_one(bench: Workbench, content: str) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    compress(bench, content)
    assert plan_steps(bench) == {"a.csv.gz": Action.CHANGED}
    assert [record.source_file for record in bench.sync(NOTES).loaded] == ["a.csv.gz"]
    numbers = [int(line.split(",")[0]) for line in content.splitlines()[1:]]
    assert bench.rows(NOTES) == [(number, "x", "a", "a.csv.gz") for number in numbers]
    (row,) = bench.ledger(NOTES)
    assert (row.source_file, row.row_count) == ("a.csv.gz", len(numbers))
    assert plan_steps(bench) == {"a.csv.gz": Action.IDENTICAL}
    bench.assert_level(NOTES)


def test_a_compressed_file_that_is_refused_leaves_the_plain_one_and_its_proof(
    bench: Workbench,
) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    proof = bench.ledger(NOTES).rows["a.csv"]
    compress(bench, HEADER + "bad,x\n")
    report = bench.sync(NOTES)
    reason = "a.csv.gz: line 2, column id: not a BIGINT"
    assert report.refused == [SyncRecord("a", "a.csv.gz", 1, reason)]
    assert bench.rows(NOTES) == [(1, "x", "a", "a.csv")]
    ledger = bench.ledger(NOTES)
    assert list(ledger.rows) == ["a.csv", "a.csv.gz"]
    assert ledger.rows["a.csv"] == proof
    refused = ledger.rows["a.csv.gz"]
    assert (refused.status, refused.row_count, refused.loaded_at) == (LoadStatus.REFUSED, 0, None)
    assert plan_steps(bench) == {"a.csv.gz": Action.REFUSED}
    bench.assert_level(NOTES)
    assert bench.sync(NOTES) == SyncReport(refused=[SyncRecord("a", "a.csv.gz", 1, reason)])


def test_a_compressed_file_that_is_refused_and_then_mended_leaves_one_proof(
    bench: Workbench,
) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    compress(bench, "bad")
    bench.sync(NOTES)
    bench.land(NOTES, "a.csv.gz", gzip.compress(b"id,note\n2,x\n"))
    bench.sync(NOTES)
    assert bench.rows(NOTES) == [(2, "x", "a", "a.csv.gz")]
    assert list(bench.ledger(NOTES).rows) == ["a.csv.gz"]
    bench.assert_level(NOTES)


def test_a_plain_file_that_comes_back_for_a_refused_one_is_not_loaded_again(
    bench: Workbench,
) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    path = compress(bench, "bad")
    bench.sync(NOTES)
    path.unlink()
    land_numbers(bench, "a", 1)
    assert bench.sync(NOTES) == SyncReport(unchanged=[SyncRecord("a", "a.csv", 1)])
    assert loaded_numbers(bench) == {"a": [1]}


@pytest.mark.parametrize("on_missing", OnMissing)
def test_a_partition_whose_files_are_all_gone_is_told_and_removed_once(
    bench: Workbench, on_missing: OnMissing
) -> None:
    feed = change_feed(NOTES, on_missing=on_missing)
    land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 2)
    bench.sync(feed)
    path = compress(bench, "bad")
    bench.sync(feed)
    path.unlink()
    report = bench.sync(feed)
    told = report.removed if on_missing is OnMissing.REMOVE else report.unchanged
    assert [one.rows for one in told if one.partition_key == "a"] == [1]
    kept = {} if on_missing is OnMissing.REMOVE else {"a": [1]}
    assert loaded_numbers(bench) == kept | {"b": [2]}


def test_loads_of_two_files_of_one_partition_at_once_leave_the_rows_of_one(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    files = bench.list_files(NOTES)

    def load_compressed() -> None:
        compress(bench, HEADER + "2,x\n")
        bench.load(NOTES)

    with in_background(monkeypatch, failpoints.BEFORE_COMMIT, load_compressed):
        bench.load(NOTES, files)
    assert bench.rows(NOTES) == [(2, "x", "a", "a.csv.gz")]
    bench.assert_level(NOTES)
