"""Lines: what of a text is rows, and what is a title, a comment or a total.

Takes a text in UTF-8, in chunks; returns those lines of it that are rows, in a stream, and on which
line of the file each stands. Only what the feed declares is left out. How a row is cut into fields
belongs in the format's own module.
"""

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.format import MAX_RECORD_CHARS

MAX_FOOTER_BYTES = 1 << 16
"""Longest footer; so much of a text is held back, if it may have one."""


@dataclass(frozen=True)
class LineRules:
    """Which lines of a text, behind its head, are no rows.

    Attributes:
        comment: How lines begin that are no rows; empty if none is.
        skip_blank: Whether empty lines are no rows.
        delimiter: Lines of nothing but this and white space are no rows; empty if they are.
        quote: What lines within a field are inside of; empty if there is none.
        escape: What makes a quote a part of a field; empty if only the quote itself does.
        footer_lines: How many lines at the end are no rows.
        footer: What the lines at the end match that are no rows; None if there are none.
        may_lack_end: Whether the last line may have no line end.
    """

    comment: bytes = b""
    skip_blank: bool = False
    delimiter: bytes = b""
    quote: bytes = b""
    escape: bytes = b""
    footer_lines: int = 0
    footer: re.Pattern[str] | None = None
    may_lack_end: bool = False

    @property
    def has_footer(self) -> bool:
        """Whether the last lines are no rows."""
        return bool(self.footer_lines or self.footer)

    @property
    def leaves_all(self) -> bool:
        """Whether every line is a row."""
        return not (self.comment or self.skip_blank or self.delimiter or self.has_footer)

    @property
    def skipped(self) -> re.Pattern[bytes] | None:
        """What, behind a line end, is a line that is no row, wherever it stands."""
        kinds = [re.escape(self.comment) + rb"[^\n]*"] if self.comment else []
        kinds += [rb"\r?"] if self.skip_blank else []
        if self.delimiter:
            delimiter = re.escape(self.delimiter)
            kinds.append(rb"[ \t]*" + delimiter + rb"[ \t" + delimiter + rb"]*\r?")
        return re.compile(rb"\n(?:" + b"|".join(kinds) + rb")(?=\n)") if kinds else None

    def ends_within_quotes(self, rows: bytes, *, begins_within: bool) -> bool:
        """Return whether a quoted field goes on behind rows.

        Args:
            rows: The rows, whole lines.
            begins_within: Whether one goes on where they begin.
        """
        if not self.quote or self.quote not in rows:
            return begins_within
        if self.escape not in (b"", self.quote):
            rows = re.sub(re.escape(self.escape) + rb".", b"", rows, flags=re.DOTALL)
        return bool(begins_within ^ (rows.count(self.quote) & 1))


_ALL_LINES = LineRules()


