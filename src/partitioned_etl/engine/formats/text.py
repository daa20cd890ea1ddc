"""Text: what all formats have in common whose files are lines of text.

Takes a landed file; decompresses and decodes it, leaves out the lines that are no rows, counts
bytes, line ends, delimiters and quotes, and cuts the rest into records, which go to DuckDB in
batches. Where DuckDB cannot read the file itself, the survey writes its rows aside, in UTF-8. What
a record looks like belongs in the format's own module.
"""

import os
import re
from abc import abstractmethod
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Annotated, BinaryIO, Self

import duckdb
from pydantic import Field, model_validator

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.compression import is_compressed, open_content
from partitioned_etl.engine.formats.encodings import (
    EncodingError,
    find_encoding,
    guess_encoding,
    to_utf_8,
)
from partitioned_etl.engine.formats.format import (
    MAX_PROBLEMS,
    MAX_RECORD_CHARS,
    ROW_COUNT,
    Format,
    Loose,
    Problem,
    Record,
    RowBatch,
    Survey,
    Watch,
    problem_of_file,
    unwatched,
    wrong_option,
)
from partitioned_etl.engine.formats.lines import LineRules, RowLines, end_line
from partitioned_etl.engine.formats.rows import bind_records
from partitioned_etl.engine.formats.text_counts import (
    LOOSE_BYTES_BEFORE,
    TextCounts,
    find_loose,
)
from partitioned_etl.engine.formats.types import is_exact_number_type
from partitioned_etl.engine.landing.landing import (
    LandedFile,
    changed_while_read,
    read_chunks,
)

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

BATCH_ROWS = 10_000
BATCH_CHARS = 4_000_000
"""A batch ends with the record that reaches either limit, so that memory grows with neither."""
_NO_END = "no line end after the last line: cut off? If not, set final_line_end: optional"


class FinalLineEnd(StrEnum):
    """Whether the last line must have a line end."""

    REQUIRED = "required"
    """A file without it may be cut off, and is refused."""
    OPTIONAL = "optional"
    """It may lack one, and a file that is cut off within a text loads."""


@dataclass(frozen=True)
class Head:
    """What stands in a text before its first row.

    Attributes:
        columns: The feed's columns in the order of the file.
        lines: How many lines it has.
        line_end: The line end of the header; empty if there is none.
        is_plain: Whether DuckDB reads over it by itself: it is a header of one row, or nothing.
        problems: How the header differs from the contract.
    """

    columns: Sequence[str]
    lines: int = 0
    line_end: str = ""
    is_plain: bool = True
    problems: Sequence[Problem] = field(default=())


