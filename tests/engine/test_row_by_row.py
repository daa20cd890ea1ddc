"""Row by row: the rows are the same, in the same order, as those of a load of the whole file."""

import gzip
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import text as text_format
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.landing import landing as landing_module
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.replace import Candidate, Stage, replace_rows
from support.scale import try_examples
from support.workbench import NOTES, Workbench, change_feed, land_numbers, loaded_numbers

TYPED = Feed(
    name="typed",
    folder="typed",
    pattern="{key}.csv",
    columns={
        "id": "BIGINT",
        "amount": "DOUBLE",
        "price": "DECIMAL(18,4)",
        "day": "DATE",
        "moment": "TIMESTAMP",
        "flag": "BOOLEAN",
        "note": "VARCHAR",
        "other": "VARCHAR",
    },
    table="typed",
)
some_text = st.none() | st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]))
tables = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.decimals(-(10**9), 10**9, places=4),
        st.none() | st.dates(),
        st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001
        st.none() | st.booleans(),
        some_text,
        some_text,
    ),
    max_size=7,
)


def write_field(value: object, dialect: CsvFormat, *, quote_all: bool) -> str:
    """Write a value so that no value is unquoted and nothing, and an empty text is quoted."""
    if value is None:
        return ""
    text = str(value)
    special = {dialect.delimiter, dialect.quote, "\n"} & set(text)
    if text and not special and not quote_all:
        return text
    for char in {dialect.escape, dialect.quote}:
        text = text.replace(char, dialect.escape + char)
    return f"{dialect.quote}{text}{dialect.quote}"


@st.composite
def dialects(draw: st.DrawFn) -> CsvFormat:
    quote = draw(st.sampled_from("\"'^"))
    return CsvFormat(
        delimiter=draw(st.sampled_from(",;\t| :")),
        quote=quote,
        escape=quote,
        header=draw(st.booleans()),
        encoding=draw(st.sampled_from(["utf-8", "utf-16"])),
    )


def read_table(connection: duckdb.DuckDBPyConnection, feed: Feed) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT * FROM {feed.table} ORDER BY rowid").fetchall()


