"""Formats: what the bytes of a feed's files are. A format is declared, never sniffed.

Takes a declaration; returns how such a file must be read. Next: `contract.py` surveys all formats.
`records.py` reads CSV files; `json_lines.py` and `parquet.py`, the others.
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
        escape: The character that makes a quote inside a quoted field literal; in RFC 4180, the
            quote itself.
        encoding: Python's name for the text encoding; a UTF-8 byte order mark is accepted.
        header: Whether the first line names the columns, which are then compared with the feed's.
        any_column_order: Whether the header may name the columns in a different order than the
            feed; values are then assigned to columns by name.
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
        """The encoding, by its canonical name in Python's codec registry."""
        try:
            return codecs.lookup(self.encoding).name
        except LookupError:
            return self.encoding


def _wrong(reason: str) -> FeedDefinitionError:
    return FeedDefinitionError(reason, attribute="csv")


@dataclass(frozen=True, kw_only=True)
class JsonLinesFormat:
    """One JSON object per line, in UTF-8, whose names are the feed's columns in any order.

    A column of a number type accepts JSON numbers, a BOOLEAN column `true` and `false`, every other
    column JSON strings; `null` is NULL in all. Numbers and strings are then validated by the rules
    for the texts of a CSV file. A file of zero bytes is refused, because it may be cut off.
    """

    kind: ClassVar[str] = "json"
    is_text: ClassVar[bool] = True
    is_read_at_once: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True)
class ParquetFormat:
    """Parquet, for trusted senders: DuckDB's own reader parses the bytes.

    A file's columns have exactly the feed's names and types. Parquet is compressed internally, so a
    `.gz` or `.zst` file is never accepted as Parquet.

    Attributes:
        any_column_order: Whether a file may have the columns in a different order than the feed.
    """

    kind: ClassVar[str] = "parquet"
    is_text: ClassVar[bool] = False
    is_read_at_once: ClassVar[bool] = True

    any_column_order: bool = False


Format = CsvFormat | JsonLinesFormat | ParquetFormat
"""The format of a feed's files.

For each, `kind` is its short name; `is_text`, whether its values are texts, which are validated
before they are converted; and `is_read_at_once`, whether DuckDB reads whole files in one statement.
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
"""Each format with its defaults, by its name in configuration files."""
