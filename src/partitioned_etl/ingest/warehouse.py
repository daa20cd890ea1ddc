"""Warehouse: the DuckDB database, from opening it to replacing partitions in it.

Takes landed files; gives an outcome for each, after all sound ones were loaded in one transaction:
ledger row first, delete by partition key, then the file's rows. What a file must look like belongs
in `contract.py` and `columns.py`; what has to be loaded, in `reconcile.py`.
"""

import logging
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import duckdb

from partitioned_etl.ingest import failpoints
from partitioned_etl.ingest.columns import quote_identifier
from partitioned_etl.ingest.contract import Problem, Survey, describe_problems, survey_file
from partitioned_etl.ingest.errors import LandedFileError, WarehouseError, WarehouseLockedError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.landing import LandedFile, list_changed_while_read
from partitioned_etl.ingest.ledger import (
    LedgerRow,
    LoadStatus,
    ensure_ledger,
    read_ledger,
    upsert_ledger,
)
from partitioned_etl.ingest.statements import (
    count_rows_sql,
    create_table_sql,
    delete_sql,
    expected_columns_sql,
    find_value_problems,
    insert_sql,
)

DEFAULT_LOCK_WAIT_SECONDS = 60.0
_PROGRESS_SECONDS = 5.0
_ATTEMPTS_ON_CONFLICT = 5
_STATEMENT_BYTES = 64 << 20

logger = logging.getLogger(__name__)

# Connections of one process share the database's configuration, and threads open them at once.
_sandbox_lock = threading.Lock()


