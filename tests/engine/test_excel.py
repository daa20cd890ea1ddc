"""Excel: each cell is loaded exactly as it is stored, or named by sheet and place and refused."""

import html
import random
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from openpyxl import Workbook

from partitioned_etl.engine.contract import BadRows, RowRule
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.excel import ExcelFormat
from partitioned_etl.engine.formats.workbooks import xlsx
from partitioned_etl.engine.formats.workbooks.registry import open_workbook
from partitioned_etl.engine.formats.workbooks.workbook import Kind
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.project import project_dir
from support.scale import IS_SEEDED, examples
from support.workbench import Workbench, change_feed
from support.workbooks import (
    SHEET,
    fill_sheet,
    first_sheet,
    make_cells,
    make_ods,
    make_xlsx,
    make_zip,
    ods_row,
    read_part,
    replace_part,
    save,
)

PRICES = Feed(
    name="prices",
    pattern="{key}.xlsx",
    columns={"article": "VARCHAR", "pieces": "BIGINT", "price": "DECIMAL(10, 2)", "day": "DATE"},
    format=ExcelFormat(),
)
HEADER = ("article", "pieces", "price", "day")
FIRST = ("A 1", 3, 9.99, date(2024, 2, 29))
SECOND = ("A 2", None, 0.5, date(2024, 3, 1))
LOADED = [
    ("A 1", 3, Decimal("9.99"), date(2024, 2, 29), "a", "a.xlsx"),
    ("A 2", None, Decimal("0.50"), date(2024, 3, 1), "a", "a.xlsx"),
]
XLS = (project_dir() / "tests/support/corpora/workbooks/prices.xls").read_bytes()


at = datetime.fromisoformat


def change_format(feed: Feed = PRICES, **options: Any) -> Feed:
    return change_feed(feed, format=ExcelFormat(**options))


def load(bench: Workbench, content: bytes, feed: Feed = PRICES) -> str:
    """Land and load a workbook; give the reason why it is refused."""
    name = feed.pattern.replace("{key}", "a")
    bench.land(feed, name, content)
    return bench.load(feed)["a"].reason.removeprefix(f"{name}: ")


def one_column(type_name: str, **options: Any) -> Feed:
    return change_feed(PRICES, columns={"a": type_name}, format=ExcelFormat(**options))


def test_a_sheet_is_loaded_and_its_rows_are_those_that_were_counted(bench: Workbench) -> None:
    bench.land(PRICES, "b.xlsx", make_xlsx(HEADER))
    assert load(bench, make_xlsx(HEADER, FIRST, SECOND)) == ""
    assert bench.rows(PRICES) == LOADED
    assert [row.file_row_count for row in bench.ledger(PRICES)] == [2, 0]
    bench.assert_level(PRICES)
    assert bench.sync(PRICES).loaded == []


NUMBER, DAY, STAMP, TIME, LONG = (
    "<c><v>{}</v></c>".format,
    '<c s="1"><v>{}</v></c>'.format,
    '<c s="2"><v>{}</v></c>'.format,
    '<c s="3"><v>{}</v></c>'.format,
    '<c s="4"><v>{}</v></c>'.format,
)
TEXT = '<c t="inlineStr"><is><t xml:space="preserve">{}</t></is></c>'.format
ISO = '<c t="d"><v>{}</v></c>'.format
TAKEN: list[tuple[str, str, Any]] = [
    (NUMBER("12"), "INTEGER", 12),
    (NUMBER("1.2E1"), "INTEGER", 12),
    (NUMBER("-9007199254740991"), "BIGINT", -9007199254740991),
    (NUMBER("0.1"), "DOUBLE", 0.1),
    (NUMBER("1E-3"), "DOUBLE", 0.001),
    (NUMBER("5.1100000000000003"), "DECIMAL(10, 2)", Decimal("5.11")),
    (NUMBER("1E-2"), "DECIMAL(10, 2)", Decimal("0.01")),
    (NUMBER("4"), "DECIMAL(10, 2)", Decimal("4.00")),
    ('<c t="b"><v>1</v></c>', "BOOLEAN", True),
    (DAY("61"), "DATE", date(1900, 3, 1)),
    (DAY("45351"), "TIMESTAMP", at("2024-02-29 00:00:00")),
    (STAMP("45351.4244444444"), "TIMESTAMP", at("2024-02-29 10:11:12")),
    (STAMP("45351.42444844907"), "TIMESTAMP", at("2024-02-29 10:11:12.346000")),
    (STAMP("45351.999999999994"), "TIMESTAMP", at("2024-03-01 00:00:00")),
    (STAMP("45351"), "DATE", date(2024, 2, 29)),
    (TIME("0.5"), "TIME", time(12)),
    (TIME("0"), "TIME", time(0)),
    (ISO("2024-02-29"), "DATE", date(2024, 2, 29)),
    (ISO("2024-02-29T10:11:12.123456"), "TIMESTAMP", at("2024-02-29 10:11:12.123456")),
    (ISO("10:11:12"), "TIME", time(10, 11, 12)),
    (TEXT(' a,"b" &amp; &#8364;\n_x0041_ '), "VARCHAR", ' a,"b" & €\nA '),
    ('<c t="inlineStr"><is><t> a </t></is></c>', "VARCHAR", "a"),
    (
        '<c t="inlineStr"><is><r><t>a</t></r><rPh><t>x</t></rPh><r><t>b</t></r></is></c>',
        "VARCHAR",
        "ab",
    ),
    ('<c t="str"><f>"4"&amp;"2"</f><v>42</v></c>', "VARCHAR", "42"),
    ("<c><f>6*7</f><v>42</v></c>", "INTEGER", 42),
    (TEXT("_xD83D__xDE00__x005F_x0041_"), "VARCHAR", "\U0001f600_x0041_"),
    (TEXT(""), "VARCHAR", None),
    ('<c s="1"/>', "DATE", None),
]


