"""CSV and TSV: delimited text, strictly by RFC 4180 in one dialect.

A file without quotes is surveyed by counting: the numbers of delimiters and line ends must match
the contract's width, and DuckDB's own reader, which refuses short rows, must then return exactly
the counted rows. A file with quotes, or one that does not add up, is read record by record, by
`csv_records.py`.
"""

import glob
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import duckdb
from pydantic import Field, model_validator

from partitioned_etl.engine.errors import ContractError, LandedFileError
from partitioned_etl.engine.formats.csv_header import find_header
from partitioned_etl.engine.formats.csv_records import CsvRecord, read_csv_records
from partitioned_etl.engine.formats.encodings import (
    C1_CONTROL,
    EncodingError,
    find_encoding,
    to_utf_8,
)
from partitioned_etl.engine.formats.format import FormatProposal, Record, Survey
from partitioned_etl.engine.formats.lines import LineRules, RowLines
from partitioned_etl.engine.formats.names import ExtraColumns, NamedColumns
from partitioned_etl.engine.formats.text import Head, TextCounts, TextFormat, wrong_option
from partitioned_etl.engine.landing.landing import LandedFile, read_chunks
from partitioned_etl.engine.sql import INTERNAL_PREFIX, quote_identifier, quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_BEHIND = INTERNAL_PREFIX + "behind the last delimiter"
_HEAD_BYTES = 1 << 20
_WINDOWS = "windows-1252"
_DELIMITERS = ",;\t|"
_YEAR_FIRST = re.compile(r"%Y([-/])%m\1%d([ T]%H:%M(:%S(\.%f)?)?)?")


