"""ODS: the cells of a workbook of the kind .ods (OpenDocument 1.3, part 3)."""

import re
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.workbooks.parts import PROTECTED, Parts, damage_is_told
from partitioned_etl.engine.formats.workbooks.workbook import (
    Area,
    Block,
    Kind,
    Sheet,
    gather_cells,
)

_CONTENT = "content.xml"
_CHUNK_BYTES = 1 << 20
_BATCH_ROWS = 10_000
MAX_COLUMNS = 16_384
MAX_REPEATED_CELLS = 1_000_000
"""Most cells with a value that one repeated row may stand for."""
_DURATION = re.compile(r"PT(\d+)H(\d+)M(\d+(?:[.,]\d+)?)S")
_VALUES = {
    "float": (Kind.NUMBER, "office:value"),
    "percentage": (Kind.NUMBER, "office:value"),
    "currency": (Kind.NUMBER, "office:value"),
    "boolean": (Kind.TRUTH, "office:boolean-value"),
    "date": (Kind.ISO, "office:date-value"),
    "time": (Kind.DURATION, "office:time-value"),
    "string": (Kind.TEXT, "office:string-value"),
}


class Ods:
    """A workbook of the kind .ods.

    Attributes:
        names: The names of its sheets.
        hidden: Those that are hidden.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        manifest = "META-INF/manifest.xml"
        if manifest in parts and "encryption-data" in parts.read_text(manifest):
            raise ContractError(PROTECTED)
        reader = _Reader(None)
        for _ in self._read(reader):
            pass
        self.names = reader.names
        self.hidden = {
            name for name, style in reader.styles_of.items() if style in reader.hidden_styles
        }

    def open_sheet(self, name: str) -> Sheet:
        """Begin to read a sheet."""
        sheet = Sheet()
        reader = _Reader(name)
        reader.merged = sheet.merged
        sheet.blocks = self._read(reader)
        return sheet

    def _read(self, reader: "_Reader") -> Iterator[Block]:
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = reader.start
        parser.EndElementHandler = reader.end
        parser.CharacterDataHandler = reader.add_text
        with damage_is_told():
            for text in self._parts.read_texts(_CONTENT, _CHUNK_BYTES):
                parser.Parse(text.encode(), False)
                if len(reader.found) >= _BATCH_ROWS:
                    yield reader.take_block()
            parser.Parse(b"", True)
        yield reader.take_block()


class _Reader:
    """Gathers the cells of one sheet, if it is asked for one, and the names of all."""

    def __init__(self, wanted: str | None) -> None:
        self._wanted = wanted
        self._path: list[str] = []
        self._style = ""
        self._row, self._repeat, self._column = 1, 1, 1
        self._cell: dict[str, Any] | None = None
        self._texts: list[str] = []
        self._in_row: list[tuple[int, Kind, str]] = []
        self._is_wanted = False
        self.names: list[str] = []
        self.styles_of: dict[str, str] = {}
        self.hidden_styles: set[str] = set()
        self.merged: list[Area] = []
        self.found: list[tuple[int, int, Kind, str]] = []

    def take_block(self) -> Block:
        """Return the cells that were found since the last block."""
        block = gather_cells(self.found)
        self.found = []
        return block

    def start(self, name: str, given: dict[str, str]) -> None:
        """Take notice of the start of an element."""
        self._path.append(name)
        if name == "style:style":
            self._style = given.get("style:name", "")
        elif name == "style:table-properties" and given.get("table:display") == "false":
            self.hidden_styles.add(self._style)
        elif name == "table:table" and self._path[-2:-1] == ["office:spreadsheet"]:
            table = given.get("table:name", "")
            self.names.append(table)
            self.styles_of[table] = given.get("table:style-name", "")
            self._is_wanted = table == self._wanted
            self._row = 1
        elif not self._is_wanted:
            return
        elif name == "table:table-row":
            self._repeat, self._column = _count(given, "table:number-rows-repeated"), 1
            self._in_row = []
        elif name in ("table:table-cell", "table:covered-table-cell"):
            self._cell, self._texts = given, []
        elif self._cell is None:
            return
        elif name == "text:p" and self._texts:
            self._texts.append("\n")
        elif name == "text:s":
            self._texts.append(" " * _count(given, "text:c"))
        elif name == "text:tab":
            self._texts.append("\t")
        elif name == "text:line-break":
            self._texts.append("\n")

    def add_text(self, text: str) -> None:
        """Take notice of text."""
        if self._cell is not None and "text:p" in self._path and self._is_no_note:
            self._texts.append(text)

    @property
    def _is_no_note(self) -> bool:
        return "office:annotation" not in self._path

    def end(self, name: str) -> None:
        """Take notice of the end of an element."""
        self._path.pop()
        if not self._is_wanted:
            return
        if name == "table:table" and self._path[-1:] == ["office:spreadsheet"]:
            self._is_wanted = False
        elif name in ("table:table-cell", "table:covered-table-cell") and self._cell is not None:
            self._end_cell(self._cell)
            self._cell = None
        elif name == "table:table-row":
            if self._in_row and self._repeat * len(self._in_row) > MAX_REPEATED_CELLS:
                raise ContractError(f"row {self._row} is repeated {self._repeat:,} times")
            if self._in_row:
                for row in range(self._row, self._row + self._repeat):
                    self.found += [(row, *cell) for cell in self._in_row]
            self._row += self._repeat

    def _end_cell(self, given: dict[str, str]) -> None:
        repeat = _count(given, "table:number-columns-repeated")
        across = _count(given, "table:number-columns-spanned")
        down = _count(given, "table:number-rows-spanned")
        if across * down > 1:
            bottom, right = self._row + down - 1, self._column + across - 1
            self.merged.append(Area(self._row, self._column, bottom, right))
        kind, text = _read_value(given, "".join(self._texts))
        if text or kind in (Kind.ERROR, Kind.UNKNOWN):
            if self._column + repeat - 1 > MAX_COLUMNS:
                raise ContractError(f"the sheet has more than {MAX_COLUMNS:,} columns")
            columns = range(self._column, self._column + repeat)
            self._in_row += [(column, kind, text) for column in columns]
        self._column += repeat


def _count(given: dict[str, str], name: str) -> int:
    try:
        return max(1, int(given.get(name, "1")))
    except ValueError:
        raise ContractError("the workbook is damaged: a count is no number") from None


def _read_value(given: dict[str, str], text: str) -> tuple[Kind, str]:
    """Return kind and text of a cell; `text` is what it shows."""
    if given.get("calcext:value-type") == "error":
        return Kind.ERROR, text
    value_type = given.get("office:value-type")
    if value_type is None:
        is_unknown = "table:formula" in given and not text
        return (Kind.UNKNOWN, "") if is_unknown else (Kind.TEXT, text)
    if value_type not in _VALUES:
        raise ContractError("the workbook is damaged: a cell is of a type that there is not")
    kind, name = _VALUES[value_type]
    value = given.get(name)
    if value is None:
        if kind is not Kind.TEXT:
            raise ContractError("the workbook is damaged: a cell lacks its value")
        return kind, text
    if kind is Kind.DURATION and (parts := _DURATION.fullmatch(value)) and int(parts[1]) < 24:
        # A time of day is stored like a duration of less than a day.
        return Kind.ISO, f"{parts[1]}:{parts[2]}:{parts[3].replace(',', '.')}"
    return kind, value
