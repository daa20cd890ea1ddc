"""Tables fit a terminal and lose nothing; piped, they are as wide as they take."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from partitioned_etl.cli.output import format_table

FILES = (
    ("feed", "partition key", "file", "rows", "loaded at", "reason"),
    [
        ("customer_prices", "acme|2018-01-22", "a/long/folder/acme_prices_v2.csv", 1234567, None,
         "acme_prices_v2.csv: line 3, column share_price: not greater than 0 (price_is_positive)"),
        ("daily_prices", "2018-01-22", "2018-01-22.csv", 3, "2026-11-30 00:26:57 UTC", ""),
    ],
)  # fmt: skip
COUNTS = (
    ("feed", "table", "last load", "partitions", "rows", "waiting", "rejected rows", "unmatched"),
    [("customer_prices", "raw_dynamic_partition_data", "2026-11-30 00:26:57 UTC", 3, 21, 0, 0, 0)],
)


def pack(text: str) -> str:
    """Give the letters of a text, in whatever order they were folded."""
    return "".join(sorted(re.sub(r"[\s─-]", "", text)))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 400])
@pytest.mark.parametrize("table", [FILES, COUNTS])
def test_a_table_fits_its_width_and_loses_nothing(
    table: tuple[tuple[str, ...], list[tuple[object, ...]]], width: int
) -> None:
    titles, rows = table
    text = format_table(rows, titles, width)
    assert max(map(len, text.splitlines())) <= width
    told = "".join(
        map(str, (*titles, *("" if cell is None else cell for row in rows for cell in row)))
    )
    whole = pack(told)
    if len(rows) > 1 and text.startswith("feed ") and "─" not in text and "--" not in text:
        whole = pack(told + "".join(titles))  # a list of values has the titles once per row
    assert pack(text) == whole


def test_a_table_is_folded_where_there_is_room_and_a_list_where_there_is_none() -> None:
    titles, rows = FILES
    assert "customer_prices  acme|2018-01-22  " in format_table(rows, titles, 100)
    narrow = format_table(rows, titles, 60).splitlines()
    assert narrow[0].split() == ["feed", "customer_prices"]
    assert narrow.count("") == 1
    unabridged = format_table(rows, titles).splitlines()
    assert len(unabridged) == 4
    assert format_table(rows, titles, 400).splitlines() == unabridged


def test_a_wide_character_takes_two_places_and_a_control_character_none() -> None:
    text = format_table([("株価" * 20, "\x1b[1m" * 5)], ("name", "other"), 60)
    assert all(len(line) + sum(map("株価".count, line)) <= 60 for line in text.splitlines())
    assert "\x1b" not in text


def test_a_terminal_gets_a_table_that_fits_and_a_pipe_all_of_it(
    database: Path, query: Callable[..., list[tuple[object, ...]]], call: Callable[..., Result]
) -> None:
    query("CREATE TABLE t AS SELECT repeat('x', 200) AS a, 1 AS b")
    assert "x" * 200 in call("query", "FROM t").stdout
    reading, writing = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "partitioned_etl", "query", "FROM t"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80"},
            stdout=writing,
            check=True,
        )
        os.close(writing)
        lines = os.read(reading, 1 << 16).decode().splitlines()
    finally:
        os.close(reading)
    assert max(map(len, lines)) <= 80
    assert sum(line.count("x") for line in lines) == 200
