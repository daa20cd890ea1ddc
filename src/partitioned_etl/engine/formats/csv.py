"""CSV and TSV: delimited text, strictly by RFC 4180 in one dialect.

A file without quotes is surveyed by counting: the numbers of delimiters and line ends must match
the contract's width, and DuckDB's own reader, which refuses short rows, must then return exactly
the counted rows. A file with quotes, or one that does not add up, is read record by record, by
`csv_records.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import duckdb
from pydantic import Field, model_validator

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.csv_header import find_header, list_present
from partitioned_etl.engine.formats.csv_records import CsvRecord, read_csv_records
from partitioned_etl.engine.formats.format import (
    FormatProposal,
    Record,
    Survey,
    hint_at_quotes,
    wrong_option,
)
from partitioned_etl.engine.formats.lines import LineRules, RowLines
from partitioned_etl.engine.formats.names import NamedColumns
from partitioned_etl.engine.formats.rows import read_csv_sql
from partitioned_etl.engine.formats.text import Head, TextFormat
from partitioned_etl.engine.formats.text_counts import TextCounts
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.sql import INTERNAL_PREFIX, quote_identifier

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_BEHIND = INTERNAL_PREFIX + "behind the last delimiter"


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
            'end; `""` for none: a quote is then a character like any other.'
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
        characters = {"delimiter": self.delimiter}
        if self.quote:
            characters |= {"quote": self.quote, "escape": self.escape_character}
        elif self.escape:
            raise wrong_option("escape", "escape needs a quote, and the feed declares none")
        for name, value in characters.items():
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                reason = f"CSV {name} must be one ASCII character: {value!r}"
                raise wrong_option(name, f"{reason}{hint_at_quotes(value)}")
        if self.delimiter in (self.quote, self.escape_character):
            raise wrong_option("delimiter", "CSV delimiter must differ from quote and escape")
        if not self.header:
            self.refuse_options_of_header(
                header_rows=self.header_rows > 1,
                skip_to_header=self.skip_to_header,
                skip_after_header=self.skip_after_header > 0,
            )
        if self.skip_to_header and self.skip_lines:
            raise wrong_option("skip_lines", "either skip_lines or skip_to_header, not both")
        return self

    @property
    def escape_character(self) -> str:
        """The character that makes a quote inside a quoted field literal; empty for no quotes."""
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
            head = super().find_head(contract, text)
            if not contract.optional_columns:
                return head
            return replace(head, columns=list_present(self, contract, text))
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
        reader = read_csv_sql(
            {name: types.get(name, "VARCHAR") for name in names},
            path_column,
            delimiter=self.delimiter,
            quote=self.quote,
            escape=self.escape_character,
            has_header=self.header and not is_staged,
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
        """Propose a dialect, a layout and the names of columns, whose types are found later."""
        # Only `infer` needs it.
        from partitioned_etl.engine.formats.proposals.csv_proposal import propose_csv

        del duck
        return propose_csv(CsvFormat, sample, cls.model_fields["delimiter"].default)


class TsvFormat(CsvFormat, frozen=True):
    """Tab-separated values; a field with a tab, a quote or a line end in it is quoted as in CSV."""

    endings: ClassVar[tuple[str, ...]] = (".tsv",)

    type: Literal["csv", "tsv"] = "tsv"
    delimiter: str = "\t"


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
