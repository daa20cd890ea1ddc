"""Inference: what kind of file a sample is, as a feed declaration that a person then checks.

Takes one file; returns a proposal: name, pattern, columns with their types, dialect, and what was
guessed about each. Only this module sniffs; loading relies on declarations alone.
"""

import glob
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from partitioned_etl.ingest.columns import columns_of
from partitioned_etl.ingest.database import connect
from partitioned_etl.ingest.errors import (
    FeedDefinitionError,
    LandedFileError,
    PartitionedEtlError,
    PartitionKeyError,
)
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.file_names import (
    COMPRESSED_SUFFIXES,
    FileNamePattern,
    Partitioning,
    window_of,
)
from partitioned_etl.ingest.formats import FORMATS, CsvFormat
from partitioned_etl.ingest.landing import list_landed_files
from partitioned_etl.ingest.outcomes import OutcomeStatus
from partitioned_etl.ingest.warehouse import replace_partitions

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
_YEAR_FIRST = re.compile(r"%Y([-/])%m\1%d([ T]%H:%M(:%S(\.%f)?)?)?")
_FORMATS = {
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".json": "json_lines",
    ".parquet": "parquet",
}
_TRIAL_NAME = "trial"
_HEAD_BYTES = 1 << 20


@dataclass
class Proposal:
    """A feed as suggested by a sample.

    Attributes:
        name: The feed's name.
        pattern: The file name with its placeholder.
        format: `csv`, `tsv`, `json_lines` or `parquet`.
        columns: Maps column name to DuckDB type, in file order.
        dialect: What differs from the default CSV dialect, by attribute of `CsvFormat`.
        start: The first day of the sample's partition, `2018-01-22`; empty for a dynamic feed.
        verdict: What happened to the sample when it was loaded with this declaration.
        doubts: What was guessed and needs checking, per attribute, such as `start` or
            `columns.amount`.
    """

    name: str
    pattern: str
    format: str = "csv"
    columns: dict[str, str] = field(default_factory=dict)
    dialect: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    verdict: str = ""
    doubts: dict[str, str] = field(default_factory=dict)

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
            columns=self.columns,
            table=self.name,
            format=replace(FORMATS[self.format], **self.dialect),
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
    proposal = _propose_name_and_pattern(sample, name)
    with TemporaryDirectory() as folder:
        try:
            with connect(Path(folder) / "trial.duckdb", sample.parent) as connection:
                if proposal.format == "csv":
                    _sniff_csv(connection, sample, proposal)
                else:
                    _describe_rows(connection, sample, proposal)
                _keep_to_known_types(proposal)
                proposal.verdict = _load_on_trial(connection, sample, proposal)
        except duckdb.Error as error:
            reason = " ".join(str(error).splitlines()[0].split())
            raise LandedFileError(f"{sample.name}: nothing can be inferred: {reason}") from error
    return proposal


def _propose_name_and_pattern(sample: Path, name: str | None) -> Proposal:
    file_name = sample.name
    for suffix in COMPRESSED_SUFFIXES:
        file_name = file_name.removesuffix(suffix)
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
    proposal = Proposal(name, pattern, _FORMATS.get(ending.lower(), "csv"), start=start)
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
                    return where, date_format, pattern.partitioning, begin
    return None


def _to_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _sniff_csv(connection: duckdb.DuckDBPyConnection, sample: Path, proposal: Proposal) -> None:
    encoding = _detect_encoding(sample)
    found = connection.execute(
        "SELECT Delimiter, Quote, Escape, HasHeader, Columns, DateFormat, TimestampFormat "
        "FROM sniff_csv(?, encoding = ?)",
        [glob.escape(str(sample)), encoding],
    ).fetchone()
    assert found is not None, "a file is sniffed, or an error"
    delimiter, quote, escape, has_header, columns, date_format, timestamp_format = found
    given = {"delimiter": delimiter, "quote": quote, "escape": escape, "encoding": encoding}
    default = CsvFormat()
    proposal.dialect = {
        option: value
        for option, value in given.items()
        if value not in (None, "", "(empty)", getattr(default, option))
    }
    if proposal.dialect.get("delimiter") == "\t":
        proposal.format = "tsv"
        del proposal.dialect["delimiter"]
    if not has_header:
        proposal.dialect["header"] = False
        proposal.doubts["csv.header"] = "the first line looks like data; name the columns"
    if encoding == "latin-1":
        proposal.doubts["csv.encoding"] = "it is not UTF-8; which else, nothing in the file says"
    formats = {"DATE": date_format, "TIMESTAMP": timestamp_format}
    for column in columns:
        name, type_name = column["name"], column["type"]
        written = formats.get(type_name)
        if written and not _YEAR_FIRST.fullmatch(written):
            doubt = f"{type_name} as {written}, which is not year first"
            proposal.doubts[f"columns.{name}"] = doubt
            type_name = "VARCHAR"
        proposal.columns[name] = type_name


def _describe_rows(connection: duckdb.DuckDBPyConnection, sample: Path, proposal: Proposal) -> None:
    reader = (
        "read_parquet(?)"
        if proposal.format == "parquet"
        else "read_json(?, format = 'newline_delimited')"
    )
    rows = connection.execute(
        f"DESCRIBE SELECT * FROM {reader}", [glob.escape(str(sample))]
    ).fetchall()
    proposal.columns = {name: type_name for name, type_name, *_ in rows}


def _detect_encoding(sample: Path) -> str:
    """Return the encoding of the first bytes: UTF-8, UTF-16 or Latin-1."""
    if sample.suffix in COMPRESSED_SUFFIXES:
        return "utf-8"
    with sample.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # The head may end in the middle of a character.
    whole = head if len(head) < _HEAD_BYTES else head[: head.rfind(b"\n") + 1]
    try:
        whole.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _keep_to_known_types(proposal: Proposal) -> None:
    """Turn unsupported column types into texts, and note which numbers are inexact."""
    for name, type_name in proposal.columns.items():
        about = f"columns.{name}"
        try:
            columns_of(_feed_of_column(name, type_name))
        except FeedDefinitionError:
            proposal.doubts[about] = f"{_shorten(type_name)}, of which no column can be"
            proposal.columns[name] = "VARCHAR"
        else:
            if type_name == "DOUBLE":
                proposal.doubts.setdefault(about, "inexact; DECIMAL(18, 2) for money")


def _feed_of_column(name: str, type_name: str) -> Feed:
    columns = {name: type_name}
    return Feed(name=_TRIAL_NAME, folder="", pattern="{key}", columns=columns, table=_TRIAL_NAME)


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _load_on_trial(connection: duckdb.DuckDBPyConnection, sample: Path, proposal: Proposal) -> str:
    """Load the sample with the proposal, and return what happened to it."""
    try:
        feed = proposal.to_feed(sample.parent.name)
        listing = list_landed_files(feed, sample.parent.parent)
        files = [file for file in listing.files.values() if file.name == sample.name]
        if not files:
            passed_over = [*listing.refused, *listing.ignored]
            reasons = [entry.reason for entry in passed_over if entry.name == sample.name]
            return f"the sample would not be loaded: {''.join(reasons)}"
        [outcome] = replace_partitions(connection, feed, files)
    except PartitionedEtlError as error:
        return f"the sample would not be loaded: {error}"
    if outcome.status is OutcomeStatus.LOADED:
        return f"the sample loads by it: {outcome.row_count:,} rows"
    return f"the sample would be refused: {outcome.reason}"
