"""Progress: a long load says how far it is, also while it is at one file."""

import gzip
import logging
import re

import duckdb
import pytest

from partitioned_etl.engine import progress
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.parquet import ParquetFormat
from support.workbench import NOTES, Workbench, call_large_from, change_feed

ROWS = 1_000_000


@pytest.mark.parametrize(
    ("name", "what"), [("a.csv", "loaded"), ("a.csv.gz", "surveyed")], ids=["plain", "compressed"]
)
def test_one_large_file_says_how_far_it_is(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    what: str,
) -> None:
    call_large_from(monkeypatch, -1)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.01)
    caplog.set_level(logging.INFO, logger="partitioned_etl")
    content = ("id,note\n" + "".join(f"{n},{'x' * 20}\n" for n in range(ROWS))).encode()
    bench.land(NOTES, name, gzip.compress(content, 0) if name.endswith(".gz") else content)
    assert bench.load(NOTES)["a"].row_count == ROWS
    said = re.findall(rf"feed notes: {what} 0 of 1 files, (\d+) of (\d+) MB, \d+ MB/s", caplog.text)
    assert len(said) > 1
    amounts = [int(done) for done, _ in said]
    assert 0 < max(amounts) <= int(said[0][1])
    assert len(set(amounts)) > 1


def test_a_parquet_file_is_not_said_to_be_read_before_it_is(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call_large_from(monkeypatch, -1)
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.01)
    caplog.set_level(logging.INFO, logger="partitioned_etl")
    feed = change_feed(NOTES, format=ParquetFormat(), pattern="{key}.parquet")
    path = bench.land(feed, "a.parquet", b"")
    with duckdb.connect() as connection:
        rows = f"SELECT i AS id, uuid()::VARCHAR AS note FROM range({ROWS}) t(i)"
        connection.execute(f"COPY ({rows}) TO '{path}'")
    assert bench.load(feed)["a"].row_count == ROWS
    said = re.findall(r"feed notes: surveyed 0 of 1 files, (\d+) of (\d+) MB", caplog.text)
    assert said
    assert {done for done, _ in said} != {said[0][1]}


def test_a_batch_that_takes_no_time_says_nothing(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="partitioned_etl")
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    bench.load(NOTES)
    assert "MB/s" not in caplog.text


def test_a_file_that_is_read_row_by_row_says_how_far_it_is(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.01)
    caplog.set_level(logging.INFO, logger="partitioned_etl")
    feed = change_feed(
        NOTES, format=JsonLinesFormat(), pattern="{key}.jsonl", bad_rows="quarantine"
    )
    row = f'{{"id": 1, "note": "{"x" * 200}"}}\n'
    bench.land(feed, "a.jsonl", row * 50_000 + '{"id": 0.5, "note": ""}\n')
    assert bench.load(feed)["a"].row_count == 50_000
    for what in ("validated", "loaded"):
        said = re.findall(rf"feed notes: {what} 0 of 1 files, (\d+) of 11 MB", caplog.text)
        assert len(set(said)) > 1
