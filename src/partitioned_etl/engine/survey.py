"""Survey: read the files of a load once, before the warehouse is opened for it.

Takes landed files; returns those that can be loaded as candidates, and what is to be said of the
others. A file is surveyed as soon as it arrives where it is staged, while others are on their way;
nobody has to wait for the warehouse meanwhile. Next: `load.py` puts their rows into the table.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, Landing
from partitioned_etl.engine.outcomes import Outcome
from partitioned_etl.engine.progress import Progress
from partitioned_etl.engine.replace import LARGE_BYTES, Candidate, Stage


class HasScratch(Protocol):
    """A warehouse, or a table of one that is open."""

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder, in which DuckDB can read, for what one load writes aside."""
        ...


@dataclass
class Surveyed:
    """Files that were surveyed for a load.

    Attributes:
        names: Their names, in the order given.
        candidates: Those that can be loaded.
        changed: What happened to the others: each is gone, changed, or could not be staged.
    """

    names: list[str]
    candidates: list[Candidate] = field(default_factory=list)
    changed: list[Outcome] = field(default_factory=list)


@contextmanager
def survey_files(
    feed: Feed, landing: Landing, files: Sequence[LandedFile], warehouse: HasScratch
) -> Iterator[Surveyed]:
    """Stage files and survey them, for the time of one load.

    Args:
        feed: Their feed.
        landing: The landing of the files.
        files: Landed files, each partition or part of one once.
        warehouse: Where they are to be loaded, which need not be open.
    """
    surveyed = Surveyed([file.name for file in files])
    with landing.stage(files) as staged, warehouse.scratch() as scratch:
        progress = Progress(feed.name, staged)
        for file in staged:
            try:
                surveyed.candidates.append(_survey(feed, file, progress, scratch))
            except LandedFileError as error:
                surveyed.changed.append(Outcome.changed(file, str(error)))
            progress.done("surveyed", file)
        failpoints.reach(failpoints.AFTER_SURVEY)
        yield surveyed


def _survey(feed: Feed, file: LandedFile, progress: Progress, scratch: Path) -> Candidate:
    contract = feed.contract_of(file.partition_key)
    if file.size_bytes > LARGE_BYTES:
        # One that is still arriving is better read meanwhile.
        start = None if file.is_arriving else feed.format.survey_start(contract, file)
        if start is not None:
            return Candidate(file, contract, start, Stage.STARTED)
        survey = feed.format.survey(contract, file, progress.watch("surveyed"), scratch)
    else:
        survey = feed.format.survey(contract, file, scratch=scratch)
    return Candidate(file, contract, survey)