class CsvFormat(NamedColumns, TextFormat, frozen=True):
    """Comma-separated values by RFC 4180, in UTF-8, with a header, unless the options say else."""

    kind: ClassVar[str] = "csv"
    endings: ClassVar[tuple[str, ...]] = (".csv", ".txt")

    type: Literal["csv", "tsv"] = "csv"
    delimiter: Annotated[str, Field(description="One character between fields.")] = ","
    quote: Annotated[
        str,
        Field(
            description="One character around a field that holds a delimiter, a quote or a line "
            "end."
        ),
    ] = '"'
    escape: Annotated[
        str,
        Field(
            description="The character that makes a quote inside a quoted field literal; in "
            "RFC 4180, and by default, the quote itself."
        ),
    ] = ""
    header: Annotated[
        bool,
        Field(
            description="Whether the first line names the columns, which are then compared with "
            "the feed's."
        ),
    ] = True
    header_rows: Annotated[
        int,
        Field(
            description="How many rows the header has; a column's name is what they hold for it, "
            "with spaces between.",
            ge=1,
        ),
    ] = 1
    skip_to_header: Annotated[
        bool,
        Field(
            description="Whether any lines stand before the header, at most 1,000: a title, a "
            "preamble, `sep=;`. They are skipped until the header is met."
        ),
    ] = False
    skip_after_header: Annotated[
        int, Field(description="How many lines stand between header and rows.", ge=0)
    ] = 0
    skip_empty_rows: Annotated[
        bool, Field(description="Whether rows of nothing but delimiters are no rows.")
    ] = False
    trailing_delimiter: Annotated[
        bool, Field(description="Whether each row ends with one more delimiter.")
    ] = False

    @model_validator(mode="after")
    def _check_dialect(self) -> "CsvFormat":
        characters = {
            "delimiter": self.delimiter,
            "quote": self.quote,
            "escape": self.escape_character,
        }
        for name, value in characters.items():
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise wrong_option(name, f"CSV {name} must be one ASCII character: {value!r}")
        if self.delimiter in (self.quote, self.escape_character):
            raise wrong_option("delimiter", "CSV delimiter must differ from quote and escape")
        needing_a_header = {
            "any_column_order": self.any_column_order,
            "header_ignores_case": self.header_ignores_case,
            "extra_columns": self.extra_columns is ExtraColumns.IGNORE,
            "header_rows": self.header_rows > 1,
            "skip_to_header": self.skip_to_header,
            "skip_after_header": self.skip_after_header,
        }
        for name, is_set in needing_a_header.items():
            if is_set and not self.header:
                raise wrong_option(name, f"{name} needs a header, which names the columns")
        if self.skip_to_header and self.skip_lines:
            raise wrong_option("skip_lines", "either skip_lines or skip_to_header, not both")
        return self

    @property
    def escape_character(self) -> str:
        """The character that makes a quote inside a quoted field literal."""
        return self.escape or self.quote

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """Delimiter and quote."""
        return self.delimiter.encode(), self.quote.encode()

    @property
    def line_rules(self) -> LineRules:
        """Which lines are no rows."""
        return replace(
            super().line_rules,
            delimiter=self.delimiter.encode() if self.skip_empty_rows else b"",
            escape=self.escape_character.encode(),
        )

    def survey_start(self, contract: "Contract", file: LandedFile) -> Survey | None:
        """Validate only the first bytes and the header of a file that DuckDB reads itself."""
        with file.open() as handle:
            try:
                head = self.try_head(contract, file, handle)
                if head.problems or not self.is_direct(file, handle, head):
                    return None
                text = self.read_text(contract, file, handle)
                start = next(RowLines(self.line_rules, head.lines).keep(text))
            except (ContractError, StopIteration):
                return None
        return Survey(header=list(head.columns), loose=self.find_loose(contract, start))

    def find_head(self, contract: "Contract", text: Iterable[bytes]) -> Head:
        """Find the header, and compare it with the contract's columns."""
        if not self.header:
            return super().find_head(contract, text)
        return find_header(self, contract, text)

    def survey_records(
        self,
        contract: "Contract",
        head: Head,
        counts: TextCounts,
        records: Iterable[Record],
        survey: Survey,
    ) -> None:
        """Count the records: by the counts if they prove the width, or one by one."""
        width = len(head.columns) + self.trailing_delimiter
        is_alike = not counts.newlines or head.line_end in ("", counts.line_end)
        if is_alike and _fit(counts, width):
            survey.row_count = counts.newlines
        else:
            super().survey_records(contract, head, counts, records, survey)

    def read_records(
        self,
        contract: "Contract",  # noqa: ARG002
        head: Head,
        rows: Iterable[bytes],
        line_of: Callable[[int], int],
    ) -> Iterator[CsvRecord]:
        """Cut rows into records, strictly by RFC 4180 in its dialect."""
        return read_csv_records(
            self, rows, width=len(head.columns), line_of=line_of, line_end=head.line_end
        )

    def reader_sql(
        self,
        header: Sequence[str],
        types: Mapping[str, str],
        path_column: str,
        *,
        is_staged: bool,
    ) -> str:
        """Return DuckDB's `read_csv` in this dialect, as strict as it can be."""
        names = [*header, _BEHIND] if self.trailing_delimiter else header
        columns = ", ".join(
            f"{quote_text(name)}: {quote_text(types.get(name, 'VARCHAR'))}" for name in names
        )
        reader = (
            f"read_csv(?, auto_detect = false, strict_mode = true, columns = {{{columns}}}, "
            f"header = {str(self.header and not is_staged).lower()}, "
            f"delim = {quote_text(self.delimiter)}, "
            f"quote = {quote_text(self.quote)}, escape = {quote_text(self.escape_character)}, "
            "encoding = 'utf-8', nullstr = '', allow_quoted_nulls = false, compression = 'none', "
            f"hive_partitioning = false, filename = {quote_text(path_column)})"
        )
        if not self.trailing_delimiter:
            return reader
        behind = quote_identifier(_BEHIND)
        return (
            f"(SELECT * EXCLUDE ({behind}) FROM {reader} WHERE CASE WHEN {behind} IS NULL "
            "THEN true ELSE error('a text behind the last delimiter') END)"
        )

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:
        """Propose a dialect and columns, by DuckDB's sniffer."""
        encoding = _detect_encoding(sample)
        if encoding == _WINDOWS:
            with _decode(sample) as (other, plain):
                return cls._propose(other, plain, encoding)
        return cls._propose(duck, sample, encoding)

    @classmethod
    def _propose(
        cls, duck: duckdb.DuckDBPyConnection, sample: Path, encoding: str
    ) -> FormatProposal:
        found, doubts = _sniff(duck, sample, encoding), {}
        names = [column["name"] for column in found["Columns"]]
        delimiter = found["Delimiter"] if found["SkipRows"] else ""
        if delimiter or (len(names) == 1 and (delimiter := _find_delimiter(names[0]))):
            found = _sniff(duck, sample, encoding, delimiter)
            doubts["format.delimiter"] = "by the first line; not all lines have as many fields"
        delimiter, quote, escape = (found[name] for name in ("Delimiter", "Quote", "Escape"))
        escape = "" if escape == quote else escape
        sniffed = {"delimiter": delimiter, "quote": quote, "escape": escape, "encoding": encoding}
        type_name = "tsv" if delimiter == "\t" else ""
        fields = (TsvFormat if type_name else cls).model_fields
        proposal = FormatProposal(
            type_name,
            {
                option: value
                for option, value in sniffed.items()
                if value not in (None, "", "(empty)", fields[option].default)
            },
            doubts=doubts,
        )
        if not found["HasHeader"]:
            proposal.options["header"] = False
            proposal.doubts["format.header"] = "the first line looks like data; name the columns"
        if encoding in ("latin-1", _WINDOWS):
            doubt = "it is not UTF-8; which else, nothing in the file says"
            proposal.doubts["format.encoding"] = doubt
        formats = {"DATE": found["DateFormat"], "TIMESTAMP": found["TimestampFormat"]}
        for column in found["Columns"]:
            name, type_name = column["name"], column["type"]
            written = formats.get(type_name)
            if written and not _YEAR_FIRST.fullmatch(written):
                doubt = f"{type_name} as {written}, which is not year first"
                proposal.doubts[f"columns.{name}"] = doubt
                type_name = "VARCHAR"
            proposal.columns[name] = type_name
        return proposal


