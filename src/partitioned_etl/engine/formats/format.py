"""Format: what every kind of file must be able to do, and what it says of a file.

A format is declared in a feed and never sniffed. It surveys a file's bytes, gives DuckDB a relation
of its rows or, where that is not exact, its rows one by one, and proposes itself for a sample. Each
format is a module here; `registry.py` lists them.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from enum import Flag, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeAlias, get_args

import duckdb
from pydantic import BaseModel, ValidationError

from partitioned_etl.engine.errors import ContractError, FeedDefinitionError, suggest
from partitioned_etl.engine.landing.landing import LandedFile, changed_while_read, hash_content
from partitioned_etl.engine.sql import Query, internal_identifier

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from partitioned_etl.engine.contract import Contract

CONTRACT = "contract"
"""Reported as the broken rule if a refusal has another cause: header, width, encoding, types."""
ROW_COUNT = "row_count"
"""What a footer may tell beside the sums of columns."""
MAX_PROBLEMS = 10
"""The most problems to look for in one file; a sender rarely reads more."""
MAX_RECORD_CHARS = 500_000
"""Longest record, in characters of up to 4 bytes; DuckDB stops at 2,000,000 bytes per line."""

LINE = internal_identifier("line in the file")
"""Column for the line, or the number, of a row that is read one by one."""
TEXT = internal_identifier("text of the row")
"""Column for the text of such a row, if DuckDB itself has read it."""

_KINDS_OF_COLUMN = ("str", "Column")

Watch: TypeAlias = Callable[[Callable[[], float]], AbstractContextManager[None]]
"""Reports progress while something is read: takes a function that returns the bytes read so far."""


def unwatched(read_bytes: Callable[[], float]) -> AbstractContextManager[None]:  # noqa: ARG001
    """Report no progress."""
    return nullcontext()


@dataclass(frozen=True)
class Problem:
    """One way in which a file does not match its contract.

    Attributes:
        line: Line in the file, starting at 1; 0 for the whole file.
        column: The column's name; empty for the whole line.
        reason: What is wrong, without the cell's contents.
        rule: Name of the broken row rule, if it is one.
        is_of_file: Whether it invalidates the whole file and not only its row.
        place: What `line` counts, if the file has no lines.
        cell: The letters of the cell's column, if it is in a cell; `place` then ends in `row`.
    """

    line: int
    column: str
    reason: str
    rule: str = ""
    is_of_file: bool = field(default=False, compare=False)
    place: str = "line"
    cell: str = ""

    @property
    def where(self) -> str:
        """Where it is: `line 3`, or `sheet Prices, cell C3`."""
        if self.cell:
            return f"{self.place.removesuffix('row')}cell {self.cell}{self.line}"
        return f"{self.place} {self.line}"

    @property
    def what(self) -> str:
        """Column and reason, for use where the line is known."""
        return f"column {self.column}: {self.full_reason}" if self.column else self.full_reason

    @property
    def full_reason(self) -> str:
        """The reason, with the rule's name if there is one."""
        return f"{self.reason} ({self.rule})" if self.rule else self.reason

    def __str__(self) -> str:
        """Return the problem as part of a sentence: line, column, reason."""
        if not self.line:
            return self.what
        return f"{self.where}{', ' if self.column else ': '}{self.what}"


def problem_of_file(reason: str, line: int = 0) -> Problem:
    """Return a problem that invalidates the whole file."""
    return Problem(line, "", reason, is_of_file=True)


def describe_problems(file_name: str, problems: Sequence[Problem]) -> str:
    """Return one readable sentence for a refused file: the first problem of each rule, then others.

    Args:
        file_name: The file's name, without folder.
        problems: What is wrong with it, at least one.
    """
    firsts = {problem.rule: problem for problem in reversed(problems)}
    shown = sorted(firsts.values(), key=problems.index)
    shown += [problem for problem in problems if problem not in shown][: max(0, 3 - len(shown))]
    more = f"; and at least {len(problems) - len(shown)} more" if shown != [*problems] else ""
    return f"{file_name}: " + "; ".join(str(problem) for problem in shown) + more


