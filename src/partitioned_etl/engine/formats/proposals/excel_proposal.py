"""Excel proposal: what kind of table a sample workbook holds, for a person to check."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.format import FormatProposal
from partitioned_etl.engine.formats.proposals.sample_text import cannot_be_inferred
from partitioned_etl.engine.formats.workbooks.registry import MAX_BYTES, open_workbook
from partitioned_etl.engine.formats.workbooks.workbook import Block, Cells, Kind

_MOST_ROWS_BEFORE = 20
"""How far down a header is looked for."""
_WHOLE = re.compile(r"-?\d{1,15}")


def propose_table(sample: Path) -> FormatProposal:
    """Propose sheet, header and columns, by the kinds of the cells.

    Raises:
        LandedFileError: The sample is no workbook, or its sheet is empty.
    """
    proposal = FormatProposal()
    with sample.open("rb") as handle:
        try:
            workbook = open_workbook(handle, MAX_BYTES)
            names = [name for name in workbook.names if name not in workbook.hidden]
            if not names:
                raise ContractError("the workbook has no sheet that is not hidden")
            if len(names) > 1:
                proposal.options["sheet"] = names[0]
                proposal.doubts["format.sheet"] = f"the first of {', '.join(names[:5])}"
            blocks = [block for block in workbook.open_sheet(names[0]).blocks if block.rows]
        except ContractError as error:
            raise cannot_be_inferred(sample, error) from error
    if not blocks:
        raise cannot_be_inferred(sample, "the sheet is empty")
    columns = sorted(set[int]().union(*(block.columns for block in blocks)))
    header_row = _find_header(blocks[0])
    header = _list_texts(blocks[0], header_row)
    if header_row > 1:
        proposal.options["header_row"] = header_row
        proposal.doubts["format.header_row"] = "the first row that looks like a header"
    if not header_row:
        proposal.options["header"] = False
        proposal.doubts["format.header"] = "no row looks like a header; name the columns"
        header = {column: f"column{column}" for column in range(1, columns[-1] + 1)}
    found = _gather_columns(blocks, header_row)
    if any(column in header for column in found) and _has_gaps(blocks, header_row):
        proposal.options["skip_empty_rows"] = True
        proposal.doubts["format.skip_empty_rows"] = "there are empty rows between others"
    for column, name in header.items():
        _propose_column(proposal, name, found.get(column, {}))
    return proposal


def _find_header(block: Block) -> int:
    """Return the first row whose cells are texts, as many as in the widest row near it; or 0."""
    rows = block.rows[:_MOST_ROWS_BEFORE]
    widths = dict.fromkeys(rows, 0)
    texts = dict.fromkeys(rows, 0)
    for (_, kind), cells in block.cells.items():
        for row in cells.rows:
            if row in widths:
                widths[row] += 1
                texts[row] += kind is Kind.TEXT
    wide = max(widths.values())
    return next((row for row in rows if texts[row] == widths[row] == wide), 0)


def _list_texts(block: Block, row: int) -> dict[int, str]:
    """Return the texts of a row by column."""
    found = {
        column: text
        for (column, kind), cells in block.cells.items()
        if kind is Kind.TEXT
        for each, text in zip(cells.rows, cells.texts, strict=True)
        if each == row
    }
    return dict(sorted(found.items()))


def _gather_columns(blocks: Sequence[Block], header_row: int) -> dict[int, dict[Kind, list[str]]]:
    """Return the values after the header, by column and kind."""
    found: dict[int, dict[Kind, list[str]]] = defaultdict(dict)
    for block in blocks:
        for (column, kind), cells in block.cells.items():
            values = _values_after(cells, header_row)
            if values:
                found[column].setdefault(kind, []).extend(values)
    return found


def _values_after(cells: Cells, row: int) -> Sequence[str]:
    if cells.rows[0] > row:
        return cells.texts
    return [text for each, text in zip(cells.rows, cells.texts, strict=True) if each > row]


def _has_gaps(blocks: Sequence[Block], header_row: int) -> bool:
    rows = [row for block in blocks for row in block.rows if row > header_row]
    return bool(rows) and len(rows) != rows[-1] - header_row


def _propose_column(proposal: FormatProposal, name: str, found: dict[Kind, list[str]]) -> None:
    """Propose the type that takes the values of a column, and say what is doubtful about it."""
    kinds = set(found) - {Kind.ERROR, Kind.UNKNOWN}
    doubt = ""
    if not kinds:
        type_name, doubt = "VARCHAR", "it has no value"
    elif kinds == {Kind.NUMBER}:
        is_whole = all(_WHOLE.fullmatch(value) for value in found[Kind.NUMBER])
        type_name = "BIGINT" if is_whole else "DOUBLE"
    elif kinds == {Kind.TRUTH}:
        type_name = "BOOLEAN"
    elif kinds <= {Kind.SERIAL, Kind.ISO}:
        type_name = _propose_time(found.get(Kind.SERIAL, []), found.get(Kind.ISO, []))
    else:
        type_name = "VARCHAR"
        if kinds == {Kind.TEXT, Kind.NUMBER}:
            proposal.options["numbers_as_texts"] = True
            doubt = "some cells have texts and some have numbers"
        elif kinds != {Kind.TEXT}:
            doubt = f"its cells have {', '.join(sorted(kind.value for kind in kinds))}"
    proposal.columns[name] = type_name
    if doubt:
        proposal.doubts[f"columns.{name}"] = doubt


def _propose_time(serials: Sequence[str], texts: Sequence[str]) -> str:
    if all("." not in value for value in serials) and all(len(value) == 10 for value in texts):
        return "DATE"
    is_time = all(0 <= float(value) < 1 for value in serials)
    return "TIME" if is_time and all(value[2:3] == ":" for value in texts) else "TIMESTAMP"
