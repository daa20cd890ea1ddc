"""The sandbox: a connection reads the landing directory and nothing else."""

import os

import duckdb
import pytest

from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from support.workbench import NOTES, ORDERS, Workbench, land_numbers

READS_OUTSIDE = [
    "SELECT * FROM read_csv('{root}/secret.csv')",
    "SELECT * FROM read_csv('{landing}/../secret.csv')",
    "SELECT * FROM read_csv('{root}/secr*.csv')",
    "SELECT * FROM '{root}/secret.csv'",
    "SELECT * FROM read_text('{root}/secret.csv')",
    "SELECT * FROM read_blob('{root}/secret.csv')",
    "SELECT * FROM glob('{root}/*')",
    "COPY kept FROM '{root}/secret.csv'",
    "ATTACH '{root}/other.duckdb'",
    "ATTACH '{root}/other.duckdb' (READ_ONLY)",
]
WRITES_OUTSIDE = [
    "ATTACH '{root}/written.duckdb'",
    "COPY kept TO '{root}/written.csv'",
    "COPY kept TO '{landing}/../written.csv'",
    "COPY kept TO '{root}/warehouse.duckdb.csv'",
    "EXPORT DATABASE '{root}/written'",
]
LEAVES_THE_SANDBOX = [
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{root}/x.duckdb_extension'",
    "INSTALL h3 FROM community",
    "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "SELECT * FROM read_csv('s3://bucket/x.csv')",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['{root}/secret.csv']",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET autoinstall_known_extensions = true",
    "SET autoload_known_extensions = true",
    "SET GLOBAL threads = 3",
    "PRAGMA threads = 3",
]


@pytest.fixture
def sandboxed(bench: Workbench) -> Workbench:
    """A workbench with a file and a database outside its landing directory."""
    land_numbers(bench, "a", 1)
    (bench.root / "secret.csv").write_bytes(b"secret\nx\n")
    with duckdb.connect(str(bench.root / "other.duckdb")) as connection:
        connection.execute("CREATE TABLE secret (a INT)")
    with bench.connect() as connection:
        connection.execute("CREATE TABLE kept (secret VARCHAR)")
        connection.execute("INSERT INTO kept VALUES ('kept')")
    return bench


def is_refused(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    try:
        connection.execute(statement).fetchall()
    except (duckdb.PermissionException, duckdb.InvalidInputException):
        return True
    return False


@pytest.mark.parametrize(
    "statements",
    [READS_OUTSIDE, WRITES_OUTSIDE, LEAVES_THE_SANDBOX],
    ids=["read", "write", "leave"],
)
def test_a_connection_cannot_leave_the_landing_directory(
    sandboxed: Workbench, statements: list[str]
) -> None:
    before = sorted(sandboxed.root.rglob("*"))
    places = {"root": sandboxed.root, "landing": sandboxed.landing_dir}
    with sandboxed.connect() as connection:
        tried = [statement.format(**places) for statement in statements]
        assert [statement for statement in tried if not is_refused(connection, statement)] == []
    assert sorted(sandboxed.root.rglob("*")) == before
    assert sandboxed.query("SELECT * FROM kept") == [("kept",)]


def test_without_the_sandbox_the_statements_that_read_would_read(sandboxed: Workbench) -> None:
    places = {"root": sandboxed.root, "landing": sandboxed.landing_dir}
    with duckdb.connect(str(sandboxed.database)) as connection:
        for statement in READS_OUTSIDE:
            connection.execute(statement.format(**places)).fetchall()
            connection.execute("DETACH DATABASE IF EXISTS other")


def test_the_second_connection_of_a_process_is_in_the_sandbox_too(sandboxed: Workbench) -> None:
    with (
        sandboxed.connect(),
        sandboxed.connect() as second,
        pytest.raises(duckdb.PermissionException),
    ):
        second.execute(f"SELECT * FROM read_csv('{sandboxed.root}/secret.csv')")


def test_a_link_in_the_landing_directory_leads_nowhere(sandboxed: Workbench) -> None:
    link_path = sandboxed.path(NOTES, "link.csv")
    link_path.symlink_to(sandboxed.root / "secret.csv")
    with sandboxed.connect() as connection, pytest.raises(duckdb.PermissionException):
        connection.execute(f"SELECT * FROM read_csv('{link_path}')")


def test_a_connection_reads_the_landing_directory(sandboxed: Workbench) -> None:
    path = sandboxed.path(NOTES, "a.csv")
    with sandboxed.connect() as connection:
        assert connection.execute(f"SELECT * FROM read_csv('{path}')").fetchall() == [(1, "x")]


def test_a_load_leaves_the_landing_directory_as_it_was(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    bench.land(ORDERS, "2018-01.csv", "id,day,status\n1,2018-01-31,new\n")
    bench.land(NOTES, "b.csv", "bad")
    before = {path: os.lstat(path) for path in bench.landing_dir.rglob("*")}
    bench.load(NOTES)
    bench.load(ORDERS)
    bench.close()
    after = {path: os.lstat(path) for path in bench.landing_dir.rglob("*")}
    assert list(after) == list(before)
    assert [status.st_mtime_ns for status in after.values()] == [
        status.st_mtime_ns for status in before.values()
    ]
    assert sorted(path.name for path in bench.root.iterdir()) == ["landing", "warehouse.duckdb"]


def test_within_its_memory_limit_a_connection_works_on_in_a_folder_beside_the_database(
    bench: Workbench,
) -> None:
    bench.landing_dir.mkdir()
    folder = bench.root / "warehouse.duckdb.tmp"
    warehouse = DuckDBFile(bench.database, memory_limit="64MB")
    with warehouse.open(bench.landing_dir) as opened:
        sorted_rows = opened.duck.execute(
            "SELECT n, repeat('x', 50) FROM range(3_000_000) AS numbers(n) ORDER BY hash(n)"
        )
        assert folder.is_dir()
        assert len(sorted_rows.fetchmany(10)) == 10
        with pytest.raises(duckdb.InvalidInputException):
            opened.duck.execute("SET memory_limit = '1GB'")
    assert sorted(path.name for path in bench.root.iterdir()) == ["landing", "warehouse.duckdb"]
