"""Tab-separated values: CSV with another delimiter, as spreadsheets and databases export them."""

import csv
import gzip
import io

import pytest

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.csv import TsvFormat
from partitioned_etl.engine.formats.registry import parse_format
from support.workbench import NOTES, Workbench, change_feed

TAB_NOTES = change_feed(NOTES, pattern="{key}.tsv", format=TsvFormat())
CITIES = Feed(
    name="cities",
    folder="cities",
    pattern="{key}.tsv",
    columns={"geonameid": "BIGINT", "name": "VARCHAR", "latitude": "DOUBLE", "modified": "DATE"},
    table="cities",
    format=parse_format("tsv"),
)
CITY_LINES = (
    "geonameid\tname\tlatitude\tmodified\n"
    "2988507\tParis\t48.85341\t2024-10-23\n"
    "3128760\tBarcelona, Catalonia\t41.38879\t\n"
    "1850147\t\u6771\u4eac\t35.6895\t2023-01-12\n"
)
CITY_ROWS = [("Barcelona, Catalonia", 41.38879), ("Paris", 48.85341), ("\u6771\u4eac", 35.6895)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", CITY_LINES.encode()),
        ("a.tsv", CITY_LINES.replace("\n", "\r\n").encode()),
        ("a.tsv.gz", gzip.compress(CITY_LINES.encode())),
    ],
    ids=["LF", "CRLF", "gzip"],
)
def test_a_database_export_is_loaded(bench: Workbench, name: str, content: bytes) -> None:
    bench.land(CITIES, name, content)
    assert bench.load(CITIES)["a"].reason == ""
    assert sorted(row[1:3] for row in bench.rows(CITIES)) == CITY_ROWS


def test_a_spreadsheet_export_with_tabs_and_quotes_in_cells_is_loaded(bench: Workbench) -> None:
    rows = [(1, "a\ttab"), (2, 'a "quote"'), (3, "two\nlines"), (4, "a, comma")]
    text = io.StringIO(newline="")
    csv.writer(text, dialect="excel-tab").writerows([("id", "note"), *rows])
    bench.land(TAB_NOTES, "a.tsv", text.getvalue())
    assert bench.load(TAB_NOTES)["a"].reason == ""
    assert [row[:2] for row in bench.rows(TAB_NOTES)] == rows


BREACHES = {
    "commas": (
        "id,note\n1,x\n",
        "line 1: header: column id is missing; line 1: header: column note is missing; "
        "line 1: header: 1 column name(s) that the feed does not have",
    ),
    "a tab more": ("id\tnote\n1\tx\ty\n", "line 2: 3 fields instead of 2"),
    "spaces for a tab": ("id\tnote\n1   x\n", "line 2: 1 fields instead of 2"),
    "a bare quote": (
        'id\tnote\n1\t5" disk\n',
        "line 2: a quote that is not closed, or stands inside an unquoted field",
    ),
}


@pytest.mark.parametrize(("content", "problem"), BREACHES.values(), ids=list(BREACHES))
def test_a_breach_changes_no_row(bench: Workbench, content: str, problem: str) -> None:
    bench.land(TAB_NOTES, "a.tsv", "id\tnote\n7\told\n")
    bench.load(TAB_NOTES)
    bench.land(TAB_NOTES, "a.tsv", content)
    assert bench.load(TAB_NOTES)["a"].reason == f"a.tsv: {problem}"
    assert [row[:2] for row in bench.rows(TAB_NOTES)] == [(7, "old")]
