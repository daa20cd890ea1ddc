"""JSON lines: a file is loaded as it is spelled, or refused with line and column."""

import gzip
import json
import random
import tracemalloc
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import text as text_format
from partitioned_etl.engine.formats.format import MAX_RECORD_CHARS
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import OutcomeStatus
from support.scale import try_examples
from support.workbench import NO_LINE_END, PRICES, Workbench, change_feed

CELL = "Zaphod"
EVENTS = Feed(
    name="events",
    folder="events",
    pattern="{key}.jsonl",
    columns={
        "id": "BIGINT",
        "amount": "DOUBLE",
        "price": "DECIMAL(18,4)",
        "day": "DATE",
        "moment": "TIMESTAMP",
        "flag": "BOOLEAN",
        "note": "VARCHAR",
    },
    table="events",
    format=JsonLinesFormat(),
)
TWO = change_feed(EVENTS, columns={"id": "BIGINT", "note": "VARCHAR"}, table="two")
SOUND = '{"id": 1, "note": "x"}\n'


def line_of(**values: str) -> str:
    """One line with these JSON values, and `null` in all other columns."""
    members = {name: values.get(name, "null") for name in EVENTS.columns}
    return "{" + ", ".join(f'"{name}": {text}' for name, text in members.items()) + "}\n"


def test_a_file_is_loaded_whatever_order_its_names_have(bench: Workbench) -> None:
    bench.land(
        TWO,
        "a.jsonl",
        '\ufeff{"id":1,"note":"a \\"quote\\", a comma,\\nand \\u00e9"}\r\n'
        ' { "note" : "" , "id" : -2 } \n{"note":null,"id":null}\n',
    )
    assert bench.load(TWO)["a"].reason == ""
    assert bench.rows(TWO) == [
        (-2, "", "a", "a.jsonl"),
        (1, 'a "quote", a comma,\nand \u00e9', "a", "a.jsonl"),
        (None, None, "a", "a.jsonl"),
    ]
    bench.assert_level(TWO)
    assert bench.sync(TWO).loaded == []


def test_a_value_keeps_every_digit_that_it_is_spelled_with(bench: Workbench) -> None:
    line = line_of(
        id="9223372036854775807",
        amount="1e-3",
        price="12345678901234.5678",
        day='"2018/01/22"',
        moment='"2018-01-22T10:11:12.123456"',
        flag="true",
        note='"1.50"',
    )
    bench.land(EVENTS, "a.jsonl", line)
    assert bench.load(EVENTS)["a"].reason == ""
    assert [row[:7] for row in bench.rows(EVENTS)] == [
        (
            *(2**63 - 1, 0.001, Decimal("12345678901234.5678"), date(2018, 1, 22)),
            *(datetime(2018, 1, 22, 10, 11, 12, 123456), True, "1.50"),  # noqa: DTZ001
        )
    ]


