"""Date proposals: which formats of days and times all texts of a column have.

Takes texts, in pieces; returns the types and formats that they may be of. Whether a day or a month
is first may stay open: then there are two, of which `value_proposal.py` takes one.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from partitioned_etl.engine.formats.date_formats import DIRECTIVES, parse_date_format
from partitioned_etl.engine.formats.proposals.guess import Evidence, Guess

_RANGES = {
    "Y": r"(?:1[5-9]|2\d)\d{2}",
    "m": r"(?:0[1-9]|1[0-2])",
    "-m": r"(?:[1-9]|1[0-2])",
    "d": r"(?:0[1-9]|[12]\d|3[01])",
    "-d": r"(?:[1-9]|[12]\d|3[01])",
    "H": r"(?:[01]\d|2[0-3])",
    "-H": r"(?:1?\d|2[0-3])",
    "M": r"[0-5]\d",
    "S": r"[0-5]\d",
    "f": r"\d{1,6}",
}
"""What a directive may be, where its own pattern takes any digits."""
_NATIVE_DAYS = ("%Y-%m-%d", "%Y/%m/%d")
_NATIVE_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f")
_IN_DIGITS = tuple(
    form.replace("/", separator)
    for separator in "./- "
    for form in (
        *("%d/%m/%Y", "%m/%d/%Y", "%-d/%-m/%Y", "%-m/%-d/%Y"),
        *("%d/%m/%y", "%m/%d/%y", "%-d/%-m/%y", "%-m/%-d/%y", "%y/%m/%d"),
    )
)
_DAYS = (
    *_NATIVE_DAYS,
    *("%Y.%m.%d", "%Y-%-m-%-d", "%Y/%-m/%-d", "%Y.%-m.%-d"),
    *_IN_DIGITS,
    *("%d-%b-%Y", "%d %b %Y", "%d/%b/%Y", "%d-%b-%y", "%d %b %y", "%-d-%b-%Y", "%-d %b %Y"),
    *("%d %B %Y", "%-d %B %Y", "%d. %B %Y", "%-d. %B %Y"),
    *("%b %d, %Y", "%b %-d, %Y", "%B %d, %Y", "%B %-d, %Y"),
)
_TIMES = (
    *_NATIVE_TIMES,
    *("%-H:%M:%S", "%-H:%M", "%H.%M", "%H:%M:%S,%f"),
    *("%I:%M:%S %p", "%I:%M %p", "%-I:%M:%S %p", "%-I:%M %p", "%I:%M%p", "%-I:%M%p"),
)
_WHOLE = ("%Y%m%dT%H%M%S%z", "%Y%m%dT%H%M%S", "%d/%b/%Y:%H:%M:%S %z")
"""Formats that have no mark between day and time, or one of their own."""
_MOMENT = re.compile(
    r"(?P<day>.{6,20}?)(?P<between>T| |, )(?P<time>\d{1,2}[:.]\d\d(?:[:.]\d\d)?(?:[.,]\d+)?"
    r"(?: ?[AaPp][Mm])?)(?P<zone> ?(?:Z|[+-]\d\d(?::?\d\d)?)| ?UTC| ?GMT)?"
)
_NANOSECONDS = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{7,9}")


@lru_cache(maxsize=1024)
def _to_regex(form: str) -> re.Pattern[str]:
    pattern = "".join(
        re.escape(token[1:]) if token.startswith("=") else _RANGES.get(token, _pattern_of(token))
        for token in parse_date_format(form).tokens
    )
    return re.compile(pattern)


def _pattern_of(token: str) -> str:
    return f"(?:{DIRECTIVES[token].pattern})"


def _keep(forms: Iterable[str], texts: Sequence[str]) -> list[str]:
    """Return the formats that all texts have."""
    return [form for form in forms if all(map(_to_regex(form).fullmatch, texts))]


class DateTexts:
    """Which days, times or both the texts of a column may be."""

    def __init__(self) -> None:
        """Take everything for possible."""
        self._days, self._times, self._whole = list(_DAYS), list(_TIMES), list(_WHOLE)
        self._moment_days, self._moment_times = list(_DAYS), list(_TIMES)
        self._between = set[str]()
        self._zones = set[str]()
        self._are_moments = self._are_nanoseconds = True

    @property
    def is_possible(self) -> bool:
        """Whether all texts may be days or times."""
        are_moments = self._are_moments and self._moment_days and self._moment_times
        found = self._days or self._times or self._whole
        return bool(found or are_moments or self._are_nanoseconds)

    def see(self, texts: Sequence[str]) -> None:
        """Take more texts into account."""
        self._days = _keep(self._days, texts)
        self._times = _keep(self._times, texts)
        self._whole = _keep(self._whole, texts)
        self._are_nanoseconds &= all(map(_NANOSECONDS.fullmatch, texts))
        if not self._are_moments:
            return
        parts = [_MOMENT.fullmatch(text) for text in texts]
        self._are_moments = all(parts)
        if self._are_moments:
            found = [part.groupdict(default="") for part in parts if part]
            self._moment_days = _keep(self._moment_days, [one["day"] for one in found])
            self._moment_times = _keep(self._moment_times, [one["time"] for one in found])
            self._between |= {one["between"] for one in found}
            self._zones |= {_kind_of_zone(one["zone"]) for one in found}

    def guesses(self) -> list[Guess]:
        """Return what the texts may be; several if that is open."""
        if self._days:
            return _decide("DATE", "date_format", self._days, _NATIVE_DAYS)
        if self._times:
            form = self._times[0]
            if form in _NATIVE_TIMES:
                return [Guess("TIME")]
            return [Guess("TIME", {"time_format": form}, doubt=f"times as {form}, or durations?")]
        if self._whole:
            type_name = "TIMESTAMPTZ" if "%z" in self._whole[0] else "TIMESTAMP"
            return [Guess(type_name, {"timestamp_format": self._whole[0]})]
        if self._are_nanoseconds:
            return [Guess("TIMESTAMP_NS")]
        return self._moment_guesses()

    def _moment_guesses(self) -> list[Guess]:
        is_open = self._moment_days and self._moment_times
        if not (self._are_moments and is_open and len(self._zones) == 1):
            return []
        zone = next(iter(self._zones))
        type_name = "TIMESTAMPTZ" if zone.endswith("%z") else "TIMESTAMP"
        is_native = (
            self._moment_days[0] in _NATIVE_DAYS
            and self._moment_times[0] in _NATIVE_TIMES
            and zone in ("", "%z")
            and self._between <= {" ", "T"}
        )
        if is_native:
            return [Guess(type_name)]
        if len(self._between) > 1:
            return []
        end = f"{next(iter(self._between))}{self._moment_times[0]}{zone}"
        forms = [f"{day}{end}" for day in self._moment_days]
        return _decide(type_name, "timestamp_format", forms, ())


def _kind_of_zone(text: str) -> str:
    if not text or (text.strip().isalpha() and text.strip() != "Z"):
        return text
    return " %z" if text.startswith(" ") else "%z"


def _decide(
    type_name: str, option: str, forms: Sequence[str], native: Sequence[str]
) -> list[Guess]:
    """Return a guess for each order of day and month that is possible."""
    if forms[0] in native:
        return [Guess(type_name)]
    by_order: dict[str, str] = {}
    for form in forms:
        by_order.setdefault(parse_date_format(form).day_place, form)
    return [
        Guess(
            type_name,
            {option: form},
            evidence=_ORDERS.get(order[:1] if len(by_order) > 1 or order else "", Evidence.NONE),
            doubt=_say_years(form),
            separator=form[len(form.split("%")[1]) + 1 :][:1],
        )
        for order, form in by_order.items()
    ]


_ORDERS = {"d": Evidence.DAY_FIRST, "m": Evidence.MONTH_FIRST}


def _say_years(form: str) -> str:
    return "years of two digits: 69 is 1969, 68 is 2068" if "%y" in form else ""
