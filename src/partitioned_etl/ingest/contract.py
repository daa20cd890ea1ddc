"""Contract: what the text of a feed's file must look like, before any value is read.

Takes a landed file; gives a survey: content hash, number of rows, and the problems of encoding,
header, line ends, quoting and width, each with its line. Next: `warehouse.py` reads the values, by
the rules of `columns.py`.

A file without quotes is surveyed by counting: the count of delimiters and line ends must be what
the feed's width demands, and DuckDB's own reader, which refuses short rows, must then return just
the counted rows. A file with quotes, or one that does not add up, is read record by record.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from typing import BinaryIO

from partitioned_etl.ingest.errors import ContractError
from partitioned_etl.ingest.feed import CsvFormat, Feed
from partitioned_etl.ingest.landing import LandedFile, open_landed_file
from partitioned_etl.ingest.records import Problem, chunks_and_end, make_decoder, read_records

MAX_PROBLEMS = 10
"""How many problems of one file are looked for; a sender rarely reads more."""


def describe_problems(file_name: str, problems: list[Problem]) -> str:
    """Give one readable sentence for a refused file: the first problem of each rule, then others.

    Args:
        file_name: The file's name, without folder.
        problems: What is wrong with it, at least one.
    """
    firsts = {problem.rule: problem for problem in reversed(problems)}
    shown = sorted(firsts.values(), key=problems.index)
    shown += [problem for problem in problems if problem not in shown][: max(0, 3 - len(shown))]
    more = f"; and at least {len(problems) - len(shown)} more" if shown != problems else ""
    return f"{file_name}: " + "; ".join(str(problem) for problem in shown) + more


def is_refused_for(error: str, rule: str, rules: Collection[str]) -> bool:
    """Tell whether a refusal, as `describe_problems` worded it, has to do with a rule.

    Args:
        error: The refusal.
        rule: Name of a row rule; empty for the contract's other demands.
        rules: Names of all row rules of the feed.
    """
    if rule:
        return f"({rule})" in error
    parts = [part for part in error.split("; ") if not part.startswith("and at least ")]
    return any(not part.endswith(tuple(f"({name})" for name in rules)) for part in parts)


@dataclass
class Survey:
    """What one pass over a file's bytes tells.

    Attributes:
        sha256: Content hash, hexadecimal.
        row_count: Records in the file, without the header.
        header: The column names that the file gives.
        problems: Why it does not match its contract; empty if the text is sound.
    """

    sha256: str = ""
    row_count: int = 0
    header: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def survey_file(feed: Feed, file: LandedFile) -> Survey:
    """Read a landed file once and hold its text against the feed's contract.

    Args:
        feed: The feed, which gives dialect and columns.
        file: The file.

    Returns:
        The survey; a file that breaks the contract has problems in it.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
    """
    with open_landed_file(file) as handle:
        survey, counts = _count(feed.csv, handle)
        if survey.problems:
            return survey
        if counts.characters == 0:
            survey.problems.append(Problem(0, "", "the file is empty"))
            return survey
        if not counts.ends_with_newline:
            survey.problems.append(
                Problem(counts.newlines + 1, "", "no line end after the last line: cut off?")
            )
        _survey_header(feed, handle, survey)
        if survey.problems:
            return survey
        header_lines = 1 if feed.csv.header else 0
        if counts.fit(len(feed.columns)):
            survey.row_count = counts.newlines - header_lines
            return survey
        records, survey.problems = _check_records(feed, handle)
        survey.row_count = records - header_lines
    return survey


def find_text_problems(feed: Feed, file: LandedFile) -> list[Problem]:
    """Read a file record by record and name what is wrong with its text.

    Args:
        feed: The feed.
        file: The file.

    Returns:
        At most `MAX_PROBLEMS` problems, in the order of their lines.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
    """
    with open_landed_file(file) as handle:
        return _check_records(feed, handle)[1]


def _check_records(feed: Feed, handle: BinaryIO) -> tuple[int, list[Problem]]:
    records, problems = 0, []
    for record in read_records(feed, handle):
        records += 1
        if record.problem:
            problems.append(record.problem)
            if len(problems) >= MAX_PROBLEMS:
                break
    return records, problems


@dataclass
class _Counts:
    characters: int = 0
    newlines: int = 0
    returns: int = 0
    return_newlines: int = 0
    delimiters: int = 0
    quotes: int = 0
    ends_with_newline: bool = False

    def fit(self, width: int) -> bool:
        """Tell whether the counts are those of a file without quotes whose rows are all so wide.

        In a file of one column an empty line has the right width, so that counts cannot tell.
        """
        return (
            width > 1
            and self.quotes == 0
            and self.delimiters == self.newlines * (width - 1)
            and (self.returns == 0 or self.returns == self.return_newlines == self.newlines)
        )


def _count(csv: CsvFormat, handle: BinaryIO) -> tuple[Survey, _Counts]:
    digest, counts, survey = sha256(), _Counts(), Survey()
    decoder, last = make_decoder(csv), ""
    for chunk in chunks_and_end(handle):
        digest.update(chunk)
        if survey.problems:
            continue
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            before = error.object[: error.start] if isinstance(error, UnicodeDecodeError) else b""
            line = counts.newlines + before.count(b"\n") + 1
            survey.problems.append(Problem(line, "", f"the bytes are not {csv.encoding}"))
            continue
        if "\0" in text:
            line = counts.newlines + text.count("\n", 0, text.index("\0")) + 1
            survey.problems.append(Problem(line, "", "a NUL character"))
        if not text:
            continue
        counts.characters += len(text)
        counts.newlines += text.count("\n")
        counts.delimiters += text.count(csv.delimiter)
        if csv.quote in text:
            counts.quotes += text.count(csv.quote)
        if "\r" in text or last == "\r":
            counts.returns += text.count("\r")
            counts.return_newlines += text.count("\r\n") + (last == "\r" and text[0] == "\n")
        last = text[-1]
    counts.ends_with_newline = last == "\n"
    survey.sha256 = digest.hexdigest()
    return survey, counts


def _survey_header(feed: Feed, handle: BinaryIO, survey: Survey) -> None:
    expected = list(feed.columns)
    if not feed.csv.header:
        survey.header = expected
        return
    record = next(read_records(feed, handle, check_width=False))
    survey.header = record.fields(feed.csv)
    if record.problem:
        survey.problems.append(record.problem)
        return
    given = survey.header
    repeated = sorted({name for name in given if given.count(name) > 1})
    missing = [name for name in expected if name not in given]
    extra = len([name for name in given if name not in expected])
    reasons = [f"column {name} is there more than once" for name in repeated if name in expected]
    reasons += [f"column {name} is missing" for name in missing]
    if extra:
        reasons.append(f"{extra} column name(s) that the feed does not have")
    if not reasons and given != expected:
        reasons = [f"the columns are not in the order {', '.join(expected)}"]
    survey.problems += [Problem(1, "", f"header: {reason}") for reason in reasons]


def line_of_row(feed: Feed, file: LandedFile, rows: set[int]) -> dict[int, int]:
    """Find the lines on which rows of a file start.

    Args:
        feed: The feed.
        file: A file whose survey found no problem.
        rows: Row numbers; the first row after the header is 1.

    Returns:
        Line number per row number, the file's first line being 1.

    Raises:
        ContractError: The file has no such row.
        LandedFileError: The file is gone, or changed since it was listed.
    """
    first = 0 if feed.csv.header else 1
    lines: dict[int, int] = {}
    with open_landed_file(file) as handle:
        for row, record in enumerate(read_records(feed, handle), start=first):
            if row in rows:
                lines[row] = record.line
                if len(lines) == len(rows):
                    return lines
    raise ContractError(f"{file.name}: has fewer rows than DuckDB read")