@contextmanager
def connect(
    database: Path,
    landing_dir: Path,
    *,
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS,
    log: logging.Logger = logger,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database for one piece of work, and close it whatever happens.

    DuckDB lets one process write. While another one has the file open, this waits, with random
    pauses so that waiting processes do not keep in step. The connection is sandboxed: it reads
    files of the landing directory and nothing else, has no network, loads no extension, and its
    configuration is locked.

    Args:
        database: Path of the database file; it and its folder are made if they are not there.
        landing_dir: The one directory that statements may read files from.
        lock_wait_seconds: How long to wait for another process to let go of the file.
        log: Where to say that it waits.

    Yields:
        The connection.

    Raises:
        WarehouseLockedError: Another process held the file for longer than the wait.
        WarehouseError: The file cannot be opened, or is already open in this process for another
            landing directory.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    connection = _open(database, lock_wait_seconds, log)
    try:
        with _sandbox_lock:
            _enter_sandbox(connection, landing_dir.resolve())
        yield connection
    finally:
        connection.close()


def _open(
    database: Path, lock_wait_seconds: float, log: logging.Logger
) -> duckdb.DuckDBPyConnection:
    deadline, pause, waiting = time.monotonic() + lock_wait_seconds, 0.05, False
    while True:
        try:
            return duckdb.connect(str(database))
        except duckdb.Error as error:
            if "lock" not in str(error).lower() or not isinstance(error, duckdb.IOException):
                raise WarehouseError(f"cannot open {database}: {error}") from error
            if time.monotonic() >= deadline:
                raise WarehouseLockedError(
                    f"{database} was in use by another process for {lock_wait_seconds:g} s: {error}"
                ) from error
        if not waiting:
            log.info(
                f"waiting up to {lock_wait_seconds:g} s for another process to close {database}"
            )
            waiting = True
        time.sleep(min(pause * random.uniform(0.5, 1.5), max(0, deadline - time.monotonic())))
        pause = min(pause * 2, 1.0)


def _enter_sandbox(connection: duckdb.DuckDBPyConnection, landing_dir: Path) -> None:
    current = connection.execute(
        "SELECT current_setting('lock_configuration'), current_setting('allowed_directories')"
    ).fetchone()
    assert current is not None, "a SELECT without FROM gives one row"
    locked, directories = current
    if locked:
        allowed = {Path(directory) for directory in directories}
        if landing_dir not in allowed:
            raise WarehouseError(
                f"the database is open in this process for another landing directory than "
                f"{landing_dir}"
            )
        return
    directory = str(landing_dir).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{directory}']")
    for setting in (
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


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
        WarehouseError: The table has other columns than the feed.
        duckdb.Error: The database failed for a reason that lies in no file, such as a full disk;
            nothing was changed.
    """
    outcomes: dict[str, Outcome] = {}
    surveys: dict[str, Survey] = {}
    progress = _Progress(log, feed, files)
    for file in files:
        try:
            surveys[file.partition_key] = survey = survey_file(feed, file)
        except LandedFileError as error:
            outcomes[file.partition_key] = Outcome(file, OutcomeStatus.CHANGED, reason=str(error))
            continue
        if survey.problems:
            outcomes[file.partition_key] = _rejected(file, survey.problems, survey)
        progress.done("checked", file)
    _prepare_tables(connection, feed)
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
    for attempt in range(_ATTEMPTS_ON_CONFLICT):
        try:
            changed = _load_in_one_transaction(connection, feed, files, surveys, run_id, log)
            return _changed(changed)
        except (duckdb.TransactionException, duckdb.ConstraintException) as error:
            if attempt == _ATTEMPTS_ON_CONFLICT - 1:
                raise
            log.info(f"another load of the same partitions was first, trying again: {error}")
            time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
        except (duckdb.Error, _RowCountError) as error:
            if changed := list_changed_while_read(files):
                return _changed(changed)
            return _explain(connection, feed, files, surveys, error)
    return {}


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
    file_is_at_fault = (duckdb.ConversionException, duckdb.InvalidInputException, _RowCountError)
    if not isinstance(error, file_is_at_fault):
        raise error
    found = find_value_problems(connection, feed, files)
    if not found and len(files) == 1:
        reason = "DuckDB cannot read it in the feed's dialect, or reads another number of rows"
        found = {files[0].partition_key: [Problem(0, "", reason)]}
    if not found:
        for file in files:
            try:
                connection.execute("BEGIN")
                connection.execute(delete_sql(feed), [[file.partition_key]])
                _insert(connection, feed, [file], surveys)
            except file_is_at_fault:
                return _explain(connection, feed, [file], surveys, error)
            finally:
                with suppress(duckdb.Error):
                    connection.execute("ROLLBACK")
        raise error
    by_key = {file.partition_key: file for file in files}
    return {key: _rejected(by_key[key], problems, surveys[key]) for key, problems in found.items()}


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
    progress = _Progress(log, feed, files)
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


def _ledger_row(feed: Feed, file: LandedFile, **judged: object) -> LedgerRow:
    signature = file.signature
    return replace(
        LedgerRow(
            feed=feed.name,
            partition_key=file.partition_key,
            source_file=file.name,
            size_bytes=signature.size_bytes,
            mtime_ns=signature.mtime_ns,
            ctime_ns=signature.ctime_ns,
            inode=signature.inode,
        ),
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
    connection.execute(create_table_sql(feed))
    expected = connection.execute(expected_columns_sql(feed)).fetchall()
    actual = connection.execute(f"DESCRIBE {quote_identifier(feed.table)}").fetchall()
    wanted, there = ([tuple(row[:2]) for row in rows] for rows in (expected, actual))
    if wanted != there:
        differ = sorted({name for name, _ in set(wanted) ^ set(there)}) or ["their order"]
        raise WarehouseError(
            f"feed {feed.name}: table {feed.table} has other columns than the feed: "
            f"{', '.join(differ)}; rename or drop the table, and the files load again"
        )


@dataclass
class _Progress:
    log: logging.Logger
    feed: Feed
    files: Sequence[LandedFile]
    started: float = field(default_factory=time.monotonic)
    said: float = field(default_factory=time.monotonic)
    done_files: int = 0
    done_bytes: int = 0

    def done(self, what: str, file: LandedFile) -> None:
        self.done_files += 1
        self.done_bytes += file.signature.size_bytes
        now = time.monotonic()
        if now - self.said < _PROGRESS_SECONDS:
            return
        self.said = now
        all_bytes = sum(file.signature.size_bytes for file in self.files)
        speed = self.done_bytes / (now - self.started)
        left = (all_bytes - self.done_bytes) / speed if speed else 0
        self.log.info(
            f"feed {self.feed.name}: {what} {self.done_files} of {len(self.files)} files, "
            f"{self.done_bytes / 1e6:,.0f} of {all_bytes / 1e6:,.0f} MB, "
            f"{speed / 1e6:,.0f} MB/s, about {left:,.0f} s left"
        )
