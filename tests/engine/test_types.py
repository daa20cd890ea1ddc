"""Columns: which texts a column of a type accepts, and the value that it makes of them."""

import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.format import Loose, Source
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.rows import FILE_FAULTS, VALID, select_rows, validate_rows
from partitioned_etl.engine.formats.types import describe_type
from partitioned_etl.engine.sql import Query, quote_identifier, quote_text
from support.scale import try_examples
from support.workbench import NOTES, Workbench, change_feed

DAY = date(2024, 1, 2)
MOMENT = datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001, a TIMESTAMP has no time zone
MOMENT_UTC = MOMENT.replace(tzinfo=UTC)
SOME_UUID = UUID("123e4567-e89b-12d3-a456-426614174000")

ACCEPTED: dict[str, dict[str, object]] = {
    "TINYINT": {"127": 127, "-128": -128},
    "SMALLINT": {"32767": 32767, "-32768": -32768},
    "INTEGER": {"2147483647": 2**31 - 1, "-2147483648": -(2**31)},
    "INT": {"1": 1},
    "BIGINT": {
        "0": 0,
        "-0": 0,
        "+1": 1,
        "007": 7,
        "9223372036854775807": 2**63 - 1,
        "-9223372036854775808": -(2**63),
    },
    "HUGEINT": {"170141183460469231731687303715884105727": 2**127 - 1},
    "UTINYINT": {"255": 255, "0": 0},
    "USMALLINT": {"65535": 65535},
    "UINTEGER": {"4294967295": 2**32 - 1},
    "UBIGINT": {"18446744073709551615": 2**64 - 1, "+1": 1, "007": 7},
    "UHUGEINT": {"340282366920938463463374607431768211455": 2**128 - 1},
    "DOUBLE": {
        "33597290": 33597290.0,
        "9007199254740991": 9007199254740991.0,
        "0.1": 0.1,
        ".5": 0.5,
        "1.": 1.0,
        "+1": 1.0,
        "-1.5e-3": -0.0015,
        "1E3": 1000.0,
        "1e+5": 100000.0,
        "007": 7.0,
        "1.7976931348623157e308": 1.7976931348623157e308,
        "5e-324": 5e-324,
        "0.0": 0.0,
        "0e-400": 0.0,
        f"1.{'0' * 400}": 1.0,
    },
    "FLOAT": {"1.5": 1.5, "-2": -2.0, "-0.00e-9": 0.0},
    "REAL": {"1.5": 1.5},
    "DECIMAL(5,2)": {
        "1": Decimal("1.00"),
        "1.2": Decimal("1.20"),
        "-1.25": Decimal("-1.25"),
        "+999.99": Decimal("999.99"),
    },
    "NUMERIC(3, 0)": {"-12": Decimal(-12)},
    "DATE": {
        "2024-01-02": DAY,
        "2024/01/02": DAY,
        "2024-02-29": date(2024, 2, 29),
        "0001-01-01": date.min,
        "9999-12-31": date.max,
    },
    "TIMESTAMP": {
        "2024-01-02 03:04:05": MOMENT,
        "2024-01-02T03:04:05": MOMENT,
        "2024/01/02 03:04:05.123456": MOMENT.replace(microsecond=123456),
        "2024-01-02 03:04": MOMENT.replace(second=0),
    },
    "DATETIME": {"2024-01-02 03:04:05": MOMENT},
    "TIMESTAMP_S": {"2024-01-02 03:04:05": MOMENT, "2024/01/02T03:04": MOMENT.replace(second=0)},
    "TIMESTAMP_MS": {"2024-01-02 03:04:05.123": MOMENT.replace(microsecond=123_000)},
    "TIMESTAMP_NS": {
        "2024-01-02 03:04:05": MOMENT,
        "2024-01-02 03:04:05.123456": MOMENT.replace(microsecond=123456),
    },
    "TIMESTAMPTZ": {
        "2024-01-02 03:04:05Z": MOMENT_UTC,
        "2024-01-02T05:04:05+02": MOMENT_UTC,
        "2024/01/02 08:34:05+05:30": MOMENT_UTC,
        "2024-01-02 08:34:05+0530": MOMENT_UTC,
    },
    "TIMESTAMP WITH TIME ZONE": {"2024-01-02 03:04:05Z": MOMENT_UTC},
    "TIME": {"03:04:05": time(3, 4, 5), "03:04": time(3, 4), "03:04:05.5": time(3, 4, 5, 500_000)},
    "BOOLEAN": {"true": True, "FALSE": False, "1": True, "0": False},
    "UUID": {str(SOME_UUID): SOME_UUID, str(SOME_UUID).upper(): SOME_UUID},
    "VARCHAR": {"x": "x", " x ": " x ", "": "", "NULL": "NULL"},
    "TEXT": {"x": "x"},
    "STRING": {"x": "x"},
}  # fmt: skip

