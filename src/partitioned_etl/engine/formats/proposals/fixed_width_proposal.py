"""Fixed width proposal: which lines of a sample are rows, and what else a feed declares of them.

Takes a sample; returns the options of the format, and columns with places, which are found in
`fixed_width_places.py`. Their types are then found from their texts by `value_proposal.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from partitioned_etl.engine.formats.format import FormatProposal
from partitioned_etl.engine.formats.proposals.column_names import to_column_name
from partitioned_etl.engine.formats.proposals.fixed_width_lines import (
    SampleLines,
    read_sample_lines,
)
from partitioned_etl.engine.formats.proposals.fixed_width_places import (
    SEEN_ROWS,
    Place,
    are_codes,
    are_values,
    breaks_kinds,
    fill_gaps,
)
from partitioned_etl.engine.formats.proposals.footer_proposal import FOOTER, propose_footer
from partitioned_etl.engine.formats.proposals.sample_text import read_sample
from partitioned_etl.engine.formats.proposals.value_proposal import COMPACT_DAY

_HEAD_LINES = 8
_MOST_FOOTER_LINES = 6
_TAIL_SHARE = 3
"""Such a part of the lines at the end is left out where the first ones are compared with others."""
_COUNT = re.compile(r"\W*\d[\d.,]* (?:rows?|records?|lines?)\b", re.IGNORECASE)
_WORD = re.compile("[^ ]+")
_ANY_DIGIT = re.compile("[0-9]")
_MANY_DIGITS = re.compile(r"\d{4}")
"""No name has as many."""
_CERTAIN = 1000
"""How much dashes below a line tell for it to be a header."""
_MOST_KIND_CHARS = 3
"""How long a first column is that tells kinds of records apart."""
_FEWEST_OF_A_KIND = 3
_MARK_CHARS = 3
"""How many characters of a line of dashes tell it from rows."""


@dataclass
class _Table:
    """What the kept lines of a sample are.

    Attributes:
        first: The number of the first row, from 0.
        end: The number of the line behind the last row.
        header: The line that names the columns; empty if none does.
        ruler: The line of dashes below it; empty if there is none.
    """

    first: int
    end: int
    header: str = ""
    ruler: str = ""


def propose_fixed_width(sample: Path) -> FormatProposal:
    """Propose places and names of columns, and which lines are no rows.

    Raises:
        LandedFileError: Nothing can be read of it, or no feed can declare its places.
    """
    text = read_sample(sample)
    proposal = FormatProposal(are_texts=True)
    text.declare_encoding(proposal)
    text.declare_final_line_end(proposal)
    lines = read_sample_lines(text, proposal)
    table = _find_table(lines)
    rows = _propose_lines(proposal, lines, table)
    _propose_length(proposal, lines, rows)
    rows = [row for row in rows if row.strip()]
    places = lines.find_places(rows, table.header, table.ruler)
    fill_gaps(places, rows, len(lines.list_kinds(rows)))
    for number, place in enumerate(places, 1):
        name = place.name or _name_place(place, rows, number)
        if "unit" in proposal.options:
            name = name.encode("latin-1", "replace").decode("utf-8", "replace")
        column = to_column_name(name, proposal.columns)
        proposal.columns[column] = "VARCHAR"
        proposal.attributes[column] = {"start": place.start + 1, "length": place.end - place.start}
        if place.doubt:
            proposal.doubts[f"columns.{column}"] = place.doubt
    whence = "one line" if len(rows) == 1 else "the sample"
    proposal.doubts["columns"] = (
        f"columns of fixed width are told from {whence} only: "
        "check start and length against the sender's description"
        + ("" if table.header else "; no line names them, as it seems")
    )
    return proposal


def _name_place(place: Place, rows: Sequence[str], number: int) -> str:
    texts = place.cut(rows)
    return "day" if texts and all(map(COMPACT_DAY.fullmatch, texts)) else f"column{number}"


def _is_ruler(line: str) -> bool:
    return not line.strip("-=_+* ") and bool(re.search("[-=_]{2}", line))


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not _is_ruler(line)


def _is_footer(line: str) -> bool:
    bare = line.strip()
    found = FOOTER.match(bare)
    is_word = found and not bare[found.end() : found.end() + 1].isalpha()
    return bool(is_word or _COUNT.match(bare)) or _is_ruler(line) or bare == "\x1a"


def _find_table(lines: SampleLines) -> _Table:
    """Find the header and, around the rows, the lines that are none."""
    kept = lines.kept
    table = _Table(0, len(kept))
    lowest = max(len(kept) - 2 * _MOST_FOOTER_LINES, 1)
    while table.end > lowest and (
        not kept[table.end - 1].strip() or _is_footer(kept[table.end - 1])
    ):
        table.end -= 1
    _find_first_row(lines, table)
    for _ in range(_MOST_FOOTER_LINES):
        rows = [line for line in kept[table.first : table.end] if _is_row(line)]
        if len(rows) < 3 or not _is_odd(rows[-1], rows[:-1], lines, table.header, table.ruler):
            break
        while not _is_row(kept[table.end - 1]):
            table.end -= 1
        table.end -= 1
    while table.end > table.first + 1 and not _is_row(kept[table.end - 1]):
        table.end -= 1
    return table


def _find_first_row(lines: SampleLines, table: _Table) -> None:
    most = 0
    for number in range(min(table.end - 1, _HEAD_LINES)):
        line, below = lines.kept[number], lines.kept[number + 1 : table.end]
        rows = [one for one in below if _is_row(one)]
        rows = rows[: len(rows) - min(len(rows) // _TAIL_SHARE, _MOST_FOOTER_LINES)]
        may_be_header = len(rows) > 1 or not _ANY_DIGIT.search(line)
        if not (rows and may_be_header and _is_row(line)):
            continue
        found = _contrast(line, rows, lines.find_places(rows))
        is_ruled = _is_ruler(below[0]) and found >= 0
        found += _CERTAIN * is_ruled
        if found > most or (not most and _is_odd(line, rows, lines)):
            table.first, most = number + 1, max(found, most)
            table.header = line if found > 0 and _has_names(line) else ""
            table.ruler = below[0] if is_ruled else ""
    while table.first < table.end - 1 and not _is_row(lines.kept[table.first]):
        table.first += 1


def _contrast(line: str, rows: Sequence[str], places: Sequence[Place]) -> int:
    """Return in how many columns of values a line has a text, less those where it has a value."""
    found = 0
    for number, place in enumerate(places):
        below = place.cut(rows[:SEEN_ROWS])
        have_digits = len(below) > 2 and are_codes(below)
        if not (have_digits or are_values(below)):
            continue
        low = places[number - 1].end if number else 0
        high = places[number + 1].start if number + 1 < len(places) else len(line)
        text = _find_near(line, place, low, high)
        if text:
            is_alike = _ANY_DIGIT.search(text) if have_digits else are_values([text])
            found += -1 if is_alike else 1
    return found


def _find_near(line: str, place: Place, low: int, high: int) -> str:
    """Return the words of a line above or below a column, else those in the gap before it."""
    words = [word.span() for word in _WORD.finditer(line)]
    over = [
        line[max(start, low) : min(end, high)]
        for start, end in words
        if start < place.end and place.start < end
    ]
    before = [line[start:end] for start, end in words if low <= start < end <= place.start]
    return " ".join(over or before)


def _has_names(line: str) -> bool:
    words = line.split()
    return not (_MANY_DIGITS.search(line) or any(are_values([word]) for word in words))


def _is_odd(
    line: str, rows: Sequence[str], lines: SampleLines, header: str = "", ruler: str = ""
) -> bool:
    """Return whether a line is no row: of another kind, or with texts in columns of values."""
    if len(rows) < 2:
        return False
    places = lines.find_places(rows, header, ruler)
    found = _contrast(line, rows, places)
    kinds = {row[: places[0].end].strip() for row in rows}
    is_of_other_kind = (
        not header
        and len(rows) >= _FEWEST_OF_A_KIND
        and len(kinds) == 1
        and len(*kinds) <= _MOST_KIND_CHARS
        and line[: places[0].end].strip() not in kinds
    )
    is_of_other_length = len(line) not in {*map(len, rows)}
    seen = rows[:SEEN_ROWS]
    lacks = any(not one.cut([line]) and len(one.cut(seen)) == len(seen) for one in places)
    if is_of_other_kind and (lacks or breaks_kinds(line, lines.list_kinds(rows))):
        return True
    return found > 1 or (found > 0 and is_of_other_length)


def _propose_lines(proposal: FormatProposal, lines: SampleLines, table: _Table) -> list[str]:
    """Propose which lines are no rows, and return the others, of which some may be blank."""
    kept, options, doubts = lines.kept, proposal.options, proposal.doubts
    within = kept[table.first : table.end]
    if table.first:
        options["skip_lines"] = table.first
        said = "the header is among them" if table.header else "do they name no columns?"
        doubts["format.skip_lines"] = f"so many lines stand before the first row; {said}"
    rulers = {line[:_MARK_CHARS] for line in within if _is_ruler(line)}
    rows = [line for line in within if line and not _is_ruler(line)]
    if len(rulers) == 1 and not any(row.startswith(mark) for mark in rulers for row in rows):
        options["comment"] = rulers.pop()
        doubts["format.comment"] = "lines of dashes are no rows"
    elif rulers:
        doubts["format"] = "lines of dashes are taken for rows"
    if "" in within or lines.has_empty:
        options["skip_blank_lines"] = True
    if not all(map(str.strip, rows)):
        doubts["format"] = "lines of nothing but blanks are rows of NULL"
    after = kept[table.end :]
    if footer := [line for line in after if line]:
        propose_footer(proposal, footer, rows[-20:])
        if "footer_lines" in options:
            skips = options.get("skip_blank_lines")
            options["footer_lines"] = sum(bool(line) or not skips for line in after)
    elif "" in after:
        options["skip_blank_lines"] = True
    return rows


def _propose_length(proposal: FormatProposal, lines: SampleLines, rows: Sequence[str]) -> None:
    lengths = {*map(len, rows), *lines.lengths}
    before_last = {*map(len, rows[:-1]), *lines.lengths}
    if len(lengths) == 1:
        return
    is_cut_off = len(before_last) == 1 and len(rows[-1]) < max(lengths) and len(rows) > 2
    if is_cut_off and "final_line_end" in proposal.options:
        proposal.doubts["format.final_line_end"] = "the last line is cut off, as it seems"
        return
    proposal.options["short_lines"] = True
    said = f"lines have {min(lengths)} to {max(lengths)} characters"
    proposal.doubts["format.short_lines"] = f"{said}; how long may the longest be?"
