"""Fixed width: lines whose columns begin at the same place in each.

An example of a format of one's own: this module, and a line in the registry of formats.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import duckdb
from pydantic import Field

from partitioned_etl.engine.formats.format import FormatProposal, Problem, Record
from partitioned_etl.engine.formats.text import TextFormat, read_lines
from partitioned_etl.engine.landing.landing import Readable

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract


@dataclass(frozen=True)
class FixedWidthRecord(Record):
    """One line.

    Attributes:
        widths: How many characters each column has.
    """

    widths: Sequence[int]

    def fields(self) -> Sequence[str | None]:
        """Cut a valid line into its columns, without the spaces that fill them."""
        begin, values = 0, list[str | None]()
        for width in self.widths:
            values.append(self.text[begin : begin + width].strip() or None)
            begin += width
        return values


class FixedWidthFormat(TextFormat, frozen=True):
    """Lines whose columns begin at the same place in each, in UTF-8, without a header."""

    kind: ClassVar[str] = "text"
    endings: ClassVar[tuple[str, ...]] = (".dat",)
    is_read_at_once: ClassVar[bool] = False

    type: Literal["fixed_width"] = "fixed_width"
    widths: Annotated[
        tuple[int, ...], Field(description="How many characters each column has.", min_length=1)
    ]

    def check_columns(self, names: Sequence[str]) -> str:
        """Return why a feed cannot have these columns; empty if it can."""
        if len(names) != len(self.widths):
            return f"{len(self.widths)} widths for {len(names)} columns"
        return ""

    def read_records(self, contract: "Contract", text: Readable) -> Iterator[FixedWidthRecord]:  # noqa: ARG002
        """Read a text line by line."""
        expected = sum(self.widths)
        for line, line_text in enumerate(read_lines(text), 1):
            record = FixedWidthRecord(line, line_text, None, self.widths)
            length = len(record.line_text)
            if length != expected:
                reason = f"{length} characters instead of {expected}"
                record = FixedWidthRecord(line, line_text, Problem(line, "", reason), self.widths)
            yield record

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:  # noqa: ARG003
        """Propose nothing: no sample says where a column ends."""
        return FormatProposal(doubts={"format.widths": "no sample says where a column ends"})
