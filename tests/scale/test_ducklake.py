"""A lake: its turns, its values, what is killed, and what a query cannot reach."""

import random
import shutil
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import (
    QueryError,
    WarehouseConflictError,
    WarehouseError,
    WarehouseLockedError,
)
from partitioned_etl.engine.formats.parquet import ParquetFormat
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.sql import Query
from partitioned_etl.engine.warehouse import ducklake_table
from partitioned_etl.engine.warehouse.ducklake_session import LakeSession
from sample_feeds.defs.monthly_orders import monthly_orders, stg_orders
from support.ducklake_bench import DuckLakeBench, is_ducklake_installed
from support.many_writers import write_side_by_side
from support.postgres_server import PostgresServer
from support.s3_server import S3Server, environment_of
from support.scale import IS_SEEDED, examples
from support.workbench import (
    NOTES,
    Child,
    Workbench,
    at_moment,
    change_feed,
    land_numbers,
    loaded_numbers,
)

pytestmark = [pytest.mark.scale, pytest.mark.slow]
if not is_ducklake_installed():
    pytest.skip("make test-ducklake runs these", allow_module_level=True)

StartChild = Callable[[str], Child]


@pytest.fixture
def bench(tmp_path: Path, durable_server: PostgresServer) -> DuckLakeBench:
    url = f"ducklake:postgres:{durable_server.make_database()}#{tmp_path / 'lake'}"
    return DuckLakeBench(tmp_path, stays_open=False, url=url, lock_wait_seconds=60)


def catalog(bench: DuckLakeBench) -> str:
    return bench.url.removeprefix("ducklake:postgres:").partition("#")[0]


def ask(bench: DuckLakeBench, sql: str) -> list[tuple[object, ...]]:
    """Ask the server of the catalog."""
    with psycopg.connect(catalog(bench), autocommit=True) as connection:
        return connection.execute(sql.encode()).fetchall()


OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def wait_until_alone(bench: DuckLakeBench) -> None:
    """Wait until the server has noticed that a process was killed."""
    while ask(bench, f"SELECT 1 {OTHERS}"):
        threading.Event().wait(0.02)


# Values.

BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
VALUES = {
    "BOOLEAN": "true",
    **{name: f"{-(1 << n - 1)}" for name, n in BITS.items()},
    **{f"U{name}": f"{(1 << n) - 1}" for name, n in BITS.items()},
    "FLOAT": "1e-45",
    "DOUBLE": "0.30000000000000004",
    "DECIMAL(18,3)": "123456789012345.678",
    "DECIMAL(38,0)": "9" * 38,
    "DECIMAL(38,38)": "-0." + "9" * 38,
    "VARCHAR": "é\u00a0\U0001f600' \" \\ \n\r\t \0x",
    "DATE": "0044-03-15 (BC)",
    "TIME": "23:59:59.999999",
    "TIMESTAMP_S": "9999-12-31 23:59:59",
    "TIMESTAMP_MS": "1969-12-31 23:59:59.999",
    "TIMESTAMP": "0001-01-01 00:00:00.000001",
    "TIMESTAMP_NS": "1700-01-01 00:00:00.123456789",
    "TIMESTAMPTZ": "2024-02-29 12:00:00.000001+05:30",
    "UUID": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "BIGINT[]": "[1, NULL, 3]",
    "STRUCT(a BIGINT, b VARCHAR)": "{'a': 1, 'b': 'x'}",
    "MAP(VARCHAR, BIGINT)": "{x=1}",
}


def test_a_column_of_each_type_holds_what_the_duckdb_file_holds(
    bench: DuckLakeBench, tmp_path: Path
) -> None:
    columns = {f"c{number}": name for number, name in enumerate(VALUES)}
    feed = change_feed(NOTES, format=ParquetFormat(), pattern="{key}.parquet", columns=columns)
    typed = [f"CAST(? AS {name})" for name in VALUES]
    nulls = [f"CAST(NULL AS {name})" for name in VALUES]
    rows = " UNION ALL ".join(f"SELECT {', '.join(row)}, 'a', 'a'" for row in (typed, nulls))
    other = Workbench(tmp_path / "duckdb", stays_open=False)
    other.root.mkdir()
    held = []
    for one in (other, bench):
        with one.open_table(feed) as table:
            table.prepare()
            with table.transaction():
                table.insert(Query(rows, [*VALUES.values()]))
        # As texts, which tell more of a time than Python does, and all digits of a number.
        listed = ", ".join(f"CAST({name} AS VARCHAR), typeof({name})" for name in columns)
        held.append(sorted(one.query(f"SELECT {listed} FROM raw_notes"), key=repr))
    assert repr(held[0]) == repr(held[1])
    assert len(held[1]) == 2


