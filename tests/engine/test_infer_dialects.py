"""Infer on files in known dialects: what it proposes loads what is in them, or it says its doubts.

The figures of all 300 files are held here: how many load as written, and that none is loaded
otherwise without a doubt.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.infer import infer_feed
from partitioned_etl.engine.sql import quote_identifier
from partitioned_etl.engine.sync import sync_feed
from support.sample_files import SampleFile, make_sample
from support.scale import examples

ALL, QUICK = range(min(300, examples(100))), range(1000, 1008)
USUAL_DOUBTS = {"pattern", "start"}


def mean(value: Any) -> Any:
    """Give what a value means, whatever its type is."""
    match value:
        case bool():
            return value
        case int() | float() | Decimal():
            return round(Decimal(str(value)), 6)
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        case date():
            return datetime.combine(value, time())
        case str():
            return value or None
    return value


def judge(sample: SampleFile, folder: Path) -> tuple[str, str]:
    """Give whether a file's proposal loads what is in it, and what it says."""
    folder.mkdir(parents=True)
    path = folder / sample.name
    path.write_bytes(sample.content)
    try:
        proposal = infer_feed(path)
    except LandedFileError as error:
        return "refused", str(error)
    said = f"{proposal.options} {proposal.values} {proposal.declared_columns} {proposal.doubts}"
    if "the sample loads by it" not in proposal.verdict:
        return "refused", f"{proposal.verdict} {said}"
    database = folder / "trial.duckdb"
    report = sync_feed(proposal.to_feed(folder.name), folder.parent, database, settle_seconds=0)
    assert report.loaded
    with duckdb.connect(str(database)) as duck:
        names = ", ".join(map(quote_identifier, proposal.columns))
        loaded = duck.sql(f"SELECT {names} FROM {quote_identifier(proposal.name)}").fetchall()
    found = list(zip(*loaded, strict=True)) if loaded else []
    has_doubt = bool(proposal.doubts.keys() - USUAL_DOUBTS)
    if len(found) != len(sample.columns):
        return "wrong, with a doubt" if has_doubt else "wrong", said
    untyped = False
    for (name, truth), given in zip(sample.columns.items(), found, strict=True):
        if same(truth, given):
            continue
        texts = [text or None for text in sample.texts.get(name, ())]
        if not same(texts, given):
            return "wrong, with a doubt" if has_doubt else "wrong", f"{name}: {given} {said}"
        untyped = True
    return "texts" if untyped else "right", said


def same(truth: Sequence[Any], given: Iterable[Any]) -> bool:
    """Give whether values are the same, in any order."""
    return Counter(map(repr, map(mean, truth))) == Counter(map(repr, map(mean, given)))


@pytest.mark.parametrize(
    "seeds", [pytest.param(QUICK, id="quick"), pytest.param(ALL, id="all", marks=pytest.mark.long)]
)
def test_what_is_proposed_for_a_file_loads_what_is_in_it(seeds: range, tmp_path: Path) -> None:
    verdicts = {seed: judge(make_sample(seed), tmp_path / f"s{seed}") for seed in seeds}
    counts = Counter(verdict for verdict, _ in verdicts.values())
    others = {
        seed: (*verdict, dict(make_sample(seed).traits))
        for seed, verdict in verdicts.items()
        if verdict[0] != "right"
    }
    report = "\n".join(f"{seed}: {verdict}" for seed, verdict in others.items())
    print(counts, report, sep="\n")
    assert counts["wrong"] == 0, report
    assert counts["right"] >= 0.95 * len(seeds), f"{counts}\n{report}"
