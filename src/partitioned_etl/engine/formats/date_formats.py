"""Date formats: how a sender spells days and times, in the form of `strptime`.

Takes the text of a format; returns its directives, or why it cannot be meant, alone or beside
others. A format is met exactly as it is spelled: `%d` has two digits, `%-d` has no zero before it.
SQL for it belongs in `date_sql.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
SHORT_MONTHS = tuple(name[:3] for name in _MONTHS)
DAY_PARTS = ("year", "month", "day")
_DAY_NAMES = ("Y", "y", "m", "-m", "d", "-d")
TIME_PARTS = ("hour", "minute", "second", "fraction")
WIDTH = {r"\d{2}": 2, r"\d{4}": 4}
"""How many characters the texts of a pattern have, where all have as many and any digit will do."""
_TOKEN = re.compile(r"%(-?.?)|([^%]+)", re.DOTALL)


class _Directive(NamedTuple):
    """A directive of a format: the part that it gives, its texts, and its text at midnight."""

    part: str
    pattern: str
    midnight: str = ""


def _any_of(names: Sequence[str]) -> str:
    return f"(?i:{'|'.join(names)})"


DIRECTIVES = {
    "Y": _Directive("year", r"\d{4}"),
    "y": _Directive("year", r"\d{2}"),
    "m": _Directive("month", r"\d{2}"),
    "-m": _Directive("month", r"[1-9]\d?"),
    "b": _Directive("month", _any_of(SHORT_MONTHS)),
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
        return [DIRECTIVES[name].part for name in self.names]

    @property
    def day_place(self) -> str:
        """Where a day and a month in digits stand, such as `dm`, after `y` if a year is first."""
        order = "".join(DIRECTIVES[name].part[0] for name in self.names if name in _DAY_NAMES)
        in_digits = order.replace("y", "")
        return order[0].strip("dm") + in_digits if len(in_digits) == 2 else ""


def parse_date_format(text: str) -> DateFormat:
    """Return a format.

    Raises:
        ValueError: It has an unknown directive, or one text could be taken in two ways.
    """
    tokens: list[str] = []
    for name, literal in _TOKEN.findall(text):
        if name in ("", "%") or name not in DIRECTIVES:
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
    return name not in "bB" and DIRECTIVES[name].part in (*DAY_PARTS, *TIME_PARTS)


def _ends_in_digit(token: str) -> bool:
    return token[-1].isdecimal() if token.startswith("=") else token == "z" or _is_number(token)


def _starts_with_digit(token: str) -> bool:
    return token[1].isdecimal() if token.startswith("=") else _is_number(token)


def _has_fixed_width(token: str) -> bool:
    return token.startswith("=") or token == "I" or DIRECTIVES[token].pattern in WIDTH


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
        needed = DAY_PARTS if has_day else ("hour",)
        for part in needed:
            if part not in parts:
                return f"{one.text} has no {part}, which a {what} needs"
        for part, before in zip(TIME_PARTS[1:], TIME_PARTS, strict=False):
            if part in parts and before not in parts:
                return f"{one.text} has a {part} and no {before}"
        if not has_day and parts & {*DAY_PARTS}:
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
            width = WIDTH.get(DIRECTIVES[token].pattern)
            add_digits(width or 1, width or (9 if token == "f" else 2))
        else:
            shape.append(f"%{DIRECTIVES[token].part}")
    return shape