class RowLines:
    """Those lines of one text that are rows, read once from its start.

    Attributes:
        footer: The lines of its footer, once the text was read to its end.
        ends_with_newline: Whether the last line had an end; known at the end.
        head_lines: How many of the lines before the first row there are; known at the end.
        bytes_read: The text's length, with all lines, in UTF-8; known at the end.
    """

    def __init__(self, rules: LineRules, head_lines: int, line_end: str = "") -> None:
        """Read nothing yet.

        Args:
            rules: Which lines are no rows.
            head_lines: How many lines stand before the first row.
            line_end: The line end of the header; empty if there is none.
        """
        self._rules, self._head_lines, self._line_end = rules, head_lines, line_end
        self._skipped = rules.skipped
        self._is_within_quotes = False
        self._kept_lines = 0
        self._skipped_after = array("q")
        self.footer: list[str] = []
        self.ends_with_newline = False
        self.head_lines = 0
        self.bytes_read = 0

    def keep(self, text: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the lines that are rows, in pieces.

        Raises:
            ContractError: There is no footer where one is declared, or it is too long.
        """
        rows = self._drop_head(text)
        if self._rules.may_lack_end:
            rows = self._end_line(rows)
        if self._skipped:
            rows = self._drop_skipped(rows, self._skipped)
        return self._drop_footer(rows) if self._rules.has_footer else rows

    def line_of(self, row_line: int) -> int:
        """Return the line of the file on which a line of the rows stands; both start at 1."""
        skipped = bisect_right(self._skipped_after, row_line - 1)
        return self._head_lines + row_line + skipped

    def _drop_head(self, text: Iterable[bytes]) -> Iterator[bytes]:
        left = self._head_lines
        for chunk in text:
            self.bytes_read += len(chunk)
            self.ends_with_newline = chunk.endswith(b"\n")
            start = 0
            while left and start < len(chunk):
                start = chunk.find(b"\n", start) + 1 or len(chunk)
                left -= chunk[start - 1 : start] == b"\n"
            has_begun = bool(left) and not self.ends_with_newline
            self.head_lines = self._head_lines - left + has_begun
            if start < len(chunk):
                yield chunk[start:] if start else chunk

    def _end_line(self, text: Iterable[bytes]) -> Iterator[bytes]:
        yield from end_line(text, self._line_end.encode(), self._rules)
        self.ends_with_newline |= bool(self.bytes_read)

    def _drop_skipped(self, text: Iterable[bytes], skipped: re.Pattern[bytes]) -> Iterator[bytes]:
        rest = b""
        for chunk in text:
            data = rest + chunk
            cut = data.rfind(b"\n") + 1
            if not cut and len(data) > 4 * MAX_RECORD_CHARS:
                cut = len(data)  # it is refused for this line
            rest = data[cut:]
            if cut:
                yield self._without(skipped, data[:cut])
        if rest:
            yield rest

    def _without(self, skipped: re.Pattern[bytes], lines: bytes) -> bytes:
        """Return whole lines without those that are no rows."""
        lines = b"\n" + lines
        pieces, after = list[bytes](), 1
        for found in skipped.finditer(lines):
            # The line end that it begins with belongs to the line before, and stays.
            before = lines[after : found.start() + 1]
            if self._ends_within_quotes(before):
                continue
            pieces.append(before)
            self._pass(before)
            self._skipped_after.append(self._kept_lines)
            after = found.end() + 1
        last = lines[after:]
        self._pass(last)
        return b"".join((*pieces, last))

    def _pass(self, rows: bytes) -> None:
        self._is_within_quotes = self._ends_within_quotes(rows)
        self._kept_lines += rows.count(b"\n")

    def _ends_within_quotes(self, rows: bytes) -> bool:
        """Return whether a quoted field goes on behind rows that come next."""
        return self._rules.ends_within_quotes(rows, begins_within=self._is_within_quotes)

    def _drop_footer(self, text: Iterable[bytes]) -> Iterator[bytes]:
        held = b""
        for chunk in text:
            held += chunk
            if len(held) > 2 * MAX_FOOTER_BYTES:
                yield held[:-MAX_FOOTER_BYTES]
                held = held[-MAX_FOOTER_BYTES:]
        start = self._find_footer(held)
        self.footer = held[start:].decode("utf-8", "replace").splitlines()
        if start:
            yield held[:start]

    def _find_footer(self, held: bytes) -> int:
        """Return where the footer begins in the last bytes of a text.

        Raises:
            ContractError: There is none, or it begins before these bytes.
        """
        rules, start, count = self._rules, len(held), 0
        while start:
            line_start = held.rfind(b"\n", 0, start - 1) + 1
            if rules.footer_lines and count == rules.footer_lines:
                break
            line = held[line_start:start].decode("utf-8", "replace").rstrip("\r\n")
            if rules.footer and line and not rules.footer.match(line):
                break
            count += 1
            start = line_start
        if not start and len(held) >= MAX_FOOTER_BYTES:
            raise ContractError(f"the footer is over {MAX_FOOTER_BYTES:,} bytes")
        if rules.footer_lines and count < rules.footer_lines:
            raise ContractError(f"{count} lines, and the footer alone has {rules.footer_lines}")
        if rules.footer and not any(map(rules.footer.match, held[start:].decode().splitlines())):
            raise ContractError("the last line is no footer: cut off?")
        return start


def end_line(
    text: Iterable[bytes], line_end: bytes = b"", rules: LineRules = _ALL_LINES
) -> Iterator[bytes]:
    """Yield a text, and give its last line an end if it has none.

    Args:
        text: The text in UTF-8, in pieces.
        line_end: The end; empty for that of the first row, or of any line if no row has one.
        rules: Which lines are no rows, and what a row may have line ends inside of.
    """
    start = last = b""
    for chunk in text:
        if not line_end and len(start) <= 4 * MAX_RECORD_CHARS:
            start += chunk
            line_end = _find_line_end(start, rules)
        last = chunk[-1:]
        yield chunk
    if last not in (b"", b"\n"):
        yield line_end or _find_line_end(start, _ALL_LINES) or b"\n"


def _find_line_end(text: bytes, rules: LineRules) -> bytes:
    """Return the line end of the first row of a text; empty if it has none."""
    skipped, is_within_quotes, start = rules.skipped, False, 0
    while end := text.find(b"\n", start) + 1:
        line = text[start:end]
        start = end
        if skipped and not is_within_quotes and skipped.match(b"\n" + line):
            continue
        is_within_quotes = rules.ends_within_quotes(line, begins_within=is_within_quotes)
        if not is_within_quotes:
            return b"\r\n" if line.endswith(b"\r\n") else b"\n"
    return b""
