"""Many writers at once, and loads that are killed: nothing is lost, doubled or half there."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import WarehouseError, WarehouseLockedError
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse.ledger import Ledger
from partitioned_etl.engine.warehouse.postgres_table import PostgresTable
from support.postgres_bench import PostgresBench
from support.postgres_server import PostgresServer
from support.workbench import (
    NOTES,
    Child,
    at_moment,
    change_feed,
    land_numbers,
    loaded_numbers,
)

pytestmark = [
    pytest.mark.scale,
    pytest.mark.slow,
    pytest.mark.usefixtures("durable_server"),
]

StartChild = Callable[[str], Child]
PARTS = change_feed(NOTES, pattern="{key}_{part}.csv", key_pattern="[a-z]+")
RENAMED = change_feed(NOTES, pattern="n_{key}.csv", key_pattern="[a-z]+")
PLAIN = change_feed(NOTES, key_pattern="[a-z]+")


@pytest.fixture
def bench(postgres_bench: PostgresBench) -> PostgresBench:
    return postgres_bench


def wait_until_it_waits(bench: PostgresBench, future: Future[object]) -> None:
    """Wait until another load waits for this one, or is through."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND datname = current_database()"
    )
    while not (future.done() or bench.query(waiting)):
        threading.Event().wait(0.02)


