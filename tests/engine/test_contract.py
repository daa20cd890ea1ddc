"""The contract: a file that breaks it changes no row, and line, column and reason are on record."""

import gzip
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import csv_records
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.format import (
    MAX_PROBLEMS,
    Problem,
    Survey,
    describe_problems,
)
from partitioned_etl.engine.landing import landing
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.scale import try_examples
from support.workbench import NO_LINE_END, NOTES, ORDERS, PRICES, Workbench, change_feed

CELL = "Zaphod"
"""A cell's content; it must never be in a message."""
QUOTE = "a quote that is not closed, or stands inside an unquoted field"
DIALECT = "quotes around a part of a field only"
LINE_END = "another line end than the header"

BREACHES = {
    "empty file": (b"", "the file is empty"),
    "byte order mark only": (b"\xef\xbb\xbf", "the file is empty"),
    "line end only": (b"\n", "line 1: an empty line"),
    "header: column missing": (
        b"id\n1\n",
        "line 1: header: column note is missing",
    ),
    "header: column renamed": (
        b"id,Zaphod\n1,x\n",
        "line 1: header: column note is missing; "
        "line 1: header: 1 column name(s) that the feed does not have",
    ),
    "header: column in another case": (
        b"ID,note\n1,Zaphod\n",
        "line 1: header: column id is missing: "
        "one differs in white space or in small and capital letters",
    ),
    "header: extra column": (
        b"id,note,Zaphod\n1,x,y\n",
        "line 1: header: 1 column name(s) that the feed does not have",
    ),
    "header: two extra columns": (
        b"id,note,Zaphod,Zaphod\n1,x,y,z\n",
        "line 1: header: 2 column name(s) that the feed does not have",
    ),
    "header: reordered": (
        b"note,id\nZaphod,1\n",
        "line 1: header: the columns are not in the order id, note",
    ),
    "header: duplicate column": (
        b"id,note,note\n1,Zaphod,x\n",
        "line 1: header: column note is there more than once",
    ),
    "header: trailing delimiter": (
        b"id,note,\n1,Zaphod,\n",
        "line 1: header: 1 column name(s) that the feed does not have",
    ),
    "header: spaces": (
        b"id, note\n1,Zaphod\n",
        "line 1: header: column note is missing: one has U+0020 SPACE in its name",
    ),
    "header: a row in its place": (
        b"1,Zaphod\n",
        "line 1: header: column id is missing; line 1: header: column note is missing; "
        "line 1: header: 2 column name(s) that the feed does not have",
    ),
    "header: unclosed quote": (b'"id,note\n1,Zaphod\n', f"line 1: {QUOTE}"),
    "short row": (b"id,note\n1,x\n2\n3,Zaphod\n", "line 3: 1 fields instead of 2"),
    "long row": (b"id,note\n1,x\n2,Zaphod,y\n3,z\n", "line 3: 3 fields instead of 2"),
    "short and long row with the right sum": (
        b"id,note\n1,Zaphod,x\n2\n",
        "line 2: 3 fields instead of 2; line 3: 1 fields instead of 2",
    ),
    "extra delimiter at the end of a row": (
        b"id,note\n1,x\n2,Zaphod,\n",
        "line 3: 3 fields instead of 2",
    ),
    "extra delimiter at the end of every row": (
        b"id,note\n1,x,\n2,Zaphod,\n",
        "line 2: 3 fields instead of 2; line 3: 3 fields instead of 2",
    ),
    "extra delimiter that an empty line hides": (
        b"id,note\n1,Zaphod,\n\n",
        "line 2: 3 fields instead of 2; line 3: an empty line",
    ),
    "long row after quotes": (
        b'id,note\n1,"x"\n2,Zaphod,y\n',
        "line 3: 3 fields instead of 2",
    ),
    "delimiters that quotes hide": (
        b'id,note\n1,"Zaphod,x"\n2\n',
        "line 3: 1 fields instead of 2",
    ),
    "blank first line": (b"\nid,note\n1,Zaphod\n", "line 1: an empty line"),
    "blank line in the middle": (b"id,note\n1,Zaphod\n\n2,x\n", "line 3: an empty line"),
    "blank line at the end": (b"id,note\n1,Zaphod\n\n", "line 3: an empty line"),
    "blank lines with CRLF": (
        b"id,note\r\n1,Zaphod\r\n\r\n\r\n",
        "line 3: an empty line; line 4: an empty line",
    ),
    "blank line after quotes": (b'id,note\n1,"Zaphod"\n\n', "line 3: an empty line"),
    "missing final line end": (b"id,note\n1,x\n2,Zaphod", f"line 3: {NO_LINE_END}"),
    "missing final line end after a quote": (
        b'id,note\n1,x\n2,"Zaphod"',
        f"line 3: {NO_LINE_END}",
    ),
    "cut off in a CRLF": (b"id,note\r\n1,Zaphod\r", f"line 2: {NO_LINE_END}"),
    "NUL": (b"id,note\n1,x\n2,Zap\0hod\n", "line 3: a NUL character"),
    "NUL in quotes": (b'id,note\n1,"x\n\0"\n2,Zaphod\n', "line 3: a NUL character"),
    "NUL bytes for text": (b"\0" * 100, "line 1: a NUL character"),
    "bad UTF-8": (b"id,note\n1,x\n2,Zaphod\xff\n", "line 3: the bytes are not utf-8"),
    "UTF-8 with a surrogate": (
        b"id,note\n1,Zaphod\xed\xa0\x80\n",
        "line 2: the bytes are not utf-8",
    ),
    "UTF-8 cut off in a character": (
        b"id,note\n1,Zaphod\xc3",
        "line 2: the bytes are not utf-8",
    ),
    "UTF-16 bytes": (
        "id,note\n1,Zaphod\n".encode("utf-16"),
        "line 1: the bytes are not utf-8",
    ),
    "gzip bytes": (
        gzip.compress(b"id,note\n1,Zaphod\n", mtime=0),
        "the file is compressed (.gz), and its name does not say so",
    ),
    "CRLF after LF": (b"id,note\n1,Zaphod\r\n2,x\n", f"line 2: {LINE_END}"),
    "LF after CRLF": (b"id,note\r\n1,x\r\n2,Zaphod\n", f"line 3: {LINE_END}"),
    "mixed line ends with quotes": (b'id,note\n1,"x"\n2,Zaphod\r\n', f"line 3: {LINE_END}"),
    "lone CR in a field": (
        b"id,note\n1,x\n2,Zap\rhod\n",
        "line 3: a carriage return without a line feed",
    ),
    "lone CR for line ends": (
        b"id,note\r1,Zaphod\r",
        f"line 1: {NO_LINE_END}; line 1: a carriage return without a line feed",
    ),
    "lone CR before CRLF": (
        b"id,note\r\n1,Zaphod\r\r\n",
        "line 2: a carriage return without a line feed",
    ),
    "quote that is not closed": (b'id,note\n1,x\n2,"Zaphod\n', f"line 3: {QUOTE}"),
    "quote that is closed lines later by another": (
        b'id,note\n1,"Zaphod\n2,x\n3,"y"\n',
        f"line 2: {QUOTE}",
    ),
    "quote inside an unquoted field": (b'id,note\n1,x\n2,Zap"hod\n', f"line 3: {QUOTE}"),
    "quotes around a part of a field": (b'id,note\n1,x\n2,Zap"hod"x\n', f"line 3: {DIALECT}"),
    "space before a quote": (b'id,note\n1, "Zaphod"\n', f"line 2: {DIALECT}"),
    "text after a closing quote": (b'id,note\n1,"Zap"hod\n', f"line 2: {DIALECT}"),
    "backslash before a quote": (b'id,note\n1,"Zap\\"hod"\n', f"line 2: {QUOTE}"),
    "line counted through quoted line ends": (
        b'id,note\n1,"a\nb\n\nc"\n2,"d\r\ne"\n3,Zaphod,f\n',
        "line 8: 3 fields instead of 2",
    ),
    "bad UTF-8 after quoted line ends": (
        b'id,note\n1,"a\nb"\n2,Zaphod\xff\n',
        "line 4: the bytes are not utf-8",
    ),
    "more than three problems": (
        b"id,note\n" + b"1,Zaphod,x\n" * 5,
        "line 2: 3 fields instead of 2; line 3: 3 fields instead of 2; "
        "line 4: 3 fields instead of 2; and at least 2 more",
    ),
}


