"""Feed: one kind of file that keeps landing, described in full.

Takes a declaration; gives the partition key of a file name and back. Next: `landing.py` lists the
feed's folder. Reading a file, SQL and Dagster do not belong here.
"""

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from partitioned_etl.ingest.errors import FeedDefinitionError, PartitionKeyError

PARTITION_KEY_COLUMN = "partition_key"
SOURCE_FILE_COLUMN = "source_file"
LEDGER_TABLE = "file_loads"

_DEFAULT_KEY_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
_PLACEHOLDER = re.compile(r"\{(?:(?P<key>key)|date:(?P<date>[^{}]+))\}")
_DATE_DIRECTIVES = {"%Y": r"\d{4}", "%m": r"\d{2}", "%d": r"\d{2}"}


class Partitioning(StrEnum):
    """How a feed is cut into partitions; it decides what a partition key looks like."""

    DAILY = "daily"
    """One file a day, key `2018-01-22`."""
    MONTHLY = "monthly"
    """One file a month, key `2018-01-01`, the month's first day."""
    DYNAMIC = "dynamic"
    """One file a name, such as a customer; the key is that name."""


@dataclass(frozen=True, kw_only=True)
class CsvFormat:
    """The dialect of a feed's files. It is declared and never sniffed.

    Attributes:
        delimiter: One character between fields.
        quote: One character around a field that holds a delimiter, a quote or a line end.
        escape: What makes a quote inside a quoted field literal; the quote itself by RFC 4180.
        encoding: Python's name of the text encoding; a UTF-8 byte order mark is accepted.
        header: Whether the first line names the columns, which are then compared by name.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    encoding: str = "utf-8"
    header: bool = True

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "escape"):
            value = getattr(self, name)
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise FeedDefinitionError(f"CSV {name} must be one ASCII character: {value!r}")
        if self.delimiter in (self.quote, self.escape):
            raise FeedDefinitionError("CSV delimiter must differ from quote and escape")
        if self.normal_encoding not in ("utf-8", "iso8859-1", "utf-16"):
            raise FeedDefinitionError(
                f"CSV encoding {self.encoding!r} is not one of utf-8, utf-16, latin-1"
            )

    @property
    def normal_encoding(self) -> str:
        """The encoding under the one name that Python's codec registry gives it."""
        try:
            return codecs.lookup(self.encoding).name
        except LookupError:
            return self.encoding


