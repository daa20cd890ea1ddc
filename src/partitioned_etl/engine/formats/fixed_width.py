"""Fixed width: lines in which each column has its place.

A column is declared by the place of its first character and its length. DuckDB reads each line as
one text and cuts it; where places are counted in bytes of an encoding in which characters have
several, lines are cut in Python.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import duckdb
from pydantic import Field

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.encodings import is_single_byte
from partitioned_etl.engine.formats.format import (
    FormatProposal,
    Problem,
    Record,
    Survey,
    TextsRecord,
    hint_at_quotes,
    wrong_option,
)
from partitioned_etl.engine.formats.text import Head
from partitioned_etl.engine.formats.text_counts import TextCounts
from partitioned_etl.engine.formats.whole_lines import LINE_TEXT, WholeLineFormat
from partitioned_etl.engine.sql import quote_identifier, quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract


class Unit(StrEnum):
    """What places and lengths are counted in."""

    CHARACTERS = "characters"
    """Characters, by code point."""
    BYTES = "bytes"
    """Bytes of the file's encoding."""


@dataclass(frozen=True)
class Place:
    """Where in a line a column is.

    Attributes:
        column: The column.
        start: The place of its first character, starting at 1.
        length: How many it has.
    """

    column: str
    start: int
    length: int

    @property
    def end(self) -> int:
        """The place of its last character."""
        return self.start + self.length - 1