@pytest.mark.parametrize(("content", "problems"), BREACHES.values(), ids=list(BREACHES))
def test_a_breach_changes_no_row_and_its_place_is_on_record(
    bench: Workbench, content: bytes, problems: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.land(NOTES, "a.csv", "id,note\n1,old\n")
    bench.load(NOTES)
    caplog.set_level(logging.DEBUG)

    bench.land(NOTES, "a.csv", content)
    outcome = bench.load(NOTES)["a"]

    assert bench.rows(NOTES) == [(1, "old", "a", "a.csv")]
    row = bench.ledger(NOTES).rows["a.csv"]
    assert (row.status, row.row_count) == (LoadStatus.REFUSED, 1)
    assert row.error == outcome.reason == f"a.csv: {problems}"
    assert CELL not in outcome.reason
    assert CELL not in caplog.text


WIDE = Feed(
    name="wide",
    folder="wide",
    pattern="{key}.csv",
    columns={"whole": "BIGINT", "number": "DOUBLE", "day": "DATE", "text": "VARCHAR"},
    table="wide",
    row_rules=(
        RowRule(name="number_is_small", column="number", expression="number < 1000", reason="big"),
    ),
)


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        *((f"{text},1,2024-01-02", "column whole: not a BIGINT") for text in (
            "1.5", "1.0", "1e3", "1_000", " 1", "1 ", "0x10", "9223372036854775808", "Zaphod",
        )),
        *((f"1,{text},2024-01-02", "column number: not a DOUBLE") for text in (
            "nan", "inf", "-inf", "Infinity", "1e999", "1_0", " 1", "Zaphod",
        )),
        *((f"1,1,{text}", "column day: not a DATE") for text in (
            "24-01-02", "2024-1-2", "2024-02-30", "infinity", "02.01.2024", "2024-01-02 00:00:00",
        )),
        ("1,1000,2024-01-02", "column number: big (number_is_small)"),
        ("1,,2024-01-02", "column number: big (number_is_small)"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_of_its_type_is_named_by_line_and_column(
    bench: Workbench, cells: str, problem: str
) -> None:
    header, good = "whole,number,day,text\n", "1,1,2024-01-02,x\n"
    bench.land(WIDE, "a.csv", header + good)
    bench.load(WIDE)
    old = bench.rows(WIDE)

    bench.land(WIDE, "a.csv", f"{header}{good}{cells},y\n{good}")
    bench.land(WIDE, "b.csv", f'{header}1,1,2024-01-02,"one\n\nfield"\n')
    bench.land(WIDE, "c.csv", f'{header}1,1,2024-01-02,"one\n\r\nfield"\n{cells},y\n')
    bench.load(WIDE)

    assert [row for row in bench.rows(WIDE) if row[4] != "b"] == old
    errors = {row.partition_key: row.error for row in bench.ledger(WIDE)}
    assert errors == {
        "a": f"a.csv: line 3, {problem}",
        "b": None,
        "c": f"c.csv: line 5, {problem}",
    }


def test_every_bad_value_of_a_row_is_named(bench: Workbench) -> None:
    bench.land(WIDE, "a.csv", "whole,number,day,text\nx,y,z,w\n1,2000,2024-01-02,w\n")
    outcome = bench.load(WIDE)["a"]
    assert outcome.problems == [
        Problem(2, "whole", "not a BIGINT"),
        Problem(2, "number", "not a DOUBLE"),
        Problem(2, "day", "not a DATE"),
        Problem(3, "number", "big", "number_is_small"),
    ]


def test_a_problem_far_down_has_the_right_line(bench: Workbench) -> None:
    rows = [f'{number},"line\nend"' if number % 3 else f"{number},x" for number in range(60_000)]
    rows[50_000] = "1.5,x"
    text = "id,note\n" + "\n".join(rows) + "\n"
    bench.land(NOTES, "a.csv", text)
    line = text[: text.index("1.5,x")].count("\n") + 1
    assert bench.load(NOTES)["a"].problems == [Problem(line, "id", "not a BIGINT")]


def test_a_row_rule_may_look_at_the_partition_key(bench: Workbench) -> None:
    bench.land(ORDERS, "2018-01.csv", "id,day,status\n1,2018-01-31,new\n2,2018-02-01,new\n")
    bench.land(ORDERS, "2018-02.csv", "id,day,status\n3,2018/02/01,new\n")
    bench.load(ORDERS)
    assert [row[0] for row in bench.rows(ORDERS)] == [3]
    assert bench.ledger(ORDERS).rows["2018-01.csv"].error == (
        "2018-01.csv: line 3, column day: not in the month of the file's name "
        "(day_is_in_file_month)"
    )


def test_a_row_rule_that_is_null_is_broken(bench: Workbench) -> None:
    bench.land(PRICES, "2018-01-22.csv", "day,price\n2018-01-22,\n")
    bench.load(PRICES)
    assert bench.rows(PRICES) == []
    assert bench.ledger(PRICES).rows["2018-01-22.csv"].error == (
        "2018-01-22.csv: line 2, column price: not above 0 (price_is_positive)"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"id,note\n1,x\n2,y\n",
        b"\xef\xbb\xbfid,note\n1,x\n2,y\n",
        b"id,note\r\n1,x\r\n2,y\r\n",
        b'"id","note"\n"1","x"\n"2","y"\n',
        b'\xef\xbb\xbf"id",note\r\n1,"x"\r\n2,y\r\n',
    ],
    ids=["plain", "byte order mark", "CRLF", "quoted", "all of it"],
)
def test_a_sound_file_loads_whatever_its_line_ends_and_quotes(
    bench: Workbench, content: bytes
) -> None:
    bench.land(NOTES, "a.csv", content)
    bench.load(NOTES)
    assert bench.rows(NOTES) == [(1, "x", "a", "a.csv"), (2, "y", "a", "a.csv")]


def test_a_file_with_a_header_only_holds_no_rows(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    bench.load(NOTES)
    bench.land(NOTES, "a.csv", "id,note\n")
    bench.load(NOTES)
    assert bench.rows(NOTES) == []
    row = bench.ledger(NOTES).rows["a.csv"]
    assert (row.status, row.row_count) == (LoadStatus.LOADED, 0)


def test_text_stays_as_it_is(bench: Workbench) -> None:
    notes = {
        1: (" x ", " x "),
        2: ("NULL", "NULL"),
        3: ("\\N", "\\N"),
        4: ("#x", "#x"),
        5: ("x\u2028y\x0b\x0c\x85", "x\u2028y\x0b\x0c\x85"),
        6: ('"a,b"', "a,b"),
        7: ('"a""b"', 'a"b'),
        8: ('"a\nb\r\nc\rd"', "a\nb\r\nc\rd"),
        9: ('""""', '"'),
        10: ("\U0001f600 \u00e9 e\u0301", "\U0001f600 \u00e9 e\u0301"),
        11: ('"\ufeff"', "\ufeff"),
    }
    lines = (f"{number},{text}\n" for number, (text, _) in notes.items())
    bench.land(NOTES, "a.csv", "id,note\n" + "".join(lines))
    bench.load(NOTES)
    assert {row[0]: row[1] for row in bench.rows(NOTES)} == {
        number: value for number, (_, value) in notes.items()
    }


def test_a_quoted_empty_text_is_empty_and_an_unquoted_one_is_null(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", 'id,note\n1,""\n2,\n')
    bench.load(NOTES)
    assert [row[:2] for row in bench.rows(NOTES)] == [(1, ""), (2, None)]


def test_an_empty_number_is_null_quoted_or_not(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", 'id,note\n,x\n"",y\n')
    bench.load(NOTES)
    assert [row[:2] for row in bench.rows(NOTES)] == [(None, "x"), (None, "y")]


ONE_COLUMN = change_feed(NOTES, columns={"note": "VARCHAR"})


def test_in_a_file_of_one_column_an_empty_text_has_to_be_quoted(bench: Workbench) -> None:
    bench.land(ONE_COLUMN, "good.csv", 'note\nx\n""\n')
    bench.land(ONE_COLUMN, "bad.csv", "note\nx\n\n")
    bench.load(ONE_COLUMN)
    assert bench.rows(ONE_COLUMN) == [("", "good", "good.csv"), ("x", "good", "good.csv")]
    assert bench.ledger(ONE_COLUMN).rows["bad.csv"].error == "bad.csv: line 3: an empty line"


NO_HEADER = change_feed(NOTES, format=CsvFormat(header=False))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_feed_without_header_loads_the_first_line_too(bench: Workbench, mark: bytes) -> None:
    bench.land(NO_HEADER, "a.csv", mark + b'1,x\n2,"y"\n')
    bench.load(NO_HEADER)
    assert [row[:2] for row in bench.rows(NO_HEADER)] == [(1, "x"), (2, "y")]


def test_a_feed_without_header_counts_lines_from_the_first(bench: Workbench) -> None:
    bench.land(NO_HEADER, "value.csv", '1,"x\ny"\nid,note\n')
    bench.land(NO_HEADER, "width.csv", "1,x,y\n")
    bench.load(NO_HEADER)
    assert bench.rows(NO_HEADER) == []
    assert {row.partition_key: row.error for row in bench.ledger(NO_HEADER)} == {
        "value": "value.csv: line 3, column id: not a BIGINT",
        "width": "width.csv: line 1: 3 fields instead of 2",
    }


@pytest.mark.parametrize(
    ("csv", "content", "rows"),
    [
        (CsvFormat(delimiter=";"), b"id;note\n1;a,b\n", [(1, "a,b")]),
        (CsvFormat(delimiter="\t"), b'id\tnote\n1\t"a\tb"\n', [(1, "a\tb")]),
        (CsvFormat(delimiter="|"), b"id|note\n1|x\n", [(1, "x")]),
        (CsvFormat(delimiter=" "), b'id note\n1 "a b"\n', [(1, "a b")]),
        (CsvFormat(delimiter="\\"), b"id\\note\n1\\x\n", [(1, "x")]),
        (CsvFormat(delimiter="."), b'id.note\n1."."\n', [(1, ".")]),
        (
            CsvFormat(delimiter=";", quote="'", escape="'"),
            b"id;note\n1;'a;''b''\"'\n2;\"\n",
            [(1, "a;'b'\""), (2, '"')],
        ),
        (CsvFormat(quote="^", escape="^"), b"id,note\n1,^a,b^^\n^\n", [(1, "a,b^\n")]),
        (CsvFormat(quote="]", escape="]"), b"id,note\n1,]a,b]\n", [(1, "a,b")]),
        (
            CsvFormat(escape="\\"),
            b'id,note\n1,"a\\"b\\\\"\n2,c\\d\n',
            [(1, 'a"b\\'), (2, "c\\d")],
        ),
        (
            CsvFormat(quote="", comment="#", skip_empty_rows=True, trailing_delimiter=True),
            b'id,note,\n1,"a,\n# "\n,,\n2,"",\n',
            [(1, '"a'), (2, '""')],
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, CsvFormat) else "",
)
def test_a_file_is_read_in_the_dialect_of_its_feed(
    bench: Workbench, csv: CsvFormat, content: bytes, rows: list[tuple[object, ...]]
) -> None:
    feed = change_feed(NOTES, format=csv)
    bench.land(feed, "a.csv", content)
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == rows
    assert bench.ledger(feed).rows["a.csv"].error is None


@pytest.mark.parametrize(
    ("csv", "content", "problem"),
    [
        (CsvFormat(delimiter=";"), b"id,note\n1,x\n", "header: column id is missing"),
        (CsvFormat(escape="\\"), b'id,note\n1,"a""b"\n', DIALECT),
        (CsvFormat(escape="\\"), b'id,note\n1,"a\\nb"\n', QUOTE),
        (CsvFormat(quote="'", escape="'"), b"id,note\n1,it's\n", QUOTE),
        (CsvFormat(quote="'"), b"id,note\n1,it's\n", QUOTE),
        (CsvFormat(quote=""), b'"id","note"\n1,x\n', "header: column id is missing"),
        (CsvFormat(quote=""), b'id,note\n"1",x\n', "line 2, column id: not a BIGINT"),
        (CsvFormat(quote=""), b'id,note\n1,"x\ny"\n', "line 3: 1 fields instead of 2"),
        (CsvFormat(quote=""), b'id,note\n1,"x\ry"\n', "line 2: a carriage return without"),
        (CsvFormat(quote=""), b'id,note\n1,"x"\n\n', "line 3: an empty line"),
        (CsvFormat(encoding="latin-1"), b"id,note\n1,x\0\n", "a NUL character"),
        (CsvFormat(encoding="utf-16"), b"\xff\xfei", "the bytes are not utf-16"),
    ],
    ids=lambda value: repr(value) if isinstance(value, CsvFormat) else "",
)
def test_a_file_in_another_dialect_is_refused(
    bench: Workbench, csv: CsvFormat, content: bytes, problem: str
) -> None:
    feed = change_feed(NOTES, format=csv)
    bench.land(feed, "a.csv", content)
    bench.load(feed)
    assert bench.rows(feed) == []
    assert problem in str(bench.ledger(feed).rows["a.csv"].error)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", [True, False])
def test_a_file_is_read_in_the_encoding_of_its_feed(
    bench: Workbench, encoding: str, line_end: str, header: bool
) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding=encoding, header=header))
    lines = ["id,note"] * header + ["1,\u00e9\u00fc\u00df\u00ff", '2,"\u00e9,\n\u00fc"', '3,""']
    content = "".join(line + line_end for line in lines)
    bench.land(feed, "a.csv", content.encode(encoding))
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [
        (1, "\u00e9\u00fc\u00df\u00ff"),
        (2, "\u00e9,\n\u00fc"),
        (3, ""),
    ]


NO_LATIN_1 = {
    "windows-1252": (
        b"id,note\n1,\xe9\n2,\x93x\x94\n",
        "line 3: byte 0x93, which latin-1 does not use: windows-1252? "
        "If it is right, set encoding_is_certain",
    ),
    "utf-8": (
        "id,note\n1,x\n2,\u00e9\n".encode(),
        "line 3: what is not ASCII would also be sound in utf-8: utf-8? "
        "If it is right, set encoding_is_certain",
    ),
}


@pytest.mark.parametrize(("content", "problem"), NO_LATIN_1.values(), ids=list(NO_LATIN_1))
def test_a_text_that_looks_like_another_than_latin_1_is_refused(
    bench: Workbench, content: bytes, problem: str
) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding="latin-1"))
    bench.land(feed, "a.csv", content)
    assert bench.load(feed)["a"].reason == f"a.csv: {problem}"
    assert bench.rows(feed) == []


@pytest.mark.parametrize("text", ["\x93x\x94", "\u00c3\u00a9"], ids=["windows-1252", "utf-8"])
def test_a_latin_1_text_that_looks_like_another_is_loaded_if_its_feed_is_certain(
    bench: Workbench, text: str
) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding="latin-1", encoding_is_certain=True))
    bench.land(feed, "a.csv", f"id,note\n1,{text}\n".encode("latin-1"))
    assert bench.load(feed)["a"].reason == ""
    assert [row[:2] for row in bench.rows(feed)] == [(1, text)]


