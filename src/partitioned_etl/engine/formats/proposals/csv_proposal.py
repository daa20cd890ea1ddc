"""CSV proposal: the layout of a sample: dialect, header, and which lines are no rows.

Takes a sample; returns the options of the format and the names of the columns, whose types are then
found from their texts by `value_proposal.py`. The sample is cut into records as a load would do it.
"""

import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.csv_records import CsvRecord, read_csv_records
from partitioned_etl.engine.formats.format import FormatProposal
from partitioned_etl.engine.formats.proposals.column_names import to_column_name
from partitioned_etl.engine.formats.proposals.csv_dialect import (
    SEPARATOR_LINE,
    Dialect,
    find_dialect,
)
from partitioned_etl.engine.formats.proposals.footer_proposal import FOOTER, propose_footer
from partitioned_etl.engine.formats.proposals.sample_text import (
    SampleText,
    cannot_be_inferred,
    read_sample,
)
from partitioned_etl.engine.formats.proposals.value_proposal import ColumnTexts, guess_type

if TYPE_CHECKING:
    from partitioned_etl.engine.formats.csv import CsvFormat

_HEAD_BYTES = 1 << 16
_HEAD_RECORDS, _TAIL_RECORDS = 80, 12
_COMMENTS = ("#", "//", "--", "%", "!", ";")
_UNDERLINE = re.compile(r"[-=_]{2,}")


@dataclass
class _Layout:
    """What the lines of a sample are.

    Attributes:
        head: The first records.
        tail: The last ones.
        widths: How many records have how many fields.
        blank: How many lines are empty.
        empty: How many are nothing but delimiters.
        ends_empty: How many rows of the usual width end with an empty field.
        marked: How many lines begin with which comment mark, of another width and of the usual one.
    """

    width: int
    delimiter: str
    head: list[CsvRecord] = field(default_factory=list)
    tail: deque[CsvRecord] = field(default_factory=lambda: deque(maxlen=_TAIL_RECORDS))
    widths: Counter[int] = field(default_factory=Counter)
    blank: int = 0
    empty: int = 0
    ends_empty: int = 0
    marked: dict[str, Counter[bool]] = field(default_factory=dict)

    def see(self, record: CsvRecord) -> None:
        """Take one more record into account."""
        text = record.line_text
        if len(self.head) < _HEAD_RECORDS:
            self.head.append(record)
        self.tail.append(record)
        if not text:
            self.blank += 1
            return
        if not text.strip(f"{self.delimiter} \t"):
            self.empty += 1
            return
        width = self.width_of(record)
        self.widths[width] += 1
        if width == self.width and text.endswith(self.delimiter):
            self.ends_empty += 1
        for mark in _COMMENTS:
            if text.startswith(mark) and mark[0] != self.delimiter:
                self.marked.setdefault(mark, Counter())[width == self.width] += 1

    def width_of(self, record: CsvRecord) -> int:
        """Return how many fields a record has; 0 if it has a stray quote."""
        if record.problem and record.problem.is_of_file:
            return 0
        text = record.line_text
        return len(record.fields()) if record.has_quote else text.count(self.delimiter) + 1

    @property
    def has_trailing_delimiter(self) -> bool:
        """Whether each row ends with one more delimiter."""
        rows = self.widths[self.width]
        has_names = self.width > 2 or not self.widths[1]
        return self.width > 1 and has_names and rows == self.ends_empty


def propose_csv(csv: type["CsvFormat"], sample: Path, likely: str) -> FormatProposal:
    """Propose dialect, layout and names of the columns of a sample.

    Args:
        csv: The format.
        sample: The file.
        likely: The delimiter that the ending of its name suggests.

    Raises:
        LandedFileError: Nothing can be read of it.
    """
    text = read_sample(sample)
    head = _read_head(text)
    if "\n" not in head.rstrip("\n") and "\r" in head.rstrip("\r\n"):
        reason = "its lines end in carriage returns alone, which no feed can declare"
        raise cannot_be_inferred(sample, reason)
    dialect = find_dialect(csv, head, likely)
    form = csv(delimiter=dialect.delimiter, quote=dialect.quote, escape=dialect.escape)
    layout = _Layout(dialect.width, dialect.delimiter)
    try:
        for record in read_csv_records(
            form, text.read(), width=None, line_of=lambda line: line, line_end=None
        ):
            layout.see(record)
    except ContractError as error:
        raise cannot_be_inferred(sample, error) from None
    if not layout.widths:
        raise cannot_be_inferred(sample, "it has only empty lines")
    proposal = FormatProposal("tsv" if dialect.delimiter == "\t" else "csv", are_texts=True)
    _propose_dialect(proposal, dialect, text)
    _propose_lines(proposal, layout)
    return proposal


