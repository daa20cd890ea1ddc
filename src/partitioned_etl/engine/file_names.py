"""File names: a feed's pattern, and how a file name becomes a partition key.

Takes a pattern with placeholders for a name, a date, or both, in names of folders and of the file;
returns the key. What lies in the folders is listed by a landing.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import chain, zip_longest

from partitioned_etl.engine.date_letters import has_letters, to_directives
from partitioned_etl.engine.errors import FeedDefinitionError, PartitionKeyError
from partitioned_etl.engine.formats.compression import COMPRESSED_SUFFIXES

KEY_SEPARATOR = "|"
"""Separates name and date in a two-dimensional key, as in Dagster."""
_PLACEHOLDER = re.compile(r"\{(?:(?P<name>key|part|version|any)|date:(?P<date>[^{}/]+))\}")
_OF_ANY_LENGTH = re.compile(r"\{(?:key|part|version|any)\}" * 2)
_FORMS = {"key": "[^/]+?", "part": "[^/]+?", "version": "[^/]*?"}
"""What the placeholders stand for that are a group of a match."""
_NUMBER = re.compile(r"([0-9]+)")
_DIRECTIVE = re.compile("%.")
_DATE_DIRECTIVES = {
    "%Y": r"\d{4}",
    "%m": r"\d{2}",
    "%d": r"\d{2}",
    "%H": r"\d{2}",
    "%G": r"\d{4}",
    "%V": r"\d{2}",
}


class Partitioning(StrEnum):
    """How a feed is partitioned; it determines what a partition key looks like."""

    HOURLY = "hourly"
    """One file per hour, key `2018-01-22-13:00`."""
    DAILY = "daily"
    """One file per day, key `2018-01-22`."""
    WEEKDAYS = "weekdays"
    """One file per day from Monday to Friday, key `2018-01-22`."""
    WEEKLY = "weekly"
    """One file per week, key `2018-01-22`, the week's Monday."""
    MONTHLY = "monthly"
    """One file per month, key `2018-01-01`, the month's first day."""
    DYNAMIC = "dynamic"
    """One file per name, such as a customer; the key is that name."""
    STATIC = "static"
    """One file per name from a declared list; the key is that name."""

    @property
    def is_dated(self) -> bool:
        """Whether the keys stand for periods of time."""
        return self in _KEY_DATE_FORMATS


class VersionOrder(StrEnum):
    """Which of several versions of a file is the highest."""

    NATURAL = "natural"
    """The one whose name says so: `_v10` comes after `_v2`, and `_v2` after none."""
    LANDED = "landed"
    """The one that landed last."""


_KEY_DATE_FORMATS = {
    Partitioning.HOURLY: "%Y-%m-%d-%H:00",
    Partitioning.DAILY: "%Y-%m-%d",
    Partitioning.WEEKDAYS: "%Y-%m-%d",
    Partitioning.WEEKLY: "%Y-%m-%d",
    Partitioning.MONTHLY: "%Y-%m-01",
}
_BY_DIRECTIVES = {
    ("%H", "%Y", "%d", "%m"): Partitioning.HOURLY,
    ("%Y", "%d", "%m"): Partitioning.DAILY,
    ("%G", "%V"): Partitioning.WEEKLY,
    ("%Y", "%m"): Partitioning.MONTHLY,
}
_ALLOWED = {
    Partitioning.DAILY: {Partitioning.DAILY, Partitioning.WEEKDAYS, Partitioning.WEEKLY},
    Partitioning.DYNAMIC: {Partitioning.DYNAMIC, Partitioning.STATIC},
}
"""The partitionings that a feed may declare in place of the one its pattern implies."""
_ORDERS = (("%Y", "%m", "%d", "%H"), ("%G", "%V"))
"""The directives of a date, the longest period first."""
FRIDAY = 5
"""The last weekday by ISO 8601, in which Monday is 1; cron numbers them the same way."""
_LAST_DAYS = {Partitioning.WEEKDAYS: FRIDAY, Partitioning.WEEKLY: 1}
"""The last day of the week on which a key's period may begin, where not every day is allowed."""


_DATES_KEPT = 1 << 16
"""How many dates are cached: every scan of a folder meets the same ones."""


def _list_directives(date_format: str) -> tuple[str, ...]:
    return tuple(sorted({*_DIRECTIVE.findall(date_format)}))


