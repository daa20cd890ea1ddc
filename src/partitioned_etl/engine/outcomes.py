"""Outcomes: what happened to each file of a batch; the ledger keeps the latest one of each file."""

from dataclasses import dataclass, field
from enum import StrEnum

from partitioned_etl.engine.formats.format import Problem, Survey, describe_problems
from partitioned_etl.engine.landing.landing import LandedFile, changed_while_read
from partitioned_etl.engine.warehouse.load_history import RowChanges


class OutcomeStatus(StrEnum):
    """What happened to one file of a batch."""

    LOADED = "loaded"
    SURVEYED = "surveyed, not loaded"
    REFUSED = "refused"
    CHANGED = "changed while it was read"


@dataclass(frozen=True)
class Outcome:
    """What happened to one file of a batch.

    Attributes:
        file: The landed file.
        status: Loaded, only surveyed, refused or changed. A file that changed while it was read, or
            cannot be opened, is not validated; it is looked at again later.
        row_count: Rows loaded.
        rejected_count: Rows that went to table `rejected_rows` instead.
        changes: What its load changed in the table.
        reason: Why it was not loaded, one sentence; empty if it was.
        warning: What is worth knowing about a file that was loaded, one sentence; may be empty.
        problems: The individual problems, if the file broke its contract.
        survey: What one pass over the file's bytes found; None if it could not be read.
    """

    file: LandedFile
    status: OutcomeStatus
    row_count: int = 0
    rejected_count: int = 0
    changes: RowChanges = field(default_factory=RowChanges)
    reason: str = ""
    warning: str = ""
    problems: list[Problem] = field(default_factory=list)
    survey: Survey | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the file's rows are in the table."""
        return self.status is OutcomeStatus.LOADED

    @classmethod
    def refused(cls, file: LandedFile, problems: list[Problem], survey: Survey) -> "Outcome":
        """Return the outcome for a file that broke its contract."""
        reason = describe_problems(file.name, problems)
        return cls(file, OutcomeStatus.REFUSED, reason=reason, problems=problems, survey=survey)

    @classmethod
    def changed(cls, file: LandedFile, reason: str = "") -> "Outcome":
        """Return the outcome for a file that changed while it was read, or cannot be opened."""
        return cls(file, OutcomeStatus.CHANGED, reason=reason or str(changed_while_read(file)))