def _read_head(text: SampleText) -> str:
    head = text.read_start(_HEAD_BYTES + 1)
    if len(head) > _HEAD_BYTES:
        head = head[: head.rfind(b"\n") + 1] or head
    return head.decode(errors="ignore")


def _propose_dialect(proposal: FormatProposal, dialect: Dialect, text: SampleText) -> None:
    options, doubts = proposal.options, proposal.doubts
    text.declare_encoding(proposal)
    text.declare_final_line_end(proposal)
    if dialect.delimiter not in (",", "\t"):
        options["delimiter"] = dialect.delimiter
    if dialect.doubt:
        doubts["format.delimiter"] = dialect.doubt
    if dialect.quote != '"':
        options["quote"] = dialect.quote
        if not dialect.quote:
            doubts["format.quote"] = "quotes are part of the texts, as nothing is put in quotes"
    if dialect.escape:
        options["escape"] = dialect.escape


def _propose_lines(proposal: FormatProposal, layout: _Layout) -> None:
    options, doubts = proposal.options, proposal.doubts
    has_trailing = layout.has_trailing_delimiter
    if has_trailing:
        options["trailing_delimiter"] = True
    comment = _find_comment(layout)
    if comment:
        options["comment"] = comment
        doubts["format.comment"] = f"lines that begin with {comment} are no rows"
    records = [record for record in layout.head if not _is_comment(record, comment)]
    rows = [record for record in records if _is_row(record, layout, has_trailing=has_trailing)]
    tail = [record for record in layout.tail if not _is_comment(record, comment)]
    footer = _find_footer(tail, layout, rows[0].line if rows else 0)
    first_of_footer = footer[0].line if footer else 0
    rows = [row for row in rows if not first_of_footer or row.line < first_of_footer]
    if not rows:
        rows = records[:1]
    place = _find_header(rows, records)
    header = None if place is None else rows[place]
    start = rows[0] if header is None else header
    after = rows[(place or 0) + 1 :] if header else rows
    before = [record for record in records if record.line < start.line]
    _propose_preamble(proposal, before, start, has_header=header is not None)
    if header:
        after = _propose_rows_after_header(proposal, header, after)
        names = _propose_header_rows(proposal, header, after)
    else:
        doubts["format.header"] = "the first line looks like data; name the columns"
        options["header"] = False
        names = [None] * layout.width
    _propose_columns(proposal, names[:-1] if has_trailing and not names[-1] else names)
    at_end = _list_blank_lines_at_end(tail, footer) if footer else []
    _propose_empty_lines(proposal, layout, [*before, *at_end])
    if footer:
        known_rows = [row for row in [*rows, *layout.tail][-20:] if row not in footer]
        texts = [record.line_text for record in footer]
        propose_footer(proposal, texts, (row.line_text for row in known_rows))
        whole = [one for one in footer if layout.width_of(one) == layout.width]
        if len(footer) == 1 and whole and "footer" in proposal.options:
            proposal.footer = [text or "" for text in whole[0].fields()]
    known = {*before, *footer}
    odd = sum(count for width, count in layout.widths.items() if width != layout.width)
    odd -= sum(1 for one in known if one.line_text and layout.width_of(one) != layout.width)
    odd -= layout.marked.get(comment, Counter())[False] if comment else 0
    odd -= sum(layout.width_of(one) != layout.width for one in (header,) if one)
    if odd > 0:
        doubts["format.delimiter"] = f"{odd} line(s) have not as many fields as the others"


def _is_comment(record: CsvRecord, comment: str) -> bool:
    return bool(comment) and record.line_text.startswith(comment)


def _is_row(record: CsvRecord, layout: _Layout, *, has_trailing: bool) -> bool:
    if not record.line_text.strip(f"{layout.delimiter} \t"):
        return False
    if record.line == 1 and SEPARATOR_LINE.match(record.text):
        return False
    width = layout.width_of(record)
    return width == layout.width or (has_trailing and width == layout.width - 1)


