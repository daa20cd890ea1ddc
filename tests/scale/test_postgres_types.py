"""A value of PostgreSQL is the value of the DuckDB file, or its file or column is refused."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.parquet import ParquetFormat
from support.postgres_server import PostgresServer
from support.scale import try_examples
from support.workbench import NOTES, Workbench, change_feed

pytestmark = pytest.mark.scale

BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
VALUES: dict[str, list[str]] = {
    "BOOLEAN": ["true", "false"],
    **{name: [str(-(1 << n - 1)), "-1", "0", str((1 << n - 1) - 1)] for name, n in BITS.items()},
    **{f"U{name}": ["0", "1", str((1 << n) - 1)] for name, n in BITS.items()},
    "FLOAT": ["0.1", "-0.0", "3.4028235e38", "1.17549435e-38", "1e-45", "16777217", "0.3"],
    "DOUBLE": ["0.1", "-0.0", "1.7976931348623157e308", "5e-324", "0.30000000000000004", "1e22"],
    "DECIMAL(4,2)": ["-99.99", "0.01", "0", "99.99"],
    "DECIMAL(38,0)": ["9" * 38, "-" + "9" * 38],
    "DECIMAL(38,38)": ["0." + "9" * 38, "-0.1"],
    "VARCHAR": ["a", "'", '"', "\\", "\\N", "\\.", "NULL", " x ", "é\u00a0\U0001f600", "a,b", "%s"],
    "DATE": ["0001-01-01", "1582-10-10", "2024-02-29", "9999-12-31"],
    "TIME": ["00:00:00", "23:59:59.999999"],
    "TIMESTAMP_S": ["0001-01-01 00:00:00", "2024-02-29 23:59:59", "9999-12-31 23:59:59"],
    "TIMESTAMP_MS": ["1969-12-31 23:59:59.999", "2024-02-29 23:59:59.001"],
    "TIMESTAMP": ["0001-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999"],
    "TIMESTAMPTZ": ["2024-02-29 12:00:00.000001+05:30", "1900-01-01 00:00:00Z"],
    "UUID": ["00000000-0000-0000-0000-000000000000", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
}


@pytest.fixture
def both(tmp_path: Path, postgres_bench: Workbench) -> list[Workbench]:
    """A bench of the DuckDB file, and one of PostgreSQL."""
    return [Workbench(tmp_path / "duckdb", stays_open=False), postgres_bench]


BY_ID = "SELECT value FROM raw_notes ORDER BY id"


def read_both(
    both: list[Workbench], feed: Feed, name: str, content: bytes, *, is_in_numpy: bool = True
) -> list[pd.DataFrame]:
    """Load a file into both warehouses, and give what each then holds."""
    found = []
    for bench in both:
        bench.root.mkdir(exist_ok=True)
        bench.land(feed, name, content)
        report = bench.sync(feed)
        assert not report.refused, report
        bench.assert_level(feed)
        with bench.open_table(feed) as table:
            frame = table.read_partition("a") if is_in_numpy else pd.DataFrame({"value": []})
        found.append(frame)
    return found


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of DuckDB, for TIMESTAMPTZ
@pytest.mark.parametrize("type_name", VALUES)
def test_a_column_holds_what_the_duckdb_file_holds(both: list[Workbench], type_name: str) -> None:
    feed = change_feed(NOTES, columns={"id": "BIGINT", "value": type_name})
    values = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in VALUES[type_name]]
    lines = [f"{row},{text}\n" for row, text in enumerate([*values, ""])]
    is_in_numpy = type_name != "UHUGEINT"
    content = ("id,value\n" + "".join(lines)).encode()
    duck, postgres = read_both(both, feed, "a.csv", content, is_in_numpy=is_in_numpy)
    pd.testing.assert_frame_equal(duck, postgres, check_exact=True)
    assert [repr(one) for one in duck["value"]] == [repr(one) for one in postgres["value"]]
    # As Python's own values, too: a whole number of 128 bits is a float in NumPy.
    one, other = ([value for (value,) in bench.query(BY_ID)] for bench in both)
    # A FLOAT of psycopg is the shortest text of it, and no FLOAT of Python's.
    assert type_name == "FLOAT" or one == other
    assert len(one) == len(lines)
    assert one[-1] is None


def test_json_stays_as_it_is_spelled(both: list[Workbench]) -> None:
    columns = {"id": "BIGINT", "value": "JSON"}
    feed = change_feed(NOTES, format=JsonLinesFormat(), pattern="{key}.jsonl", columns=columns)
    values = [
        '{"b": 1.10, "a": [1e400, "x\\ny"]}',
        '"\\ud83d\\ude00"',
        "12345678901234567890",
        "{}",
    ]
    lines = "".join(f'{{"id": {row}, "value": {text}}}\n' for row, text in enumerate(values))
    duck, postgres = read_both(both, feed, "a.jsonl", lines.encode())
    by_id = [dict(zip(one["id"], one["value"], strict=True)) for one in (duck, postgres)]
    assert by_id[0] == by_id[1]
    assert len(by_id[0]) == len(values)


def test_numbers_that_are_none_are_kept_where_the_feed_lets_them(both: list[Workbench]) -> None:
    columns = {"id": "BIGINT", "value": "DOUBLE"}
    feed = change_feed(NOTES, columns=columns, non_finite_columns=("value",))
    content = b"id,value\n1,NaN\n2,inf\n3,-inf\n4,1\n"
    read_both(both, feed, "a.csv", content)
    for bench in both:
        assert [repr(value) for (value,) in bench.query(BY_ID)] == ["nan", "inf", "-inf", "1.0"]


def test_text_that_is_empty_and_text_that_is_missing_differ(both: list[Workbench]) -> None:
    feed = change_feed(NOTES, format=JsonLinesFormat())
    lines = b'{"id": 1, "note": ""}\n{"id": 2, "note": null}\n{"id": 3, "note": "x"}\n'
    change = change_feed(feed, pattern="{key}.jsonl")
    for found in read_both(both, change, "a.jsonl", lines):
        notes = dict(zip(found["id"], found["note"], strict=True))
        assert notes[1] == ""
        assert pd.isna(notes[2])
        assert notes[3] == "x"


def test_any_text_is_the_same_in_both(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.postgres_bench import PostgresBench

    bench = PostgresBench(tmp_path, url=postgres_server.make_database())
    feed = change_feed(NOTES, format=JsonLinesFormat(), pattern="{key}.jsonl")
    pieces = st.sampled_from(["\\N", "\\.", "\n", "\r", "\r\n", '"', '""', ",", "\\", "\t", "'"])
    letters = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")
    texts = st.lists(pieces | st.text(letters, max_size=4), max_size=6).map("".join)

    @try_examples(60)
    @given(st.lists(texts | st.none(), min_size=1, max_size=20))
    def check(notes: list[str | None]) -> None:
        lines = "".join(
            json.dumps({"id": row, "note": note}, ensure_ascii=False) + "\n"
            for row, note in enumerate(notes)
        )
        bench.land(feed, "a.jsonl", lines)
        report = bench.sync(feed)
        assert not report.refused, report
        held = bench.query("SELECT note FROM raw_notes ORDER BY id")
        assert [note for (note,) in held] == notes

    check()


def write_parquet(path: Path, sql: str) -> bytes:
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute(f"COPY ({sql}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("type_name", "value", "reason"),
    [
        ("VARCHAR", "'x' || chr(0)", "line 2, column note: not a VARCHAR without NUL characters"),
        ("DATE", "DATE '0044-03-15 (BC)'", "not a DATE of the years 1 to 9999"),
        ("DATE", "DATE '10000-01-01'", "not a DATE of the years 1 to 9999"),
        ("TIMESTAMP", "TIMESTAMP '10000-01-01'", "not a TIMESTAMP of the years 1 to 9999"),
    ],
    ids=["NUL", "BC", "far day", "far time"],
)
def test_a_value_that_postgres_cannot_hold_refuses_its_file_and_no_other(
    postgres_bench: Workbench, tmp_path: Path, type_name: str, value: str, reason: str
) -> None:
    feed = change_feed(
        NOTES,
        format=ParquetFormat(),
        pattern="{key}.parquet",
        columns={"id": "BIGINT", "note": type_name},
    )
    good = {"VARCHAR": "'y'"}.get(type_name, f"{type_name} '2024-01-01'")
    rows = f"SELECT 1::BIGINT AS id, {good} AS note"
    bad = write_parquet(tmp_path / "x", f"{rows} UNION ALL SELECT 2::BIGINT, {value}")
    for name, content in {"a": write_parquet(tmp_path / "y", rows), "b": bad}.items():
        postgres_bench.land(feed, f"{name}.parquet", content)
    report = postgres_bench.sync(feed)
    assert [record.partition_key for record in report.loaded] == ["a"]
    [refused] = report.refused
    assert reason.removeprefix("line 2, ") in refused.reason
    assert postgres_bench.query("SELECT id, partition_key FROM raw_notes") == [(1, "a")]
    postgres_bench.assert_level(feed)


def test_a_row_with_such_a_value_is_quarantined_where_the_feed_asks_for_it(
    postgres_bench: Workbench, tmp_path: Path
) -> None:
    feed = change_feed(
        NOTES,
        format=ParquetFormat(),
        pattern="{key}.parquet",
        bad_rows=BadRows.QUARANTINE,
        max_rejected_percent=100,
    )
    rows = "SELECT 1::BIGINT AS id, 'x' AS note UNION ALL SELECT 2::BIGINT, 'a' || chr(0)"
    postgres_bench.land(feed, "a.parquet", write_parquet(tmp_path / "x", rows))
    postgres_bench.sync(feed)
    assert postgres_bench.query("SELECT id FROM raw_notes") == [(1,)]
    [(column, reason)] = postgres_bench.query("SELECT column_name, reason FROM rejected_rows")
    assert (column, reason) == ("note", "not a VARCHAR without NUL characters")
    postgres_bench.assert_level(feed)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"at": "TIMESTAMP_NS"}, "column at is TIMESTAMP_NS, which PostgreSQL does not hold"),
        ({"parts": "STRUCT(a BIGINT)"}, "column parts is STRUCT(a BIGINT), which PostgreSQL"),
        ({"parts": "BIGINT[]"}, "column parts is BIGINT[], which PostgreSQL does not hold"),
        ({"ctid": "BIGINT"}, "PostgreSQL has a column ctid of its own"),
        ({"x" * 64: "BIGINT"}, "has more than 63 bytes, which PostgreSQL would cut off"),
    ],
    ids=["nanoseconds", "struct", "list", "system column", "long name"],
)
def test_a_column_that_postgres_cannot_hold_is_refused_before_anything_is_loaded(
    postgres_bench: Workbench, columns: dict[str, Any], reason: str
) -> None:
    feed = change_feed(NOTES, format=JsonLinesFormat(), pattern="{key}.jsonl", columns=columns)
    postgres_bench.land(feed, "a.jsonl", "{}\n")
    with pytest.raises(WarehouseError) as failed:
        postgres_bench.sync(feed)
    assert "feed notes: table raw_notes: refused: " in str(failed.value)
    assert reason in str(failed.value)
    assert postgres_bench.tables() == []
    # Once there is a ledger, the plan says so, too.
    postgres_bench.land(NOTES, "b.csv", "id,note\n1,x\n")
    postgres_bench.sync(NOTES)
    [told] = postgres_bench.plan(feed).describe_changes("notes")
    assert reason in told
