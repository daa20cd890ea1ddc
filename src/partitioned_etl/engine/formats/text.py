"""Text: what all formats have in common whose files are lines of text.

Takes a landed file; surveys its text by counting bytes, line ends, delimiters and quotes, and cuts
it into records, which go to DuckDB in batches. What a record looks like belongs in the format's own
module.
"""

import codecs
import json
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import duckdb

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.compression import is_compressed, open_text
from partitioned_etl.engine.formats.format import (
    LINE,
    MAX_PROBLEMS,
    MAX_RECORD_CHARS,
    Format,
    Loose,
    Problem,
    Record,
    RowBatch,
    Survey,
    Watch,
    problem_of_file,
    unwatched,
)
from partitioned_etl.engine.formats.types import is_float_type
from partitioned_etl.engine.landing.landing import (
    LandedFile,
    Readable,
    changed_while_read,
    hash_content,
    read_chunks,
)
from partitioned_etl.engine.sql import Query, quote_identifier

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

BATCH_ROWS = 10_000
BATCH_CHARS = 4_000_000
"""A batch ends with the record that reaches either limit, so that memory grows with neither."""
_LOOSE_BYTES = frozenset({b"_", b" ", b"\t", b"\v", b"\f"})
_SMALL_DOUBLE = {b"e": re.compile(rb"e-[0-9]{3}"), b"E": re.compile(rb"E-[0-9]{3}")}
_SMALL_FLOAT = {b"e": re.compile(rb"e-[0-9]{2}"), b"E": re.compile(rb"E-[0-9]{2}")}
"""Exponents that may make a number too small for its type, by their first byte."""
_ZEROS = b"0" * 20
"""Half as many as make a FLOAT too small, because a chunk may end among them."""
_LOOSE_BYTES_BEFORE = 4
"""How many bytes before a chunk may belong to such a number."""
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
C1_CONTROL = re.compile(rb"[\x80-\x9f]")
"""A byte that no text in Latin-1 has, and one in Windows-1252 has for a letter or a sign."""
_IF_CERTAIN = "If it is right, set encoding_is_certain"
_PIECE_BYTES = 1 << 17
"""A line of over twice this length contains a whole piece without a line end."""


@dataclass
class TextCounts:
    """What was counted in a text, in UTF-8.

    Attributes:
        bytes: Its length.
        newlines: Line feeds.
        returns: Carriage returns.
        return_newlines: Carriage returns with a line feed after them.
        delimiters: Delimiters.
        quotes: Quotes.
        has_long_line: Whether a line is long enough to need a closer look.
        ends_with_newline: Whether the last line has an end.
    """

    bytes: int = 0
    newlines: int = 0
    returns: int = 0
    return_newlines: int = 0
    delimiters: int = 0
    quotes: int = 0
    has_long_line: bool = False
    ends_with_newline: bool = False


