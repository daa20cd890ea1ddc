"""CSV header: which rows of a CSV file name its columns, and what stands before and after them.

Takes the start of a text; returns its head, with the feed's columns in the order of the file. How a
row is cut into fields belongs in `csv_records.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from partitioned_etl.engine.formats.csv_records import CsvRecord, read_csv_records
from partitioned_etl.engine.formats.format import problem_of_file
from partitioned_etl.engine.formats.lines import LineRules, RowLines
from partitioned_etl.engine.formats.names import NameMatch
from partitioned_etl.engine.formats.text import Head

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract
    from partitioned_etl.engine.formats.csv import CsvFormat

MAX_SKIPPED_LINES = 1_000
"""How far to look for a header; a rest of the file that is read for it must not be long."""


def find_header(csv: "CsvFormat", contract: "Contract", text: Iterable[bytes]) -> Head:
    """Find the header of a text.

    Args:
        csv: The dialect.
        contract: The contract, with whose columns it is compared.
        text: The text in UTF-8, from its start.

    Returns:
        The head; its problems say how the header differs, or that there is none.

    Raises:
        ContractError: The text cannot be read so far.
    """
    lines = RowLines(LineRules(), csv.skip_lines)
    # What stands before the header may come from elsewhere, and have line ends of its own.
    every = read_csv_records(
        csv, lines.keep(text), width=None, line_of=lines.line_of, line_end=None
    )
    records = (record for record in every if not _is_passed_over(csv, record))
    window = list(islice(records, csv.header_rows))
    if not csv.skip_to_header:
        return _compare(csv, contract, window)
    nearest: Head | None = None
    for following in chain(records, [None]):
        if len(window) == csv.header_rows and not any(record.problem for record in window):
            head = _compare(csv, contract, window)
            if not head.problems:
                return head
            if nearest is None or len(head.problems) < len(nearest.problems):
                nearest = head
        if following is None or following.line > MAX_SKIPPED_LINES:
            break
        window = [*window[1:], following]
    reason = f"none of the first {MAX_SKIPPED_LINES:,} lines is the header"
    problems = nearest.problems if nearest else ()
    return Head(list(contract.columns), problems=(problem_of_file(reason), *problems))


def list_present(csv: "CsvFormat", contract: "Contract", text: Iterable[bytes]) -> list[str]:
    """Return the columns of a text without a header: all but the last ones that it may lack.

    Args:
        csv: The dialect.
        contract: The contract.
        text: The text in UTF-8, from its start.

    Raises:
        ContractError: The text cannot be read so far.
    """
    lines = RowLines(csv.line_rules, csv.skip_lines)
    records = read_csv_records(
        csv, lines.keep(text), width=None, line_of=lines.line_of, line_end=None
    )
    first, present = next(records, None), list(contract.columns)
    if first is None or first.problem:
        return present
    width = len(first.fields()) - csv.trailing_delimiter
    while len(present) > width and present[-1] in contract.optional_columns:
        present.pop()
    return present


def _is_passed_over(csv: "CsvFormat", record: CsvRecord) -> bool:
    """Return whether a record before the header is a line that is no row."""
    text = record.line_text
    if csv.comment and text.startswith(csv.comment):
        return True
    if csv.skip_empty_rows and text and not text.strip(f"{csv.delimiter} \t"):
        return True
    return not text and (csv.skip_blank_lines or csv.skip_to_header)


def _compare(csv: "CsvFormat", contract: "Contract", rows: Sequence[CsvRecord]) -> Head:
    """Compare a header with the contract's columns."""
    if len(rows) < csv.header_rows:
        reason = f"there are {len(rows)} of {csv.header_rows} rows of the header"
        return Head(list(contract.columns), problems=[problem_of_file(reason)])
    first, last = rows[0], rows[-1]
    malformed = [replace(row.problem, is_of_file=True) for row in rows if row.problem]
    line_end = _line_end_of(first)
    malformed += [
        problem_of_file("another line end than the header's first row", row.line)
        for row in rows
        if _line_end_of(row) != line_end and not row.problem
    ]
    match = NameMatch(list(contract.columns), [])
    if not malformed:
        match = csv.match_names(contract, _join_names([row.fields() for row in rows], csv))
    problems = [problem_of_file(f"header: {reason}", first.line) for reason in match.reasons]
    last_line = last.line + last.text.count("\n") - 1
    is_on_top = first.line == 1 and csv.header_rows == 1
    return Head(
        match.columns,
        lines=last_line + csv.skip_after_header,
        line_end=line_end,
        is_plain=is_on_top and not csv.skip_after_header and not csv.trailing_delimiter,
        problems=[*malformed, *problems],
    )


def _line_end_of(row: CsvRecord) -> str:
    return "\r\n" if row.text.endswith("\r\n") else "\n"


def _join_names(rows: Sequence[Sequence[str | None]], csv: "CsvFormat") -> list[str]:
    """Return a name per column: what the rows of a header hold for it, with spaces between."""
    width = max(map(len, rows))
    filled = [[*row, *[None] * (width - len(row))] for row in rows]
    names = [" ".join(part for part in parts if part) for parts in zip(*filled, strict=True)]
    # With a delimiter at the end of each row, the header may have it or not.
    return names[:-1] if csv.trailing_delimiter and not names[-1] else names