@contextmanager
def meeting(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch, moment: str, act: Callable[[], object]
) -> Iterator[None]:
    """Let a load come to a point, then another one as far as it gets, and only then both go on."""
    with ThreadPoolExecutor(1) as pool:
        begun: list[Future[object]] = []

        def begin() -> None:
            begun.append(pool.submit(act))
            wait_until_it_waits(bench, begun[0])

        at_moment(monkeypatch, moment, begin)
        yield
        begun[0].result(60)


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_two_loads_of_the_same_new_key_leave_one_copy(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    land_numbers(bench, "a", 1, 2)
    files = bench.list_files(NOTES)
    with meeting(bench, monkeypatch, moment, lambda: bench.load(NOTES, files)):
        bench.load(NOTES, files)
    assert loaded_numbers(bench) == {"a": [1, 2]}
    bench.assert_level(NOTES)


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_two_first_loads_of_a_partition_by_different_names_leave_one(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bench.land(PLAIN, "a.csv", "id,note\n1,x\n")
    bench.land(RENAMED, "n_a.csv", "id,note\n2,x\n")
    one, other = bench.list_files(PLAIN), bench.list_files(RENAMED)
    assert [file.partition_key for file in (*one, *other)] == ["a", "a"]
    with meeting(bench, monkeypatch, moment, lambda: bench.load(RENAMED, other)):
        bench.load(PLAIN, one)
    assert bench.query("SELECT id, source_file FROM raw_notes") == [(2, "n_a.csv")]
    bench.assert_level(RENAMED)


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_two_parts_of_a_new_partition_that_load_at_once_are_both_there(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bench.land(PARTS, "a_1.csv", "id,note\n1,x\n")
    bench.land(PARTS, "a_2.csv", "id,note\n2,x\n")
    first, second = bench.list_files(PARTS)
    with meeting(bench, monkeypatch, moment, lambda: bench.load(PARTS, [second])):
        bench.load(PARTS, [first])
    assert sorted(bench.query("SELECT id FROM raw_notes")) == [(1,), (2,)]
    bench.assert_level(PARTS)


def test_another_key_loads_meanwhile_and_its_time_is_the_earlier_one(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 2)
    by_key = {file.partition_key: file for file in bench.list_files(NOTES)}
    bench.load(NOTES, [])
    # In this very thread: it would wait for ever if the one waited for the other.
    at_moment(monkeypatch, failpoints.BEFORE_COMMIT, lambda: bench.load(NOTES, [by_key["b"]]))
    bench.load(NOTES, [by_key["a"]])
    assert loaded_numbers(bench) == {"a": [1], "b": [2]}
    rows = bench.ledger(NOTES).rows
    before, after = rows["b.csv"].loaded_at, rows["a.csv"].loaded_at
    assert before
    assert after
    assert before < after


def test_a_load_waits_only_so_long_for_another_of_its_key(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    files = bench.list_files(NOTES)
    refused: list[Exception] = []

    def load_at_once() -> None:
        with bench.open_table(NOTES, lock_wait_seconds=0.1) as table:
            try:
                load_files(table, bench.landing, files)
            except WarehouseLockedError as error:
                refused.append(error)

    at_moment(monkeypatch, failpoints.BEFORE_COMMIT, load_at_once)
    bench.load(NOTES, files)
    assert len(refused) == 1
    assert loaded_numbers(bench) == {"a": [1]}


def test_a_refusal_keeps_the_rows_that_another_load_put_there_meanwhile(
    bench: PostgresBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.land(NOTES, "a.csv", "id,note\nbad,x\n")
    bad = bench.list_files(NOTES)
    with bench.open_table(NOTES) as table:
        read_ledger, loading = type(table).read_ledger, list[Future[object]]()

        def read_and_let_another_load(self: PostgresTable, *landed: object) -> Ledger:
            ledger = read_ledger(self, *landed)  # type: ignore[arg-type]
            if not loading:
                land_numbers(bench, "a", 1, 2)
                good = bench.list_files(NOTES)
                loading.append(pool.submit(bench.load, NOTES, good))
                wait_until_it_waits(bench, loading[0])
            return ledger

        with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
            patch.setattr(PostgresTable, "read_ledger", read_and_let_another_load)
            load_files(table, bench.landing, bad)
    assert loaded_numbers(bench) == {"a": [1, 2]}
    bench.assert_level(NOTES)


def test_a_load_that_gives_way_in_a_deadlock_is_run_again(bench: PostgresBench) -> None:
    for key in ("a", "b"):
        land_numbers(bench, key, 1)
    bench.load(NOTES)
    for key in ("a", "b"):
        land_numbers(bench, key, 2)
    with psycopg.connect(bench.url) as other:
        other.execute("SET deadlock_timeout = '600s'")
        other.execute("SELECT 1 FROM file_loads WHERE source_file = 'b.csv' FOR UPDATE")
        loading = threading.Thread(target=bench.load, args=[NOTES])
        loading.start()
        while not bench.query("SELECT 1 FROM pg_locks WHERE NOT granted"):
            threading.Event().wait(0.02)
        other.execute("UPDATE file_loads SET run_id = 'other' WHERE source_file = 'a.csv'")
    loading.join()
    assert loaded_numbers(bench) == {"a": [2], "b": [2]}
    bench.assert_level(NOTES)


LOAD_WITH_A_PAUSE = """
failpoints.listener = lambda name: pause("there") if name == "{moment}" else None
bench.load(NOTES)
"""


@pytest.mark.parametrize(
    ("how", "moment"),
    [
        *(("backend", moment) for moment in failpoints.ALL),
        ("server", failpoints.MID_INSERT),
        ("server", failpoints.BEFORE_COMMIT),
    ],
)
def test_a_connection_that_is_lost_undoes_the_load_and_the_next_one_goes_on(
    bench: PostgresBench,
    durable_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    how: str,
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 2, 3)

    def end_backends() -> None:
        bench.query(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    at_moment(monkeypatch, moment, end_backends if how == "backend" else durable_server.restart)
    with pytest.raises(WarehouseError, match="the connection was lost") as failed:
        bench.load(NOTES)
    assert durable_server.password not in str(failed.value)
    is_committed = moment == failpoints.AFTER_COMMIT
    assert loaded_numbers(bench) == {"a": [2, 3] if is_committed else [1]}
    bench.assert_level(NOTES)
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [2, 3]}
    bench.assert_level(NOTES)


def test_what_a_killed_load_wrote_aside_goes_with_the_next_one(
    bench: PostgresBench, start_child: StartChild, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setenv("TMPDIR", str(aside))
    monkeypatch.setattr("tempfile.tempdir", str(aside))
    land_numbers(bench, "a", 1)
    child = start_child(LOAD_WITH_A_PAUSE.format(moment=failpoints.BEFORE_COMMIT))
    child.wait_for("there")
    [root] = aside.iterdir()
    [left] = root.iterdir()
    with bench.open():
        assert left.exists()
        assert len([*root.iterdir()]) == 2
    child.kill()
    bench.wait_until_alone()
    bench.sync(NOTES)
    assert not [*root.iterdir()]
