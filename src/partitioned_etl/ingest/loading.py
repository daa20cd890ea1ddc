"""Loading: one transaction that replaces partitions with the rows of surveyed files.

Takes candidates; either returns with all of them loaded, or raises with none loaded. The order
within the transaction: ledger row, delete by partition key, the file's rows, signatures again.
Which files get here, and what happens to those at fault, is decided in `warehouse.py`.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import duckdb

from partitioned_etl.ingest import failpoints
from partitioned_etl.ingest.contract import Survey, describe_problems, survey_file
from partitioned_etl.ingest.database import read_share, transaction
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.ledger import LedgerRow, find_latest_load, upsert_ledger
from partitioned_etl.ingest.opening import (
    compression_of,
    is_compressed,
    list_changed_while_read,
)
from partitioned_etl.ingest.progress import Progress
from partitioned_etl.ingest.rejected_rows import delete_rejected_rows
from partitioned_etl.ingest.row_by_row import insert_good_rows
from partitioned_etl.ingest.statements import count_rows_sql, delete_sql, insert_sql

_STATEMENT_BYTES = 64 << 20


@dataclass
class Candidate:
    """A file that is to be loaded.

    Attributes:
        file: The landed file.
        survey: What is known about its text.
        is_surveyed: Whether that covers the whole text; otherwise it covers the header, and the
            rest is surveyed while DuckDB reads the file.
        is_row_by_row: Whether it is read row by row, and its bad rows go to `rejected_rows`.
        is_judged: Whether its rows have already been validated one by one.
        rejected_count: Rows that go to `rejected_rows`.
    """

    file: LandedFile
    survey: Survey
    is_surveyed: bool = True
    is_row_by_row: bool = False
    is_judged: bool = False
    rejected_count: int = 0

    @property
    def key(self) -> str:
        """The partition key."""
        return self.file.partition_key

    def reads_like(self, other: "Candidate") -> bool:
        """Return whether one statement can read both: by header and compression."""
        same_header = self.survey.header == other.survey.header
        return same_header and compression_of(self.file) == compression_of(other.file)

    @property
    def row_count(self) -> int:
        """Rows that are loaded."""
        return self.survey.row_count - self.rejected_count


class FilesChangedError(Exception):
    """Files changed while they were read."""

    def __init__(self, files: Sequence[LandedFile]) -> None:
        super().__init__()
        self.files = files


class NotPlainError(Exception):
    """A file that was loaded as plain text turned out to need guarded conversions."""


class FileAtFaultError(Exception):
    """A file's text breaks the contract, or DuckDB read a different number of rows than it has."""


def load_candidates(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    run_id: str,
    log: logging.Logger,
) -> None:
    """Replace the partitions of all candidates, or of none.

    Args:
        connection: A connection, outside a transaction; the tables exist.
        feed: The feed.
        candidates: What to load, each partition key once.
        run_id: The Dagster run, for the ledger.
        log: Where progress is logged.

    Raises:
        FilesChangedError: Files changed while they were read.
        NotPlainError: A file must be loaded again, now that its whole text is known.
        FileAtFaultError: A file is at fault although DuckDB accepted it.
        LandedFileError: A file is gone, or changed since it was listed.
        duckdb.Error: A file is at fault, another load came first, or the database failed.
    """
    keys = [candidate.key for candidate in candidates]
    progress = Progress(log, feed, [candidate.file for candidate in candidates])

    def write_ledger(of: Sequence[Candidate]) -> None:
        rows = [_loaded_row(feed, candidate, loaded_at, run_id) for candidate in of]
        upsert_ledger(connection, rows)

    with transaction(connection):
        failpoints.reach(failpoints.AFTER_BEGIN)
        loaded_at = _now_after_earlier_loads(connection, feed)
        write_ledger(candidates)
        failpoints.reach(failpoints.AFTER_LEDGER)
        connection.execute(delete_sql(feed), [keys])
        delete_rejected_rows(connection, feed, keys)
        failpoints.reach(failpoints.AFTER_DELETE)
        for group in _in_statements(candidates):
            known_later = [candidate for candidate in group if not candidate.is_surveyed]
            insert(connection, feed, group, progress)
            write_ledger(known_later)
            failpoints.reach(failpoints.MID_INSERT)
            for candidate in group:
                progress.done("loaded", candidate.file)
        if changed := list_changed_while_read([candidate.file for candidate in candidates]):
            raise FilesChangedError(changed)
        failpoints.reach(failpoints.BEFORE_COMMIT)
    failpoints.reach(failpoints.AFTER_COMMIT)


def _count_read_bytes(
    connection: duckdb.DuckDBPyConnection, candidates: Sequence[Candidate]
) -> float:
    """Return how many bytes the candidates' statement has read; 0 if DuckDB does not know."""
    group_bytes = sum(candidate.file.signature.size_bytes for candidate in candidates)
    return group_bytes * read_share(connection)


