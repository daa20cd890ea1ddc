"""Records: the text of a file cut into records, strictly by RFC 4180 in the feed's dialect.

Takes an opened file; gives its records with line numbers, and says of each what is wrong with its
form. What a header or a value must be belongs in `contract.py` and `columns.py`.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from partitioned_etl.ingest.feed import CsvFormat, Feed
from partitioned_etl.ingest.landing import read_chunks

MAX_RECORD_CHARS = 500_000
"""Longest record, in characters of up to 4 bytes; DuckDB stops at 2,000,000 bytes a line."""


@dataclass(frozen=True)
class Problem:
    """One way in which a file does not match its contract.

    Attributes:
        line: Line in the file, the first is 1; 0 if the whole file is meant.
        column: The column's name, or empty if the whole line is meant.
        reason: What is wrong, without the cell's contents.
        rule: Name of the row rule that is broken, if it is one.
    """

    line: int
    column: str
    reason: str
    rule: str = ""

    def __str__(self) -> str:
        """Give the problem as one sentence part: line, column, reason."""
        parts = [f"line {self.line}"] if self.line else []
        parts += [f"column {self.column}"] if self.column else []
        reason = f"{self.reason} ({self.rule})" if self.rule else self.reason
        return ": ".join(filter(None, [", ".join(parts), reason]))


@dataclass(frozen=True)
class Record:
    """One record of a file.

    Attributes:
        line: The line that it starts on.
        text: Its text, with the line end.
        problem: What is wrong with it, if anything.
    """

    line: int
    text: str
    problem: Problem | None

    def fields(self, csv: CsvFormat) -> list[str]:
        """Split the record into its unquoted fields."""
        quote, escape = csv.quote, csv.escape
        found = re.finditer(f"(?:^|{re.escape(csv.delimiter)})({_field_regex(csv)})", self.text)
        fields = [match[1] for match in found]
        return [
            text[1:-1].replace(escape + quote, quote) if text[:1] == quote else text
            for text in (text.rstrip("\r\n") if text[:1] != quote else text for text in fields)
        ]


def _field_regex(csv: CsvFormat) -> str:
    quote, escape, delimiter = (re.escape(c) for c in (csv.quote, csv.escape, csv.delimiter))
    if csv.quote == csv.escape:
        quoted = f"{quote}(?:[^{quote}]|{quote}{quote})*+{quote}"
    else:
        quoted = f"{quote}(?:[^{quote}{escape}]|{escape}[{quote}{escape}])*+{quote}"
    return f"(?:{quoted}|[^{quote}{delimiter}\r\n]*+)"


def read_records(feed: Feed, handle: BinaryIO, *, check_width: bool = True) -> Iterator[Record]:
    """Read a file record by record, strictly by RFC 4180 in the feed's dialect.

    After a bad record, reading goes on at the next line, so that several problems can be named.

    Args:
        feed: The feed, which gives dialect and width.
        handle: The file, opened; it is read from its start.
        check_width: Whether a record must have as many fields as the feed has columns.

    Yields:
        Each record with the line that it starts on, and its problem if it has one.
    """
    one_field = _field_regex(feed.csv)
    delimiter = re.escape(feed.csv.delimiter)
    others = f"{{{len(feed.columns) - 1}}}" if check_width else "*+"
    sound = re.compile(f"{one_field}(?:{delimiter}{one_field}){others}\r?\n")
    other_width = re.compile(f"{one_field}(?:{delimiter}{one_field})*+\r?\n")
    handle.seek(0)
    decoder, line, rest = make_decoder(feed.csv), 1, ""
    line_end = ""
    for chunk in chunks_and_end(handle):
        text, at = rest + decoder.decode(chunk, final=not chunk), 0
        while at < len(text):
            match = sound.match(text, at)
            if match is None and (match := other_width.match(text, at)):
                end = match.end()
                problem = _problem_of(feed, line, text[at:end], check_width)
            elif match is None:
                end = text.find("\n", at) + 1 or len(text)
                room = len(text) - at
                if chunk and room < MAX_RECORD_CHARS:
                    break
                problem = _problem_of(feed, line, text[at:end][:MAX_RECORD_CHARS], check_width)
            else:
                end, problem = match.end(), None
                this_line_end = "\r\n" if text[end - 2 : end] == "\r\n" else "\n"
                line_end = line_end or this_line_end
                if end - at > MAX_RECORD_CHARS:
                    problem = Problem(line, "", f"a line of over {MAX_RECORD_CHARS:,} characters")
                elif this_line_end != line_end:
                    problem = Problem(line, "", "another line end than on the first line")
                elif end - at == len(this_line_end):
                    problem = Problem(line, "", "an empty line")
            record = text[at:end]
            yield Record(line, record, problem)
            line += record.count("\n")
            at = end
        rest = text[at:]


def _problem_of(feed: Feed, line: int, text: str, check_width: bool) -> Problem:
    csv = feed.csv
    if len(text) >= MAX_RECORD_CHARS:
        return Problem(
            line, "", f"a line, or a quoted field, of over {MAX_RECORD_CHARS:,} characters"
        )
    bare = re.sub(_field_regex(csv), lambda m: "" if m[0][:1] == csv.quote else m[0], text)
    if csv.quote in bare:
        return Problem(line, "", "a quote that is not closed, or stands inside an unquoted field")
    if "\r" in bare.removesuffix("\n").removesuffix("\r"):
        return Problem(line, "", "a carriage return without a line feed")
    if not text.rstrip("\r\n"):
        return Problem(line, "", "an empty line")
    width, expected = bare.count(csv.delimiter) + 1, len(feed.columns)
    if check_width and width != expected:
        return Problem(line, "", f"{width} fields instead of {expected}")
    return Problem(line, "", "the line cannot be read in the feed's dialect")


def make_decoder(csv: CsvFormat) -> codecs.IncrementalDecoder:
    """Make what turns the bytes of a file into text; it fails on bytes of another encoding."""
    name = "utf-8-sig" if csv.normal_encoding == "utf-8" else csv.normal_encoding
    return codecs.getincrementaldecoder(name)(errors="strict")


def chunks_and_end(handle: BinaryIO) -> Iterator[bytes]:
    """Read a file in chunks, and give empty bytes at its end, for a decoder to finish."""
    yield from read_chunks(handle)
    yield b""
