"""Name and value: lines of pairs such as `id=1;note=x`, in any order.

An example of a format of one's own: this module, and a line in the registry of formats.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import duckdb
from pydantic import Field

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.format import FormatProposal, Problem, TextsRecord
from partitioned_etl.engine.formats.text import Head, TextFormat, read_lines

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract


class NameValueFormat(TextFormat, frozen=True):
    """Lines of pairs such as `id=1;note=x`, in any order."""

    kind: ClassVar[str] = "text"
    endings: ClassVar[tuple[str, ...]] = (".pairs",)
    is_read_at_once: ClassVar[bool] = False

    type: Literal["name_value"] = "name_value"
    separator: Annotated[str, Field(description="What stands between two pairs.", min_length=1)] = (
        ";"
    )

    def check_contract(self, contract: "Contract") -> None:
        """Refuse columns whose name no pair can have."""
        super().check_contract(contract)
        for name in contract.columns:
            if "=" in name or self.separator in name:
                reason = f"column {name}: no name of a pair"
                raise FeedDefinitionError(reason, attribute="columns")

    def read_records(
        self,
        contract: "Contract",
        head: Head,  # noqa: ARG002
        rows: Iterable[bytes],
        line_of: Callable[[int], int],
    ) -> Iterator[TextsRecord]:
        """Read a text line by line."""
        for row_line, text in enumerate(read_lines(rows), 1):
            line = line_of(row_line)
            pairs = dict(
                pair.split("=", 1) for pair in text.rstrip().split(self.separator) if "=" in pair
            )
            missing = [name for name in contract.columns if name not in pairs]
            problem = Problem(line, missing[0], "missing") if missing else None
            values = tuple(pairs.get(name) or None for name in contract.columns)
            yield TextsRecord(line, text, problem, values)

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:  # noqa: ARG003
        """Propose the names of the first line."""
        first = sample.read_text(encoding="utf-8").split("\n", 1)[0]
        names = [pair.split("=", 1)[0] for pair in first.split(";")]
        return FormatProposal(columns=dict.fromkeys(names, "VARCHAR"))
