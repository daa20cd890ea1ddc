"""Formats: what the bytes of a feed's files are. A format is declared and never sniffed.

Takes a declaration; says what kind of reading it needs. Who reads: `records.py` a CSV file,
`json_lines.py` and `parquet.py` the others; `contract.py` surveys all of them.
"""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from partitioned_etl.ingest.errors import FeedDefinitionError


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """Delimited text, strictly by RFC 4180 in one dialect.

    Attributes:
        delimiter: One character between fields.
        quote: One character around a field that holds a delimiter, a quote or a line end.
        escape: What makes a quote inside a quoted field literal; the quote itself by RFC 4180.
        encoding: Python's name of the text encoding; a UTF-8 byte order mark is accepted.
        header: Whether the first line names the columns, which are then compared by name.
        any_column_order: Whether the header may name the columns in another order than the feed's;
            the values then go to the columns by name.
    """

    kind: ClassVar[str] = "csv"
    is_text: ClassVar[bool] = True
    is_read_at_once: ClassVar[bool] = True

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    encoding: str = "utf-8"
    header: bool = True
    any_column_order: bool = False

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "escape"):
            value = getattr(self, name)
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise _wrong(f"CSV {name} must be one ASCII character: {value!r}")
        if self.delimiter in (self.quote, self.escape):
            raise _wrong("CSV delimiter must differ from quote and escape")
        if self.any_column_order and not self.header:
            reason = "any_column_order needs a header, which names the columns"
            raise FeedDefinitionError(reason, attribute="any_column_order")
        if self.normal_encoding not in ("utf-8", "iso8859-1", "utf-16"):
            raise _wrong(f"CSV encoding {self.encoding!r} is not one of utf-8, utf-16, latin-1")

    @property
    def normal_encoding(self) -> str:
        """The encoding under the one name that Python's codec registry gives it."""
        try:
            return codecs.lookup(self.encoding).name
        except LookupError:
            return self.encoding


def _wrong(reason: str) -> FeedDefinitionError:
    return FeedDefinitionError(reason, attribute="csv")


@dataclass(frozen=True, kw_only=True)
class JsonLinesFormat:
    """One JSON object a line, in UTF-8, whose names are the feed's columns in any order.

    A column of a number type takes JSON numbers, a BOOLEAN column `true` and `false`, every other
    column JSON texts; `null` is NULL in each. Numbers and texts are then judged by the rules for
    the texts of a CSV file. A file of no bytes is refused, because it may be cut off.
    """

    kind: ClassVar[str] = "json"
    is_text: ClassVar[bool] = True
    is_read_at_once: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ParquetFormat:
    """Parquet, for senders that are trusted: DuckDB's own reader takes the bytes apart.

    A file's columns have just the feed's names and types. It is compressed within, so that no
    `.gz` or `.zst` file is taken for one.

    Attributes:
        any_column_order: Whether a file may have the columns in another order than the feed's.
    """

    kind: ClassVar[str] = "parquet"
    is_text: ClassVar[bool] = False
    is_read_at_once: ClassVar[bool] = True

    any_column_order: bool = False


Format = CsvFormat | JsonLinesFormat | ParquetFormat
"""What a feed's files are.

Of each, `kind` is its short name, `is_text` says whether its values are texts, which are judged
before they are converted, and `is_read_at_once`, whether DuckDB reads whole files in a statement.
"""

CSV = CsvFormat()
"""Comma-separated values by RFC 4180, in UTF-8, with a header."""

TSV = CsvFormat(delimiter="\t")
"""Tab-separated values; a field with a tab, a quote or a line end in it is quoted as in CSV."""

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "csv": CSV,
        "tsv": TSV,
        "json_lines": JsonLinesFormat(),
        "parquet": ParquetFormat(),
    }
)
"""Each format as it usually is, by the name that a configuration file gives it."""
