"""Encodings: a text in the encoding that a feed declares, as UTF-8, in a stream.

Takes the bytes of a file in chunks; returns the same text in UTF-8, without a byte order mark, or
says on which line it is not in that encoding. What the text means belongs in `text.py`.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from partitioned_etl.engine.errors import ContractError

_NO_FILE_ENCODINGS = frozenset(
    {"utf-7", "idna", "punycode", "unicode_escape", "raw-unicode-escape", "undefined"}
)
_OTHER_NAMES = {
    "ansi": "windows-1252",
    "oem": "cp850",
    **dict.fromkeys(("unicode", "ucs2", "ucs2lebom", "ucs2bebom", "utf16lebom"), "utf-16"),
    **dict.fromkeys(("utf8bom", "utf8withbom", "utf8mb4"), "utf-8"),
    "utf16le": "utf-16-le",
    "utf16be": "utf-16-be",
}
"""What editors and databases call encodings, in small letters and digits alone."""
_WITH_ESCAPES = ("iso2022", "hz")
"""Encodings in which ASCII characters change what those after them mean."""
_SECOND_BYTES = b"\x40\xa1"
"""In every encoding with characters of several bytes, one of them is the second byte of some."""
_PIECE_BYTES = 1 << 16
"""Pieces of a chunk that are ASCII need no conversion; texts are ASCII for long stretches."""
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
C1_CONTROL = re.compile(rb"[\x80-\x9f]")
"""A byte that no text in Latin-1 has, and one in Windows-1252 has for a letter or a sign."""
_ISO_TO_WINDOWS = {1: 2, 2: 0, 5: 1, 6: 6, 7: 3, 8: 5, 9: 4, 13: 7, 15: 2}
"""What stands behind `windows-125` for the part of ISO 8859 with about the same letters."""
_IF_CERTAIN = "If it is right, set encoding_is_certain"
_ASCII = bytes(range(128))
_MARKS_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARK = codecs.BOM_UTF8


class EncodingError(ContractError):
    """A text is not in the encoding that the feed declares, or holds a NUL character.

    Attributes:
        line: The line, starting at 1, if lines were counted; else 0.
    """

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def find_encoding(name: str) -> str:
    """Return the name by which Python's codec registry knows an encoding; empty if it has none.

    What is no encoding of files, such as `idna`, is none, nor is `utf-32`.
    """
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        return ""
    return "" if found in _NO_FILE_ENCODINGS or found.startswith("utf-32") else found


def guess_encoding(name: str) -> str:
    """Return the encoding that is probably meant by a name that none has; empty if none is."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    named = re.sub(r"^(?:windows|win|ansi)(?=125\d$)", "windows-", plain)
    named = re.sub(r"^iso8859(?=\d{1,2}$)", "iso-8859-", named)
    return next(filter(find_encoding, (_OTHER_NAMES.get(plain, ""), named)), "")


def is_single_byte(encoding: str) -> bool:
    """Return whether every character of an encoding has one byte.

    Args:
        encoding: Its name in Python's codec registry.
    """
    pairs = (bytes([first, second]) for first in range(256) for second in _SECOND_BYTES)
    has_long = any(_is_one_character(pair, encoding) for pair in pairs)
    return not has_long and not encoding.startswith(_WITH_ESCAPES)


def _is_one_character(data: bytes, encoding: str) -> bool:
    try:
        return len(data.decode(encoding)) == 1
    except UnicodeError:
        return False


def to_utf_8(
    chunks: Iterable[bytes],
    encoding: str,
    *,
    is_certain: bool = False,
    count_lines: bool = False,
) -> Iterator[bytes]:
    """Yield a text in UTF-8, without a byte order mark.

    Args:
        chunks: Its bytes, in any pieces.
        encoding: Its encoding, by its name in Python's codec registry.
        is_certain: Whether bytes that suggest another encoding are taken as they are.
        count_lines: Whether to count lines, so that an error can name one.

    Raises:
        EncodingError: The bytes are not in that encoding, suggest another one, or hold a NUL.
    """
    decoder = _Decoder(encoding)
    doubts = None if is_certain or encoding.startswith("utf") else _Doubts(encoding)
    newlines = 0
    for chunk in chain(chunks, [b""]):
        line = newlines + 1 if count_lines else 0
        if doubts and (found := doubts.find(chunk, newlines)):
            raise EncodingError(*found)
        try:
            data = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start) if count_lines else 0
            raise EncodingError(f"the bytes are not {encoding}", line) from None
        except UnicodeError:
            reason = f"{encoding} needs a byte order mark: is it {encoding}-le?"
            raise EncodingError(reason, line) from None
        if b"\0" in data:
            line += data.count(b"\n", 0, data.index(b"\0")) if count_lines else 0
            raise EncodingError("a NUL character", line)
        if count_lines or doubts:
            newlines += data.count(b"\n")
        if data:
            yield data


