"""XLSX: the cells of a workbook of the kind .xlsx or .xlsm (ECMA-376).

The text of a sheet is cut by regular expressions, in the spelling that all usual programs write:
row by row as long as all rows have the same columns, or else cell by cell. Rows in another spelling
are parsed as XML in general, which takes several times as long. All give the same cells.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import TypeAlias
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.workbooks.number_formats import find_kind, find_kind_of_id
from partitioned_etl.engine.formats.workbooks.parts import (
    Parts,
    damage_is_told,
    find_all,
    local_name,
)
from partitioned_etl.engine.formats.workbooks.workbook import (
    Area,
    Block,
    Cells,
    Kind,
    Sheet,
    count_column,
    name_column,
)

_CHUNK_BYTES = 1 << 22
_MAX_ROW_CHARS = 1 << 26
_MOST_COLUMNS = 500
"""With more, it takes long to prepare to cut whole rows."""
_CELL = re.compile(
    r'<c r="([A-Z]++)([0-9]++)"([^>]*+)>'
    r"(?:(?<=/>)|(<f[^>]*+>(?:(?<=/>)|[^<]*+</f>))?+"
    r'(?:(?:<v>|<v xml:space="preserve">|<is><t xml:space="preserve">|<is><t>(?![ \t\n\r]))'
    r"([^<]*+)(?:</v>|(?<![ \t\n\r])</t></is>)|<v ?/>)?+</c>)"
)
_OTHER_CELL = re.compile(r"[<:]c[\s/>]|<!")
"""Stands between the usual cells if there are others."""
_ANY_ROW = re.compile(r"<(?:[\w.-]+:)?row[\s/>]")
_ROW_END = re.compile(r"</(?:[\w.-]+:)?row\s*>|<(?:[\w.-]+:)?row(?:\s[^<>]*)?/>")
_SHEET_END = re.compile(r"</(?:[\w.-]+:)?worksheet\s*>\s*")
_PLACE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_PREFIX = re.compile(r"[<\s]([A-Za-z_][\w.-]*):[A-Za-z_]")
_MERGED = re.compile(r"<(?:[\w.-]+:)?mergeCell\s[^>]*?ref\s*=\s*[\"']([^\"']*)")
_SHARED = re.compile(r'<si><t( xml:space="preserve")?>([^<]*)</t></si>|<si/>|<si><t/></si>')
_SPACE = " \t\n\r"
"""White space that Excel takes off a text that is not marked to keep it."""
_KEEPS_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_ENTITY = re.compile(r"&(?:#x(?P<hex>[0-9a-fA-F]+)|#(?P<decimal>[0-9]+)|(?P<name>\w+));")
_ENTITIES = {"lt": "<", "gt": ">", "quot": '"', "apos": "'", "amp": "&"}
"""In the order in which they may be replaced: what the last one gives begins no entity."""
_SEPARATOR = "\0"
"""Stands between texts; no text in XML has it."""
_ESCAPE = re.compile(r"_x([0-9a-fA-F]{4})_")
_WITHOUT_VALUE = "none"
"""Stands for how the value of a formula is stored that has none."""
_TRUTHS = {"0": "false", "1": "true", "false": "false", "true": "true"}

_HOW = re.compile(r'(?: [a-z]+="[0-9A-Za-z]*")* ?/?')
_ATTRIBUTE = re.compile(r'([a-z]+)="([0-9A-Za-z]*)"')
_Column: TypeAlias = tuple[str, str, Sequence[str], Sequence[str]]
"""Cells of one column that are stored in one way: its letters, the way, their rows and values."""
_Found: TypeAlias = Sequence[list[str]]
"""Cells: their columns, rows, how each is stored (style and type), formulas, and values.

