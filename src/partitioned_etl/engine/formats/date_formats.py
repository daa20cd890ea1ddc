"""Date formats: texts of days and times in a declared format, as SQL that spells them by ISO 8601.

Takes a format in the form of `strptime`; returns SQL for whether a text has its form, and for the
text that DuckDB reads. A format is met exactly as it is spelled: `%d` has two digits, `%-d` has no
zero before it. Next: `values.py` tries the formats of a column in turn. Whether a day exists is
found when DuckDB converts the text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

from partitioned_etl.engine.sql import quote_text

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_SHORT_MONTHS = tuple(name[:3] for name in _MONTHS)
_FIRST_OF_1900S = "69"
"""By POSIX, years from this one on are in the 1900s, and those before it in the 2000s."""
_DAY_PARTS = ("year", "month", "day")
_DAY_NAMES = ("Y", "y", "m", "-m", "d", "-d")
_TIME_PARTS = ("hour", "minute", "second", "fraction")
_WIDTH = {r"\d{2}": 2, r"\d{4}": 4}
_TOKEN = re.compile(r"%(-?.?)|([^%]+)", re.DOTALL)


class _Directive(NamedTuple):
    """A directive of a format: the part that it gives, its texts, and its text at midnight."""

    part: str
    pattern: str
    midnight: str = ""


def _any_of(names: Sequence[str]) -> str:
    return f"(?i:{'|'.join(names)})"


_DIRECTIVES = {
    "Y": _Directive("year", r"\d{4}"),
    "y": _Directive("year", r"\d{2}"),
    "m": _Directive("month", r"\d{2}"),
    "-m": _Directive("month", r"[1-9]\d?"),
    "b": _Directive("month", _any_of(_SHORT_MONTHS)),
    "B": _Directive("month", _any_of(_MONTHS)),
    "d": _Directive("day", r"\d{2}"),
    "-d": _Directive("day", r"[1-9]\d?"),
    "H": _Directive("hour", r"\d{2}", "00"),
    "-H": _Directive("hour", r"0|[1-9]\d?", "0"),
    "I": _Directive("hour", r"0[1-9]|1[0-2]", "12"),
    "-I": _Directive("hour", r"[1-9]|1[0-2]", "12"),
    "p": _Directive("half", "(?i:AM|PM)", "(?i:AM)"),
    "M": _Directive("minute", r"\d{2}", "00"),
    "-M": _Directive("minute", r"0|[1-9]\d?", "0"),
    "S": _Directive("second", r"\d{2}", "00"),
    "-S": _Directive("second", r"0|[1-9]\d?", "0"),
    "f": _Directive("fraction", r"\d{1,9}", "0{1,9}"),
    "z": _Directive("offset", r"Z|[+-](?:0\d|1[0-5])(?::?[0-5]\d)?"),
}


@dataclass(frozen=True)
class DateFormat:
    """A format of a day, a time, or both.

    Attributes:
        text: The format as declared.
        tokens: Its directives, by their names, and the texts between them, which follow a `=`.
    """

    text: str
    tokens: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of its directives, such as `Y` or `-d`."""
        return [token for token in self.tokens if not token.startswith("=")]

    @property
    def parts(self) -> list[str]:
        """What its directives give, in order."""
        return [_DIRECTIVES[name].part for name in self.names]

    @property
    def day_place(self) -> str:
        """Where a day and a month in digits stand, such as `dm`, after `y` if a year is first."""
        order = "".join(_DIRECTIVES[name].part[0] for name in self.names if name in _DAY_NAMES)
        in_digits = order.replace("y", "")
        return order[0].strip("dm") + in_digits if len(in_digits) == 2 else ""

    def form_sql(self, column: str, *, only_midnight: bool = False) -> tuple[str, str]:
        """Return SQL for whether a text has this form, and for it by ISO 8601.

        Args:
            column: The quoted name of the column with the text.
            only_midnight: Whether a time must be midnight, and is left out.
        """
        names = [name for name in self.names if not (only_midnight and _DIRECTIVES[name].midnight)]
        if all(_DIRECTIVES[name].pattern in _WIDTH for name in self.names):
            found, is_form = self._by_place(column, names)
        else:
            found, is_form = self._by_pattern(column, names)
        return is_form, _by_iso(found, has_time=not only_midnight)

    def _by_place(self, column: str, names: Sequence[str]) -> tuple[dict[str, str], str]:
        found, shape, place = {}, "", 1
        for token in self.tokens:
            if token.startswith("="):
                shape += re.sub(r"([\\%_])", r"\\\1", token[1:])
                place += len(token) - 1
                continue
            part, pattern, midnight = _DIRECTIVES[token]
            width = _WIDTH[pattern]
            if token in names:
                found[part] = _spell(token, f"substring({column}, {place}, {width})")
                shape += "_" * width
            else:
                shape += midnight
            place += width
        is_form = rf"{column} LIKE {quote_text(shape)} ESCAPE '\'"
        if "hour" in found:  # DuckDB takes 24:00 for midnight of the next day
            is_form += f" AND {found['hour']} < '24'"
        return found, is_form

    def _by_pattern(self, column: str, names: Sequence[str]) -> tuple[dict[str, str], str]:
        pattern, given = "", []
        for token in self.tokens:
            if token.startswith("="):
                pattern += re.escape(token[1:])
            elif token in names:
                pattern += f"({_DIRECTIVES[token].pattern})"
                given.append(token)
            else:
                pattern += _DIRECTIVES[token].midnight
        quoted = quote_text(f"^{pattern}$")
        found = {
            _DIRECTIVES[name].part: _spell(name, f"regexp_extract({column}, {quoted}, {group})")
            for group, name in enumerate(given, 1)
        }
        is_form = f"regexp_matches({column}, {quoted})"
        if "half" in found:
            hour = f"CAST({found['hour']} AS INTEGER) % 12"
            is_later = f"upper({found.pop('half')}) = 'PM'"
            found["hour"] = _pad(f"CAST({hour} + CASE WHEN {is_later} THEN 12 ELSE 0 END AS TEXT)")
        elif "hour" in found:
            is_form += f" AND {found['hour']} < '24'"
        return found, is_form


