"""Excel table: the header and the rows of one sheet, batch by batch, as a feed declares them.

Takes a sheet and where its table lies; returns the cells of each column of the feed as texts, by
row, and what is wrong with them. Which columns are whose belongs in `names.py`, the conversion of
one cell in `excel_values.py`.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.excel_values import ColumnType, Fault
from partitioned_etl.engine.formats.format import Problem
from partitioned_etl.engine.formats.workbooks.workbook import (
    Area,
    Block,
    Cells,
    Kind,
    Sheet,
    name_column,
)


@dataclass(frozen=True)
class TableArea:
    """Where in a sheet a table lies.

    Attributes:
        sheet: The sheet's name.
        area: The cells that are looked at.
        header_row: The row of the header; 0 if there is none.
        footer_rows: How many rows with a value follow the data.
        may_skip_rows: Whether rows without a value may stand between the others.
    """

    sheet: str
    area: Area
    header_row: int
    footer_rows: int
    may_skip_rows: bool

    @property
    def first_row(self) -> int:
        """The first row of data."""
        return self.header_row + 1 if self.header_row else self.area.top

    @property
    def place_of_row(self) -> str:
        """How a row is named before its number."""
        return f"sheet {self.sheet}, row"

    def problem_of_row(self, row: int, reason: str) -> Problem:
        """Return a problem of a whole row."""
        return Problem(row, "", reason, place=self.place_of_row)

    def problem_of_cell(self, row: int, column: int, reason: str, name: str = "") -> Problem:
        """Return a problem of a cell, in the feed's column of a name if it is in one."""
        cell = name_column(column)
        return Problem(row, name, reason, place=self.place_of_row, cell=cell)


@dataclass(frozen=True)
class TableRows:
    """Some rows of a table.

    Attributes:
        rows: Their numbers in the sheet.
        texts: The values of each column of the feed that the file has, None for no value.
        problems: What is wrong with a row, by its number; only the first problem of each.
    """

    rows: Sequence[int]
    texts: Sequence[Sequence[str | None]]
    problems: Mapping[int, Problem]

    @property
    def problems_between(self) -> dict[int, Problem]:
        """The problems of rows without a value."""
        rows = set(self.rows) if self.problems else set()
        return {row: problem for row, problem in self.problems.items() if row not in rows}


