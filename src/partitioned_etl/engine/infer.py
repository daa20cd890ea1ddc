"""Infer: what kind of file samples are, as a feed declaration that a person then checks.

Takes files; returns a proposal: name, pattern, format, columns with their types, and what was
guessed about each. Only this module, its neighbours and the formats' proposals guess; loading
relies on declarations alone.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import duckdb

from partitioned_etl.engine.contract import BadRows, Column
from partitioned_etl.engine.errors import (
    FeedDefinitionError,
    LandedFileError,
    PartitionedEtlError,
)
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.compression import suffix_of
from partitioned_etl.engine.formats.format import FormatProposal, Problem
from partitioned_etl.engine.formats.proposals.footer_proposal import write_footer
from partitioned_etl.engine.formats.proposals.sample_text import cannot_be_inferred
from partitioned_etl.engine.formats.proposals.value_proposal import ColumnTexts, propose_values
from partitioned_etl.engine.formats.registry import find_format, guess_format, parse_format
from partitioned_etl.engine.formats.values import ValueOptions, concerns
from partitioned_etl.engine.infer_merge import merge_proposals
from partitioned_etl.engine.infer_names import propose_names
from partitioned_etl.engine.landing.registry import connect_landing
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import Outcome
from partitioned_etl.engine.sql import quote_identifier
from partitioned_etl.engine.trial import log_no_loads, open_trial
from partitioned_etl.engine.warehouse.warehouse import OpenWarehouse

_ANY_NUMBER = 2**31
_FETCHED = 20_000
"""How many texts of a column are looked at at once."""


@dataclass
class Proposal:
    """A feed as suggested by samples.

    Attributes:
        name: The feed's name.
        pattern: The file name with its placeholder.
        format: Name of the format.
        columns: Maps column name to DuckDB type, in file order.
        attributes: What else a column is declared with, such as `from`, by its name.
        options: The format's options, without those at their default.
        values: The value options of all columns.
        start: The first day of the sample's partition, `2018-01-22`; empty for a dynamic feed.
        verdict: What happened to the samples when they were loaded with this declaration.
        doubts: What was guessed and needs checking, per attribute, such as `start` or
            `columns.amount`.
    """

    name: str
    pattern: str
    format: str = "csv"
    columns: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
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

    def take(self, found: FormatProposal) -> None:
        """Take over what a format proposes."""
        self.format, self.options, self.columns = found.type, found.options, found.columns
        self.attributes = found.attributes
        self.doubts |= found.doubts

    def add_doubt(self, attribute: str, doubt: str) -> None:
        """Say one more thing of an attribute that needs checking."""
        said = filter(None, (self.doubts.get(attribute), doubt))
        self.doubts[attribute] = "; ".join(said)

    def make_text(self, name: str, doubt: str) -> None:
        """Let a column be a text, as it is in the file.

        Args:
            name: The column.
            doubt: Why it is no other type.
        """
        self.columns[name] = "VARCHAR"
        self.doubts[f"columns.{name}"] = doubt
        own = self.attributes.get(name, {})
        kept = {key: own[key] for key in own if not _is_of_other_types(key)}
        self.attributes = {key: one for key, one in self.attributes.items() if key != name}
        if kept:
            self.attributes[name] = kept
        self.values = {
            option: value
            for option, value in self.values.items()
            if any(concerns(option, type_name) for type_name in self.columns.values())
        }

    def to_feed(self, folder: str, **others: Any) -> Feed:
        """Return the feed.

        Args:
            folder: The feed's folder.
            others: More attributes.

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
            values=ValueOptions(**self.values),
            **others,
        )