LONG = f'{{"id": 1, "note": "{"x" * MAX_RECORD_CHARS}"}}\n'
BREACHES: dict[str, tuple[str | bytes, str]] = {
    "no bytes": ("", "the file is empty"),
    "no final line end": (SOUND + SOUND[:-1], f"line 2: {NO_LINE_END}"),
    "cut off in a value": (SOUND + '{"id', f"line 2: {NO_LINE_END}"),
    "empty line": (SOUND + "\n" + SOUND, "line 2: an empty line"),
    "white space": (SOUND + " \t\n", "line 2: an empty line"),
    "NUL": (SOUND + '{"id": 1, "note": "\0"}\n', "line 2: a NUL character"),
    "spelled NUL": (
        f'{{"id": 1, "note": "{CELL}\\u0000"}}\n',
        "line 1, column note: a NUL character",
    ),
    "half a surrogate pair": (
        '{"id": 1, "note": "\\ud83d"}\n',
        "line 1, column note: half a surrogate pair",
    ),
    "bad UTF-8": (SOUND.encode() + b'{"note": "\xff"}\n', "line 2: the bytes are not utf-8"),
    "long line": (SOUND + LONG, "line 2: a line of over 500,000 characters"),
    "no JSON": (f'{SOUND}{{"id": {CELL}}}\n', "line 2: not JSON from character 8 on"),
    "single quotes": ("{'id': 1}\n", "line 1: not JSON from character 2 on"),
    "text behind": (SOUND[:-1] + f" {CELL}\n", "line 1: not JSON from character 24 on"),
    "two objects": (SOUND[:-1] + SOUND, "line 1: not JSON from character 23 on"),
    "object over two lines": (
        '{"id": 1,\n"note": "x"}\n',
        "line 1: not JSON from character 10 on; line 2: not JSON from character 7 on",
    ),
    "an array": ('[1, "x"]\n', "line 1: not a JSON object"),
    "an array of pairs": ('[["id", 1], ["note", "x"]]\n', "line 1: not a JSON object"),
    "deep nesting": ("[" * 100_000 + "\n", "line 1: a nested value"),
    "a name is missing": ('{"id": 1}\n', "line 1, column note: missing"),
    "a name more": (
        f'{{"id": 1, "note": "x", "{CELL}": 1}}\n',
        "line 1: 1 name(s) that the feed does not have",
    ),
    "a name in capitals": ('{"ID": 1, "note": "x"}\n', "line 1, column id: missing"),
    "a name twice": (
        '{"id": 1, "note": "x", "id": 2}\n',
        "line 1, column id: there more than once",
    ),
    "a foreign name twice": (
        '{"id": 1, "note": "x", "y": 2, "y": 2}\n',
        "line 1: a name more than once",
    ),
    "a text for a number": (
        '{"id": "1", "note": "x"}\n',
        "line 1, column id: a text, where a number belongs",
    ),
    "a number for a text": (
        '{"id": 1, "note": 1}\n',
        "line 1, column note: a number, where a text belongs",
    ),
    "a truth for a text": (
        '{"id": 1, "note": true}\n',
        "line 1, column note: true or false, where a text belongs",
    ),
    "a nested object": (
        '{"id": 1, "note": {"a": 1}}\n',
        "line 1, column note: an object, where a text belongs",
    ),
    "a nested array": (
        '{"id": [1], "note": "x"}\n',
        "line 1, column id: an array, where a number belongs",
    ),
}


