"""Workbooks of tests: made by openpyxl, or cell by cell where a program would not make them."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

SHEET = "xl/worksheets/sheet1.xml"


def make_xlsx(*rows: Iterable[Any], sheet: str = "Prices") -> bytes:
    """Give a workbook of one sheet with these rows."""
    workbook = Workbook()
    fill_sheet(first_sheet(workbook), sheet, *rows)
    return save(workbook)


def first_sheet(workbook: Workbook) -> Worksheet:
    sheet = workbook.worksheets[0]
    assert isinstance(sheet, Worksheet)
    return sheet


def fill_sheet(sheet: Worksheet, name: str, *rows: Iterable[Any]) -> None:
    sheet.title = name
    for row in rows:
        sheet.append([*row])


def save(workbook: Workbook) -> bytes:
    content = BytesIO()
    workbook.save(content)
    return content.getvalue()


def make_cells(*cells: str) -> bytes:
    """Give a workbook whose second row has these cells, as XML without their places.

    The first row names their columns `a`, `b` and so on. Style `1` is a day, `2` day and time, `3`
    a time of day, `4` a duration.
    """
    workbook = Workbook()
    sheet = first_sheet(workbook)
    letters = "abcdefghijklmnopqrstuvwxyz"[: len(cells)]
    fill_sheet(sheet, "Prices", letters)
    formats = ("yyyy-mm-dd", "yyyy-mm-dd hh:mm:ss", "hh:mm", "[h]:mm")
    for number, number_format in enumerate(formats, 1):
        sheet.cell(9, number, 1).number_format = number_format
    content = save(workbook)
    placed = "".join(
        cell.replace("<c", f'<c r="{letter.upper()}2"', 1)
        for letter, cell in zip(letters, cells, strict=True)
    )
    whole = read_part(content, SHEET)
    start = whole.index('<row r="9"')
    end = whole.index("</row>", start)
    return replace_part(content, SHEET, whole[:start] + f'<row r="2">{placed}' + whole[end:])


def read_part(content: bytes, name: str) -> str:
    with ZipFile(BytesIO(content)) as archive:
        return archive.read(name).decode()


def replace_part(content: bytes, name: str, text: str | bytes) -> bytes:
    """Give a workbook with one part replaced, or added."""
    changed = BytesIO()
    with ZipFile(BytesIO(content)) as archive, ZipFile(changed, "w", ZIP_DEFLATED) as target:
        for each in archive.namelist():
            if each != name:
                target.writestr(each, archive.read(each))
        target.writestr(name, text)
    return changed.getvalue()


def make_zip(parts: Mapping[str, str]) -> bytes:
    content = BytesIO()
    with ZipFile(content, "w", ZIP_DEFLATED) as target:
        for name, text in parts.items():
            target.writestr(name, text)
    return content.getvalue()


def make_ods(*rows: str, name: str = "Prices") -> bytes:
    """Give a workbook of the kind .ods with one sheet of these rows, as XML."""
    spaces = "".join(
        f' xmlns:{each}="urn:oasis:names:tc:opendocument:xmlns:{each}:1.0"'
        for each in ("office", "table", "text", "style", "calcext")
    )
    content = (
        f"<office:document-content{spaces}><office:body><office:spreadsheet>"
        f'<table:table table:name="{name}">{"".join(rows)}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    return make_zip(
        {"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": content}
    )


def ods_row(*cells: str, repeated: int = 1) -> str:
    """Give a row of .ods: each cell is its attributes, `>` and what it shows."""
    made = "".join(
        f"<table:table-cell {given}><text:p>{shown}</text:p></table:table-cell>"
        for given, _, shown in (cell.partition(">") for cell in cells)
    )
    return f'<table:table-row table:number-rows-repeated="{repeated}">{made}</table:table-row>'
