"""Sample text: in which encoding a sample is, and its text.

Takes a sample, compressed or not; returns the encoding that a feed would declare and the text in
UTF-8. Loading relies on the declared encoding alone.
"""

import codecs
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from partitioned_etl.engine.errors import ContractError, LandedFileError
from partitioned_etl.engine.formats.compression import open_sample
from partitioned_etl.engine.formats.encodings import C1_CONTROL, find_encoding, to_utf_8
from partitioned_etl.engine.formats.format import FormatProposal
from partitioned_etl.engine.formats.lines import end_line
from partitioned_etl.engine.landing.landing import read_chunks

_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HEAD_BYTES = 4096
_SINGLE_BYTE = {
    "windows-1252": "it is not UTF-8; bytes 0x80 to 0x9F suggest Windows-1252, which alone nothing "
    "in the file proves",
    "cp850": "it is neither UTF-8 nor Windows-1252; which else, nothing in the file says",
}


@dataclass(frozen=True)
class SampleText:
    """The text of a sample.

    Attributes:
        path: The sample.
        encoding: Its encoding; empty for UTF-8.
        doubt: Why it may be another one.
    """

    path: Path
    encoding: str = ""
    doubt: str = ""

    def read(self) -> Iterator[bytes]:
        """Yield the text in UTF-8, in chunks; the last line has an end.

        Raises:
            LandedFileError: It is not sound in its encoding.
        """
        try:
            yield from end_line(self._read())
        except ContractError as error:
            raise cannot_be_inferred(self.path, error) from None

    def read_start(self, size_bytes: int) -> bytes:
        """Return the first bytes of the text in UTF-8, at most so many.

        Raises:
            LandedFileError: They are not sound in its encoding.
        """
        start = bytearray()
        for chunk in self.read():
            start += chunk[: size_bytes - len(start)]
            if len(start) == size_bytes:
                break
        return bytes(start)

    def declare_encoding(self, proposal: FormatProposal) -> None:
        """Add the encoding to a proposal, and why it may be another one."""
        if self.encoding:
            proposal.options["encoding"] = self.encoding
        if self.doubt:
            proposal.doubts["format.encoding"] = self.doubt

    def declare_final_line_end(self, proposal: FormatProposal) -> None:
        """Add to a proposal that the last line has no line end, if it has none."""
        last = deque(self._read(), maxlen=1)
        if last and not last[0].endswith(b"\n"):
            proposal.options["final_line_end"] = "optional"
            doubt = "the last line has no line end: is the sample cut off?"
            proposal.doubts["format.final_line_end"] = doubt

    def _read(self) -> Iterator[bytes]:
        encoding = find_encoding(self.encoding or "utf-8")
        return to_utf_8(_read_bytes(self.path), encoding, is_certain=True)


def read_sample(sample: Path) -> SampleText:
    """Find the encoding of a sample.

    Raises:
        LandedFileError: No feed can declare it, or its compressed data is damaged.
    """
    chunks = _read_bytes(sample)
    head = next(chunks, b"")[:_HEAD_BYTES]
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise cannot_be_inferred(sample, "it is in UTF-32, which no feed can declare")
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return SampleText(sample, encoding)
    if b"\0" in head:
        at = [place % 2 for place, byte in enumerate(head) if not byte]
        encoding = "utf-16-be" if at.count(0) > at.count(1) else "utf-16-le"
        return SampleText(sample, encoding, "every other byte is NUL, and there is no mark")
    if _is_sound(sample, "utf-8"):
        return SampleText(sample)
    for encoding, doubt in _SINGLE_BYTE.items():
        if encoding == "windows-1252" and not _has_c1_controls(sample):
            break
        if _is_sound(sample, encoding):
            return SampleText(sample, encoding, doubt)
    doubt = "it is not UTF-8; which else, nothing in the file says"
    return SampleText(sample, "latin-1", doubt)


def _is_sound(sample: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in _read_bytes(sample):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _has_c1_controls(sample: Path) -> bool:
    return any(map(C1_CONTROL.search, _read_bytes(sample)))


def _read_bytes(sample: Path) -> Iterator[bytes]:
    with sample.open("rb") as handle:
        try:
            yield from read_chunks(open_sample(sample.name, handle))
        except ContractError as error:
            raise cannot_be_inferred(sample, error) from None


def cannot_be_inferred(sample: Path, reason: object) -> LandedFileError:
    """Return the error for a sample of which nothing can be proposed."""
    return LandedFileError(f"{sample.name}: nothing can be inferred: {reason}")