def infer_feed(
    sample: Path, *others: Path, name: str | None = None, format_name: str = ""
) -> Proposal:
    """Propose a feed from sample files.

    Args:
        sample: A file.
        others: More files of the same feed, in the same folder.
        name: The feed's name; by default the file name without its date, or the folder's name.
        format_name: The format; by default the one that the ending of the name suggests.

    Returns:
        The proposal, with which the samples were loaded into a temporary database.

    Raises:
        FeedDefinitionError: There is no such format.
        LandedFileError: A file cannot be read as that format.
    """
    samples = list(dict.fromkeys(one.resolve() for one in (sample, *others)))
    for one in samples:
        if not one.is_file() or not one.stat().st_size:
            raise cannot_be_inferred(one, "it is no file, or empty")
        if one.parent != samples[0].parent:
            reason = f"{one.name} is in another folder than {samples[0].name}"
            raise LandedFileError(f"the files of a feed are in one folder, and {reason}")
        _refuse_other_kinds(one)
    names = propose_names(samples, name)
    format_name = format_name or guess_format(names.ending)
    proposal = Proposal(
        names.name, names.pattern, format_name, start=names.start, doubts=names.doubts
    )
    current = samples[0]
    try:
        with open_trial(samples[0].parent) as opened:
            found = []
            for current in samples:
                found.append(find_format(format_name).propose(opened.duck, current))
                found[-1].type = found[-1].type or format_name
            merged = merge_proposals(found)
            proposal.take(merged)
            if merged.are_texts:
                _propose_values(opened, samples, proposal, merged)
        _keep_to_known_types(proposal)
        proposal.verdict = _load_until_it_fits(samples, proposal)
    except duckdb.Error as error:
        reason = " ".join(str(error).splitlines()[0].split())
        raise cannot_be_inferred(current, reason) from error
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
    elif start.startswith(b"PK\x03\x04") and suffix_of(sample.name) != ".zip":
        kind = "a zip archive: unpack it"
        with suppress(BadZipFile), ZipFile(sample) as archive:
            if any(name.startswith("xl/") for name in archive.namelist()):
                kind = "an Excel workbook: its name must end in .xlsx"
    if kind:
        raise cannot_be_inferred(sample, f"it is {kind}")


def _propose_values(
    opened: OpenWarehouse, samples: Sequence[Path], proposal: Proposal, found: FormatProposal
) -> None:
    """Find types and value options from all texts of all samples, read as texts."""
    try:
        feed = proposal.to_feed(
            samples[0].parent.name,
            bad_rows=BadRows.QUARANTINE,
            max_rejected_rows=_ANY_NUMBER,
            max_rejected_percent=100.0,
        )
        with log_no_loads():
            outcomes, _ = _load(opened, feed, samples)
    except PartitionedEtlError:
        return  # the verdict says so
    if not any(outcome.is_loaded for outcome in outcomes):
        return
    columns = [ColumnTexts(name) for name in proposal.columns]
    for column in columns:
        _see_texts(opened.duck, feed, column)
    values = propose_values(columns, getattr(feed.format, "delimiter", ""))
    proposal.columns |= values.types
    proposal.values = values.shared
    for name, own in values.options.items():
        proposal.attributes[name] = {**proposal.attributes.get(name, {}), **own}
    for name, doubt in values.doubts.items():
        proposal.add_doubt(f"columns.{name}", doubt)
    if found.footer and len(samples) == 1:
        _propose_totals(opened.duck, feed, proposal, found.footer)


def _see_texts(duck: duckdb.DuckDBPyConnection, feed: Feed, column: ColumnTexts) -> None:
    name, table = quote_identifier(column.name), quote_identifier(feed.table)
    texts = duck.execute(f"SELECT DISTINCT {name} FROM {table} WHERE {name} <> ''")
    while column.is_open and (fetched := texts.fetchmany(_FETCHED)):
        column.see(text for (text,) in fetched)


def _propose_totals(
    duck: duckdb.DuckDBPyConnection, feed: Feed, proposal: Proposal, footer: Sequence[str]
) -> None:
    """Let a footer name control totals that are right in the sample."""
    trial = proposal.to_feed(feed.folder)
    totals: dict[int, str] = {}
    for place, (name, type_name) in enumerate(proposal.columns.items()):
        if place >= len(footer) or (type_name not in ("BIGINT", "DOUBLE") and "(" not in type_name):
            continue
        options = trial.column_values[name]
        texts = duck.execute(f"SELECT {quote_identifier(name)} FROM {quote_identifier(feed.table)}")
        numbers = [_to_number(text, options) for (text,) in texts.fetchall() if text]
        total = _to_number(footer[place], options)
        if total is None or not name.isidentifier() or len(numbers) < 2:
            continue
        if sum(number for number in numbers if number is not None) == total:
            totals[place] = name
            if type_name == "DOUBLE":
                scales = [
                    -int(number.as_tuple().exponent)
                    for number in (*numbers, total)
                    if number is not None
                ]
                proposal.columns[name] = f"DECIMAL(18, {max(2, *scales)})"
    if totals:
        delimiter = getattr(trial.format, "delimiter", ",")
        proposal.options["footer"] = write_footer(footer, delimiter, totals)
        proposal.doubts["format.footer"] = (
            f"a footer with the total of {' and '.join(totals.values())}, which is right here"
        )


