"""Previews: a cell of a stranger's file is shown and cannot act."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.builders.loads import escape_markdown, markdown_table

HOSTILE = [
    "![x](/graphql?query=mutation)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "https://example.com/x",
    "www.example.com",
    "someone@example.com",
    "a|b",
    "a\\|b",
    "`code`",
    "``` fence",
    "\\`![x](y)",
    "*bold* _em_ ~~del~~",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("cell", HOSTILE)
def test_a_hostile_cell_stays_inside_one_code_span(cell: str) -> None:
    shown = escape_markdown(cell)
    assert re.fullmatch(r"`[^`|\\\n]*`", shown), shown


@given(st.text())
def test_any_text_is_plain_or_one_code_span(cell: str) -> None:
    shown = escape_markdown(cell)
    assert re.fullmatch(r"[A-Za-z0-9 -]*|`[^`|\\\x00-\x1f\x7f]+`", shown), shown


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=4))
def test_a_table_keeps_its_shape_whatever_the_cells(rows: list[tuple[str, str]]) -> None:
    lines = markdown_table(["a", "b"], rows).split("\n")
    assert len(lines) == len(rows) + 2
    assert {line.count("|") for line in lines} == {3}


def test_numbers_dates_and_nothing_are_shown_as_they_are() -> None:
    assert [escape_markdown(cell) for cell in (1.5, 33597290.0, None, "acme 1")] == [
        "1.5",
        "33597290.0",
        "",
        "acme 1",
    ]


def test_line_ends_and_control_characters_become_spaces() -> None:
    assert escape_markdown("a\nb\rc\x00d\u202ee") == "a b c d e"


def test_a_long_cell_is_cut() -> None:
    assert len(escape_markdown("x" * 10_000)) <= 82