None stands for a formula or a value that is not there.
"""


class Xlsx:
    """A workbook of the kind .xlsx.

    Attributes:
        names: The names of its sheets, without charts and macros.
        hidden: Those that are hidden.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        book_path = next(
            (path for kind, path in parts.read_relations("").values() if kind == "officeDocument"),
            "xl/workbook.xml",
        )
        relations = parts.read_relations(book_path)
        self._paths = dict(relations.values())
        book = parts.read_xml(book_path)
        self._counts_from_1904 = any(
            each.get("date1904") in ("1", "true") for each in find_all(book, "workbookPr")
        )
        self._sheets: dict[str, str] = {}
        self.hidden: set[str] = set()
        for sheet in find_all(book, "sheet"):
            given = next((value for key, value in sheet.items() if key.endswith("}id")), "")
            kind, path = relations.get(given, ("", ""))
            if kind != "worksheet":
                continue
            name = sheet.get("name", "")
            self._sheets[name] = path
            if sheet.get("state", "visible") != "visible":
                self.hidden.add(name)

    @property
    def names(self) -> list[str]:
        """The names of its sheets, without charts and macros."""
        return list(self._sheets)

    def open_sheet(self, name: str) -> Sheet:
        """Begin to read a sheet."""
        sheet = Sheet(counts_from_1904=self._counts_from_1904)
        sheet.blocks = self._read_blocks(name, sheet)
        return sheet

    def _read_blocks(self, name: str, sheet: Sheet) -> Iterator[Block]:
        convert = _Converter(self._read_shared_texts(), self._read_style_kinds())
        last, end = 0, ""
        for text in self._read_pieces(self._sheets[name]):
            if "mergeCell" in text:
                sheet.merged += [_to_area(each) for each in _MERGED.findall(text)]
            block = convert.to_block(_cut_columns(text, last))
            if block.rows and block.rows[0] <= last:
                raise ContractError("the rows of the sheet are not in order")
            last = block.rows[-1] if block.rows else last
            end = text or end
            if block.rows:
                yield block
        if not _SHEET_END.search(end):
            raise ContractError("the workbook is damaged: the sheet has no end")

    def _read_pieces(self, path: str) -> Iterator[str]:
        """Yield a sheet's XML in pieces that end with a row, and what follows the last of them."""
        rest = ""
        for chunk in self._parts.read_texts(path, _CHUNK_BYTES):
            whole = rest + chunk
            end = whole.rfind("</row>") + len("</row>")
            if end < len("</row>"):
                end = max((found.end() for found in _ROW_END.finditer(whole)), default=0)
            if end:
                yield _normalize_line_ends(whole[:end])
            rest = whole[end:]
            if len(rest) > _MAX_ROW_CHARS:
                raise ContractError(f"a row of the sheet is over {_MAX_ROW_CHARS:,} characters")
        yield _normalize_line_ends(rest)

    def _read_shared_texts(self) -> list[str]:
        path = self._paths.get("sharedStrings", "")
        if path not in self._parts:
            return []
        text = _normalize_line_ends(self._parts.read_text(path))
        found = _SHARED.findall(text)
        with damage_is_told():
            if (
                found
                and len(found) == text.count("<si>") + text.count("<si/>")
                and "<!" not in text
            ):
                return [
                    _unescape(each) if keeps_space else _unescape(each).strip(_SPACE)
                    for keeps_space, each in found
                ]
            items = find_all(ElementTree.fromstring(text.encode()), "si")
            return [_decode_escapes(_text_of(item)) for item in items]

    def _read_style_kinds(self) -> list[Kind]:
        """Return which kind of value a number in a cell of each style is."""
        path = self._paths.get("styles", "")
        if path not in self._parts:
            return []
        styles = self._parts.read_xml(path)
        own = {
            each.get("numFmtId", ""): find_kind(each.get("formatCode", ""))
            for each in find_all(styles, "numFmt")
        }
        with damage_is_told():
            return [
                own.get(number) or find_kind_of_id(int(number))
                for group in find_all(styles, "cellXfs")
                for number in (each.get("numFmtId", "0") for each in group)
            ]


class _Converter:
    """Makes blocks of the cells of a sheet, by the workbook's texts and styles."""

    def __init__(self, texts: Sequence[str], style_kinds: Sequence[Kind]) -> None:
        self._texts, self._style_kinds = texts, style_kinds

    def to_block(self, columns: Iterable[_Column]) -> Block:
        """Return the cells that have a value."""
        cells: dict[tuple[int, Kind], Cells] = {}
        last: Sequence[str] = ()
        numbers: list[int] = []
        for letters, how, rows, values in columns:
            if rows != last:  # most columns have values in the same rows
                last, numbers = rows, [*map(int, rows)]
            kind, texts = self._convert(how, values)
            one = Cells(numbers, texts)
            if kind is Kind.TEXT and "" in texts:
                kept = [(row, text) for row, text in zip(numbers, texts, strict=True) if text]
                one = Cells([row for row, _ in kept], [text for _, text in kept])
            key = count_column(letters), kind
            if key in cells:
                one = _merge_cells(cells[key], one)
            if one.rows:
                cells[key] = one
        return Block(_unite_rows(cells), cells)

    def _convert(self, how: str, values: Sequence[str]) -> tuple[Kind, Sequence[str]]:
        """Return kind and texts of cells of one style and one type."""
        if how == _WITHOUT_VALUE:
            return Kind.UNKNOWN, values
        attributes = dict(_ATTRIBUTE.findall(how))
        style = attributes.get("s", "0")
        try:
            match attributes.get("t", "n"):
                case "n":
                    kinds, number = self._style_kinds, int(style)
                    return (kinds[number] if kinds else Kind.NUMBER), values
                case "s":
                    return Kind.TEXT, [self._texts[int(value)] for value in values]
                case "str" | "inlineStr":
                    return Kind.TEXT, _unescape_all(values)
                case "b":
                    return Kind.TRUTH, [_TRUTHS[value] for value in values]
                case "d":
                    return Kind.ISO, values
                case "e":
                    return Kind.ERROR, values
        except (IndexError, KeyError, ValueError):
            pass
        raise ContractError("the workbook is damaged: a cell refers to what is not there")


