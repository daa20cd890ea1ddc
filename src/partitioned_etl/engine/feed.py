"""Feed: one kind of file that keeps landing, fully declared.

Takes a declaration; returns the partition key of a file name, and the period of a key. Next: a
landing lists the feed's files. Reading files, SQL and Dagster do not belong here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property
from posixpath import normpath
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from partitioned_etl.engine.contract import Contract
from partitioned_etl.engine.errors import FeedDefinitionError, PartitionKeyError
from partitioned_etl.engine.file_names import (
    KEY_SEPARATOR,
    FileNamePattern,
    Partitioning,
    VersionOrder,
    is_date_key,
    is_start_of_date_key,
    window_of,
)
from partitioned_etl.engine.formats.compression import COMPRESSED_SUFFIXES
from partitioned_etl.engine.formats.format import CONTRACT, explain_first
from partitioned_etl.engine.formats.types import columns_sql, is_float_type
from partitioned_etl.engine.formats.values import check_values
from partitioned_etl.engine.landing_address import parse_address
from partitioned_etl.engine.sources.registry import AnySource, parse_source
from partitioned_etl.engine.sources.source import Source
from partitioned_etl.engine.sql import (
    INTERNAL_PREFIX,
    LEDGER_TABLE,
    LOAD_HISTORY_TABLE,
    PARTITION_KEY_COLUMN,
    REJECTED_ROWS_TABLE,
    SOURCE_FILE_COLUMN,
)

LATE_FOR = timedelta(days=7)
"""For how long after its due time a file counts as late. One that arrives afterwards is history."""
_MOST_DUE_HOURS = 28 * 24


class OnMissing(StrEnum):
    """What happens to a partition whose file is deleted."""

    KEEP = "keep"
    """Its rows stay."""
    REMOVE = "remove"
    """Its rows, its ledger row and, if dynamic, its partition key are removed."""


class OnUnmatched(StrEnum):
    """What `sync` and a check make of what lies in a feed's folder, and is a file of no feed."""

    WARN = "warn"
    """It names it."""
    FAIL = "fail"
    """It names it, and fails."""


def _to_moment(value: Any) -> Any:
    if value is None or isinstance(value, str | date):
        return value
    raise ValueError("a day such as 2018-01-21 is needed")


Moment = Annotated[datetime | None, BeforeValidator(_to_moment)]
"""A moment on the wall clock of a time zone that is given elsewhere."""


NEEDS_PATTERN: Mapping[str, Any] = {
    "if": {"not": {"required": ["source"]}},
    "then": {"required": ["pattern"]},
}
"""What a JSON schema says of a feed's pattern: a source may decide it."""