def _spell(name: str, sql: str) -> str:
    """Return SQL for the text of a directive as ISO 8601 has it."""
    if name == "y":
        return f"CASE WHEN {sql} < '{_FIRST_OF_1900S}' THEN '20' ELSE '19' END || {sql}"
    if name in "bB":
        place = f"strpos('{''.join(_SHORT_MONTHS).lower()}', lower(left({sql}, 3)))"
        return _pad(f"CAST(({place} + 2) // 3 AS TEXT)")
    return _pad(sql) if _DIRECTIVES[name].pattern not in _WIDTH and name not in "fpz" else sql


def _pad(sql: str) -> str:
    return f"lpad({sql}, 2, '0')"


def _by_iso(found: Mapping[str, str], *, has_time: bool) -> str:
    """Return SQL for a text by ISO 8601 from SQL for its parts, of which a time may lack some."""
    day = " || '-' || ".join(found[part] for part in _DAY_PARTS if part in found)
    if not has_time:
        return day
    time = " || ':' || ".join(found.get(part, "'00'") for part in _TIME_PARTS[:3])
    if "fraction" in found:
        time += f" || '.' || {found['fraction']}"
    if "offset" in found:
        time += f" || {found['offset']}"
    return f"{day} || ' ' || {time}" if day else time


def parse_date_format(text: str) -> DateFormat:
    """Return a format.

    Raises:
        ValueError: It has an unknown directive, or one text could be taken in two ways.
    """
    tokens: list[str] = []
    for name, literal in _TOKEN.findall(text):
        if name in ("", "%") or name not in _DIRECTIVES:
            if not literal and name != "%":
                raise ValueError(f"there is no %{name}")
            literal = literal or "%"  # noqa: PLW2901
            if tokens and tokens[-1].startswith("="):
                tokens[-1] += literal
            else:
                tokens.append(f"={literal}")
        else:
            tokens.append(name)
    found = DateFormat(text, tuple(tokens))
    parts = found.parts
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if twice:
        raise ValueError(f"it has the {twice[0]} twice")
    for before, after in pairwise(tokens):
        are_parted = not (_ends_in_digit(before) and _starts_with_digit(after))
        if not are_parted and not (_has_fixed_width(before) and _has_fixed_width(after)):
            raise ValueError("two numbers without a mark between them need a fixed width")
    if ("half" in parts) != any(name.endswith("I") for name in found.names):
        raise ValueError("%I and %p need one another")
    return found


