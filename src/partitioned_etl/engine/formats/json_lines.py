"""JSON lines: one JSON object per line, whose names are the feed's columns in any order.

DuckDB reads whole files, and each line as one text, from which `json_sql.py` takes the values. What
that does not read exactly is read line by line, by `json_records.py`. A file of zero bytes is
refused, because it may be cut off.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import duckdb

from partitioned_etl.engine.formats.format import (
    FormatProposal,
    Problem,
    Record,
    Survey,
    TextsRecord,
)
from partitioned_etl.engine.formats.json_columns import JsonOptions, list_json_columns
from partitioned_etl.engine.formats.json_records import read_texts
from partitioned_etl.engine.formats.json_sql import select_texts
from partitioned_etl.engine.formats.nested_types import is_nested
from partitioned_etl.engine.formats.text import Head
from partitioned_etl.engine.formats.text_counts import TextCounts

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract


class JsonLinesFormat(JsonOptions, frozen=True):
    """One JSON object per line, in UTF-8."""

    kind: ClassVar[str] = "json"
    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")

    type: Literal["json_lines"] = "json_lines"

    def check_contract(self, contract: "Contract") -> None:
        """Refuse a column whose `from` is no path."""
        super().check_contract(contract)
        list_json_columns(contract, self)

    def survey_records(
        self,
        contract: "Contract",
        head: Head,
        counts: TextCounts,
        records: Iterable[Record],
        survey: Survey,
    ) -> None:
        """Count the lines; those with values of nested types are read one by one."""
        super().survey_records(contract, head, counts, records, survey)
        survey.is_read_at_once &= not any(map(is_nested, contract.column_types.values()))

    def fields_sql(self, contract: "Contract", rows: str) -> str:
        """Return the values of the lines."""
        return select_texts(list_json_columns(contract, self), self, rows)

    def line_reader(self, contract: "Contract") -> Callable[[int, str], Record]:
        """Return a function that reads a record from a line."""
        columns = list_json_columns(contract, self)

        def read_line(line: int, text: str) -> Record:
            found = read_texts(columns, self, line, text)
            if isinstance(found, Problem):
                return TextsRecord(line, text, found)
            return TextsRecord(line, text, None, found)

        return read_line

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:
        """Propose columns, or the format `json` for what is no JSON lines."""
        # Only `infer` needs it.
        from partitioned_etl.engine.formats.proposals.json_proposal import propose_json

        del duck
        return propose_json(sample)
