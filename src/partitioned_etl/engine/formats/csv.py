"""CSV and TSV: delimited text, strictly by RFC 4180 in one dialect.

A file without quotes is surveyed by counting: the numbers of delimiters and line ends must match
the contract's width, and DuckDB's own reader, which refuses short rows, must then return exactly
the counted rows. A file with quotes, or one that does not add up, is read record by record, by
`csv_records.py`.
"""

import codecs
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import duckdb
from pydantic import Field, model_validator

from partitioned_etl.engine.errors import ContractError, FeedDefinitionError, LandedFileError
from partitioned_etl.engine.formats.compression import is_compressed, open_text
from partitioned_etl.engine.formats.csv_records import CsvRecord, read_csv_records
from partitioned_etl.engine.formats.format import (
    FormatProposal,
    Survey,
    compare_names,
    problem_of_file,
)
from partitioned_etl.engine.formats.text import C1_CONTROL, TextCounts, TextFormat
from partitioned_etl.engine.landing.landing import CHUNK_BYTES, LandedFile, Readable
from partitioned_etl.engine.sql import quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_ENCODINGS = {"utf-8": "utf-8", "iso8859-1": "latin-1", "utf-16": "utf-16"}
"""The encodings that DuckDB reads, by their names in Python's codec registry and in DuckDB."""
_HEAD_BYTES = 1 << 20
_DELIMITERS = ",;\t|"
_YEAR_FIRST = re.compile(r"%Y([-/])%m\1%d([ T]%H:%M(:%S(\.%f)?)?)?")


class CsvFormat(TextFormat, frozen=True):
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
    encoding: Annotated[
        str,
        Field(
            description="Text encoding: `utf-8`, with or without byte order mark, `utf-16` or "
            "`latin-1`."
        ),
    ] = "utf-8"
    encoding_is_certain: Annotated[
        bool,
        Field(
            description="Whether a `latin-1` text is taken as it is although it looks like another "
            "encoding: with bytes 0x80 to 0x9F, which are letters in Windows-1252 alone, or with "
            "no bytes that UTF-8 could not have."
        ),
    ] = False
    header: Annotated[
        bool,
        Field(
            description="Whether the first line names the columns, which are then compared with "
            "the feed's."
        ),
    ] = True
    any_column_order: Annotated[
        bool,
        Field(
            description="Whether the header may name the columns in another order than the feed; "
            "values then go to columns by name."
        ),
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
                raise _wrong(name, f"CSV {name} must be one ASCII character: {value!r}")
        if self.delimiter in (self.quote, self.escape_character):
            raise _wrong("delimiter", "CSV delimiter must differ from quote and escape")
        if self.any_column_order and not self.header:
            reason = "any_column_order needs a header, which names the columns"
            raise _wrong("any_column_order", reason)
        if self.text_encoding not in _ENCODINGS:
            reason = f"CSV encoding {self.encoding!r} is not one of utf-8, utf-16, latin-1"
            raise _wrong("encoding", reason)
        return self

    @property
    def text_encoding(self) -> str:
        """The encoding, by its canonical name in Python's codec registry."""
        try:
            return codecs.lookup(self.encoding).name
        except LookupError:
            return self.encoding

    @property
    def is_encoding_certain(self) -> bool:
        """Whether it is another than Latin-1, in which any bytes are sound, or is said to be."""
        return self.encoding_is_certain or self.text_encoding != "iso8859-1"

    @property
    def escape_character(self) -> str:
        """The character that makes a quote inside a quoted field literal."""
        return self.escape or self.quote

    @property
    def header_lines(self) -> int:
        """One if the first line names the columns."""
        return int(self.header)

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """Delimiter and quote."""
        return self.delimiter.encode(), self.quote.encode()

    def survey_start(self, contract: "Contract", file: LandedFile) -> Survey | None:
        """Validate only the first bytes and the header."""
        if is_compressed(file):
            return None
        survey = Survey()
        with file.open() as handle:
            try:
                text = open_text(file, handle, max_bytes=contract.max_uncompressed_bytes)
                self.survey_header(contract, text, survey)
                text.seek(0)
                start = text.read(CHUNK_BYTES)
                survey.loose = self.find_loose(contract, start, in_header=self.header)
            except (ContractError, UnicodeError, StopIteration):
                return None
        return None if survey.problems else survey

    def survey_header(self, contract: "Contract", text: Readable, survey: Survey) -> None:
        """Compare the first line with the contract's columns."""
        expected = list(contract.columns)
        if not self.header:
            survey.header = expected
            return
        record = next(read_csv_records(self, text, width=None))
        if record.problem:
            survey.problems.append(replace(record.problem, is_of_file=True))
            return
        survey.header = given = [name or "" for name in record.fields()]
        reasons = compare_names(expected, given, any_order=self.any_column_order)
        survey.problems += [problem_of_file(f"header: {reason}", 1) for reason in reasons]

    def survey_records(
        self, contract: "Contract", text: Readable, counts: TextCounts, survey: Survey
    ) -> None:
        """Count the records: by the counts if they prove the width, or one by one."""
        if _fit(counts, len(contract.columns)):
            survey.row_count = counts.newlines - self.header_lines
        else:
            super().survey_records(contract, text, counts, survey)

    def read_records(self, contract: "Contract", text: Readable) -> Iterator[CsvRecord]:
        """Read a text record by record, strictly by RFC 4180 in its dialect."""
        records = read_csv_records(self, text, width=len(contract.columns))
        return islice(records, self.header_lines, None)

    def reader_sql(
        self, header: Sequence[str], types: Mapping[str, str], compression: str, path_column: str
    ) -> str:
        """Return DuckDB's `read_csv` in this dialect, as strict as it can be."""
        columns = ", ".join(
            f"{quote_text(name)}: {quote_text(types.get(name, 'VARCHAR'))}" for name in header
        )
        return (
            f"read_csv(?, auto_detect = false, strict_mode = true, columns = {{{columns}}}, "
            f"header = {str(self.header).lower()}, delim = {quote_text(self.delimiter)}, "
            f"quote = {quote_text(self.quote)}, escape = {quote_text(self.escape_character)}, "
            f"encoding = {quote_text(_ENCODINGS[self.text_encoding])}, "
            "nullstr = '', allow_quoted_nulls = false, "
            f"compression = {quote_text(compression)}, "
            f"hive_partitioning = false, filename = {quote_text(path_column)})"
        )

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:
        """Propose a dialect and columns, by DuckDB's sniffer."""
        encoding = _detect_encoding(sample)
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
        if encoding == "latin-1":
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


def _sniff(
    duck: duckdb.DuckDBPyConnection, sample: Path, encoding: str, delimiter: str = ""
) -> dict[str, Any]:
    """Return what DuckDB finds in all lines of a sample, or in those that a delimiter fits."""
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


def _wrong(option: str, reason: str) -> FeedDefinitionError:
    return FeedDefinitionError(reason, attribute=f"format.{option}")


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
    """Return the encoding of the first bytes: UTF-8, UTF-16 or Latin-1."""
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
        if C1_CONTROL.search(whole):
            raise LandedFileError(
                f"{sample.name}: nothing can be inferred: its bytes are neither UTF-8 nor Latin-1; "
                "they may be Windows-1252, which no feed can declare: save it in UTF-8"
            ) from None
        return "latin-1"
    return "utf-8"