@pytest.mark.parametrize("csv", [CsvFormat(quote="'"), CsvFormat(quote="'", escape="'")])
def test_a_quote_is_doubled_within_a_field_unless_the_feed_says_else(
    bench: Workbench, csv: CsvFormat
) -> None:
    feed = change_feed(NOTES, format=csv)
    bench.land(feed, "a.csv", "id,note\n1,'it''s'\n2,'say \"\"hi\"\"'\n")
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [(1, "it's"), (2, 'say ""hi""')]


NEAR = {
    "zero-width space": ("note\u200b", "one has U+200B ZERO WIDTH SPACE in its name"),
    "no-break space": ("note\u00a0", "one has U+00A0 NO-BREAK SPACE in its name"),
    "second mark": ("\ufeffnote", "one has U+FEFF ZERO WIDTH NO-BREAK SPACE in its name"),
    "space": (" note", "one has U+0020 SPACE in its name"),
    "capitals": ("NOTE", "one differs in white space or in small and capital letters"),
    "wide letter": ("no\uff54e", "one looks the same and is spelled with other characters"),
}


@pytest.mark.parametrize(("name", "difference"), NEAR.values(), ids=list(NEAR))
def test_what_cannot_be_seen_in_a_header_is_named(
    bench: Workbench, name: str, difference: str
) -> None:
    bench.land(NOTES, "a.csv", f"id,{name}\n1,x\n")
    reason = f"a.csv: line 1: header: column note is missing: {difference}"
    assert bench.load(NOTES)["a"].reason == reason
    assert bench.rows(NOTES) == []


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_problem_has_its_line_in_every_encoding(bench: Workbench, encoding: str) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding=encoding))
    bench.land(feed, "a.csv", 'id,note\n1,"\u00e9\n"\n1.5,x\n'.encode(encoding))
    bench.load(feed)
    assert bench.rows(feed) == []
    assert bench.ledger(feed).rows["a.csv"].error == "a.csv: line 4, column id: not a BIGINT"


