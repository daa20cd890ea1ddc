"""Number proposals: how all numbers of a column are spelled.

Takes texts, in pieces; returns the types and options that they may be of. Whether a mark stands
before a fraction or parts thousands may stay open: then there are two guesses.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from partitioned_etl.engine.formats.proposals.guess import Evidence, Guess

_CURRENCIES = (
    *("€", "$", "£", "¥", "₹", "EUR", "USD", "GBP", "CHF", "JPY", "SEK", "NOK", "DKK", "PLN"),
    *("CZK", "HUF", "CAD", "AUD", "Fr.", "kr", "zł", "Kč", "Ft", "R$"),
)
_PERCENT = "%"
_SIGN = "|".join(map(re.escape, sorted((*_CURRENCIES, _PERCENT), key=len, reverse=True)))
_WITH_SIGN = re.compile(
    rf"([+-]?)(?:(?P<before>{_SIGN})[\s\u00a0\u202f]*(.*\d-?)|(.*\d-?)[\s\u00a0\u202f]*"
    rf"(?P<after>{_SIGN}))"
)
_MOST_DOUBLE_DIGITS = 15
_MOST_DIGITS = 38
_BIGINT, _BIGINT_DIGITS = 2**63, 19


@dataclass(frozen=True)
class _Notation:
    """One way to spell numbers: what stands before the fraction, and between thousands."""

    decimal: str
    thousands: str = ""

    @property
    def regex(self) -> str:
        point, mark = re.escape(self.decimal), re.escape(self.thousands)
        whole = r"(?:0|[1-9]\d*)"
        if self.thousands:
            whole = rf"(?:{whole}|[1-9]\d{{0,2}}(?:{mark}\d{{3}})+)"
        return rf"[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)"


_NOTATIONS = {
    _Notation(decimal, thousands): re.compile(_Notation(decimal, thousands).regex)
    for decimal, thousands in (
        *((".", ""), (",", ""), (".", ","), (",", "."), (".", "'"), (".", "\u2019"), (",", "'")),
        *((decimal, space) for decimal in ",." for space in " \u00a0\u202f"),
    )
}
_EXPONENT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)[eE][+-]?\d{1,3}")
_PLAIN = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)")


class NumberTexts:
    """Which numbers the texts of a column may be."""

    def __init__(self) -> None:
        """Take everything for possible."""
        self._alive = list(_NOTATIONS)
        self._may_have_exponents = True
        self._signs = set[str]()
        self._has_trailing_minus = self._are_signed = False
        self._whole_digits = self._digits = 0
        self._scales: dict[str, int] = {".": 0, ",": 0}
        self._has_mark = {".": False, ",": False}
        self._spaces = set[str]()
        self.lowest = self.highest = 0
        """Of whole numbers."""

    @property
    def is_possible(self) -> bool:
        """Whether all texts may be numbers."""
        return bool(self._alive or self._may_have_exponents)

    def see(self, texts: Sequence[str]) -> None:
        """Take more texts into account."""
        bare = texts
        if not all(map(_PLAIN.fullmatch, texts)):
            bare = [self._strip(text) for text in texts]
        self._alive = [one for one in self._alive if all(map(_NOTATIONS[one].fullmatch, bare))]
        self._may_have_exponents &= all(
            _EXPONENT.fullmatch(text) or _PLAIN.fullmatch(text) for text in texts
        )
        if self._alive:
            self._measure(bare)

    def _strip(self, text: str) -> str:
        if found := _WITH_SIGN.fullmatch(text):
            self._signs.add(found["before"] or found["after"])
            text = found[1] + (found[3] or found[4]).strip()
        if text.endswith("-") and text[:1].isdigit():
            self._has_trailing_minus = True
            text = text[:-1]
        return text

    def _measure(self, bare: Sequence[str]) -> None:
        for mark in ".,":
            with_mark = [text for text in bare if mark in text]
            if with_mark:
                self._has_mark[mark] = True
                scale = max(len(text) - text.rindex(mark) - 1 for text in with_mark)
                self._scales[mark] = max(self._scales[mark], scale)
        longest = max(bare, key=len)
        self._digits = max(self._digits, len(re.sub(r"\D", "", longest).lstrip("0")))
        if not any(self._has_mark.values()) and all(t.lstrip("+-").isdecimal() for t in bare):
            numbers = [int(text) for text in bare]
            low, high = min(numbers), max(numbers)
            is_first = not self._whole_digits
            self._whole_digits = max(self._whole_digits, len(str(max(abs(low), abs(high)))))
            self.lowest = low if is_first else min(low, self.lowest)
            self.highest = high if is_first else max(high, self.highest)

    def guesses(self) -> list[Guess]:
        """Return what the texts may be; several if that is open."""
        currencies = self._signs - {_PERCENT}
        if len(currencies) > 1 or (currencies and _PERCENT in self._signs):
            return []  # without its sign, an amount would be of any currency
        if self._alive:
            return [self._spell(one) for one in self._fewest()]
        if self._may_have_exponents:
            return [Guess("DOUBLE")]
        return []

    def _fewest(self) -> list[_Notation]:
        """Return the notations that are possible, without those that have more than is needed."""
        plain = [one for one in self._alive if not one.thousands]
        if len(plain) == 2:  # no marks at all
            return plain[:1]
        parted = [one for one in self._alive if one.thousands]
        if not plain:
            return parted[:1]
        # 1.234 may be a number with a fraction, or one with thousands.
        other = [one for one in parted if one.thousands == plain[0].decimal]
        return [plain[0], *other[:1]]

    def _spell(self, one: _Notation) -> Guess:
        options: dict[str, Any] = {}
        has_fraction = self._has_mark[one.decimal]
        is_marked = has_fraction or one.thousands
        if one.decimal == "," and (has_fraction or one.thousands == "."):
            options["decimal"] = ","
        if one.thousands:
            options["thousands"] = one.thousands
        if self._signs:
            options["strip"] = sorted(self._signs)
        if self._has_trailing_minus:
            options["trailing_minus"] = True
        evidence = Evidence.NONE
        if is_marked:
            points = one.decimal == "." if has_fraction else one.thousands != "."
            evidence = Evidence.POINT if points else Evidence.COMMA
            if not has_fraction and one.thousands not in (".", ","):
                evidence = Evidence.NONE
        doubt = "5 % is loaded as 5" if _PERCENT in self._signs else ""
        return Guess(self._type(one, has_fraction=has_fraction), options, evidence, doubt)

    def _type(self, one: _Notation, *, has_fraction: bool) -> str:
        if not has_fraction:
            most = max(abs(self.lowest), abs(self.highest))
            if self._digits < _BIGINT_DIGITS or (self._whole_digits and most < _BIGINT):
                return "BIGINT"
            return "HUGEINT" if self._digits <= _MOST_DIGITS else "VARCHAR"
        scale = self._scales[one.decimal]
        is_amount = self._signs - {_PERCENT} or one.thousands
        if is_amount and scale <= 6 and self._digits <= 18:
            return f"DECIMAL(18, {max(scale, 2)})"
        if self._digits > _MOST_DOUBLE_DIGITS and self._digits + 4 <= _MOST_DIGITS:
            return f"DECIMAL({_MOST_DIGITS}, {scale})"
        return "DOUBLE"