def _merge_cells(first: Cells, second: Cells) -> Cells:
    """Return cells of two styles in the order of their rows."""
    pairs = [
        *zip(first.rows, first.texts, strict=True),
        *zip(second.rows, second.texts, strict=True),
    ]
    pairs.sort(key=itemgetter(0))
    return Cells([row for row, _ in pairs], [text for _, text in pairs])


def _unite_rows(cells: Mapping[tuple[int, Kind], Cells]) -> list[int]:
    """Return the rows of cells, in order.

    Raises:
        ContractError: Two cells are at one place.
    """
    lists: dict[int, list[list[int]]] = defaultdict(list)
    for (column, _), one in cells.items():
        lists[column].append(one.rows)
    every: set[int] = set()
    checked: list[int] | None = None
    for of_column in lists.values():
        first = of_column[0]
        if len(of_column) == 1 and first is checked:
            continue
        rows = set[int]().union(*of_column)
        if len(rows) != sum(map(len, of_column)):
            raise ContractError("the sheet has a cell twice")
        every |= rows
        checked = first if len(of_column) == 1 else None
    return sorted(every)


def _cut_columns(text: str, last_row: int) -> Iterator[_Column]:
    """Yield the cells with a value of rows, by column and how they are stored."""
    pieces, columns = _cut_equal_rows(text)
    others = pieces[0] if columns else text
    yield from _group_alike(_cut_cells(others) or _parse_cells(others, last_row))
    step = len(columns) + 2
    for place, (letters, how) in enumerate(columns, 2):
        yield letters, how, pieces[1::step], pieces[place::step]


