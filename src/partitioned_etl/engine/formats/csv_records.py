"""CSV records: a text cut into records, strictly by RFC 4180 in its dialect.

Takes the text of a file; returns its records with line numbers, each with what is wrong with its
form. Rules for headers and values belong in `csv.py` and `types.py`.
"""

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from partitioned_etl.engine.formats.format import (
    MAX_RECORD_CHARS,
    Problem,
    Record,
    problem_of_file,
)

if TYPE_CHECKING:
    from partitioned_etl.engine.formats.csv import CsvFormat


@dataclass(frozen=True)
class CsvRecord(Record):
    """One record of a CSV file.

    Attributes:
        csv: Its dialect.
        has_delimiter_behind: Whether one more delimiter stands behind its last field.
    """

    csv: "CsvFormat"
    has_delimiter_behind: bool = False

    @property
    def has_quote(self) -> bool:
        """Whether a quote stands in it; never in a dialect without quotes."""
        return bool(self.csv.quote) and self.csv.quote in self.line_text

    def fields(self) -> list[str | None]:
        """Split a valid record into its fields; None for one that is empty and not quoted."""
        csv, text = self.csv, self.line_text
        if self.has_delimiter_behind:
            text = text.removesuffix(csv.delimiter)
        if not self.has_quote:
            return [text or None for text in text.split(csv.delimiter)]
        found = re.finditer(f"(?:^|{re.escape(csv.delimiter)})({_field_regex(csv)})", text)
        return [_unquote(match[1], csv) for match in found]


def _unquote(text: str, csv: "CsvFormat") -> str | None:
    if text[:1] != csv.quote:
        return text or None
    inner = text[1:-1]
    if csv.escape_character == csv.quote:
        return inner.replace(csv.quote * 2, csv.quote)
    escape = re.escape(csv.escape_character)
    return re.sub(f"{escape}(.)", r"\1", inner, flags=re.DOTALL)


def _field_regex(csv: "CsvFormat") -> str:
    characters = (csv.quote, csv.escape_character, csv.delimiter)
    quote, escape, delimiter = map(re.escape, characters)
    if not quote:
        return f"[^{delimiter}\r\n]*+"
    if quote == escape:
        quoted = f"{quote}(?:[^{quote}]|{quote}{quote})*+{quote}"
    else:
        quoted = f"{quote}(?:[^{quote}{escape}]|{escape}[{quote}{escape}])*+{quote}"
    return f"(?:{quoted}|[^{quote}{delimiter}\r\n]*+)"


def read_csv_records(
    csv: "CsvFormat",
    rows: Iterable[bytes],
    *,
    width: int | None,
    line_of: Callable[[int], int],
    line_end: str | None = "",
) -> Iterator[CsvRecord]:
    """Cut rows into records, strictly by RFC 4180 in their dialect.

    After a bad record, reading continues at the next line, so that several problems can be
    reported.

    Args:
        csv: The dialect.
        rows: The rows in UTF-8, in any pieces.
        width: How many fields a record must have; None for any number, as in a header.
        line_of: Returns the line of the file for a line of the rows; both start at 1.
        line_end: The line end that each must have, which is the header's; empty for that of the
            first, None for any.

    Yields:
        Each record with the line on which it starts and its problem, if any.
    """
    wrong_end = f"another line end than the {'header' if line_end else 'first row'}"
    one_field = _field_regex(csv)
    delimiter = re.escape(csv.delimiter)
    others = "*+" if width is None else f"{{{width - 1}}}"
    behind = delimiter if csv.trailing_delimiter and width is not None else ""
    sound = re.compile(f"{one_field}(?:{delimiter}{one_field}){others}{behind}\r?\n")
    other_width = re.compile(f"{one_field}(?:{delimiter}{one_field})*+\r?\n")
    decoder, row_line, rest = codecs.getincrementaldecoder("utf-8")(), 1, ""
    for chunk in chain(rows, [b""]):
        text, at = rest + decoder.decode(chunk, final=not chunk), 0
        while at < len(text):
            line = line_of(row_line)
            match = sound.match(text, at)
            if match is None and (match := other_width.match(text, at)):
                end = match.end()
                problem = _problem_of(csv, line, text[at:end], width)
            elif match is None:
                end = text.find("\n", at) + 1 or len(text)
                room = len(text) - at
                if chunk and room < MAX_RECORD_CHARS:
                    break
                problem = _problem_of(csv, line, text[at:end][:MAX_RECORD_CHARS], width)
            else:
                end, problem = match.end(), None
                this_line_end = "\r\n" if text[end - 2 : end] == "\r\n" else "\n"
                if line_end == "":
                    line_end = this_line_end
                if end - at > MAX_RECORD_CHARS:
                    reason = f"a line of over {MAX_RECORD_CHARS:,} characters"
                    problem = problem_of_file(reason, line)
                elif line_end is not None and this_line_end != line_end:
                    problem = Problem(line, "", wrong_end)
                elif end - at == len(this_line_end):
                    problem = Problem(line, "", "an empty line")
            record = text[at:end]
            yield CsvRecord(line, record, problem, csv, bool(behind))
            row_line += record.count("\n")
            at = end
        rest = text[at:]


def _problem_of(csv: "CsvFormat", line: int, text: str, expected: int | None) -> Problem:
    if len(text) >= MAX_RECORD_CHARS:
        reason = f"a line, or a quoted field, of over {MAX_RECORD_CHARS:,} characters"
        return problem_of_file(reason, line)
    bare = text
    if csv.quote:
        bare = re.sub(_field_regex(csv), lambda m: "" if m[0][:1] == csv.quote else m[0], text)
    if csv.quote and csv.quote in bare:
        # Where the next row begins is then only a guess.
        reason = "a quote that is not closed, or stands inside an unquoted field"
        return problem_of_file(reason, line)
    if "\r" in bare.removesuffix("\n").removesuffix("\r"):
        return Problem(line, "", "a carriage return without a line feed")
    if not text.rstrip("\r\n"):
        return Problem(line, "", "an empty line")
    width = bare.count(csv.delimiter) + 1
    if expected is not None and csv.trailing_delimiter:
        if not text.rstrip("\r\n").endswith(csv.delimiter):
            return Problem(line, "", "no delimiter at the end of the row")
        width -= 1
    if expected is not None and width != expected:
        return Problem(line, "", f"{width} fields instead of {expected}")
    return problem_of_file("quotes around a part of a field only", line)
