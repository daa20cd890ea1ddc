"""Fixed width: lines in which each column has its place load exactly, or are refused by line."""

from collections.abc import Mapping
from typing import Any

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from support.workbench import Workbench, change_feed

COLUMNS: dict[str, Any] = {
    "article": {"type": "VARCHAR", "start": 1, "length": 6},
    "pieces": {"type": "BIGINT", "start": 9, "length": 4},
    "day": {"type": "DATE", "start": 13, "length": 8, "date_format": "%Y%m%d"},
}


def make_feed(**options: Any) -> Feed:
    columns = options.pop("columns", COLUMNS)
    return Feed(
        name="stock",
        pattern="{key}.dat",
        columns=columns,
        format={"type": "fixed_width", **options},  # pyright: ignore[reportArgumentType]
    )


TEXT = "tea   ??001220240131\nchai????   320240201\n      ??0000        \n"
ROWS = [
    (None, 0, None),
    ("chai??", 3, "2024-02-01"),
    ("tea", 12, "2024-01-31"),
]


def load(bench: Workbench, feed: Feed, text: str) -> list[tuple[Any, ...]]:
    bench.land(feed, "a.dat", text.encode(getattr(feed.format, "encoding", "utf-8")))
    assert bench.load(feed)["a"].reason == ""
    found = bench.query("SELECT article, pieces, CAST(day AS VARCHAR) FROM stock ORDER BY ALL")
    return sorted(found, key=str)


LOADED: Mapping[str, tuple[dict[str, Any], str]] = {
    "as it is": ({}, TEXT),
    "CRLF": ({}, TEXT.replace("\n", "\r\n")),
    "of two line ends": ({}, TEXT.replace("\n", "\r\n", 1)),
    "in EBCDIC": ({"encoding": "cp037"}, TEXT),
    "counted in bytes": ({"unit": "bytes"}, TEXT),
    "with more behind": ({"line_length": 23}, TEXT.replace("\n", "  x\n")),
    "with lines cut off": ({"short_lines": True}, TEXT.replace("0000        ", "0000")),
    "with head and footer": ({"skip_lines": 1, "footer": "END"}, f"STOCK\n{TEXT}END 3\n"),
    "filled with dots": ({"padding": "."}, TEXT.replace(" ", ".")),
}


@pytest.mark.parametrize(("options", "text"), LOADED.values(), ids=list(LOADED))
def test_a_file_loads_by_the_places_of_its_columns(
    bench: Workbench, options: dict[str, Any], text: str
) -> None:
    assert load(bench, make_feed(**options), text) == sorted(ROWS, key=str)


@pytest.mark.parametrize(("options", "text"), LOADED.values(), ids=list(LOADED))
def test_its_good_lines_load_by_them_too(
    bench: Workbench, options: dict[str, Any], text: str
) -> None:
    feed = change_feed(make_feed(**options), bad_rows="quarantine", max_rejected_percent=100)
    assert load(bench, feed, text.replace("0012", "oo12")) == sorted(ROWS[:2], key=str)


def test_places_may_be_counted_in_bytes_of_an_encoding_with_several(bench: Workbench) -> None:
    feed = make_feed(unit="bytes", encoding="shift_jis")
    assert load(bench, feed, "東京X ??001220240131\n") == [("東京X", 12, "2024-01-31")]
    bench.land(feed, "b.dat", "12345東 001220240131\n".encode("shift_jis"))
    reason = bench.load(feed, [file for file in bench.list_files(feed) if file.name == "b.dat"])
    assert reason["b"].reason == "b.dat: line 1: a column begins or ends within a character"


REFUSED = {
    "a short line": (TEXT + "tea     0012\n", "line 4: 12 characters instead of 20"),
    "a long line": (TEXT + "x" * 21 + "\n", "line 4: 21 characters instead of 20"),
    "an empty line": (TEXT + "\n", "line 4: 0 characters instead of 20"),
    "an empty line first": ("\n" + TEXT, "line 1: 0 characters instead of 20"),
    "letters for a number": (TEXT.replace("0012", "0o12"), "line 1, column pieces: not a BIGINT"),
    "a day that is none": (
        TEXT.replace("20240131", "20240132"),
        "line 1, column day: not a DATE of the form %Y%m%d",
    ),
    "a carriage return within": (
        TEXT.replace("??001", "\r?001"),
        "line 1: a carriage return without a line feed",
    ),
    "no line end": (TEXT[:-1], "line 3: no line end after the last line"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_a_line_that_differs_is_refused_by_its_number(
    bench: Workbench, text: str, reason: str
) -> None:
    feed = make_feed()
    bench.land(feed, "a.dat", text)
    assert bench.load(feed)["a"].reason.startswith(f"a.dat: {reason}")
    assert bench.rows(feed) == []


def test_the_bad_lines_are_put_aside(bench: Workbench) -> None:
    feed = change_feed(make_feed(), bad_rows="quarantine", max_rejected_percent=100)
    bench.land(feed, "a.dat", "bad\n" + TEXT.replace("   3", "oops"))
    assert bench.load(feed)["a"].rejected_count == 2
    assert bench.query("SELECT line, column_name FROM rejected_rows ORDER BY line") == [
        (1, ""),
        (3, "pieces"),
    ]


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"columns": {"a": "VARCHAR"}}, "columns.a.start: is needed"),
    ({"columns": {"a": {"type": "VARCHAR", "start": 1}}}, "columns.a.length: is needed"),
    (
        {"columns": {**COLUMNS, "x": {"type": "BIGINT", "start": 12, "length": 1}}},
        "pieces ends at 12",
    ),
    ({"line_length": 19}, "line_length: column day ends at 20"),
    ({"padding": ""}, "padding must be one character"),
    ({"padding": r"\t"}, "takes it for a character in double quotes"),
    ({"columns": {"a": {"type": "VARCHAR", "start": 0, "length": 1}}}, "columns.a.start"),
    (
        {"columns": {"a": {"type": "VARCHAR", "start": 1, "length": 1, "from": "b"}}},
        "a column of fixed_width is found by its place alone",
    ),
    ({"type": "csv"}, "only a column of fixed_width has a place in a line"),
]


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_a_contradiction_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FeedDefinitionError, match=message):
        make_feed(**options)