@lru_cache(_DATES_KEPT)
def is_date_key(text: str, partitioning: Partitioning) -> bool:
    """Return whether a text is a key of a dated partitioning, in canonical form.

    The year 9999 has no keys: a period that begins in it may end after the last possible date.
    """
    date_format = _KEY_DATE_FORMATS[partitioning]
    try:
        moment = datetime.strptime(text, date_format)
    except ValueError:
        return False
    if moment.isoweekday() > _LAST_DAYS.get(partitioning, 7):
        return False
    return moment.strftime(date_format) == text and moment.year < MAXYEAR


def is_start_of_date_key(text: str, partitioning: Partitioning) -> bool:
    """Return whether a text is a key of a dated partitioning, or a year, month or day of one."""
    if is_date_key(text, partitioning):
        return True
    shorter = ["%Y", "%Y-%m"]
    if partitioning is Partitioning.HOURLY:
        shorter += ["%Y-%m-%d", "%Y-%m-%d-%H"]
    for date_format in shorter:
        with suppress(ValueError):
            if datetime.strptime(text, date_format).strftime(date_format) == text:
                return True
    return False


def window_of(
    date_key: str, partitioning: Partitioning, zone: tzinfo = UTC
) -> tuple[datetime, datetime]:
    """Return start and end, in UTC, of the period of a dated partitioning's key.

    Args:
        date_key: The key, or the date in a two-dimensional one.
        partitioning: The partitioning.
        zone: The time zone of the key. A day ends at its next midnight, also if clocks are set
            meanwhile; an hour that occurs twice is the first of the two.
    """
    begin = datetime.strptime(date_key, _KEY_DATE_FORMATS[partitioning]).replace(tzinfo=zone)
    match partitioning:
        case Partitioning.HOURLY:
            # Not by the clock on the wall, which may be set within the hour.
            return begin.astimezone(UTC), begin.astimezone(UTC) + timedelta(hours=1)
        case Partitioning.WEEKLY:
            end = begin + timedelta(weeks=1)
        case Partitioning.MONTHLY:
            end = (begin + timedelta(days=31)).replace(day=1)
        case _:
            end = begin + timedelta(days=1)
    return begin.astimezone(UTC), end.astimezone(UTC)


def is_skipped_hour(date_key: str, zone: tzinfo) -> bool:
    """Return whether an hourly key is of an hour that never was, because clocks were set."""
    begin = datetime.strptime(date_key, _KEY_DATE_FORMATS[Partitioning.HOURLY]).replace(tzinfo=zone)
    return begin.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != begin.replace(tzinfo=None)


@lru_cache(_DATES_KEPT)
def _date_key_of(text: str, date_format: str, partitioning: Partitioning) -> str | None:
    """Return the key of a date in a file name; None if there is no such date.

    Args:
        text: The numbers of which the date is made.
        date_format: Which ones they are.
        partitioning: The partitioning of the key.
    """
    day = (text, date_format)
    if "%V" in date_format:
        day = (f"{text} 1", f"{date_format} %u")
    try:
        moment = datetime.strptime(*day)
    except ValueError:
        return None
    # Some versions of Python read week 53 of a year of 52 weeks as the next year's first week.
    if "%V" in date_format and moment.strftime(date_format) != text:
        return None
    if moment.year == MAXYEAR:
        return None
    return moment.strftime(_KEY_DATE_FORMATS[partitioning])