def _cut_equal_rows(text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Cut rows that have the same columns, stored in the same way, as those of most tables are.

    Returns:
        What stands before them, then for each row its number, its values, and nothing; and the
        columns. No columns if other rows follow, or no value of the last row.
    """
    start = text.rfind("<row ")
    cells = [*_CELL.finditer(text, start)] if start >= 0 else []
    if not 0 < len(cells) <= _MOST_COLUMNS:
        return [], []
    space = f"[{_SPACE}]"
    pattern = '<row r="([0-9]++)"[^>]*+>'
    for cell in cells:
        letters, _, how, formula, value = cell.groups()
        if formula or not value or not _HOW.fullmatch(how):
            return [], []
        before = re.escape(text[cell.end(2) : cell.start(5)])
        after = re.escape(text[cell.end(5) : cell.end()])
        may_begin_with_space = not before.endswith("<t>")
        value = "([^<]++)" if may_begin_with_space else f"((?!{space})[^<]++)(?<!{space})"
        pattern += f'<c r="{letters}\\1{before}{value}{after}'
    pieces = re.split(f"{pattern}</row>", text)
    step = len(cells) + 2
    if len(pieces) <= 1 or any(pieces[step::step]):
        return [], []
    return pieces, [(cell[1], cell[3]) for cell in cells]


def _group_alike(found: _Found) -> Iterator[_Column]:
    """Yield cells with a value by column and how it is stored."""
    columns, rows, hows, _, texts = found
    first, width = _count_in_rows(rows)
    if first == width and hows[:first] == hows[first : 2 * first]:
        first = 0  # it is no header
    turns = (len(rows) - first) // width if width else 0
    if (
        turns
        and columns[first:] == columns[first : first + width] * turns
        and hows[first:] == hows[first : first + width] * turns
        and all(texts)
    ):  # which is the case in most tables
        for start in range(first):
            yield columns[start], hows[start], rows[start : start + 1], texts[start : start + 1]
        for start in range(first, first + width):
            yield columns[start], hows[start], rows[start::width], texts[start::width]
        return
    groups: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for column, row, how, formula, text in zip(*found, strict=True):
        if text:
            key = column, how
        elif formula and ' t="str"' not in how:
            key = column, _WITHOUT_VALUE
        else:
            continue
        group = groups.get(key)
        if group is None:
            group = groups[key] = ([], [])
        group[0].append(row)
        group[1].append(text or "")
    for key, group in groups.items():
        yield *key, *group


def _count_in_rows(rows: Sequence[str]) -> tuple[int, int]:
    """Return how many cells are in the first row, and in the second."""
    counts = [sum(1 for _ in group) for _, group in islice(groupby(rows), 2)]
    return (counts[0], counts[1]) if len(counts) == 2 else (0, 0)


def _cut_cells(text: str) -> _Found | None:
    """Return the cells of rows in the usual spelling; None if some may be in another one."""
    # One flat list is much faster to make than a tuple for each cell.
    pieces = _CELL.split(text)
    found = [pieces[group::6] for group in range(1, 6)]
    has_others = _OTHER_CELL.search("".join(pieces[::6]))
    if has_others or not all(_HOW.fullmatch(how) for how in set(found[2])):
        return None
    return found


def _parse_cells(text: str, last_row: int) -> _Found:
    """Return the cells of rows by parsing them as XML, in whatever way they are spelled."""
    first = _ANY_ROW.search(text)
    if not first:
        return [[]] * 5
    end = max((found.end() for found in _ROW_END.finditer(text)), default=len(text))
    body = text[first.start() : end]
    prefixes = {*_PREFIX.findall(body)} - {"xml", "xmlns"}
    spaces = "".join(f' xmlns:{each}="{each}"' for each in sorted(prefixes))
    with damage_is_told():
        root = ElementTree.fromstring(f"<rows{spaces}>{body}</rows>".encode())
    found: list[tuple[str, ...]] = []
    for row in root:
        place = row.get("r") or str(last_row + 1)
        if not place.isdecimal():
            raise ContractError("the workbook is damaged: a row has no place")
        last_row, column = int(place), 0
        for cell in row:
            if local_name(cell) != "c":
                continue
            place = _PLACE.fullmatch(cell.get("r") or f"{name_column(column + 1)}{last_row}")
            if not place:
                raise ContractError("the workbook is damaged: a cell has no place")
            column = count_column(place[1])
            inside = {local_name(each): each for each in cell}
            formula = "=" if "f" in inside else ""
            value = escape(inside["v"].text or "") if "v" in inside else ""
            inline = escape(_text_of(inside["is"])) if "is" in inside else ""
            style, given = cell.get("s"), cell.get("t")
            how = (f' s="{style}"' if style else "") + (f' t="{given}"' if given else "")
            found.append((place[1], place[2], how, formula, value or inline))
    return [[*part] for part in zip(*found, strict=True)] or [[]] * 5


def _text_of(item: ElementTree.Element) -> str:
    """Return a text whose parts may differ in font, without how it is pronounced."""
    texts = [each for each in item if local_name(each) == "t"]
    for run in item:
        if local_name(run) == "r":
            texts += [each for each in run if local_name(each) == "t"]
    return "".join(
        (each.text or "")
        if each.get(_KEEPS_SPACE) == "preserve"
        else (each.text or "").strip(_SPACE)
        for each in texts
    )


def _normalize_line_ends(text: str) -> str:
    """Return a text with the line ends that an XML parser gives."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _unescape(text: str) -> str:
    """Return what a text in XML stands for, with the escapes that workbooks add to it."""
    if "&" in text:
        text = _ENTITY.sub(_find_entity, text)
    return _decode_escapes(text)


def _unescape_all(values: Sequence[str]) -> Sequence[str]:
    """Return what many texts stand for, most of them at once."""
    joined = _SEPARATOR.join(values)
    if "&" not in joined and "_x" not in joined:
        return values
    named = {f"&{name};": character for name, character in _ENTITIES.items()}
    has_no_others = joined.count("&") == sum(map(joined.count, named)) and "_x" not in joined
    if not has_no_others or joined.count(_SEPARATOR) != len(values) - 1:
        return [_unescape(value) for value in values]
    for entity, character in named.items():
        joined = joined.replace(entity, character)
    return joined.split(_SEPARATOR)


def _find_entity(found: re.Match[str]) -> str:
    if name := found["name"]:
        return _ENTITIES[name]
    return chr(int(found["hex"], 16) if found["hex"] else int(found["decimal"]))


def _decode_escapes(text: str) -> str:
    if "_x" not in text:
        return text
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    # A character beyond the first 65,536 is two escapes.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _to_area(reference: str) -> Area:
    first, _, last = reference.partition(":")
    start, end = _PLACE.fullmatch(first), _PLACE.fullmatch(last or first)
    if not start or not end:
        raise ContractError("the workbook is damaged: a cell has no place")
    return Area(int(start[2]), count_column(start[1]), int(end[2]), count_column(end[1]))
