"""Sync: after it the table equals the folder, and the report says what became of every file."""

import os
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from partitioned_etl.engine import failpoints, sync
from partitioned_etl.engine import plan as plan_module
from partitioned_etl.engine.errors import LandedFileError, WarehouseLockedError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.landing import landing as landing_module
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.plan import Action, make_plan
from partitioned_etl.engine.sync import SyncRecord, SyncReport, sync_feed
from partitioned_etl.engine.warehouse import duckdb_file
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.workbench import (
    CUSTOMER_DAYS,
    NOTES,
    ORDERS,
    PRICES,
    Child,
    FakeClock,
    Workbench,
    at_moment,
    change_feed,
    land_numbers,
    loaded_numbers,
)

DAY = date(2018, 1, 22)


@pytest.mark.parametrize(
    ("feed", "files", "rows"),
    [
        (
            PRICES,
            {
                "2018-01-22.csv": "day,price\n2018-01-22,1.5\n2018/01/22,33597290\n",
                "2018-01-23.csv": "day,price\n2018-01-22,1.5\n",
            },
            [
                (DAY, 1.5, "2018-01-22", "2018-01-22.csv"),
                (DAY, 1.5, "2018-01-23", "2018-01-23.csv"),
                (DAY, 33597290.0, "2018-01-22", "2018-01-22.csv"),
            ],
        ),
        (
            ORDERS,
            {
                "2018-01.csv": "id,day,status\n1,2018-01-22,new\n2,2018-01-22,\n",
                "2018-02.csv": "id,day,status\n3,2018-02-01,paid\n",
            },
            [
                (1, DAY, "new", "2018-01-01", "2018-01.csv"),
                (2, DAY, None, "2018-01-01", "2018-01.csv"),
                (3, date(2018, 2, 1), "paid", "2018-02-01", "2018-02.csv"),
            ],
        ),
        (
            NOTES,
            {"acme.csv": "id,note\n1,x\n1,x\n", "globex.csv": "id,note\n1,x\n"},
            [
                (1, "x", "acme", "acme.csv"),
                (1, "x", "acme", "acme.csv"),
                (1, "x", "globex", "globex.csv"),
            ],
        ),
    ],
    ids=["daily", "monthly", "dynamic"],
)
def test_every_row_is_loaded_once_with_its_key_and_file(
    bench: Workbench, feed: Feed, files: dict[str, str], rows: list[tuple[Any, ...]]
) -> None:
    for name, content in files.items():
        bench.land(feed, name, content)
    report = bench.sync(feed)
    assert bench.rows(feed) == rows
    assert [record.source_file for record in report.loaded] == list(files)
    assert sum(record.rows for record in report.loaded) == len(rows)
    bench.assert_level(feed)


def test_syncing_twice_loads_nothing(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.land(NOTES, "b.csv", "bad")
    bench.sync(NOTES)
    ledger = bench.ledger(NOTES)

    # Neither is a file read a second time.
    monkeypatch.setattr(CsvFormat, "survey", None)
    monkeypatch.setattr(plan_module, "hash_content", None)
    report = bench.sync(NOTES)

    assert report.loaded == []
    assert report.unchanged == [SyncRecord("a", "a.csv", 2)]
    assert [record.partition_key for record in report.refused] == ["b"]
    assert loaded_numbers(bench) == {"a": [1, 2]}
    assert bench.ledger(NOTES) == ledger


def test_a_corrected_file_replaces_only_its_partition(bench: Workbench) -> None:
    for key in ("a", "b"):
        land_numbers(bench, key, 1, 2)
    bench.sync(NOTES)
    before = bench.ledger(NOTES)

    land_numbers(bench, "a", 3)
    report = bench.sync(NOTES)

    assert loaded_numbers(bench) == {"a": [3], "b": [1, 2]}
    assert report == SyncReport(
        loaded=[SyncRecord("a", "a.csv", 1)], unchanged=[SyncRecord("b", "b.csv", 2)]
    )
    assert bench.ledger(NOTES).rows["b.csv"] == before.rows["b.csv"]
    bench.assert_level(NOTES)


def test_a_corrected_file_with_an_old_time_and_the_same_size_is_seen(bench: Workbench) -> None:
    path = land_numbers(bench, "a", 1)
    os.utime(path, ns=(1, 1))
    bench.sync(NOTES)
    path = land_numbers(bench, "a", 2)
    os.utime(path, ns=(1, 1))
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [2]}


