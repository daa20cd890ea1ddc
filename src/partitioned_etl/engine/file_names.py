"""File names: a feed's pattern, and how a file name becomes a partition key.

Takes a pattern with a placeholder for a name, a date or, with one folder, both; returns the key.
The names in a folder are listed in `landing.py`.
"""

import re
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cached_property, lru_cache

from partitioned_etl.engine.date_letters import has_letters, to_directives
from partitioned_etl.engine.errors import FeedDefinitionError, PartitionKeyError
from partitioned_etl.engine.formats.compression import COMPRESSED_SUFFIXES

KEY_SEPARATOR = "|"
"""Separates name and date in a two-dimensional key, as in Dagster."""
_PLACEHOLDER = re.compile(r"\{(?:(?P<key>key)|date:(?P<date>[^{}/]+))\}")
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
FRIDAY = 5
"""The last weekday by ISO 8601, in which Monday is 1; cron numbers them the same way."""
_LAST_DAYS = {Partitioning.WEEKDAYS: FRIDAY, Partitioning.WEEKLY: 1}
"""The last day of the week on which a key's period may begin, where not every day is allowed."""


_DATES_KEPT = 1 << 16
"""How many dates are cached: every scan of a folder meets the same ones."""


def _list_directives(date_format: str) -> tuple[str, ...]:
    return tuple(sorted(re.findall(r"%.", date_format)))


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
    """Return the key of a date in a file name; None if there is no such date."""
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
    """A file name with a placeholder for the key: `{key}.csv` or `{date:%Y-%m-%d}.csv`.

    With one folder, there are both: `{key}/{date:%Y-%m-%d}.csv` or `{date:%Y-%m}/{key}.csv`. The
    key is then two-dimensional (name x date): `acme|2018-01-22`.

    Attributes:
        text: The pattern.
        suffixes: Suffixes, in any case, that may follow it, unless it ends with one itself.

    Raises:
        FeedDefinitionError: The placeholders are not as above, or the date format does not yield
            keys of an hour, a day, a week or a month.
    """

    text: str
    suffixes: tuple[str, ...] = COMPRESSED_SUFFIXES

    def __post_init__(self) -> None:
        found = [[match["date"] for match in _PLACEHOLDER.finditer(part)] for part in self._parts]
        is_one = len(found) == 1 and len(found[0]) == 1
        is_two = (
            [len(part) for part in found] == [1, 1] and [None] in found and found[0] != found[1]
        )
        if not is_one and not is_two:
            raise FeedDefinitionError(
                f"pattern {self.text!r} needs exactly one placeholder, {{key}} or "
                "{date:%Y-%m-%d}, and no folder; or both, one of them for a folder, as in "
                "{key}/{date:%Y-%m-%d}.csv",
                attribute="pattern",
            )
        date_format = self._date_format or ""
        has_other_parts = has_letters(date_format)
        if date_format and (has_other_parts or self._directives not in _BY_DIRECTIVES):
            meant = to_directives(date_format) if has_other_parts else ""
            guess = f": {meant}?" if _list_directives(meant) in _BY_DIRECTIVES else ""
            raise FeedDefinitionError(
                "a date in a file name is made of %Y, %m and, if daily, %d and, if hourly, %H; "
                f"or of %G and %V, if weekly: {date_format!r}{guess}",
                attribute="pattern",
            )

    @cached_property
    def partitioning(self) -> Partitioning:
        """The partitioning that the pattern implies; of a two-dimensional key, the date's."""
        return _BY_DIRECTIVES[self._directives] if self._date_format else Partitioning.DYNAMIC

    @property
    def allowed_partitionings(self) -> set[Partitioning]:
        """The partitionings that a feed with this pattern may declare."""
        return _ALLOWED.get(self.partitioning, {self.partitioning})

    @cached_property
    def has_folder(self) -> bool:
        """Whether the key is two-dimensional, with files one folder deeper."""
        return len(self._parts) == 2

    def matches_folder(self, name: str) -> bool:
        """Return whether a folder's name matches the pattern's first part."""
        return self.has_folder and self._compile(self._parts[0]).fullmatch(name) is not None

    def match(self, file_name: str) -> re.Match[str] | None:
        """Match a file name, with its folder if the pattern has one; None if it does not match."""
        return self._regex.fullmatch(file_name)

    def key_of(self, match: re.Match[str]) -> str:
        """Return the key that a matching name stands for, any date in the key's own format.

        Raises:
            PartitionKeyError: The name contains no possible date.
        """
        found = match.groupdict()
        parts = [found["key"]] if "key" in found else []
        if self._date_format:
            date_key = _date_key_of(found["date"], self._date_format, self.partitioning)
            if date_key is None:
                raise PartitionKeyError(f"the name holds no date of the form {self._date_format}")
            parts.append(date_key)
        return KEY_SEPARATOR.join(parts)

    @property
    def _parts(self) -> list[str]:
        return self.text.split("/")

    @cached_property
    def _date_format(self) -> str | None:
        formats = [match["date"] for match in _PLACEHOLDER.finditer(self.text)]
        return next((one for one in formats if one), None)

    @property
    def _directives(self) -> tuple[str, ...]:
        return _list_directives(self._date_format or "")

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        return self._compile(self.text, suffixes=self.suffixes)

    def _compile(self, text: str, *, suffixes: tuple[str, ...] = ()) -> re.Pattern[str]:
        regex, after = "", 0
        for placeholder in _PLACEHOLDER.finditer(text):
            middle = "(?P<key>[^/]+?)"
            if placeholder["date"]:
                middle = re.escape(placeholder["date"])
                for directive, digits in _DATE_DIRECTIVES.items():
                    middle = middle.replace(re.escape(directive), digits)
                middle = f"(?P<date>{middle})"
            regex += re.escape(text[after : placeholder.start()]) + middle
            after = placeholder.end()
        regex += re.escape(text[after:])
        if suffixes and not text.lower().endswith(suffixes):
            regex += f"(?i:{'|'.join(re.escape(suffix) for suffix in suffixes)})?"
        return re.compile(regex, re.ASCII | re.DOTALL)
