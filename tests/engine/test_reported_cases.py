"""Inputs of kinds that users have reported: each loads exactly as it is declared, or says why not.

The inputs are in `support/reported_cases.py`, from which a page is made, too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from partitioned_etl.components.partitions import FeedPartitions, build_partitions_def
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.infer import infer_feed
from partitioned_etl.engine.landing.names import Bounds
from partitioned_etl.engine.sql import quote_identifier
from support.reported_cases import CASES, SAMPLES, Case, Sample
from support.workbench import Workbench

COLUMNS = {"id": "BIGINT", "note": "VARCHAR"}


def make_feed(case: Case, **changes: Any) -> Feed:
    """Make the feed that a case declares."""
    declared = yaml.safe_load(f"{{{case.declared}}}")
    attributes = {"columns": COLUMNS, "pattern": case.pattern, **declared, **changes}
    return Feed(**attributes)


def make_file(case: Case, folder: Path) -> bytes:
    """Make the file of a case."""
    if isinstance(case.file, bytes):
        return case.file
    if not case.pattern.endswith(".parquet"):
        return case.file.encode()
    path = folder / "made.parquet"
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute(f"COPY ({case.file}) TO '{path}' (FORMAT parquet)")
    # DuckDB writes no name twice.
    return path.read_bytes().replace(b"a2", b"a1")


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A workbench for all cases, each of which has a feed of its own."""
    bench = Workbench(tmp_path_factory.mktemp("reported"))
    yield bench
    bench.close()


def load(case: Case, feed: Feed, bench: Workbench) -> tuple[list[tuple[Any, ...]], str]:
    """Load the file of a case; give the rows of the table, and why it has none."""
    name = case.name or case.pattern.replace("{key}", "a")
    bench.land(feed, name, make_file(case, bench.root))
    windows = FeedPartitions(feed, build_partitions_def(feed)).list_windows()
    listing = bench.landing.scan(feed, Bounds(windows.why_outside)).list_files()
    reasons = [one.reason for one in listing.refused]
    outcomes = bench.load(feed, list(listing.files.values()))
    reasons += [one.reason.removeprefix(f"{name}: ") for one in outcomes.values() if one.reason]
    columns = ", ".join(map(quote_identifier, feed.columns))
    rows = bench.query(f"SELECT {columns} FROM {quote_identifier(feed.table)} ORDER BY ALL")
    return rows, "; ".join(reasons)


ALL = [case for cases in CASES.values() for case in cases]


@pytest.mark.parametrize("way", ["at once", pytest.param("row by row", marks=pytest.mark.long)])
@pytest.mark.parametrize("number", range(len(ALL)), ids=[case.kind for case in ALL])
def test_a_reported_input_is_loaded_exactly_or_says_why_not(
    number: int, way: str, shared_bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, name = ALL[number], f"case_{number}_{way.replace(' ', '_')}"
    if case.note.startswith("the feed"):
        with pytest.raises(FeedDefinitionError) as raised:
            make_feed(case, name=name)
        assert str(raised.value) == f"feed {name}: {case.error}"
        return
    feed = make_feed(case, name=name)
    if way == "row by row":
        monkeypatch.setattr(type(feed.format), "is_read_at_once", False)
    assert load(case, feed, shared_bench) == (list(case.rows), case.error)


@pytest.mark.parametrize("sample", [pytest.param(sample, id=sample.kind) for sample in SAMPLES])
def test_what_is_proposed_for_a_reported_input(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / sample.name
    path.write_text(sample.file)
    proposal = infer_feed(path)
    assert {name: getattr(proposal, name) for name in sample.proposed} == sample.proposed
    assert sample.said in "\n".join([proposal.verdict, *proposal.doubts.values()])