@dataclass(frozen=True)
class FileNamePattern:
    """A file name with placeholders, in it and in the folders before it: `{key}.csv`.

    `{date:%Y-%m-%d}` is a date, `{key}` any text, and `{any}` one, or none, that means nothing. All
    files of a key that differ in `{part}` make up its partition; of those that differ in
    `{version}`, which may be empty, the highest stands for all. Texts are as short as possible,
    from the left. What is there twice must be the same, such as a year in a folder and in the
    file's name. With a key and a date, the partition key is two-dimensional (name x date):
    `acme|2018-01-22`.

    Attributes:
        text: The pattern.
        suffixes: Suffixes, in any case, that may follow it, unless it ends with one itself.
        ignores_case: Whether capital and small letters are alike, but for those of a key.

    Raises:
        FeedDefinitionError: There is neither a key nor a date, two texts of any length have nothing
            between them, or the dates do not yield keys of an hour, a day, a week or a month.
    """

    text: str
    suffixes: tuple[str, ...] = COMPRESSED_SUFFIXES
    ignores_case: bool = False

    def __post_init__(self) -> None:
        if reason := self._find_fault():
            raise FeedDefinitionError(f"pattern {self.text!r} {reason}", attribute="pattern")
        has_other_parts = any(map(has_letters, self._date_formats))
        if self._date_formats and (has_other_parts or self._directives not in _BY_DIRECTIVES):
            meant = [to_directives(one) for one in self._date_formats] if has_other_parts else []
            is_meant = _list_directives(" ".join(meant)) in _BY_DIRECTIVES
            guess = f": {_say_formats(meant)}?" if is_meant else ""
            raise FeedDefinitionError(
                "a date in a file name is made of %Y, %m and, if daily, %d and, if hourly, %H; "
                f"or of %G and %V, if weekly: {_say_formats(self._date_formats)!r}{guess}",
                attribute="pattern",
            )

    def _find_fault(self) -> str:
        if found := re.search(r"\{[^{}]*\}|[{}]", _PLACEHOLDER.sub("", self.text)):
            return (
                f"has {found[0]}, and placeholders are {{key}}, {{date:%Y-%m-%d}}, {{part}}, "
                "{version} and {any}"
            )
        if not self.has_key and not self._date_formats:
            return "needs a placeholder, {key} or {date:%Y-%m-%d} or both"
        if any(name in ("", ".", "..") for name in self._segments):
            return "has a folder without a name"
        if _OF_ANY_LENGTH.search(self.text):
            return "needs something between two placeholders of any length"
        return ""

    @cached_property
    def partitioning(self) -> Partitioning:
        """The partitioning that the pattern implies; of a two-dimensional key, the date's."""
        return _BY_DIRECTIVES[self._directives] if self._date_formats else Partitioning.DYNAMIC

    @property
    def allowed_partitionings(self) -> set[Partitioning]:
        """The partitionings that a feed with this pattern may declare."""
        return _ALLOWED.get(self.partitioning, {self.partitioning})

    @cached_property
    def is_two_dimensional(self) -> bool:
        """Whether the key has a name and a date."""
        return self.has_key and bool(self._date_formats)

    @cached_property
    def has_key(self) -> bool:
        """Whether a name is in the key."""
        return "{key}" in self.text

    @cached_property
    def has_parts(self) -> bool:
        """Whether several files make up a partition."""
        return "{part}" in self.text

    @cached_property
    def has_versions(self) -> bool:
        """Whether of several files one takes the place of the others."""
        return "{version}" in self.text

    @cached_property
    def depth(self) -> int:
        """How many folders a file is in, below the feed's own."""
        return len(self._segments) - 1

    def matches_folder(self, name: str) -> bool:
        """Return whether a folder's name, with those that it is in, matches the pattern's start."""
        return self._folder_regexes[name.count("/")].fullmatch(name) is not None

    def name_of(self, key: str) -> str:
        """Return a name that stands for a key: without a suffix, part 1, and with no version."""
        name = key.rpartition(KEY_SEPARATOR)[0]
        moment = self._moment_of(key) if self._date_formats else None

        def fill(placeholder: re.Match[str]) -> str:
            if placeholder["date"] and moment:
                return moment.strftime(placeholder["date"])
            samples = {"any": "", "version": "", "part": "1"}
            named = name if self.is_two_dimensional else key
            return samples.get(placeholder["name"], named)

        return _PLACEHOLDER.sub(fill, self.text)

    @cached_property
    def has_leading_date(self) -> bool:
        """Whether names begin with a date, or a text and one, and so sort by it."""
        return bool(self._dated_start)

    def start_of_date(self, day: date) -> str:
        """Return what all names of a date begin with, as far as names sort by it.

        A name of an earlier date begins with a text that sorts before it, or with the same one.
        """
        return _PLACEHOLDER.sub(lambda found: day.strftime(found["date"]), self._dated_start)

    def start_of_key(self, key: str) -> str:
        """Return what all names of a key begin with, as far as names sort by its date."""
        return self.start_of_date(self._moment_of(key))

    def _moment_of(self, key: str) -> datetime:
        """Return the start of the period of a key that has a date."""
        date_key = key.rpartition(KEY_SEPARATOR)[2]
        return datetime.strptime(date_key, _KEY_DATE_FORMATS[self.partitioning])

    @cached_property
    def _dated_start(self) -> str:
        """What of the pattern names sort by: up to the last date before all other placeholders."""
        seen, end = list[str](), 0
        for placeholder in _PLACEHOLDER.finditer(self.text):
            seen += _DIRECTIVE.findall(placeholder["date"] or "")
            longest_first = tuple(dict.fromkeys(seen))
            is_sorted = any(order[: len(longest_first)] == longest_first for order in _ORDERS)
            if placeholder["date"] is None or not is_sorted:
                break
            end = placeholder.end()
        return self.text[:end]

    def match(self, file_name: str) -> re.Match[str] | None:
        """Match a file name, with the folders that it is in; None if it does not match."""
        return self._regex.fullmatch(file_name)

    def key_of(self, match: re.Match[str]) -> str:
        """Return the key that a matching name stands for, any date in the key's own format.

        Raises:
            PartitionKeyError: The name contains no possible date.
        """
        parts = [match["key"]] if self.has_key else []
        if self._date_formats:
            text = "-".join([match[group] for group in self._date_groups])
            date_key = _date_key_of(text, self._date_form, self.partitioning)
            if date_key is None:
                form = _say_formats(self._date_formats)
                raise PartitionKeyError(f"the name holds no date of the form {form}")
            parts.append(date_key)
        return KEY_SEPARATOR.join(parts)

    def part_of(self, file_name: str) -> str:
        """Return which part of its partition a file is; empty if the partition has no parts."""
        match = self.match(file_name) if self.has_parts else None
        return match["part"] if match else ""

    def rank_of(self, file_name: str) -> tuple[tuple[bool, int, str], ...]:
        """Return a file's version, such that a higher one compares greater.

        The order is the natural one: numbers by value and before other texts, these by their
        characters, ignoring case, and no text before any.
        """
        match = self.match(file_name) if self.has_versions else None
        pieces = _NUMBER.split(match["version"].casefold()) if match else ()
        return tuple(
            (False, int(piece), "") if piece.isascii() and piece.isdigit() else (True, 0, piece)
            for piece in pieces
            if piece
        )

    @property
    def _segments(self) -> list[str]:
        return self.text.split("/")

    @cached_property
    def _date_formats(self) -> list[str]:
        return [match["date"] for match in _PLACEHOLDER.finditer(self.text) if match["date"]]

    @cached_property
    def _directives(self) -> tuple[str, ...]:
        return _list_directives(" ".join(self._date_formats))

    @cached_property
    def _date_groups(self) -> list[str]:
        """The groups of a match of which a date is made; `_date_form` is their format."""
        return [directive[1] for directive in self._directives]

    @cached_property
    def _date_form(self) -> str:
        return "-".join(self._directives)

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        suffix = ""
        if self.suffixes and not self.text.lower().endswith(self.suffixes):
            suffix = f"(?i:{'|'.join(re.escape(suffix) for suffix in self.suffixes)})?"
        return self._compile(self.text, suffix)

    @cached_property
    def _folder_regexes(self) -> list[re.Pattern[str]]:
        folders = self._segments[:-1]
        return [self._compile("/".join(folders[: depth + 1])) for depth in range(len(folders))]

    def _compile(self, pattern: str, suffix: str = "") -> re.Pattern[str]:
        flags = re.ASCII | re.DOTALL | (re.IGNORECASE if self.ignores_case else 0)
        return re.compile(_to_regex(pattern) + suffix, flags)


def _say_formats(formats: Sequence[str]) -> str:
    return " and ".join(formats)


def _to_regex(pattern: str) -> str:
    """Return a pattern as a regular expression, with groups `key` and one for each directive."""
    groups: set[str] = set()

    def group(name: str, form: str) -> str:
        if name in groups:
            return f"(?P={name})"
        groups.add(name)
        return f"(?P<{name}>{form})"

    def convert(text: str) -> str:
        pieces = _DIRECTIVE.split(text)
        found = [group(one[1], _DATE_DIRECTIVES[one]) for one in _DIRECTIVE.findall(text)]
        return "".join(chain(*zip_longest(map(re.escape, pieces), found, fillvalue="")))

    regex, after = "", 0
    for placeholder in _PLACEHOLDER.finditer(pattern):
        regex += re.escape(pattern[after : placeholder.start()])
        after = placeholder.end()
        match placeholder["name"]:
            case "any":
                regex += "[^/]*?"
            case None:
                regex += convert(placeholder["date"])
            case name:
                regex += group(name, _FORMS[name])
    return regex + re.escape(pattern[after:])
