"""Warehouse: replace partitions of DuckDB tables by the rows of landed files.

Takes landed files; gives an outcome for each, after all sound ones were loaded in one transaction:
ledger row first, delete by partition key, then the file's rows. How the database is opened is in
`database.py`; what a file must look like, in `contract.py` and `columns.py`; what has to be loaded,
in `reconcile.py`.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import duckdb

from partitioned_etl.ingest import failpoints
from partitioned_etl.ingest.columns import columns_of, quote_identifier
from partitioned_etl.ingest.contract import Survey, describe_problems, survey_file
from partitioned_etl.ingest.database import has_table
from partitioned_etl.ingest.errors import LandedFileError, WarehouseError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile, list_changed_while_read
from partitioned_etl.ingest.ledger import (
    LedgerRow,
    LoadStatus,
    ensure_ledger,
    forget_feed,
    read_ledger,
    upsert_ledger,
)
from partitioned_etl.ingest.progress import Progress
from partitioned_etl.ingest.records import Problem
from partitioned_etl.ingest.statements import (
    FILE_FAULTS,
    count_rows_sql,
    create_table_sql,
    delete_sql,
    expected_columns_sql,
    find_value_problems,
    insert_sql,
)

_ATTEMPTS_ON_CONFLICT = 5
_STATEMENT_BYTES = 64 << 20

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class OutcomeStatus(StrEnum):
    """What became of one file of a batch."""

    LOADED = "loaded"
    REJECTED = "rejected"
    CHANGED = "changed while it was read"


@dataclass(frozen=True)
class Outcome:
    """What became of one file of a batch.

    Attributes:
        file: The landed file.
        status: Loaded, rejected or changed. A file that changed while it was read is not judged; it
            will be looked at again.
        row_count: Rows loaded.
        reason: Why it was not loaded, one sentence; empty if it was.
        problems: The same in parts, if the file broke its contract.
        survey: What one pass over the file's bytes told; None if it could not be read.
    """

    file: LandedFile
    status: OutcomeStatus
    row_count: int = 0
    reason: str = ""
    problems: list[Problem] = field(default_factory=list)
    survey: Survey | None = None


def replace_partitions(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    files: Sequence[LandedFile],
    *,
    run_id: str = "",
    log: logging.Logger = logger,
) -> list[Outcome]:
    """Replace each file's partition by the file's rows, all in one transaction.

    A file that breaks the contract, or changes while it is read, changes no row and does not keep
    the others from being loaded. A refused file is recorded in the ledger.

    Args:
        connection: A connection from `connect`, outside a transaction.
        feed: The feed that the files belong to.
        files: Landed files, each partition key once.
        run_id: The Dagster run, for the ledger.
        log: Where progress goes.

    Returns:
        One outcome per file, in the order given.

    Raises:
        FeedDefinitionError: A column's type is not one that a file can be read into.
        WarehouseError: The table has other columns than the feed.
        duckdb.Error: The database failed for a reason that lies in no file, such as a full disk;
            nothing was changed.
    """
    columns_of(feed)  # refuses a type that no file can be read into, before anything is done
    outcomes: dict[str, Outcome] = {}
    surveys: dict[str, Survey] = {}
    progress = Progress(log, feed, files)
    for file in files:
        try:
            surveys[file.partition_key] = survey = survey_file(feed, file)
        except LandedFileError as error:
            outcomes[file.partition_key] = Outcome(file, OutcomeStatus.CHANGED, reason=str(error))
            continue
        if survey.problems:
            outcomes[file.partition_key] = _rejected(file, survey.problems, survey)
        progress.done("checked", file)
    _retry_on_conflict(lambda: _prepare_tables(connection, feed), log)
    pending = [file for file in files if file.partition_key not in outcomes]
    while pending:
        stopped = _load_or_explain(connection, feed, pending, surveys, run_id, log)
        if not stopped:
            outcomes |= {
                file.partition_key: _loaded(file, surveys[file.partition_key]) for file in pending
            }
            break
        outcomes |= stopped
        pending = [file for file in pending if file.partition_key not in outcomes]
    _record_rejected(connection, feed, list(outcomes.values()), run_id)
    return [outcomes[file.partition_key] for file in files]


def _load_or_explain(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    files: list[LandedFile],
    surveys: dict[str, Survey],
    run_id: str,
    log: logging.Logger,
) -> dict[str, Outcome]:
    """Load all files and give nothing, or load none and give the outcome of those at fault."""
    try:
        changed = _retry_on_conflict(
            lambda: _load_in_one_transaction(connection, feed, files, surveys, run_id, log), log
        )
        return _changed(changed)
    except (duckdb.TransactionException, duckdb.ConstraintException):
        raise
    except (duckdb.Error, _RowCountError) as error:
        if changed := list_changed_while_read(files):
            return _changed(changed)
        return _explain(connection, feed, files, surveys, error)


def _retry_on_conflict(work: Callable[[], Result], log: logging.Logger) -> Result:
    """Do some work again when another connection of this process changed the same rows first."""
    for attempt in range(_ATTEMPTS_ON_CONFLICT - 1):
        try:
            return work()
        except (duckdb.TransactionException, duckdb.ConstraintException) as error:
            log.info(f"another load was first, trying again: {error}")
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
    return work()


def _changed(files: list[LandedFile]) -> dict[str, Outcome]:
    reason = "changed while it was read; it will be looked at again"
    return {
        file.partition_key: Outcome(file, OutcomeStatus.CHANGED, reason=f"{file.name}: {reason}")
        for file in files
    }


def _explain(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    files: list[LandedFile],
    surveys: dict[str, Survey],
    error: Exception,
) -> dict[str, Outcome]:
    """Give the outcome of the files that a load failed for."""
    if not isinstance(error, (*FILE_FAULTS, _RowCountError)):
        raise error
    try:
        found = find_value_problems(connection, feed, files)
    except LandedFileError:
        return _changed(list_changed_while_read(files) or files)
    if not found:
        reason = (
            "DuckDB cannot read it in the feed's dialect and encoding, reads another number of "
            "rows, or cannot judge a row rule"
        )
        at_fault = [file for file in files if _fails_alone(connection, feed, file, surveys)]
        found = {file.partition_key: [Problem(0, "", reason)] for file in at_fault}
    if not found:
        raise error
    by_key = {file.partition_key: file for file in files}
    return {key: _rejected(by_key[key], problems, surveys[key]) for key, problems in found.items()}


def _fails_alone(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    file: LandedFile,
    surveys: dict[str, Survey],
) -> bool:
    connection.execute("BEGIN")
    try:
        connection.execute(delete_sql(feed), [[file.partition_key]])
        _insert(connection, feed, [file], surveys)
    except (*FILE_FAULTS, _RowCountError):
        return True
    finally:
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
    return False


class _RowCountError(Exception):
    """DuckDB read another number of rows than the survey counted."""


def _load_in_one_transaction(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    files: list[LandedFile],
    surveys: dict[str, Survey],
    run_id: str,
    log: logging.Logger,
) -> list[LandedFile]:
    """Load all files, or none if one of them changed meanwhile: those are given back."""
    keys = [file.partition_key for file in files]
    progress = Progress(log, feed, files)
    committed = False
    connection.execute("BEGIN")
    try:
        failpoints.reach(failpoints.AFTER_BEGIN)
        now = datetime.now(UTC)
        upsert_ledger(
            connection,
            [
                _ledger_row(
                    feed,
                    file,
                    sha256=surveys[file.partition_key].sha256,
                    row_count=surveys[file.partition_key].row_count,
                    loaded_at=now,
                    run_id=run_id,
                )
                for file in files
            ],
        )
        failpoints.reach(failpoints.AFTER_LEDGER)
        connection.execute(delete_sql(feed), [keys])
        failpoints.reach(failpoints.AFTER_DELETE)
        for group in _in_statements(files):
            _insert(connection, feed, group, surveys)
            failpoints.reach(failpoints.MID_INSERT)
            for file in group:
                progress.done("loaded", file)
        changed = list_changed_while_read(files)
        failpoints.reach(failpoints.BEFORE_COMMIT)
        if not changed:
            connection.execute("COMMIT")
            committed = True
            failpoints.reach(failpoints.AFTER_COMMIT)
        return changed
    finally:
        if not committed:
            # A COMMIT that failed has ended the transaction, and its error is the one to tell.
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")


def _insert(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    files: list[LandedFile],
    surveys: dict[str, Survey],
) -> None:
    keys = [file.partition_key for file in files]
    connection.execute(*insert_sql(feed, files))
    counted = dict(connection.execute(count_rows_sql(feed), [keys]).fetchall())
    for key in keys:
        if counted.get(key, 0) != surveys[key].row_count:
            raise _RowCountError(key)


def _in_statements(files: list[LandedFile]) -> Iterator[list[LandedFile]]:
    """Group small files into one statement; a large file gets its own, with progress after it."""
    group: list[LandedFile] = []
    group_bytes = 0
    for file in files:
        if group and group_bytes + file.signature.size_bytes > _STATEMENT_BYTES:
            yield group
            group, group_bytes = [], 0
        group.append(file)
        group_bytes += file.signature.size_bytes
    if group:
        yield group


def _loaded(file: LandedFile, survey: Survey) -> Outcome:
    return Outcome(file, OutcomeStatus.LOADED, survey.row_count, survey=survey)


def _rejected(file: LandedFile, problems: list[Problem], survey: Survey) -> Outcome:
    reason = describe_problems(file.name, problems)
    return Outcome(file, OutcomeStatus.REJECTED, 0, reason, problems, survey)


def _ledger_row(feed: Feed, file: LandedFile, **judged: Any) -> LedgerRow:
    return LedgerRow(
        feed=feed.name,
        partition_key=file.partition_key,
        source_file=file.name,
        **asdict(file.signature),
        **judged,
    )


def _record_rejected(
    connection: duckdb.DuckDBPyConnection, feed: Feed, outcomes: list[Outcome], run_id: str
) -> None:
    rejected = [outcome for outcome in outcomes if outcome.status == OutcomeStatus.REJECTED]
    if not rejected:
        return
    before = read_ledger(connection, feed)
    rows = []
    for outcome in rejected:
        row = _ledger_row(
            feed,
            outcome.file,
            sha256=outcome.survey.sha256 if outcome.survey else "",
            status=LoadStatus.REJECTED,
            error=outcome.reason,
            run_id=run_id,
        )
        if earlier := before.get(outcome.file.partition_key):
            row = replace(row, row_count=earlier.row_count, loaded_at=earlier.loaded_at)
        rows.append(row)
    upsert_ledger(connection, rows)


def _prepare_tables(connection: duckdb.DuckDBPyConnection, feed: Feed) -> None:
    ensure_ledger(connection)
    # Without the table, what the ledger says is void.
    if not has_table(connection, feed.table):
        connection.execute("BEGIN")
        try:
            connection.execute(create_table_sql(feed))
            forget_feed(connection, feed)
            connection.execute("COMMIT")
        except duckdb.Error:
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")
            raise
    expected = connection.execute(expected_columns_sql(feed)).fetchall()
    actual = connection.execute(f"DESCRIBE {quote_identifier(feed.table)}").fetchall()
    wanted, there = ([tuple(row[:2]) for row in rows] for rows in (expected, actual))
    if wanted != there:
        differ = sorted({name for name, _ in set(wanted) ^ set(there)}) or ["their order"]
        raise WarehouseError(
            f"feed {feed.name}: table {feed.table} has other columns than the feed: "
            f"{', '.join(differ)}; rename or drop the table, and the files load again"
        )