def test_a_cell_is_loaded_exactly(bench: Workbench) -> None:
    for start in range(0, len(TAKEN), 20):
        taken = TAKEN[start : start + 20]
        letters = "abcdefghijklmnopqrstuvwxyz"[: len(taken)]
        types = [type_name for _, type_name, _ in taken]
        feed = change_feed(PRICES, columns=dict(zip(letters, types, strict=True)))
        feed = change_feed(feed, name=f"p{start}", folder=f"p{start}", table=f"p{start}")
        # The last column holds the row, where all others are empty.
        cells = [*(cell for cell, _, _ in taken)]
        assert load(bench, make_cells(*cells), feed) == ""
        [row] = bench.rows(feed)
        for given, wanted in zip(row, taken, strict=False):
            assert (wanted[0], given) == (wanted[0], wanted[2])


ESCAPED = ["a", "&amp;amp;", "&lt;&quot;b&apos;&gt;", "&amp;lt;", "c &amp; d"]


@pytest.mark.parametrize("other", ["plain", "&#8364;", "&#x41;", "_x0041_", "e\nf"])
def test_texts_that_are_unescaped_together_are_what_each_of_them_is(
    bench: Workbench, other: str
) -> None:
    texts = [*ESCAPED, other]
    whole = make_xlsx(("a",), *((one,) for one in texts))
    written = "".join(
        f'<row r="{row}">{TEXT(one).replace("<c ", f"""<c r="A{row}" """)}</row>'
        for row, one in enumerate(texts, 2)
    )
    sheet, _, _ = read_part(whole, SHEET).partition('<row r="2"')
    feed = one_column("VARCHAR")
    sheet += f"{written}</sheetData></worksheet>"
    assert load(bench, replace_part(whole, SHEET, sheet), feed) == ""
    assert [row[0] for row in bench.rows(feed)] == sorted(
        html.unescape(one).replace("_x0041_", "A") for one in texts
    )