def list_broken_rules(problems: Sequence[Problem]) -> list[str]:
    """Return the names of the row rules that were broken, and `contract` for all other problems."""
    return sorted({problem.rule or CONTRACT for problem in problems})


class Loose(Flag):
    """What a text holds that DuckDB converts more leniently than a contract allows."""

    NOTHING = 0
    TEXT = auto()
    """Quotes, underscores, or white space other than line ends."""
    NUMBER = auto()
    """Two signs or, as in a number that becomes 0, a large negative exponent or many zeros."""
    ANYTHING = TEXT | NUMBER


@dataclass
class Survey:
    """What one pass over a file's bytes finds.

    Attributes:
        content_hash: sha256 of the bytes, hexadecimal.
        row_count: Records in the file, without the header.
        header: The column names in the file.
        loose: What the text holds, except in its header, that needs guards when it is converted.
        problems: Why it does not match its contract; empty if the text is sound.
        staged: What DuckDB reads in place of the file; None if it reads the file itself.
        totals: What the file's footer says of its rows: a text per column, and for `ROW_COUNT`.
        stored_types: The types of the columns in the file, if it declares any.
        is_read_at_once: Whether DuckDB reads the whole file in one statement, and exactly.
    """

    content_hash: str = ""
    row_count: int = 0
    header: list[str] = field(default_factory=list)
    loose: Loose = Loose.NOTHING
    problems: list[Problem] = field(default_factory=list)
    staged: Path | None = None
    totals: Mapping[str, str] = field(default_factory=dict)
    stored_types: tuple[str, ...] = ()
    is_read_at_once: bool = True


@dataclass(frozen=True)
class Source:
    """What DuckDB reads for a landed file.

    Attributes:
        file: The landed file.
        staged: The copy that is read in its place; None if it is read itself.
    """

    file: LandedFile
    staged: Path | None = None

    @property
    def path(self) -> Path:
        """What is read."""
        return self.staged or self.file.path


@dataclass(frozen=True)
class Record:
    """One record of a file, or one row if the file has no lines.

    Attributes:
        line: The line on which it starts, or the row number.
        text: Its text, with the line end.
        problem: What is wrong with its form, if anything.
    """

    line: int
    text: str
    problem: Problem | None

    @property
    def line_text(self) -> str:
        """The record's text without its line end."""
        return self.text.removesuffix("\n").removesuffix("\r")

    def fields(self) -> Sequence[str | None]:
        """Return the values of a valid record as texts, in the order of the file's header."""
        raise NotImplementedError


@dataclass(frozen=True)
class TextsRecord(Record):
    """A record that is already cut.

    Attributes:
        texts: The values of a valid record, in the order of the file's header.
    """

    texts: Sequence[str | None] = ()

    def fields(self) -> Sequence[str | None]:
        """Return the values of a valid record; None for no value."""
        return self.texts


@dataclass(frozen=True)
class RowBatch:
    """Some rows of a file, each with its line.

    Attributes:
        row_count: How many there are.
        malformed: Those with a problem of form.
        well_formed: The others, by line; empty where DuckDB itself has read the rows.
        rows: A relation of the others with the feed's columns, `LINE` and, where DuckDB has read
            them, `TEXT`; None if there are none.
        place: What the lines count.
        cells: The letters of each column in a sheet, if the rows are of one.
    """

    row_count: int
    malformed: Sequence[Record] = ()
    well_formed: Mapping[int, Record] = field(default_factory=dict)
    rows: Query | None = None
    place: str = "line"
    cells: Mapping[str, str] = field(default_factory=dict)


