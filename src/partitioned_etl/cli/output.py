"""Output: values as the command line prints them, for people and for programs.

Takes rows; prints a table, or JSON that any parser reads. Values are as exact as Python's types: a
month of an INTERVAL is 30 days, and nanoseconds are cut off. Texts from outside, such as file names
and cells, cannot control a terminal.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal

import click
from tabulate import tabulate


def print_table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> None:
    """Print rows as a table, with numbers right-aligned and everything else as it is."""
    shown = [[show(cell) for cell in row] for row in rows]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(headers)
    align = ["right" if _are_numbers(column) else "left" for column in columns]
    titles = [show(header) for header in headers]
    click.echo(tabulate(shown, titles, "simple", disable_numparse=True, colalign=align))


def print_json(value: object) -> None:
    """Print a value as one JSON document."""
    click.echo(json.dumps(to_json(value), ensure_ascii=False, indent=2))


def show(cell: object) -> str:
    """Return a value as one line of text that cannot control a terminal."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        cell = cell.strftime("%Y-%m-%d %H:%M:%S %Z").rstrip()
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in str(cell))


def to_json(value: object) -> object:
    """Return a value converted to JSON types.

    Numbers that JSON cannot represent are strings, as in Protocol Buffers' JSON: decimals, NaN,
    infinity. Times are ISO 8601, in UTC if they have a time zone; bytes are base64.
    """
    match value:
        case None | bool() | int():
            return value
        case str():
            # A lone surrogate, as in an undecodable file name, cannot be written.
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case float() if math.isfinite(value):
            return value
        case float():
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case datetime() if value.tzinfo:
            return value.astimezone(UTC).isoformat()
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray():
            return base64.b64encode(value).decode("ascii")
        case Mapping():
            return {str(to_json(key)): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case _:
            return str(value)


def _are_numbers(cells: Sequence[object]) -> bool:
    given = [cell for cell in cells if cell is not None]
    return bool(given) and all(
        isinstance(cell, int | float | Decimal) and not isinstance(cell, bool) for cell in given
    )
