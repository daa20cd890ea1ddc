"""Records: the text of a file cut into records, strictly by RFC 4180 in the feed's dialect.

Takes an opened file; gives its records with line numbers, and says of each what is wrong with its
form. What a header or a value must be belongs in `contract.py` and `columns.py`.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from partitioned_etl.ingest.feed import CsvFormat, Feed
from partitioned_etl.ingest.opening import Readable, read_chunks

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
        is_of_file: Whether it puts the whole file in doubt, and not only the row that it is in.
    """

    line: int
    column: str
    reason: str
    rule: str = ""
    is_of_file: bool = field(default=False, compare=False)

    @property
    def what(self) -> str:
        """Column and reason, for where the line is known."""
        return f"column {self.column}: {self.full_reason}" if self.column else self.full_reason

    @property
    def full_reason(self) -> str:
        """The reason, with the rule's name if there is one."""
        return f"{self.reason} ({self.rule})" if self.rule else self.reason

    def __str__(self) -> str:
        """Give the problem as one sentence part: line, column, reason."""
        if not self.line:
            return self.what
        return f"line {self.line}{', ' if self.column else ': '}{self.what}"


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

    def fields(self, csv: CsvFormat) -> list[str | None]:
        """Split a sound record into its fields; None where one is empty and not quoted."""
        if csv.quote not in self.text:
            return [text or None for text in self.line_text.split(csv.delimiter)]
        found = re.finditer(
            f"(?:^|{re.escape(csv.delimiter)})({_field_regex(csv)})", self.line_text
        )
        return [_unquote(match[1], csv) for match in found]

    @property
    def line_text(self) -> str:
        """The record's text without its line end."""
        return self.text.removesuffix("\n").removesuffix("\r")


def _unquote(text: str, csv: CsvFormat) -> str | None:
    if text[:1] != csv.quote:
        return text or None
    inner = text[1:-1]
    if csv.escape == csv.quote:
        return inner.replace(csv.quote * 2, csv.quote)
    return re.sub(f"{re.escape(csv.escape)}(.)", r"\1", inner, flags=re.DOTALL)


def _field_regex(csv: CsvFormat) -> str:
    quote, escape, delimiter = (re.escape(c) for c in (csv.quote, csv.escape, csv.delimiter))
    if csv.quote == csv.escape:
        quoted = f"{quote}(?:[^{quote}]|{quote}{quote})*+{quote}"
    else:
        quoted = f"{quote}(?:[^{quote}{escape}]|{escape}[{quote}{escape}])*+{quote}"
    return f"(?:{quoted}|[^{quote}{delimiter}\r\n]*+)"


def read_records(feed: Feed, handle: Readable, *, check_width: bool = True) -> Iterator[Record]:
    """Read a file record by record, strictly by RFC 4180 in the feed's dialect.

    After a bad record, reading goes on at the next line, so that several problems can be named.

    Args:
        feed: The feed, which gives dialect and width.
        handle: The file's text as bytes; it is read from its start.
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
                    reason = f"a line of over {MAX_RECORD_CHARS:,} characters"
                    problem = Problem(line, "", reason, is_of_file=True)
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
        reason = f"a line, or a quoted field, of over {MAX_RECORD_CHARS:,} characters"
        return Problem(line, "", reason, is_of_file=True)
    bare = re.sub(_field_regex(csv), lambda m: "" if m[0][:1] == csv.quote else m[0], text)
    if csv.quote in bare:
        # Where the next row begins is then a guess.
        reason = "a quote that is not closed, or stands inside an unquoted field"
        return Problem(line, "", reason, is_of_file=True)
    if "\r" in bare.removesuffix("\n").removesuffix("\r"):
        return Problem(line, "", "a carriage return without a line feed")
    if not text.rstrip("\r\n"):
        return Problem(line, "", "an empty line")
    width, expected = bare.count(csv.delimiter) + 1, len(feed.columns)
    if check_width and width != expected:
        return Problem(line, "", f"{width} fields instead of {expected}")
    return Problem(line, "", "the line cannot be read in the feed's dialect", is_of_file=True)


def make_decoder(csv: CsvFormat) -> codecs.IncrementalDecoder:
    """Make what turns the bytes of a file into text; it fails on bytes of another encoding."""
    name = "utf-8-sig" if csv.normal_encoding == "utf-8" else csv.normal_encoding
    return codecs.getincrementaldecoder(name)(errors="strict")


def chunks_and_end(handle: Readable) -> Iterator[bytes]:
    """Read a file in chunks, and give empty bytes at its end, for a decoder to finish."""
    yield from read_chunks(handle)
    yield b""