class TextFormat(Format, frozen=True):
    """A format whose files are lines of text."""

    encoding: Annotated[
        str,
        Field(
            description="Text encoding: `utf-8`, `utf-16` (with a byte order mark; either may have "
            "one), `utf-16-le`, `utf-16-be`, `latin-1`, `windows-1252` or any other name of a "
            "[standard encoding]"
            "(https://docs.python.org/3/library/codecs.html#standard-encodings) of Python."
        ),
    ] = "utf-8"
    encoding_is_certain: Annotated[
        bool,
        Field(
            description="Whether a text is taken as it is although it looks like another encoding: "
            "one that is not said to be UTF-8 or UTF-16 and would be sound in UTF-8, or one in "
            "`latin-1` or another part of ISO 8859 with bytes 0x80 to 0x9F, which are letters and "
            "signs in Windows-1252 and its like."
        ),
    ] = False
    skip_lines: Annotated[
        int,
        Field(description="How many lines stand before the header, or before the first row.", ge=0),
    ] = 0
    comment: Annotated[str, Field(description="How lines begin that are no rows, such as `#`.")] = (
        ""
    )
    skip_blank_lines: Annotated[
        bool, Field(description="Whether empty lines are no rows, instead of refused.")
    ] = False
    footer_lines: Annotated[
        int, Field(description="How many lines at the end are no rows.", ge=0)
    ] = 0
    footer: Annotated[
        str,
        Field(
            description="Regular expression that the lines at the end match, from their beginning, "
            "that are no rows; there must be one. A group named `row_count`, or as a column, is a "
            "control total: `Total;(?P<amount>[^;]*)` must be the sum of the column."
        ),
    ] = ""
    final_line_end: Annotated[
        FinalLineEnd,
        Field(
            description="`required` refuses a file whose last line has no line end, because it may "
            "be cut off; `optional` loads it."
        ),
    ] = FinalLineEnd.REQUIRED

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if not find_encoding(self.encoding):
            meant = guess_encoding(self.encoding)
            reason = f"no encoding of files is named {self.encoding!r}"
            raise wrong_option("encoding", f"{reason}: {meant}?" if meant else reason)
        if self.footer and self.footer_lines:
            raise wrong_option("footer", "either footer or footer_lines, not both")
        if not self.comment.isprintable():
            raise wrong_option("comment", f"comment {self.comment!r} is no visible text")
        try:
            re.compile(self.footer)
        except re.error as error:
            raise wrong_option("footer", f"footer {self.footer!r}: {error}") from None
        return self

    @property
    def text_encoding(self) -> str:
        """The encoding, by its canonical name in Python's codec registry."""
        return find_encoding(self.encoding)

    @property
    def line_rules(self) -> LineRules:
        """Which lines are no rows."""
        return LineRules(
            comment=self.comment.encode(),
            skip_blank=self.skip_blank_lines,
            quote=self.marks[1],
            footer_lines=self.footer_lines,
            footer=re.compile(self.footer) if self.footer else None,
            may_lack_end=self.final_line_end is FinalLineEnd.OPTIONAL,
        )

    @property
    def totals(self) -> Sequence[str]:
        """What a footer tells of the rows: columns whose sum it has, or `ROW_COUNT`."""
        return list(re.compile(self.footer).groupindex)

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """The bytes that are counted as delimiter and as quote; empty for none."""
        return b"", b""

    def check_contract(self, contract: "Contract") -> None:
        """Refuse control totals of what cannot be counted or summed exactly."""
        for name in self.totals:
            is_exact = is_exact_number_type(contract.column_types.get(name, ""))
            if name != ROW_COUNT and not is_exact:
                reason = f"footer: group {name} is no integer or DECIMAL column, nor row_count"
                raise wrong_option("footer", reason)

    def find_head(self, contract: "Contract", text: Iterable[bytes]) -> Head:  # noqa: ARG002
        """Find what stands in a text before its first row; here, the lines that are skipped.

        Args:
            contract: The contract.
            text: The text in UTF-8, from its start.

        Raises:
            ContractError: The text cannot be read so far.
        """
        return Head(list(contract.columns), self.skip_lines, is_plain=not self.skip_lines)

    @abstractmethod
    def read_records(
        self,
        contract: "Contract",
        head: Head,
        rows: Iterable[bytes],
        line_of: Callable[[int], int],
    ) -> Iterator[Record]:
        """Cut rows into records, each with what is wrong with its form.

        After a bad record, reading continues at the next line, so that several problems can be
        reported.

        Args:
            contract: The contract.
            head: What stands before the rows.
            rows: The lines that are rows, in UTF-8.
            line_of: Returns the line of the file for a line of the rows; both start at 1.
        """

    def survey_records(
        self,
        contract: "Contract",
        head: Head,  # noqa: ARG002
        counts: TextCounts,  # noqa: ARG002
        records: Iterable[Record],
        survey: Survey,
    ) -> None:
        """Count the records of a text that was counted, and find what is wrong with their form.

        Args:
            contract: The contract.
            head: What stands before the rows.
            counts: What was counted.
            records: The records, which are read only if they are asked for.
            survey: What is known so far, and is added to.
        """
        del contract
        for record in records:
            survey.row_count += 1
            if record.problem:
                survey.problems.append(record.problem)
                if len(survey.problems) >= MAX_PROBLEMS:
                    break

    def survey_content(
        self,
        contract: "Contract",
        file: LandedFile,
        handle: BinaryIO,
        survey: Survey,
        watch: Watch,
        scratch: Path | None,
    ) -> None:
        """Validate encoding, line ends and the form of records."""
        with watch(handle.tell):
            try:
                self._survey_text(contract, file, handle, survey, scratch)
            except EncodingError:
                survey.problems.append(self._locate(contract, file, handle))

    def _survey_text(
        self,
        contract: "Contract",
        file: LandedFile,
        handle: BinaryIO,
        survey: Survey,
        scratch: Path | None,
    ) -> None:
        head = self.try_head(contract, file, handle)
        is_direct = not self.is_read_at_once or self.is_direct(file, handle, head)
        lines = RowLines(self.line_rules, head.lines, head.line_end)
        digest = None if is_compressed(file) else sha256()
        text = self.read_text(contract, file, handle, digest=digest.update if digest else None)
        with (
            nullcontext()
            if is_direct or scratch is None
            else NamedTemporaryFile(dir=scratch, delete=False)
        ) as staged:
            counts = self._count(contract, lines.keep(text), survey, staged)
        survey.content_hash = digest.hexdigest() if digest else ""
        if not lines.bytes_read:
            survey.problems.append(problem_of_file("the file is empty"))
            return
        if not lines.ends_with_newline:
            line = lines.line_of(counts.newlines + max(len(lines.footer), 1))
            line = line if counts.size_bytes or lines.footer else head.lines
            survey.problems.append(problem_of_file(_NO_END, line))
        if not head.columns:  # it could not be read, and now it can
            raise changed_while_read(file)
        survey.header = list(head.columns)
        survey.problems += head.problems
        if not head.problems and lines.head_lines < head.lines:
            reason = f"there are {lines.head_lines} of the {head.lines} lines before the first row"
            survey.problems.append(problem_of_file(reason))
        if survey.problems:
            return
        survey.staged = Path(staged.name) if staged else None
        self._read_totals(lines, survey)
        records = self._records(contract, file, handle, head)
        try:
            self.survey_records(contract, head, counts, records, survey)
        except ContractError:  # its bytes were valid when they were counted
            raise changed_while_read(file) from None
        if not (survey.row_count or survey.problems or contract.allow_empty):
            survey.problems.append(problem_of_file("the file has no rows"))
        told = survey.totals.get(ROW_COUNT, str(survey.row_count)).strip()
        if not (told.isdecimal() and int(told) == survey.row_count):
            reason = f"the footer tells of another number of rows than {survey.row_count:,}"
            survey.problems.append(problem_of_file(reason))

    def try_head(self, contract: "Contract", file: LandedFile, handle: BinaryIO) -> Head:
        """Find the head of a text; nothing of one that cannot be read, which is found again."""
        try:
            text = end_line(self.read_text(contract, file, handle), rules=self.line_rules)
            return self.find_head(contract, text)
        except ContractError:
            return Head([])

    def is_direct(self, file: LandedFile, handle: BinaryIO, head: Head) -> bool:
        """Return whether DuckDB can read the file itself."""
        rules = self.line_rules
        if is_compressed(file) or self.text_encoding != "utf-8" or not head.is_plain:
            return False
        if rules.may_lack_end and file.size_bytes:
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                return False
        return rules.leaves_all

    def read_text(
        self,
        contract: "Contract",
        file: LandedFile,
        handle: BinaryIO,
        *,
        digest: Callable[[bytes], None] | None = None,
        count_lines: bool = False,
    ) -> Iterator[bytes]:
        """Yield the whole text of an opened file, in UTF-8."""
        content = open_content(file, handle, max_bytes=contract.max_uncompressed_bytes)
        return to_utf_8(
            _pass_to(digest, read_chunks(content)) if digest else read_chunks(content),
            self.text_encoding,
            is_certain=self.encoding_is_certain,
            count_lines=count_lines,
        )

    def _records(
        self, contract: "Contract", file: LandedFile, handle: BinaryIO, head: Head
    ) -> Iterator[Record]:
        lines = RowLines(self.line_rules, head.lines, head.line_end)
        text = self.read_text(contract, file, handle)
        yield from self.read_records(contract, head, lines.keep(text), lines.line_of)

    def _locate(self, contract: "Contract", file: LandedFile, handle: BinaryIO) -> Problem:
        """Find the line on which a text turned out to be in another encoding."""
        try:
            for _ in self.read_text(contract, file, handle, count_lines=True):
                pass
        except EncodingError as error:
            return problem_of_file(str(error), error.line)
        except ContractError as error:
            return problem_of_file(str(error))
        raise changed_while_read(file)

    def _read_totals(self, lines: RowLines, survey: Survey) -> None:
        if not self.totals:
            return
        for line in lines.footer:
            if found := re.match(self.footer, line):
                told = {name: text for name, text in found.groupdict().items() if text is not None}
                survey.totals = {**survey.totals, **told}
        missing = [name for name in self.totals if name not in survey.totals]
        survey.problems += [problem_of_file(f"the footer tells no {name}") for name in missing]

    def find_loose(self, contract: "Contract", data: bytes, before: bytes = b"") -> Loose:
        """Return what the bytes of rows hold that DuckDB reads loosely.

        Args:
            contract: The contract; what changes a number matters if it has floating-point columns.
            data: The bytes.
            before: The last bytes before them.
        """
        return find_loose(self.marks, contract.column_types.values(), before, data)

    def _count(
        self,
        contract: "Contract",
        rows: Iterable[bytes],
        survey: Survey,
        staged: IO[bytes] | None,
    ) -> TextCounts:
        """Count line ends, delimiters and quotes, and write the rows aside."""
        counts, before = TextCounts(), b""
        for data in rows:
            if staged:
                # DuckDB takes off a byte order mark, and here it is a part of the first row.
                is_mark = not counts.size_bytes and data.startswith(BOM_UTF8)
                staged.write(BOM_UTF8 + data if is_mark else data)
            if self.is_read_at_once:  # other rows are guarded whatever they hold
                survey.loose |= self.find_loose(contract, data, before)
            counts.add(data, self.marks, last=before[-1:])
            before = (before + data[-LOOSE_BYTES_BEFORE:])[-LOOSE_BYTES_BEFORE:]
        return counts

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
                head = self.try_head(contract, file, handle)
                if list(head.columns) != list(header):
                    raise changed_while_read(file)
                for records in _in_batches(self._records(contract, file, handle, head)):
                    yield _to_batch(records, header)
            except ContractError:  # its bytes were valid when it was surveyed
                raise changed_while_read(file) from None


def read_lines(text: Iterable[bytes]) -> Iterator[str]:
    """Yield lines with their ends; of one that is too long, only enough to show that it is."""
    rest = b""
    for chunk in text:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode() + "\n"
        if len(rest) > 4 * MAX_RECORD_CHARS:
            break
    if rest:
        yield rest.decode(errors="ignore")


def _pass_to(take: Callable[[bytes], None], chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        take(chunk)
        yield chunk


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
    rows = bind_records(list(well_formed.values()), header) if well_formed else None
    return RowBatch(len(records), malformed, well_formed, rows)
