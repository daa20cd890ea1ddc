"""Feed: one kind of file that lands regularly, fully described.

Takes a declaration; returns the partition key of a file name, and the period of a key. Next:
`landing.py` lists the feed's folder. Reading files, SQL and Dagster do not belong here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from posixpath import normpath
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from partitioned_etl.ingest.errors import FeedDefinitionError, PartitionKeyError
from partitioned_etl.ingest.file_names import (
    COMPRESSED_SUFFIXES,
    KEY_SEPARATOR,
    FileNamePattern,
    Partitioning,
    is_date_key,
    window_of,
)
from partitioned_etl.ingest.formats import CSV, Format

PARTITION_KEY_COLUMN = "partition_key"
SOURCE_FILE_COLUMN = "source_file"
INTERNAL_PREFIX = "partitioned_etl: "
"""How the columns of intermediate results begin; no column of a feed may be named so."""
LEDGER_TABLE = "file_loads"
REJECTED_ROWS_TABLE = "rejected_rows"
CONTRACT = "contract"
"""Reported as the broken rule if a refusal has another cause: header, width, encoding, types."""

_DEFAULT_KEY_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"


class BadRows(StrEnum):
    """What happens to a file with rows that break the contract."""

    FAIL = "fail"
    """The file is refused; the partition's rows stay as they were."""
    QUARANTINE = "quarantine"
    """Good rows are loaded; bad ones go to table `rejected_rows`, up to the feed's limits."""


class OnMissing(StrEnum):
    """What happens to a partition whose file is deleted."""

    KEEP = "keep"
    """Its rows stay."""
    REMOVE = "remove"
    """Its rows, its ledger row and, if dynamic, its partition key are removed."""


