"""Outcomes: what became of each file of a batch.

Given by `warehouse.py`, after the batch; the ledger keeps the last one of each partition.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from partitioned_etl.ingest.contract import Survey, describe_problems
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.records import Problem


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
        rejected_count: Rows that went to table `rejected_rows` instead.
        reason: Why it was not loaded, one sentence; empty if it was.
        warning: What a person should know of a file that was loaded, one sentence; may be empty.
        problems: The reason in parts, if the file broke its contract.
        survey: What one pass over the file's bytes told; None if it could not be read.
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
        """Make the outcome of a file that broke its contract."""
        reason = describe_problems(file.name, problems)
        return cls(file, OutcomeStatus.REJECTED, reason=reason, problems=problems, survey=survey)

    @classmethod
    def changed(cls, file: LandedFile, reason: str = "") -> "Outcome":
        """Make the outcome of a file that changed while it was read, or cannot be opened."""
        reason = reason or f"{file.name}: changed while it was read; it will be looked at again"
        return cls(file, OutcomeStatus.CHANGED, reason=reason)
