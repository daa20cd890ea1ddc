"""Whole lines: formats of which each line is a row, and is taken apart by SQL.

DuckDB reads each line as one text, from which the format's SQL takes the values. What that does not
read exactly is read line by line in Python. How a line is taken apart belongs in the formats.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from partitioned_etl.engine.formats.format import (
    MAX_RECORD_CHARS,
    Loose,
    Record,
    Survey,
    problem_of_file,
)
from partitioned_etl.engine.formats.rows import read_csv_sql
from partitioned_etl.engine.formats.text import Head, TextFormat, read_lines
from partitioned_etl.engine.formats.text_counts import TextCounts
from partitioned_etl.engine.sql import INTERNAL_PREFIX, quote_identifier

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_COLUMN = INTERNAL_PREFIX + "text of the line"
LINE_TEXT = quote_identifier(_COLUMN)
"""Column of a relation of lines."""
_NO_DELIMITER = "\x01"
"""A character that no line has that is read at once: DuckDB needs a delimiter."""


class WholeLineFormat(TextFormat, frozen=True):
    """A format of which each line is a row."""

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """What DuckDB takes for a delimiter, and no quote."""
        return _NO_DELIMITER.encode(), b""

    def find_loose(
        self,
        contract: "Contract",  # noqa: ARG002
        data: bytes,  # noqa: ARG002
        before: bytes = b"",  # noqa: ARG002
    ) -> Loose:
        """Return that texts may hold anything, as when they are read line by line."""
        return Loose.ANYTHING

    def survey_records(
        self,
        contract: "Contract",  # noqa: ARG002
        head: Head,  # noqa: ARG002
        counts: TextCounts,
        records: Iterable[Record],  # noqa: ARG002
        survey: Survey,
    ) -> None:
        """Count the lines; their form is validated together with their values.

        A single carriage return, and a delimiter at the end of a line, DuckDB would not show.
        """
        survey.row_count = counts.newlines
        has_one_line_end = counts.returns in (0, counts.newlines)
        has_no_other_return = counts.returns == counts.return_newlines
        is_ordinary = not (counts.has_long_line or counts.delimiters)
        survey.is_read_at_once &= has_one_line_end and has_no_other_return and is_ordinary

    def reader_sql(
        self,
        header: Sequence[str],  # noqa: ARG002
        types: Mapping[str, str],  # noqa: ARG002
        path_column: str,
        *,
        is_staged: bool,  # noqa: ARG002
    ) -> str:
        """Return DuckDB's `read_csv`, which gives each line as one text, `LINE_TEXT`."""
        return read_csv_sql({_COLUMN: "VARCHAR"}, path_column, delimiter=_NO_DELIMITER, quote="")

    def read_records(
        self,
        contract: "Contract",
        head: Head,  # noqa: ARG002
        rows: Iterable[bytes],
        line_of: Callable[[int], int],
    ) -> Iterator[Record]:
        """Read a text line by line."""
        read_line = self.line_reader(contract)
        for row_line, text in enumerate(read_lines(rows), 1):
            line = line_of(row_line)
            if len(text) > MAX_RECORD_CHARS:
                problem = problem_of_file(f"a line of over {MAX_RECORD_CHARS:,} characters", line)
                yield Record(line, text[:MAX_RECORD_CHARS], problem)
                return
            yield read_line(line, text)

    @abstractmethod
    def line_reader(self, contract: "Contract") -> Callable[[int, str], Record]:
        """Return a function that makes a record of a line's number and its text."""