@pytest.mark.parametrize("type_name", ["HUGEINT", "UHUGEINT", "HUGEINT[]", "STRUCT(a UHUGEINT)"])
def test_a_column_that_parquet_holds_as_another_number_is_refused(
    bench: DuckLakeBench, type_name: str
) -> None:
    feed = change_feed(
        NOTES, format=ParquetFormat(), pattern="{key}.parquet", columns={"id": type_name}
    )
    with bench.open_table(feed) as table, pytest.raises(WarehouseError, match="does not hold"):
        table.prepare()


# Turns.


def test_of_two_transactions_one_gives_way_also_where_the_lock_is_lost(
    bench: DuckLakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.load(NOTES)
    monkeypatch.setattr(LakeSession, "_locked", lambda _: nullcontext())
    row = "INSERT INTO raw_notes VALUES (1, 'x', 'b', 'b.csv')"

    def insert_after(act: Callable[[], None]) -> None:
        """Insert rows of a key that has none: DuckLake alone sees no conflict in that."""
        with bench.open_table(NOTES) as table, table.transaction():
            table.session.execute("DELETE FROM raw_notes WHERE partition_key = 'b'")
            act()
            table.session.execute(row)

    with pytest.raises(WarehouseConflictError):
        insert_after(lambda: insert_after(lambda: None))
    assert bench.query("SELECT count(*) FROM raw_notes WHERE partition_key = 'b'") == [(1,)]


@pytest.mark.parametrize("moment", [failpoints.AFTER_BEGIN, failpoints.BEFORE_COMMIT])
def test_a_load_waits_for_its_turn_and_no_longer_than_it_may(
    bench: DuckLakeBench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.load(NOTES)
    land_numbers(bench, "a", 3)
    land_numbers(bench, "b", 4)
    [one, other] = bench.list_files(NOTES)
    hasty = DuckLakeBench(bench.root, url=bench.url, lock_wait_seconds=0.1)
    failed: list[BaseException] = []

    def load_other() -> None:
        with pytest.raises(WarehouseLockedError) as error, hasty.open_table(NOTES, 0.1) as table:
            table.remove(["b.csv"])
        failed.append(error.value)

    at_moment(monkeypatch, moment, load_other)
    bench.load(NOTES, [one])
    assert failed
    bench.load(NOTES, [other])
    assert loaded_numbers(bench) == {"a": [3], "b": [4]}
    bench.assert_level(NOTES)


LOAD_AND_TIDY = """
    bench.load(NOTES)
    if turn % 3 == number % 3:
        with bench.open_table(NOTES) as table:
            table.tidy()
"""


def test_processes_that_load_and_tidy_lose_and_double_nothing(
    bench: DuckLakeBench, start_child: StartChild
) -> None:
    write_side_by_side(bench, start_child, examples(5), LOAD_AND_TIDY)


def test_a_lake_is_made_only_in_an_empty_place_of_its_own(bench: DuckLakeBench) -> None:
    """Of the files there, it removes those that it does not know."""
    land_numbers(bench, "a", 1)
    there = Path(bench.url.rpartition("#")[2]) / "archive" / "mine.parquet"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"mine")
    with pytest.raises(WarehouseError, match="need an empty place"):
        bench.load(NOTES)
    there.unlink()
    bench.load(NOTES)
    bench.url = f"{bench.url.rpartition('#')[0]}#{bench.landing_dir / 'lake'}"
    with pytest.raises(WarehouseError, match="need a folder of their own"):
        bench.load(NOTES)


# What is killed.

LOAD_WITH_A_PAUSE = """
failpoints.listener = lambda name: pause("there") if name == "{moment}" else None
bench.load(NOTES)
"""


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_a_load_that_is_killed_leaves_the_old_rows_or_the_new_ones(
    bench: DuckLakeBench, start_child: StartChild, moment: str
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 2, 2)
    land_numbers(bench, "b", 2)
    child = start_child(LOAD_WITH_A_PAUSE.format(moment=moment))
    child.wait_for("there")
    child.kill()
    wait_until_alone(bench)
    old, new = {"a": [1]}, {"a": [2, 2], "b": [2]}
    is_committed = moment == failpoints.AFTER_COMMIT
    assert loaded_numbers(bench) == (new if is_committed else old)
    bench.assert_level(NOTES)
    assert len(bench.sync(NOTES).loaded) == (0 if is_committed else 2)
    assert loaded_numbers(bench) == new
    bench.assert_level(NOTES)


LOAD_AGAIN_AND_AGAIN = """
print("there", flush=True)
while True:
    bench.load(NOTES)
"""


def test_loads_that_are_killed_at_any_moment_leave_whole_partitions(
    bench: DuckLakeBench, start_child: StartChild
) -> None:
    rng = random.Random("the same every time" if IS_SEEDED else None)
    turn = 0
    for turn in range(examples(6)):
        for key in ("a", "b", "c"):
            rows = "".join(f"{turn},{row}\n" for row in range(rng.randint(1, 20_000)))
            bench.land(NOTES, f"{key}.csv", "id,note\n" + rows)
        child = start_child(LOAD_AGAIN_AND_AGAIN)
        child.wait_for("there")
        threading.Event().wait(0.5 + rng.random() * 2)
        child.kill()
        wait_until_alone(bench)
        if "raw_notes" in bench.tables():
            bench.assert_level(NOTES)
            for lowest, highest, count, distinct in bench.query(
                "SELECT min(id), max(id), count(*), count(DISTINCT note) "
                "FROM raw_notes GROUP BY partition_key"
            ):
                assert lowest == highest
                assert count == distinct
    bench.sync(NOTES)
    assert {row[0] for row in bench.query("SELECT DISTINCT id FROM raw_notes")} == {turn}
    bench.assert_level(NOTES)


@pytest.mark.parametrize("how", ["backends", "server"])
@pytest.mark.parametrize("moment", [failpoints.AFTER_DELETE, failpoints.BEFORE_COMMIT])
def test_a_catalog_that_is_lost_undoes_the_load_and_the_next_one_goes_on(
    bench: DuckLakeBench,
    durable_server: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    how: str,
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 2)
    land_numbers(bench, "b", 2)

    def lose() -> None:
        if how == "server":
            durable_server.restart()
        else:
            ask(bench, f"SELECT pg_terminate_backend(pid) {OTHERS}")

    at_moment(monkeypatch, moment, lose)
    with pytest.raises(WarehouseError) as failed:
        bench.load(NOTES)
    assert durable_server.password not in str(failed.value)
    assert loaded_numbers(bench) == {"a": [1]}
    bench.assert_level(NOTES)
    assert len(bench.sync(NOTES).loaded) == 2
    assert loaded_numbers(bench) == {"a": [2], "b": [2]}


# What lies around.


def list_data(bench: DuckLakeBench) -> list[Path]:
    return [path for path in (bench.root / "lake").rglob("*") if path.is_file()]


def test_tidying_up_merges_files_and_removes_what_nobody_reads(
    bench: DuckLakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        land_numbers(bench, "abc"[number % 3], number)
        bench.load(NOTES)
    left = bench.root / "lake" / "main" / "raw_notes" / "ducklake-of-a-killed-load.parquet"
    left.write_bytes(list_data(bench)[0].read_bytes())
    before, rows = len(list_data(bench)), bench.rows(NOTES)
    with bench.open_table(NOTES) as table:
        table.tidy()
    assert left.exists()
    assert len(list_data(bench)) >= before
    monkeypatch.setattr(ducklake_table, "_KEPT", "INTERVAL '0 days'")
    with bench.open_table(NOTES) as table:
        table.tidy()
    assert len(list_data(bench)) <= 6
    assert not left.exists()
    assert bench.rows(NOTES) == rows
    bench.assert_level(NOTES)


# What statements reach.


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM postgres_scan('{catalog}', 'pg_catalog', 'pg_database')",
        "SELECT * FROM system.main.postgres_scan('{catalog}', 'pg_catalog', 'pg_database')",
        "SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        "SELECT (SELECT count(*) FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1'))",
        "EXPLAIN ANALYZE SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM __ducklake_metadata_lake.ducklake_table",
        "SUMMARIZE SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        "SELECT * FROM read_csv('{root}/secret.csv')",
        "SELECT * FROM '{root}/secret.csv'",
        "CALL ducklake_expire_snapshots('lake', older_than => now())",
    ],
)
def test_a_query_reads_tables_and_nothing_else(bench: DuckLakeBench, sql: str) -> None:
    (bench.root / "secret.csv").write_text("a\n1\n", encoding="utf-8")
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    asked = sql.format(catalog=catalog(bench), root=bench.root)
    with pytest.raises(QueryError), bench.warehouse.open_read_only() as opened:
        list(opened.query(asked).rows)


def test_a_query_shows_no_password(bench: DuckLakeBench, durable_server: PostgresServer) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    with bench.warehouse.open_read_only() as opened:
        assert list(opened.query("EXPLAIN SELECT * FROM raw_notes").rows)
        told = opened.session.execute("SELECT path FROM duckdb_databases()").fetchall()
        told += opened.session.execute("SELECT secret_string FROM duckdb_secrets()").fetchall()
    assert durable_server.password not in str(told)
    assert durable_server.password not in f"{bench.warehouse!r} {bench.warehouse.address}"


def test_what_reads_files_has_no_lake(bench: DuckLakeBench) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    with bench.open_table(NOTES) as table:
        databases = table.duck.execute("SELECT database_name FROM duckdb_databases()").fetchall()
        assert ("lake",) not in databases
        functions = table.duck.execute(
            "SELECT 1 FROM duckdb_functions() WHERE function_name LIKE 'postgres%'"
        ).fetchall()
        assert functions == []


# A bucket.


def test_the_data_may_be_in_a_bucket(
    tmp_path: Path, durable_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = S3Server(tmp_path / "s3")
    try:
        server.make_bucket("lakes")
        for name, value in environment_of(server.endpoint).items():
            monkeypatch.setenv(name, value)
        url = f"ducklake:postgres:{durable_server.make_database()}#s3://lakes/one"
        bench = DuckLakeBench(tmp_path, url=url)
        for key in ("a", "b"):
            land_numbers(bench, key, 1, 2)
        bench.sync(NOTES)
        land_numbers(bench, "a", 3)
        bench.sync(NOTES)
        assert loaded_numbers(bench) == {"a": [3], "b": [1, 2]}
        bench.assert_level(NOTES)
        monkeypatch.setattr(ducklake_table, "_KEPT", "INTERVAL '0 days'")
        with bench.open_table(NOTES) as table:
            table.tidy()
        with bench.warehouse.open_read_only() as opened:
            found = list(opened.query("SELECT id FROM raw_notes ORDER BY 1").rows)
        assert found == [(1,), (2,), (3,)]
    finally:
        server.stop()


# Dagster.


def test_a_shipped_asset_and_what_follows_from_it_materialize(
    bench: DuckLakeBench,
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAREHOUSE", bench.url)
    monthly = project_dir() / "data" / "source" / "monthly" / "2018-01.csv"
    shutil.copy(monthly, landing_dir / "monthly")
    for _ in range(2):
        assert dg.materialize(
            [stg_orders, monthly_orders],
            instance=instance,
            resources=resources,
            partition_key="2018-01-01",
        ).success
    counted = "SELECT status, count(*) FROM stg_orders GROUP BY 1 ORDER BY 1"
    held = bench.query("SELECT status, order_num FROM monthly_orders ORDER BY 1")
    assert held == bench.query(counted)
    assert held
