"""Excel values: the cells of one column as texts of its type, or why the type does not take them.

Takes cells as they are stored; returns texts that are validated and converted like those of a CSV
file. A number in a workbook is a double, of which a decimal number keeps 15 digits. A day or a time
is one too: it counts days, of which programs show milliseconds.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from partitioned_etl.engine.formats import types
from partitioned_etl.engine.formats.types import is_float_type, kind_of
from partitioned_etl.engine.formats.workbooks.workbook import Kind

if TYPE_CHECKING:
    from partitioned_etl.engine.formats.values import ValueOptions

MARK = "\x01"
"""Stands before a text that was made of a value, for which no value option holds."""

_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\(\d+, ?(\d+)\)")
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NO_TEXT = re.compile("[\\0\ud800-\udfff]")
_MAX_DIGITS = 15
_MAX_WHOLE = 1 << 53
_DAY_MS = 86_400_000
_MOST_NOISE_MS = 0.002
"""How far from a whole millisecond the double for one may be, also if it was calculated."""
_LAST_DAY, _TOO_MANY_DAYS = 2_900_000, 10_000_000
_MANY = 1_000
_FIRST_CERTAIN_DAY = 61
"""1 March 1900: Excel takes 1900 for a leap year, other programs do not."""
_EPOCHS = {False: date(1899, 12, 30), True: date(1904, 1, 1)}
_TOO_FINE = "a time finer than a millisecond"


class Fault(str):
    """Why a cell is refused, in place of its text."""

    __slots__ = ()


class Belongs(Enum):
    """What belongs into a column, in the words of a refusal."""

    NUMBER = "a number"
    TRUTH = "true or false"
    DATE = "a date"
    TIMESTAMP = "a date and time"
    ZONED = "a date and time with a time zone"
    TIME = "a time of day"
    TEXT = "a text"


_BELONGS = {
    types.Kind.NUMBER: Belongs.NUMBER,
    types.Kind.BOOLEAN: Belongs.TRUTH,
    types.Kind.DATE: Belongs.DATE,
    types.Kind.TIMESTAMP: Belongs.TIMESTAMP,
    types.Kind.ZONED: Belongs.ZONED,
    types.Kind.TIME: Belongs.TIME,
    types.Kind.TEXT: Belongs.TEXT,
    types.Kind.OTHER: Belongs.TEXT,
}


class ColumnType:
    """The type of a column, by which its cells are spelled.

    Args:
        type_name: The DuckDB type.
        values: The column's value options, which hold for cells with texts.
        takes_texts: Whether a text cell may hold what is no text, and a whole number may stand
            where a text belongs.
        is_rounded: Whether decimal numbers are taken to 15 digits.
    """

    def __init__(
        self,
        type_name: str,
        values: "ValueOptions",
        *,
        takes_texts: bool,
        is_rounded: bool,
    ) -> None:
        name = type_name.upper()
        decimal = _DECIMAL.fullmatch(name)
        self._takes_texts, self._is_rounded = takes_texts, is_rounded
        self._is_float = is_float_type(name)
        self._scale = int(decimal[1]) if decimal else 0
        kind = kind_of(name)
        self._belongs = _BELONGS[kind]
        self._values = values
        self._is_marked = bool(values.steps(kind, '""'))
        self._has_forms = bool(values.formats or values.true_texts or values.false_texts)
        self._nulls = frozenset(values.nulls)

    def spell(self, kind: Kind, values: Sequence[str], epoch_1904: bool) -> Sequence[str | None]:
        """Return the values of cells of one kind as texts; a `Fault` for one that is refused.

        Args:
            kind: The kind.
            values: The values, as they are stored.
            epoch_1904: Whether `Kind.SERIAL` counts from 1904 on, not from 1900.

        Returns:
            The texts; None for a number that stands for NULL. `MARK` stands before one that was
            no text, where the column has value options.
        """
        if kind is Kind.NUMBER and self._has_forms and self._belongs is not Belongs.NUMBER:
            if "excel" not in self._values.formats:
                return _spell_whole_numbers(values)
            kind = Kind.SERIAL
        spelled = self._spell(kind, values, epoch_1904)
        if self._nulls and kind is Kind.TEXT:
            spelled = [
                given if self._means_null(given) else one
                for one, given in zip(spelled, values, strict=True)
            ]
        if not self._is_marked:
            return spelled
        if kind is Kind.TEXT:
            return [MARK + text if text.startswith(MARK) else text for text in spelled]
        return [
            text if type(text) is Fault else None if text in self._nulls else MARK + text
            for text in spelled
        ]

    def _means_null(self, text: str) -> bool:
        return (text.strip() if self._values.trim else text) in self._nulls

    def _spell(self, kind: Kind, values: Sequence[str], epoch_1904: bool) -> Sequence[str]:
        belongs = self._belongs
        if kind is Kind.NUMBER and belongs is Belongs.NUMBER:
            return self._spell_numbers(values)
        if kind is Kind.NUMBER and belongs is Belongs.TEXT and self._takes_texts:
            return _spell_whole_numbers(values)
        if kind is Kind.TEXT and (belongs is Belongs.TEXT or self._takes_texts or self._has_forms):
            return _spell_texts(values)
        if kind is Kind.TRUTH and belongs is Belongs.TRUTH:
            return values
        if kind is Kind.SERIAL and belongs in _SERIALS:
            if not _all_match(_NUMBER, values):
                return [_find_no_number(value) for value in values]
            if belongs is Belongs.TIMESTAMP and (usual := _spell_usual(values, epoch_1904)):
                return usual
            spell = _SERIALS[belongs]
            # Most columns have far fewer days than cells.
            known = {value: spell(value, epoch_1904) for value in set(values)}
            return [known[value] for value in values]
        if kind is Kind.ISO and belongs in _ISO:
            return [_ISO[belongs](value) for value in values]
        what = (Kind.SERIAL if kind is Kind.ISO else kind).value
        if kind not in (Kind.ERROR, Kind.UNKNOWN):
            what = f"{what}, where {belongs.value} belongs"
        return [Fault(what)] * len(values)

    def _spell_numbers(self, values: Sequence[str]) -> Sequence[str]:
        if self._is_float:
            if _all_match(_NUMBER, values):
                return values
            return [_find_no_number(value) for value in values]
        is_rounded = self._is_rounded
        if not self._scale:
            return _spell_whole_numbers(values, is_rounded=is_rounded)
        usual = rf"-?(?=[0-9.]{{1,15}}(?![0-9.]))(?:0|[1-9][0-9]*)(?:\.[0-9]{{1,{self._scale}}})?"
        if _all_match(usual, values):
            return values
        unusual = set(re.findall(rf"^(?!{usual}$).*$", "\n".join(values), re.MULTILINE))
        known = {value: _to_decimal(value, self._scale, is_rounded=is_rounded) for value in unusual}
        return [known.get(value, value) for value in values]


def _all_match(pattern: str, values: Sequence[str]) -> bool:
    """Return whether every value is of a form; values have no line ends."""
    return re.fullmatch(f"(?:{pattern}\n)*", "\n".join([*values, ""])) is not None


def _spell_whole_numbers(values: Sequence[str], *, is_rounded: bool = False) -> Sequence[str]:
    if _all_match("(?:0|-?[1-9][0-9]{0,14})", values):
        return values
    return [_to_decimal(value, 0, is_rounded=is_rounded) for value in values]


def _spell_texts(values: Sequence[str]) -> Sequence[str]:
    if not _NO_TEXT.search("".join(values)):
        return values
    return [_find_no_text(value) for value in values]


def _find_no_text(value: str) -> str:
    """Return a value if no character of it is none."""
    found = _NO_TEXT.search(value)
    if not found:
        return value
    return Fault("a NUL character" if found[0] == "\0" else "half a surrogate pair")


def _find_no_number(value: str) -> str:
    """Return a value if it is a number."""
    return value if re.fullmatch(_NUMBER, value) else Fault("a number that is none")


def _to_decimal(value: str, scale: int, *, is_rounded: bool) -> str:
    """Return a number with at most so many decimals: the shortest that is the same double.

    Where it is rounded, that of the 15 digits that programs show of it.
    """
    if not re.fullmatch(_NUMBER, value):
        return Fault("a number that is none")
    number = float(value)
    if abs(number) >= _MAX_WHOLE:
        return Fault(f"a number of more than {_MAX_DIGITS} digits, which no workbook keeps")
    exact = Decimal(f"{number:.{_MAX_DIGITS}g}" if is_rounded else repr(number)).normalize()
    _, digits, exponent = exact.as_tuple()
    decimals = max(0, -int(exponent))
    if decimals > scale:
        return Fault(f"a number with more than {scale} decimals" if scale else "no whole number")
    if decimals and len(digits) > _MAX_DIGITS:
        return Fault(f"a number of more than {_MAX_DIGITS} digits, which no workbook keeps")
    return f"{exact:f}"


def _to_day_and_ms(value: str) -> tuple[int, int] | Fault:
    """Return the days since the epoch, and the milliseconds since midnight."""
    days = float(value)
    if not 0 <= days < _TOO_MANY_DAYS:
        return Fault("a date that is none")
    day = int(days)
    exact_ms = (days - day) * _DAY_MS
    ms = round(exact_ms)
    if abs(exact_ms - ms) > _MOST_NOISE_MS:
        # A spelling with few digits is as far off as its last one allows.
        digits = len(value.partition(".")[2])
        if abs(exact_ms - ms) > min(0.01, _DAY_MS * 0.5 * 10.0**-digits):
            return Fault(_TOO_FINE)
    if ms < _DAY_MS:
        return day, ms
    return (day + 1, 0) if day else Fault(_TOO_FINE)


def _spell_date(value: str, epoch_1904: bool) -> str:
    found = _to_day_and_ms(value)
    if isinstance(found, Fault):
        return found
    day, ms = found
    return Fault("a time of day, where a date belongs") if ms else _spell_day(day, epoch_1904)


def _spell_timestamp(value: str, epoch_1904: bool) -> str:
    found = _to_day_and_ms(value)
    if isinstance(found, Fault):
        return found
    day = _spell_day(found[0], epoch_1904)
    return day if isinstance(day, Fault) else f"{day} {_spell_ms(found[1])}"


def _spell_usual(values: Sequence[str], epoch_1904: bool) -> Sequence[str] | None:
    """Return many days and times at once, as `_spell_timestamp` does; None if one is unusual."""
    if len(values) < _MANY:
        return None
    import numpy as np  # only a process that loads needs it, and it is slow to import

    days = np.array(values, np.float64)
    whole = np.floor(days)
    exact_ms = (days - whole) * _DAY_MS
    ms = np.rint(exact_ms)
    first = 0 if epoch_1904 else _FIRST_CERTAIN_DAY
    is_usual = (np.abs(exact_ms - ms) <= _MOST_NOISE_MS) & (whole >= first) & (whole < _LAST_DAY)
    if not is_usual.all():
        return None
    epoch = np.datetime64(_EPOCHS[epoch_1904], "ms")
    found = epoch + (whole * _DAY_MS + ms).astype("timedelta64[ms]")
    unit = "ms" if (ms % 1000).any() else "s"
    return np.datetime_as_string(found, unit=unit).tolist()


def _spell_time(value: str, epoch_1904: bool) -> str:
    del epoch_1904
    found = _to_day_and_ms(value)
    if isinstance(found, Fault):
        return found
    return Fault("a date, where a time of day belongs") if found[0] else _spell_ms(found[1])


@lru_cache(maxsize=10_000)
def _spell_day(day: int, epoch_1904: bool) -> str:
    if day < _FIRST_CERTAIN_DAY and not epoch_1904:
        return Fault("a date before 1 March 1900, of which programs make different days")
    try:
        return (_EPOCHS[epoch_1904] + timedelta(days=day)).isoformat()
    except OverflowError:
        return Fault("a date that is none")


@lru_cache(maxsize=100_000)
def _spell_ms(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    whole = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
    return f"{whole}.{ms:03}" if ms else whole


def _spell_iso_date(value: str) -> str:
    found = _parse_iso(value)
    if isinstance(found, Fault):
        return found
    if found.time() != time():
        return Fault("a time of day, where a date belongs")
    return found.date().isoformat()


def _spell_iso_timestamp(value: str) -> str:
    found = _parse_iso(value)
    return found if isinstance(found, Fault) else found.isoformat(" ")


def _spell_iso_time(value: str) -> str:
    try:
        found = time.fromisoformat(value)
    except ValueError:
        return Fault("a date, where a time of day belongs")
    return Fault(_TOO_FINE) if found.tzinfo or _is_cut(value) else found.isoformat()


def _parse_iso(value: str) -> datetime | Fault:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return Fault("a date that is none")
    if found.tzinfo:
        return Fault("a time zone, where none belongs")
    return Fault("a time finer than a microsecond") if _is_cut(value) else found


def _is_cut(value: str) -> bool:
    """Return whether Python leaves out some of a fraction of seconds."""
    return len(re.split("[.,]", value)[-1].rstrip("0")) > 6 if re.search("[.,]", value) else False


_SERIALS: dict[Belongs, Callable[[str, bool], str]] = {
    Belongs.DATE: _spell_date,
    Belongs.TIMESTAMP: _spell_timestamp,
    Belongs.TIME: _spell_time,
}
_ISO: dict[Belongs, Callable[[str], str]] = {
    Belongs.DATE: _spell_iso_date,
    Belongs.TIMESTAMP: _spell_iso_timestamp,
    Belongs.TIME: _spell_iso_time,
}
