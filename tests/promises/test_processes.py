"""One writer at a time: locks, concurrent loads, and loads that are killed."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import WarehouseError, WarehouseLockedError
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse import duckdb_file
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from support.workbench import (
    NOTES,
    Child,
    FakeClock,
    Workbench,
    in_background,
    land_numbers,
    loaded_numbers,
)

StartChild = Callable[[str], Child]

HOLD = """
with bench.connect():
    pause("locked")
"""


def test_a_database_that_another_process_holds_is_an_error_after_the_wait(
    bench: Workbench, start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_child(HOLD).wait_for("locked")
    clock = FakeClock()
    monkeypatch.setattr(duckdb_file, "time", clock)
    with (
        pytest.raises(WarehouseLockedError, match="was in use by another process for 7 s"),
        bench.connect(lock_wait_seconds=7),
    ):
        pass
    assert clock.slept_s == pytest.approx(7)


def test_without_a_wait_a_held_database_is_an_error_at_once(
    bench: Workbench, start_child: StartChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_child(HOLD).wait_for("locked")
    monkeypatch.setattr(duckdb_file.time, "sleep", None)
    with pytest.raises(WarehouseLockedError), bench.connect():
        pass


def test_a_load_waits_until_another_process_lets_go(
    bench: Workbench,
    start_child: StartChild,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    land_numbers(bench, "a", 1)
    child = start_child(HOLD)
    child.wait_for("locked")

    class LettingGo(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            child.go_on()
            child.finish()

    monkeypatch.setattr(duckdb_file, "time", LettingGo())
    caplog.set_level("INFO")
    with bench.open_table(NOTES, lock_wait_seconds=7) as table:
        load_files(table, bench.landing, bench.list_files(NOTES))
    assert loaded_numbers(bench) == {"a": [1]}
    assert "waiting up to 7 s for another process to close" in caplog.text


def break_off(bench: Workbench) -> None:
    with bench.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE half (a INT)")
        raise ZeroDivisionError


def test_the_database_is_closed_after_an_error(bench: Workbench, start_child: StartChild) -> None:
    land_numbers(bench, "a", 1)
    with pytest.raises(ZeroDivisionError):
        break_off(bench)
    child = start_child("bench.load(NOTES)")
    child.finish()
    assert loaded_numbers(bench) == {"a": [1]}
    assert "half" not in bench.tables()


def test_the_database_and_its_folder_are_made(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    database = bench.root / "new" / "folder" / "x.duckdb"
    with DuckDBFile(database).open(bench.landing_dir) as opened:
        opened.duck.execute("CREATE TABLE t (a INT)")
    assert database.is_file()


def test_a_file_that_is_no_database_is_an_error_at_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.landing_dir.mkdir()
    bench.database.write_bytes(b"no database" * 1_000)
    os.utime(bench.database, (0, 0))
    monkeypatch.setattr(duckdb_file.time, "sleep", None)
    with (
        pytest.raises(WarehouseError, match="cannot open") as refused,
        bench.connect(lock_wait_seconds=60),
    ):
        pass
    assert not isinstance(refused.value, WarehouseLockedError)
    assert bench.database.read_bytes() == b"no database" * 1_000


def test_a_file_that_another_process_is_just_making_is_waited_for(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.landing_dir.mkdir()
    database = bench.database
    database.write_bytes(b"the first bytes of a database")
    monkeypatch.setattr(duckdb_file.time, "sleep", lambda _: database.unlink(missing_ok=True))
    with bench.connect(lock_wait_seconds=60) as duck:
        assert duck.execute("SELECT 1").fetchall() == [(1,)]


def test_one_process_may_open_the_database_twice(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    with bench.open_table(NOTES) as first, bench.connect() as second:
        load_files(first, bench.landing, bench.list_files(NOTES))
        assert second.execute("SELECT id FROM raw_notes").fetchall() == [(1,)]


def test_one_process_cannot_open_the_database_for_two_landing_directories(
    bench: Workbench,
) -> None:
    other = bench.root / "other"
    other.mkdir()
    bench.landing_dir.mkdir()
    with (
        bench.connect() as first,
        pytest.raises(WarehouseError, match="open in this process for another folder"),
        bench.warehouse.open(other),
    ):
        first.execute("SELECT 1")


def test_a_thread_with_another_landing_directory_waits_for_the_first(bench: Workbench) -> None:
    other = bench.root / "other"
    other.mkdir()
    land_numbers(bench, "a", 1)
    bench.stays_open = False
    warehouse, is_waiting = DuckDBFile(bench.database, lock_wait_seconds=60), Event()

    def read_elsewhere() -> str:
        is_waiting.set()
        with warehouse.open(other) as opened:
            ((folders,),) = opened.duck.execute(
                "SELECT current_setting('allowed_directories')"
            ).fetchall()
        return str(folders)

    with ThreadPoolExecutor(1) as pool:
        with bench.open_table(NOTES) as table:
            folders = pool.submit(read_elsewhere)
            assert is_waiting.wait(60)
            load_files(table, bench.landing, bench.list_files(NOTES))
            assert not folders.done()
        assert str(other) in folders.result(60)
    assert loaded_numbers(bench) == {"a": [1]}


LOAD_WHEN_TOLD = """
from partitioned_etl.engine.load import load_files
files = bench.list_files(NOTES)
pause("listed")
with bench.open_table(NOTES, lock_wait_seconds=60) as table:
    load_files(table, bench.landing, files)
