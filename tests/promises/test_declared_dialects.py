"""Files in random declared dialects, two thirds of them damaged, are what two readers say they are.

Each file is loaded all at once and row by row. An independent reader in plain Python, of the
folder `support`, says what it holds by its declaration, or that it is to be refused.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import text as text_format
from partitioned_etl.engine.formats.format import unwatched
from partitioned_etl.engine.landing import landing as landing_module
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import Outcome, OutcomeStatus
from partitioned_etl.engine.row_by_row import _validate_batches
from partitioned_etl.engine.sql import quote_identifier
from partitioned_etl.engine.warehouse.warehouse import FeedTable
from support.dialect_writer import Writer, WrittenFile, declare
from support.scale import TEST_SCALE
from support.strict_reader import Declaration, decompress, read_file
from support.strict_values import RefusedError, UnsureError
from support.workbench import Workbench

pytestmark = pytest.mark.slow

FORMATS = {"csv": 14, "tsv": 1, "json_lines": 4, "json": 1}
"""How many files in twenty are of a format."""
MOST_UNSURE = 0.05
IS_LONG = TEST_SCALE >= 20
"""Whether files are tried that nobody has tried before: what tells them apart is young itself."""
SEED = os.environ.get("TEST_SEED") or (str(random.SystemRandom().random()) if IS_LONG else "0")
"""What makes the files; TEST_SEED repeats those of a run that failed."""

Loaded = list[tuple[Any, ...]] | None
"""The rows of a file in an order of their own; None if it is refused."""


def count_files() -> tuple[int, int]:
    """Give how many declarations to try, and how many files of each."""
    return (round(40 * TEST_SCALE), 25) if IS_LONG else (10, 8)


def make_feed(rng: random.Random, number: int) -> tuple[Feed, Declaration]:
    kind = rng.choices([*FORMATS], [*FORMATS.values()])[0]
    while True:
        declared = declare(rng, kind)
        try:
            feed = Feed(name=f"feed_{number}", pattern="{key}.csv", **declared)
        except FeedDefinitionError:
            continue
        return feed, declared


def sort_rows(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in rows), key=repr)


def list_values(feed: Feed) -> str:
    """Give SQL for the columns, of which a time with an offset is a number."""
    types = feed.column_types.items()
    return ", ".join(
        f"epoch_us({name})" if type_name == "TIMESTAMPTZ" else name
        for name, type_name in ((quote_identifier(name), one) for name, one in types)
    )


def load_at_once(table: FeedTable, outcomes: Sequence[Outcome]) -> dict[str, tuple[Loaded, str]]:
    """Give what a load of many files has left in the table."""
    feed = table.feed
    rows: dict[str, list[tuple[Any, ...]]] = {}
    sql = f"SELECT source_file, {list_values(feed)} FROM {feed.table}"
    for name, *row in table.duck.execute(sql).fetchall():
        rows.setdefault(name, []).append(tuple(row))
    refused = {one.file.name: one for one in outcomes if one.status is not OutcomeStatus.LOADED}
    assert not refused.keys() & rows.keys()
    return {
        file.name: (None, refused[file.name].reason)
        if file.name in refused
        else (sort_rows(rows.get(file.name, [])), "")
        for file in (outcome.file for outcome in outcomes)
    }


def load_row_by_row(table: FeedTable, outcome: Outcome) -> tuple[Loaded, str]:
    """Read a file as a diagnosis and a quarantine do."""
    feed, file, survey = table.feed, outcome.file, outcome.survey
    assert survey
    if survey.problems:
        return None, str(survey.problems[0])
    rows: list[tuple[Any, ...]] = []
    for batch in _validate_batches(table, file, survey.header, unwatched):
        if batch.bad_rows:
            return None, str(batch.bad_rows[0].problems[0])
        if batch.validated:
            sql = f"SELECT {list_values(feed)} FROM {batch.validated.sql}"
            rows += table.duck.execute(sql, batch.validated.bound).fetchall()
    assert len(rows) == survey.row_count
    return sort_rows(rows), ""


def read_strictly(declared: Declaration, file: WrittenFile) -> tuple[Loaded, str]:
    try:
        return sort_rows(read_file(declared, file.name, file.content)), ""
    except RefusedError as error:
        return None, str(error)


def compare(bench: Workbench, number: int, count: int) -> Iterator[tuple[str, str]]:
    """Try files of one declaration, and give for each what it is, and what is wrong if anything."""
    rng = random.Random(f"{SEED}:{number}")
    feed, declared = make_feed(rng, number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            landing_module, "CHUNK_BYTES", rng.choice([7, 64, landing_module.CHUNK_BYTES])
        )
        patch.setattr(text_format, "BATCH_ROWS", rng.choice([2, text_format.BATCH_ROWS]))
        yield from compare_files(bench, feed, declared, number, count)


def compare_files(
    bench: Workbench, feed: Feed, declared: Declaration, number: int, count: int
) -> Iterator[tuple[str, str]]:
    """Try so many files of a declaration."""
    written: dict[str, WrittenFile] = {}
    for key in range(count):
        one = Writer(declared, random.Random(f"{SEED}:{number}:{key}"))
        file = one.write(f"f{key}", is_damaged=key % 3 > 0)
        written[file.name] = file
        bench.land(feed, file.name, file.content)
    files = bench.list_files(feed)
    assert {file.name for file in files} == written.keys()
    with bench.open_table(feed) as table:
        outcomes = load_files(table, bench.landing, files)
        at_once = load_at_once(table, outcomes)
        row_by_row = {one.file.name: load_row_by_row(table, one) for one in outcomes}
        table.duck.execute(f"DROP TABLE {feed.table}")
    for file in written.values():
        (found, reason), (other, other_reason) = at_once[file.name], row_by_row[file.name]
        told = f"at once: {found} {reason}\nrow by row: {other} {other_reason}"
        place = describe(file, f"seed {SEED}, declaration {number}: {declared}")
        kind = "refused" if found is None else "loaded"
        if repr(found) != repr(other):
            yield "different between the paths", f"{place}\n{told}"
            continue
        try:
            expected, why = read_strictly(declared, file)
        except UnsureError:
            yield "unsure", ""
            continue
        if (expected is None) is not (found is None):
            yield f"{kind}, not the other", f"{place}\n{told}\nexpected: {expected} {why}"
        elif repr(expected) != repr(found):
            yield "silently wrong", f"{place}\n{told}\nexpected: {expected}"
        elif file.rows is not None and repr(sort_rows(file.rows)) != repr(expected):
            yield f"{kind}, not as written", f"{place}\n{told}\nwritten: {sort_rows(file.rows)}"
        else:
            yield kind, ""


def describe(file: WrittenFile, declared: str) -> str:
    """Give what is needed to try a file again."""
    try:
        text = decompress(file.name, file.content)
    except RefusedError:
        text = b""
    within = f"\nwithin: {text!r}" if text != file.content else ""
    return f"{declared}\n{file.name}: {file.content!r}{within}"


@pytest.mark.scaled
def test_a_file_is_loaded_as_its_declaration_says_or_refused(bench: Workbench) -> None:
    declarations, count = count_files()
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(declarations):
        for kind, failure in compare(bench, number, count):
            seen[kind] += 1
            if failure:
                wrong.append(f"{kind}: {failure}")
    assert wrong == [], "\n\n".join(wrong[:5])
    assert seen["loaded"] + seen["refused"] + seen["unsure"] == declarations * count
    assert seen["unsure"] <= MOST_UNSURE * declarations * count
    assert min(seen["loaded"], seen["refused"]) > declarations * count / 4
