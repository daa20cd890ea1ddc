"""The files of csv-spectrum load as what their JSON says, or are refused for a known reason."""

import json
from pathlib import Path

import pytest

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.outcomes import OutcomeStatus
from support.workbench import NO_LINE_END, Workbench

CORPUS = Path(__file__).parents[1] / "support" / "corpora" / "csv-spectrum"
FILES = sorted((CORPUS / "csvs").glob("*.csv"))
SIZES = {
    "comma_in_quotes": 68,
    "empty": 19,
    "empty_crlf": 21,
    "escaped_quotes": 25,
    "json": 65,
    "location_coordinates": 117,
    "newlines": 42,
    "newlines_crlf": 47,
    "quotes_and_newlines": 27,
    "simple": 12,
    "simple_crlf": 14,
    "utf8": 18,
}

CUT_OFF = {
    "comma_in_quotes": f"line 2: {NO_LINE_END}",
    "empty": f"line 3: {NO_LINE_END}",
    "empty_crlf": f"line 3: {NO_LINE_END}",
    "location_coordinates": f"line 2: {NO_LINE_END}",
    "utf8": f"line 3: {NO_LINE_END}",
}
"""Refused as they are."""
BEYOND_REPAIR = {
    # Quotes stand for minutes and seconds, inside a field that is not quoted.
    "location_coordinates": "line 2: the line cannot be read in the feed's dialect",
}
"""Refused also with the line end that they lack."""


def expected_rows(path: Path) -> list[dict[str, str]]:
    """Give a file's rows by its JSON, which is one object where there is one row."""
    rows = json.loads((CORPUS / "json" / f"{path.stem}.json").read_text(encoding="utf-8"))
    return [rows] if isinstance(rows, dict) else rows


def feed_of(path: Path) -> Feed:
    return Feed(
        name="spectrum",
        folder="spectrum",
        pattern="{key}.csv",
        columns=dict.fromkeys(expected_rows(path)[0], "VARCHAR"),
        table="spectrum",
    )


def assert_loads_as_its_json_or_is_refused(
    bench: Workbench, path: Path, content: bytes, refusal: str | None
) -> None:
    feed = feed_of(path)
    bench.land(feed, path.name, content)
    outcome = bench.load(feed)[path.stem]
    loaded = [dict(zip(feed.columns, row, strict=False)) for row in in_order(bench, feed)]
    if refusal:
        assert outcome.status is OutcomeStatus.REFUSED
        assert outcome.reason == f"{path.name}: {refusal}"
        assert loaded == []
    else:
        assert outcome.reason == ""
        assert loaded == expected_rows(path)


def in_order(bench: Workbench, feed: Feed) -> list[tuple[object, ...]]:
    return bench.query(f"SELECT * FROM {feed.table} ORDER BY rowid")


def test_the_corpus_is_whole_and_its_line_ends_are_as_they_came() -> None:
    assert {path.stem: path.stat().st_size for path in FILES} == SIZES
    assert {path.stem for path in (CORPUS / "json").iterdir()} == set(SIZES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_loads_as_its_json_says_or_is_refused(bench: Workbench, path: Path) -> None:
    content = path.read_bytes()
    assert content.endswith(b"\n") is (path.stem not in CUT_OFF)
    assert_loads_as_its_json_or_is_refused(bench, path, content, CUT_OFF.get(path.stem))


@pytest.mark.parametrize("name", CUT_OFF)
def test_a_file_that_only_lacks_its_last_line_end_loads_with_it(
    bench: Workbench, name: str
) -> None:
    path = CORPUS / "csvs" / f"{name}.csv"
    content = path.read_bytes()
    line_end = b"\r\n" if b"\r\n" in content else b"\n"
    assert_loads_as_its_json_or_is_refused(bench, path, content + line_end, BEYOND_REPAIR.get(name))
