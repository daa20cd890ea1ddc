"""Date SQL: SQL that spells texts of days and times by ISO 8601.

Takes a format of `date_formats.py`; returns SQL for whether a text has its form, and for the text
that DuckDB converts. Numbers of fixed width are taken from their places; all else is held against
a pattern.
Whether a day exists is found when DuckDB converts the text.
"""

import re
from collections.abc import Mapping, Sequence

from partitioned_etl.engine.formats.date_formats import (
    DAY_PARTS,
    DIRECTIVES,
    SHORT_MONTHS,
    TIME_PARTS,
    WIDTH,
    DateFormat,
)
from partitioned_etl.engine.sql import quote_text

_FIRST_OF_1900S = "69"
"""By POSIX, years from this one on are in the 1900s, and those before it in the 2000s."""

_NUMBERS = frozenset({"Y", "m", "-m", "d", "-d", "H", "-H", "M", "-M", "S", "-S"})
"""Directives that DuckDB takes for the same numbers, with or without a zero before them."""


def form_sql(one: DateFormat, column: str, *, only_midnight: bool = False) -> tuple[str, str]:
    """Return SQL for whether a text has the form of a format, and for it by ISO 8601.

    Args:
        one: The format.
        column: The quoted name of the column with the text.
        only_midnight: Whether a time must be midnight, and is left out.
    """
    names = [name for name in one.names if not (only_midnight and DIRECTIVES[name].midnight)]
    if all(DIRECTIVES[name].pattern in WIDTH for name in one.names):
        found, is_form = _by_place(one, column, names)
    elif _NUMBERS.issuperset(one.names):
        return _by_conversion(one, column, only_midnight=only_midnight)
    else:
        found, is_form = _by_pattern(one, column, names)
    return is_form, _by_iso(found, has_time=not only_midnight)


def _by_place(one: DateFormat, column: str, names: Sequence[str]) -> tuple[dict[str, str], str]:
    found, shape, place = {}, "", 1
    for token in one.tokens:
        if token.startswith("="):
            shape += re.sub(r"([\\%_])", r"\\\1", token[1:])
            place += len(token) - 1
            continue
        part, pattern, midnight = DIRECTIVES[token]
        width = WIDTH[pattern]
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


def _by_conversion(one: DateFormat, column: str, *, only_midnight: bool) -> tuple[str, str]:
    """Return the same by DuckDB's own `strptime`, which is faster, but takes more than the form."""
    form = "".join(
        token[1:].replace("%", "%%") if token.startswith("=") else f"%{token.removeprefix('-')}"
        for token in one.tokens
    )
    kind = "DATE" if only_midnight else "TIMESTAMP" if "day" in one.parts else "TIME"
    moment = f"CAST(try_strptime({column}, {quote_text(form)}) AS {kind})"
    names = [name for name in one.names if not (only_midnight and DIRECTIVES[name].midnight)]
    _, is_form = _by_pattern(one, column, names)
    return is_form, f"coalesce(CAST({moment} AS VARCHAR), '?')"


def _by_pattern(one: DateFormat, column: str, names: Sequence[str]) -> tuple[dict[str, str], str]:
    pattern, given = "", []
    for token in one.tokens:
        if token.startswith("="):
            pattern += re.escape(token[1:])
        elif token in names:
            pattern += f"({DIRECTIVES[token].pattern})"
            given.append(token)
        else:
            pattern += DIRECTIVES[token].midnight
    quoted = quote_text(f"^{pattern}$")
    found = {
        DIRECTIVES[name].part: _spell(name, f"regexp_extract({column}, {quoted}, {group})")
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
        place = f"strpos('{''.join(SHORT_MONTHS).lower()}', lower(left({sql}, 3)))"
        return _pad(f"CAST(({place} + 2) // 3 AS TEXT)")
    return _pad(sql) if DIRECTIVES[name].pattern not in WIDTH and name not in "fpz" else sql


def _pad(sql: str) -> str:
    return f"lpad({sql}, 2, '0')"


def _by_iso(found: Mapping[str, str], *, has_time: bool) -> str:
    """Return SQL for a text by ISO 8601 from SQL for its parts, of which a time may lack some."""
    day = " || '-' || ".join(found[part] for part in DAY_PARTS if part in found)
    if not has_time:
        return day
    time = " || ':' || ".join(found.get(part, "'00'") for part in TIME_PARTS[:3])
    if "fraction" in found:
        time += f" || '.' || {found['fraction']}"
    if "offset" in found:
        time += f" || {found['offset']}"
    return f"{day} || ' ' || {time}" if day else time