def _is_number(name: str) -> bool:
    """Return whether the texts of a directive are digits."""
    return name not in "bB" and _DIRECTIVES[name].part in (*_DAY_PARTS, *_TIME_PARTS)


def _ends_in_digit(token: str) -> bool:
    return token[-1].isdecimal() if token.startswith("=") else _is_number(token)


def _starts_with_digit(token: str) -> bool:
    return token[1].isdecimal() if token.startswith("=") else _is_number(token)


def _has_fixed_width(token: str) -> bool:
    return token.startswith("=") or token == "I" or _DIRECTIVES[token].pattern in _WIDTH


def find_fault(formats: Sequence[DateFormat], *, has_day: bool, has_offset: bool, what: str) -> str:
    """Return why formats cannot be those of a column; empty if they can.

    Args:
        formats: The formats, in the order in which they are tried.
        has_day: Whether the column's values have a day.
        has_offset: Whether they have an offset from UTC.
        what: The column's type.
    """
    for one in formats:
        parts = set(one.parts)
        needed = _DAY_PARTS if has_day else ("hour",)
        for part in needed:
            if part not in parts:
                return f"{one.text} has no {part}, which a {what} needs"
        for part, before in zip(_TIME_PARTS[1:], _TIME_PARTS, strict=False):
            if part in parts and before not in parts:
                return f"{one.text} has a {part} and no {before}"
        if not has_day and parts & {*_DAY_PARTS}:
            return f"{one.text} has a day, which a {what} has not"
        if has_offset and "offset" not in parts:
            return f"{one.text} has no %z, which a {what} needs"
        if not has_offset and "offset" in parts:
            return f"{one.text} has %z, which a {what} would lose"
    for one, other in combinations(formats, 2):
        places = (one.day_place, other.day_place)
        if places[0] != places[1] and len(places[0]) == len(places[1]):
            return f"{one.text} and {other.text}: the day is first in one, the month in the other"
        if one.parts != other.parts and _may_be_one_text(one, other):
            return f"{one.text} and {other.text} cannot be told apart"
    return ""


def _may_be_one_text(one: DateFormat, other: DateFormat) -> bool:
    """Return whether a text may have the form of both formats; true where that is not certain."""
    shape, other_shape = _shape(one), _shape(other)
    return len(shape) == len(other_shape) and all(
        a == b if isinstance(a, str) or isinstance(b, str) else a[0] <= b[1] and b[0] <= a[1]
        for a, b in zip(shape, other_shape, strict=True)
    )


def _shape(one: DateFormat) -> list[str | tuple[int, int]]:
    """Return the texts between a format's numbers, and how many digits these may have."""
    shape: list[str | tuple[int, int]] = []

    def add_digits(least: int, most: int) -> None:
        if shape and not isinstance(shape[-1], str):
            least, most = least + shape[-1][0], most + shape[-1][1]
            shape.pop()
        shape.append((least, most))

    for token in one.tokens:
        if token.startswith("="):
            for piece in re.findall(r"\d+|\D+", token[1:]):
                if piece.isdecimal():
                    add_digits(len(piece), len(piece))
                else:
                    shape.append(piece)
        elif _is_number(token):
            width = _WIDTH.get(_DIRECTIVES[token].pattern)
            add_digits(width or 1, width or (9 if token == "f" else 2))
        else:
            shape.append(f"%{_DIRECTIVES[token].part}")
    return shape
