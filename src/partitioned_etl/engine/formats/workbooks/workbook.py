"""Workbook: what a workbook of whatever kind gives of its sheets and their rows.

A cell is its text in the file and what kind of value that is; nothing is converted, so nothing is
lost. Next: `excel_values.py` checks them against a column's type.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from partitioned_etl.engine.errors import ContractError


class Kind(Enum):
    """The kinds of value that a cell may have."""

    NUMBER = "a number"
    TEXT = "a text"
    TRUTH = "true or false"
    SERIAL = "a date or time"
    """A number that its format shows as a date, a time of day or both: days since the epoch."""
    ISO = "a date or time by ISO 8601"
    """A date, a time of day, or both, as a text by ISO 8601."""
    DURATION = "a duration"
    ERROR = "an error"
    UNKNOWN = "a formula without a stored value"


@dataclass
class Cells:
    """Cells of one kind in one column.

    Attributes:
        rows: The rows that they are in, ascending, counted from 1.
        texts: Their values, spelled as `Kind` says.
    """

    rows: list[int]
    texts: Sequence[str]


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a sheet.

    Attributes:
        rows: Those that have a value, ascending, counted from 1.
        cells: The cells with a value, by column, counted from 1, and kind.
    """

    rows: Sequence[int]
    cells: dict[tuple[int, Kind], Cells]

    @property
    def columns(self) -> set[int]:
        """The columns that have a value."""
        return {column for column, _ in self.cells}


@dataclass(frozen=True)
class Area:
    """A rectangle of cells; all bounds are inclusive and counted from 1."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass
class Sheet:
    """A sheet of a workbook, which can be read once.

    Attributes:
        blocks: Its rows.
        merged: Areas that are merged into one cell; known once all rows were read.
        counts_from_1904: Whether `Kind.SERIAL` counts days from 1904 on, not from 1900.
    """

    blocks: Iterator[Block] = field(default_factory=lambda: iter(()))
    merged: list[Area] = field(default_factory=list)
    counts_from_1904: bool = False


class Workbook(Protocol):
    """The sheets of a workbook."""

    @property
    def names(self) -> Sequence[str]:
        """The names of its sheets, in order, without charts and macros."""
        ...

    @property
    def hidden(self) -> set[str]:
        """The names of those that are hidden."""
        ...

    def open_sheet(self, name: str) -> Sheet:
        """Begin to read a sheet.

        Raises:
            ContractError: It is damaged; so may be what it gives later.
        """
        ...


def gather_cells(found: Iterable[tuple[int, int, Kind, str]]) -> Block:
    """Return a block of cells given one by one: row, column, kind and text.

    Raises:
        ContractError: Rows are not in order, or a cell is there twice.
    """
    groups: dict[tuple[int, Kind], tuple[list[int], list[str]]] = defaultdict(lambda: ([], []))
    rows: list[int] = []
    last, seen = 0, set[int]()
    for row, column, kind, text in found:
        if row != last:
            if row < last:
                raise ContractError("the rows of the sheet are not in order")
            rows.append(row)
            last, seen = row, set()
        if column in seen:
            raise ContractError(f"cell {name_column(column)}{row} is there twice")
        seen.add(column)
        group = groups[column, kind]
        group[0].append(row)
        group[1].append(text)
    return Block(rows, {key: Cells(*group) for key, group in groups.items()})


def name_column(number: int) -> str:
    """Return the letters of a column that is counted from 1."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def count_column(letters: str) -> int:
    """Return the number of a column, counted from 1, by its letters."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
