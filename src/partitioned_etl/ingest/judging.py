"""Judging: which files of a batch are at fault, and whether they are refused or read row by row.

Takes candidates before a load, or after one that failed; returns the outcome of those that are
refused, and marks those whose good rows can be loaded. Next: `loading.py` loads them. Validating
rows belongs in `row_by_row.py`.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import duckdb

from partitioned_etl.ingest.contract import MAX_PROBLEMS, survey_file
from partitioned_etl.ingest.database import transaction
from partitioned_etl.ingest.errors import LandedFileError
from partitioned_etl.ingest.feed import BadRows, Feed
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.loading import Candidate, FileAtFaultError, insert
from partitioned_etl.ingest.opening import compression_of, list_changed_while_read
from partitioned_etl.ingest.outcomes import Outcome
from partitioned_etl.ingest.progress import Progress
from partitioned_etl.ingest.records import Problem
from partitioned_etl.ingest.row_by_row import judge_rows
from partitioned_etl.ingest.statements import FILE_FAULTS, delete_sql, find_suspects


def judge_texts(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    log: logging.Logger,
) -> dict[str, Outcome]:
    """Refuse the candidates whose text breaks the contract, unless bad rows can be left out.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        candidates: Candidates; those whose bad rows can be left out are marked row by row.
        log: Where progress is logged.

    Returns:
        The outcome of the others that break the contract, by partition key.
    """
    outcomes: dict[str, Outcome] = {}
    for candidate in candidates:
        problems = candidate.survey.problems
        if not problems or candidate.is_judged:
            continue
        if feed.bad_rows is BadRows.QUARANTINE and not any(one.is_of_file for one in problems):
            outcomes |= _judge_row_by_row(connection, feed, candidate, log)
        else:
            outcomes[candidate.key] = Outcome.rejected(candidate.file, problems, candidate.survey)
    return outcomes


def explain(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    error: Exception,
    log: logging.Logger,
) -> dict[str, Outcome]:
    """Find the candidates that made a load fail, and validate them row by row.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        candidates: The candidates of the load.
        error: The error with which it failed.
        log: Where progress is logged.

    Returns:
        The outcome of those that were refused, or changed meanwhile, by partition key. If there are
        none, others are marked to be loaded in another way.

    Raises:
        Exception: The error, if no candidate is at fault.
    """
    try:
        for candidate in candidates:
            if not candidate.is_surveyed:
                candidate.survey, candidate.is_surveyed = survey_file(feed, candidate.file), True
        if any(one.survey.problems for one in candidates if not one.is_judged):
            return {}
        at_fault = _find_at_fault(connection, feed, candidates, log)
        if not at_fault:
            # None fails alone: the table does not take one of them beside the others.
            failing = _find_failing(connection, feed, candidates, log)
            if failing is None:
                raise error
            return {failing.key: _refuse_by_duckdb(failing, error)}
        outcomes: dict[str, Outcome] = {}
        for candidate in at_fault:
            if candidate.is_judged:
                outcomes[candidate.key] = _refuse_by_duckdb(candidate, error)
            else:
                outcomes |= _judge_row_by_row(connection, feed, candidate, log)
    except LandedFileError:
        files = [candidate.file for candidate in candidates]
        return outcomes_of_changed(list_changed_while_read(files) or files)
    return outcomes


def _find_at_fault(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    log: logging.Logger,
) -> list[Candidate]:
    """Find the candidates with a bad row; where that is inconclusive, those that fail alone."""
    if len(candidates) == 1:
        return list(candidates)
    alike: dict[tuple[object, ...], list[Candidate]] = defaultdict(list)
    at_fault: list[Candidate] = []
    for candidate in candidates:
        if not candidate.is_row_by_row:
            alike[*candidate.survey.header, compression_of(candidate.file)].append(candidate)
        elif _fails_alone(connection, feed, candidate, log):
            at_fault.append(candidate)
    for group in alike.values():
        header = group[0].survey.header
        suspects = find_suspects(connection, feed, [one.file for one in group], header)
        keys = {file.partition_key for file in suspects}
        suspected = [one for one in group if one.key in keys]
        if len(suspected) == len(group):
            suspected = [one for one in suspected if _fails_alone(connection, feed, one, log)]
        at_fault += suspected
    return at_fault


def _fails_alone(
    connection: duckdb.DuckDBPyConnection, feed: Feed, candidate: Candidate, log: logging.Logger
) -> bool:
    return _find_failing(connection, feed, [candidate], log) is not None


def _find_failing(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    candidates: Sequence[Candidate],
    log: logging.Logger,
) -> Candidate | None:
    """Find the first candidate that cannot be loaded after those before it; nothing is kept."""
    candidate = None
    try:
        with transaction(connection):
            connection.execute(delete_sql(feed), [[one.key for one in candidates]])
            for candidate in candidates:
                insert(connection, feed, [candidate], Progress(log, feed, [candidate.file]))
            raise _UndoError
    except (*FILE_FAULTS, FileAtFaultError):
        return candidate
    except _UndoError:
        return None


class _UndoError(Exception):
    """Ends a trial transaction."""


def _judge_row_by_row(
    connection: duckdb.DuckDBPyConnection, feed: Feed, candidate: Candidate, log: logging.Logger
) -> dict[str, Outcome]:
    """Return the outcome of a refused candidate; mark any other to be loaded row by row.

    So is a file without bad rows if DuckDB cannot read the feed's encoding.
    """
    file, survey = candidate.file, candidate.survey
    is_quarantined = feed.bad_rows is BadRows.QUARANTINE
    enough = None if is_quarantined else MAX_PROBLEMS

    def refuse(problems: list[Problem]) -> dict[str, Outcome]:
        return {candidate.key: Outcome.rejected(file, problems, survey)}

    try:
        judged = judge_rows(
            connection,
            feed,
            file,
            survey.header,
            Progress(log, feed, [file]),
            enough_bad_rows=enough,
        )
    except FILE_FAULTS:
        return refuse([Problem(0, "", "a row rule cannot be judged for a row of the file")])
    except LandedFileError:
        return outcomes_of_changed([file])
    if list_changed_while_read([file]):
        return outcomes_of_changed([file])
    if any(problem.is_of_file for problem in judged.problems):
        return refuse([problem for problem in judged.problems if problem.is_of_file])
    if judged.problems and not is_quarantined:
        return refuse(judged.problems[:MAX_PROBLEMS])
    percent = 100 * judged.bad_row_count / max(judged.row_count, 1)
    if judged.bad_row_count > feed.max_rejected_rows or percent > feed.max_rejected_percent:
        many = Problem(
            0,
            "",
            f"{judged.bad_row_count:,} of {judged.row_count:,} rows are bad; at most "
            f"{feed.max_rejected_rows:,} rows and {feed.max_rejected_percent:g} % may be",
        )
        return refuse([many, *judged.problems])
    if not judged.problems and judged.row_count != survey.row_count:
        return refuse([Problem(0, "", "its rows cannot be counted for certain")])
    candidate.survey = replace(survey, row_count=judged.row_count)
    candidate.rejected_count = judged.bad_row_count
    candidate.is_row_by_row = candidate.is_judged = True
    return {}


def _refuse_by_duckdb(candidate: Candidate, error: Exception) -> Outcome:
    """Refuse a file whose rows are valid but which the database does not accept."""
    reason = f"the table does not take its rows ({type(error).__name__}): has it a constraint?"
    return Outcome.rejected(candidate.file, [Problem(0, "", reason)], candidate.survey)


def outcomes_of_changed(files: Sequence[LandedFile]) -> dict[str, Outcome]:
    """Return the outcome of files that changed while they were read, by partition key."""
    return {file.partition_key: Outcome.changed(file) for file in files}
