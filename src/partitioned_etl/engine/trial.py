"""Trial: what a load would make of one landed file, in a database that is thrown away.

Takes a feed and a file; loads it as any load does, and returns what became of it, with a verdict on
each rule of the contract. Neither the warehouse nor its ledger is touched, and nothing is recorded.
"""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.format import MAX_PROBLEMS, ROW_COUNT, Problem, Survey
from partitioned_etl.engine.landing.landing import LandedFile, Landing
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import Outcome, OutcomeStatus
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from partitioned_etl.engine.warehouse.warehouse import OpenWarehouse

_SAMPLE_ROWS = 5
_HEADER = "header: "
"""How every reason begins that is about the columns of a file."""


class Verdict(StrEnum):
    """What became of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"
    """What failed before it left nothing, or too little, to hold against it."""


@dataclass(frozen=True)
class RuleVerdict:
    """What became of one rule of a contract.

    Attributes:
        rule: The row rule's name, or what of the contract it is: `file`, `columns`, `rows`, `types`
            or `totals`.
        verdict: What became of it.
        about: What the contract wants, and what was found.
        problems: How the file breaks it, one sentence each, with line and column.
    """

    rule: str
    verdict: Verdict
    about: str
    problems: list[str]


@dataclass(frozen=True)
class Trial:
    """What a load would make of one file.

    Attributes:
        outcome: What became of the file.
        verdicts: What became of each rule, in the order in which they are held against a file.
        sample: The first rows, if it was loaded.
    """

    outcome: Outcome
    verdicts: list[RuleVerdict]
    sample: list[tuple[object, ...]]


@contextmanager
def open_trial(folder: Path) -> Iterator[OpenWarehouse]:
    """Open an empty database that reads a folder and is thrown away."""
    with (
        TemporaryDirectory() as trial,
        connect_warehouse(Path(trial) / "trial.duckdb").open(folder) as opened,
    ):
        yield opened


@contextmanager
def log_no_loads() -> Iterator[None]:
    """Log nothing of loads that only the caller is to tell of."""
    logger = logging.getLogger(load_files.__module__)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


@contextmanager
def land_copy(feed: Feed, path: Path) -> Iterator[tuple[Landing, LandedFile]]:
    """Copy a file to where it would land, in a landing that is thrown away.

    Args:
        feed: The feed; its pattern says how many of the file's folders belong to its name.
        path: The file, wherever it is.

    Raises:
        LandedFileError: It is no file, or the feed does not take it under its name.
    """
    if not path.is_file():
        raise LandedFileError(f"{path}: is not a regular file")
    name = "/".join(path.absolute().parts[-1 - feed.file_names.depth :])
    with TemporaryDirectory() as folder:
        target = Path(folder) / feed.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        landing = connect_landing(Path(folder), 0.0)
        listing = landing.list_files(feed)
        if name not in listing.files:
            passed_over = [*listing.refused, *listing.ignored]
            raise LandedFileError(next((one.reason for one in passed_over), "is no file of it"))
        yield landing, listing.files[name]


def try_file(feed: Feed, landing: Landing, file: LandedFile) -> Trial:
    """Load one file into a database that is thrown away.

    Args:
        feed: The feed.
        landing: The landing of the file.
        file: The landed file.
    """
    strict = feed.model_copy(update={"bad_rows": BadRows.FAIL})
    with log_no_loads(), open_trial(landing.readable_dir) as opened:
        [outcome] = load_files(opened.table(strict), landing, [file])
        verdicts = list_verdicts(feed, outcome)
        if outcome.status is OutcomeStatus.REFUSED and feed.bad_rows is BadRows.QUARANTINE:
            [outcome] = load_files(opened.table(feed), landing, [file])
        rows = opened.table(feed).read_first_rows([file], _SAMPLE_ROWS) if outcome.is_loaded else {}
    return Trial(outcome, verdicts, rows.get(file.partition_key, []))


def list_verdicts(feed: Feed, outcome: Outcome) -> list[RuleVerdict]:
    """Return what became of each rule of a feed's contract.

    Args:
        feed: The feed.
        outcome: What became of a file that is refused if any of its rows is bad.
    """
    survey, of_rule = outcome.survey or Survey(), dict[str, list[Problem]]()
    for problem in outcome.problems:
        of_rule.setdefault(_rule_of(problem), []).append(problem)
    rules = {
        "file": f"{feed.format.type or 'csv'}{_describe_encoding(feed)}, whole and as declared",
        "columns": _describe_columns(feed, survey.header),
        "rows": "of the form that the format has",
        "types": ", ".join(f"{name} {of}" for name, of in feed.column_types.items()),
        **{rule.name: rule.expression for rule in feed.row_rules},
    }
    if totals := [column for column in survey.totals if column != ROW_COUNT]:
        rules["totals"] = f"the footer's totals of {', '.join(totals)}"
    # What is wrong with the whole file, or with a row's form, leaves no values to validate; and a
    # total is of rows that are all sound.
    ends = {"file", "columns", "rows"} if outcome.problems else set[str]()
    is_open, verdicts = outcome.status is not OutcomeStatus.CHANGED, list[RuleVerdict]()
    for rule, about in rules.items():
        told = [str(problem) for problem in of_rule.get(rule, ())]
        is_reached = is_open and not (rule == "totals" and outcome.problems)
        is_cut_off = rule not in ends and len(outcome.problems) >= MAX_PROBLEMS
        passed = Verdict.PASSED if is_reached and not is_cut_off else Verdict.NOT_REACHED
        verdicts.append(RuleVerdict(rule, Verdict.FAILED if told else passed, about, told))
        is_open = is_open and not (told and rule in ends)
    return verdicts


def _rule_of(problem: Problem) -> str:
    if problem.rule or problem.column:
        return problem.rule or ("types" if problem.line else "totals")
    if problem.reason.startswith(_HEADER):
        return "columns"
    return "file" if problem.is_of_file or not problem.line else "rows"


def _describe_encoding(feed: Feed) -> str:
    encoding = getattr(feed.format, "encoding", "")
    return f" in {encoding}" if encoding else ""


def _describe_columns(feed: Feed, header: Sequence[str]) -> str:
    """Return which columns were found, and which of those that are declared were not."""
    found = [name for name in header if name in feed.columns]
    others = len(header) - len(found)
    lacking = [name for name in feed.columns if name not in found]
    return "; ".join(
        [
            f"found {', '.join(found) or 'none'}",
            *([f"{others} that the feed does not have"] if others else []),
            *([f"declared, not found: {', '.join(lacking)}"] if lacking else []),
        ]
    )