def test_touching_a_file_records_its_version_and_reloads_nothing(bench: Workbench) -> None:
    path = land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    before = bench.ledger(NOTES).rows["a.csv"]

    os.utime(path, ns=(1, 1))
    report = bench.sync(NOTES)

    after = bench.ledger(NOTES).rows["a.csv"]
    assert report == SyncReport(unchanged=[SyncRecord("a", "a.csv", 1)])
    (file,) = bench.list_files(NOTES)
    assert after == before._replace(version=file.version, landed_ns=file.landed_ns)
    assert after.version != before.version
    assert loaded_numbers(bench) == {"a": [1]}


def test_touching_a_refused_file_leaves_it_refused(bench: Workbench) -> None:
    path = bench.land(NOTES, "a.csv", "bad")
    bench.sync(NOTES)
    before = bench.ledger(NOTES).rows["a.csv"]
    os.utime(path, ns=(1, 1))
    report = bench.sync(NOTES)
    (file,) = bench.list_files(NOTES)
    after = bench.ledger(NOTES).rows["a.csv"]
    assert after.status == LoadStatus.REFUSED
    assert after == before._replace(version=file.version, landed_ns=file.landed_ns)
    assert after.version != before.version
    assert report == SyncReport(refused=[SyncRecord("a", "a.csv", 0, before.error or "")])


def test_a_bad_file_among_good_ones_keeps_its_old_rows_until_it_is_fixed(
    bench: Workbench,
) -> None:
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1)
    bench.sync(NOTES)

    for key in ("a", "c"):
        land_numbers(bench, key, 2, 2)
    bench.land(NOTES, "b.csv", "id,note\n2,x\n2.5,x\n")
    report = bench.sync(NOTES)

    reason = "b.csv: line 3, column id: not a BIGINT"
    assert loaded_numbers(bench) == {"a": [2, 2], "b": [1], "c": [2, 2]}
    assert report.refused == [SyncRecord("b", "b.csv", 1, reason)]
    assert [record.partition_key for record in report.loaded] == ["a", "c"]
    row = bench.ledger(NOTES).rows["b.csv"]
    assert (row.status, row.error, row.row_count) == (LoadStatus.REFUSED, reason, 1)
    bench.assert_level(NOTES)

    land_numbers(bench, "b", 3)
    report = bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [2, 2], "b": [3], "c": [2, 2]}
    assert report.loaded == [SyncRecord("b", "b.csv", 1)]
    assert report.refused == []
    bench.assert_level(NOTES)


def test_a_refused_file_whose_old_version_comes_back_is_loaded_again(bench: Workbench) -> None:
    for content in ("id,note\n1,x\n", "bad", "id,note\n1,x\n"):
        bench.land(NOTES, "a.csv", content)
        bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [1]}
    assert bench.ledger(NOTES).rows["a.csv"].status == LoadStatus.LOADED


def test_the_rows_of_a_file_that_is_gone_are_kept(bench: Workbench) -> None:
    path = land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    path.unlink()
    report = bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [1]}
    assert report == SyncReport(
        unchanged=[SyncRecord("a", "a.csv", 1, "the file is gone; rows are kept")]
    )

    land_numbers(bench, "a", 2)
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [2]}


def test_a_file_that_came_back_and_was_loaded_meanwhile_is_not_removed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = change_feed(NOTES, on_missing=OnMissing.REMOVE)
    for key in "abc":
        land_numbers(bench, key, 1)
    bench.sync(feed)
    bench.path(feed, "b.csv").unlink()
    real_open, opened, is_other = DuckDBFile.open, 0, False

    def open_after_another_process(*args: Any, **options: Any) -> Any:
        nonlocal opened, is_other
        if not is_other:
            opened += 1
            if opened == 2:  # the first reads the ledger, the second removes
                is_other = True
                land_numbers(bench, "b", 2)
                bench.load(feed)
                is_other = False
        return real_open(*args, **options)

    monkeypatch.setattr(DuckDBFile, "open", open_after_another_process)
    report = bench.sync(feed)
    assert opened == 2
    assert report.removed == []
    assert loaded_numbers(bench) == {"a": [1], "b": [2], "c": [1]}


def test_colliding_names_change_nothing_until_one_of_them_goes(bench: Workbench) -> None:
    land_numbers(bench, "acme", 1)
    bench.sync(NOTES)
    other = land_numbers(bench, "ACME", 2)
    if len(list(other.parent.iterdir())) == 1:
        pytest.skip("this file system does not tell the names apart")
    land_numbers(bench, "acme", 3)

    report = bench.sync(NOTES)
    assert loaded_numbers(bench) == {"acme": [1]}
    reason = "several files stand for one partition key: ACME.csv, acme.csv"
    assert [(record.source_file, record.reason) for record in report.refused] == [
        ("ACME.csv", f"ACME.csv: {reason}"),
        ("acme.csv", f"acme.csv: {reason}"),
    ]

    other.unlink()
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"acme": [3]}


