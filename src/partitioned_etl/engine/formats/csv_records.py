"""CSV records: a text cut into records, strictly by RFC 4180 in its dialect.

Takes the text of a file; returns its records with line numbers, each with what is wrong with its
form. Rules for headers and values belong in `csv.py` and `types.py`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from partitioned_etl.engine.formats.format import (
    MAX_RECORD_CHARS,
    Problem,
    Record,
    problem_of_file,
)
from partitioned_etl.engine.formats.text import chunks_and_end, make_decoder
from partitioned_etl.engine.landing.landing import Readable

if TYPE_CHECKING:
    from partitioned_etl.engine.formats.csv import CsvFormat


@dataclass(frozen=True)
class CsvRecord(Record):
    """One record of a CSV file.

    Attributes:
        csv: Its dialect.
    """

    csv: "CsvFormat"

    def fields(self) -> list[str | None]:
        """Split a valid record into its fields; None for one that is empty and not quoted."""
        csv = self.csv
        if csv.quote not in self.text:
            return [text or None for text in self.line_text.split(csv.delimiter)]
        found = re.finditer(
            f"(?:^|{re.escape(csv.delimiter)})({_field_regex(csv)})", self.line_text
        )
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
    if quote == escape:
        quoted = f"{quote}(?:[^{quote}]|{quote}{quote})*+{quote}"
    else:
        quoted = f"{quote}(?:[^{quote}{escape}]|{escape}[{quote}{escape}])*+{quote}"
    return f"(?:{quoted}|[^{quote}{delimiter}\r\n]*+)"


def read_csv_records(
    csv: "CsvFormat", source: Readable, *, width: int | None
) -> Iterator[CsvRecord]:
    """Read a file record by record, strictly by RFC 4180 in its dialect.

    After a bad record, reading continues at the next line, so that several problems can be
    reported.

    Args:
        csv: The dialect.
        source: The file's text as bytes; it is read from its start.
        width: How many fields a record must have; None for any number.

    Yields:
        Each record with the line on which it starts and its problem, if any.
    """
    one_field = _field_regex(csv)
    delimiter = re.escape(csv.delimiter)
    others = "*+" if width is None else f"{{{width - 1}}}"
    sound = re.compile(f"{one_field}(?:{delimiter}{one_field}){others}\r?\n")
    other_width = re.compile(f"{one_field}(?:{delimiter}{one_field})*+\r?\n")
    source.seek(0)
    decoder, line, rest = make_decoder(csv.text_encoding), 1, ""
    line_end = ""
    for chunk in chunks_and_end(source):
        text, at = rest + decoder.decode(chunk, final=not chunk), 0
        while at < len(text):
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
                line_end = line_end or this_line_end
                if end - at > MAX_RECORD_CHARS:
                    reason = f"a line of over {MAX_RECORD_CHARS:,} characters"
                    problem = problem_of_file(reason, line)
                elif this_line_end != line_end:
                    problem = Problem(line, "", "another line end than on the first line")
                elif end - at == len(this_line_end):
                    problem = Problem(line, "", "an empty line")
            record = text[at:end]
            yield CsvRecord(line, record, problem, csv)
            line += record.count("\n")
            at = end
        rest = text[at:]


def _problem_of(csv: "CsvFormat", line: int, text: str, expected: int | None) -> Problem:
    if len(text) >= MAX_RECORD_CHARS:
        reason = f"a line, or a quoted field, of over {MAX_RECORD_CHARS:,} characters"
        return problem_of_file(reason, line)
    bare = re.sub(_field_regex(csv), lambda m: "" if m[0][:1] == csv.quote else m[0], text)
    if csv.quote in bare:
        # Where the next row begins is then only a guess.
        reason = "a quote that is not closed, or stands inside an unquoted field"
        return problem_of_file(reason, line)
    if "\r" in bare.removesuffix("\n").removesuffix("\r"):
        return Problem(line, "", "a carriage return without a line feed")
    if not text.rstrip("\r\n"):
        return Problem(line, "", "an empty line")
    width = bare.count(csv.delimiter) + 1
    if expected is not None and width != expected:
        return Problem(line, "", f"{width} fields instead of {expected}")
    return problem_of_file("the line cannot be read in the feed's dialect", line)