def _find_comment(layout: _Layout) -> str:
    """Return what lines begin with that have another width than rows; empty if none do."""
    tail = list(layout.tail)
    for mark, counts in layout.marked.items():
        if layout.width == 1:
            first = [record.line_text for record in layout.head[:10]]
            is_before = bool(first) and first[0].startswith(mark) and mark == "#"
            if is_before and not all(text.startswith(mark) for text in first):
                return mark
            continue
        is_at_end = tail and counts.total() == 1 and tail[-1].line_text.startswith(mark)
        if counts[False] and counts[False] >= counts[True] and not (is_at_end and mark != "#"):
            return mark
    return ""


def _find_header(rows: Sequence[CsvRecord], records: Sequence[CsvRecord]) -> int | None:
    """Return which of the rows names the columns; None if it seems that none does."""
    fields = [row.fields() for row in rows]
    blank_lines = [record.line for record in records[:20] if not record.line_text]
    places = range(min(max(len(rows) - 1, 1), 8))
    contrasts = {place: _contrast(fields[place], fields[place + 1 :]) for place in places}
    best = max(places, key=lambda place: contrasts[place])
    if contrasts[best] > 0:
        is_second = best == 1 and rows[0].line == 1 and rows[1].line == 2
        return 0 if is_second and _has_gaps(rows[0]) and _has_names(fields[0]) else best
    if _are_names(fields[0]):
        return 0
    # Texts over texts, under a title of as many fields: the table begins after an empty line.
    return next(
        (
            place
            for place in places[1:]
            if rows[place].line - 1 in blank_lines and _are_names(fields[place])
        ),
        None,
    )


def _contrast(names: Sequence[str | None], rows: Sequence[Sequence[str | None]]) -> int:
    """Return in how many columns all rows but the first are of one type and a name is not."""
    if not rows:
        return 0
    found = 0
    for place, name in enumerate(names):
        texts = [row[place] for row in rows[:60] if place < len(row)]
        # A row of units stands between names and numbers.
        below = [text for text in texts if text]
        if not name or not below:
            continue
        if _are_typed(below) or (len(below) > 2 and _are_typed(below[1:])):
            found += 1 if not _are_typed([name]) else -1
    return found


def _are_typed(texts: Iterable[str]) -> bool:
    return bool(guess_type(texts))


def _has_names(fields: Sequence[str | None]) -> bool:
    """Return whether a row has several names, as of groups of columns."""
    given = [one for one in fields if one]
    return len(given) > 1 and not any(map(_is_value, given))


def _are_names(fields: Sequence[str | None]) -> bool:
    given = [one.strip().casefold() for one in fields if one]
    return len(given) == len(fields) == len({*given}) and not any(map(_is_value, given))


def _is_value(text: str) -> bool:
    return _are_typed([text]) and text not in ("true", "false")


def _propose_preamble(
    proposal: FormatProposal,
    before: Sequence[CsvRecord],
    start: CsvRecord,
    *,
    has_header: bool,
) -> None:
    if not before:
        return
    if has_header:
        proposal.options["skip_to_header"] = True
        said = f"{len(before)} line(s) stand before the header"
        proposal.doubts["format.skip_to_header"] = said
        return
    proposal.options["skip_lines"] = start.line - 1
    proposal.doubts["format.skip_lines"] = "so many lines stand before the first row"


def _propose_rows_after_header(
    proposal: FormatProposal, header: CsvRecord, after: list[CsvRecord]
) -> list[CsvRecord]:
    """Find rows under the header that are units or lines; return the others."""
    if len(after) < 2 or after[0].line != header.line + 1:
        return after
    first = after[0].fields()
    others = [row.fields() for row in after[1:]]
    if all(text and _UNDERLINE.fullmatch(text.strip()) for text in first):
        proposal.options["skip_after_header"] = 1
        return after[1:]
    typed = differing = 0
    for place, text in enumerate(first):
        below = [row[place] for row in others if place < len(row)]
        texts = [one for one in below if one]
        if not texts or not _are_typed(texts):
            continue
        typed += 1
        column = ColumnTexts("")
        column.see([text or ""])
        differing += not column.guesses() and not column.nulls
    if not typed or differing < typed or not any(first) or "" in header.fields():
        return after
    if not _has_gaps(header):
        proposal.options["skip_after_header"] = 1
        doubt = "the row under the header has texts where the others have numbers: units?"
        proposal.doubts["format.skip_after_header"] = doubt
        return after[1:]
    return after