REFUSED: dict[str, tuple[str, str, str]] = {
    "text for a number": (TEXT("12,5"), "DOUBLE", "a text, where a number belongs"),
    "text for a day": (TEXT("2024-02-29"), "DATE", "a text, where a date belongs"),
    "number for a text": (NUMBER("4711"), "VARCHAR", "a number, where a text belongs"),
    "number for a day": (NUMBER("45351"), "DATE", "a number, where a date belongs"),
    "number for a truth": (NUMBER("1"), "BOOLEAN", "a number, where true or false belongs"),
    "truth for a number": (
        '<c t="b"><v>1</v></c>',
        "INTEGER",
        "true or false, where a number belongs",
    ),
    "day for a number": (DAY("45351"), "INTEGER", "a date or time, where a number belongs"),
    "day for a text": (DAY("45351"), "VARCHAR", "a date or time, where a text belongs"),
    "time in a day": (STAMP("45351.5"), "DATE", "a time of day, where a date belongs"),
    "day in a time": (STAMP("45351.5"), "TIME", "a date, where a time of day belongs"),
    "no time zone": (
        STAMP("45351.5"),
        "TIMESTAMPTZ",
        "a date or time, where a date and time with a time zone belongs",
    ),
    "duration": (LONG("1.5"), "TIME", "a duration, where a time of day belongs"),
    "early day": (
        DAY("60"),
        "DATE",
        "a date before 1 March 1900, of which programs make different days",
    ),
    "negative day": (DAY("-1"), "DATE", "a date that is none"),
    "day after the last": (DAY("2958466"), "DATE", "a date that is none"),
    "microseconds": (STAMP("45351.42444845"), "TIMESTAMP", "a time finer than a millisecond"),
    "24 o'clock": (TIME("0.9999999999"), "TIME", "a time finer than a millisecond"),
    "fraction": (NUMBER("1.5"), "INTEGER", "no whole number"),
    "decimals": (
        NUMBER("0.30000000000000004"),
        "DECIMAL(10, 2)",
        "a number with more than 2 decimals",
    ),
    "16 digits": (
        NUMBER("12345678901234567"),
        "BIGINT",
        "a number of more than 15 digits, which no workbook keeps",
    ),
    "too large": (NUMBER("300"), "TINYINT", "not a TINYINT"),
    "no number": (NUMBER("1_0"), "DOUBLE", "a number that is none"),
    "error": ('<c t="e"><f>1/0</f><v>#DIV/0!</v></c>', "DOUBLE", "an error"),
    "formula": ("<c><f>1+1</f><v></v></c>", "DOUBLE", "a formula without a stored value"),
    "NUL": (TEXT("a_x0000_b"), "VARCHAR", "a NUL character"),
    "surrogate": (TEXT("a_xD83D_b"), "VARCHAR", "half a surrogate pair"),
}


