"""Infer: what kind of file a sample is, as a feed declaration that a person then checks.

Takes one file; returns a proposal: name, pattern, format, columns with their types, and what was
guessed about each. Only this module and the formats' proposals sniff; loading relies on
declarations alone.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile, ZipFile

import duckdb

from partitioned_etl.engine.contract import Column
from partitioned_etl.engine.errors import (
    FeedDefinitionError,
    LandedFileError,
    PartitionedEtlError,
    PartitionKeyError,
)
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.file_names import (
    FileNamePattern,
    Partitioning,
    window_of,
)
from partitioned_etl.engine.formats.compression import suffix_of
from partitioned_etl.engine.formats.format import Problem
from partitioned_etl.engine.formats.registry import find_format, guess_format, parse_format
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse.registry import connect_warehouse
from partitioned_etl.engine.warehouse.warehouse import OpenWarehouse

_DATES = {
    r"\d{4}-\d{2}-\d{2}-\d{2}": "%Y-%m-%d-%H",
    r"\d{4}-\d{2}-\d{2}_\d{2}": "%Y-%m-%d_%H",
    r"\d{4}-\d{2}-\d{2}T\d{2}": "%Y-%m-%dT%H",
    r"\d{10}": "%Y%m%d%H",
    r"\d{4}-W\d{2}": "%G-W%V",
    r"\d{4}-\d{2}-\d{2}": "%Y-%m-%d",
    r"\d{4}_\d{2}_\d{2}": "%Y_%m_%d",
    r"\d{4}\.\d{2}\.\d{2}": "%Y.%m.%d",
    r"\d{8}": "%Y%m%d",
    r"\d{4}-\d{2}": "%Y-%m",
    r"\d{4}_\d{2}": "%Y_%m",
    r"\d{6}": "%Y%m",
}


_LIKELY_YEARS = range(1900, 2100)
"""Six digits may also be a day with two digits of its year: 241201 is of no year 2412."""


@dataclass
class Proposal:
    """A feed as suggested by a sample.

    Attributes:
        name: The feed's name.
        pattern: The file name with its placeholder.
        format: Name of the format.
        columns: Maps column name to DuckDB type, in file order.
        attributes: What else a column is declared with, such as `from`, by its name.
        options: The format's options, without those at their default.
        start: The first day of the sample's partition, `2018-01-22`; empty for a dynamic feed.
        verdict: What happened to the sample when it was loaded with this declaration.
        doubts: What was guessed and needs checking, per attribute, such as `start` or
            `columns.amount`.
    """

    name: str
    pattern: str
    format: str = "csv"
    columns: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    verdict: str = ""
    doubts: dict[str, str] = field(default_factory=dict)

    @property
    def declared_columns(self) -> dict[str, str | dict[str, Any]]:
        """The columns as a feed declares them: a type, or `type` and what else there is."""
        others = self.attributes
        return {
            name: {"type": type_name, **others[name]} if name in others else type_name
            for name, type_name in self.columns.items()
        }

    def to_feed(self, folder: str) -> Feed:
        """Return the feed.

        Args:
            folder: The feed's folder.

        Raises:
            FeedDefinitionError: The proposal needs manual correction first.
        """
        return Feed(
            name=self.name,
            folder=folder,
            pattern=self.pattern,
            columns={
                name: one if isinstance(one, str) else Column.model_validate(one)
                for name, one in self.declared_columns.items()
            },
            format=parse_format({"type": self.format, **self.options}),
        )


def infer_feed(sample: Path, name: str | None = None) -> Proposal:
    """Propose a feed from a sample file.

    Args:
        sample: The file.
        name: The feed's name; by default the file name without its date, or the folder's name.

    Returns:
        The proposal, with which the sample was loaded into a temporary database.

    Raises:
        LandedFileError: The file cannot be read as the format that its name implies.
    """
    sample = sample.resolve()
    if not sample.is_file() or not sample.stat().st_size:
        raise LandedFileError(f"{sample.name}: nothing can be inferred: it is no file, or empty")
    _refuse_other_kinds(sample)
    proposal = _propose_name_and_pattern(sample, name)
    try:
        with _open_trial(sample) as opened:
            _propose_format(opened.duck, sample, proposal)
        _keep_to_known_types(proposal)
        proposal.verdict = _load_until_it_fits(sample, proposal)
    except duckdb.Error as error:
        reason = " ".join(str(error).splitlines()[0].split())
        raise LandedFileError(f"{sample.name}: nothing can be inferred: {reason}") from error
    return proposal


def _refuse_other_kinds(sample: Path) -> None:
    """Name what a sample is, if the format of its name cannot read it, by its first bytes.

    Raises:
        LandedFileError: It is an archive, or a workbook under another name.
    """
    if guess_format(sample.suffix) == "excel":
        return
    with sample.open("rb") as file:
        start = file.read(8)
    kind = ""
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        kind = "an Excel workbook: its name must end in .xls"
    elif start.startswith(b"PK\x03\x04"):
        kind = "a zip archive: unpack it"
        with suppress(BadZipFile), ZipFile(sample) as archive:
            if any(name.startswith("xl/") for name in archive.namelist()):
                kind = "an Excel workbook: its name must end in .xlsx"
    if kind:
        raise LandedFileError(f"{sample.name}: nothing can be inferred: it is {kind}")


def _propose_format(duck: duckdb.DuckDBPyConnection, sample: Path, proposal: Proposal) -> None:
    found = find_format(proposal.format).propose(duck, sample)
    proposal.format = found.type or proposal.format
    proposal.options, proposal.columns = found.options, found.columns
    proposal.attributes = found.attributes
    proposal.doubts |= found.doubts


def _propose_name_and_pattern(sample: Path, name: str | None) -> Proposal:
    file_name = sample.name[: len(sample.name) - len(suffix_of(sample.name))]
    ending = Path(file_name).suffix
    stem = file_name.removesuffix(ending)
    pattern, start, rest = f"{{key}}{ending}", "", ""
    doubt = "no date in the name: one file for each name, such as a customer's"
    if found := _find_date(stem):
        where, date_format, partitioning, day = found
        before, after = stem[: where.start()], stem[where.end() :]
        pattern, rest = f"{before}{{date:{date_format}}}{after}{ending}", f"{before} {after}"
        start = day.strftime("%Y-%m-%d")
        doubt = f"{partitioning}: one file for each, whose date is in its name"
    name = name or _to_name(rest) or _to_name(sample.parent.name) or "feed"
    proposal = Proposal(name, pattern, guess_format(ending), start=start)
    if digits := re.findall(r"[0-9]+", rest):
        doubt += f"; {' and '.join(digits)} must be in every name"
    proposal.doubts["pattern"] = doubt
    if start:
        proposal.doubts["start"] = "the sample's; an earlier file is refused"
    return proposal


def _find_date(stem: str) -> tuple[re.Match[str], str, Partitioning, datetime] | None:
    """Find a possible date in a name: its match, format, partitioning and start."""
    for digits, date_format in _DATES.items():
        pattern = FileNamePattern(f"{{date:{date_format}}}")
        for where in re.finditer(rf"(?<!\d){digits}(?!\d)", stem, re.ASCII):
            if match := pattern.match(where[0]):
                with suppress(PartitionKeyError):
                    begin, _ = window_of(pattern.key_of(match), pattern.partitioning)
                    if begin.year in _LIKELY_YEARS:
                        return where, date_format, pattern.partitioning, begin
    return None


def _to_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _keep_to_known_types(proposal: Proposal) -> None:
    """Turn unsupported column types into texts, and note which numbers are inexact."""
    for name, type_name in proposal.columns.items():
        about = f"columns.{name}"
        if type_name == "JSON" and find_format(proposal.format).takes_json:
            continue
        try:
            Feed(
                name="trial",
                pattern="{key}",
                columns={"value": type_name},
                format=parse_format(proposal.format),
            )
        except FeedDefinitionError:
            proposal.doubts[about] = f"{_shorten(type_name)}, of which no column can be"
            proposal.columns[name] = "VARCHAR"
        else:
            if type_name == "DOUBLE":
                proposal.doubts.setdefault(about, "inexact; DECIMAL(18, 2) for money")


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _load_until_it_fits(sample: Path, proposal: Proposal) -> str:
    """Load the sample with the proposal, and return what happened to it.

    A column whose type does not take all values of the sample becomes a text.
    """
    while True:
        verdict, problems = _load_on_trial(sample, proposal)
        refusing = [
            problem
            for problem in problems
            if proposal.columns.get(problem.column, "VARCHAR") != "VARCHAR"
        ]
        if not refusing:
            return verdict
        for problem in reversed(refusing):
            doubt = f"{problem.where} is {problem.reason}"
            proposal.doubts[f"columns.{problem.column}"] = doubt
            proposal.columns[problem.column] = "VARCHAR"


@contextmanager
def _open_trial(sample: Path) -> Iterator[OpenWarehouse]:
    """Open an empty database that reads the sample and is thrown away."""
    with (
        TemporaryDirectory() as folder,
        connect_warehouse(Path(folder) / "trial.duckdb").open(sample.parent) as opened,
    ):
        yield opened


def _load_on_trial(sample: Path, proposal: Proposal) -> tuple[str, Sequence[Problem]]:
    """Load the sample with the proposal; return what happened to it, and what is wrong with it."""
    landing = connect_landing(sample.parent.parent, settle_seconds=0)
    try:
        feed = proposal.to_feed(sample.parent.name)
        listing = landing.list_files(feed)
        files = [file for file in listing.files.values() if file.name == sample.name]
        if not files:
            passed_over = [*listing.refused, *listing.ignored]
            reasons = [entry.reason for entry in passed_over if entry.name == sample.name]
            return f"the sample would not be loaded: {''.join(reasons)}", ()
        with _open_trial(sample) as opened:
            [outcome] = load_files(opened.table(feed), landing, files)
    except PartitionedEtlError as error:
        return f"the sample would not be loaded: {error}", ()
    if outcome.is_loaded:
        return f"the sample loads by it: {outcome.row_count:,} rows", ()
    return f"the sample would be refused: {outcome.reason}", outcome.problems