def _has_gaps(header: CsvRecord) -> bool:
    names = header.fields()
    return None in names[:-1] or len({*names}) < len(names)


def _propose_header_rows(
    proposal: FormatProposal, header: CsvRecord, after: Sequence[CsvRecord]
) -> list[str | None]:
    names = header.fields()
    if not _has_gaps(header) or not after or after[0].line != header.line + 1:
        return names
    second = after[0].fields()
    below = [row.fields() for row in after[1:]]
    if not below or _contrast(second, below) <= 0 or len(second) != len(names):
        return names
    proposal.options["header_rows"] = 2
    proposal.doubts["format.header_rows"] = "the second row looks like names, too"
    joined = (" ".join(filter(None, pair)) for pair in zip(names, second, strict=True))
    return [name or None for name in joined]


def _propose_columns(proposal: FormatProposal, names: Sequence[str | None]) -> None:
    folded = Counter(name.casefold() for name in names if name)
    twice = {name for name, count in folded.items() if count > 1}
    if (twice or list(names).count(None) > 1) and "header" not in proposal.options:
        _give_up_header(proposal)
    is_named = "header" not in proposal.options
    for number, name in enumerate(names, 1):
        column = to_column_name(name or f"column{number}", proposal.columns)
        proposal.columns[column] = "VARCHAR"
        if is_named and column != (name or ""):
            proposal.attributes[column] = {"from": name or ""}


def _give_up_header(proposal: FormatProposal) -> None:
    """Declare the header as lines that are skipped, because its names cannot be told apart."""
    options = proposal.options
    rows = options.pop("header_rows", 1) + options.pop("skip_after_header", 0)
    options.pop("skip_to_header", None)
    options["header"], options["skip_lines"] = False, rows
    doubt = "names are missing or there twice, so columns go by their places: name them"
    proposal.doubts["format.header"] = doubt


def _propose_empty_lines(
    proposal: FormatProposal, layout: _Layout, known: Sequence[CsvRecord]
) -> None:
    """Find lines without values among the rows, apart from those that are known otherwise."""
    known_blank = sum(not record.line_text for record in known)
    known_empty = sum(
        bool(record.line_text) and not record.line_text.strip(f"{layout.delimiter} \t")
        for record in known
    )
    if layout.blank > known_blank and layout.width > 1:
        proposal.options["skip_blank_lines"] = True
    if layout.empty > known_empty:
        if layout.width > 1:
            proposal.options["skip_empty_rows"] = True
    elif layout.blank > known_blank and layout.width == 1:
        doubt = "empty lines are no rows, or NULL?"
        proposal.options["skip_blank_lines"] = True
        proposal.doubts["format.skip_blank_lines"] = doubt


def _list_blank_lines_at_end(
    tail: Sequence[CsvRecord], footer: Sequence[CsvRecord]
) -> list[CsvRecord]:
    """Return the empty lines around the lines of a footer, which belong to it."""
    rows = [one.line for one in tail if one.line_text and one not in footer]
    last = max((line for line in rows if line < footer[0].line), default=0)
    return [record for record in tail if record.line > last and not record.line_text]


def _find_footer(tail: Sequence[CsvRecord], layout: _Layout, first_row: int) -> list[CsvRecord]:
    """Return the records at the end that are no rows."""
    footer: list[CsvRecord] = []
    for record in reversed(tail):
        text = record.line_text.strip(f"{layout.delimiter} \t")
        if not text:
            continue
        is_odd = layout.width_of(record) != layout.width
        first = next((one.strip() for one in _fields(record) if one and one.strip()), "")
        if record.line <= first_row or not (is_odd or FOOTER.match(first)):
            break
        footer.append(record)
    if len(footer) > _TAIL_RECORDS // 2:
        return []
    if all(layout.width_of(one) != layout.width for one in footer):
        # One line that is cut off, or has a delimiter too many, is a broken row and no footer.
        footer = [one for one in footer if not _looks_like_row(one, layout)]
    return footer[::-1]


def _looks_like_row(record: CsvRecord, layout: _Layout) -> bool:
    fields = _fields(record)
    is_near = abs(len(fields) - layout.width) == 1 and layout.width > 1 and len(fields) > 1
    first = next((one.strip() for one in fields if one), "")
    return is_near and not FOOTER.match(first)


def _fields(record: CsvRecord) -> list[str | None]:
    return [record.line_text] if record.problem else record.fields()
