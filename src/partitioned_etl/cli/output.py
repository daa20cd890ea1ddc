"""Output: values as the command line prints them, for people and for programs.

Takes rows; prints a table, or JSON that any parser reads. On a terminal, a table is no wider than
that: long texts are folded or, where there is no room, each row is a list of its values. Values are
as exact as Python's types: a month of an INTERVAL is 30 days, and nanoseconds are cut off. Texts
from outside, such as file names and cells, cannot control a terminal.
"""

import base64
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import StringIO
from shutil import get_terminal_size
from typing import Literal

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

Justify = Literal["left", "right"]
_LEAST_WIDTH = 12
"""The least width to which a column of texts is folded."""
_GAP = 2
"""Between two columns: one of padding, and one of the line under the titles."""
_KEPT_WIDTHS = (24, 16, _LEAST_WIDTH)
"""Up to which width a column of texts is not folded: the first of these for which there is room."""


def print_table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> None:
    """Print rows as a table, as wide as the terminal if there is one, and unabridged if not."""
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(format_table(rows, headers, width))


def format_table(
    rows: Sequence[Sequence[object]], headers: Sequence[str], width: int | None = None
) -> str:
    """Return rows as a table, with numbers right-aligned and everything else as it is.

    Args:
        rows: The rows.
        headers: The names of their columns.
        width: How many characters a line may have; None for as many as it takes.
    """
    shown, titles = [[show(cell) for cell in row] for row in rows], [*map(show, headers)]
    align = _align(rows, titles)
    text = tabulate(shown, titles, "simple", disable_numparse=True, colalign=align)
    lines = text.splitlines()
    if width is None or max(map(cell_len, lines), default=0) <= width:
        return text
    full = _find_full_widths(shown, titles, align)
    for kept in _KEPT_WIDTHS:
        is_fixed = [side == "right" or of <= kept for of, side in zip(full, align, strict=True)]
        widths = [of if fixed else _LEAST_WIDTH for of, fixed in zip(full, is_fixed, strict=True)]
        room = width - sum(widths) - _GAP * (len(widths) - 1)
        if room >= 0:
            widths = _share_out(room, widths, full)
            return _render([_build_table(shown, titles, align, widths)], width)
    return _render([_list_values(titles, row) for row in shown], width)


def _find_full_widths(
    rows: Sequence[Sequence[str]], titles: Sequence[str], align: Sequence[Justify]
) -> list[int]:
    """Return the width of each column; the title of a column of numbers is folded at its spaces."""
    widths = []
    for place, (title, side) in enumerate(zip(titles, align, strict=True)):
        words = title.split() if side == "right" else [title]
        cells = (row[place] for row in rows)
        widths.append(max(map(cell_len, (*words, *cells)), default=0))
    return widths


def _share_out(room: int, widths: Sequence[int], full: Sequence[int]) -> list[int]:
    """Return widths of columns that share what room there is, those that want least first."""
    shared = [*widths]
    wanting = [place for place, width in enumerate(widths) if width < full[place]]
    wanting.sort(key=lambda place: full[place])
    for count, place in enumerate(wanting):
        more = min(full[place] - widths[place], room // (len(wanting) - count))
        shared[place] += more
        room -= more
    return shared


def _build_table(
    rows: Sequence[Sequence[str]],
    titles: Sequence[str],
    align: Sequence[Justify],
    widths: Sequence[int],
) -> Table:
    """Return rows as a table of columns of some widths, in which longer texts are folded."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for title, side, width in zip(titles, align, widths, strict=True):
        table.add_column(Text(title), justify=side, overflow="fold", width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _align(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> list[Justify]:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(headers)
    return ["right" if _are_numbers(column) else "left" for column in columns]


def _list_values(titles: Sequence[str], row: Sequence[str]) -> Table:
    """Return one row as a list of its values, each with its title."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for title, cell in zip(titles, row, strict=True):
        grid.add_row(Text(title), Text(cell))
    return grid


def _render(tables: Sequence[Table], width: int) -> str:
    """Return tables as text, with an empty line between them."""
    file = StringIO()
    console = Console(file=file, width=width, color_system=None, legacy_windows=False)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


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
