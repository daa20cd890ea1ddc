"""Value steps: SQL that turns a text as a sender spells it into the one that DuckDB converts.

Takes the value options of a column; returns SQL, step by step. A text that does not have the
declared form becomes one that no type accepts, so that both ways of reading refuse it. Next:
`types.py` validates what the last step gives. Formats of days and times belong in
`date_sql.py`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from partitioned_etl.engine.formats.date_formats import parse_date_format
from partitioned_etl.engine.formats.date_sql import form_sql
from partitioned_etl.engine.formats.types import Kind
from partitioned_etl.engine.sql import quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.formats.values import ValueOptions

SPECIAL_FORMATS = {
    "excel": "as an Excel serial number",
    "epoch": "in seconds since 1970",
    "epoch_ms": "in milliseconds since 1970",
}
"""Formats that are no form of `strptime`, and what is said of them."""
_NO_VALUE = "'?'"
"""SQL for a text that no type but a text accepts."""
_WHITE_SPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_SPACES = r"[\s\x{00A0}\x{202F}]*"
_LAST_SERIAL = 2_958_465
_LEAP_DAY_SERIAL = 60
"""29 February 1900, a day that only Excel has."""
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds from 1970 to the start of the year 1, and to the end of the year 9999."""


def list_steps(options: "ValueOptions", kind: Kind, column: str) -> Iterator[str]:
    """Yield SQL that turns a column's text into the one that is validated.

    Args:
        options: The column's value options.
        kind: Its kind.
        column: Its quoted name, by which each step refers to what the one before it gives.
    """
    if options.trim:
        yield f"nullif(trim({column}, {quote_text(_WHITE_SPACE)}), '')"
    if options.nulls:
        yield f"CASE WHEN {column} IN {_list(options.nulls)} THEN NULL ELSE {column} END"
    if kind is Kind.NUMBER:
        yield from _number_steps(options, column)
    elif options.true_texts or options.false_texts:
        truths = {"'true'": options.true_texts, "'false'": options.false_texts}
        cases = [
            f"WHEN {column} IN {_list(texts)} THEN {truth}"
            for truth, texts in truths.items()
            if texts
        ]
        yield _choose(cases, column)
    elif options.formats:
        yield _choose([_time_case(text, kind, column) for text in options.formats], column)


def _number_steps(options: "ValueOptions", column: str) -> Iterator[str]:
    if options.strip:
        signs = "|".join(map(re.escape, sorted(options.strip, key=len, reverse=True)))
        pattern = quote_text(rf"^([+-]?)(?:{signs}){_SPACES}|{_SPACES}(?:{signs})$")
        number = rf"nullif(regexp_replace({column}, {pattern}, '\1'), '')"
        yield f"CASE WHEN {column} <> '' THEN coalesce({number}, {_NO_VALUE}) END"
    if options.trailing_minus:
        number = f"'-' || left({column}, -1)"
        yield f"CASE WHEN ends_with({column}, '-') THEN {number} ELSE {column} END"
    if options.thousands:
        mark, escaped = quote_text(options.thousands), re.escape(options.thousands)
        pattern = rf"[+-]?\d{{1,3}}({escaped}\d{{3}})+([^0-9{escaped}][^{escaped}]*)?"
        yield (
            f"CASE WHEN NOT contains({column}, {mark}) THEN {column} "
            f"WHEN regexp_full_match({column}, {quote_text(pattern)}) "
            f"THEN replace({column}, {mark}, '') "
            f"WHEN {column} IS NOT NULL THEN {_NO_VALUE} END"
        )
    if options.decimal == ",":
        yield (
            f"CASE WHEN contains({column}, '.') THEN {_NO_VALUE} "
            f"ELSE replace({column}, ',', '.') END"
        )


def _list(texts: Sequence[str]) -> str:
    return f"({', '.join(map(quote_text, texts))})"


def _choose(cases: Sequence[str], column: str) -> str:
    """Return SQL for the first case that holds; a text without one is no value."""
    return f"CASE {' '.join(cases)} WHEN {column} <> '' THEN {_NO_VALUE} END"


def _time_case(text: str, kind: Kind, column: str) -> str:
    if text == "excel":
        return _excel_case(kind, column)
    if text in SPECIAL_FORMATS:
        return _epoch_case(kind, column, digits=6 if text == "epoch" else 3)
    form = parse_date_format(text)
    is_form, value = form_sql(form, column, only_midnight=kind is Kind.DATE)
    return f"WHEN {is_form} THEN {value}"


def _excel_case(kind: Kind, column: str) -> str:
    """Return the case for a serial number: days since 1900, in which Excel has a 29 February."""
    fraction = r"\.0+" if kind is Kind.DATE else r"\.\d{1,20}"
    pattern = quote_text(rf"[0-9]{{1,7}}({fraction})?")
    day = f"CAST(split_part({column}, '.', 1) AS INTEGER)"
    is_day = f"{day} BETWEEN 1 AND {_LAST_SERIAL} AND {day} <> {_LEAP_DAY_SERIAL}"
    date = f"(DATE '1899-12-30' + {day} + CASE WHEN {day} < {_LEAP_DAY_SERIAL} THEN 1 ELSE 0 END)"
    if kind is not Kind.DATE:
        part = f"CAST('0.' || split_part({column} || '.0', '.', 2) AS DECIMAL(28, 20))"
        date += f" + to_milliseconds(CAST(round({part} * 86400000) AS BIGINT))"
    return _case_of(column, pattern, is_day, f"CAST({date} AS VARCHAR)")


def _epoch_case(kind: Kind, column: str, digits: int) -> str:
    """Return the case for a time since 1970, in units of which so many digits are microseconds."""
    moment = f"CAST(CAST({column} AS DECIMAL(38, 6)) * 1{'0' * digits} AS BIGINT)"
    pattern = quote_text(rf"[+-]?[0-9]{{1,{18 - digits}}}(\.[0-9]{{1,{digits}}})?")
    is_moment = f"{moment} BETWEEN {_FIRST_US} AND {_LAST_US}"
    offset = " || '+00'" if kind is Kind.ZONED else ""
    return _case_of(
        column, pattern, is_moment, f"CAST(make_timestamp({moment}) AS VARCHAR){offset}"
    )


def _case_of(column: str, pattern: str, is_in_range: str, value: str) -> str:
    """Return a case in which a text that does not match is not converted, not even to compare."""
    is_value = f"CASE WHEN regexp_full_match({column}, {pattern}) THEN {is_in_range} END"
    return f"WHEN {is_value} THEN {value}"