NO_NUMBER = ("x", "+", "-", "--1", "1_000", " 1", "1 ", "0x10", "1,5", "\uff11", "\u0663", "1;")
NO_INTEGER = (*NO_NUMBER, "1.5", "1.0", "1.", "1e3", "\t1", "1\n", "0b1")
NO_FLOAT = (
    *NO_NUMBER, "nan", "NaN", "-nan", "inf", "-inf", "Infinity", "1e999", "-1e999", "1_0", "1e",
    "e1", "1d", "1f", "\u00a01", "+-1", "+-2.5", "-+1", "1e-400", "-2.5E-999", f"0.{'0' * 400}1",
)  # fmt: skip
NO_DAY = (
    "24-01-02", "2024-1-2", "2024-02-30", "2023-02-29", "2024-13-01", "2024-01/02", "2024.01.02",
    "20240102", "02-01-2024", "infinity", "-infinity", "epoch", "today", "x", " 2024-01-02",
    "2024-01-02 ", "2024-01-02 (BC)", "2024-01-02 00:00:00", "\u0662\u0660\u0662\u0664-01-02",
)  # fmt: skip
NO_MOMENT = (
    "2024-01-02", "2024-01-02 25:00:00", "2024-01-02 03:60:00", "2024-01-02 03:04:05.1234567",
    "24-01-02 03:04:05", "2024-02-30 03:04:05", "2024-01-02 24:00:00", "infinity", "now", "x",
)  # fmt: skip

REFUSED: dict[str, tuple[str, ...]] = {
    "TINYINT": (*NO_INTEGER, "128", "-129"),
    "SMALLINT": ("32768", "-32769", "1.5"),
    "INTEGER": ("2147483648", "-2147483649", "1e3"),
    "INT": ("2147483648", "1.5"),
    "BIGINT": (*NO_INTEGER, "9223372036854775808", "-9223372036854775809"),
    "HUGEINT": (*NO_INTEGER, "170141183460469231731687303715884105728"),
    "UTINYINT": (*NO_INTEGER, "256", "-1"),
    "USMALLINT": ("65536", "-1", "1.5"),
    "UINTEGER": ("4294967296", "-1", "1.5"),
    "UBIGINT": (*NO_INTEGER, "18446744073709551616", "-1"),
    "UHUGEINT": ("340282366920938463463374607431768211456", "-1", "1.5"),
    "DOUBLE": NO_FLOAT,
    "FLOAT": (*NO_FLOAT, "1e39", "1e-50", f"0.{'0' * 50}1"),
    "REAL": ("nan", "1e39", "1_0"),
    "DECIMAL(5,2)": (*NO_NUMBER, "1.255", "1e2", "1000", "999.994", "\t1", "nan"),
    "NUMERIC(3, 0)": ("1.5", "1000", "x"),
    "DATE": NO_DAY,
    "TIMESTAMP": (*NO_MOMENT, "2024-01-02 03:04:05Z", "2024-01-02 03:04:05+02"),
    "DATETIME": ("2024-01-02", "2024-01-02 03:04:05Z"),
    "TIMESTAMP_S": (*NO_MOMENT, "2024-01-02 03:04:05.5", "2024-01-02 03:04:05.0"),
    "TIMESTAMP_MS": (*NO_MOMENT, "2024-01-02 03:04:05.1234"),
    "TIMESTAMP_NS": (
        *(text for text in NO_MOMENT if not text.endswith("1234567")),
        "2024-01-02 03:04:05.1234567891", "1600-01-01 00:00:00", "2024-01-02 03:04:05Z",
    ),
    "TIMESTAMPTZ": (
        *NO_MOMENT, "2024-01-02 03:04:05", "2024-01-02 03:04:05 Europe/Berlin",
        "2024-01-02 24:00:00Z",
    ),
    "TIMESTAMP WITH TIME ZONE": ("2024-01-02 03:04:05",),
    "TIME": ("3:04", "24:00", "24:00:00", "25:00:00", "03:04:05Z", "03:04:05.1234567", "x"),
    "BOOLEAN": ("2", "on", " true", "x", "wahr"),
    "UUID": ("x", "123e4567-e89b-12d3-a456-42661417400", " 123e4567-e89b-12d3-a456-426614174000"),
}  # fmt: skip