def _now_after_earlier_loads(connection: duckdb.DuckDBPyConnection, feed: Feed) -> datetime:
    """Return a time later than every earlier load of the feed, even if the clock was set back.

    The sensors use it to distinguish new loads from old ones.
    """
    now, latest = datetime.now(UTC), find_latest_load(connection, feed)
    return max(now, latest + timedelta(microseconds=1)) if latest else now


def insert(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    progress: Progress,
) -> None:
    """Insert the rows of candidates that share one statement, and count them.

    Args:
        connection: A connection, inside a transaction that has deleted the partitions.
        feed: The feed.
        candidates: Candidates that one statement can read; one that is read row by row, or not
            surveyed yet, must be alone.
        progress: Where to report progress.

    Raises:
        FileAtFaultError: DuckDB read a different number of rows than the file has, or cannot
            decompress it.
        LandedFileError: A file is gone, or changed since it was listed.
        duckdb.Error: A file is at fault, or the database failed.
    """
    first = candidates[0]
    if first.is_row_by_row:
        known = first.rejected_count
        rejected_count = insert_good_rows(
            connection, feed, first.file, first.survey.header, progress, most_bad_rows=known
        )
        if rejected_count != known:
            raise FileAtFaultError(f"{first.file.name}: other bad rows than are known of")
    else:
        files = [candidate.file for candidate in candidates]
        is_plain = all(candidate.survey.is_plain for candidate in candidates)
        statement = insert_sql(feed, files, first.survey.header, is_plain=is_plain)
        read_bytes = partial(_count_read_bytes, connection, candidates)
        try:
            with progress.watch("loaded", read_bytes):
                if first.is_surveyed:
                    connection.execute(*statement)
                else:
                    _insert_while_surveying(connection, feed, first, *statement)
        except duckdb.IOException as error:
            # DuckDB reads fewer kinds of gzip than the survey; for instance, none with a comment.
            if any(is_compressed(file) for file in files):
                raise FileAtFaultError(f"{first.file.name}: {type(error).__name__}") from error
            raise
    keys = [candidate.key for candidate in candidates]
    counted = dict(connection.execute(count_rows_sql(feed), [keys]).fetchall())
    for one in candidates:
        if counted.get(one.key, 0) != one.row_count:
            raise FileAtFaultError(
                f"{one.file.name}: {counted.get(one.key, 0):,} rows were loaded, and "
                f"{one.row_count:,} were counted"
            )


def _insert_while_surveying(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidate: Candidate,
    statement: str,
    bound: list[object],
) -> None:
    was_plain = candidate.survey.is_plain
    with ThreadPoolExecutor(1) as pool:
        survey = pool.submit(survey_file, feed, candidate.file)
        try:
            connection.execute(statement, bound)
        finally:
            candidate.survey = survey.result()
            candidate.is_surveyed = True
    if candidate.survey.problems:
        raise FileAtFaultError(describe_problems(candidate.file.name, candidate.survey.problems))
    if was_plain and not candidate.survey.is_plain:
        raise NotPlainError


def _in_statements(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Group small files that one statement can read; every other file gets its own."""
    group: list[Candidate] = []
    group_bytes = 0
    for candidate in candidates:
        size_bytes = candidate.file.signature.size_bytes
        if group and not (
            candidate.reads_like(group[0])
            and group_bytes + size_bytes <= _STATEMENT_BYTES
            and _may_share_statement(candidate)
            and _may_share_statement(group[0])
        ):
            yield group
            group, group_bytes = [], 0
        group.append(candidate)
        group_bytes += size_bytes
    if group:
        yield group


def _may_share_statement(candidate: Candidate) -> bool:
    return candidate.is_surveyed and not candidate.is_row_by_row


def is_large(file: LandedFile) -> bool:
    """Return whether a file is large enough to be surveyed while DuckDB reads it."""
    return file.signature.size_bytes > _STATEMENT_BYTES


def ledger_row(feed: Feed, file: LandedFile, run_id: str, **judged: Any) -> LedgerRow:
    """Return the ledger row of a file that was validated against the feed's current contract."""
    return LedgerRow(
        feed=feed.name,
        partition_key=file.partition_key,
        source_file=file.name,
        contract=feed.contract_fingerprint,
        run_id=run_id,
        **file.signature._asdict(),
        **judged,
    )


def _loaded_row(feed: Feed, candidate: Candidate, loaded_at: datetime, run_id: str) -> LedgerRow:
    return ledger_row(
        feed,
        candidate.file,
        run_id,
        sha256=candidate.survey.sha256,
        row_count=candidate.row_count,
        rejected_count=candidate.rejected_count,
        file_row_count=candidate.survey.row_count,
        loaded_at=loaded_at,
    )