class Feed(Contract, frozen=True, json_schema_extra={**NEEDS_PATTERN}):
    """One kind of file that keeps landing, and the table that is kept equal to it.

    Raises:
        FeedDefinitionError: The declaration contradicts itself.
    """

    name: Annotated[
        str,
        Field(description="Identifies the feed; ledger, job and checks are named after it."),
    ]
    pattern: Annotated[
        str,
        Field(
            description="The file name, with placeholders: `{date:%Y-%m-%d}.csv` for a file a "
            "day, `{key}.csv` for one a name, `{key}/{date:%Y-%m}.csv` for both, with or without "
            "folders; `{part}` for files that make up a partition together, `{version}` for ones "
            "of which the highest stands for all, and `{any}` for what varies and means nothing. "
            "Default: none; only [ad-hoc keys](sources.md#ad-hoc-keys) need none."
        ),
    ] = ""
    pattern_ignores_case: Annotated[
        bool,
        Field(
            description="Whether capital and small letters in the pattern are alike, as in "
            "`ORDERS.CSV`; those in a key are not."
        ),
    ] = False
    description: Annotated[
        str, Field(description="What the files are and who sends them, in plain words.")
    ] = ""
    folder: Annotated[
        str, Field(description="Folder of the files in the landing directory. Default: the name.")
    ] = ""
    landing: Annotated[
        str,
        Field(
            description="Where the files land, if not where those of all feeds do: a folder or a "
            "bucket's prefix, as in setting `LANDING_DIR`. Default: that setting."
        ),
    ] = ""
    source: Annotated[
        SerializeAsAny[AnySource] | None,
        Field(
            description="Where the files come from, if they do not land by themselves: its `type` "
            "and options, as [sources](sources.md) tells, or `parameters` for rows that are "
            "computed for keys that people add. Default: nowhere."
        ),
    ] = None
    table: Annotated[
        str,
        Field(
            description="The table: the columns, then `partition_key` and `source_file`. "
            "Default: the name."
        ),
    ] = ""
    partitioning: Annotated[
        Partitioning | None,
        Field(
            description="`weekdays` (Monday to Friday) or `weekly` for files with a day, `static` "
            "for files with a name. Default: what the pattern implies."
        ),
    ] = None
    keys: Annotated[
        tuple[str, ...],
        Field(
            description="The names that a static feed takes; needed for it, and possible for a "
            "folder a name. Default: none, new names are registered as they land."
        ),
    ] = ()
    start: Annotated[
        Moment,
        Field(
            description="First day of files with a date, such as `2018-01-21`; needed for these."
        ),
    ] = None
    end: Annotated[
        Moment, Field(description="First day that has no partition any more. Default: no end.")
    ] = None
    timezone: Annotated[
        str,
        Field(description="IANA name of the time zone of the dates in the file names."),
    ] = "UTC"
    on_missing: Annotated[
        OnMissing,
        Field(
            description="What becomes of a partition whose file is deleted: `keep` its rows, or "
            "`remove` rows, ledger row and, if it is dynamic, its key."
        ),
    ] = OnMissing.KEEP
    unmatched: Annotated[
        OnUnmatched,
        Field(
            description="What `sync` and check `every_file_is_matched` make of an entry of the "
            "folder that is a file of no feed, such as one with another ending: `warn` names it, "
            "`fail` is also a failure."
        ),
    ] = OnUnmatched.WARN
    done_suffix: Annotated[
        str,
        Field(
            description="With `.done`, `x.csv` is loaded only when `x.csv.done` lies beside it. "
            "Default: none."
        ),
    ] = ""
    done_file: Annotated[
        str,
        Field(
            description="With `{date:%Y-%m-%d}/_SUCCESS`, the files of a partition are loaded only "
            "when its marker of that name lies in the folder. Default: none."
        ),
    ] = ""
    part_count: Annotated[
        int,
        Field(
            description="How many parts a partition has: none is loaded before the last has "
            "landed. Default: any number, and each is loaded as it lands.",
            ge=0,
        ),
    ] = 0
    version_order: Annotated[
        VersionOrder,
        Field(
            description="Which `{version}` is the highest: `natural`, as `_v10` comes after `_v2` "
            "and `_v2` after none, or the one that `landed` last."
        ),
    ] = VersionOrder.NATURAL
    due_after_hours: Annotated[
        float | None,
        Field(
            description="How long after its hour, day, week or month, in `timezone`, a file is "
            "due: 7 for 07:00 of the next day; less than 672. Default: at no time."
        ),
    ] = None
    list_since_days: Annotated[
        int | None,
        Field(
            description="How many days back a tick looks: it lists only names from the date so "
            "many days ago on, in `timezone`, and the nightly job lists all. The pattern must "
            "begin with the date, or with a text and the date. Default: a tick lists all.",
            ge=1,
            le=36_500,
        ),
    ] = None
    short_below_percent: Annotated[
        float,
        Field(
            description="A partition with fewer rows than this share of the median of those before "
            "it is warned of by a check, 0 for none.",
            ge=0,
            le=100,
        ),
    ] = 50.0
    compare_up_to_rows: Annotated[
        int,
        Field(
            description="A file that is loaded again is compared with the rows that it replaces, "
            "if neither are more than this: how many are added, removed and unchanged is told "
            "then. 0 for never.",
            ge=0,
        ),
    ] = 1_000_000
    key_pattern: Annotated[
        str,
        Field(
            description="Regular expression of the keys of `{key}` files. Default: letters, "
            "digits, `-`, `_` and `.`, no leading dot, at most 128 characters."
        ),
    ] = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """Take from the source what it decides, and need not be declared."""
        source = parse_source(values.get("source")) if isinstance(values, dict) else None
        return {**source.implied, **values, "source": source} if source else values

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _require(self.pattern, "pattern", "pattern: is needed")
        implied = {
            "folder": self.folder or self.name,
            "table": self.table or self.name,
            "partitioning": self.partitioning or self.file_names.partitioning,
        }
        for attribute, value in implied.items():
            object.__setattr__(self, attribute, value)
        for check in (
            *(self._check_pattern, self._check_partitions, self._check_columns),
            *(self._check_rules, self._check_policies, self._check_landing, self._check_source),
        ):
            check()
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _tell_mistakes(cls, values: Any, handler: Callable[[Any], Self]) -> Self:
        """Say what is wrong in one sentence, with the feed's name.

        It must come last, to be around the other validator.
        """
        name = values.get("name") if isinstance(values, dict) else ""
        try:
            return handler(values)
        except ValidationError as error:
            path, reason = explain_first(error, cls)
            about = f"feed {name}: {path}" if isinstance(name, str) else f"feed: {path}"
            raise FeedDefinitionError(f"{about}: {reason}", attribute=path) from None
        except FeedDefinitionError as error:
            reason = f"feed {name}: {error}"
            raise FeedDefinitionError(reason, attribute=error.attribute) from None

    def _check_pattern(self) -> None:
        _require(
            self.partitioning in self.file_names.allowed_partitionings,
            "partitioning",
            f"pattern {self.pattern!r} makes {self.file_names.partitioning} keys, but its "
            f"partitioning is {self.partitioning}",
        )
        _require(
            self.format.may_be_compressed or not self.pattern.lower().endswith(COMPRESSED_SUFFIXES),
            "pattern",
            f"pattern {self.pattern!r}: a {self.format.type} file is compressed within",
        )
        endings = (self.pattern, *COMPRESSED_SUFFIXES)
        _require(
            not self.done_suffix or not any(one.endswith(self.done_suffix) for one in endings),
            "done_suffix",
            f"done_suffix {self.done_suffix!r} is how landed files end, too",
        )
        self._check_completeness()
        try:
            re.compile(self.key_pattern)
        except re.error as error:
            reason = f"key_pattern {self.key_pattern!r}: {error}"
            raise FeedDefinitionError(reason, attribute="key_pattern") from None

    def _check_completeness(self) -> None:
        names, done = self.file_names, self.done_names
        reason = "part_count: only a pattern with {part} has parts"
        _require(names.has_parts or not self.part_count, "part_count", reason)
        is_natural = self.version_order is VersionOrder.NATURAL
        reason = "version_order: only a pattern with {version} has versions"
        _require(names.has_versions or is_natural, "version_order", reason)
        if done is None:
            return
        kinds = [(one.has_key, one.partitioning, one.is_two_dimensional) for one in (names, done)]
        reason = f"done_file {self.done_file!r} stands for no key of the pattern {self.pattern!r}"
        _require(kinds[0] == kinds[1], "done_file", reason)
        reason = f"done_file {self.done_file!r} may hold the placeholders of the key and {{any}}"
        _require(not (done.has_parts or done.has_versions), "done_file", reason)
        reason = f"done_file {self.done_file!r} is deeper in folders than the files are"
        _require(done.depth <= names.depth, "done_file", reason)
        folders = [pattern.rpartition("/")[0] for pattern in (self.done_file, self.pattern)]
        is_found = f"{folders[1]}/".startswith(f"{folders[0]}/") or not folders[0]
        reason = f"done_file {self.done_file!r} is in no folder of the pattern {self.pattern!r}"
        _require(is_found, "done_file", reason)
        reason = "done_file and done_suffix are two ways to say that files are complete: choose one"
        _require(not self.done_suffix, "done_file", reason)

    def _check_partitions(self) -> None:
        partitioning, is_dated = self._partitioning, self._partitioning.is_dated
        try:
            zone = self.zone
        except (ValueError, OSError, ZoneInfoNotFoundError):
            reason = f"timezone {self.timezone!r} is not the IANA name of a time zone"
            raise FeedDefinitionError(reason, attribute="timezone") from None
        _require(
            is_dated or self.timezone == "UTC",
            "timezone",
            "timezone: only a file with a date is in a time zone",
        )
        for attribute, moment in {"start": self.start, "end": self.end}.items():
            reason = f"{partitioning} partitions have no start or end"
            _require(is_dated or moment is None, attribute, reason)
        if self.start and self.end:
            start, end = (
                moment if moment.tzinfo else moment.replace(tzinfo=zone)
                for moment in (self.start, self.end)
            )
            reason = f"end {_say(self.end)} is not after start {_say(self.start)}"
            _require(start < end, "end", reason)
        may_have_keys = partitioning is Partitioning.STATIC or self.file_names.is_two_dimensional
        _require(may_have_keys or not self.keys, "keys", f"{partitioning} partitions have no keys")
        reason = "the keys of static partitions are there once each"
        _require(len(set(self.keys)) == len(self.keys), "keys", reason)
        try:
            for key in self.keys:
                self.check_name(key)
        except PartitionKeyError as error:
            raise FeedDefinitionError(str(error), attribute="keys") from None

    def _check_columns(self) -> None:
        names = [name.casefold() for name in self.columns]
        is_unique = bool(names) and len(set(names)) == len(names)
        _require(is_unique, "columns", "needs columns, each name once")
        for name in names:
            is_free = bool(name) and not name.startswith(INTERNAL_PREFIX)
            _require(is_free, "columns", f"column {name!r}: no column may be named so")
        for reserved in (PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN):
            is_free = reserved not in names
            _require(is_free, "columns", f"column {reserved} is added by a load")
        self._check_places()
        self._check_first_dates()
        check_values(self)
        columns_sql(self)
        self.format.check_contract(self)
        for name in self.non_finite_columns:
            is_float = is_float_type(self.column_types.get(name, ""))
            reason = f"non_finite_columns: {name} is no DOUBLE or FLOAT column"
            _require(is_float, "non_finite_columns", reason)
        own = (LEDGER_TABLE, REJECTED_ROWS_TABLE, LOAD_HISTORY_TABLE)
        is_own = self.table.casefold() in own
        _require(not is_own, "table", f"table {self.table} is one of this package's own")

    def _check_landing(self) -> None:
        try:
            parse_address(self.landing)
        except ValueError as error:
            _require(False, "landing", f"landing {error}")

    def _check_source(self) -> None:
        if self.source is None:
            return
        self.source.check_feed(self)

    def _check_places(self) -> None:
        """Refuse what says where in a file a column is, where the format has no use for it."""
        has_places = self.format.takes_places
        for name, places in self.column_places.items():
            reason = f"columns.{name}.start: only a column of fixed_width has a place in a line"
            _require(has_places or places == (None, None), f"columns.{name}.start", reason)
            is_named = self.names_in_file[name] != (name,)
            reason = f"columns.{name}: a column of fixed_width is found by its place alone"
            _require(not (has_places and is_named), f"columns.{name}", reason)
        names = [one for names in self.names_in_file.values() for one in names]
        reason = "columns: a name in the file stands for one column, once"
        _require(self.format.takes_json or len({*names}) == len(names), "columns", reason)

    def _check_first_dates(self) -> None:
        """Refuse a `since` that is no date of the feed's partitions, or the start of one."""
        for name, since in self.first_dates.items():
            attribute, partitioning = f"columns.{name}.since", self._partitioning
            reason = f"{attribute}: {partitioning} partitions have no dates; set optional instead"
            _require(partitioning.is_dated, attribute, reason)
            reason = f"{attribute}: {since!r} is no {partitioning} partition key, nor a year, month"
            reason += " or day with which one starts, such as 2026-03"
            _require(is_start_of_date_key(since, partitioning), attribute, reason)
            reason = f"{attribute}: an optional column may be missing in every file"
            _require(name not in self.optional_columns, attribute, reason)

    def _check_rules(self) -> None:
        names = [rule.name for rule in self.row_rules]
        is_unique = len(set(names)) == len(names) and CONTRACT not in names
        reason = f"each rule needs a name of its own, other than {CONTRACT}"
        _require(is_unique, "row_rules", reason)
        for rule in self.row_rules:
            reason = f"rule {rule.name} is about column {rule.column}, which the feed does not have"
            _require(rule.column in self.columns, "row_rules", reason)

    def _check_policies(self) -> None:
        self._check_lateness()
        self._check_list_since()

    def _check_list_since(self) -> None:
        """Refuse a limit of looks if a partition's files may lie on both sides of it."""
        days, names, done = self.list_since_days, self.file_names, self.done_names
        if days is None:
            return
        reason = (
            f"list_since_days: names are left out by how they begin, and pattern {self.pattern!r} "
            "does not begin with a date whose year comes first, then the month, then the day"
        )
        _require(names.has_leading_date, "list_since_days", reason)
        start = names.start_of_date(date(2000, 1, 1))
        reason = f"list_since_days: with pattern_ignores_case, {start!r} has several spellings"
        is_one_spelling = not self.pattern_ignores_case or start.lower() == start.upper()
        _require(is_one_spelling, "list_since_days", reason)
        is_alike = done is None or done.start_of_date(date(2000, 1, 1)) == start
        reason = f"list_since_days: done_file {self.done_file!r} does not begin as the pattern does"
        _require(is_alike, "list_since_days", reason)
        if self.due_after is not None:
            least = (LATE_FOR + self.due_after) // timedelta(days=1) + 2
            reason = (
                f"list_since_days is {least} or more: a file that was due {self.due_after_hours:g} "
                f"hours after its period counts as late for {LATE_FOR.days} days"
            )
            _require(days >= least, "list_since_days", reason)

    def _check_lateness(self) -> None:
        if self.due_after_hours is None:
            return
        reason = "due_after_hours: only a file of which one comes a period can be due"
        _require(self.is_series, "due_after_hours", reason)
        reason = f"due_after_hours is a time of 0 to {_MOST_DUE_HOURS} hours after a period ends"
        _require(0 <= self.due_after_hours < _MOST_DUE_HOURS, "due_after_hours", reason)

    @cached_property
    def file_names(self) -> FileNamePattern:
        """The pattern of the file names."""
        suffixes = COMPRESSED_SUFFIXES if self.format.may_be_compressed else ()
        return FileNamePattern(self.pattern, suffixes, self.pattern_ignores_case)

    @cached_property
    def done_names(self) -> FileNamePattern | None:
        """The pattern of the markers of whole partitions; None if the feed has none."""
        if not self.done_file:
            return None
        try:
            return FileNamePattern(self.done_file, (), self.pattern_ignores_case)
        except FeedDefinitionError as error:
            raise FeedDefinitionError(f"done_file: {error}", attribute="done_file") from None

    def is_marker(self, name: str) -> bool:
        """Return whether a name is that of a marker file."""
        if self.done_names:
            return self.done_names.match(name) is not None
        if not self.done_suffix or not name.endswith(self.done_suffix):
            return False
        return self.file_names.match(name.removesuffix(self.done_suffix)) is not None

    def slot_of(self, partition_key: str, file_name: str) -> tuple[str, str]:
        """Return what of a table one file alone can stand for: a partition, or a part of one.

        A file takes the place of another of the same slot, such as `2018-01-22.csv.gz` that of
        `2018-01-22.csv`.

        Args:
            partition_key: The file's partition.
            file_name: Its name.
        """
        return partition_key, self.file_names.part_of(file_name)

    def rank_of(self, file_name: str, landed_ns: int) -> tuple[Any, ...]:
        """Return what a file's version is compared by: a higher version is greater.

        Args:
            file_name: The file's name.
            landed_ns: When it landed, in nanoseconds since 1970.
        """
        by_name = self.file_names.rank_of(file_name)
        return (landed_ns, by_name) if self.version_order is VersionOrder.LANDED else by_name

    @property
    def _partitioning(self) -> Partitioning:
        return self.partitioning or self.file_names.partitioning

    @cached_property
    def _key_regex(self) -> re.Pattern[str]:
        return re.compile(self.key_pattern)

    @property
    def fetched_from(self) -> Source | None:
        """The source that its files are fetched from; None if they are not fetched."""
        return self.source if isinstance(self.source, Source) else None

    @property
    def is_computed(self) -> bool:
        """Whether its rows are computed, for keys that people add."""
        return self.source is not None and self.source.is_computed

    @cached_property
    def zone(self) -> tzinfo:
        """The time zone of the dates in the file names."""
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)

    @property
    def due_after(self) -> timedelta | None:
        """How long after the end of a partition's period its file is due; None for at no time."""
        return None if self.due_after_hours is None else timedelta(hours=self.due_after_hours)

    @property
    def is_series(self) -> bool:
        """Whether there is one partition for each hour, day, week or month, and no other."""
        return self._partitioning.is_dated and not self.file_names.is_two_dimensional

    @property
    def claims(self) -> dict[str, str]:
        """What the feed needs for itself alone, by what it is.

        Two feeds sharing a table would delete each other's partitions of the same key.
        """
        return {
            "name": self.name,
            "table": self.table.casefold(),
            "folder and pattern": self.path_from_landing(self.pattern),
        }

    def path_from_landing(self, name: str) -> str:
        """Return the path of a file from the landing directory on, or from a landing of its own."""
        path = normpath(f"{self.folder}/{name}")
        return f"{self.landing.rstrip('/')}/{path}" if self.landing else path

    def declares_any(self, columns: Iterable[str]) -> bool:
        """Return whether any of these is one of the feed's columns, ignoring case."""
        return not {*map(str.casefold, self.columns)}.isdisjoint(map(str.casefold, columns))

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

    def first_day_of(self, day: date) -> date:
        """Return the Monday of a day's week if the feed's days stand for weeks, else the day."""
        is_weekly = self.partitioning is Partitioning.WEEKLY
        return day - timedelta(days=day.weekday()) if is_weekly else day

    def contract_of(self, partition_key: str) -> Contract:
        """Return what a partition's file must look like: it may lack columns that came later."""
        if not self.first_dates:
            return self
        date_key = partition_key.rpartition(KEY_SEPARATOR)[2]
        # A date's text sorts by time, and after the text that it starts with.
        later = frozenset(name for name, since in self.first_dates.items() if date_key < since)
        if later not in self._contracts:
            self._contracts[later] = self.without_need_of(later) if later else self
        return self._contracts[later]

    @cached_property
    def _contracts(self) -> dict[frozenset[str], Contract]:
        return {}

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
        partitioning, is_two = self._partitioning, self.file_names.is_two_dimensional
        name, _, date = partition_key.rpartition(KEY_SEPARATOR)
        if not is_two:
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
        if is_two or not partitioning.is_dated:
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
        if self.file_names.is_two_dimensional and KEY_SEPARATOR in name:
            raise PartitionKeyError(
                f"name {name[:200]!a} has a {KEY_SEPARATOR}, which parts name and date in a key"
            )


def _say(moment: datetime) -> str:
    """Return a moment as it was declared: a day as a day."""
    return str(moment).removesuffix(" 00:00:00")


def _require(is_sound: object, attribute: str, reason: str) -> None:
    if not is_sound:
        raise FeedDefinitionError(reason, attribute=attribute)
