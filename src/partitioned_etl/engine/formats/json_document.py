"""JSON: a file that is one JSON document, with the records of a feed in an array.

`json_stream.py` turns the document into JSON lines, of which everything else is as for
`json_lines.py`; DuckDB reads them from a copy. A problem is told by the number of the record, which
is a row; if it is not in a record, by its line.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, BinaryIO, ClassVar, Literal, Self

import duckdb
from pydantic import Field, model_validator

from partitioned_etl.engine.formats.format import Record, RowBatch, Watch, unwatched, wrong_option
from partitioned_etl.engine.formats.json_columns import parse_steps
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.json_stream import to_json_lines
from partitioned_etl.engine.formats.text import Head, TextFormat
from partitioned_etl.engine.landing.landing import LandedFile

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_HAS_NO_LINES = {*TextFormat.model_fields} - {"type", "encoding", "encoding_is_certain"}


class JsonFormat(JsonLinesFormat, frozen=True):
    """One JSON document, which is an array of records or has one."""

    endings: ClassVar[tuple[str, ...]] = ()
    no_options: ClassVar[frozenset[str]] = frozenset(_HAS_NO_LINES)

    type: Literal["json"] = "json"  # pyright: ignore[reportIncompatibleVariableOverride]
    records: Annotated[
        str, Field(description="Path of the array of records, such as `$.data.items`.")
    ] = "$"

    @model_validator(mode="after")
    def _check_document(self) -> Self:
        for option in _HAS_NO_LINES:
            if getattr(self, option) != TextFormat.model_fields[option].default:
                raise wrong_option(option, f"{option}: a JSON document has no lines")
        if self._path is None:
            reason = f"records: {self.records!r} is no path of names such as $.data.items"
            raise wrong_option("records", reason)
        return self

    @property
    def _path(self) -> Sequence[str] | None:
        if self.records == "$":
            return []
        steps = parse_steps(self.records)
        return [step for step in steps if isinstance(step, str)] if _are_names(steps) else None

    def find_head(self, contract: "Contract", text: Iterable[bytes]) -> Head:  # noqa: ARG002
        """Return what `read_text` yields first: the path of the records, on a line."""
        return Head(list(contract.columns), 1)

    def is_direct(self, file: LandedFile, handle: BinaryIO, head: Head) -> bool:  # noqa: ARG002
        """Return that DuckDB reads a copy."""
        return False

    def read_text(
        self,
        contract: "Contract",
        file: LandedFile,
        handle: BinaryIO,
        *,
        digest: Callable[[bytes], None] | None = None,
        count_lines: bool = False,
    ) -> Iterator[bytes]:
        """Yield the path of the records, and the records, each on a line."""
        text = super().read_text(contract, file, handle, digest=digest, count_lines=count_lines)
        return to_json_lines(text, self._path or [])

    def read_records(
        self,
        contract: "Contract",
        head: Head,
        rows: Iterable[bytes],
        line_of: Callable[[int], int],  # noqa: ARG002
    ) -> Iterator[Record]:
        """Read the records, each with its number."""
        for record in super().read_records(contract, head, rows, lambda row: row):
            problem = record.problem and replace(record.problem, place="row")
            yield replace(record, problem=problem)

    def read_rows(
        self,
        contract: "Contract",
        file: LandedFile,
        header: Sequence[str],
        duck: duckdb.DuckDBPyConnection,
        watch: Watch = unwatched,
    ) -> Iterator[RowBatch]:
        """Read a file record by record."""
        for batch in super().read_rows(contract, file, header, duck, watch):
            yield replace(batch, place="row")


def _are_names(steps: Sequence[str | int]) -> bool:
    return bool(steps) and all(isinstance(step, str) for step in steps)