class FixedWidthFormat(WholeLineFormat, frozen=True):
    """Lines in which each column has its place: `article: {type: VARCHAR, start: 1, length: 8}`."""

    kind: ClassVar[str] = "text"
    endings: ClassVar[tuple[str, ...]] = (".dat", ".prn", ".fix")
    takes_places: ClassVar[bool] = True

    type: Literal["fixed_width"] = "fixed_width"
    unit: Annotated[
        Unit,
        Field(
            description="Whether places and lengths count `characters`, or `bytes` of the encoding."
        ),
    ] = Unit.CHARACTERS
    line_length: Annotated[
        int | None,
        Field(
            description="How long every line is. Default: as the last column ends.",
            ge=1,
        ),
    ] = None
    short_lines: Annotated[
        bool,
        Field(
            description="Whether a line may end early, because its sender cuts spaces off; the "
            "columns that it does not reach are NULL."
        ),
    ] = False
    padding: Annotated[
        str,
        Field(
            description="The character that fills a column up; it is taken off on both sides, and "
            "nothing left is NULL."
        ),
    ] = " "

    def check_contract(self, contract: "Contract") -> None:
        """Refuse columns without a place, or two in the same place."""
        super().check_contract(contract)
        if len(self.padding) != 1:
            reason = f"padding must be one character: {self.padding!r}"
            raise wrong_option("padding", f"{reason}{hint_at_quotes(self.padding)}")
        places = list_places(contract)
        for one, after in pairwise(places):
            if after.start <= one.end:
                reason = f"columns.{after.column}.start: {one.column} ends at {one.end}"
                raise FeedDefinitionError(reason, attribute=f"columns.{after.column}.start")
        late = contract.optional_columns | {*contract.first_dates}
        for place, after in pairwise(places):
            attribute = f"columns.{place.column}"
            if place.column in late and after.column not in late:
                reason = f"{attribute}: only a line's last columns can be missing in it"
                raise FeedDefinitionError(reason, attribute=attribute)
        if places[0].column in late:
            reason = f"columns.{places[0].column}: a line needs a first column"
            raise FeedDefinitionError(reason, attribute=f"columns.{places[0].column}")
        if self._length(contract) < places[-1].end:
            reason = f"line_length: column {places[-1].column} ends at {places[-1].end}"
            raise wrong_option("line_length", reason)

    def _length(self, contract: "Contract") -> int:
        return self.line_length or max(place.end for place in list_places(contract))

    def _lengths(self, contract: "Contract") -> list[int]:
        """Return how long a line may be: as all columns, or without those it may lack."""
        lengths = [self._length(contract)]
        if self.line_length is None:
            for before, place in reversed([*pairwise(list_places(contract))]):
                if place.column not in contract.optional_columns:
                    break
                lengths.append(before.end)
        return lengths

    @property
    def _counts_bytes(self) -> bool:
        return self.unit is Unit.BYTES and not is_single_byte(self.text_encoding)

    def survey_records(
        self,
        contract: "Contract",
        head: Head,
        counts: TextCounts,
        records: Iterable[Record],
        survey: Survey,
    ) -> None:
        """Count the lines; their length is validated together with their values."""
        super().survey_records(contract, head, counts, records, survey)
        survey.is_read_at_once &= not self._counts_bytes

    def fields_sql(self, contract: "Contract", rows: str) -> str:
        """Return the columns of lines, or an error where a line has another length."""
        lengths, padding = self._lengths(contract), quote_text(self.padding)
        allowed = f"<= {lengths[0]}" if self.short_lines else f"IN ({', '.join(map(str, lengths))})"
        is_sound = f"length({LINE_TEXT}) {allowed}"
        values = []
        for place in list_places(contract):
            part = f"substring({LINE_TEXT}, {place.start}, {place.length})"
            value = f"nullif(trim({part}, {padding}), '')"
            checked = (
                f"CASE WHEN {is_sound} THEN {value} ELSE error('a line of another length') END"
            )
            values.append(f"{checked} AS {quote_identifier(place.column)}")
        # An empty line is NULL to DuckDB's reader.
        lines = f"(SELECT * REPLACE (coalesce({LINE_TEXT}, '') AS {LINE_TEXT}) FROM {rows})"
        return f"(SELECT * EXCLUDE ({LINE_TEXT}), {', '.join(values)} FROM {lines})"

    def line_reader(self, contract: "Contract") -> Callable[[int, str], Record]:
        """Return a function that cuts a line into its columns."""
        places = {place.column: place for place in list_places(contract)}
        in_order = [places[name] for name in contract.columns]
        lengths = self._lengths(contract)

        def read_line(line: int, text: str) -> Record:
            bare = text.removesuffix("\n").removesuffix("\r")
            if "\r" in bare:
                reason = "a carriage return without a line feed"
                return TextsRecord(line, text, Problem(line, "", reason))
            content = bare.encode(self.text_encoding) if self._counts_bytes else bare
            is_short = self.short_lines and len(content) < lengths[0]
            if len(content) not in lengths and not is_short:
                expected = " or ".join(map(str, lengths))
                reason = f"{len(content)} {self.unit} instead of {expected}"
                return TextsRecord(line, text, Problem(line, "", reason))
            try:
                values = tuple(self._cut(content, place) for place in in_order)
            except UnicodeDecodeError:
                reason = "a column begins or ends within a character"
                return TextsRecord(line, text, Problem(line, "", reason))
            return TextsRecord(line, text, None, values)

        return read_line

    def _cut(self, content: str | bytes, place: Place) -> str | None:
        part = content[place.start - 1 : place.end]
        text = part.decode(self.text_encoding) if isinstance(part, bytes) else part
        return text.strip(self.padding) or None

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:  # noqa: ARG003
        """Propose the columns of a sample with their places."""
        from partitioned_etl.engine.formats.proposals.fixed_width_proposal import (
            propose_fixed_width,
        )

        return propose_fixed_width(sample)


def list_places(contract: "Contract") -> list[Place]:
    """Return where the columns are, in the order of a line.

    Raises:
        FeedDefinitionError: A column has no start or no length.
    """
    places = []
    for name, (start, length) in contract.column_places.items():
        for attribute, value in {"start": start, "length": length}.items():
            if value is None:
                path = f"columns.{name}.{attribute}"
                raise FeedDefinitionError(f"{path}: is needed", attribute=path)
        places.append(Place(name, start or 1, length or 1))
    return sorted(places, key=lambda place: place.start)
