"""Diagnose: which files of a batch are at fault, and in which row and column.

Takes candidates before a load, or after one that failed; returns the outcome of those that are
refused, and finds the bad rows of those whose good rows can be loaded. Next: `load.py` tries the
others again. Validating rows belongs in `row_by_row.py`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.formats.format import MAX_PROBLEMS, Problem
from partitioned_etl.engine.formats.rows import FILE_FAULTS, find_suspects
from partitioned_etl.engine.landing.landing import LandedFile, list_changed
from partitioned_etl.engine.outcomes import Outcome
from partitioned_etl.engine.progress import Progress
from partitioned_etl.engine.replace import Candidate, FileAtFaultError, Stage, insert_rows
from partitioned_etl.engine.row_by_row import validate_file
from partitioned_etl.engine.warehouse.ledger import Replaced
from partitioned_etl.engine.warehouse.warehouse import FeedTable


def refuse_texts(table: FeedTable, candidates: Iterable[Candidate]) -> list[Outcome]:
    """Refuse the candidates whose text breaks the contract, unless bad rows can be left out.

    Args:
        table: The feed's table, outside a transaction.
        candidates: Candidates; the bad rows of those that can do without them are found.

    Returns:
        The outcomes of the others that break the contract.
    """
    outcomes: list[Outcome] = []
    for candidate in candidates:
        problems = candidate.survey.problems
        if not problems or candidate.stage is Stage.VALIDATED:
            continue
        is_of_file = any(problem.is_of_file for problem in problems)
        if table.feed.bad_rows is BadRows.QUARANTINE and not is_of_file:
            outcomes += _validate(table, candidate)
        else:
            outcomes.append(Outcome.refused(candidate.file, problems, candidate.survey))
    return outcomes


def diagnose_failure(
    table: FeedTable, candidates: Sequence[Candidate], error: Exception
) -> list[Outcome]:
    """Find the candidates that made a load fail, and validate them row by row.

    Args:
        table: The feed's table, outside a transaction.
        candidates: The candidates of the load.
        error: The error with which it failed.

    Returns:
        The outcomes of those that are refused, or changed meanwhile. If there are none, others are
        now known well enough to be loaded in another way.

    Raises:
        Exception: The error, if no candidate is at fault.
    """
    try:
        for candidate in candidates:
            if candidate.stage is Stage.STARTED:
                contract = candidate.contract
                candidate.survey = contract.format.survey(contract, candidate.file)
                candidate.stage = Stage.SURVEYED
        if any(one.survey.problems for one in candidates if one.stage is not Stage.VALIDATED):
            return []
        at_fault = _find_at_fault(table, candidates)
        if not at_fault:
            # None fails alone: the table does not take one of them beside the others.
            failing = _find_failing(table, candidates)
            if failing is None:
                raise error
            return [_refuse_by_table(failing, error)]
        outcomes: list[Outcome] = []
        for candidate in at_fault:
            if candidate.stage is Stage.VALIDATED:
                outcomes.append(_refuse_by_table(candidate, error))
            else:
                outcomes += _validate(table, candidate)
    except LandedFileError:
        return outcomes_of_changed([candidate.file for candidate in candidates])
    return outcomes


def outcomes_of_changed(files: Sequence[LandedFile]) -> list[Outcome]:
    """Return the outcomes of those files that changed while they were read; of all if none shows.

    Args:
        files: Files of which at least one changed.
    """
    return [Outcome.changed(file) for file in list_changed(files) or files]


def _find_at_fault(table: FeedTable, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Find the candidates with a bad row; where that is inconclusive, those that fail alone."""
    if len(candidates) == 1:
        return list(candidates)
    alike: dict[tuple[object, ...], list[Candidate]] = defaultdict(list)
    at_fault: list[Candidate] = []
    for candidate in candidates:
        if not candidate.is_read_row_by_row:
            alike[candidate.reading].append(candidate)
        elif _fails_alone(table, candidate):
            at_fault.append(candidate)
    for group in alike.values():
        contract, header = group[0].contract, group[0].survey.header
        sources = [one.source for one in group]
        limits = {name: limit.condition for name, limit in table.limits.items()}
        found = find_suspects(table.duck, contract, sources, header, limits)
        suspects = {file.name for file in found}
        suspected = [one for one in group if one.file.name in suspects]
        if len(suspected) == len(group):
            suspected = [one for one in suspected if _fails_alone(table, one)]
        at_fault += suspected
    return at_fault


def _fails_alone(table: FeedTable, candidate: Candidate) -> bool:
    return _find_failing(table, [candidate]) is not None


def _find_failing(table: FeedTable, candidates: Sequence[Candidate]) -> Candidate | None:
    """Find the first candidate that cannot be loaded after those before it; nothing is kept."""
    candidate = None
    try:
        with table.transaction([one.file for one in candidates]):
            table.delete(Replaced([one.file.partition_key for one in candidates]))
            for candidate in candidates:
                insert_rows(table, [candidate], Progress(table.feed.name, [candidate.file]))
            raise _UndoError
    except (*FILE_FAULTS, FileAtFaultError):
        return candidate
    except _UndoError:
        return None


class _UndoError(Exception):
    """Ends a trial transaction."""


def _validate(table: FeedTable, candidate: Candidate) -> list[Outcome]:
    """Find the bad rows of a candidate; return its outcome if it is refused for them.

    Any other candidate is then loaded row by row. So is a file without bad rows if DuckDB cannot
    read it at once.
    """
    feed, file, survey = table.feed, candidate.file, candidate.survey
    is_quarantined = feed.bad_rows is BadRows.QUARANTINE

    def refuse(problems: list[Problem]) -> list[Outcome]:
        return [Outcome.refused(file, problems, survey)]

    try:
        found = validate_file(
            table,
            file,
            survey.header,
            Progress(feed.name, [file]).watch("validated"),
            enough_bad_rows=None if is_quarantined else MAX_PROBLEMS,
        )
    except FILE_FAULTS:
        return refuse([Problem(0, "", "a row rule cannot be evaluated for a row of the file")])
    except LandedFileError:
        return [Outcome.changed(file)]
    if file.has_changed:
        return [Outcome.changed(file)]
    if of_file := [problem for problem in found.problems if problem.is_of_file]:
        return refuse(of_file)
    if found.problems and not is_quarantined:
        return refuse(found.problems[:MAX_PROBLEMS])
    percent = 100 * found.bad_row_count / max(found.row_count, 1)
    if found.bad_row_count > feed.max_rejected_rows or percent > feed.max_rejected_percent:
        many = Problem(
            0,
            "",
            f"{found.bad_row_count:,} of {found.row_count:,} rows are bad; at most "
            f"{feed.max_rejected_rows:,} rows and {feed.max_rejected_percent:g} % may be",
        )
        return refuse([many, *found.problems])
    if not found.problems and found.row_count != survey.row_count:
        return refuse([Problem(0, "", "its rows cannot be counted for certain")])
    candidate.survey = replace(survey, row_count=found.row_count)
    candidate.rejected_count = found.bad_row_count
    candidate.stage = Stage.VALIDATED
    return []


def _refuse_by_table(candidate: Candidate, error: Exception) -> Outcome:
    """Refuse a file whose rows are valid but which the table does not take."""
    reason = f"the table does not take its rows ({type(error).__name__}): has it a constraint?"
    return Outcome.refused(candidate.file, [Problem(0, "", reason)], candidate.survey)
