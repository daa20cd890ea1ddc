"""Lines that are no rows: what a feed declares is left out, and nothing else, on both paths."""

from collections.abc import Mapping
from typing import Any

import pytest

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing import landing as landing_module
from support.scale import quick_and_long
from support.workbench import NOTES, Workbench, change_feed

ROWS = [(1, "x"), (2, "y")]


def with_options(**options: Any) -> Feed:
    return change_feed(NOTES, format={"type": "csv", **options})


LOADED: Mapping[str, tuple[dict[str, Any], str]] = {
    "a separator line": ({"skip_lines": 1}, "sep=;\nid,note\n1,x\n2,y\n"),
    "a title with an odd quote": ({"skip_lines": 2}, '5" pipes\n\nid,note\n1,x\n2,y\n'),
    "a preamble until the header": (
        {"skip_to_header": True},
        'Report,31.01.2024\n\n"made by\nid,amount\nid,note\n1,x\n2,y\n',
    ),
    "a comment before the header": ({"comment": "#"}, "# made at night\nid,note\n1,x\n2,y\n"),
    "comments between": ({"comment": "--"}, "id,note\n-- a\n1,x\n--\n-- b\n2,y\n-- c\n"),
    "a row of units": ({"skip_after_header": 1}, "id,note\n[kg],\n1,x\n2,y\n"),
    "a row of units and a preamble": (
        {"skip_to_header": True, "skip_after_header": 2},
        "title\nid,note\n[kg],\n---,---\n1,x\n2,y\n",
    ),
    "a footer of two lines": ({"footer_lines": 2}, "id,note\n1,x\n2,y\n\nTotal,2\n"),
    "a footer by its text": ({"footer": "Total"}, "id,note\n1,x\n2,y\nTotal,,3.50\n"),
    "a footer of several lines": ({"footer": "Total|Sum"}, "id,note\n1,x\n2,y\nSum,3\nTotal\n\n"),
    "a footer alone": (
        {"footer": "Total", "skip_blank_lines": True},
        "id,note\n1,x\n2,y\n\nTotal\n",
    ),
    "blank lines": ({"skip_blank_lines": True}, "id,note\n\n1,x\n\n\n2,y\n\n"),
    "rows of delimiters": ({"skip_empty_rows": True}, "id,note\n1,x\n,\n2,y\n,\n , \n"),
    "a delimiter behind each row": ({"trailing_delimiter": True}, "id,note\n1,x,\n2,y,\n"),
    "a delimiter behind the header, too": ({"trailing_delimiter": True}, "id,note,\n1,x,\n2,y,\n"),
    "no line end at the end": ({"final_line_end": "optional"}, "id,note\n1,x\n2,y"),
    "no line end at the end of two rows": (
        {"final_line_end": "optional", "header": False},
        '1,x\n2,"y"',
    ),
    "a line end at the end": ({"final_line_end": "optional"}, "id,note\n1,x\n2,y\n"),
    "a header of two rows": ({"header_rows": 2}, "id,\n,note\n1,x\n2,y\n"),
    "names in capitals": ({"header_ignores_case": True}, "ID, Note \n1,x\n2,y\n"),
    "more columns": ({"extra_columns": "ignore"}, "id,more,note,\n1,,x,5\n2,z,y,\n"),
    "more columns in another order": (
        {"extra_columns": "ignore", "any_column_order": True},
        "note,,id\nx,?,1\ny,,2\n",
    ),
    "all at once": (
        {
            "skip_to_header": True,
            "comment": "#",
            "skip_blank_lines": True,
            "skip_empty_rows": True,
            "footer": "Total",
            "final_line_end": "optional",
            "trailing_delimiter": True,
        },
        "title\n# a\nid,note,\n\n# b\n1,x,\n,,\n2,y,\n,,\nTotal,2,",
    ),
}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("chunk_bytes", [5, 1 << 22])
@pytest.mark.parametrize(("options", "text"), quick_and_long(LOADED, every=3))
def test_what_is_declared_is_left_out(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    text: str,
    chunk_bytes: int,
    line_end: str,
) -> None:
    monkeypatch.setattr(landing_module, "CHUNK_BYTES", chunk_bytes)
    feed = with_options(**options)
    bench.land(feed, "a.csv", text.replace("\n", line_end))
    outcome = bench.load(feed)["a"]
    assert outcome.reason == ""
    assert [row[:2] for row in bench.rows(feed)] == ROWS
    assert outcome.row_count == 2


