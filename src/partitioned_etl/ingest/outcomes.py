"""Outcomes: what happened to each file of a batch.

Returned by `warehouse.py` after the batch; the ledger keeps the latest one of each partition.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from partitioned_etl.ingest.contract import Survey, describe_problems
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.records import Problem


class OutcomeStatus(StrEnum):
    """What happened to one file of a batch."""

    LOADED = "loaded"
    SURVEYED = "surveyed, not loaded"
    REJECTED = "rejected"
    CHANGED = "changed while it was read"


@dataclass(frozen=True)
class Outcome:
    """What happened to one file of a batch.

    Attributes:
        file: The landed file.
        status: Loaded, only surveyed, rejected or changed. A file that changed while it was read,
            or cannot be opened, is not validated; it is checked again later.
        row_count: Rows loaded.
        rejected_count: Rows that went to table `rejected_rows` instead.
        reason: Why it was not loaded, one sentence; empty if it was.
        warning: What is worth knowing about a file that was loaded, one sentence; may be empty.
        problems: The individual problems, if the file broke its contract.
        survey: What one pass over the file's bytes found; None if it could not be read.
    """

    file: LandedFile
    status: OutcomeStatus
    row_count: int = 0
    rejected_count: int = 0
    reason: str = ""
    warning: str = ""
    problems: list[Problem] = field(default_factory=list)
    survey: Survey | None = None

    @classmethod
    def rejected(cls, file: LandedFile, problems: list[Problem], survey: Survey) -> "Outcome":
        """Return the outcome for a file that broke its contract."""
        reason = describe_problems(file.name, problems)
        return cls(file, OutcomeStatus.REJECTED, reason=reason, problems=problems, survey=survey)

    @classmethod
    def changed(cls, file: LandedFile, reason: str = "") -> "Outcome":
        """Return the outcome for a file that changed while it was read, or cannot be opened."""
        reason = reason or f"{file.name}: changed while it was read; it will be read again"
        return cls(file, OutcomeStatus.CHANGED, reason=reason)