def test_gzip_bytes_are_refused_in_an_encoding_that_knows_every_byte(bench: Workbench) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding="latin-1"))
    bench.land(feed, "a.csv", gzip.compress(b"id,note\n1,x\n", mtime=0))
    bench.load(feed)
    assert bench.rows(feed) == []
    assert bench.ledger(feed).rows["a.csv"].status == LoadStatus.REFUSED


def test_a_record_beyond_the_limit_is_refused(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD_CHARS", 50)
    bench.land(NOTES, "good.csv", 'id,note\n1,"' + "x" * 40 + '"\n')
    bench.land(NOTES, "text.csv", 'id,note\n1,"' + "x" * 60 + '"\n')
    bench.land(NOTES, "open.csv", 'id,note\n1,"' + "x\n" * 60)
    outcomes = bench.load(NOTES)
    assert [row[2] for row in bench.rows(NOTES)] == ["good"]
    assert outcomes["text"].problems == [Problem(2, "", "a line of over 50 characters")]
    assert outcomes["open"].problems[0].line == 2


def survey(bench: Workbench, feed: Feed, content: bytes) -> Survey:
    bench.land(feed, "a.csv", content)
    (file,) = bench.list_files(feed)
    return feed.format.survey(feed, file)


def test_a_survey_gives_hash_rows_and_header(bench: Workbench) -> None:
    for content, rows in ((b"id,note\n1,x\n2,y\n", 2), (b'id,note\n1,"x\ny"\n', 1)):
        surveyed = survey(bench, NOTES, content)
        assert (surveyed.row_count, surveyed.header) == (rows, ["id", "note"])
        assert surveyed.problems == []
        assert surveyed.content_hash == landing.hash_content(bench.list_files(NOTES)[0])


def test_a_refused_file_has_a_content_hash_too(bench: Workbench) -> None:
    for content in (b"", b"\xff\n\xff", b"id,note\n1\n", b"id\n", b"\0"):
        surveyed = survey(bench, NOTES, content)
        assert surveyed.problems
        assert surveyed.content_hash == landing.hash_content(bench.list_files(NOTES)[0])


QUOTED_NAMES = change_feed(NOTES, columns={'a"b': "BIGINT", "c,d": "VARCHAR", "e\nf": "VARCHAR"})


def test_a_header_may_be_quoted(bench: Workbench) -> None:
    surveyed = survey(bench, QUOTED_NAMES, b'"a""b","c,d","e\nf"\n1,x,y\n')
    assert surveyed.problems == []
    assert surveyed.header == list(QUOTED_NAMES.columns)
    assert surveyed.row_count == 1


def test_only_so_many_problems_are_looked_for(bench: Workbench) -> None:
    surveyed = survey(bench, NOTES, b"id,note\n" + b"1\n" * 1_000)
    assert [problem.line for problem in surveyed.problems] == list(range(2, 2 + MAX_PROBLEMS))


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (Problem(0, "", "no"), "no"),
        (Problem(3, "", "no"), "line 3: no"),
        (Problem(3, "a", "no"), "line 3, column a: no"),
        (Problem(3, "a", "no", "r"), "line 3, column a: no (r)"),
        (Problem(0, "a", "no"), "column a: no"),
    ],
)
def test_a_problem_is_a_readable_sentence(problem: Problem, sentence: str) -> None:
    assert str(problem) == sentence
    assert describe_problems("f.csv", [problem]) == f"f.csv: {sentence}"


PIECES = ["id,note\n", "1,x\n", "1", ",", '"', '""', "\n", "\r\n", "\r", "\u00e9", "\U0001f600"]


def contents() -> st.SearchStrategy[str]:
    """Texts that are half a sound file: its parts in any order and number."""
    body = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
    return st.tuples(st.sampled_from(["", "\ufeff", "id,note\n"]), body).map("".join)


def surveys(bench: Workbench, content: str, sizes: list[int]) -> Iterator[Survey]:
    with pytest.MonkeyPatch.context() as patch:
        for size in sizes:
            patch.setattr(landing, "CHUNK_BYTES", size)
            yield survey(bench, NOTES, content.encode())


@pytest.mark.scaled
def test_a_survey_does_not_depend_on_where_the_chunks_end(bench: Workbench) -> None:
    @try_examples(80)
    @given(contents())
    def check(content: str) -> None:
        whole, *in_chunks = surveys(bench, content, [1 << 22, 1, 2, 3, 5])
        assert in_chunks == [whole] * 4

    check()