@pytest.mark.parametrize(("no_row", "row"), [("\n", "\r\n"), ("\r\n", "\n")], ids=["LF", "CRLF"])
@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"skip_lines": 1}, ["title", "", "id,note", "1,x", "2,y"]),
        pytest.param({"skip_to_header": True}, ["title", "", "id,note", "1,x", "2,y"], id="title"),
        ({"skip_to_header": True, "header_rows": 2}, ["title", "", "id,", ",note", "1,x", "2,y"]),
        ({"skip_lines": 1, "header": False}, ["title", "", "1,x", "2,y"]),
        ({"comment": "#"}, ["# a", "", "id,note", "1,x", "2,y"]),
        (
            {"skip_to_header": True, "final_line_end": "optional"},
            ["title", "", "id,note", "1,x", "2,y"],
        ),
    ],
)
def test_a_line_before_the_header_may_have_another_line_end(
    bench: Workbench, options: dict[str, Any], lines: list[str], no_row: str, row: str
) -> None:
    feed = with_options(**options)
    first, _, *rows = lines
    bench.land(feed, "a.csv", first + no_row + row.join([*rows, ""]))
    assert bench.load(feed)["a"].reason == ""
    assert [row[:2] for row in bench.rows(feed)] == ROWS


@pytest.mark.parametrize(("options", "text"), LOADED.values(), ids=list(LOADED))
def test_a_bad_row_is_named_by_its_line_in_the_file(
    bench: Workbench, options: dict[str, Any], text: str
) -> None:
    feed = change_feed(
        with_options(**options), bad_rows=BadRows.QUARANTINE, max_rejected_percent=100
    )
    rows = text.split("\n")
    line = next(n for n, row in enumerate(rows, 1) if "y" in row and "2" in row)
    rows[line - 1] = rows[line - 1].replace("2", "2.5")
    bench.land(feed, "a.csv", "\n".join(rows))
    assert bench.load(feed)["a"].rejected_count == 1
    assert [row[:2] for row in bench.rows(feed)] == ROWS[:1]
    assert bench.query("SELECT line, column_name FROM rejected_rows") == [(line, "id")]


REFUSED: Mapping[str, tuple[dict[str, Any], str, str]] = {
    "lines too few to skip": ({"skip_lines": 2}, "id,note\n1,x\n", "there are 0 of 1 rows"),
    "no header among the lines": (
        {"skip_to_header": True},
        "title\nid,nota\n1,x\n",
        "none of the first 1,000 lines is the header; line 2: header: column note is missing",
    ),
    "a comment that is not declared": (
        {"comment": "#"},
        "id,note\n1,x\n-- a\n",
        "line 3: 1 fields instead of 2",
    ),
    "a footer that is missing": (
        {"footer": "Total"},
        "id,note\n1,x\n2,y\n",
        "the last line is no footer: cut off?",
    ),
    "a row behind the footer": (
        {"footer": "Total"},
        "id,note\n1,x\nTotal,\n2,y\n",
        "the last line is no footer: cut off?",
    ),
    "fewer lines than stand before the rows": (
        {"skip_lines": 2, "header": False},
        "title\n",
        "there are 1 of the 2 lines before the first row",
    ),
    "no line behind the header": (
        {"skip_after_header": 1},
        "id,note\n",
        "there are 1 of the 2 lines before the first row",
    ),
    "fewer lines than the footer has": ({"footer_lines": 3}, "id,note\n1,x\n", "has 3"),
    "a blank line that is not declared": (
        {"skip_empty_rows": True},
        "id,note\n1,x\n\n",
        "line 3: an empty line",
    ),
    "a row of delimiters that is not declared": (
        {"skip_blank_lines": True, "header": True},
        "id,note\n1,x\n,,\n",
        "line 3: 3 fields instead of 2",
    ),
    "a row without the delimiter behind it": (
        {"trailing_delimiter": True},
        "id,note\n1,x,\n2,y\n",
        "line 3: no delimiter at the end of the row",
    ),
    "a text behind the last delimiter": (
        {"trailing_delimiter": True},
        "id,note\n1,x,\n2,y,z\n",
        "line 3: no delimiter at the end of the row",
    ),
    "an empty text behind the last delimiter": (
        {"trailing_delimiter": True},
        'id,note\n1,x,\n2,y,""\n',
        "line 3: no delimiter at the end of the row",
    ),
    "two delimiters behind a row": (
        {"trailing_delimiter": True},
        "id,note\n1,x,\n2,y,,\n",
        "line 3: 3 fields instead of 2",
    ),
    "a comment without a line end": (
        {"comment": "#"},
        "id,note\n1,x\n# a",
        "line 3: no line end after the last line",
    ),
    "a name that is there twice": (
        {"header_ignores_case": True, "extra_columns": "ignore"},
        "id,note,ID\n1,x,2\n",
        "header: column id is there more than once",
    ),
    "columns in another order": (
        {"extra_columns": "ignore"},
        "note,more,id\nx,,1\n",
        "header: the columns are not in the order id, note",
    ),
    "other line ends than the header": (
        {"skip_to_header": True},
        "title\nid,note\n1,x\r\n2,y\r\n",
        "line 3: another line end than the header",
    ),
    "the line end of a title and not of the header": (
        {"skip_lines": 1},
        "title\nid,note\r\n1,x\n",
        "line 3: another line end than the header",
    ),
    "the line end of a title and not of the first row": (
        {"skip_lines": 1, "header": False},
        "title\n1,x\r\n2,y\n",
        "line 3: another line end than the first row",
    ),
    "a header of two rows with two line ends": (
        {"header_rows": 2},
        "id,\r\n,note\n1,x\n",
        "line 2: another line end than the header's first row",
    ),
}