class Format(BaseModel, ABC, frozen=True, extra="forbid"):
    """How one kind of file is read. Its fields are its options, as a feed declares them.

    Attributes:
        type: Its name in a feed.
    """

    kind: ClassVar[str]
    """What it is called on an asset in the web UI."""
    endings: ClassVar[tuple[str, ...]]
    """Endings of file names that suggest it."""
    may_be_compressed: ClassVar[bool] = True
    """Whether a file may be compressed as a whole, as in `.csv.gz`."""
    has_texts: ClassVar[bool] = True
    """Whether its values are texts, which are validated before they are converted."""
    takes_places: ClassVar[bool] = False
    """Whether each of its columns has a place in a line."""
    takes_json: ClassVar[bool] = False
    """Whether a column may be of type JSON."""
    is_read_at_once: ClassVar[bool] = True
    """Whether DuckDB reads whole files in one statement."""

    no_options: ClassVar[frozenset[str]] = frozenset()
    """Options of formats like it that it refuses."""

    type: str = ""

    def apply_steps(self, steps: tuple[str, ...], column: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return the steps that a column's text goes through, where only some of them do.

        Args:
            steps: SQL, step by step, by which its value options change a text.
            column: Its quoted name, by which each step refers to what the one before it gives.
        """
        return steps

    def check_contract(self, contract: "Contract") -> None:
        """Refuse a contract that the format cannot read files by; here, none.

        Raises:
            FeedDefinitionError: It cannot.
        """

    def survey(
        self,
        contract: "Contract",
        file: LandedFile,
        watch: Watch = unwatched,
        scratch: Path | None = None,
    ) -> Survey:
        """Read a file, and validate whatever can be told without its values.

        Args:
            contract: The contract.
            file: The landed file.
            watch: Reports progress.
            scratch: A folder for what DuckDB is to read in place of the file; None if nothing is to
                be loaded.

        Returns:
            The survey; it lists the problems of a file that breaks the contract.

        Raises:
            LandedFileError: The file is gone, or changed since it was listed.
        """
        survey = Survey(is_read_at_once=self.is_read_at_once)
        with file.open() as handle:
            try:
                self.survey_content(contract, file, handle, survey, watch, scratch)
            except ContractError as error:
                survey.problems.append(problem_of_file(str(error)))
        survey.content_hash = survey.content_hash or hash_content(file)
        if survey.problems:
            survey.staged = None
            if file.has_changed:
                raise changed_while_read(file)
        return survey

    @abstractmethod
    def survey_content(
        self,
        contract: "Contract",
        file: LandedFile,
        handle: BinaryIO,
        survey: Survey,
        watch: Watch,
        scratch: Path | None,
    ) -> None:
        """Read an opened file, and add what is found to a survey.

        Args:
            contract: The contract.
            file: The landed file.
            handle: It, opened.
            survey: The survey. Without a content hash, that is computed afterwards.
            watch: Reports progress.
            scratch: As in `survey`.

        Raises:
            ContractError: The file as a whole breaks the contract.
            LandedFileError: It changed since it was listed.
        """

    def survey_start(self, contract: "Contract", file: LandedFile) -> Survey | None:  # noqa: ARG002
        """Validate only the start of a large file, whose rest is surveyed while DuckDB reads it.

        Returns:
            A survey without hash and row count; None if the file must be surveyed as a whole first.
        """
        return None

    def reader_sql(
        self,
        header: Sequence[str],
        types: Mapping[str, str],
        path_column: str,
        *,
        is_staged: bool,
    ) -> str:
        """Return a relation of all rows of files that DuckDB reads at once; it binds their paths.

        A format whose `is_read_at_once` is false needs none.

        Args:
            header: The feed's columns in the order of the files.
            types: The type to read a column as, if not as text.
            path_column: Name of the column for the path of a row's file.
            is_staged: Whether the files are those that surveys have written in place of others.
        """
        raise NotImplementedError(f"{self.type} files are read row by row")

    def fields_sql(self, contract: "Contract", rows: str) -> str:  # noqa: ARG002
        """Return a relation of the feed's columns, from that which `reader_sql` gives.

        Args:
            contract: The contract.
            rows: That relation; its other columns are passed on.
        """
        return rows

    @abstractmethod
    def read_rows(
        self,
        contract: "Contract",
        file: LandedFile,
        header: Sequence[str],
        duck: duckdb.DuckDBPyConnection,
        watch: Watch = unwatched,
    ) -> Iterator[RowBatch]:
        """Read a file row by row, each with its line.

        Args:
            contract: The contract.
            file: The landed file.
            header: The feed's columns in the order of the file.
            duck: A connection that reads files.
            watch: Reports progress.

        Raises:
            LandedFileError: The file is gone, or changed since it was listed.
            duckdb.Error: DuckDB cannot read it.
        """

    @classmethod
    @abstractmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> "FormatProposal":
        """Propose the format's options and columns for a sample.

        Args:
            duck: A connection that reads the sample.
            sample: The file.

        Raises:
            duckdb.Error: DuckDB cannot read it.
        """


@dataclass
class FormatProposal:
    """What a format proposes for a sample.

    Attributes:
        type: The name of the format, if it is another one than was asked.
        options: Its options, without those at their default.
        columns: Maps column name to DuckDB type, in file order.
        attributes: What else a column is declared with, such as `from`, by its name.
        doubts: What was guessed and needs checking, per attribute, such as `format.header`.
        are_texts: Whether types and value options are still to be found, from the columns' texts.
        footer: The fields of a footer that has as many as a row; empty if there is none.
    """

    type: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    are_texts: bool = False
    footer: Sequence[str] = ()


def wrong_option(option: str, reason: str) -> FeedDefinitionError:
    """Return the error for an option of a format that cannot be as it is declared."""
    return FeedDefinitionError(reason, attribute=f"format.{option}")


def hint_at_quotes(value: str) -> str:
    r"""Return what to say of a text that is `\t`, or the like, where one character is needed."""
    is_escape = re.fullmatch(r"\\([tnr]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})", value)
    return f'; YAML takes it for a character in double quotes: "{value}"' if is_escape else ""


def explain_first(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Return the path of the first attribute that a declaration has wrong, and the reason.

    A misspelled attribute is named before the one that it was meant to be.

    Args:
        error: What pydantic has found.
        model: What is declared.
    """
    mistakes = error.errors()
    # A mapping was not meant to be a text, where it may be either.
    mistakes = [one for one in mistakes if not _is_other_kind(one)] or mistakes
    unknown = [mistake for mistake in mistakes if mistake["type"] == "extra_forbidden"]
    wrong = [*unknown, *mistakes][0]
    # Within an attribute's value, pydantic also names which kind of value it tried.
    parts = [
        str(part)
        for depth, part in enumerate(wrong["loc"])
        if depth < 2 or part not in _KINDS_OF_COLUMN
    ]
    if parts[-1] == "[key]":
        parts = parts[:-2]
    path = ".".join(parts)
    match wrong["type"]:
        case "missing":
            return path, "is needed"
        case "extra_forbidden":
            *place, name = wrong["loc"]
            meant = suggest(str(name), _list_attributes(model, place))
            return path, f"there is no such attribute{meant}"
        case "string_type" | "tuple_type" if isinstance(wrong["input"], bool):
            reason = "YAML takes no, yes, on and off for true or false, and never for a text"
            return path, f"{reason}: put it in quotes"
        case "string_type" | "tuple_type" if wrong["input"] is None and path.endswith(")"):
            return path, 'a type with a comma needs quotes, such as "DECIMAL(10, 2)"'
        case "string_type" | "tuple_type" if wrong["input"] is None:
            return path, "YAML takes NULL, null and ~ for no value: put it in quotes"
        case "string_type" | "tuple_type" if isinstance(wrong["input"], int | float | date):
            return path, f"YAML takes {wrong['input']} for no text: put it in quotes"
        case "value_error":
            return path, f"{wrong.get('ctx', {}).get('error')}, not {wrong['input']!r}"
        case _:
            return path, f"{wrong['msg']}, not {wrong['input']!r}"


def _list_attributes(model: type[BaseModel], place: Iterable[int | str]) -> list[str]:
    """Return the attributes that there are at a place in a declaration, as they are declared."""
    models = [model]
    for part in place:
        fields = [one.model_fields[part] for one in models if part in one.model_fields]
        # Names of columns, and places in a list, lead to the same models.
        models = [inner for one in fields for inner in _find_models(one.annotation)] or models
    fields_of_all = (item for one in models for item in one.model_fields.items())
    return [field.alias or name for name, field in fields_of_all]


def _find_models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a value of a type is, or has in it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _find_models(part)]


def _is_other_kind(mistake: "ErrorDetails") -> bool:
    is_union = len(mistake["loc"]) > 2 and mistake["loc"][-1] == "str"
    return is_union and isinstance(mistake["input"], Mapping)