@pytest.fixture
def memory() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@dataclass(frozen=True)
class Column:
    """A column of a feed, and a database to try texts in."""

    bench: Workbench
    duck: duckdb.DuckDBPyConnection
    type_name: str

    @property
    def feed(self) -> Feed:
        return change_feed(NOTES, columns={"v": self.type_name, "other": "VARCHAR"})

    def validate(self, texts: Sequence[str | None]) -> dict[str | None, bool]:
        """Tell for each text whether the column accepts it."""
        given = Query(
            "(SELECT unnest(CAST(? AS VARCHAR[])) AS v, v AS given, '' AS other, "
            "'' AS partition_key, '' AS source_file)",
            [list(texts)],
        )
        rows = validate_rows(self.feed, given, ["given"])
        return dict(
            self.duck.execute(f"SELECT given, {VALID}[1] FROM {rows.sql}", rows.bound).fetchall()
        )

    def convert(self, text: str | None) -> Any:
        """Give the value that the column makes of a text in a file."""
        quoted = "" if text is None else '"' + text.replace('"', '""') + '"'
        self.bench.land(self.feed, "a.csv", f"v,other\n{quoted},x\n")
        sources = [Source(file) for file in self.bench.list_files(self.feed)]
        rows = select_rows(self.feed, sources, list(self.feed.columns))
        [(value, *_)] = self.duck.execute(rows.sql, rows.bound).fetchall()
        return value


@pytest.fixture
def column(bench: Workbench, memory: duckdb.DuckDBPyConnection) -> Callable[[str], Column]:
    return lambda type_name: Column(bench, memory, type_name)


@pytest.mark.parametrize("type_name", ACCEPTED)
def test_a_text_of_the_type_becomes_its_value(
    column: Callable[[str], Column], type_name: str
) -> None:
    values, tried = ACCEPTED[type_name], column(type_name)
    assert tried.validate(list(values)) == dict.fromkeys(values, True)
    assert {text: tried.convert(text) for text in values} == values


@pytest.mark.parametrize("type_name", REFUSED)
def test_a_text_that_is_not_of_the_type_is_refused(
    column: Callable[[str], Column], type_name: str
) -> None:
    texts, tried = REFUSED[type_name], column(type_name)
    assert tried.validate(texts) == dict.fromkeys(texts, False)
    for text in texts:
        with pytest.raises(FILE_FAULTS):
            tried.convert(text)


@pytest.mark.parametrize(
    ("type_name", "said"),
    [
        ("UUID", "a UUID"),
        ("UBIGINT", "a UBIGINT"),
        ("uhugeint", "a UHUGEINT"),
        ("INTEGER", "an INTEGER"),
        ("int", "an INT"),
        ("HUGEINT", "a HUGEINT"),
        ("DATE", "a DATE"),
        ("INTEGER[]", "an INTEGER[]"),
    ],
)
def test_a_type_is_named_with_its_article(type_name: str, said: str) -> None:
    kind = "parquet" if "[" in type_name else "csv"
    feed = change_feed(NOTES, pattern=f"{{key}}.{kind}", format=kind, columns={"v": type_name})
    assert describe_type(feed, "v") == said