@pytest.mark.parametrize(("options", "text", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_what_differs_from_the_declaration_is_refused(
    bench: Workbench, options: dict[str, Any], text: str, reason: str
) -> None:
    feed = with_options(**options)
    bench.land(feed, "a.csv", text)
    assert reason in bench.load(feed)["a"].reason
    assert bench.rows(feed) == []


@pytest.mark.parametrize("line", ["# no comment", "", ",,"], ids=["comment", "blank", "delimiters"])
def test_a_line_within_quotes_is_a_part_of_its_field(bench: Workbench, line: str) -> None:
    feed = with_options(comment="#", skip_blank_lines=True, skip_empty_rows=True)
    bench.land(feed, "a.csv", f'id,note\n1,"a\n{line}\nb"\n\n# c\n,\n2,"""\n{line}\n"\n')
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [(1, f"a\n{line}\nb"), (2, f'"\n{line}\n')]


def test_a_quote_that_is_escaped_does_not_end_a_field(bench: Workbench) -> None:
    feed = with_options(comment="#", escape="\\")
    bench.land(feed, "a.csv", 'id,note\n1,"a\\"\n# b"\n# c\n')
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [(1, 'a"\n# b')]


def test_columns_go_by_the_names_that_they_may_have_in_the_file(bench: Workbench) -> None:
    feed = change_feed(
        NOTES,
        columns={
            "id": {"type": "BIGINT", "from": ["Kunden-Nr.", "KundenNr"]},
            "note": {"type": "VARCHAR", "from": "Anmerkung"},
            "amount": {"type": "DECIMAL(10,2)", "optional": True},
        },
    )
    bench.land(feed, "a.csv", "Kunden-Nr.,Anmerkung\n1,x\n")
    bench.land(feed, "b.csv", "KundenNr,Anmerkung,amount\n2,y,1.50\n")
    bench.land(feed, "c.csv", "id,note\n3,z\n")
    outcomes = bench.load(feed)
    assert [str(row[2]) for row in bench.rows(feed)] == ["None", "1.50"]
    assert outcomes["c"].reason == (
        "c.csv: line 1: header: column Kunden-Nr. is missing; line 1: header: column Anmerkung is "
        "missing; line 1: header: 2 column name(s) that the feed does not have"
    )


def test_a_path_is_a_name_where_no_path_exists(bench: Workbench) -> None:
    columns = {"id": "BIGINT", "note": {"type": "VARCHAR", "from": "$.note"}}
    feed = change_feed(NOTES, columns=columns)
    bench.land(feed, "a.csv", "id,$.note\n1,x\n")
    bench.land(feed, "b.csv", "id,note\n1,x\n")
    outcomes = bench.load(feed)
    assert [row[:3] for row in bench.rows(feed)] == [(1, "x", "a")]
    reason = "column $.note is missing: it looks like a path, which only JSON formats know"
    assert reason in outcomes["b"].reason


def test_the_bad_rows_of_a_file_without_an_optional_column_are_put_aside(bench: Workbench) -> None:
    feed = change_feed(
        NOTES,
        columns={"id": "BIGINT", "note": {"type": "VARCHAR", "optional": True}},
        format={"type": "csv", "extra_columns": "ignore"},
        bad_rows="quarantine",
        max_rejected_percent=100,
    )
    bench.land(feed, "a.csv", "id,more\n1,x\nbad,y\n")
    assert bench.load(feed)["a"].rejected_count == 1
    assert [row[:2] for row in bench.rows(feed)] == [(1, None)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("id,note\r\n1,x", [(1, "x")]),
        ("id,note\r\n", []),
        ("id,note", []),
        ("# a\r\nid,note", []),
        ('id,note\n1,"a\r\nb"\n2,x', [(1, "a\r\nb"), (2, "x")]),
        ('id,note\r\n1,"a\nb"\r\n2,x', [(1, "a\nb"), (2, "x")]),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 22])
def test_a_last_line_without_an_end_has_that_of_the_header(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    rows: list[tuple[object, ...]],
    chunk_bytes: int,
) -> None:
    monkeypatch.setattr(landing_module, "CHUNK_BYTES", chunk_bytes)
    feed = with_options(final_line_end="optional", comment="#")
    bench.land(feed, "a.csv", text)
    assert bench.load(feed)["a"].reason == ""
    assert [row[:2] for row in bench.rows(feed)] == rows


@pytest.mark.parametrize(
    ("options", "text", "rows"),
    [
        pytest.param({}, '"a\r\nb",1\nx,2', [("a\r\nb", 1), ("x", 2)], id="CRLF in quotes"),
        ({}, '"a\nb",1\r\nx,2', [("a\nb", 1), ("x", 2)]),
        ({}, '"a\r\nb",1', [("a\r\nb", 1)]),
        ({"escape": "\\"}, '"a\\"\r\nb",1\nx,2', [('a"\r\nb', 1), ("x", 2)]),
        ({"quote": ""}, '"a,1\r\nx",2', [('"a', 1), ('x"', 2)]),
        ({"comment": "#"}, '# 5" pipes\r\n"a\r\nb",1\nx,2', [("a\r\nb", 1), ("x", 2)]),
        ({"skip_empty_rows": True}, ',\r\n"a\r\nb",1\nx,2', [("a\r\nb", 1), ("x", 2)]),
        ({"header": True, "header_rows": 2}, '"no\r\nte",\n,id', []),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 1 << 22])
def test_a_last_line_without_an_end_has_that_of_the_first_row_and_not_one_in_quotes(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    text: str,
    rows: list[tuple[object, ...]],
    chunk_bytes: int,
) -> None:
    monkeypatch.setattr(landing_module, "CHUNK_BYTES", chunk_bytes)
    feed = change_feed(
        with_options(**{"header": False, "final_line_end": "optional", **options}),
        columns={"no\r\nte": "VARCHAR", "id": "BIGINT"},
    )
    bench.land(feed, "a.csv", text)
    assert bench.load(feed)["a"].reason == ""
    assert [row[:2] for row in bench.rows(feed)] == rows


CONTRADICTIONS = [
    ({"footer": "(", "type": "csv"}, "footer '\\('"),
    ({"footer": "x", "footer_lines": 1}, "either footer or footer_lines"),
    ({"skip_lines": 1, "skip_to_header": True}, "either skip_lines or skip_to_header"),
    ({"header": False, "skip_to_header": True}, "skip_to_header needs a header"),
    ({"header": False, "extra_columns": "ignore"}, "extra_columns needs a header"),
    ({"comment": "\n"}, "is no visible text"),
    ({"skip_lines": -1}, "skip_lines: Input should be greater than or equal to 0"),
]


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_options_that_contradict_one_another_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeedDefinitionError, match=message):
        with_options(**options)