@pytest.mark.parametrize(("content", "problem"), BREACHES.values(), ids=list(BREACHES))
def test_a_breach_changes_no_row(
    bench: Workbench, content: str | bytes, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.land(TWO, "a.jsonl", '{"id": 7, "note": "old"}\n')
    bench.load(TWO)
    bench.land(TWO, "a.jsonl", content)
    bench.land(TWO, "b.jsonl", SOUND)
    outcome = bench.load(TWO)["a"]
    assert outcome.reason == f"a.jsonl: {problem}"
    assert [row[:3] for row in bench.rows(TWO)] == [(1, "x", "b"), (7, "old", "a")]
    assert bench.ledger(TWO).rows["a.jsonl"].error == outcome.reason
    assert CELL not in outcome.reason + caplog.text


VALUES = {
    "a fraction for a BIGINT": ({"id": "1.5"}, "column id: not a BIGINT"),
    "an exponent for a BIGINT": ({"id": "1e3"}, "column id: not a BIGINT"),
    "over the range of a BIGINT": ({"id": "9223372036854775808"}, "column id: not a BIGINT"),
    "over the range of a DOUBLE": ({"amount": "1e999"}, "column amount: not a DOUBLE"),
    "NaN": ({"amount": "NaN"}, "column amount: not a DOUBLE"),
    "infinity": ({"amount": "-Infinity"}, "column amount: not a DOUBLE"),
    "digits beyond a DECIMAL": ({"price": "1.00001"}, "column price: not a DECIMAL(18,4)"),
    "a day that is not year first": ({"day": '"22-01-2018"'}, "column day: not a DATE"),
    "a number for a day": ({"day": "20180122"}, "column day: a number, where a text belongs"),
    "an empty text for a day": ({"day": '""'}, "column day: an empty text, where null belongs"),
    "a text for a truth": (
        {"flag": '"true"'},
        "column flag: a text, where true or false belongs",
    ),
    "a number for a truth": ({"flag": "1"}, "column flag: a number, where true or false belongs"),
}


@pytest.mark.parametrize(("values", "problem"), VALUES.values(), ids=list(VALUES))
def test_a_value_that_its_column_does_not_take_is_named(
    bench: Workbench, values: dict[str, str], problem: str
) -> None:
    bench.land(EVENTS, "a.jsonl", line_of() + line_of(**values))
    assert bench.load(EVENTS)["a"].reason == f"a.jsonl: line 2, {problem}"
    assert bench.rows(EVENTS) == []


def test_a_feed_may_take_nan_and_infinity(bench: Workbench) -> None:
    feed = change_feed(EVENTS, non_finite_columns=("amount",))
    texts = ["NaN", "Infinity", "-Infinity", "1e999"]
    bench.land(feed, "a.jsonl", "".join(line_of(amount=text) for text in texts))
    assert bench.load(feed)["a"].reason == ""
    assert [str(row[1]) for row in bench.rows(feed)] == ["-inf", "inf", "inf", "nan"]


def test_a_row_that_breaks_a_rule_is_named(bench: Workbench) -> None:
    feed = change_feed(PRICES, format=JsonLinesFormat(), pattern="{date:%Y-%m-%d}.jsonl")
    bench.land(feed, "2018-01-22.jsonl", '{"day": "2018-01-22", "price": -1}\n')
    assert bench.load(feed)["2018-01-22"].reason == (
        "2018-01-22.jsonl: line 1, column price: not above 0 (price_is_positive)"
    )


@pytest.mark.parametrize("batch_rows", [1, 2, 50_000])
def test_bad_rows_are_put_aside_and_the_good_ones_load(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(text_format, "BATCH_ROWS", batch_rows)
    feed = change_feed(TWO, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    bad = ['{"id": 1.5, "note": "y"}', "{broken", "", '{"id": 1}']
    bench.land(feed, "a.jsonl", SOUND + "".join(f"{line}\n" for line in bad) + SOUND)
    outcome = bench.load(feed)["a"]
    assert (outcome.row_count, outcome.rejected_count) == (2, 4)
    assert [row[:2] for row in bench.rows(feed)] == [(1, "x")] * 2
    assert bench.query("SELECT line, column_name, reason, raw_line FROM rejected_rows") == [
        (2, "id", "not a BIGINT", bad[0]),
        (3, "", "not JSON from character 2 on", bad[1]),
        (4, "", "an empty line", bad[2]),
        (5, "note", "missing", bad[3]),
    ]
    bench.assert_level(feed)


def test_good_rows_that_the_table_does_not_take_refuse_their_file(bench: Workbench) -> None:
    bench.land(TWO, "a.jsonl", SOUND)
    bench.load(TWO)
    with bench.connect() as connection:
        connection.execute("CREATE UNIQUE INDEX one ON two (id)")
    bench.land(TWO, "b.jsonl", SOUND)
    assert bench.load(TWO)["b"].reason == (
        "b.jsonl: the table does not take its rows (ConstraintException): has it a constraint?"
    )
    assert [row[2] for row in bench.rows(TWO)] == ["a"]


COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}


@pytest.mark.parametrize("suffix", list(COMPRESS))
def test_a_compressed_file_loads_as_its_text_or_is_refused(bench: Workbench, suffix: str) -> None:
    compressed = COMPRESS[suffix]((SOUND * 1000).encode())
    bench.land(TWO, f"a.jsonl{suffix}", compressed)
    bench.land(TWO, f"b.jsonl{suffix}", compressed[:-5])
    outcomes = bench.load(TWO)
    assert outcomes["a"].row_count == 1000
    assert outcomes["b"].status is OutcomeStatus.REFUSED
    assert outcomes["b"].reason.endswith("the compressed data ends early: cut off?")
    assert {row[2:] for row in bench.rows(TWO)} == {("a", f"a.jsonl{suffix}")}


def test_a_file_that_changes_as_its_rows_are_read_is_not_committed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.land(TWO, "a.jsonl", f"{SOUND[:-1]}\r\n{SOUND}")  # which is read line by line
    original = JsonLinesFormat.read_records

    def change_and_read(*args: Any) -> Any:
        path.write_text('{"id": 2, "note": "y"}\n' * 2, encoding="utf-8")
        return original(*args)

    monkeypatch.setattr(JsonLinesFormat, "read_records", change_and_read)
    assert bench.load(TWO)["a"].status is OutcomeStatus.CHANGED
    assert bench.rows(TWO) == []


def test_a_long_line_takes_little_memory(bench: Workbench) -> None:
    bench.land(TWO, "a.jsonl.gz", gzip.compress(b'{"note": "' + b" " * (200 << 20) + b'"}\n', 1))
    tracemalloc.start()
    try:
        reason = bench.load(TWO)["a"].reason
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reason == "a.jsonl.gz: line 1: a line of over 500,000 characters"
    assert peak_bytes < 100 << 20


texts = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
tables = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.integers(-(10**13), 10**13).map(lambda n: Decimal(n) / 10_000),
        st.none() | st.dates(),
        st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001
        st.none() | st.booleans(),
        texts,
    ),
    min_size=1,
    max_size=7,
)


