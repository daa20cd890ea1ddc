"""Strict values: what a declared type and its value options make of a text, in plain Python.

Takes a text and the value options of its column as a feed declares them; returns the value, or
raises. It shares no code with the package: it is the other opinion of the tests that compare.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

Options = Mapping[str, Any]

INTEGERS = {
    "TINYINT": (-(2**7), 2**7),
    "INTEGER": (-(2**31), 2**31),
    "BIGINT": (-(2**63), 2**63),
    "UINTEGER": (0, 2**32),
    "HUGEINT": (-(2**127), 2**127),
}
"""The least value of a type, and what is above its greatest."""
NUMBER_OPTIONS = ("decimal", "thousands", "strip", "trailing_minus")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_DIRECTIVES = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{2})",
    "-m": r"(?P<m>[1-9][0-9]?)",
    "b": f"(?P<b>(?i:{'|'.join(name[:3] for name in _MONTHS)}))",
    "B": f"(?P<b>(?i:{'|'.join(_MONTHS)}))",
    "d": r"(?P<d>[0-9]{2})",
    "-d": r"(?P<d>[1-9][0-9]?)",
    "H": r"(?P<H>[0-9]{2})",
    "-H": r"(?P<H>0|[1-9][0-9]?)",
    "I": r"(?P<I>0[1-9]|1[0-2])",
    "-I": r"(?P<I>[1-9]|1[0-2])",
    "p": r"(?P<p>(?i:AM|PM))",
    "M": r"(?P<M>[0-9]{2})",
    "-M": r"(?P<M>0|[1-9][0-9]?)",
    "S": r"(?P<S>[0-9]{2})",
    "-S": r"(?P<S>0|[1-9][0-9]?)",
    "f": r"(?P<f>[0-9]{1,9})",
    "z": r"(?P<z>Z|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)",
    "%": "%",
}
_DAY = r"(?P<Y>[0-9]{4})(?P<mark>[-/])(?P<m>[0-9]{2})(?P=mark)(?P<d>[0-9]{2})"
_TIME = r"(?P<H>[0-9]{2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:\.(?P<f>[0-9]{1,6}))?)?"
_USUAL = {
    "DATE": _DAY,
    "TIME": _TIME,
    "TIMESTAMP": f"{_DAY}[ T]{_TIME}",
    "TIMESTAMPTZ": f"{_DAY}[ T]{_TIME}{_DIRECTIVES['z']}",
}
FORMAT_OPTIONS = {
    "DATE": "date_format",
    "TIME": "time_format",
    "TIMESTAMP": "timestamp_format",
    "TIMESTAMPTZ": "timestamp_format",
}
_TRUE, _FALSE = {"true", "t", "yes", "y", "1"}, {"false", "f", "no", "n", "0"}


class RefusedError(Exception):
    """The file differs from its declaration."""


class UnsureError(Exception):
    """What the declaration says of the file is not certain."""


def to_value(text: str | None, type_name: str, options: Options) -> object:
    """Return the value of a text; None if there is none.

    A TIMESTAMPTZ is given as microseconds since 1970.

    Raises:
        RefusedError: The type does not take the text.
        UnsureError: Whether it does is not certain.
    """
    if text is not None and options.get("trim"):
        text = text.strip() or None
    if text is None or text in options.get("nulls", ()):
        return None
    if type_name == "VARCHAR":
        return text
    if type_name == "BOOLEAN" and (text or text in options.get("false_texts", ())):
        return _to_truth(text, options)
    if not text:
        return None
    if option := FORMAT_OPTIONS.get(type_name):
        return _to_moment(text, type_name, as_list(options.get(option, ())))
    return _to_number(_plain_number(text, options), type_name)


def as_list(texts: str | Sequence[str]) -> Sequence[str]:
    """Return one text, or several, as a list."""
    return [texts] if isinstance(texts, str) else texts


def _to_truth(text: str, options: Options) -> bool:
    if options.get("true_texts") or options.get("false_texts"):
        true, false = set(options.get("true_texts", ())), set(options.get("false_texts", ()))
    else:
        true, false, text = _TRUE, _FALSE, text.lower()
    if text not in true | false:
        raise RefusedError("no truth value")
    return text in true


def _plain_number(text: str, options: Options) -> str:
    text = _without_sign_text(text, options.get("strip", ()))
    if options.get("trailing_minus") and text.endswith("-"):
        text = f"-{text[:-1]}"
    mark, decimal = options.get("thousands", ""), options.get("decimal", ".")
    if mark and mark in text:
        groups = re.match(r"[+-]?([0-9]+)", text.replace(mark, ""))
        whole, *rest = text.split(mark)
        tail = re.match(r"[0-9]{3}(?![0-9])", rest[-1])
        are_threes = all(re.fullmatch("[0-9]{3}", group) for group in rest[:-1])
        if not (re.fullmatch("[+-]?[0-9]{1,3}", whole) and are_threes and tail and groups):
            raise RefusedError("the thousands are not parted in threes")
        text = text.replace(mark, "")
    if decimal == ",":
        if "." in text:
            raise RefusedError("a decimal point")
        text = text.replace(",", ".")
    return text


def _without_sign_text(text: str, signs: Sequence[str]) -> str:
    white = " \t\n\f\r\u00a0\u202f"
    bare = text[1:] if text[:1] in ("+", "-") else text
    for sign in sorted(signs, key=len, reverse=True):
        if bare.startswith(sign):
            return text[: len(text) - len(bare)] + bare.removeprefix(sign).lstrip(white)
    for sign in sorted(signs, key=len, reverse=True):
        if text.endswith(sign):
            return text.removesuffix(sign).rstrip(white)
    return text


def _to_number(text: str, type_name: str) -> object:
    if limits := INTEGERS.get(type_name):
        if not re.fullmatch("[+]?[0-9]+" if limits[0] == 0 else "[+-]?[0-9]+", text):
            raise RefusedError("no whole number")
        whole = int(text)
        if not limits[0] <= whole < limits[1]:
            raise RefusedError("too large")
        return whole
    if type_name == "DOUBLE":
        found = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
        if not found:
            raise RefusedError("no number")
        number = float(text)
        if math.isinf(number) or (number == 0 and found[1].strip("0.")):
            raise RefusedError("too large, or too small")
        return number
    precision, scale = map(int, re.findall("[0-9]+", type_name))
    if not re.fullmatch(rf"[+-]?[0-9]+(\.[0-9]{{0,{scale}}})?", text):
        raise RefusedError("no such decimal number")
    exact = Decimal(text)
    if abs(exact) >= 10 ** (precision - scale):
        raise RefusedError("too large")
    return exact.quantize(Decimal(1).scaleb(-scale), context=Context(prec=precision + 1))


def _to_moment(text: str, type_name: str, formats: Sequence[str]) -> object:
    if formats and formats[0] in ("excel", "epoch", "epoch_ms"):
        return _to_counted(text, type_name, formats[0])
    patterns = [form_pattern(one) for one in formats] or [_USUAL[type_name]]
    found = [match for pattern in patterns if (match := re.fullmatch(pattern, text))]
    if not found:
        raise RefusedError("not of the form")
    values = {_assemble(match.groupdict(), type_name) for match in found}
    if len(values) > 1:
        raise UnsureError("two formats give two values")
    return values.pop()


def form_pattern(one: str) -> str:
    """Return the regular expression of a format of days and times."""
    pieces = re.findall(r"%-?.|[^%]+", one, re.DOTALL)
    return "".join(_DIRECTIVES[p[1:]] if p.startswith("%") else re.escape(p) for p in pieces)


def _assemble(parts: Mapping[str, str | None], type_name: str) -> object:
    digits = {name: int(part) for name, part in parts.items() if part and part.isdecimal()}
    hour = digits.get("H", 0)
    if "I" in digits:
        hour = digits["I"] % 12 + (12 if (parts["p"] or "").upper() == "PM" else 0)
    fraction = parts.get("f") or ""
    try:
        clock = time(hour, digits.get("M", 0), digits.get("S", 0), int(f"{fraction:0<6}"[:6] or 0))
        if type_name == "TIME":
            day = date.min
        else:
            year = digits.get("Y", 0)
            if "y" in digits:
                year = digits["y"] + (1900 if digits["y"] >= 69 else 2000)
            month = digits.get("m", 0)
            if name := parts.get("b"):
                month = [each[:3].lower() for each in _MONTHS].index(name[:3].lower()) + 1
            day = date(year, month, digits["d"])
    except ValueError:
        raise RefusedError("no such moment") from None
    if len(fraction) > 6 and (type_name != "DATE" or fraction.strip("0")):
        raise RefusedError("too fine a fraction")
    if type_name == "TIME":
        return clock
    if type_name == "DATE":
        if clock != time.min:
            raise RefusedError("not midnight")
        return day
    moment = datetime.combine(day, clock)
    if type_name == "TIMESTAMP":
        return moment
    offset = parts["z"] or ""
    minutes = 0
    if offset != "Z":
        bare = offset[1:].replace(":", "").ljust(4, "0")
        minutes = (int(bare[:2]) * 60 + int(bare[2:])) * (-1 if offset[0] == "-" else 1)
    return to_microseconds(moment.replace(tzinfo=UTC)) - minutes * 60_000_000


def to_microseconds(moment: datetime) -> int:
    """Return the microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def _to_counted(text: str, type_name: str, unit: str) -> object:
    if unit == "excel":
        found = re.fullmatch(r"([0-9]+)(\.[0-9]+)?", text)
        if not found:
            raise RefusedError("no serial number")
        days, part = int(found[1]), Decimal(f"0{found[2] or '.0'}")
        if len(found[1]) > 7 or len(found[2] or "") > 20:
            raise UnsureError("many digits")
        if not 1 <= days <= 2_958_465 or days == 60 or (type_name == "DATE" and part):
            raise RefusedError("no serial number of a day")
        day = date(1899, 12, 30) + timedelta(days + (days < 60))
        if type_name == "DATE":
            return day
        millis = int((part * 86_400_000).to_integral_value(ROUND_HALF_UP))
        try:
            return datetime.combine(day, time.min) + timedelta(milliseconds=millis)
        except OverflowError:
            raise UnsureError("the end of time") from None
    digits = 6 if unit == "epoch" else 3
    if not (found := re.fullmatch(r"([+-]?[0-9]+)(\.[0-9]+)?", text)):
        raise RefusedError("no count")
    if len(found[2] or "") > digits + 1:
        raise RefusedError("too fine a fraction")
    if len(found[1].lstrip("+-")) > 18 - digits:
        if abs(int(found[1])) < 10**11:
            raise UnsureError("many zeros")
        raise RefusedError("beyond the year 9999")
    micros = int(Decimal(text) * 10**digits)
    try:
        moment = EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise RefusedError("beyond the years 1 to 9999") from None
    return micros if type_name == "TIMESTAMPTZ" else moment.replace(tzinfo=None)
