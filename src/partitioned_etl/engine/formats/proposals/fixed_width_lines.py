"""Fixed width lines: the lines of a sample in what places count, characters or bytes.

Takes the text of a sample; returns its first and last lines, and what kinds of characters those
between have. Samples of which no feed can declare the places are refused here.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from unicodedata import east_asian_width

from partitioned_etl.engine.formats.format import MAX_RECORD_CHARS, FormatProposal
from partitioned_etl.engine.formats.proposals.fixed_width_places import (
    Place,
    find_places,
    kinds_of,
)
from partitioned_etl.engine.formats.proposals.sample_text import SampleText, cannot_be_inferred
from partitioned_etl.engine.formats.text import read_lines

_KEPT_LINES, _TAIL_LINES = 20_000, 12


@dataclass
class SampleLines:
    """The lines of a sample, without their ends.

    Attributes:
        kept: The first ones and the last ones.
        kinds: The kinds of characters of those between, as `kinds_of` tells them.
        lengths: How long these are.
        has_empty: Whether some of these are empty.
    """

    kept: list[str]
    kinds: int = 0
    lengths: set[int] = field(default_factory=set)
    has_empty: bool = False

    def list_kinds(self, rows: Sequence[str]) -> bytes:
        """Return the kinds of characters of rows and of the lines between, place by place."""
        kinds = self.kinds
        for row in rows:
            kinds |= kinds_of(row)
        lengths = {*map(len, rows), *self.lengths}
        found = kinds.to_bytes(max(lengths), "little")
        blank, start = kinds_of(" "), min(lengths)
        return found[:start] + bytes(kind | blank for kind in found[start:])

    def find_places(self, rows: Sequence[str], header: str = "", ruler: str = "") -> list[Place]:
        """Find the places of columns."""
        return find_places(rows, self.list_kinds(rows), header, ruler)


def read_sample_lines(text: SampleText, proposal: FormatProposal) -> SampleLines:
    """Read lines in characters or, if more lines are then of one length, in bytes."""
    read = (line.removesuffix("\n").removesuffix("\r") for line in read_lines(text.read()))
    head = list(islice(read, _KEPT_LINES))
    _refuse_no_lines(text, head)
    _doubt_delimiters(proposal, head)
    convert = _choose_unit(text, proposal, head)
    lines = SampleLines([convert(line) for line in head])
    tail = deque[str](maxlen=_TAIL_LINES)
    for line in map(convert, read):
        if len(tail) == _TAIL_LINES:
            lines.has_empty |= not tail[0]
            lines.kinds |= kinds_of(tail[0])
            lines.lengths |= {len(tail[0])} - {0}
        tail.append(line)
    lines.kept += tail
    return lines


def _refuse_no_lines(text: SampleText, head: Sequence[str]) -> None:
    start = "".join(head[:100])
    reason = ""
    if any(len(line) > MAX_RECORD_CHARS for line in head):
        reason = f"a line is of over {MAX_RECORD_CHARS:,} characters"
    elif not any(map(str.strip, head)):
        reason = "it has only empty lines"
    elif len(head) == 1 and "\r" in start:
        reason = "its lines end in carriage returns alone, which no feed can declare"
    elif text.encoding and " " not in start and start.count("@") > len(start) // 20:
        reason = "it looks like EBCDIC: declare its encoding, such as cp037, and its columns"
    if reason:
        raise cannot_be_inferred(text.path, reason)


def _doubt_delimiters(proposal: FormatProposal, head: Sequence[str]) -> None:
    filled = [line for line in head if line.strip()]
    for mark in "|;,":
        counts = {line.count(mark) for line in filled}
        if len({*map(len, filled)}) > 1 and len(counts) == 1 and counts != {0}:
            proposal.doubts["format"] = f"all lines have as many {mark}: are they csv?"
    if any("\t" in line for line in filled):
        doubt = "a tab counts as one character: do tabs part the columns, as in tsv?"
        proposal.doubts["format"] = doubt


def _choose_unit(
    text: SampleText, proposal: FormatProposal, head: Sequence[str]
) -> Callable[[str], str]:
    """Return what makes a line one of characters or of bytes, whatever places count."""
    filled = [line for line in head if line.strip()]
    if all(map(str.isascii, filled)):
        return str
    if text.encoding:
        doubt = "in an encoding with several bytes for a character, places may count bytes"
        proposal.doubts["format.unit"] = doubt
        return str
    in_characters, in_bytes, on_screen = (
        max(Counter(map(measure, filled)).values()) for measure in (len, _count_bytes, _count_wide)
    )
    half = len(filled) / 2
    if on_screen > max(in_characters, in_bytes, half):
        reason = "its places count a wide character as two, which no feed can declare"
        raise cannot_be_inferred(text.path, reason)
    if in_bytes > max(in_characters, half):
        proposal.options["unit"] = "bytes"
        proposal.doubts["format.unit"] = "lines are of one length in bytes, not in characters"
        return _to_bytes
    if in_bytes == in_characters or in_characters < half:
        proposal.doubts["format.unit"] = "do places count characters, or bytes?"
    return str


def _to_bytes(line: str) -> str:
    return line.encode().decode("latin-1")


def _count_bytes(line: str) -> int:
    return len(line.encode())


def _count_wide(line: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in line)