@dataclass(frozen=True, kw_only=True)
class RowRule:
    """What must be true of every row of a file, beyond its columns' types.

    Attributes:
        name: States what is true when the rule holds, such as `share_price_is_positive`.
        column: The column that a broken rule is reported under.
        expression: A DuckDB condition over the feed's columns and `partition_key`. A row for which
            it is false or NULL breaks the rule.
        reason: What to tell the sender of a row that breaks it.
    """

    name: str
    column: str
    expression: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One kind of file that keeps landing, and the table that is kept equal to it.

    Attributes:
        name: Identifies the feed in the ledger, in run tags and in messages.
        folder: The feed's folder, relative to the landing directory.
        pattern: The file name, with one placeholder: `"{key}.csv"` or `"{date:%Y-%m-%d}.csv"`.
        columns: Column name to DuckDB type, in the order of the file.
        table: The DuckDB table; it gets the columns, then `partition_key` and `source_file`.
        partitioning: Daily, monthly or dynamic; by default what the pattern implies.
        csv: The dialect of the files.
        row_rules: What must hold for every row.
        key_pattern: Regular expression for the keys that a dynamic feed accepts.
        description: What the files are and who sends them, in plain words.

    Raises:
        FeedDefinitionError: The declaration contradicts itself.
    """

    name: str
    folder: str
    pattern: str
    columns: Mapping[str, str]
    table: str
    partitioning: Partitioning | str | None = None
    csv: CsvFormat = CsvFormat()
    row_rules: tuple[RowRule, ...] = ()
    key_pattern: str = _DEFAULT_KEY_PATTERN
    description: str = ""

    def __post_init__(self) -> None:
        placeholders = list(_PLACEHOLDER.finditer(self.pattern))
        if len(placeholders) != 1 or "/" in self.pattern:
            raise FeedDefinitionError(
                f"feed {self.name}: pattern {self.pattern!r} needs exactly one placeholder, "
                "{key} or {date:%Y-%m-%d}, and no folder"
            )
        implied = self._implied_partitioning(placeholders[0]["date"])
        declared = self.partitioning or implied
        if declared != implied:
            raise FeedDefinitionError(
                f"feed {self.name}: pattern {self.pattern!r} makes {implied} keys, "
                f"but its partitioning is {declared}"
            )
        object.__setattr__(self, "partitioning", implied)
        try:
            re.compile(self.key_pattern)
        except re.error as error:
            raise FeedDefinitionError(
                f"feed {self.name}: key_pattern {self.key_pattern!r}: {error}"
            ) from None
        names = [name.casefold() for name in self.columns]
        if not names or len(set(names)) != len(names):
            raise FeedDefinitionError(f"feed {self.name}: needs columns, each name once")
        if self.table.casefold() == LEDGER_TABLE:
            raise FeedDefinitionError(f"feed {self.name}: table {self.table} is the ledger")
        for reserved in (PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN):
            if reserved in names:
                raise FeedDefinitionError(f"feed {self.name}: column {reserved} is added by a load")
        for rule in self.row_rules:
            if rule.column not in self.columns:
                raise FeedDefinitionError(
                    f"feed {self.name}: rule {rule.name} is about column {rule.column}, "
                    "which the feed does not have"
                )

    def _implied_partitioning(self, date_format: str | None) -> Partitioning:
        if date_format is None:
            return Partitioning.DYNAMIC
        directives = sorted(re.findall(r"%.", date_format))
        if directives == ["%Y", "%d", "%m"]:
            return Partitioning.DAILY
        if directives == ["%Y", "%m"]:
            return Partitioning.MONTHLY
        raise FeedDefinitionError(
            f"feed {self.name}: a date in a file name is made of %Y, %m and, if daily, %d: "
            f"{date_format!r}"
        )

    @cached_property
    def _placeholder(self) -> re.Match[str]:
        match = _PLACEHOLDER.search(self.pattern)
        assert match is not None, "checked when the feed was made"
        return match

    @cached_property
    def _name_regex(self) -> re.Pattern[str]:
        before, after = self.pattern.split(self._placeholder[0])
        date_format = self._placeholder["date"]
        middle = ".+"
        if date_format:
            middle = re.escape(date_format)
            for directive, digits in _DATE_DIRECTIVES.items():
                middle = middle.replace(re.escape(directive), digits)
        return re.compile(f"{re.escape(before)}({middle}){re.escape(after)}", re.ASCII | re.DOTALL)

    @property
    def key_date_format(self) -> str:
        """The `strftime` format of this feed's partition keys, if they are dates."""
        return "%Y-%m-%d" if self.partitioning is Partitioning.DAILY else "%Y-%m-01"

    def match_file_name(self, file_name: str) -> str | None:
        """Give the text that stands for the key in a file name.

        Args:
            file_name: A name, without folder.

        Returns:
            That text, or None if the name is not of this feed's pattern.
        """
        match = self._name_regex.fullmatch(file_name)
        return match[1] if match else None

    def partition_key_of(self, file_name: str) -> str:
        """Derive the partition key from a file name.

        Args:
            file_name: A name, without folder, such as `2018-01-22.csv`.

        Returns:
            The partition key, such as `2018-01-22`.

        Raises:
            PartitionKeyError: The name does not match the pattern, holds an impossible date, or
                stands for a key that the feed does not accept.
        """
        text = self.match_file_name(file_name)
        if text is None:
            raise PartitionKeyError(f"the name does not match the pattern {self.pattern!r}")
        date_format = self._placeholder["date"]
        if date_format is None:
            self.check_partition_key(text)
            return text
        try:
            return datetime.strptime(text, date_format).strftime(self.key_date_format)
        except ValueError:
            raise PartitionKeyError(f"the name holds no date of the form {date_format}") from None

    def check_partition_key(self, partition_key: str) -> None:
        """Make sure that this feed accepts a partition key, wherever it came from.

        Args:
            partition_key: A key as given by a person, an API or a file name.

        Raises:
            PartitionKeyError: The feed does not accept it.
        """
        if self.partitioning is Partitioning.DYNAMIC:
            if not re.fullmatch(self.key_pattern, partition_key):
                raise PartitionKeyError(
                    f"partition key {partition_key[:200]!a} is not made of the characters that "
                    f"feed {self.name} allows ({self.key_pattern})"
                )
            return
        try:
            day = datetime.strptime(partition_key, "%Y-%m-%d")
        except ValueError:
            day = None
        if day is None or day.strftime(self.key_date_format) != partition_key:
            raise PartitionKeyError(
                f"partition key {partition_key[:200]!a} is not a {self.partitioning} key"
            )


def check_feeds_are_apart(feeds: Sequence[Feed]) -> None:
    """Make sure that no two feeds share a name, a table or a folder and pattern.

    Two feeds with one table would delete each other's partitions of the same key.

    Args:
        feeds: Feeds of one database.

    Raises:
        FeedDefinitionError: Two feeds share one.
    """
    for what, values in {
        "name": [feed.name for feed in feeds],
        "table": [feed.table.casefold() for feed in feeds],
        "folder and pattern": [(feed.folder, feed.pattern) for feed in feeds],
    }.items():
        shared = {str(value) for value in values if values.count(value) > 1}
        if shared:
            raise FeedDefinitionError(f"two feeds share a {what}: {', '.join(sorted(shared))}")
