"""Contract: what the text of a feed's file must look like, before any value is read.

Takes a landed file; returns a survey: content hash, number of rows, and any problems of encoding,
header, line ends, quoting and width, each with its line. Next: `warehouse.py` reads the values, by
the rules in `columns.py`.

A CSV file without quotes is surveyed by counting: the numbers of delimiters and line ends must
match the feed's width, and DuckDB's own reader, which refuses short rows, must then return exactly
the counted rows. A file with quotes, or one that does not add up, is read record by record. For
JSON lines only the lines are counted; their form is validated with their values in `row_by_row.py`.
Parquet files are surveyed by `parquet.py`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from hashlib import sha256

from partitioned_etl.ingest.errors import ContractError
from partitioned_etl.ingest.feed import CONTRACT, Feed
from partitioned_etl.ingest.formats import CsvFormat, ParquetFormat
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.opening import (
    CHUNK_BYTES,
    Readable,
    changed_while_read,
    hash_landed_file,
    is_compressed,
    list_changed_while_read,
    open_landed_file,
    open_text,
)
from partitioned_etl.ingest.parquet import read_contents
from partitioned_etl.ingest.progress import Progress
from partitioned_etl.ingest.records import (
    Problem,
    chunks_and_end,
    compare_names,
    make_decoder,
    read_records,
)

MAX_PROBLEMS = 10
"""The most problems to look for in one file; a sender rarely reads more."""
_LOOSE_BYTES = {b"_", b" ", b"\t", b"\v", b"\f"}
_PIECE_BYTES = 1 << 17
"""A line of over twice this length contains a whole piece without a line end."""


def describe_problems(file_name: str, problems: list[Problem]) -> str:
    """Return one readable sentence for a refused file: the first problem of each rule, then others.

    Args:
        file_name: The file's name, without folder.
        problems: What is wrong with it, at least one.
    """
    firsts = {problem.rule: problem for problem in reversed(problems)}
    shown = sorted(firsts.values(), key=problems.index)
    shown += [problem for problem in problems if problem not in shown][: max(0, 3 - len(shown))]
    more = f"; and at least {len(problems) - len(shown)} more" if shown != problems else ""
    return f"{file_name}: " + "; ".join(str(problem) for problem in shown) + more


def broken_rules(problems: Sequence[Problem]) -> list[str]:
    """Return the names of the row rules that were broken, and `contract` for all other problems."""
    return sorted({problem.rule or CONTRACT for problem in problems})


@dataclass
class Survey:
    """What one pass over a file's bytes finds.

    Attributes:
        sha256: Content hash, hexadecimal.
        row_count: Records in the file, without the header.
        header: The column names in the file.
        is_plain: Whether the text has no quotes, no underscores and no white space other than line
            ends. Without these DuckDB's conversion is less lenient.
        problems: Why it does not match its contract; empty if the text is sound.
    """

    sha256: str = ""
    row_count: int = 0
    header: list[str] = field(default_factory=list)
    is_plain: bool = True
    problems: list[Problem] = field(default_factory=list)


def survey_file(feed: Feed, file: LandedFile, progress: Progress | None = None) -> Survey:
    """Read a landed file once and validate its text against the feed's contract.

    Args:
        feed: The feed, which defines dialect and columns.
        file: The file.
        progress: Where to report progress, if it may take long.

    Returns:
        The survey; it lists the problems of a file that breaks the contract.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
    """
    survey = Survey()
    if is_compressed(file):
        survey.sha256 = hash_landed_file(file)
    with open_landed_file(file) as handle:
        try:
            if isinstance(feed.format, ParquetFormat):
                contents = read_contents(feed, feed.format, file, handle, progress)
                survey.row_count, survey.header = contents.row_count, contents.names
                survey.problems = contents.problems
            else:
                text = open_text(file, handle, max_bytes=feed.max_uncompressed_bytes)
                with progress.watch("checked", handle.tell) if progress else nullcontext():
                    _survey_text(feed, text, survey)
        except ContractError as error:
            survey.problems.append(Problem(0, "", str(error), is_of_file=True))
        except (UnicodeError, StopIteration):  # raised when its bytes are read a second time
            raise changed_while_read(file) from None
    survey.sha256 = survey.sha256 or hash_landed_file(file)
    if survey.problems and list_changed_while_read([file]):
        raise changed_while_read(file)
    return survey


def survey_start(feed: Feed, csv: CsvFormat, file: LandedFile) -> Survey:
    """Validate only the first bytes and the header of a CSV file against the feed's contract.

    Args:
        feed: The feed.
        csv: Its dialect.
        file: The file, which is not compressed.

    Returns:
        A survey without hash and row count.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
    """
    survey = Survey()
    with open_landed_file(file) as handle:
        try:
            text = open_text(file, handle, max_bytes=feed.max_uncompressed_bytes)
            _survey_header(feed, csv, text, survey)
            text.seek(0)
            start = text.read(CHUNK_BYTES)
            survey.is_plain = _is_plain(csv, start, in_header=csv.header)
        except (ContractError, UnicodeError, StopIteration):
            survey.problems.append(Problem(0, "", "cannot be read", is_of_file=True))
    return survey


def _survey_text(feed: Feed, text: Readable, survey: Survey) -> None:
    # For a text that is not CSV, only the counts of bytes and line ends are meaningful.
    csv = feed.format if isinstance(feed.format, CsvFormat) else CsvFormat(header=False)
    counts = _count(csv, text, survey)
    if survey.problems:
        return
    if counts.bytes == 0:
        survey.problems.append(Problem(0, "", "the file is empty", is_of_file=True))
        return
    if not counts.ends_with_newline:
        reason = "no line end after the last line: cut off?"
        survey.problems.append(Problem(counts.newlines + 1, "", reason, is_of_file=True))
    _survey_header(feed, csv, text, survey)
    if survey.problems:
        return
    if csv is not feed.format or counts.fit(len(feed.columns)):
        records = counts.newlines
    else:
        records, survey.problems = _check_records(feed, csv, text)
    survey.row_count = records - int(csv.header)
    if not (survey.row_count or survey.problems or feed.allow_empty):
        survey.problems.append(Problem(0, "", "the file has no rows", is_of_file=True))


def _check_records(feed: Feed, csv: CsvFormat, text: Readable) -> tuple[int, list[Problem]]:
    records, problems = 0, []
    for record in read_records(csv, text, width=len(feed.columns)):
        records += 1
        if record.problem:
            problems.append(record.problem)
            if len(problems) >= MAX_PROBLEMS:
                break
    return records, problems


@dataclass
class _Counts:
    bytes: int = 0
    newlines: int = 0
    returns: int = 0
    return_newlines: int = 0
    delimiters: int = 0
    quotes: int = 0
    has_long_line: bool = False
    ends_with_newline: bool = False

    def fit(self, width: int) -> bool:
        """Return whether the counts fit a file without quotes whose rows all have this width.

        In a file of one column even an empty line has the right width, so counts prove nothing.
        """
        return (
            width > 1
            and self.quotes == 0
            and not self.has_long_line
            and self.delimiters == self.newlines * (width - 1)
            and (self.returns == 0 or self.returns == self.return_newlines == self.newlines)
        )


def _count(csv: CsvFormat, text: Readable, survey: Survey) -> _Counts:
    """Count line ends, delimiters and quotes; hash the bytes unless already hashed."""
    digest = None if survey.sha256 else sha256()
    counts, decoder, last = _Counts(), make_decoder(csv.normal_encoding), b""
    is_utf_8, at_start = csv.normal_encoding == "utf-8", True
    for chunk in chunks_and_end(text):
        if digest:
            digest.update(chunk)
        if survey.problems:
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
                reason = f"the bytes are not {csv.encoding}"
                survey.problems.append(Problem(line, "", reason, is_of_file=True))
                continue
        at_start = False
        if b"\0" in data:
            line = counts.newlines + data.count(b"\n", 0, data.index(b"\0")) + 1
            survey.problems.append(Problem(line, "", "a NUL character", is_of_file=True))
        if not data:
            continue
        in_header = csv.header and not counts.newlines
        survey.is_plain &= _is_plain(csv, data, in_header=in_header)
        _count_bytes(csv, data, last, counts)
        last = data[-1:]
    counts.ends_with_newline = last == b"\n"
    if digest:
        survey.sha256 = digest.hexdigest()
    return counts


def _is_plain(csv: CsvFormat, data: bytes, *, in_header: bool) -> bool:
    """Return whether bytes, except a header, hold nothing that DuckDB reads loosely."""
    start = data.find(b"\n") if in_header else 0
    if start < 0:
        return True
    loose = (_LOOSE_BYTES | {csv.quote.encode()}) - {csv.delimiter.encode()}
    return not any(data.find(byte, start) >= 0 for byte in loose)


def _count_bytes(csv: CsvFormat, data: bytes, last: bytes, counts: _Counts) -> None:
    counts.bytes += len(data)
    if b"\r" in data or last == b"\r":
        counts.returns += data.count(b"\r")
        counts.return_newlines += data.count(b"\r\n") + (last == b"\r" and data[:1] == b"\n")
    if (quote := csv.quote.encode()) in data:
        counts.quotes += data.count(quote)
    import numpy as np  # only a process that loads needs it, and it is slow to import

    every = np.frombuffer(data, np.uint8)
    for start in range(0, len(every), _PIECE_BYTES):
        piece = every[start : start + _PIECE_BYTES]
        newlines = int(np.count_nonzero(piece == ord("\n")))
        counts.newlines += newlines
        counts.delimiters += int(np.count_nonzero(piece == ord(csv.delimiter)))
        counts.has_long_line |= not newlines and len(piece) == _PIECE_BYTES


def _survey_header(feed: Feed, csv: CsvFormat, text: Readable, survey: Survey) -> None:
    expected = list(feed.columns)
    if not csv.header:
        survey.header = expected
        return
    record = next(read_records(csv, text, width=None))
    if record.problem:
        survey.problems.append(replace(record.problem, is_of_file=True))
        return
    survey.header = given = [name or "" for name in record.fields()]
    reasons = compare_names(expected, given, any_order=csv.any_column_order)
    survey.problems += [Problem(1, "", f"header: {reason}", is_of_file=True) for reason in reasons]