class TextFormat(Format, frozen=True):
    """A format whose files are lines of text."""

    @property
    def text_encoding(self) -> str:
        """The encoding, by its canonical name in Python's codec registry."""
        return "utf-8"

    @property
    def is_encoding_certain(self) -> bool:
        """Whether bytes that suggest another encoding are taken as they are."""
        return True

    @property
    def header_lines(self) -> int:
        """How many lines stand before the first record with values."""
        return 0

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """The bytes that are counted as delimiter and as quote; empty for none."""
        return b"", b""

    @abstractmethod
    def read_records(self, contract: "Contract", text: Readable) -> Iterator[Record]:
        """Read a text record by record, without its header, each with what is wrong with its form.

        After a bad record, reading continues at the next line, so that several problems can be
        reported.
        """

    def survey_header(self, contract: "Contract", text: Readable, survey: Survey) -> None:  # noqa: ARG002
        """Find the column names of a text; here, those of the contract."""
        survey.header = list(contract.columns)

    def survey_records(
        self, contract: "Contract", text: Readable, counts: TextCounts, survey: Survey
    ) -> None:
        """Count the records of a text that was counted, and find what is wrong with their form.

        Here, by reading each of them.
        """
        del counts
        for record in self.read_records(contract, text):
            survey.row_count += 1
            if record.problem:
                survey.problems.append(record.problem)
                if len(survey.problems) >= MAX_PROBLEMS:
                    break

    def survey(self, contract: "Contract", file: LandedFile, watch: Watch = unwatched) -> Survey:
        """Read a file once, and validate encoding, line ends and the form of its records."""
        survey = Survey()
        if is_compressed(file):
            survey.content_hash = hash_content(file)
        with file.open() as handle:
            try:
                text = open_text(file, handle, max_bytes=contract.max_uncompressed_bytes)
                with watch(handle.tell):
                    self._survey_text(contract, text, survey)
            except ContractError as error:
                survey.problems.append(problem_of_file(str(error)))
            except (UnicodeError, StopIteration):  # raised when its bytes are read a second time
                raise changed_while_read(file) from None
        survey.content_hash = survey.content_hash or hash_content(file)
        if survey.problems and file.has_changed:
            raise changed_while_read(file)
        return survey

    def _survey_text(self, contract: "Contract", text: Readable, survey: Survey) -> None:
        counts = self._count(contract, text, survey)
        if survey.problems:
            return
        if counts.bytes == 0:
            survey.problems.append(problem_of_file("the file is empty"))
            return
        if not counts.ends_with_newline:
            reason = "no line end after the last line: cut off?"
            survey.problems.append(problem_of_file(reason, counts.newlines + 1))
        self.survey_header(contract, text, survey)
        if survey.problems:
            return
        self.survey_records(contract, text, counts, survey)
        if not (survey.row_count or survey.problems or contract.allow_empty):
            survey.problems.append(problem_of_file("the file has no rows"))

    def find_loose(
        self, contract: "Contract", data: bytes, *, in_header: bool, before: bytes = b""
    ) -> Loose:
        """Return what bytes, except a header, hold that DuckDB reads loosely.

        Args:
            contract: The contract; what changes a number matters if it has floating-point columns.
            data: The bytes.
            in_header: Whether they begin in the header.
            before: The last bytes before them.
        """
        start = data.find(b"\n") if in_header else 0
        if start < 0:
            return Loose.NOTHING
        delimiter, quote = self.marks
        texts = (_LOOSE_BYTES | {quote}) - {delimiter, b""}
        found = Loose.NOTHING
        if any(data.find(byte, start) >= 0 for byte in texts):
            found |= Loose.TEXT
        floats = {name.upper() for name in contract.column_types.values() if is_float_type(name)}
        exponents = _SMALL_DOUBLE if floats <= {"DOUBLE"} else _SMALL_FLOAT
        seam = before + data[:_LOOSE_BYTES_BEFORE]
        if floats and any(_has_loose_number(one, exponents) for one in (data[start:], seam)):
            found |= Loose.NUMBER
        return found

    def _count(self, contract: "Contract", text: Readable, survey: Survey) -> TextCounts:
        """Count line ends, delimiters and quotes; hash the bytes unless already hashed."""
        digest = None if survey.content_hash else sha256()
        counts, decoder, before = TextCounts(), make_decoder(self.text_encoding), b""
        is_utf_8, at_start = self.text_encoding == "utf-8", True
        doubts = None if self.is_encoding_certain else _Latin1Doubts()
        for chunk in chunks_and_end(text):
            if digest:
                digest.update(chunk)
            if survey.problems:
                continue
            if doubts and (problem := doubts.find(chunk, counts.newlines)):
                survey.problems.append(problem)
                continue
            if is_utf_8 and chunk.isascii() and not at_start and not decoder.getstate()[0]:
                data = chunk
            else:
                try:
                    data = decoder.decode(chunk, final=not chunk).encode("utf-8")
                except UnicodeError as error:
                    line = counts.newlines + 1
                    if isinstance(error, UnicodeDecodeError):
                        line += error.object.count(b"\n", 0, error.start)
                    reason = f"the bytes are not {self.text_encoding}"
                    survey.problems.append(problem_of_file(reason, line))
                    continue
            at_start = False
            if b"\0" in data:
                line = counts.newlines + data.count(b"\n", 0, data.index(b"\0")) + 1
                survey.problems.append(problem_of_file("a NUL character", line))
            if not data:
                continue
            if self.is_read_at_once:  # other rows are guarded whatever they hold
                in_header = bool(self.header_lines) and not counts.newlines
                survey.loose |= self.find_loose(contract, data, in_header=in_header, before=before)
            self._count_bytes(data, before[-1:], counts)
            before = (before + data[-_LOOSE_BYTES_BEFORE:])[-_LOOSE_BYTES_BEFORE:]
        counts.ends_with_newline = before.endswith(b"\n")
        if digest:
            survey.content_hash = digest.hexdigest()
        return counts

    def _count_bytes(self, data: bytes, last: bytes, counts: TextCounts) -> None:
        import numpy as np  # only a process that loads needs it, and it is slow to import

        delimiter, quote = self.marks
        counts.bytes += len(data)
        if b"\r" in data or last == b"\r":
            counts.returns += data.count(b"\r")
            counts.return_newlines += data.count(b"\r\n") + (last == b"\r" and data[:1] == b"\n")
        if quote and quote in data:
            counts.quotes += data.count(quote)
        every = np.frombuffer(data, np.uint8)
        for start in range(0, len(every), _PIECE_BYTES):
            piece = every[start : start + _PIECE_BYTES]
            newlines = int(np.count_nonzero(piece == ord("\n")))
            counts.newlines += newlines
            if delimiter:
                counts.delimiters += int(np.count_nonzero(piece == ord(delimiter)))
            counts.has_long_line |= not newlines and len(piece) == _PIECE_BYTES

    def read_rows(
        self,
        contract: "Contract",
        file: LandedFile,
        header: Sequence[str],
        duck: duckdb.DuckDBPyConnection,
        watch: Watch = unwatched,
    ) -> Iterator[RowBatch]:
        """Read a file record by record, and give DuckDB their texts in batches."""
        del duck
        with file.open() as handle, watch(handle.tell):
            try:
                text = open_text(file, handle, max_bytes=contract.max_uncompressed_bytes)
                for records in _in_batches(self.read_records(contract, text)):
                    yield _to_batch(records, header)
            except (ContractError, UnicodeError):  # its bytes were valid when it was surveyed
                raise changed_while_read(file) from None


