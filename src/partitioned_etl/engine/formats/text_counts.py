"""Text counts: what the bytes of a text say of its rows, without cutting it into records.

Takes the rows of a text in UTF-8, chunk by chunk; returns how many line ends, delimiters and quotes
they have, and whether they hold anything that DuckDB reads loosely. What the counts must be belongs
in the formats.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from partitioned_etl.engine.formats.format import Loose
from partitioned_etl.engine.formats.types import is_float_type

LOOSE_BYTES_BEFORE = 4
"""How many bytes before a chunk may belong to a number that DuckDB reads loosely."""
_LOOSE_BYTES = frozenset({b"_", b" ", b"\t", b"\v", b"\f"})
_SMALL_DOUBLE = {b"e": re.compile(rb"e-[0-9]{3}"), b"E": re.compile(rb"E-[0-9]{3}")}
_SMALL_FLOAT = {b"e": re.compile(rb"e-[0-9]{2}"), b"E": re.compile(rb"E-[0-9]{2}")}
"""Exponents that may make a number too small for its type, by their first byte."""
_ZEROS = b"0" * 20
"""Half as many as make a FLOAT too small, because a chunk may end among them."""
_PIECE_BYTES = 1 << 17
"""A line of over twice this length contains a whole piece without a line end."""


@dataclass
class TextCounts:
    """What was counted in the rows of a text, in UTF-8.

    Attributes:
        size_bytes: Its length.
        newlines: Line feeds.
        returns: Carriage returns.
        return_newlines: Carriage returns with a line feed after them.
        delimiters: Delimiters.
        quotes: Quotes.
        has_long_line: Whether a line is long enough to need a closer look.
    """

    size_bytes: int = 0
    newlines: int = 0
    returns: int = 0
    return_newlines: int = 0
    delimiters: int = 0
    quotes: int = 0
    has_long_line: bool = False

    @property
    def line_end(self) -> str:
        """The line end of all lines, if they have the same."""
        return "\r\n" if self.returns else "\n"

    def add(self, data: bytes, marks: tuple[bytes, bytes], *, last: bytes) -> None:
        """Count on in the next bytes.

        Args:
            data: The bytes.
            marks: The delimiter and the quote; empty for none.
            last: The byte before them.
        """
        import numpy as np  # only a process that loads needs it, and it is slow to import

        delimiter, quote = marks
        self.size_bytes += len(data)
        if b"\r" in data or last == b"\r":
            self.returns += data.count(b"\r")
            self.return_newlines += data.count(b"\r\n") + (last == b"\r" and data[:1] == b"\n")
        if quote and quote in data:
            self.quotes += data.count(quote)
        every = np.frombuffer(data, np.uint8)
        for start in range(0, len(every), _PIECE_BYTES):
            piece = every[start : start + _PIECE_BYTES]
            newlines = int(np.count_nonzero(piece == ord("\n")))
            self.newlines += newlines
            if delimiter:
                self.delimiters += int(np.count_nonzero(piece == ord(delimiter)))
            self.has_long_line |= not newlines and len(piece) == _PIECE_BYTES


def find_loose(
    marks: tuple[bytes, bytes], type_names: Iterable[str], before: bytes, data: bytes
) -> Loose:
    """Return what bytes of rows hold that DuckDB reads loosely.

    Args:
        marks: The delimiter and the quote; empty for none.
        type_names: The types of the columns: what changes a number matters to floating-point ones.
        before: The last bytes before them, `LOOSE_BYTES_BEFORE` at most.
        data: The bytes.
    """
    delimiter, quote = marks
    texts = (_LOOSE_BYTES | {quote}) - {delimiter, b""}
    found = Loose.NOTHING
    if any(byte in data for byte in texts):
        found |= Loose.TEXT
    floats = {name.upper() for name in type_names if is_float_type(name)}
    exponents = _SMALL_DOUBLE if floats <= {"DOUBLE"} else _SMALL_FLOAT
    seam = before + data[:LOOSE_BYTES_BEFORE]
    if floats and any(_has_loose_number(one, exponents) for one in (data, seam)):
        found |= Loose.NUMBER
    return found


def _has_loose_number(data: bytes, exponents: Mapping[bytes, re.Pattern[bytes]]) -> bool:
    # To look for a single byte first is much faster, and most files do not have it.
    has_two_signs = b"+" in data and b"+-" in data
    is_small = any(first in data and one.search(data) for first, one in exponents.items())
    return has_two_signs or is_small or _ZEROS in data
