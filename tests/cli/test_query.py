"""`partitioned-etl query`: it reads, waits, and can neither change the database nor leave it."""

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from support.dev_server import default_interrupt

Call = Callable[..., Result]
Query = Callable[..., list[tuple[object, ...]]]

COMMAND = [sys.executable, "-m", "partitioned_etl"]
HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
connection.execute("INSERT INTO t VALUES (2)")
connection.close()
"""
INTERRUPTED = """
import os, signal, threading
from partitioned_etl.cli import query
from partitioned_etl.cli.main import commands
threading.Timer({seconds}, os.kill, [os.getpid(), signal.SIGINT]).start()
commands(["query", "SELECT count(*) FROM range(100_000_000_000) WHERE range % 7 = 3"])
"""


@pytest.fixture
def table(query: Query) -> None:
    """A database with a table of one row."""
    query("CREATE TABLE t AS SELECT 1 AS a")


def test_rows_are_printed_as_table_json_and_csv(table: None, call: Call) -> None:
    sql = "SELECT a, 'x,\x1b[1m' AS b FROM t"
    assert call("query", sql).stdout.splitlines()[-1].split() == ["1", "x,\\x1b[1m"]
    assert json.loads(call("query", sql, "--json").stdout) == [{"a": 1, "b": "x,\x1b[1m"}]
    assert call("query", sql, "--csv").stdout == 'a,b\n1,"x,\x1b[1m"\n'
    assert json.loads(call("query", "FROM t WHERE a > 1", "--json").stdout) == []


def test_json_loses_nothing_and_any_parser_reads_it(table: None, call: Call) -> None:
    sql = (
        "SELECT DATE '2018-01-22' AS day, 1.50::DECIMAL(9, 2) AS money, 'nan'::DOUBLE AS n, "
        "'-inf'::DOUBLE AS i, NULL AS nothing, TIMESTAMPTZ '2018-01-22 01:00:00+01' AS at, "
        "'\\xAA'::BLOB AS bytes, {'k': [DATE '2018-01-22']} AS nested, 2.5::DOUBLE AS x"
    )
    assert json.loads(call("query", sql, "--json").stdout, parse_constant=pytest.fail) == [
        {
            "day": "2018-01-22",
            "money": "1.50",
            "n": "NaN",
            "i": "-Infinity",
            "nothing": None,
            "at": "2018-01-22T00:00:00+00:00",
            "bytes": "qg==",
            "nested": {"k": ["2018-01-22"]},
            "x": 2.5,
        }
    ]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("INSERT INTO t VALUES (2)", "query only reads"),
        ("DROP TABLE t", "query only reads"),
        ("CREATE TEMP TABLE u AS SELECT 1", "query only reads"),
        ("EXPLAIN ANALYZE DELETE FROM t", "query only reads"),
        ("COPY t TO '{}/out.csv'", "query only reads"),
        ("ATTACH '{}/other.duckdb'", "query only reads"),
        ("SET enable_external_access = true", "query only reads"),
        ("SELECT * FROM read_text('/etc/passwd')", "asks for a file or the network"),
        ("FROM glob('/*')", "asks for a file or the network"),
        ("FROM 'https://127.0.0.1/x.csv'", "error: "),
        ("SELECT 1; DROP TABLE t", "one statement at a time: these are 2"),
        ("", "one statement at a time: these are 0"),
        ("SELECT no FROM t", 'Referenced column "no" not found'),
        ("SELEC", "syntax error"),
    ],
)
def test_what_is_no_query_is_refused_in_one_sentence_and_changes_nothing(
    sql: str, reason: str, table: None, call: Call, query: Query, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    result = call("query", sql.format(tmp_path))
    assert result.exit_code == 1
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert query("FROM t") == [(1,)]


def test_two_columns_of_one_name_are_no_json_object(table: None, call: Call) -> None:
    result = call("query", "SELECT 1 AS a, 2 AS a", "--json")
    assert result.exit_code == 1
    assert "two columns have the same name" in result.stderr


def test_a_long_table_says_that_it_is_cut(table: None, call: Call) -> None:
    result = call("query", "FROM range(1001)")
    assert len(result.stdout.splitlines()) == 1002
    assert "first 1,000 rows" in result.stderr
    assert len(json.loads(call("query", "FROM range(1001)", "--json").stdout)) == 1001


def test_no_database_is_said_and_not_made(landing_dir: Path, database: Path, call: Call) -> None:
    result = call("query", "SELECT 1")
    assert result.exit_code == 2
    assert f"error: there is no database yet: {database}" in result.stderr
    assert not database.exists()


def test_a_query_waits_for_a_busy_writer(
    table: None, database: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdin
        assert writer.stdout
        assert writer.stdout.readline() == "open\n"
        monkeypatch.setenv("LOCK_WAIT_SECONDS", "0.1")
        busy = call("query", "FROM t")
        assert busy.exit_code == 2
        assert "in use by another process for 0.1 s" in busy.stderr
        monkeypatch.setenv("LOCK_WAIT_SECONDS", "60")
        release = threading.Timer(0.5, writer.stdin.write, ["\n"])
        release.start()
        release.join()
        writer.stdin.flush()
        assert json.loads(call("query", "FROM t ORDER BY a", "--json").stdout)[-1] == {"a": 2}


def test_a_reader_that_stops_reading_sees_no_traceback(table: None, call: Call) -> None:
    with subprocess.Popen(
        [*COMMAND, "query", "FROM range(1000000)", "--csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "range\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 141


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_character_that_the_output_lacks_is_escaped(table: None, form: list[str]) -> None:
    process = subprocess.run(
        [*COMMAND, "query", "SELECT '1 \u20ac' AS price", *form],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"1 \\u20ac" in process.stdout


def test_nested_values_are_json_in_csv(table: None, call: Call) -> None:
    result = call("query", "SELECT [1, 2] AS a, {'b': 'x'} AS c", "--csv")
    assert list(csv.reader(result.stdout.splitlines())) == [["a", "c"], ["[1, 2]", '{"b": "x"}']]


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.8])
def test_an_interrupt_ends_a_query_with_one_line(table: None, seconds: float) -> None:
    code = INTERRUPTED.format(seconds=seconds)
    with default_interrupt():
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
    assert (process.returncode, process.stderr) == (130, "interrupted\n")


def test_help_and_queries_do_without_dagster() -> None:
    code = "import sys, partitioned_etl.cli.main, partitioned_etl.cli.query\nprint(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert "duckdb" in modules
    assert not {"dagster", "pandas"} & set(modules)


STATEMENT = "-- what there is\nSELECT a, 'ü' AS b\nFROM t;\n"


def test_a_statement_is_read_from_standard_input_or_from_a_file(
    table: None, call: Call, tmp_path: Path
) -> None:
    file = tmp_path / "a.sql"
    file.write_text("\ufeff" + STATEMENT, encoding="utf-8")
    for result in (
        call("query", "-", "--json", stdin=STATEMENT.encode()),
        call("query", "--file", file, "--json"),
    ):
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == [{"a": 1, "b": "ü"}]


def test_a_statement_is_given_in_one_way_and_in_utf_8(
    table: None, call: Call, tmp_path: Path
) -> None:
    file = tmp_path / "a.sql"
    file.write_bytes(b"SELECT '\xfc'")
    for arguments, told in (
        ((), "one statement: SQL, or - for standard input, or --file FILE"),
        (("SELECT 1", "--file", file), "one statement: SQL, or - for"),
        (("--file", file), f"{file} is no text in UTF-8, at byte 8"),
        (("-",), "standard input is no text in UTF-8, at byte 8"),
        (("--file", tmp_path / "none.sql"), "does not exist"),
    ):
        result = call("query", *arguments, stdin=file.read_bytes())
        assert result.exit_code == 2
        assert told in " ".join(result.stderr.split())


@pytest.mark.parametrize("statement", ["", "-- nothing\n", "SELECT 1; SELECT 2"])
def test_standard_input_has_one_statement(table: None, statement: str, call: Call) -> None:
    result = call("query", "-", stdin=statement)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
