"""Load: put the rows of landed files into a feed's table, or say why a file is refused.

Takes files that `survey.py` has read once; returns an outcome for each. `replace.py` loads sound
files all at once, in one transaction; only when that fails does `diagnose.py` look for the files at
fault. What a file must look like belongs in the contract and its format; what to load or remove, in
`plan.py`.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from logging import getLogger

import duckdb

from partitioned_etl.engine.conflicts import run_until_done
from partitioned_etl.engine.diagnose import (
    diagnose_failure,
    outcomes_of_changed,
    refuse_texts,
)
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.format import list_broken_rules
from partitioned_etl.engine.formats.rows import FILE_FAULTS
from partitioned_etl.engine.landing.landing import LandedFile, Landing, list_changed
from partitioned_etl.engine.outcomes import Outcome, OutcomeStatus
from partitioned_etl.engine.replace import (
    ControlTotalError,
    FileAtFaultError,
    FilesChangedError,
    LooseTextError,
    replace_rows,
)
from partitioned_etl.engine.survey import Surveyed, survey_files
from partitioned_etl.engine.warehouse.ledger import LoadStatus, ledger_row
from partitioned_etl.engine.warehouse.warehouse import FeedTable

logger = getLogger(__name__)

_MAX_WARNINGS = 20
"""How many warnings of a batch are logged: Dagster stores each as a separate event."""


def load_files(
    table: FeedTable, landing: Landing, files: Sequence[LandedFile], *, run_id: str = ""
) -> list[Outcome]:
    """Survey and load files into a table that is open; see `load_surveyed`.

    Args:
        table: The feed's table on an open warehouse, outside a transaction.
        landing: The landing of the files.
        files: Landed files, each partition or part of one once.
        run_id: The Dagster run, for the ledger.
    """
    with survey_files(table.feed, landing, files, table) as surveyed:
        return load_surveyed(table, surveyed, run_id=run_id)


def load_surveyed(table: FeedTable, surveyed: Surveyed, *, run_id: str = "") -> list[Outcome]:
    """Replace each file's partition, or part of it, with its rows, all in one transaction.

    A file that breaks the contract, or changes while it is read, changes no row and does not
    prevent the others from being loaded. A refused file is recorded in the ledger. Where the feed's
    policy is quarantine, bad rows go to table `rejected_rows` in the same transaction, up to its
    limits.

    Args:
        table: The feed's table on an open warehouse, outside a transaction.
        surveyed: The files, while they are staged.
        run_id: The Dagster run, for the ledger.

    Returns:
        One outcome per file, in the order given.

    Raises:
        WarehouseError: The table's columns differ from the feed's.
        duckdb.Error: The database failed for a reason unrelated to the files, such as a full disk;
            nothing was changed.
    """
    load = _Load(table, surveyed, run_id)
    changes = table.prepare()
    if changes.is_altered:
        for change in changes.describe(table.feed.name):
            logger.info(f"feed {table.feed.name}: {change}")
    load.load_pending()
    load.record_refusals()
    return [load.outcomes[name] for name in surveyed.names]


class _Load:
    """One load of a batch of files.

    Attributes:
        outcomes: What happened to a file, by its name.
    """

    def __init__(self, table: FeedTable, surveyed: Surveyed, run_id: str) -> None:
        self._table, self._feed, self._run_id = table, table.feed, run_id
        self._pending = surveyed.candidates
        self.outcomes = {outcome.file.name: outcome for outcome in surveyed.changed}

    def load_pending(self) -> None:
        """Load all candidates in one transaction, without those that turn out to be at fault.

        Each turn ends with all of them loaded, with fewer of them, or with more known of some, so
        that they are read in another way, which happens to a file at most twice.
        """
        while self._pending:
            self._end(refuse_texts(self._table, self._pending))
            if not self._pending:
                break
            try:
                run_until_done(lambda: replace_rows(self._table, self._pending, self._run_id))
            except LooseTextError:
                continue
            except ControlTotalError as error:
                one = error.candidate
                self._end([Outcome.refused(one.file, [error.problem], one.survey)])
            except (FilesChangedError, LandedFileError, duckdb.Error, FileAtFaultError) as error:
                self._end(self._find_at_fault(error))
            else:
                self._end(self._report_loaded())

    def _find_at_fault(self, error: Exception) -> list[Outcome]:
        files = [candidate.file for candidate in self._pending]
        if isinstance(error, FilesChangedError):
            return [Outcome.changed(file) for file in error.files]
        if isinstance(error, LandedFileError) or list_changed(files):
            return outcomes_of_changed(files)
        if not isinstance(error, (*FILE_FAULTS, FileAtFaultError)):
            raise error
        return diagnose_failure(self._table, self._pending, error)

    def _end(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes, and go on without the candidates that they are of."""
        self.outcomes |= {outcome.file.name: outcome for outcome in outcomes}
        self._pending = [one for one in self._pending if one.file.name not in self.outcomes]

    def _report_loaded(self) -> list[Outcome]:
        hashes = [candidate.survey.content_hash for candidate in self._pending]
        same_content = self._table.find_same_content(hashes)
        outcomes = []
        for candidate in self._pending:
            file, survey = candidate.file, candidate.survey
            same = same_content.get(survey.content_hash, ())
            names = list(islice((name for name in same if name != file.name), 3))
            warnings = [f"has the same content as {', '.join(names)}"] if names else []
            if candidate.rejected_count:
                warnings.append(
                    f"{candidate.rejected_count:,} of {survey.row_count:,} rows are bad and went "
                    "to table rejected_rows"
                )
            outcomes.append(
                Outcome(
                    file,
                    OutcomeStatus.LOADED,
                    row_count=candidate.row_count,
                    rejected_count=candidate.rejected_count,
                    changes=candidate.changes,
                    warning=f"{file.name}: {'; '.join(warnings)}" if warnings else "",
                    survey=survey,
                )
            )
        _log_warnings(self._feed, [outcome.warning for outcome in outcomes if outcome.warning])
        return outcomes

    def record_refusals(self) -> None:
        """Record in the ledger which files are refused, and why."""
        refused = [one for one in self.outcomes.values() if one.status is OutcomeStatus.REFUSED]
        if refused:
            run_until_done(lambda: self._record(refused))

    def _record(self, refused: Sequence[Outcome]) -> None:
        with self._table.transaction([outcome.file for outcome in refused]):
            before = self._table.read_ledger().rows
            rows = []
            for outcome in refused:
                row = ledger_row(
                    self._feed,
                    outcome.file,
                    run_id=self._run_id,
                    content_hash=outcome.survey.content_hash if outcome.survey else "",
                    status=LoadStatus.REFUSED,
                    error=outcome.reason,
                    broken_rules=tuple(list_broken_rules(outcome.problems)),
                )
                earlier = before.get(outcome.file.name)
                if earlier and earlier.loaded_at:
                    # Its rows stay, also where an earlier declaration of the feed had put them.
                    row = row._replace(
                        partition_key=earlier.partition_key,
                        row_count=earlier.row_count,
                        rejected_count=earlier.rejected_count,
                        file_row_count=earlier.file_row_count,
                        loaded_at=earlier.loaded_at,
                    )
                rows.append(row)
            self._table.record_refusals(rows)


def _log_warnings(feed: Feed, warnings: Sequence[str]) -> None:
    for warning in warnings[:_MAX_WARNINGS]:
        logger.warning(f"feed {feed.name}: {warning}")
    if len(warnings) > _MAX_WARNINGS:
        more = len(warnings) - _MAX_WARNINGS
        logger.warning(
            f"feed {feed.name}: {more} more files have such a warning; see their partitions"
        )