TOTALS = change_feed(
    NOTES,
    columns={"id": "BIGINT", "amount": {"type": "DECIMAL(10,2)", "decimal": ",", "thousands": "."}},
    format={
        "type": "csv",
        "delimiter": ";",
        "footer": r"Summe;(?P<amount>[^;]*)|Zeilen;(?P<row_count>.*)",
    },
)
KEPT, ADDED_UP = "id;amount\n1;1.250,50\n2;-0,25\n", "Summe;1.250,25\nZeilen;2\n"


@pytest.mark.parametrize("quoted", ["1", '"1"'], ids=["plain", "quoted"])
def test_a_control_total_that_adds_up_loads(bench: Workbench, quoted: str) -> None:
    bench.land(TOTALS, "a.csv", KEPT.replace("\n1;", f"\n{quoted};") + ADDED_UP)
    outcome = bench.load(TOTALS)["a"]
    assert (outcome.reason, outcome.row_count) == ("", 2)


WRONG_TOTALS = {
    "a line missing": ("Summe;1.250,25\n", "the footer tells no row_count"),
    "another sum": (
        "Summe;1.250,26\nZeilen;2\n",
        "column amount: the footer's total is not the sum",
    ),
    "no sum": ("Summe;\nZeilen;2\n", "column amount: the footer's total is not the sum"),
    "a sum that is spelled otherwise": (
        "Summe;1250.25\nZeilen;2\n",
        "column amount: the footer's total is no number, as the column's are",
    ),
    "another count": (
        "Summe;1.250,25\nZeilen;3\n",
        "the footer tells of another number of rows than 2",
    ),
    "no count": ("Summe;1.250,25\nZeilen;\n", "the footer tells of another number of rows than 2"),
    "a count in words": (
        "Summe;1.250,25\nZeilen;two\n",
        "the footer tells of another number of rows than 2",
    ),
}


