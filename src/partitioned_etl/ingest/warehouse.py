"""Warehouse: replace partitions of DuckDB tables with the rows of landed files, and remove them.

Takes landed files; returns an outcome for each. `loading.py` loads valid files all at once; only
when that fails does `judging.py` look for the files at fault. Opening the database belongs in
`database.py`; what a file must look like, in `contract.py` and `columns.py`; what to load or
remove, in `reconcile.py`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import duckdb

from partitioned_etl.ingest.columns import columns_of, quote_identifier
from partitioned_etl.ingest.contract import (
    broken_rules,
    survey_file,
    survey_start,
)
from partitioned_etl.ingest.database import has_table, retry_on_conflict, transaction
from partitioned_etl.ingest.errors import LandedFileError, WarehouseError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.formats import CsvFormat
from partitioned_etl.ingest.judging import explain, judge_texts, outcomes_of_changed
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.ledger import (
    LoadStatus,
    ensure_ledger,
    find_same_content,
    forget_feed,
    forget_partitions,
    read_ledger,
    upsert_ledger,
)
from partitioned_etl.ingest.loading import (
    Candidate,
    FileAtFaultError,
    FilesChangedError,
    NotPlainError,
    is_large,
    ledger_row,
    load_candidates,
)
from partitioned_etl.ingest.opening import is_compressed, list_changed_while_read
from partitioned_etl.ingest.outcomes import Outcome, OutcomeStatus
from partitioned_etl.ingest.progress import Progress
from partitioned_etl.ingest.rejected_rows import (
    create_rejected_rows,
    delete_rejected_rows,
    forget_rejected_rows,
)
from partitioned_etl.ingest.statements import (
    FILE_FAULTS,
    create_table_sql,
    delete_sql,
    expected_columns_sql,
)

_MAX_WARNINGS = 20
"""How many warnings of a batch are logged: Dagster stores each as a separate event."""

logger = logging.getLogger(__name__)


def replace_partitions(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    files: Sequence[LandedFile],
    *,
    run_id: str = "",
    log: logging.Logger = logger,
) -> list[Outcome]:
    """Replace each file's partition with the file's rows, all in one transaction.

    A file that breaks the contract, or changes while it is read, changes no row and does not
    prevent the others from being loaded. A refused file is recorded in the ledger. Where the feed's
    policy is quarantine, bad rows go to table `rejected_rows` in the same transaction, up to its
    limits.

    Args:
        connection: A connection from `connect`, outside a transaction.
        feed: The feed that the files belong to.
        files: Landed files, each partition key once.
        run_id: The Dagster run, for the ledger.
        log: Where progress and warnings are logged.

    Returns:
        One outcome per file, in the order given.

    Raises:
        FeedDefinitionError: A file cannot be read into a column's type.
        WarehouseError: The table's columns differ from the feed's.
        duckdb.Error: The database failed for a reason unrelated to the files, such as a full disk;
            nothing was changed.
    """
    columns_of(feed)  # first rejects a type that no file can be read into
    outcomes: dict[str, Outcome] = {}
    pending: list[Candidate] = []
    progress = Progress(log, feed, files)
    for file in files:
        try:
            pending.append(_survey(feed, file, progress))
        except LandedFileError as error:
            outcomes[file.partition_key] = Outcome.changed(file, str(error))
        progress.done("checked", file)
    retry_on_conflict(lambda: _prepare_tables(connection, feed), log)
    # Each turn ends with all pending files loaded, with fewer of them, or with some marked to be
    # read another way, which happens to a file at most twice.
    while pending:
        outcomes |= judge_texts(connection, feed, pending, log)
        pending = [candidate for candidate in pending if candidate.key not in outcomes]
        attempt = _try_to_load(connection, feed, pending, run_id, log)
        if attempt.is_loaded:
            outcomes |= _report_loaded(connection, feed, pending, log)
            break
        outcomes |= attempt.outcomes
        pending = [candidate for candidate in pending if candidate.key not in outcomes]
    retry_on_conflict(
        lambda: _record_rejected(connection, feed, list(outcomes.values()), run_id), log
    )
    return [outcomes[file.partition_key] for file in files]


def remove_partitions(
    connection: duckdb.DuckDBPyConnection, feed: Feed, keys: Sequence[str]
) -> None:
    """Remove partitions whose files are gone: rows, rejected rows and ledger rows, all at once.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        keys: The partition keys.
    """
    create_rejected_rows(connection)

    def remove() -> None:
        with transaction(connection):
            forget_partitions(connection, feed, keys)
            connection.execute(delete_sql(feed), [list(keys)])
            delete_rejected_rows(connection, feed, keys)

    retry_on_conflict(remove)


def _survey(feed: Feed, file: LandedFile, progress: Progress) -> Candidate:
    if isinstance(feed.format, CsvFormat) and is_large(file) and not is_compressed(file):
        start = survey_start(feed, feed.format, file)
        if not start.problems:
            return Candidate(file, start, is_surveyed=False)
    survey = survey_file(feed, file, progress if is_large(file) else None)
    return Candidate(file, survey, is_row_by_row=not feed.format.is_read_at_once)


@dataclass(frozen=True)
class _Attempt:
    """How an attempt to load all candidates in one transaction ended.

    Attributes:
        is_loaded: Whether all of them are loaded; otherwise none is.
        outcomes: The files that prevented it, by partition key. If there are none, some candidates
            are now marked to be read another way.
    """

    is_loaded: bool = False
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)


def _try_to_load(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    run_id: str,
    log: logging.Logger,
) -> _Attempt:
    """Load all candidates, or none and find out why."""
    if not candidates:
        return _Attempt(is_loaded=True)
    files = [candidate.file for candidate in candidates]
    try:
        retry_on_conflict(lambda: load_candidates(connection, feed, candidates, run_id, log), log)
    except NotPlainError:
        return _Attempt()
    except FilesChangedError as error:
        return _Attempt(outcomes=outcomes_of_changed(error.files))
    except LandedFileError:
        return _Attempt(outcomes=outcomes_of_changed(list_changed_while_read(files) or files))
    except (duckdb.Error, FileAtFaultError) as error:
        if changed := list_changed_while_read(files):
            return _Attempt(outcomes=outcomes_of_changed(changed))
        if not isinstance(error, (*FILE_FAULTS, FileAtFaultError)):
            raise
        return _Attempt(outcomes=explain(connection, feed, candidates, error, log))
    return _Attempt(is_loaded=True)


def _report_loaded(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    log: logging.Logger,
) -> dict[str, Outcome]:
    hashes = [candidate.survey.sha256 for candidate in candidates]
    same_content = find_same_content(connection, feed, hashes)
    outcomes = {}
    for candidate in candidates:
        same = same_content.get(candidate.survey.sha256, {})
        names = list(islice((name for key, name in same.items() if key != candidate.key), 3))
        warnings = [f"has the same content as {', '.join(names)}"] if names else []
        if candidate.rejected_count:
            warnings.append(
                f"{candidate.rejected_count:,} of {candidate.survey.row_count:,} rows are bad and "
                "went to table rejected_rows"
            )
        warning = f"{candidate.file.name}: {'; '.join(warnings)}" if warnings else ""
        outcomes[candidate.key] = Outcome(
            candidate.file,
            OutcomeStatus.LOADED,
            row_count=candidate.row_count,
            rejected_count=candidate.rejected_count,
            warning=warning,
            survey=candidate.survey,
        )
    told = [outcome.warning for outcome in outcomes.values() if outcome.warning]
    for warning in told[:_MAX_WARNINGS]:
        log.warning(f"feed {feed.name}: {warning}")
    if len(told) > _MAX_WARNINGS:
        more = len(told) - _MAX_WARNINGS
        log.warning(
            f"feed {feed.name}: {more} more files have such a warning; see their partitions"
        )
    return outcomes


def _record_rejected(
    connection: duckdb.DuckDBPyConnection, feed: Feed, outcomes: list[Outcome], run_id: str
) -> None:
    rejected = [outcome for outcome in outcomes if outcome.status == OutcomeStatus.REJECTED]
    if not rejected:
        return
    before = read_ledger(connection, feed)
    rows = []
    for outcome in rejected:
        row = ledger_row(
            feed,
            outcome.file,
            run_id,
            sha256=outcome.survey.sha256 if outcome.survey else "",
            status=LoadStatus.REJECTED,
            error=outcome.reason,
            broken_rules=tuple(broken_rules(outcome.problems)),
        )
        if earlier := before.get(outcome.file.partition_key):
            row = row._replace(
                row_count=earlier.row_count,
                rejected_count=earlier.rejected_count,
                file_row_count=earlier.file_row_count,
                loaded_at=earlier.loaded_at,
            )
        rows.append(row)
    upsert_ledger(connection, rows)


def _prepare_tables(connection: duckdb.DuckDBPyConnection, feed: Feed) -> None:
    ensure_ledger(connection)
    create_rejected_rows(connection)
    # Without the table, the ledger's rows are void.
    if not has_table(connection, feed.table):
        with transaction(connection):
            connection.execute(create_table_sql(feed))
            forget_feed(connection, feed)
            forget_rejected_rows(connection, feed)
    expected = connection.execute(expected_columns_sql(feed)).fetchall()
    actual = connection.execute(f"DESCRIBE {quote_identifier(feed.table)}").fetchall()
    wanted, there = ([tuple(row[:2]) for row in rows] for rows in (expected, actual))
    if wanted != there:
        differ = sorted({name for name, _ in set(wanted) ^ set(there)}) or ["their order"]
        raise WarehouseError(
            f"feed {feed.name}: table {feed.table} has other columns than the feed: "
            f"{', '.join(differ)}; rename or drop the table, and the files load again"
        )
