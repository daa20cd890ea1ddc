"""JSON lines: one JSON object per line, whose names are the feed's columns in any order.

DuckDB reads whole files, and each line as one text, from which `json_sql.py` takes the values. What
that does not read exactly is read line by line, by `json_records.py`. A file of zero bytes is
refused, because it may be cut off.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import duckdb

from partitioned_etl.engine.formats.format import (
    MAX_RECORD_CHARS,
    FormatProposal,
    Loose,
    Problem,
    Record,
    Survey,
    problem_of_file,
)
from partitioned_etl.engine.formats.json_columns import JsonOptions, list_json_columns
from partitioned_etl.engine.formats.json_propose import propose_json
from partitioned_etl.engine.formats.json_records import JsonRecord, read_texts
from partitioned_etl.engine.formats.json_sql import LINE_TEXT, select_texts
from partitioned_etl.engine.formats.text import Head, TextCounts, read_lines
from partitioned_etl.engine.sql import quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_NO_JSON = "\x01"
"""A character that no JSON has, and so no line that is read at once: DuckDB needs a delimiter."""


class JsonLinesFormat(JsonOptions, frozen=True):
    """One JSON object per line, in UTF-8."""

    kind: ClassVar[str] = "json"
    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")

    type: Literal["json_lines"] = "json_lines"

    @property
    def marks(self) -> tuple[bytes, bytes]:
        """What DuckDB takes for a delimiter, and no quote."""
        return _NO_JSON.encode(), b""

    def check_contract(self, contract: "Contract") -> None:
        """Refuse a column whose `from` is no path."""
        list_json_columns(contract, self)

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
        survey.is_read_at_once = has_one_line_end and has_no_other_return and is_ordinary

    def reader_sql(
        self,
        header: Sequence[str],  # noqa: ARG002
        types: Mapping[str, str],  # noqa: ARG002
        path_column: str,
        *,
        is_staged: bool,  # noqa: ARG002
    ) -> str:
        """Return DuckDB's `read_csv`, which gives each line as one text."""
        return (
            f"read_csv(?, auto_detect = false, strict_mode = true, header = false, "
            f"columns = {{{quote_text(LINE_TEXT[1:-1])}: 'VARCHAR'}}, "
            f"delim = {quote_text(_NO_JSON)}, quote = '', escape = '', comment = '', "
            "nullstr = '', compression = 'none', "
            f"hive_partitioning = false, filename = {quote_text(path_column)})"
        )

    def fields_sql(self, contract: "Contract", rows: str) -> str:
        """Return the values of the lines."""
        return select_texts(list_json_columns(contract, self), self, rows)

    def read_records(
        self,
        contract: "Contract",
        head: Head,  # noqa: ARG002
        rows: Iterable[bytes],
        line_of: Callable[[int], int],
    ) -> Iterator[JsonRecord]:
        """Read a text line by line."""
        columns = list_json_columns(contract, self)
        for row_line, line_text in enumerate(read_lines(rows), 1):
            line = line_of(row_line)
            if len(line_text) > MAX_RECORD_CHARS:
                problem = problem_of_file(f"a line of over {MAX_RECORD_CHARS:,} characters", line)
                yield JsonRecord(line, line_text[:MAX_RECORD_CHARS], problem, ())
                return
            found = read_texts(columns, self, line, line_text)
            if isinstance(found, Problem):
                yield JsonRecord(line, line_text, found, ())
            else:
                yield JsonRecord(line, line_text, None, found)

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:
        """Propose columns, or the format `json` for what is no JSON lines."""
        del duck
        return propose_json(sample)