@pytest.mark.scaled
@pytest.mark.parametrize("batch_rows", [1, 3, 50_000])
def test_row_by_row_loads_what_a_load_of_the_whole_file_loads(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(text_format, "BATCH_ROWS", batch_rows)
    with bench.open() as opened, opened.table(TYPED).scratch() as scratch:
        opened.table(TYPED).prepare()

        @try_examples(10)
        @given(tables, dialects(), st.sampled_from(["\n", "\r\n"]), st.booleans())
        def check(rows: list[Any], csv: CsvFormat, line_end: str, quote_all: bool) -> None:
            feed = change_feed(TYPED, format=csv)
            table = [tuple(feed.columns), *rows] if csv.header else rows
            fields = ([write_field(v, csv, quote_all=quote_all) for v in row] for row in table)
            text = "".join(csv.delimiter.join(row) + line_end for row in fields)
            assume(text)
            bench.land(feed, "a.csv", text.encode(csv.encoding))
            (file,) = bench.list_files(feed)
            survey = csv.survey(feed, file, scratch=scratch)
            assert survey.problems == []
            for stage in (Stage.VALIDATED, Stage.SURVEYED):
                candidate = Candidate(file, feed, survey, stage)
                try:
                    replace_rows(opened.table(feed), [candidate], "")
                except duckdb.InvalidInputException:
                    # DuckDB takes a line feed in the first row for the line end of the file, and
                    # reads no row. A load then goes on row by row.
                    assert stage is Stage.SURVEYED
                    assert "\n" in "".join(text or "" for text in table[0][6:])
                    assert line_end == "\r\n"
                loaded = read_table(opened.duck, feed)
                assert [row[:8] for row in loaded] == [tuple(row) for row in rows]
                assert {row[8:] for row in loaded} <= {("a", "a.csv")}

        check()


def test_row_by_row_goes_by_the_names_of_the_header(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_format, "BATCH_ROWS", 2)
    feed = change_feed(
        NOTES,
        format=CsvFormat(any_column_order=True),
        bad_rows=BadRows.QUARANTINE,
        max_rejected_percent=100,
    )
    bench.land(feed, "a.csv", "note,id\nx,1\nbad,y\nz,3\n")
    assert bench.load(feed)["a"].rejected_count == 1
    assert [row[:2] for row in bench.rows(feed)] == [(1, "x"), (3, "z")]


def test_the_whole_of_a_long_file_is_loaded_in_its_order(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_format, "BATCH_ROWS", 1_000)
    bench.land(NOTES, "a.csv", "id,note\n" + "".join(f"{n},{n % 7}\n" for n in range(5_003)))
    (file,) = bench.list_files(NOTES)
    with bench.open_table(NOTES) as table:
        table.prepare()
        candidate = Candidate(file, NOTES, NOTES.format.survey(NOTES, file), Stage.VALIDATED)
        replace_rows(table, [candidate], "")
        found = table.duck.execute("SELECT id, note FROM raw_notes ORDER BY rowid").fetchall()
    assert found == [(n, str(n % 7)) for n in range(5_003)]
    assert bench.ledger(NOTES).rows["a.csv"].row_count == 5_003


CHANGES = {
    "other bytes": b"id,note\n1,\xff\n",
    "no bytes": b"",
    "fewer rows": b"id,note\n",
    "more rows": b"id,note\n1,x\n1.5,x\n2,x\n3,x\n",
    "a quote that is not closed": b'id,note\n1,"x\n',
}
SHIFTED = "id,note\n1,x\n1.5,x\n"
READINGS = ("surveyed", "validated", "loaded")
"""What the text of a file with a bad row is read for, in this order."""


@pytest.mark.parametrize("content", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("reading", READINGS[1:])
def test_a_file_that_changes_while_it_is_read_row_by_row_does_not_stop_the_batch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, content: bytes, reading: str
) -> None:
    feed = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    path = bench.land(feed, "a.csv", "id,note\n0,old\n")
    bench.load(feed)
    bench.land(feed, "a.csv", SHIFTED)
    land_numbers(bench, "b", 7)
    change_once_opened(monkeypatch, path, content, reading)
    outcomes = bench.load(feed)
    assert outcomes["a"].status is OutcomeStatus.CHANGED
    assert outcomes["a"].reason.startswith("a.csv: changed while it was read")
    assert [row[:3] for row in bench.rows(feed)] == [(0, "old", "a"), (7, "x", "b")]
    assert bench.query("SELECT count(*) FROM rejected_rows") == [(0,)]


def change_once_opened(
    monkeypatch: pytest.MonkeyPatch, path: Path, content: bytes, reading: str
) -> None:
    """Change a file after it was opened for one of the readings."""
    original: Callable[..., Any] = text_format.open_content
    opened: list[Any] = []

    def open_and_change(file: Any, handle: Any, **options: Any) -> Any:
        if file.path == path and handle not in opened:
            opened.append(handle)
            if READINGS[len(opened) - 1] == reading:
                path.write_bytes(content)
        return original(file, handle, **options)

    monkeypatch.setattr(text_format, "open_content", open_and_change)


@pytest.mark.parametrize("content", CHANGES.values(), ids=list(CHANGES))
def test_a_file_that_changes_between_two_looks_of_its_survey_does_not_stop_the_batch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    path = bench.land(NOTES, "a.csv", "id,note\n0,old\n")
    bench.load(NOTES)
    bench.land(NOTES, "a.csv", 'id,note\n1,"x"\n')
    land_numbers(bench, "b", 7)
    original = CsvFormat.survey_records

    def change(csv: Any, *known: Any) -> None:
        if path.read_bytes().endswith(b'1,"x"\n'):
            path.write_bytes(content)
        original(csv, *known)

    monkeypatch.setattr(CsvFormat, "survey_records", change)
    bench.load(NOTES)
    assert loaded_numbers(bench) == {"a": [0], "b": [7]}


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b\x08garbage", b"id,note\n"])
def test_a_compressed_file_that_changes_while_it_is_read_does_not_stop_the_batch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    feed = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    path = bench.land(feed, "a.csv.gz", gzip.compress(SHIFTED.encode(), mtime=0))
    land_numbers(bench, "b", 7)
    change_once_opened(monkeypatch, path, damage, "loaded")
    assert bench.load(feed)["a"].status is OutcomeStatus.CHANGED
    assert loaded_numbers(bench) == {"b": [7]}


@pytest.mark.parametrize("characters", [5, 2_000], ids=["short rows", "long rows"])
def test_memory_does_not_grow_with_the_file(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    monkeypatch.setattr(landing_module, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(text_format, "BATCH_ROWS", 500)
    monkeypatch.setattr(text_format, "BATCH_CHARS", 50_000)
    feed = change_feed(NOTES, format=JsonLinesFormat(), pattern="{key}.jsonl")
    row = f'{{"id": 1, "note": "{"x" * characters}"}}\n'
    few, many = 100_000 // len(row), 1_000_000 // len(row)
    peaks: dict[int, list[int]] = {few: [], many: []}
    # The least of several: a thread that an earlier test left may allocate meanwhile.
    for rows in (few, few, many, few, many):
        bench.land(feed, "a.jsonl", row * rows)
        tracemalloc.start()
        assert bench.load(feed)["a"].row_count == rows
        peaks[rows].append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks[many]) < 2 * min(peaks[few])