def _has_loose_number(data: bytes, exponents: Mapping[bytes, re.Pattern[bytes]]) -> bool:
    # To look for a single byte first is much faster, and most files do not have it.
    has_two_signs = b"+" in data and b"+-" in data
    is_small = any(first in data and one.search(data) for first, one in exponents.items())
    return has_two_signs or is_small or _ZEROS in data


class _Latin1Doubts:
    """What in a text that is said to be Latin-1 suggests that it is not."""

    def __init__(self) -> None:
        self._utf_8, self._is_utf_8 = make_decoder("utf-8"), True
        self._first_line = 0

    def find(self, chunk: bytes, newlines: int) -> Problem | None:
        """Return what suggests another encoding; empty bytes end the text.

        Args:
            chunk: The next bytes.
            newlines: How many line ends stand before them.
        """
        if not self._first_line and (first := _NOT_ASCII.search(chunk)):
            self._first_line = newlines + _count_lines(chunk, first)
        if not chunk.isascii() and (control := C1_CONTROL.search(chunk)):
            reason = f"byte 0x{control[0].hex().upper()}, which latin-1 does not use"
            line = newlines + _count_lines(chunk, control)
            return problem_of_file(f"{reason}: windows-1252? {_IF_CERTAIN}", line)
        if self._is_utf_8:
            try:
                self._utf_8.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                self._is_utf_8 = False
        if chunk or not self._is_utf_8 or not self._first_line:
            return None
        reason = f"what is not ASCII would also be sound in utf-8: utf-8? {_IF_CERTAIN}"
        return problem_of_file(reason, self._first_line)


def _count_lines(data: bytes, found: re.Match[bytes]) -> int:
    return data.count(b"\n", 0, found.start()) + 1


def make_decoder(encoding: str) -> codecs.IncrementalDecoder:
    """Return a decoder for a file's bytes; it fails on bytes of another encoding."""
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    return codecs.getincrementaldecoder(name)(errors="strict")


def chunks_and_end(text: Readable) -> Iterator[bytes]:
    """Yield a text in chunks, then empty bytes that let a decoder finish."""
    yield from read_chunks(text)
    yield b""


def read_lines(text: Readable, encoding: str = "utf-8") -> Iterator[str]:
    """Yield lines with their ends; of one that is too long, only enough to show that it is."""
    text.seek(0)
    decoder, rest = make_decoder(encoding), ""
    for chunk in chunks_and_end(text):
        *lines, rest = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
        for line in lines:
            yield line + "\n"
        if len(rest) > MAX_RECORD_CHARS:
            break
    if rest:
        yield rest


def _in_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    chars = 0
    for record in records:
        batch.append(record)
        chars += len(record.text)
        if len(batch) >= BATCH_ROWS or chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _to_batch(records: Sequence[Record], header: Sequence[str]) -> RowBatch:
    malformed = [record for record in records if record.problem]
    well_formed = {record.line: record for record in records if not record.problem}
    rows = _bind_texts(list(well_formed.values()), header) if well_formed else None
    return RowBatch(len(records), malformed, well_formed, rows)


def _bind_texts(records: Sequence[Record], header: Sequence[str]) -> Query:
    """Return a relation of the records' lines and texts.

    The texts are bound as one JSON array per column. DuckDB would keep registered data frames, and
    so all of a file's batches, until the transaction ends.
    """
    names = [LINE, *(quote_identifier(name) for name in header)]
    kinds = ["BIGINT", *("VARCHAR" for _ in header)]
    columns = ", ".join(
        f"unnest(from_json(?, '[\"{kind}\"]')) AS {name}"
        for name, kind in zip(names, kinds, strict=True)
    )
    fields = zip(*(record.fields() for record in records), strict=True)
    lists = [[record.line for record in records], *fields]
    return Query(
        f"(SELECT {columns})", [json.dumps(values, ensure_ascii=False) for values in lists]
    )
