"""Replace: one transaction that puts the rows of files in the place of those that were there.

Takes candidates; either returns with all of them loaded, or raises with none loaded. The order
within the transaction: ledger row, delete, insert, what that changed, versions again. Which files
get here, and what happens to those at fault, is decided in `load.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from functools import reduce
from operator import or_
from typing import Any

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.contract import Contract
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.format import (
    ROW_COUNT,
    Problem,
    Source,
    Survey,
    describe_problems,
)
from partitioned_etl.engine.formats.rows import FILE_FAULTS, select_rows, total_sql
from partitioned_etl.engine.landing.landing import LandedFile, list_changed
from partitioned_etl.engine.progress import Progress
from partitioned_etl.engine.row_by_row import insert_good_rows
from partitioned_etl.engine.row_changes import ChangeCount
from partitioned_etl.engine.sandbox import read_share
from partitioned_etl.engine.sql import Query
from partitioned_etl.engine.warehouse.ledger import LedgerRow, ledger_row
from partitioned_etl.engine.warehouse.load_history import RowChanges, loaded_row
from partitioned_etl.engine.warehouse.warehouse import FeedTable

LARGE_BYTES = 64 << 20
"""Above this size a file has a statement of its own, and is surveyed while DuckDB reads it."""


class Stage(IntEnum):
    """How much is known of a file, and so how it is read."""

    STARTED = 1
    """Its start is sound: DuckDB reads it at once, while the rest is surveyed."""
    SURVEYED = 2
    """Its text is sound: DuckDB reads it at once, with others in one statement."""
    VALIDATED = 3
    """Its bad rows are known: the good ones are loaded row by row."""


@dataclass
class Candidate:
    """A file that is to be loaded.

    Attributes:
        file: The landed file.
        contract: What it must look like.
        survey: What is known of its text.
        stage: How much that is.
        whole: Of a file of which only the start is known: the survey of all of it, under way.
        rejected_count: Rows that go to `rejected_rows`.
        changes: What its load changed in the table, once it is loaded.
    """

    file: LandedFile
    contract: Contract
    survey: Survey
    stage: Stage = Stage.SURVEYED
    whole: Future[Survey] | None = None
    rejected_count: int = 0
    changes: RowChanges = field(default_factory=RowChanges)

    @property
    def is_read_row_by_row(self) -> bool:
        """Whether its rows are loaded one by one."""
        return self.stage is Stage.VALIDATED or not self.survey.is_read_at_once

    @property
    def reading(self) -> tuple[object, ...]:
        """What files have in common that one statement can read."""
        survey, contract = self.survey, self.contract
        of_text = (*survey.header, *survey.stored_types, survey.staged is None)
        return (*of_text, contract.optional_columns)

    @property
    def source(self) -> Source:
        """What DuckDB reads at once."""
        return Source(self.file, self.survey.staged)

    @property
    def row_count(self) -> int:
        """Rows that are loaded."""
        return self.survey.row_count - self.rejected_count

    @property
    def _may_share_statement(self) -> bool:
        return self.stage is Stage.SURVEYED and not self.is_read_row_by_row

    def may_share_statement(self, other: "Candidate") -> bool:
        """Return whether one statement can load both."""
        is_alone = not (self._may_share_statement and other._may_share_statement)
        return not is_alone and self.reading == other.reading


class FilesChangedError(Exception):
    """Files changed while they were read."""

    def __init__(self, files: Sequence[LandedFile]) -> None:
        super().__init__()
        self.files = files


class LooseTextError(Exception):
    """A file that was loaded as plain text turned out to need guarded conversions."""


class FileAtFaultError(Exception):
    """A file's text breaks the contract, or DuckDB read a different number of rows than it has."""


class ControlTotalError(FileAtFaultError):
    """The rows of a file do not add up to what its footer says.

    Attributes:
        candidate: The file.
        problem: Which column does not.
    """

    def __init__(self, candidate: Candidate, problem: Problem) -> None:
        super().__init__(f"{candidate.file.name}: {problem}")
        self.candidate, self.problem = candidate, problem