@pytest.mark.parametrize("type_name", [name for name in ACCEPTED if name in REFUSED])
def test_no_text_and_an_empty_text_are_null_unless_the_type_is_text(
    column: Callable[[str], Column], type_name: str
) -> None:
    tried = column(type_name)
    assert tried.validate([None, ""]) == {None: True, "": True}
    assert tried.convert(None) is None
    assert tried.convert("") is None


def test_an_empty_text_is_not_null_in_a_text_column(column: Callable[[str], Column]) -> None:
    assert column("VARCHAR").convert("") == ""
    assert column("VARCHAR").convert(None) is None


def test_a_type_may_be_written_in_small_letters(column: Callable[[str], Column]) -> None:
    assert column("bigint").convert("7") == 7
    assert column("decimal(5,2)").convert("7") == Decimal(7)


def test_large_doubles_keep_their_value_in_the_table(bench: Workbench) -> None:
    feed = change_feed(NOTES, columns={"id": "BIGINT", "amount": "DOUBLE"})
    bench.land(feed, "a.csv", "id,amount\n1,33597290\n2,9007199254740991\n")
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [(1, 33597290.0), (2, 9007199254740991.0)]


@pytest.mark.parametrize("type_name", ["DOUBLE", "FLOAT"])
@pytest.mark.parametrize("text", ["+-1", "+-2.5", "1e-400", "1E-400", f"0.{'0' * 400}1"])
@pytest.mark.parametrize("row", ["{},x", '"{}",x', "{},a b"], ids=["plain", "quoted", "spaced"])
def test_a_number_that_duckdb_would_change_is_refused(
    bench: Workbench, row: str, text: str, type_name: str
) -> None:
    feed = change_feed(NOTES, columns={"v": type_name, "other": "VARCHAR"})
    bench.land(feed, "a.csv", f"v,other\n1.5,x\n{row.format(text)}\n")
    reason = f"a.csv: line 3, column v: not a {type_name}"
    assert bench.load(feed)["a"].reason == reason
    assert bench.rows(feed) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"1,+", b"-1,x"),
        (b",1e", b"-400,x"),
        (b"1E-4", b"00,x"),
        (b"0" * 12, b"0" * 20),
        (b"", b""),
    ],
)
def test_what_changes_a_number_is_seen_where_two_chunks_meet(before: bytes, after: bytes) -> None:
    feed = change_feed(NOTES, columns={"v": "DOUBLE", "other": "VARCHAR"})
    found = CsvFormat().find_loose(feed, after, before=before[-4:])
    assert found == (Loose.NUMBER if before else Loose.NOTHING)


def test_nanoseconds_are_kept(column: Callable[[str], Column]) -> None:
    text = "2024-01-02 03:04:05.123456789"
    tried = column("TIMESTAMP_NS")
    assert tried.validate([text]) == {text: True}
    tried.bench.land(tried.feed, "a.csv", f"v,other\n{text},x\n")
    tried.bench.load(tried.feed)
    assert tried.bench.query("SELECT CAST(v AS VARCHAR) FROM raw_notes") == [(text,)]


def test_every_type_reaches_the_table(bench: Workbench) -> None:
    values = {type_name: next(iter(values.items())) for type_name, values in ACCEPTED.items()}
    feed = change_feed(NOTES, columns={f"c{at}": type_name for at, type_name in enumerate(values)})
    header = ",".join(feed.columns)
    line = ",".join(text for text, _ in values.values())
    nothing = ",".join("" for _ in values)
    bench.land(feed, "a.csv", f"{header}\n{line}\n{nothing}\n")
    bench.load(feed)
    full, empty = bench.rows(feed)
    assert full == (*(value for _, value in values.values()), "a", "a.csv")
    assert empty == (*(None for _ in values), "a", "a.csv")


@pytest.mark.parametrize(
    "type_name",
    [
        "",
        "BLOB",
        "INTEGER[]",
        "STRUCT(a INTEGER)",
        "VARCHAR; DROP TABLE x",
        "DECIMAL",
        "DECIMAL(5)",
    ],
)
def test_a_type_that_no_file_can_be_read_into_is_refused(type_name: str) -> None:
    with pytest.raises(FeedDefinitionError):
        change_feed(NOTES, columns={"v": type_name})


