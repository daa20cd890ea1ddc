"""Large files: a file that is surveyed while DuckDB reads it is judged as every other file is."""

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from engine.test_contract import BREACHES, CELL
from partitioned_etl.engine import failpoints, replace
from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.scale import quick_and_long
from support.workbench import (
    NO_LINE_END,
    NOTES,
    PRICES,
    Workbench,
    at_moment,
    call_large_from,
    change_feed,
    land_numbers,
    loaded_numbers,
)


@pytest.fixture(autouse=True)
def surveyed_beside(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make every file a large one; gives the names of those that were surveyed beside a load."""
    names: list[str] = []
    original = replace._insert_while_surveying

    def note(table: Any, candidate: Any, *given: Any) -> None:
        names.append(candidate.file.name)
        original(table, candidate, *given)

    monkeypatch.setattr(replace, "_insert_while_surveying", note)
    call_large_from(monkeypatch, -1)
    return names


def test_a_sound_file_is_loaded_counted_and_hashed(
    bench: Workbench, surveyed_beside: list[str]
) -> None:
    content = b'id,note\n1,x\n2,"y\nz"\n'
    bench.land(NOTES, "a.csv", content)
    land_numbers(bench, "b", 3)
    outcomes = bench.load(NOTES)
    assert surveyed_beside == ["a.csv", "b.csv"]
    assert [row[:2] for row in bench.rows(NOTES)] == [(1, "x"), (2, "y\nz"), (3, "x")]
    row = bench.ledger(NOTES).rows["a.csv"]
    assert (row.row_count, row.file_row_count, row.content_hash) == (
        2,
        2,
        sha256(content).hexdigest(),
    )
    assert outcomes["a"].row_count == 2
    bench.assert_level(NOTES)
    assert bench.sync(NOTES).loaded == []


@pytest.mark.parametrize(("content", "problems"), quick_and_long(BREACHES))
def test_a_breach_is_told_as_in_a_small_file(
    bench: Workbench, content: bytes, problems: str, caplog: pytest.LogCaptureFixture
) -> None:
    land_numbers(bench, "a", 1)
    bench.load(NOTES)
    caplog.set_level(logging.DEBUG)
    bench.land(NOTES, "a.csv", content)
    land_numbers(bench, "b", 2)
    outcome = bench.load(NOTES)["a"]
    assert loaded_numbers(bench) == {"a": [1], "b": [2]}
    row = bench.ledger(NOTES).rows["a.csv"]
    assert (row.status, row.row_count) == (LoadStatus.REFUSED, 1)
    assert row.error == outcome.reason == f"a.csv: {problems}"
    assert CELL not in outcome.reason + caplog.text


JUDGED = {
    "a value that DuckDB does not take": ("1,x\n1.5,x\n", "line 3, column id: not a BIGINT"),
    "a row that is too long, which DuckDB does not take": (
        "1,x\n2,x,y\n",
        "line 3: 3 fields instead of 2",
    ),
    "an empty line, which DuckDB passes over": ("1,x\n\n2,x\n", "line 3: an empty line"),
    "a missing line end, which DuckDB does not miss": (
        "1,x\n2,x",
        f"line 3: {NO_LINE_END}",
    ),
    "a bad value and a missing line end": (
        "1.5,x\n2,x",
        f"line 3: {NO_LINE_END}",
    ),
    "a bad value above a row that is too long": ("x,x\n2,x,y\n", "line 3: 3 fields instead of 2"),
}


@pytest.mark.parametrize(("rows", "problem"), JUDGED.values(), ids=list(JUDGED))
def test_whoever_takes_offence_first_the_reason_is_the_same(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    surveyed_beside: list[str],
    rows: str,
    problem: str,
) -> None:
    reasons = []
    for statement_bytes in (-1, 1 << 20):
        call_large_from(monkeypatch, statement_bytes)
        bench.land(NOTES, "a.csv", f"id,note\n{rows}")
        reasons.append(bench.load(NOTES)["a"].reason)
        assert bench.rows(NOTES) == []
    assert surveyed_beside == ["a.csv"]
    assert reasons == [f"a.csv: {problem}"] * 2


def test_a_row_rule_is_told_as_in_a_small_file(bench: Workbench) -> None:
    bench.land(PRICES, "2018-01-22.csv", "day,price\n2018-01-22,1\n2018-01-22,-1\n")
    assert bench.load(PRICES)["2018-01-22"].reason == (
        "2018-01-22.csv: line 3, column price: not above 0 (price_is_positive)"
    )
    assert bench.rows(PRICES) == []


@pytest.mark.parametrize("row", ["1.5,x", "1", ""], ids=["type", "width", "empty line"])
def test_bad_rows_of_a_large_file_are_put_aside(bench: Workbench, row: str) -> None:
    feed = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    bench.land(feed, "a.csv", f"id,note\n1,x\n{row}\n2,y\n")
    outcome = bench.load(feed)["a"]
    assert (outcome.row_count, outcome.rejected_count) == (2, 1)
    assert [each[:2] for each in bench.rows(feed)] == [(1, "x"), (2, "y")]
    assert bench.query("SELECT line, raw_line FROM rejected_rows") == [(3, row)]


@pytest.mark.parametrize(
    ("encoding", "text"), [("utf-16", "\U0001f600"), ("latin-1", "\x80"), ("utf-16", "\u00e9")]
)
def test_a_large_file_of_another_encoding_is_loaded(
    bench: Workbench, encoding: str, text: str
) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding=encoding, encoding_is_certain=True))
    bench.land(feed, "a.csv", f"id,note\n1,{text}\n".encode(encoding))
    assert bench.load(feed)["a"].reason == ""
    assert bench.rows(feed) == [(1, text, "a", "a.csv")]


def rewrite(path: Path) -> None:
    path.write_bytes(b"id,note\n8,y\n9,z\n")


def damage(path: Path) -> None:
    path.write_bytes(b'id,note\n8,"\xff')


def empty(path: Path) -> None:
    path.write_bytes(b"")


CHANGES: list[Callable[[Path], None]] = [rewrite, damage, empty, Path.unlink]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("when", ["before the survey", "after the survey", "after the insert"])
def test_a_large_file_that_changes_meanwhile_is_not_committed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], when: str
) -> None:
    path = land_numbers(bench, "a", 1)
    bench.load(NOTES)
    land_numbers(bench, "a", 2)
    land_numbers(bench, "b", 3)
    original, left = CsvFormat.survey, ["once"]

    def survey_and_change(csv: Any, feed: Any, file: Any, *others: Any) -> Any:
        if file.path != path or not left:
            return original(csv, feed, file, *others)
        left.pop()
        if when == "before the survey":
            change(path)
        survey = original(csv, feed, file, *others)
        if when == "after the survey":
            change(path)
        return survey

    monkeypatch.setattr(CsvFormat, "survey", survey_and_change)
    if when == "after the insert":
        at_moment(monkeypatch, failpoints.MID_INSERT, lambda: change(path))
    outcomes = bench.load(NOTES)
    assert outcomes["a"].status is OutcomeStatus.CHANGED
    assert loaded_numbers(bench) == {"a": [1], "b": [3]}
    assert bench.ledger(NOTES).rows["a.csv"].status == LoadStatus.LOADED
    bench.assert_level(NOTES)
