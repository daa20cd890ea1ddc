"""Number formats: whether a workbook shows a number as a number, a date or a duration."""

import re

from partitioned_etl.engine.formats.workbooks.workbook import Kind

_LITERAL = re.compile(r'"[^"]*"|\\.|_.|\*.', re.DOTALL)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\[[^\]]*\]")
_GENERAL = re.compile("general", re.IGNORECASE)
_BUILT_IN_DATES = {*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)}
_BUILT_IN_DURATION = 46


def find_kind(code: str) -> Kind:
    """Return the kind of value that a format, such as `yyyy-mm-dd`, shows a number as.

    The first of its sections decides, the one for numbers above 0.
    """
    section = _LITERAL.sub("", code).partition(";")[0]
    if _ELAPSED.search(section):
        return Kind.DURATION
    section = _GENERAL.sub("", _IN_BRACKETS.sub("", section))
    return Kind.SERIAL if set(section.lower()) & set("dmyhs") else Kind.NUMBER


def find_kind_of_id(number: int) -> Kind:
    """Return the kind of value that one of the formats with a fixed number shows a number as."""
    if number == _BUILT_IN_DURATION:
        return Kind.DURATION
    return Kind.SERIAL if number in _BUILT_IN_DATES else Kind.NUMBER