NAMES = ['a"b', "select", "it's", "c,d", "\u00e9 \n", "x; DROP TABLE t"]


def test_a_column_may_have_any_name(bench: Workbench) -> None:
    feed = change_feed(NOTES, columns=dict.fromkeys(NAMES, "BIGINT"), table='raw "notes"; --')
    header = ",".join('"' + name.replace('"', '""') + '"' for name in NAMES)
    bench.land(feed, "a.csv", f"{header}\n1,2,3,4,5,6\n")
    bench.land(feed, "b.csv", f"{header}\n1,2,x,4,5,6\n")
    outcomes = bench.load(feed)
    assert bench.rows(feed) == [(1, 2, 3, 4, 5, 6, "a", "a.csv")]
    assert [problem.column for problem in outcomes["b"].problems] == ["it's"]


@pytest.mark.scaled
def test_a_quoted_text_is_that_text_and_no_code(memory: duckdb.DuckDBPyConnection) -> None:
    @try_examples(200)
    @given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
    def check(text: str) -> None:
        assert memory.execute(f"SELECT {quote_text(text)}").fetchall() == [(text,)]
        described = memory.execute(f"DESCRIBE SELECT 1 AS {quote_identifier(text)}").fetchall()
        assert [row[0] for row in described] == [text]

    check()


@pytest.mark.parametrize(
    "content", ["note,text of note\nA,B\n", '{"note":"A","text of note":"B"}\n']
)
def test_columns_named_like_an_intermediate_result_keep_their_values(
    bench: Workbench, content: str
) -> None:
    feed = change_feed(
        NOTES,
        pattern="{key}",
        format=JsonLinesFormat() if content.startswith("{") else CsvFormat(),
        columns={"note": "VARCHAR", "text of note": "VARCHAR"},
    )
    bench.land(feed, "a", content)
    bench.load(feed)
    assert bench.rows(feed) == [("A", "B", "a", "a")]


@pytest.mark.parametrize(
    "name", ["line in the file", "which rules are kept", "path as it was listed", "text of the row"]
)
def test_bad_rows_of_such_columns_are_told_by_their_line(bench: Workbench, name: str) -> None:
    feed = change_feed(NOTES, columns={"id": "BIGINT", name: "BIGINT"})
    for key, text in {"a": "1,2\n", "b": "1,2\n3,x\n"}.items():
        bench.land(feed, f"{key}.csv", f"id,{name}\n{text}")
    outcomes = bench.load(feed)
    assert bench.rows(feed) == [(1, 2, "a", "a.csv")]
    assert f"b.csv: line 3, column {name}: not a BIGINT" in outcomes["b"].reason


@pytest.mark.parametrize("kind", ["TIMESTAMP", "TIMESTAMPTZ"])
def test_the_year_nought_is_no_time(bench: Workbench, kind: str) -> None:
    feed = change_feed(NOTES, columns={"at": kind})
    offset = "Z" if kind == "TIMESTAMPTZ" else ""
    bench.land(feed, "a.csv", f"at\n0001-01-01 00:00:00{offset}\n")
    bench.land(feed, "b.csv", f"at\n0000-01-01 00:00:00{offset}\n")
    outcomes = bench.load(feed)
    assert [row[1] for row in bench.rows(feed)] == ["a"]
    assert f"line 2, column at: not a {kind}" in outcomes["b"].reason


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_verdict_does_not_depend_on_the_time_zone_of_the_process(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    clock.tzset()
    rule = RowRule(
        name="is_of_day",
        column="moment",
        expression="strftime(moment, '%Y-%m-%d') = partition_key",
        reason="another day",
    )
    feed = change_feed(NOTES, columns={"moment": "TIMESTAMPTZ"}, row_rules=(rule,))
    bench.land(feed, "2024-01-02.csv", "moment\n2024-01-02 01:00:00Z\n2024-01-02 23:00:00Z\n")
    bench.load(feed)
    monkeypatch.undo()
    clock.tzset()
    assert len(bench.rows(feed)) == 2