def test_what_is_passed_over_is_reported_and_not_loaded(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    bench.land(PRICES, "2018-02-30.csv", "day,price\n2018-02-28,1\n")
    bench.land(PRICES, "README.md", "what the files are")
    bench.land(PRICES, ".2018-02-01.csv", "day,price\n2018-02-01,1\n")
    (bench.path(PRICES, "2018-02-02.csv")).mkdir()
    report = bench.sync(PRICES)
    assert report == SyncReport(
        refused=[
            SyncRecord(
                "",
                "2018-02-30.csv",
                0,
                "2018-02-30.csv: the name holds no date of the form %Y-%m-%d",
            )
        ],
        ignored=[
            SyncRecord("", ".2018-02-01.csv", 0, "hidden file"),
            SyncRecord("", "2018-02-02.csv", 0, "folder"),
            SyncRecord(
                "", "README.md", 0, "the name does not match the pattern '{date:%Y-%m-%d}.csv'"
            ),
        ],
    )
    assert PRICES.table not in bench.tables()


def test_a_database_is_made_only_when_there_is_something_to_load(bench: Workbench) -> None:
    with pytest.raises(LandedFileError):
        bench.sync(NOTES)
    bench.path(NOTES, "").mkdir(parents=True)
    assert bench.sync(NOTES) == SyncReport()
    assert not bench.database.exists()


def test_a_file_that_changes_while_it_is_loaded_is_loaded_as_it_is_at_last(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 1)
    at_moment(monkeypatch, failpoints.MID_INSERT, lambda: land_numbers(bench, "a", 2, 3))
    report = bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [2, 3], "b": [1]}
    assert sorted(record.partition_key for record in report.loaded) == ["a", "b"]
    assert report.refused == []
    bench.assert_level(NOTES)


def test_others_use_the_database_while_files_are_surveyed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    bench.close()
    land_numbers(bench, "b", 2)
    seen: list[object] = []

    def look() -> None:
        # DuckDB refuses to open a database read-only that the process has open to write.
        with DuckDBFile(bench.database, 0).open_read_only() as opened:
            seen.append(opened.duck.execute("SELECT id FROM raw_notes").fetchall())

    at_moment(monkeypatch, failpoints.AFTER_SURVEY, look)
    bench.sync(NOTES)
    assert seen == [[(1,)]]
    assert loaded_numbers(bench) == {"a": [1], "b": [2]}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock for everything that waits or asks how old a file is."""
    fake = FakeClock()
    for module in (duckdb_file, landing_module, sync):
        monkeypatch.setattr(module, "time", fake)
    return fake


def sync_settled(bench: Workbench) -> SyncReport:
    return sync_feed(
        NOTES, bench.landing_dir, bench.database, settle_seconds=3, lock_wait_seconds=0
    )


def test_a_file_that_is_still_settling_is_waited_for(bench: Workbench, clock: FakeClock) -> None:
    path = land_numbers(bench, "a", 1)
    clock.now_s = path.stat().st_ctime + 1
    report = sync_settled(bench)
    assert loaded_numbers(bench) == {"a": [1]}
    assert report.loaded == [SyncRecord("a", "a.csv", 1)]
    assert clock.slept_s == pytest.approx(2, abs=0.25)


def test_a_settled_file_does_not_wait_for_one_that_settles(
    bench: Workbench, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 1)
    monkeypatch.setattr(LandedFile, "is_settled", lambda self, *_: self.name != "b.csv")
    clock.pace = 20
    report = sync_settled(bench)
    assert loaded_numbers(bench) == {"a": [1]}
    assert report == SyncReport(
        loaded=[SyncRecord("a", "a.csv", 1)],
        ignored=[SyncRecord("b", "b.csv", 0, "it is still being written")],
    )
    assert 3 < clock.slept_s < 60


def test_a_file_that_is_older_than_the_settle_time_is_loaded_at_once(
    bench: Workbench, clock: FakeClock
) -> None:
    clock.now_s = land_numbers(bench, "a", 1).stat().st_ctime + 4
    sync_settled(bench)
    assert loaded_numbers(bench) == {"a": [1]}
    assert clock.slept_s == 0


def test_a_database_that_another_process_holds_fails_the_sync_and_changes_nothing(
    bench: Workbench, start_child: Callable[[str], Child]
) -> None:
    land_numbers(bench, "a", 1)
    child = start_child("""
with bench.connect():
    pause("locked")