@dataclass(frozen=True, kw_only=True)
class RowRule:
    """A condition for every row of a file, beyond its columns' types.

    Attributes:
        name: States what holds when the rule is kept, such as `share_price_is_positive`.
        column: The column for which a broken rule is reported.
        expression: A DuckDB condition over the feed's columns, `partition_key` and `source_file`.
            A row for which it is false or NULL breaks the rule. Its time zone is UTC.
        reason: The explanation for the sender of a row that breaks it.
    """

    name: str
    column: str
    expression: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One kind of file that lands regularly, and the table that is kept equal to it.

    Attributes:
        name: Identifies the feed in the ledger, in run tags and in messages.
        folder: The feed's folder, relative to the landing directory.
        pattern: The file name, with one placeholder: `"{key}.csv"` or `"{date:%Y-%m-%d}.csv"`; or,
            with a folder, both: `"{key}/{date:%Y-%m-%d}.csv"`.
        columns: Maps column name to DuckDB type, in file order.
        table: The DuckDB table; it has the columns, then `partition_key` and `source_file`.
        partitioning: Hourly, daily, weekly, monthly or dynamic; by default what the pattern
            implies. A date with a day may also be declared weekdays (Monday to Friday) or weekly
            (the week's Monday), a `{key}` static. With a folder it applies to the date; whether the
            names are dynamic or static depends on the partitions given to the feed.
        timezone: IANA name of the time zone of the dates in the file names.
        format: The file format: CSV in a dialect, JSON lines or Parquet.
        row_rules: Conditions for every row.
        key_pattern: Regular expression for the names accepted for `{key}`.
        non_finite_columns: DOUBLE and FLOAT columns in which NaN and infinity are valid, as is a
            number too large for the type, which becomes infinity.
        allow_empty: Whether a file with a header and no rows is an empty partition; otherwise it is
            refused.
        max_uncompressed_bytes: How large a `.gz` or `.zst` file may be once decompressed.
        done_suffix: If not empty, a file such as `x.csv` is loaded only when a file with that name
            plus this suffix, such as `x.csv.done`, exists beside it.
        on_missing: What happens to a partition whose file is deleted.
        bad_rows: What happens to a file with rows that break the contract.
        max_rejected_rows: With quarantine, a file with more bad rows than this is refused.
        max_rejected_percent: With quarantine, so is one with a larger share, 0 to 100.
        due_after: How long after the end of a partition's hour, day, week or month, in `timezone`,
            its file is due: `timedelta(hours=7)` is 07:00 of the next day. None if it may arrive at
            any time.
        short_below_percent: A partition with fewer rows than this share of the usual number is
            flagged; 0 for never. The usual number is the median of the preceding partitions.
        description: What the files are and who sends them, in plain words.
        column_descriptions: Descriptions of columns, by name; not every column needs one.

    Raises:
        FeedDefinitionError: The declaration contradicts itself.
    """

    name: str
    folder: str
    pattern: str
    columns: Mapping[str, str]
    table: str
    partitioning: Partitioning | str | None = None
    timezone: str = "UTC"
    format: Format = CSV
    row_rules: tuple[RowRule, ...] = ()
    key_pattern: str = _DEFAULT_KEY_PATTERN
    non_finite_columns: tuple[str, ...] = ()
    allow_empty: bool = True
    max_uncompressed_bytes: int = 10 << 30
    done_suffix: str = ""
    on_missing: OnMissing | str = OnMissing.KEEP
    bad_rows: BadRows | str = BadRows.FAIL
    max_rejected_rows: int = 10_000
    max_rejected_percent: float = 10.0
    due_after: timedelta | None = None
    short_below_percent: float = 50.0
    description: str = ""
    column_descriptions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self._choose("partitioning", Partitioning, self.file_names.partitioning)
            self._choose("on_missing", OnMissing)
            self._choose("bad_rows", BadRows)
            re.compile(self.key_pattern)
        except re.error as error:
            reason = f"key_pattern {self.key_pattern!r}: {error}"
            raise self._wrong("key_pattern", reason) from None
        except FeedDefinitionError as error:
            raise self._wrong(error.attribute, str(error)) from None
        if self.partitioning not in self.file_names.allowed_partitionings:
            raise self._wrong(
                "partitioning",
                f"pattern {self.pattern!r} makes {self.file_names.partitioning} keys, "
                f"but its partitioning is {self.partitioning}",
            )
        self._check_timezone()
        self._check_columns()
        if self.table.casefold() in (LEDGER_TABLE, REJECTED_ROWS_TABLE):
            raise self._wrong("table", f"table {self.table} is one of this package's own")
        if not self.format.is_text and self.pattern.endswith(COMPRESSED_SUFFIXES):
            raise self._wrong(
                "pattern", f"pattern {self.pattern!r}: a Parquet file is compressed within"
            )
        endings = (self.pattern, *COMPRESSED_SUFFIXES)
        if self.done_suffix and any(ending.endswith(self.done_suffix) for ending in endings):
            reason = f"done_suffix {self.done_suffix!r} is how landed files end, too"
            raise self._wrong("done_suffix", reason)
        if self.max_uncompressed_bytes < 1:
            raise self._wrong("max_uncompressed_bytes", "max_uncompressed_bytes must be 1 or more")
        if self.max_rejected_rows < 0:
            raise self._wrong("max_rejected_rows", "max_rejected_rows must be 0 or more")
        if not 0 <= self.max_rejected_percent <= 100:
            raise self._wrong("max_rejected_percent", "max_rejected_percent must be 0 to 100")
        if self.due_after is not None:
            if not self.is_series:
                reason = "due_after: only a file of which one comes a period can be due"
                raise self._wrong("due_after", reason)
            if not timedelta() <= self.due_after < timedelta(days=28):
                reason = "due_after is a time of 0 to 28 days after a period ends"
                raise self._wrong("due_after", reason)
        if not 0 <= self.short_below_percent <= 100:
            raise self._wrong("short_below_percent", "short_below_percent is a share of 0 to 100")

    def _choose(self, attribute: str, kind: type[StrEnum], default: str = "") -> None:
        value = getattr(self, attribute) or default
        if value not in list(kind):
            reason = f"{attribute} {value!r} is not one of {', '.join(kind)}"
            raise FeedDefinitionError(reason, attribute=attribute)
        object.__setattr__(self, attribute, kind(value))

    def _check_timezone(self) -> None:
        try:
            assert self.zone
        except (ValueError, OSError, ZoneInfoNotFoundError):
            reason = f"timezone {self.timezone!r} is not the IANA name of a time zone"
            raise self._wrong("timezone", reason) from None
        if self.timezone != "UTC" and not self._partitioning.is_dated:
            raise self._wrong("timezone", "timezone: only a file with a date is in a time zone")

    def _check_columns(self) -> None:
        names = [name.casefold() for name in self.columns]
        if not names or len(set(names)) != len(names):
            raise self._wrong("columns", "needs columns, each name once")
        for name in names:
            if not name or name.startswith(INTERNAL_PREFIX):
                raise self._wrong("columns", f"column {name!r}: no column may be named so")
        for reserved in (PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN):
            if reserved in names:
                raise self._wrong("columns", f"column {reserved} is added by a load")
        if not self.format.is_text and "file_row_number" in names:
            reason = "column file_row_number is what DuckDB calls the number of a row"
            raise self._wrong("columns", reason)
        for name in self.column_descriptions:
            if name not in self.columns:
                reason = f"column_descriptions: there is no column {name}"
                raise self._wrong("column_descriptions", reason)
        for name in self.non_finite_columns:
            if self.columns.get(name, "").upper() not in ("DOUBLE", "FLOAT", "REAL"):
                reason = f"non_finite_columns: {name} is no DOUBLE or FLOAT column"
                raise self._wrong("non_finite_columns", reason)
        rule_names = [rule.name for rule in self.row_rules]
        if len(set(rule_names)) != len(rule_names) or CONTRACT in rule_names:
            reason = f"each rule needs a name of its own, other than {CONTRACT}"
            raise self._wrong("row_rules", reason)
        for rule in self.row_rules:
            if rule.column not in self.columns:
                reason = (
                    f"rule {rule.name} is about column {rule.column}, which the feed does not have"
                )
                raise self._wrong("row_rules", reason)

    def _wrong(self, attribute: str, reason: str) -> FeedDefinitionError:
        return FeedDefinitionError(f"feed {self.name}: {reason}", attribute=attribute)

    @cached_property
    def file_names(self) -> FileNamePattern:
        """The pattern of the file names."""
        suffixes = COMPRESSED_SUFFIXES if self.format.is_text else ()
        return FileNamePattern(self.pattern, suffixes)

    @cached_property
    def _partitioning(self) -> Partitioning:
        return Partitioning(str(self.partitioning))

    @cached_property
    def _key_regex(self) -> re.Pattern[str]:
        return re.compile(self.key_pattern)

    @cached_property
    def zone(self) -> tzinfo:
        """The time zone of the dates in the file names."""
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)

    @property
    def is_series(self) -> bool:
        """Whether there is one partition for each hour, day, week or month, and no other."""
        return self._partitioning.is_dated and not self.file_names.has_folder

    def window_of(self, partition_key: str) -> tuple[datetime, datetime] | None:
        """Return start and end, in UTC, of a partition key's period; None if it has none.

        Nor has a key that no file name maps to: one from an earlier partitioning of the feed, or
        the second of the two hours that Dagster has when clocks are set back.
        """
        partitioning = self._partitioning
        date_key = partition_key.rpartition(KEY_SEPARATOR)[2]
        if not partitioning.is_dated or not is_date_key(date_key, partitioning):
            return None
        return window_of(date_key, partitioning, self.zone)

    @cached_property
    def contract_fingerprint(self) -> str:
        """A short digest of everything that determines whether a file is refused.

        A file that was refused under another contract is checked again.
        """
        contract = (
            *(dict(self.columns), self.format, self.row_rules, self.non_finite_columns),
            *(self.allow_empty, self.max_uncompressed_bytes),
            *(str(self.bad_rows), self.max_rejected_rows, self.max_rejected_percent),
        )
        return sha256(repr(contract).encode()).hexdigest()[:16]

    def partition_key_of(self, file_name: str) -> str:
        """Derive the partition key from a file name.

        Args:
            file_name: A name relative to the feed's folder, such as `2018-01-22.csv`,
                `2018-01-22.csv.gz` or `acme/2018-01-22.csv`.

        Returns:
            The partition key, such as `2018-01-22`.

        Raises:
            PartitionKeyError: The name does not match the pattern, holds an impossible date, or
                stands for a key that the feed does not accept.
        """
        match = self.file_names.match(file_name)
        if match is None:
            raise PartitionKeyError(f"the name does not match the pattern {self.pattern!r}")
        key = self.file_names.key_of(match)
        self.check_partition_key(key)
        return key

    def check_partition_key(self, partition_key: str) -> None:
        """Validate a partition key, wherever it came from, against this feed.

        Args:
            partition_key: A key as given by a person, an API or a file name.

        Raises:
            PartitionKeyError: The feed does not accept it.
        """
        partitioning, has_folder = self._partitioning, self.file_names.has_folder
        name, _, date = partition_key.rpartition(KEY_SEPARATOR)
        if not has_folder:
            name = date = partition_key
        if partitioning.is_dated and not is_date_key(date, partitioning):
            days = {
                Partitioning.WEEKDAYS: ", a day from Monday to Friday",
                Partitioning.WEEKLY: ", a Monday",
            }
            raise PartitionKeyError(
                f"partition key {partition_key[:200]!a} is not a {partitioning} key"
                f"{days.get(partitioning, '')}"
            )
        if has_folder or not partitioning.is_dated:
            self.check_name(name)

    def check_name(self, name: str) -> None:
        """Validate a text for `{key}` against this feed.

        Args:
            name: A partition key, or the name in a two-dimensional one.

        Raises:
            PartitionKeyError: The feed does not accept it.
        """
        if not self._key_regex.fullmatch(name):
            raise PartitionKeyError(
                f"partition key {name[:200]!a} is not made of the characters that "
                f"feed {self.name} allows ({self.key_pattern})"
            )
        if self.file_names.has_folder and KEY_SEPARATOR in name:
            raise PartitionKeyError(
                f"name {name[:200]!a} has a {KEY_SEPARATOR}, which parts name and date in a key"
            )


def check_feeds_are_apart(feeds: Sequence[Feed]) -> None:
    """Validate that no two feeds share a name, a table, or a folder and pattern.

    Two feeds sharing a table would delete each other's partitions of the same key.

    Args:
        feeds: Feeds of one database.

    Raises:
        FeedDefinitionError: Two feeds share one.
    """
    owners: dict[tuple[str, str], Feed] = {}
    for feed in feeds:
        for what, value in {
            "name": feed.name,
            "table": feed.table.casefold(),
            "folder and pattern": normpath(f"{feed.folder}/{feed.pattern}"),
        }.items():
            owner = owners.setdefault((what, value), feed)
            if owner is not feed:
                raise FeedDefinitionError(
                    f"feed {owner.name} and feed {feed.name} share the {what} {value}"
                )