@pytest.mark.parametrize(("cell", "type_name", "problem"), REFUSED.values(), ids=list(REFUSED))
def test_a_cell_that_its_column_does_not_take_is_named(
    bench: Workbench, cell: str, type_name: str, problem: str
) -> None:
    feed = one_column(type_name)
    assert load(bench, make_cells(cell), feed) == f"sheet Prices, cell A2, column a: {problem}"
    assert bench.rows(feed) == []
    bench.land(feed, "a.xlsx", make_cells(cell))
    quarantine = change_feed(feed, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    assert bench.load(quarantine)["a"].rejected_count == 1
    assert bench.query("SELECT line, column_name, reason FROM rejected_rows") == [(2, "a", problem)]


def test_texts_may_stand_for_numbers_and_whole_numbers_for_texts(bench: Workbench) -> None:
    columns = {"article": "VARCHAR", "pieces": "BIGINT", "day": "DATE", "open": "BOOLEAN"}
    feed = change_feed(PRICES, columns=columns, format=ExcelFormat(numbers_as_texts=True))
    content = make_xlsx(columns, (4711, "12", "2024-02-29", "true"), ("A", 3, None, False))
    assert load(bench, content, feed) == ""
    assert [row[:4] for row in bench.rows(feed)] == [
        ("4711", 12, date(2024, 2, 29), True),
        ("A", 3, None, False),
    ]
    bad = make_xlsx(columns, (47.11, "12", None, None), ("A", "1.5", None, None))
    assert load(bench, bad, feed) == "sheet Prices, cell A2, column article: no whole number"
    bad = make_xlsx(columns, ("A", "12", None, None), ("A", "1.5", None, None))
    assert load(bench, bad, feed) == "sheet Prices, cell B3, column pieces: not a BIGINT"


def test_calculated_numbers_may_be_rounded_to_15_digits(bench: Workbench) -> None:
    feed = change_feed(
        PRICES,
        columns={"a": "DECIMAL(10, 2)", "b": "INTEGER", "c": "DOUBLE"},
        format=ExcelFormat(round_to_15_digits=True),
    )
    cells = [NUMBER(one) for one in ("0.30000000000000004", "2.9999999999999996", "0.1")]
    assert load(bench, make_cells(*cells), feed) == ""
    assert bench.rows(feed)[0][:3] == (Decimal("0.30"), 3, 0.1)
    more = "sheet Prices, cell A2, column a: a number with more than 2 decimals"
    assert load(bench, make_cells(NUMBER("0.3000000000001"), *cells[1:]), feed) == more


def test_a_row_may_be_empty_in_the_only_column(bench: Workbench) -> None:
    feed = one_column("VARCHAR", extra_columns="ignore")
    content = make_xlsx(("a", "b"), ("\ufeffx", 1), (None, 2), ("y", None))
    assert load(bench, content, feed) == ""
    assert [row[0] for row in bench.query("SELECT a FROM prices")] == ["\ufeffx", None, "y"]


def test_value_options_hold_for_texts_alone(bench: Workbench) -> None:
    columns = {
        "article": {"type": "VARCHAR", "trim": True},
        "price": "DECIMAL(10, 3)",
        "day": {"type": "DATE", "date_format": "%d.%m.%Y"},
        "due": {"type": "DATE", "date_format": "excel"},
        "sent": {"type": "DATE", "date_format": "%Y%m%d"},
        "open": {"type": "BOOLEAN", "true_texts": ["ja"], "false_texts": ["nein"]},
    }
    options = {"decimal": ",", "thousands": ".", "strip": ["€"], "nulls": ["n/a", "-999"]}
    feed = change_feed(
        PRICES, columns=columns, values=options, format=ExcelFormat(numbers_as_texts=True)
    )
    day = date(2024, 2, 29)
    rows = [
        (4711, 1.234, day, day, day, True),
        (" A ", "1.234,5 €", "29.02.2024", 45351, 20240229, "ja"),
        ("n/a", "n/a", "n/a", None, "n/a", "n/a"),
        ("b", -999, None, None, None, False),
    ]
    assert load(bench, make_xlsx(columns, *rows), feed) == ""
    assert [row[:6] for row in bench.rows(feed)] == [
        ("4711", Decimal("1.234"), day, day, day, True),
        ("A", Decimal("1234.500"), day, day, day, True),
        ("b", None, None, None, None, False),
        (None, None, None, None, None, None),
    ]
    bad = make_xlsx(columns, (1, "1.234.5", None, None, None, None))
    assert load(bench, bad, feed).startswith("sheet Prices, cell B2, column price: not a DECIMAL")
    strict = change_feed(feed, format=ExcelFormat())
    assert load(bench, make_xlsx(columns, *rows[2:]), strict) == ""
    bad = make_xlsx(columns, ("A", "1,5", None, None, None, None))
    assert load(bench, bad, strict).endswith("price: a text, where a number belongs")


def test_days_may_count_from_1904(bench: Workbench) -> None:
    content = make_cells(DAY("0"), STAMP("43889.5"))
    book = read_part(content, "xl/workbook.xml")
    book = book.replace("<workbookPr ", '<workbookPr date1904="1" ')
    feed = change_feed(PRICES, columns={"a": "DATE", "b": "TIMESTAMP"})
    assert load(bench, replace_part(content, "xl/workbook.xml", book), feed) == ""
    assert bench.rows(feed)[0][:2] == (date(1904, 1, 1), at("2024-02-29 12:00:00"))


def title(*rows: tuple[Any, ...]) -> bytes:
    return make_xlsx(("Prices of February",), (), *rows)


NOTE = (None, None, None, None, "note")
SHAPES: dict[str, tuple[dict[str, Any], bytes]] = {
    "title": ({"header_row": 3}, title(HEADER, FIRST, SECOND)),
    "no header": ({"header": False}, make_xlsx(FIRST, SECOND)),
    "range": ({"range": "A3:D5"}, title(HEADER, FIRST, SECOND, ("x",))),
    "columns": ({"range": "A:D"}, make_xlsx((*HEADER, None), (*FIRST, "x"), SECOND)),
    "range without header": (
        {"range": "B2:E", "header": False},
        make_xlsx((), (None, *FIRST), (None, *SECOND)),
    ),
    "footer": (
        {"footer_lines": 2},
        make_xlsx(HEADER, FIRST, SECOND, (), ("Total", "3"), ("Source: Zaphod",)),
    ),
    "empty rows": ({"skip_empty_rows": True}, make_xlsx(HEADER, (), FIRST, (), (), SECOND)),
    "any order": (
        {"any_column_order": True},
        make_xlsx(HEADER[::-1], FIRST[::-1], SECOND[::-1]),
    ),
    "capitals": (
        {"header_ignores_case": True},
        make_xlsx(("Article ", "PIECES", "price", "day"), FIRST, SECOND),
    ),
    "extra": (
        {"extra_columns": "ignore"},
        make_xlsx((*HEADER, "note"), (*FIRST, "=1/0"), (*SECOND, 2)),
    ),
    "shifted": ({}, make_xlsx((None, *HEADER), (None, *FIRST), (None, *SECOND))),
}


@pytest.mark.parametrize(("options", "content"), SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("chunk_bytes", [64, 1 << 22])
def test_a_table_lies_where_the_feed_says(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    content: bytes,
    chunk_bytes: int,
) -> None:
    monkeypatch.setattr("partitioned_etl.engine.formats.workbooks.xlsx._CHUNK_BYTES", chunk_bytes)
    feed = change_format(**options)
    assert load(bench, content, feed) == ""
    assert bench.rows(feed) == LOADED


def two_sheets(*, is_hidden: bool = False) -> bytes:
    workbook = Workbook()
    fill_sheet(first_sheet(workbook), "Prices", HEADER, FIRST, SECOND)
    other = workbook.create_sheet("Notes")
    other.append(["x"])
    other.sheet_state = "hidden" if is_hidden else "visible"
    return save(workbook)


def merged() -> bytes:
    workbook = Workbook()
    sheet = first_sheet(workbook)
    fill_sheet(sheet, "Prices", HEADER, FIRST, SECOND)
    sheet.merge_cells("A3:A4")
    return save(workbook)


def test_a_sheet_goes_by_name_or_number_or_is_the_only_visible_one(bench: Workbench) -> None:
    for number, sheet in enumerate(("Prices", 1)):
        feed = change_feed(change_format(sheet=sheet), name=f"p{number}", table=f"p{number}")
        assert load(bench, two_sheets(), feed) == ""
        assert bench.rows(feed) == LOADED
    assert load(bench, two_sheets(is_hidden=True)) == ""
    assert bench.rows(PRICES) == LOADED


WRONG: dict[str, tuple[Callable[[], bytes], dict[str, Any], str]] = {
    "several sheets": (
        two_sheets,
        {},
        "the workbook has several sheets, and the feed names none: Prices, Notes",
    ),
    "no such sheet": (
        two_sheets,
        {"sheet": "Preise"},
        "the workbook has no sheet Preise, only Prices, Notes",
    ),
    "no third sheet": (
        two_sheets,
        {"sheet": 3},
        "the workbook has no sheet 3, only Prices, Notes",
    ),
    "a column missing": (
        lambda: make_xlsx(HEADER[:3], FIRST[:3]),
        {},
        "sheet Prices, row 1: header: column day is missing",
    ),
    "a value beside": (
        lambda: make_xlsx(HEADER, (*FIRST, "x")),
        {},
        "sheet Prices, cell E2: a value in a column without a name",
    ),
    "an empty row": (
        lambda: make_xlsx(HEADER, FIRST, (), SECOND),
        {},
        "sheet Prices, row 3: an empty row",
    ),
    "merged cells": (
        merged,
        {},
        "sheet Prices, cell A3: merged with other cells, of which only one has the value",
    ),
    "a date in the header": (
        lambda: make_xlsx((date(2024, 1, 1), *HEADER[1:]), FIRST),
        {},
        "sheet Prices, cell A1: a date or time in the header",
    ),
    "too small for the footer": (
        lambda: make_xlsx(HEADER, FIRST),
        {"footer_lines": 2},
        "sheet Prices has fewer rows than its footer",
    ),
    "an empty sheet": (
        make_xlsx,
        {},
        "sheet Prices, row 1: header: column article is missing",
    ),
}


@pytest.mark.parametrize(("make", "options", "problem"), WRONG.values(), ids=list(WRONG))
def test_a_sheet_of_another_shape_is_refused(
    bench: Workbench, make: Callable[[], bytes], options: dict[str, Any], problem: str
) -> None:
    assert load(bench, make(), change_format(**options)).startswith(problem)
    assert bench.rows(PRICES) == []


def bomb() -> bytes:
    content = make_xlsx(HEADER, FIRST)
    return replace_part(content, "xl/media/image1.bin", bytes(1 << 24))


def declare_entities() -> bytes:
    content = make_xlsx(HEADER, FIRST)
    text = read_part(content, SHEET)
    return replace_part(content, SHEET, '<!DOCTYPE worksheet [<!ENTITY a "b">]>' + text)


def far_away() -> bytes:
    """A workbook whose cells would fill the memory, if all between them were made."""
    content = make_xlsx(HEADER, FIRST)
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    return replace_part(content, SHEET, read_part(content, SHEET).replace("</sheetData>", far))


def cut_sheet() -> bytes:
    content = make_xlsx(HEADER, FIRST)
    return replace_part(content, SHEET, read_part(content, SHEET).partition("</sheetData>")[0])


DAMAGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no bytes": (lambda: b"", "the file is empty"),
    "CSV": (lambda: b"article,pieces\nA,1\n", "the file is no workbook"),
    "HTML": (
        lambda: b"<html><table>",
        "the file is no workbook: it is a text in HTML or XML",
    ),
    "cut off": (
        lambda: make_xlsx(HEADER, FIRST)[:-100],
        "the workbook is damaged (BadZipFile)",
    ),
    "a cut sheet": (cut_sheet, "the workbook is damaged: the sheet has no end"),
    "another archive": (
        lambda: make_zip({"a.csv": "a\n"}),
        "the file is an archive, and no workbook",
    ),
    "xlsb": (
        lambda: make_zip({"xl/workbook.bin": "x"}),
        "the workbook is of the kind .xlsb: save it as .xlsx",
    ),
    "bomb": (bomb, "decompressed, the workbook is over 1,048,576 bytes"),
    "entities": (
        declare_entities,
        "the workbook declares entities, which no program writes",
    ),
    "far away": (far_away, "sheet Prices, row 3: an empty row"),
    "password": (
        lambda: make_zip(
            {
                "mimetype": "x",
                "content.xml": "x",
                "META-INF/manifest.xml": "<manifest:encryption-data/>",
            }
        ),
        "the workbook is protected by a password",
    ),
}


@pytest.mark.parametrize(("make", "problem"), DAMAGE.values(), ids=list(DAMAGE))
def test_a_workbook_that_cannot_be_read_changes_no_row(
    bench: Workbench, make: Callable[[], bytes], problem: str
) -> None:
    assert load(bench, make_xlsx(HEADER, FIRST, SECOND)) == ""
    feed = change_feed(PRICES, max_uncompressed_bytes=1 << 20)
    assert load(bench, make(), feed).startswith(problem)
    assert bench.rows(PRICES) == LOADED


@pytest.mark.parametrize("kind", ["xlsx", "xls", "ods"])
def test_a_workbook_that_is_damaged_anywhere_is_refused_or_loaded(
    bench: Workbench, kind: str
) -> None:
    whole = {"xlsx": make_xlsx(HEADER, FIRST, SECOND), "xls": XLS, "ods": make_ods(*ODS_ROWS)}[kind]
    feed = change_format(sheet=1)
    randomly = random.Random(kind)
    for _ in range(25):
        damaged = bytearray(whole)
        for _ in range(randomly.choice((1, 5, 30))):
            damaged[randomly.randrange(len(damaged))] = randomly.randrange(256)
        content = bytes(damaged[: randomly.choice((len(whole), randomly.randrange(len(whole))))])
        bench.land(feed, "a.xlsx", content)
        outcome = bench.load(feed)["a"]
        assert outcome.status in (OutcomeStatus.REFUSED, OutcomeStatus.LOADED)


def spell_otherwise(content: bytes) -> bytes:
    """Give the same workbook, its sheet spelled as no usual program does."""
    text = read_part(content, SHEET)
    start, end = text.index("<sheetData>"), text.index("</sheetData>")
    rows = text[start:end].replace("<", "<x:").replace("<x:/", "</x:").replace('"', "'")
    rows = rows.replace("<x:v>", "<!-- a comment --><x:v>")
    text = text.replace("<worksheet ", '<worksheet xmlns:x="urn:x" ', 1)
    start, end = text.index("<sheetData>"), text.index("</sheetData>")
    return replace_part(content, SHEET, text[:start] + rows + text[end:])


@pytest.mark.parametrize("chunk_bytes", [64, 1 << 22])
def test_a_sheet_in_another_spelling_has_the_same_cells(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int
) -> None:
    monkeypatch.setattr("partitioned_etl.engine.formats.workbooks.xlsx._CHUNK_BYTES", chunk_bytes)
    assert load(bench, spell_otherwise(make_xlsx(HEADER, FIRST, SECOND))) == ""
    assert bench.rows(PRICES) == LOADED


USUAL = [
    '<c r="{}" s="1" t="n"><v>{}</v></c>',
    '<c r="{}"><v>{}</v></c>',
    '<c r="{}" t="inlineStr"><is><t>a{}</t></is></c>',
    '<c r="{}" t="inlineStr"><is><t xml:space="preserve"> a{}&amp; </t></is></c>',
    '<c r="{}" t="b"><v>1</v></c>',
]
ODD = [
    "",
    '<c r="{}" s="2"/>',
    '<c r="{}"><f>6*7</f><v>{}</v></c>',
    '<c r="{}"><f>6*7</f></c>',
    '<c r="{}"><v></v></c>',
    '<c r="{}" t="inlineStr"><is><t> a{}\n</t></is></c>',
    "<c r='{}'><v>{}</v></c>",
    '<c r="{}"  s="1"><v>{}</v></c>',
    '<c r="{}"><v>{}</v></c><!-- x -->',
    "<c><v>{1}</v></c>",
]


def write_rows(randomly: random.Random) -> str:
    """Give rows that most often are alike."""
    forms = [randomly.choice(USUAL) for _ in range(randomly.randint(1, 4))]
    rows, number = [], 1
    for _ in range(randomly.randint(1, 8)):
        number += randomly.choice([1, 1, 1, 2])
        chosen = [randomly.choice(ODD) if randomly.random() < 0.04 else form for form in forms]
        cells = [
            form.format(f"{letter}{number}", randomly.randint(0, 99))
            for letter, form in zip("ABCD", chosen, strict=False)
        ]
        spans = randomly.choice(["", "", ' spans="1:4"'])
        rows.append(f'<row r="{number}"{spans}>{"".join(cells)}</row>')
    if randomly.random() < 0.1:
        rows.append(f'<row r="{number + 1}"/>')
    return "".join(rows)


@pytest.mark.scaled
def test_rows_that_are_alike_have_the_cells_that_each_of_them_has() -> None:
    randomly, kept = random.Random(7 if IS_SEEDED else None), make_cells(NUMBER("1"))
    start, _, end = re.split('(<row r="2".*</row>)', read_part(kept, SHEET))
    alike = 0
    for _ in range(examples(400)):
        rows = write_rows(randomly)
        content = replace_part(kept, SHEET, f"{start}{rows}{end}")
        alike += bool(xlsx._cut_equal_rows(rows)[1])
        with pytest.MonkeyPatch.context() as patch:
            at_once = read_cells(content)
            patch.setattr(xlsx, "_cut_equal_rows", lambda _: ([], []))
            by_cells = read_cells(content)
            patch.setattr(xlsx, "_cut_cells", lambda _: None)
            assert (at_once, by_cells) == (by_cells, read_cells(content)), rows
    assert alike > examples(400) / 4


def read_cells(content: bytes) -> list[tuple[int, int, Kind, str]]:
    """Give the cells of a sheet in the order of their places."""
    workbook = open_workbook(BytesIO(content), 1 << 30)
    found = [
        (row, column, kind, text)
        for block in workbook.open_sheet("Prices").blocks
        for (column, kind), cells in block.cells.items()
        for row, text in zip(cells.rows, cells.texts, strict=True)
    ]
    return sorted(found, key=str)


def test_cells_without_a_place_follow_one_another(bench: Workbench) -> None:
    content = make_xlsx(HEADER, FIRST, SECOND)
    text = read_part(content, SHEET)
    for row, letter in ((1, "A"), (1, "B"), (1, "C"), (1, "D"), (2, "A"), (2, "B")):
        text = text.replace(f'<c r="{letter}{row}"', "<c").replace(f'<row r="{row}"', "<row")
    assert load(bench, replace_part(content, SHEET, text)) == ""
    assert bench.rows(PRICES) == LOADED


ODS_ROWS = (
    ods_row(*(f'office:value-type="string">{name}' for name in HEADER)),
    ods_row(
        'office:value-type="string">A<text:s text:c="1"/>1',
        'office:value-type="float" office:value="3">3',
        'office:value-type="currency" office:value="9.99">9,99 €',
        'office:value-type="date" office:date-value="2024-02-29">29.02.24',
    ),
    ods_row(
        'office:value-type="string">A 2',
        ">",
        'office:value-type="percentage" office:value="0.5">50 %',
        'office:value-type="date" office:date-value="2024-03-01T00:00:00">01.03.24',
    ),
    ods_row(">", repeated=1_048_573),
)
ODS = change_feed(PRICES, pattern="{key}.ods")


def test_an_ods_is_loaded_exactly(bench: Workbench) -> None:
    assert load(bench, make_ods(*ODS_ROWS), ODS) == ""
    assert [row[:4] for row in bench.rows(ODS)] == [row[:4] for row in LOADED]


def test_repeated_rows_and_times_of_an_ods_are_loaded(bench: Workbench) -> None:
    feed = change_feed(ODS, columns={"t": "TIME", "ok": "BOOLEAN"})
    cells = (
        'office:value-type="time" office:time-value="PT10H11M12,5S">x',
        'office:value-type="boolean" office:boolean-value="true">WAHR',
    )
    content = make_ods(ods_row('office:value-type="string">t', ">ok"), ods_row(*cells, repeated=3))
    assert load(bench, content, feed) == ""
    assert [row[:2] for row in bench.rows(feed)] == [(time(10, 11, 12, 500000), True)] * 3


ODS_REFUSED: dict[str, tuple[str, str]] = {
    "error": (
        'office:value-type="string" office:string-value="" calcext:value-type="error">#DIV/0!',
        "sheet Prices, cell A2, column a: an error",
    ),
    "duration": (
        'office:value-type="time" office:time-value="PT30H00M00S">30:00',
        "sheet Prices, cell A2, column a: a duration, where a number belongs",
    ),
    "formula": (
        'table:formula="of:=1+1">',
        "sheet Prices, cell A2, column a: a formula without a stored value",
    ),
    "bomb": (
        'office:value-type="float" office:value="1" table:number-columns-repeated="16000">1',
        "row 2 is repeated 1,000 times",
    ),
    "too wide": (
        'office:value-type="float" office:value="1" table:number-columns-repeated="99999">1',
        "the sheet has more than 16,384 columns",
    ),
}


@pytest.mark.parametrize(("cell", "problem"), ODS_REFUSED.values(), ids=list(ODS_REFUSED))
def test_a_cell_of_an_ods_that_cannot_be_loaded_is_named(
    bench: Workbench, cell: str, problem: str
) -> None:
    feed = change_feed(ODS, columns={"a": "DOUBLE"})
    content = make_ods(ods_row('office:value-type="string">a'), ods_row(cell, repeated=1_000))
    assert load(bench, content, feed).startswith(problem)


def test_an_xls_is_loaded_exactly(bench: Workbench) -> None:
    columns = {
        "article": "VARCHAR",
        "pieces": "INTEGER",
        "price": "DECIMAL(12, 2)",
        "day": "DATE",
        "sold": "TIMESTAMP",
        "opens": "TIME",
        "open": "BOOLEAN",
        "note": "VARCHAR",
    }
    feed = change_feed(PRICES, pattern="{key}.xls", columns=columns)
    feed = change_feed(feed, format=ExcelFormat(sheet="Prices"))
    assert load(bench, XLS, feed) == ""
    assert [row[:8] for row in bench.rows(feed)] == [
        (
            *("A 1", 3, Decimal("9.99"), date(2024, 2, 29), at("2024-02-29 10:11:12")),
            *(time(8, 30), True, "Größe €"),
        ),
        (
            *("A 2", -2, Decimal("0.50"), date(1999, 12, 31)),
            *(at("1999-12-31 23:59:59"), time(0), False, None),
        ),
        (
            *(
                "A 3",
                123456789,
                Decimal("12345678.25"),
                date(2024, 3, 1),
                at("2024-03-01 00:00:00"),
            ),
            *(time(23, 59, 59), True, " two\nlines "),
        ),
    ]
    errors = change_feed(one_column("INTEGER", sheet="Errors"), pattern="{key}.xls", table="errors")
    assert "cell A4, column a: an error" in load(bench, XLS, errors)


def test_bad_rows_are_put_aside_and_the_good_ones_load(bench: Workbench) -> None:
    rule = RowRule(name="some", column="pieces", expression="pieces > 0", reason="not above 0")
    feed = change_feed(
        PRICES, row_rules=(rule,), bad_rows=BadRows.QUARANTINE, max_rejected_percent=90
    )
    bad = ("A 2", 2, "n/a", None)
    content = make_xlsx(HEADER, FIRST, bad, (), ("A 3", 0, 1, None))
    assert load(bench, content, feed) == ""
    assert bench.rows(feed) == LOADED[:1]
    assert bench.query("SELECT line, column_name, reason, raw_line FROM rejected_rows") == [
        (3, "price", "a text, where a number belongs", '["A 2", "2", "n/a", ""]'),
        (4, "", "an empty row", ""),
        (5, "pieces", "not above 0 (some)", '["A 3", "0", "1", ""]'),
    ]
    bench.assert_level(feed)
    named = change_feed(feed, bad_rows=BadRows.FAIL)
    reason = load(bench, make_xlsx(HEADER, FIRST, ("A 3", 0, 1, None)), named)
    assert reason == "sheet Prices, cell B3, column pieces: not above 0 (some)"


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "range": ({"range": "3:5"}, "range '3:5' is none such as B3:F200 or B3:F"),
    "turned": ({"range": "D3:A5"}, "range 'D3:A5' does not begin at its top left"),
    "outside": ({"range": "A3:D5", "header_row": 2}, "header_row 2 is not in A3:D5"),
    "no header": ({"header": False, "header_row": 2}, "header_row needs a header"),
    "sheet 0": ({"sheet": 0}, "sheets are counted from 1"),
}


@pytest.mark.parametrize(("options", "problem"), OPTIONS.values(), ids=list(OPTIONS))
def test_options_that_contradict_one_another_are_refused(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(FeedDefinitionError, match=problem):
        change_feed(PRICES, format={"type": "excel", **options})