def replace_rows(table: FeedTable, candidates: Sequence[Candidate], run_id: str) -> None:
    """Replace the rows of all candidates' partitions, or of none.

    Args:
        table: The feed's table, outside a transaction; it is prepared.
        candidates: What to load, each partition or part of one once.
        run_id: The Dagster run, for the ledger.

    Raises:
        FilesChangedError: Files changed while they were read.
        LooseTextError: A file must be loaded again, now that its whole text is known.
        FileAtFaultError: A file is at fault although DuckDB accepted it.
        ControlTotalError: Its rows do not add up to what its footer says.
        LandedFileError: A file is gone, or changed since it was listed.
        duckdb.Error: A file is at fault, another load came first, or the database failed.
        WarehouseConflictError: It gave way to another load, and may be run again.
    """
    files = [candidate.file for candidate in candidates]
    progress = Progress(table.feed.name, files)
    with table.transaction(files):
        failpoints.reach(failpoints.AFTER_BEGIN)
        told = {
            "loaded_at": table.next_load_time(),
            "left_out": table.list_left_out(),
            "run_id": run_id,
        }
        rows = {one.file.name: _loaded_row(table.feed, one, told) for one in candidates}
        replaced = table.record_loads([*rows.values()])
        failpoints.reach(failpoints.AFTER_LEDGER)
        count = ChangeCount(table, replaced)
        count.keep()
        deleted_count = table.delete(replaced)
        failpoints.reach(failpoints.AFTER_DELETE)
        for group in _in_statements(candidates):
            surveyed_meanwhile = [one for one in group if one.stage is Stage.STARTED]
            insert_rows(table, group, progress)
            again = {
                one.file.name: _loaded_row(table.feed, one, told) for one in surveyed_meanwhile
            }
            table.record_loads([*again.values()])
            rows |= again
            failpoints.reach(failpoints.MID_INSERT)
            for candidate in group:
                progress.done("loaded", candidate.file)
        changes = count.count([*rows.values()], deleted_count)
        table.record_history([loaded_row(row, changes[name]) for name, row in rows.items()])
        for one in candidates:
            one.changes = changes[one.file.name]
        if changed := list_changed(files):
            raise FilesChangedError(changed)
        failpoints.reach(failpoints.BEFORE_COMMIT)
    failpoints.reach(failpoints.AFTER_COMMIT)


def insert_rows(table: FeedTable, candidates: Sequence[Candidate], progress: Progress) -> None:
    """Insert the rows of candidates that share one statement, and count them.

    Args:
        table: The feed's table, inside a transaction that has deleted the partitions.
        candidates: Candidates that one statement can load.
        progress: Where to report progress.

    Raises:
        FileAtFaultError: DuckDB read a different number of rows than the file has.
        LandedFileError: A file is gone, or changed since it was listed.
        duckdb.Error: A file is at fault, or the database failed.
    """
    first, watch = candidates[0], progress.watch("loaded")
    if first.is_read_row_by_row:
        known = first.rejected_count
        rejected_count = insert_good_rows(
            table, first.file, first.survey.header, watch, most_bad_rows=known
        )
        if rejected_count != known:
            raise FileAtFaultError(f"{first.file.name}: other bad rows than are known of")
    else:
        sources = [candidate.source for candidate in candidates]
        loose = reduce(or_, (candidate.survey.loose for candidate in candidates))
        rows = select_rows(first.contract, sources, first.survey.header, loose=loose)
        all_bytes = sum(candidate.file.size_bytes for candidate in candidates)
        with watch(lambda: all_bytes * read_share(table.duck)):
            if first.whole:
                _insert_while_surveying(table, first, first.whole, rows)
            else:
                table.insert(rows)
    keys = [candidate.file.partition_key for candidate in candidates]
    has_parts = table.feed.file_names.has_parts
    names = [candidate.file.name for candidate in candidates] if has_parts else ()
    counted = table.count_rows(keys, names)
    for one in candidates:
        count = counted.get((one.file.partition_key, one.file.name), 0)
        if count != one.row_count:
            raise FileAtFaultError(
                f"{one.file.name}: {count:,} rows were loaded, and {one.row_count:,} were counted"
            )
        _check_totals(table, one)


def _check_totals(table: FeedTable, candidate: Candidate) -> None:
    """Hold the sums that a file's footer tells against the rows that were loaded.

    Raises:
        ControlTotalError: They differ.
    """
    for column, text in candidate.survey.totals.items():
        if column == ROW_COUNT:
            continue
        reason = "the footer's total is no number, as the column's are"
        with suppress(*FILE_FAULTS):
            sql = f"SELECT {total_sql(table.feed, column, '?')}"
            ((told,),) = table.duck.execute(sql, [text]).fetchall()
            if told == table.sum_column(candidate.file, column):
                continue
            reason = "the footer's total is not the sum of the rows that were loaded"
        raise ControlTotalError(candidate, Problem(0, column, reason, is_of_file=True))


def _insert_while_surveying(
    table: FeedTable, candidate: Candidate, whole: Future[Survey], rows: Query
) -> None:
    guarded = candidate.survey.loose
    try:
        table.insert(rows)
    finally:
        candidate.survey = whole.result()
        candidate.stage, candidate.whole = Stage.SURVEYED, None
    if candidate.survey.problems:
        raise FileAtFaultError(describe_problems(candidate.file.name, candidate.survey.problems))
    if candidate.survey.loose & ~guarded:
        raise LooseTextError


def _in_statements(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Group small files that one statement can load; every other file gets its own."""
    group: list[Candidate] = []
    group_bytes = 0
    for candidate in candidates:
        size_bytes = candidate.file.size_bytes
        if group and not (
            candidate.may_share_statement(group[0]) and group_bytes + size_bytes <= LARGE_BYTES
        ):
            yield group
            group, group_bytes = [], 0
        group.append(candidate)
        group_bytes += size_bytes
    if group:
        yield group


def _loaded_row(feed: Feed, candidate: Candidate, told: Mapping[str, Any]) -> LedgerRow:
    """Return the ledger row of a file, with what is told of all files of a load."""
    return ledger_row(
        feed,
        candidate.file,
        content_hash=candidate.survey.content_hash,
        row_count=candidate.row_count,
        rejected_count=candidate.rejected_count,
        file_row_count=candidate.survey.row_count,
        **told,
    )
