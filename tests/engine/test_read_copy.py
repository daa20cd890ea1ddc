"""The copy for readers: always a whole file of one state, and no load waits for a reader."""

import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import duckdb
import pytest

from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from partitioned_etl.engine.warehouse.read_copy import read_copy_of
from support.workbench import NOTES, Workbench, land_numbers

OFTEN, SELDOM = 1e-9, 1e9


def load(bench: Workbench, *numbers: int, every_seconds: float = OFTEN) -> None:
    """Load a partition of these numbers."""
    land_numbers(bench, "acme", *numbers)
    warehouse = DuckDBFile(bench.database, read_copy_seconds=every_seconds)
    with warehouse.open(bench.landing_dir) as opened:
        [outcome] = load_files(opened.table(NOTES), bench.landing, bench.list_files(NOTES))
    assert outcome.is_loaded


def read(path: Path) -> list[int]:
    with duckdb.connect(str(path), read_only=True) as duck:
        return [
            number
            for (number,) in duck.execute(f"SELECT id FROM {NOTES.table} ORDER BY 1").fetchall()
        ]


def test_there_is_none_unless_somebody_asks_for_it(bench: Workbench) -> None:
    load(bench, 1, every_seconds=0)
    assert not read_copy_of(bench.database).exists()


def test_a_copy_is_of_the_state_after_the_load(bench: Workbench) -> None:
    copy = read_copy_of(bench.database)
    assert copy.name == "warehouse.read.duckdb"
    load(bench, 1, 2)
    assert read(copy) == [1, 2]
    load(bench, 3)
    assert read(copy) == [3]
    assert [path.name for path in copy.parent.glob(".*")] == []


def test_who_reads_an_older_copy_goes_on_reading_it(bench: Workbench) -> None:
    load(bench, 1)
    copy = read_copy_of(bench.database)
    with duckdb.connect(str(copy), read_only=True) as duck:
        load(bench, 2)
        assert duck.execute(f"SELECT id FROM {NOTES.table}").fetchall() == [(1,)]
    assert read(copy) == [2]


def test_what_has_not_changed_is_not_copied_again(bench: Workbench) -> None:
    load(bench, 1)
    copy = read_copy_of(bench.database)
    before = copy.stat()
    with DuckDBFile(bench.database, read_copy_seconds=OFTEN).open(bench.landing_dir) as opened:
        assert opened.duck.execute(f"SELECT count(*) FROM {NOTES.table}").fetchall() == [(1,)]
    assert copy.stat().st_ino == before.st_ino


def test_what_was_too_early_for_a_copy_is_in_the_next(bench: Workbench) -> None:
    load(bench, 1)
    load(bench, 2, every_seconds=SELDOM)
    copy = read_copy_of(bench.database)
    assert read(copy) == [1]
    with DuckDBFile(bench.database, read_copy_seconds=OFTEN).open(bench.landing_dir):
        pass
    assert read(copy) == [2]


def test_what_a_killed_process_left_behind_is_removed(bench: Workbench) -> None:
    left = bench.database.with_name(".warehouse.read.duckdb.123.tmp")
    left.write_bytes(b"half a file")
    load(bench, 1)
    assert not left.exists()


def test_a_load_does_not_fail_for_its_copy(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    read_copy_of(bench.database).mkdir(parents=True)
    load(bench, 1)
    assert "cannot make" in caplog.text
    assert "warehouse.read.duckdb" in caplog.text


def test_the_database_stays_locked_for_other_processes(bench: Workbench) -> None:
    load(bench, 1)
    is_open, may_close = Event(), Event()

    def hold() -> None:
        with DuckDBFile(bench.database).open(bench.landing_dir):
            is_open.set()
            may_close.wait()

    holder = Thread(target=hold)
    holder.start()
    is_open.wait()
    try:
        load(bench, 2)
        assert read(read_copy_of(bench.database)) == [2]
        code = "import duckdb, sys; duckdb.connect(sys.argv[1])"
        other = subprocess.run(
            [sys.executable, "-c", code, bench.database], capture_output=True, check=False
        )
        assert b"Could not set lock" in other.stderr
    finally:
        may_close.set()
        holder.join()


def test_a_reader_sees_whole_states_alone_and_no_error(bench: Workbench) -> None:
    load(bench, 0, 0, 0)
    copy = read_copy_of(bench.database)
    code = """
import duckdb, sys
states, reads = set(), 0
print("begun", flush=True)
while 99 not in states:
    with duckdb.connect(sys.argv[1], read_only=True) as duck:
        rows = duck.execute(f"SELECT id FROM {sys.argv[2]}").fetchall()
    assert len(rows) == 3 and len({*rows}) == 1, rows
    states.add(rows[0][0])
    reads += 1
print(reads, len(states))
"""
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(copy), NOTES.table], stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout
    assert reader.stdout.readline() == "begun\n"
    for number in (*range(1, 30), 99):
        load(bench, number, number, number)
    told, _ = reader.communicate(timeout=600)
    assert reader.returncode == 0
    reads, states = map(int, told.split())
    assert reads >= states > 1