"""


def test_two_processes_that_load_the_same_new_key_leave_one_copy(
    bench: Workbench, start_child: StartChild
) -> None:
    wanted = {key: list(range(count)) for count, key in enumerate("abcdef", start=1)}
    for key, of_key in wanted.items():
        land_numbers(bench, key, *of_key)
    children = [start_child(LOAD_WHEN_TOLD) for _ in range(2)]
    for child in children:
        child.wait_for("listed")
    for child in children:
        child.go_on()
    for child in children:
        child.finish()
    assert loaded_numbers(bench) == wanted
    bench.assert_level(NOTES)


LOAD_WITH_A_PAUSE = """
failpoints.listener = lambda moment: pause("reached") if moment == "{moment}" else None
bench.load(NOTES)
"""
LOAD_AFTER_WAITING = """
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse import duckdb_file
duckdb_file.logger.info = lambda *_: print("waiting", flush=True)
duckdb_file.logger.setLevel("INFO")
files = bench.list_files(NOTES)
with bench.open_table(NOTES, lock_wait_seconds=60) as table:
    load_files(table, bench.landing, files)
"""


def test_a_load_that_begins_in_the_middle_of_another_leaves_one_copy(
    bench: Workbench, start_child: StartChild
) -> None:
    land_numbers(bench, "a", 1, 2)
    first = start_child(LOAD_WITH_A_PAUSE.format(moment=failpoints.MID_INSERT))
    first.wait_for("reached")
    second = start_child(LOAD_AFTER_WAITING)
    second.wait_for("waiting")
    first.go_on()
    for child in (first, second):
        child.finish()
    assert loaded_numbers(bench) == {"a": [1, 2]}
    bench.assert_level(NOTES)


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_two_connections_that_load_the_same_new_key_leave_one_copy(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    land_numbers(bench, "a", 1, 2)
    with bench.open_table(NOTES) as first, bench.open_table(NOTES) as second:
        load_files(first, bench.landing, [])

        def load_in_between() -> None:
            load_files(second, bench.landing, bench.list_files(NOTES))

        with in_background(monkeypatch, moment, load_in_between):
            load_files(first, bench.landing, bench.list_files(NOTES))
    assert loaded_numbers(bench) == {"a": [1, 2]}
    bench.assert_level(NOTES)


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_a_load_that_is_killed_leaves_the_old_rows_or_the_new_ones(
    bench: Workbench, start_child: StartChild, moment: str
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    before = bench.ledger(NOTES)
    land_numbers(bench, "a", 2, 2)
    land_numbers(bench, "b", 2)

    child = start_child(LOAD_WITH_A_PAUSE.format(moment=moment))
    child.wait_for("reached")
    child.kill()

    old, new = {"a": [1]}, {"a": [2, 2], "b": [2]}
    is_committed = moment == failpoints.AFTER_COMMIT
    assert loaded_numbers(bench) == (new if is_committed else old)
    assert (bench.ledger(NOTES).rows == before.rows) is not is_committed
    bench.assert_level(NOTES)

    report = bench.sync(NOTES)
    assert len(report.loaded) == (0 if is_committed else 2)
    assert loaded_numbers(bench) == new
    bench.assert_level(NOTES)


def test_a_load_that_is_killed_while_rows_are_written_leaves_no_partition_half(
    bench: Workbench, start_child: StartChild
) -> None:
    old, new = [1] * 1_000, [2] * 100_000
    land_numbers(bench, "a", *old)
    bench.load(NOTES)
    land_numbers(bench, "a", *new)
    child = start_child("""
def tell(moment):
    if moment == failpoints.AFTER_DELETE:
        print("inserting", flush=True)

failpoints.listener = tell
bench.load(NOTES)
""")
    child.wait_for("inserting")
    child.kill()
    assert loaded_numbers(bench)["a"] in (old, new)
    bench.assert_level(NOTES)
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": new}
    bench.assert_level(NOTES)


LOAD_WITH_LITTLE_ROOM = """
import resource
import duckdb
room = bench.database.stat().st_size + 50_000
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
try:
    bench.load(NOTES)
except duckdb.Error as error:
    print(type(error).__name__, flush=True)
"""


def test_a_load_without_room_on_the_disk_changes_nothing_and_the_next_one_goes_on(
    bench: Workbench, start_child: StartChild
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    before = bench.ledger(NOTES)
    new = [number * 7919 % 1_000_003 for number in range(300_000)]
    land_numbers(bench, "a", *new)
    land_numbers(bench, "b", 2)
    child = start_child(LOAD_WITH_LITTLE_ROOM)
    child.wait_for("IOException")
    child.kill()
    assert loaded_numbers(bench) == {"a": [1]}
    assert bench.ledger(NOTES) == before
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": sorted(new), "b": [2]}
    bench.assert_level(NOTES)