def _to_number(text: str, options: ValueOptions) -> Decimal | None:
    for sign in options.strip:
        text = text.replace(sign, "")
    text = text.strip()
    if options.trailing_minus and text.endswith("-"):
        text = f"-{text[:-1]}"
    if options.thousands:
        text = text.replace(options.thousands, "")
    try:
        return Decimal(text.replace(options.decimal, "."))
    except InvalidOperation:
        return None


def _keep_to_known_types(proposal: Proposal) -> None:
    """Turn unsupported column types into texts, and note which numbers are inexact."""
    for name, type_name in proposal.columns.items():
        about, own = f"columns.{name}", proposal.attributes.get(name, {})
        place = {key: own[key] for key in ("start", "length") if key in own}
        try:
            Feed(
                name="trial",
                pattern="{key}",
                columns={"value": Column(type=type_name, **place)},
                format=parse_format(proposal.format),
            )
        except FeedDefinitionError:
            proposal.doubts[about] = f"{_shorten(type_name)}, of which no column can be"
            proposal.columns[name] = "VARCHAR"
        else:
            if type_name == "DOUBLE":
                proposal.doubts.setdefault(about, "inexact; DECIMAL(18, 2) for money")


def _is_of_other_types(option: str) -> bool:
    """Return whether something that a column declares is a value option that no text has."""
    return option in ValueOptions.model_fields and not concerns(option, "VARCHAR")


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _load_until_it_fits(samples: Sequence[Path], proposal: Proposal) -> str:
    """Load the samples with the proposal, and return what happened to them.

    A column whose type does not take all values of the samples becomes a text.
    """
    while True:
        verdict, problems = _load_on_trial(samples, proposal)
        refusing = [
            problem
            for problem in problems
            if proposal.columns.get(problem.column, "VARCHAR") != "VARCHAR"
        ]
        if not refusing:
            return verdict
        for problem in reversed(refusing):
            proposal.make_text(problem.column, f"{problem.where} is {problem.reason}")


def _load_on_trial(samples: Sequence[Path], proposal: Proposal) -> tuple[str, Sequence[Problem]]:
    """Load samples with the proposal; return what happened to them, and what is wrong with them."""
    try:
        feed = proposal.to_feed(samples[0].parent.name)
        with open_trial(samples[0].parent) as opened:
            outcomes, reasons = _load(opened, feed, samples)
    except PartitionedEtlError as error:
        return f"{_count(samples)} would not be loaded: {error}", ()
    loaded = [outcome for outcome in outcomes if outcome.is_loaded]
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    reasons += [outcome.reason for outcome in outcomes if not outcome.is_loaded]
    rows = sum(outcome.row_count for outcome in loaded)
    if len(samples) == 1:
        if loaded:
            return f"the sample loads by it: {rows:,} rows", ()
        word = "refused" if outcomes else "passed over"
        return f"the sample would be {word}: {''.join(reasons)}", problems
    counts = ", ".join(f"{outcome.file.name} {outcome.row_count:,}" for outcome in loaded)
    if not reasons:
        return f"all {len(samples)} samples load by it: {rows:,} rows ({counts})", ()
    said = f"{len(loaded)} of {len(samples)} samples load by it: {rows:,} rows"
    return f"{said}; not loaded: {'; '.join(reasons)}", problems


def _count(samples: Sequence[Path]) -> str:
    return "the sample" if len(samples) == 1 else "the samples"


def _load(
    opened: OpenWarehouse, feed: Feed, samples: Sequence[Path]
) -> tuple[list[Outcome], list[str]]:
    """Load samples; return what happened to each, and why others would be passed over."""
    landing = connect_landing(samples[0].parent.parent, settle_seconds=0)
    names = {sample.name for sample in samples}
    listing = landing.list_files(feed)
    files = [file for file in listing.files.values() if file.name in names]
    passed_over = [*listing.refused, *listing.ignored]
    reasons = [f"{one.name}: {one.reason}" for one in passed_over if one.name in names]
    return list(load_files(opened.table(feed), landing, files)), reasons