""")
    child.wait_for("locked")
    with pytest.raises(WarehouseLockedError):
        bench.sync(NOTES)
    child.go_on()
    child.finish()
    assert bench.tables() == []
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [1]}


def plan(bench: Workbench, **options: Any) -> dict[str, Action]:
    scan = bench.landing.scan(NOTES)
    planned = make_plan(NOTES, scan, bench.landing, bench.warehouse, **options)
    return {name: step.action for name, step in planned.steps.items()}


def test_planning_makes_no_database(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    assert plan(bench) == {"a.csv": Action.NEW}
    assert not bench.database.exists()


def test_a_plan_compares_folder_and_ledger(bench: Workbench) -> None:
    for key in ("changed", "gone", "same"):
        land_numbers(bench, key, 1)
    bench.land(NOTES, "bad.csv", "bad")
    bench.sync(NOTES)
    land_numbers(bench, "changed", 2)
    land_numbers(bench, "new", 1)
    bench.path(NOTES, "gone.csv").unlink()
    assert plan(bench) == {
        "bad.csv": Action.REFUSED,
        "changed.csv": Action.CHANGED,
        "gone.csv": Action.MISSING,
        "new.csv": Action.NEW,
        "same.csv": Action.IDENTICAL,
    }


def test_a_plan_reads_only_so_much_to_find_touched_files(bench: Workbench) -> None:
    path = land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    os.utime(path, ns=(1, 1))
    (file,) = bench.list_files(NOTES)
    assert plan(bench, touched_bytes=1) == {"a.csv": Action.CHANGED}
    assert bench.ledger(NOTES).rows["a.csv"].version != file.version
    assert plan(bench) == {"a.csv": Action.IDENTICAL}
    assert bench.ledger(NOTES).rows["a.csv"].version == file.version


def test_a_plan_that_only_reads_finds_touched_files_and_records_nothing(bench: Workbench) -> None:
    path = land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    before = bench.ledger(NOTES)
    os.utime(path, ns=(1, 1))
    assert plan(bench, read_only=True) == {"a.csv": Action.IDENTICAL}
    assert bench.ledger(NOTES) == before


def test_a_report_is_a_frame_with_what_happened_to_each_file(bench: Workbench) -> None:
    feed = change_feed(NOTES, on_missing=OnMissing.REMOVE)
    gone = land_numbers(bench, "gone", 1)
    land_numbers(bench, "same", 1, 2)
    bench.sync(feed)
    gone.unlink()
    land_numbers(bench, "new", 3)
    bench.land(feed, "bad.csv", "bad")
    bench.land(feed, "README.md", "what the files are")
    frame = bench.sync(feed).to_frame()
    assert list(frame.columns) == ["what", "partition_key", "source_file", "rows", "reason"]
    assert [tuple(row)[:4] for row in frame.itertuples(index=False)] == [
        ("loaded", "new", "new.csv", 1),
        ("removed", "gone", "gone.csv", 1),
        ("refused", "bad", "bad.csv", 0),
        ("unchanged", "same", "same.csv", 2),
        ("ignored", "", "README.md", 0),
    ]
    assert list(frame["reason"])[1] == "the file is gone"
    assert list(SyncReport().to_frame().columns) == list(frame.columns)


def test_files_of_the_same_name_in_two_folders_are_two_partitions(bench: Workbench) -> None:
    feed = change_feed(CUSTOMER_DAYS, on_missing="remove", bad_rows="quarantine")
    feed = change_feed(feed, max_rejected_percent=100)
    for customer, number in (("acme", 1), ("globex", 2), ("initech", 3)):
        bench.land(feed, f"{customer}/2018-01-22.csv", f"id,note\n{number},x\nbad,x\n")
    assert len(bench.sync(feed).loaded) == 3
    rows = [
        (1, "x", "acme|2018-01-22", "acme/2018-01-22.csv"),
        (2, "x", "globex|2018-01-22", "globex/2018-01-22.csv"),
        (3, "x", "initech|2018-01-22", "initech/2018-01-22.csv"),
    ]
    assert bench.rows(feed) == rows
    rejected = "SELECT partition_key, source_file FROM rejected_rows ORDER BY ALL"
    assert bench.query(rejected) == [row[2:] for row in rows]

    bench.path(feed, "globex/2018-01-22.csv").unlink()
    bench.path(feed, "globex").rmdir()
    report = bench.sync(feed)
    assert [record.partition_key for record in report.removed] == ["globex|2018-01-22"]
    assert bench.rows(feed) == [rows[0], rows[2]]
    assert bench.query(rejected) == [rows[0][2:], rows[2][2:]]