class _Decoder:
    """Decodes a text chunk by chunk, and encodes it as UTF-8.

    What is ASCII is passed on as it is, if the encoding is one that means the same by it.
    """

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
        self._needs_mark = encoding == "utf-16"
        self._is_at_start = True
        try:
            is_superset = _ASCII.decode(encoding).encode("ascii") == _ASCII
            self._may_pass_ascii = is_superset and not encoding.startswith(_WITH_ESCAPES)
        except UnicodeError:
            self._may_pass_ascii = False

    def decode(self, chunk: bytes) -> bytes:
        """Decode a chunk; empty bytes end the text."""
        if chunk and self._needs_mark and self._is_at_start and not chunk.startswith(_MARKS_UTF_16):
            raise UnicodeError
        data = b"".join(self._decode_pieces(chunk))
        if self._is_at_start:
            self._is_at_start = not data
            if not self._needs_mark:
                return data.removeprefix(_MARK)
        return data

    def _decode_pieces(self, chunk: bytes) -> Iterator[bytes]:
        if chunk and self._passes(chunk):
            yield chunk
            return
        for start in range(0, len(chunk), _PIECE_BYTES) or (0,):
            piece = chunk[start : start + _PIECE_BYTES]
            if piece and self._passes(piece):
                yield piece
            else:
                yield self._decoder.decode(piece, final=not chunk).encode("utf-8")

    def _passes(self, piece: bytes) -> bool:
        return self._may_pass_ascii and piece.isascii() and not self._decoder.getstate()[0]


class _Doubts:
    """What in a text suggests that it is in another encoding than it is said to be.

    Many encodings give a meaning to every byte, so that a wrong one is never an error by itself.
    """

    def __init__(self, encoding: str) -> None:
        part = encoding.removeprefix("iso8859-")
        self._name = "latin-1" if part == "1" else encoding
        self._has_controls = part != encoding
        self._windows = _ISO_TO_WINDOWS.get(int(part)) if part.isdecimal() else None
        # In EBCDIC, letters and digits are bytes with which UTF-8 has no text.
        self._differs_in_ascii = b"a0".decode(encoding, "replace") != "a0"
        self._utf_8, self._is_utf_8 = codecs.getincrementaldecoder("utf-8")(), True
        self._first_line = 0

    def find(self, chunk: bytes, newlines: int) -> tuple[str, int] | None:
        """Return what suggests another encoding, and on which line; empty bytes end the text.

        Args:
            chunk: The next bytes.
            newlines: How many line ends stand before them.
        """
        if chunk and not self._first_line and self._differs_in_ascii:
            self._first_line = 1
        if not self._first_line and (first := _NOT_ASCII.search(chunk)):
            self._first_line = newlines + _count_lines(chunk, first)
        if self._has_controls and not chunk.isascii() and (found := C1_CONTROL.search(chunk)):
            reason = f"byte 0x{found[0].hex().upper()}, which {self._name} does not use"
            guess = "" if self._windows is None else f": windows-125{self._windows}?"
            return f"{reason}{guess} {_IF_CERTAIN}", newlines + _count_lines(chunk, found)
        if self._is_utf_8:
            try:
                self._utf_8.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                self._is_utf_8 = False
        if chunk or not self._is_utf_8 or not self._first_line:
            return None
        what = "all of it" if self._differs_in_ascii else "what is not ASCII"
        return f"{what} would also be sound in utf-8: utf-8? {_IF_CERTAIN}", self._first_line


def _count_lines(data: bytes, found: re.Match[bytes]) -> int:
    return data.count(b"\n", 0, found.start()) + 1