class Table:
    """A table in a sheet, which can be read once.

    Attributes:
        names: The names in the header, by column of the sheet; empty without a header.
        problems: What is wrong with the table as a whole; complete once all rows were read.
    """

    def __init__(self, sheet: Sheet, place: TableArea) -> None:
        self._sheet, self._place = sheet, place
        self._blocks = self._read_blocks()
        self.names: dict[int, str] = {}
        self.problems: list[Problem] = []
        self._first = self._take_header() if place.header_row else None

    def _read_blocks(self) -> Iterator[Block]:
        area = self._place.area
        for block in self._sheet.blocks:
            yield restrict_block(block, area)

    def _take_header(self) -> Block | None:
        """Find the names in the header; return the rows after it that were read with it."""
        number = self._place.header_row
        for block in self._blocks:
            if not block.rows or block.rows[-1] < number:
                continue
            for column, kind, text in _list_cells(block, number):
                if kind is Kind.NUMBER and text.isdecimal():
                    self.names[column] = text  # such as a year
                elif kind is Kind.TEXT:
                    self.names[column] = text
                else:
                    self._add_problem(number, column, f"{kind.value} in the header")
            after = replace(self._place.area, top=number + 1)
            return restrict_block(block, after)
        return None

    def _add_problem(self, row: int, column: int, reason: str) -> None:
        problem = self._place.problem_of_cell(row, column, reason)
        self.problems.append(replace(problem, is_of_file=True))

    def read(
        self,
        columns: Mapping[int, tuple[str, ColumnType]],
        *,
        may_have_others: bool,
    ) -> Iterator[TableRows]:
        """Read the rows.

        Args:
            columns: The feed's column, and its type, by column of the sheet.
            may_have_others: Whether other columns may have values.
        """
        last = self._place.first_row - 1
        for block in self._without_footer():
            found = self._convert(block, columns, last, may_have_others=may_have_others)
            last = block.rows[-1]
            yield found
        for area in self._sheet.merged:
            first = max(area.top, self._place.first_row)
            merged = next((each for each in columns if area.left <= each <= area.right), 0)
            if merged and first <= min(area.bottom, last):
                reason = "merged with other cells, of which only one has the value"
                self._add_problem(first, merged, reason)

    def _without_footer(self) -> Iterator[Block]:
        """Yield the rows with a value, without those of the footer."""
        count = self._place.footer_rows
        held: deque[Block] = deque()
        if self._first and self._first.rows:
            held.append(self._first)
        for block in self._blocks:
            if block.rows:
                held.append(block)
            while (
                len(held) > 1 and sum(len(each.rows) for each in held) - len(held[0].rows) >= count
            ):
                yield held.popleft()
        rows = [row for block in held for row in block.rows]
        if len(rows) < count:
            raise ContractError(f"sheet {self._place.sheet} has fewer rows than its footer")
        bottom = rows[len(rows) - count - 1] if len(rows) > count else 0
        for block in held:
            kept = restrict_block(block, replace(self._place.area, bottom=bottom))
            if kept.rows:
                yield kept

    def _convert(
        self,
        block: Block,
        columns: Mapping[int, tuple[str, ColumnType]],
        last: int,
        *,
        may_have_others: bool,
    ) -> TableRows:
        rows, place = block.rows, self._place
        problems: dict[int, Problem] = {}
        if not place.may_skip_rows and (rows[0] != last + 1 or len(rows) != rows[-1] - rows[0] + 1):
            for row in rows:
                if row != last + 1:
                    problems[last + 1] = place.problem_of_row(last + 1, "an empty row")
                last = row
        if not may_have_others:
            for (column, _), cells in block.cells.items():
                if column not in columns:
                    for row in cells.rows:
                        reason = "a value in a column without a name"
                        problems.setdefault(row, place.problem_of_cell(row, column, reason))
        texts = [
            self._convert_column(block, column, *given, problems)
            for column, given in columns.items()
        ]
        return TableRows(rows, texts, problems)

    def _convert_column(
        self,
        block: Block,
        column: int,
        name: str,
        column_type: ColumnType,
        problems: dict[int, Problem],
    ) -> Sequence[str | None]:
        groups = [(kind, cells) for (each, kind), cells in block.cells.items() if each == column]
        spelled: dict[int, str | None] = {}
        for kind, cells in groups:
            texts = column_type.spell(kind, cells.texts, self._sheet.counts_from_1904)
            if texts is not cells.texts:
                for row, text in zip(cells.rows, texts, strict=True):
                    if type(text) is Fault:
                        problem = self._place.problem_of_cell(row, column, str(text), name)
                        problems.setdefault(row, problem)
                if problems:  # a row that is put aside shows its values as they are
                    texts = [
                        one if type(one) is not Fault else given
                        for one, given in zip(texts, cells.texts, strict=True)
                    ]
            if len(groups) == 1 and cells.rows == block.rows:
                return texts
            spelled.update(zip(cells.rows, texts, strict=True))
        return [spelled.get(row) for row in block.rows]


def restrict_block(block: Block, area: Area) -> Block:
    """Return those cells of a block that lie in an area."""
    if not block.rows:
        return block
    has_all_rows = area.top <= block.rows[0] and block.rows[-1] <= area.bottom
    if has_all_rows and area.left == 1 and max(block.columns) <= area.right:
        return block
    cells = {
        (column, kind): _slice_cells(one, area)
        for (column, kind), one in block.cells.items()
        if area.left <= column <= area.right
    }
    rows = block.rows[_slice(block.rows, area)]
    if len(cells) < len(block.cells):
        rows = sorted(set[int]().union(*(one.rows for one in cells.values())))
    return Block(rows, {key: one for key, one in cells.items() if one.rows})


def _slice(rows: Sequence[int], area: Area) -> slice:
    return slice(bisect_left(rows, area.top), bisect_right(rows, area.bottom))


def _slice_cells(cells: Cells, area: Area) -> Cells:
    part = _slice(cells.rows, area)
    return Cells(cells.rows[part], cells.texts[part])


def _list_cells(block: Block, row: int) -> list[tuple[int, Kind, str]]:
    """Return the cells of one row: column, kind and text."""
    only = Area(row, 1, row, max(block.columns))
    found = [
        (column, kind, cells.texts[0])
        for (column, kind), cells in restrict_block(block, only).cells.items()
    ]
    return sorted(found, key=lambda cell: cell[0])
