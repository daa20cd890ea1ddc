"""Records: the text of a CSV file cut into records, strictly by RFC 4180 in its dialect.

Takes an opened file; returns its records with line numbers, each with what is wrong with its form.
Rules for headers and values belong in `contract.py` and `columns.py`.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from partitioned_etl.ingest.formats import CsvFormat
from partitioned_etl.ingest.opening import Readable, read_chunks

MAX_RECORD_CHARS = 500_000
"""Longest record, in characters of up to 4 bytes; DuckDB stops at 2,000,000 bytes per line."""


@dataclass(frozen=True)
class Problem:
    """One way in which a file does not match its contract.

    Attributes:
        line: Line in the file, starting at 1; 0 for the whole file.
        column: The column's name; empty for the whole line.
        reason: What is wrong, without the cell's contents.
        rule: Name of the broken row rule, if it is one.
        is_of_file: Whether it invalidates the whole file and not only its row.
        place: What `line` counts, if the file has no lines.
    """

    line: int
    column: str
    reason: str
    rule: str = ""
    is_of_file: bool = field(default=False, compare=False)
    place: str = "line"

    @property
    def what(self) -> str:
        """Column and reason, for use where the line is known."""
        return f"column {self.column}: {self.full_reason}" if self.column else self.full_reason

    @property
    def full_reason(self) -> str:
        """The reason, with the rule's name if there is one."""
        return f"{self.reason} ({self.rule})" if self.rule else self.reason

    def __str__(self) -> str:
        """Return the problem as part of a sentence: line, column, reason."""
        if not self.line:
            return self.what
        return f"{self.place} {self.line}{', ' if self.column else ': '}{self.what}"


def compare_names(expected: Sequence[str], given: Sequence[str], *, any_order: bool) -> list[str]:
    """Return how a file's column names differ from the feed's; empty if they do not.

    Args:
        expected: The feed's names, in order.
        given: The file's names, in order.
        any_order: Whether the order may differ.
    """
    repeated = sorted({name for name in given if given.count(name) > 1})
    missing = [name for name in expected if name not in given]
    extra = len([name for name in given if name not in expected])
    reasons = [f"column {name} is there more than once" for name in repeated if name in expected]
    reasons += [f"column {name} is missing" for name in missing]
    if extra:
        reasons.append(f"{extra} column name(s) that the feed does not have")
    if not reasons and list(given) != list(expected) and not any_order:
        reasons = [f"the columns are not in the order {', '.join(expected)}"]
    return reasons


@dataclass(frozen=True)
class Record:
    """One record of a file, or one row if the file has no lines.

    Attributes:
        line: The line on which it starts, or the row number.
        text: Its text, with the line end.
        problem: What is wrong with it, if anything.
    """

    line: int
    text: str
    problem: Problem | None

    @property
    def line_text(self) -> str:
        """The record's text without its line end."""
        return self.text.removesuffix("\n").removesuffix("\r")


@dataclass(frozen=True)
class CsvRecord(Record):
    """One record of a CSV file.

    Attributes:
        csv: Its dialect.
    """

    csv: CsvFormat

    def fields(self) -> list[str | None]:
        """Split a valid record into its fields; None for one that is empty and not quoted."""
        csv = self.csv
        if csv.quote not in self.text:
            return [text or None for text in self.line_text.split(csv.delimiter)]
        found = re.finditer(
            f"(?:^|{re.escape(csv.delimiter)})({_field_regex(csv)})", self.line_text
        )
        return [_unquote(match[1], csv) for match in found]


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


def read_records(csv: CsvFormat, handle: Readable, *, width: int | None) -> Iterator[CsvRecord]:
    """Read a file record by record, strictly by RFC 4180 in its dialect.

    After a bad record, reading continues at the next line, so that several problems can be
    reported.

    Args:
        csv: The dialect.
        handle: The file's text as bytes; it is read from its start.
        width: How many fields a record must have; None for any number.

    Yields:
        Each record with the line on which it starts and its problem, if any.
    """
    one_field = _field_regex(csv)
    delimiter = re.escape(csv.delimiter)
    others = "*+" if width is None else f"{{{width - 1}}}"
    sound = re.compile(f"{one_field}(?:{delimiter}{one_field}){others}\r?\n")
    other_width = re.compile(f"{one_field}(?:{delimiter}{one_field})*+\r?\n")
    handle.seek(0)
    decoder, line, rest = make_decoder(csv.normal_encoding), 1, ""
    line_end = ""
    for chunk in chunks_and_end(handle):
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
                    problem = Problem(line, "", reason, is_of_file=True)
                elif this_line_end != line_end:
                    problem = Problem(line, "", "another line end than on the first line")
                elif end - at == len(this_line_end):
                    problem = Problem(line, "", "an empty line")
            record = text[at:end]
            yield CsvRecord(line, record, problem, csv)
            line += record.count("\n")
            at = end
        rest = text[at:]


def _problem_of(csv: CsvFormat, line: int, text: str, expected: int | None) -> Problem:
    if len(text) >= MAX_RECORD_CHARS:
        reason = f"a line, or a quoted field, of over {MAX_RECORD_CHARS:,} characters"
        return Problem(line, "", reason, is_of_file=True)
    bare = re.sub(_field_regex(csv), lambda m: "" if m[0][:1] == csv.quote else m[0], text)
    if csv.quote in bare:
        # Where the next row begins is then only a guess.
        reason = "a quote that is not closed, or stands inside an unquoted field"
        return Problem(line, "", reason, is_of_file=True)
    if "\r" in bare.removesuffix("\n").removesuffix("\r"):
        return Problem(line, "", "a carriage return without a line feed")
    if not text.rstrip("\r\n"):
        return Problem(line, "", "an empty line")
    width = bare.count(csv.delimiter) + 1
    if expected is not None and width != expected:
        return Problem(line, "", f"{width} fields instead of {expected}")
    return Problem(line, "", "the line cannot be read in the feed's dialect", is_of_file=True)


def make_decoder(encoding: str) -> codecs.IncrementalDecoder:
    """Return a decoder for a file's bytes; it fails on bytes of another encoding."""
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    return codecs.getincrementaldecoder(name)(errors="strict")


def chunks_and_end(handle: Readable) -> Iterator[bytes]:
    """Yield a file in chunks, then empty bytes that let a decoder finish."""
    yield from read_chunks(handle)
    yield b""
