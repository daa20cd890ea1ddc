"""Progress: a long load says how far it is, also while it is at one file."""

import gzip
import logging
import re

import pytest

from ingest.workbench import NOTES, Workbench
from partitioned_etl.ingest import loading, progress

ROWS = 1_000_000


@pytest.mark.parametrize(
    ("name", "what"), [("a.csv", "loaded"), ("a.csv.gz", "checked")], ids=["plain", "compressed"]
)
def test_one_large_file_says_how_far_it_is(
    bench: Workbench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    what: str,
) -> None:
    monkeypatch.setattr(loading, "_STATEMENT_BYTES", -1)
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


def test_a_batch_that_takes_no_time_says_nothing(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="partitioned_etl")
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    bench.load(NOTES)
    assert "MB/s" not in caplog.text