class TsvFormat(CsvFormat, frozen=True):
    """Tab-separated values; a field with a tab, a quote or a line end in it is quoted as in CSV."""

    endings: ClassVar[tuple[str, ...]] = (".tsv",)

    type: Literal["csv", "tsv"] = "tsv"
    delimiter: str = "\t"


@contextmanager
def _decode(sample: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Give a copy of a sample in UTF-8, with a connection that reads it.

    Raises:
        LandedFileError: It is not in the encoding that it looks like.
    """
    with TemporaryDirectory() as folder, duckdb.connect() as duck:
        plain = Path(folder) / sample.name
        try:
            with sample.open("rb") as file, plain.open("wb") as copy:
                copy.writelines(to_utf_8(read_chunks(file), find_encoding(_WINDOWS)))
        except EncodingError:
            reason = "nothing can be inferred: its bytes are not UTF-8, Latin-1 or Windows-1252"
            raise LandedFileError(f"{sample.name}: {reason}") from None
        yield duck, plain


def _sniff(
    duck: duckdb.DuckDBPyConnection, sample: Path, encoding: str, delimiter: str = ""
) -> dict[str, Any]:
    """Return what DuckDB finds in all lines of a sample, or in those that a delimiter fits."""
    encoding = "utf-8" if encoding == _WINDOWS else encoding
    given = f"delim = {quote_text(delimiter)}, skip = 0, ignore_errors = true, "
    found = duck.execute(
        f"SELECT * FROM sniff_csv(?, {given if delimiter else ''}encoding = ?, sample_size = -1)",
        [glob.escape(str(sample)), encoding],
    )
    names = [name for name, *_ in found.description or ()]
    return dict(zip(names, found.fetchall()[0], strict=True))


def _find_delimiter(line: str) -> str:
    """Return the delimiter that stands most often in a line; empty if none does."""
    most = max(_DELIMITERS, key=line.count)
    return most if most in line else ""


def _fit(counts: TextCounts, width: int) -> bool:
    """Return whether counts fit a file without quotes whose rows all have a width.

    In a file of one column even an empty line has the right width, so counts prove nothing.
    """
    return (
        width > 1
        and counts.quotes == 0
        and not counts.has_long_line
        and counts.delimiters == counts.newlines * (width - 1)
        and (counts.returns == 0 or counts.returns == counts.return_newlines == counts.newlines)
    )


def _detect_encoding(sample: Path) -> str:
    """Return the encoding of the first bytes: UTF-8, UTF-16, Latin-1 or Windows-1252."""
    if sample.suffix in (".gz", ".zst"):
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
        return _WINDOWS if C1_CONTROL.search(whole) else "latin-1"
    return "utf-8"