@pytest.mark.parametrize("bad_rows", BadRows)
@pytest.mark.parametrize(("footer", "reason"), WRONG_TOTALS.values(), ids=list(WRONG_TOTALS))
def test_a_control_total_that_does_not_is_refused(
    bench: Workbench, footer: str, reason: str, bad_rows: BadRows
) -> None:
    feed = change_feed(TOTALS, bad_rows=bad_rows)
    bench.land(feed, "a.csv", KEPT + footer)
    bench.land(feed, "b.csv", KEPT + ADDED_UP)
    outcomes = bench.load(feed)
    assert reason in outcomes["a"].reason
    assert outcomes["b"].reason == ""
    assert {row[2] for row in bench.rows(feed)} == {"b"}


def test_rows_that_are_put_aside_are_missing_in_a_sum_and_not_in_a_count(bench: Workbench) -> None:
    feed = change_feed(TOTALS, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    bad = KEPT + "oops;5,00\n"
    bench.land(feed, "a.csv", bad + "Summe;1.250,25\nZeilen;3\n")
    bench.land(feed, "b.csv", bad + "Summe;1.250,25\nZeilen;2\n")
    bench.land(feed, "c.csv", bad + "Summe;1.255,25\nZeilen;3\n")
    outcomes = bench.load(feed)
    assert outcomes["a"].row_count == 2
    assert "another number of rows than 3" in outcomes["b"].reason
    assert "column amount: the footer's total is not the sum" in outcomes["c"].reason


def test_a_total_may_be_too_large_for_the_column(bench: Workbench) -> None:
    feed = change_feed(
        NOTES,
        columns={"id": "TINYINT", "note": "VARCHAR"},
        format={"type": "csv", "footer": "(?P<id>[0-9]+),total"},
    )
    bench.land(feed, "a.csv", "id,note\n100,x\n100,y\n200,total\n")
    assert bench.load(feed)["a"].row_count == 2


def test_only_exact_numbers_have_a_control_total() -> None:
    for name in ("note", "nothing"):
        message = f"group {name} is no integer or DECIMAL column, nor row_count"
        with pytest.raises(FeedDefinitionError, match=message):
            with_options(footer=f"(?P<{name}>x)")
