"""Survey: read the files of a load once, before the warehouse is opened for it.

Takes landed files; returns those that can be loaded as candidates, and what is to be said of the
others. A file is surveyed as soon as it arrives where it is staged, while others are on their way;
nobody has to wait for the warehouse meanwhile. Of a large file it is enough to know the start: the
rest is surveyed while DuckDB reads it. Next: `load.py` puts their rows into the table.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    with landing.stage(files) as staged, warehouse.scratch() as scratch, _thread() as beside:
        progress = Progress(feed.name, staged)
        for file in staged:
            try:
                surveyed.candidates.append(_survey(feed, file, progress, scratch, beside))
            except LandedFileError as error:
                surveyed.changed.append(Outcome.changed(file, str(error)))
            progress.done("surveyed", file)
        failpoints.reach(failpoints.AFTER_SURVEY)
        yield surveyed


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """Give a thread, which in the end leaves undone what it has not begun."""
    pool = ThreadPoolExecutor(1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _survey(
    feed: Feed, file: LandedFile, progress: Progress, scratch: Path, beside: ThreadPoolExecutor
) -> Candidate:
    contract = feed.contract_of(file.partition_key)
    if file.size_bytes <= LARGE_BYTES:
        return Candidate(file, contract, feed.format.survey(contract, file, scratch=scratch))
    start = feed.format.survey_start(contract, file)
    if start is None:
        survey = feed.format.survey(contract, file, progress.watch("surveyed"), scratch)
        return Candidate(file, contract, survey)
    whole = beside.submit(feed.format.survey, contract, file)
    with progress.watch("staged")(lambda: file.size_bytes - file.missing_bytes):
        file.path  # noqa: B018
    return Candidate(file, contract, start, Stage.STARTED, whole)