def write_json_lines(rows: list[tuple[Any, ...]], seed: int, *, escape: bool) -> str:
    """Write rows with the names of each in an order of its own."""
    lines = []
    for row in rows:
        values = list(zip(EVENTS.columns, row, strict=True))
        random.Random(seed).shuffle(values)
        members = [
            f"{json.dumps(name)}:"
            + (f"{value:f}" if isinstance(value, Decimal) else dump(value, escape))
            for name, value in values
        ]
        lines.append("{" + ",".join(members) + "}\n")
    return "".join(lines)


def dump(value: object, escape: bool) -> str:
    return json.dumps(value, default=str, ensure_ascii=escape)


@pytest.mark.scaled
def test_the_rows_that_a_json_writer_wrote_are_the_rows_of_the_table(bench: Workbench) -> None:
    with bench.open_table(EVENTS) as table:

        @try_examples(25)
        @given(tables, st.integers(0, 9), st.booleans())
        def check(rows: list[tuple[Any, ...]], seed: int, escape: bool) -> None:
            bench.land(EVENTS, "a.jsonl", write_json_lines(rows, seed, escape=escape))
            (outcome,) = load_files(table, bench.landing, bench.list_files(EVENTS))
            assert outcome.reason == ""
            loaded = table.duck.execute(
                "SELECT * EXCLUDE (partition_key, source_file) FROM events ORDER BY rowid"
            )
            assert loaded.fetchall() == rows

        check()


SEEN = {
    "mixed line ends": (f"{SOUND[:-1]}\r\n{SOUND}", ""),
    "a return between two objects": (f"{SOUND[:-1]}\r{SOUND}\n", "line 1: not JSON from"),
    "a return within an object": ('{"id": 1,\r"note": "x"}\n', ""),
    "a delimiter at the end": (f"{SOUND[:-1]}\x01\n", "line 1: not JSON from"),
    "a long line of letters that are no ASCII": (f'{{"id": 1, "note": "{"é" * 400_000}"}}\n', ""),
    "not JSON, and no ASCII": ('{"id": 1, "note": "' + "é\u20ac" * 999 + "\n", "line 1: not JSON"),
}


@pytest.mark.parametrize(("content", "start"), SEEN.values(), ids=list(SEEN))
def test_what_duckdb_would_not_show_is_read_line_by_line(
    bench: Workbench, content: str, start: str
) -> None:
    bench.land(TWO, "a.jsonl", content)
    outcome = bench.load(TWO)["a"]
    assert outcome.reason.startswith(f"a.jsonl: {start}" if start else "")
    assert outcome.is_loaded == (not start)
