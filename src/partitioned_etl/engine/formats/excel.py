"""Excel: a table in one sheet of a workbook, of the kinds .xlsx, .xlsm, .xls and .ods.

The cells are read as they are stored and checked against the types of their columns; DuckDB then
reads them as UTF-8 text, written aside. A formula counts by its stored value. An empty cell, or one
with an empty text, is NULL. Hidden rows and columns count like all others.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, BinaryIO, ClassVar, Literal, cast

import duckdb
from pydantic import Field, model_validator

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.excel_table import Table, TableArea, TableRows
from partitioned_etl.engine.formats.excel_values import MARK, ColumnType
from partitioned_etl.engine.formats.format import (
    MAX_PROBLEMS,
    FormatProposal,
    Problem,
    Record,
    RowBatch,
    Survey,
    TextsRecord,
    Watch,
    problem_of_file,
    unwatched,
    wrong_option,
)
from partitioned_etl.engine.formats.names import ExtraColumns, NamedColumns
from partitioned_etl.engine.formats.rows import bind_records, read_csv_sql
from partitioned_etl.engine.formats.workbooks.workbook import Area, count_column, name_column
from partitioned_etl.engine.landing.landing import LandedFile, changed_while_read
from partitioned_etl.engine.sql import quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract
    from partitioned_etl.engine.formats.workbooks.workbook import Workbook

_RANGE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})?:([A-Z]{1,3})([1-9][0-9]{0,6})?")
_NEEDS_QUOTES = re.compile('[",\r\n\ufeff]')
_LAST_ROW, _LAST_COLUMN = 9_999_999, 18_278


class ExcelFormat(NamedColumns, frozen=True):
    """A table in one sheet of a workbook: `.xlsx`, `.xlsm`, `.xls` or `.ods`."""

    kind: ClassVar[str] = "excel"
    endings: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm", ".xls", ".ods")
    may_be_compressed: ClassVar[bool] = False

    type: Literal["excel"] = "excel"
    sheet: Annotated[
        str | int,
        Field(
            description="The sheet's name, or its number, from 1. Default: the only one that is "
            "not hidden."
        ),
    ] = ""
    header: Annotated[
        bool,
        Field(
            description="Whether a row names the columns. Without one, the feed's columns are the "
            "first of the sheet or of `range`."
        ),
    ] = True
    header_row: Annotated[
        int,
        Field(
            description="The row that names the columns, from 1; what stands above it is not "
            "loaded. Default: the first of `range`, or 1.",
            ge=0,
        ),
    ] = 0
    range: Annotated[
        str,
        Field(
            description="The cells that are looked at, such as `B3:F200`, or `B3:F` for all rows "
            "from the third on. Default: all."
        ),
    ] = ""
    footer_lines: Annotated[
        int,
        Field(description="How many rows at the end, such as totals, are not loaded.", ge=0),
    ] = 0
    skip_empty_rows: Annotated[
        bool,
        Field(
            description="Whether empty rows between the others are left out. Those at the end "
            "always are."
        ),
    ] = False
    numbers_as_texts: Annotated[
        bool,
        Field(
            description="Whether a cell with a text may stand for a number, a time or a truth "
            "value, which is then read from the text, and a whole number for a text, such as the "
            "number of an article."
        ),
    ] = False

    round_to_15_digits: Annotated[
        bool,
        Field(
            description="Whether whole and DECIMAL numbers are taken to 15 digits, which is what "
            "Excel shows: 0.1 + 0.2, which is stored as 0.30000000000000004, is then 0.3. "
            "Otherwise such a number is refused."
        ),
    ] = False

    @model_validator(mode="after")
    def _check_place(self) -> "ExcelFormat":
        if self.range and not _RANGE.fullmatch(self.range):
            raise wrong_option("range", f"range {self.range!r} is none such as B3:F200 or B3:F")
        area = self._area
        if area.left > area.right or area.top > area.bottom:
            raise wrong_option("range", f"range {self.range!r} does not begin at its top left")
        if self.header_row and not area.top <= self.header_row <= area.bottom:
            raise wrong_option("header_row", f"header_row {self.header_row} is not in {self.range}")
        if not self.header:
            self.refuse_options_of_header(header_row=self.header_row > 0)
        if isinstance(self.sheet, int) and self.sheet < 1:
            raise wrong_option("sheet", "sheets are counted from 1")
        return self

    @property
    def _area(self) -> Area:
        found = _RANGE.fullmatch(self.range)
        if not found:
            return Area(1, 1, _LAST_ROW, _LAST_COLUMN)
        left, top, right, bottom = found.groups("")
        return Area(
            int(top or 1), count_column(left), int(bottom or _LAST_ROW), count_column(right)
        )

    def survey_content(
        self,
        contract: "Contract",
        file: LandedFile,  # noqa: ARG002
        handle: BinaryIO,
        survey: Survey,
        watch: Watch,
        scratch: Path | None,
    ) -> None:
        """Read the table once, check every cell, and write the values aside."""
        with watch(handle.tell):
            self._survey_table(contract, handle, scratch, survey)

    def _survey_table(
        self, contract: "Contract", handle: BinaryIO, scratch: Path | None, survey: Survey
    ) -> None:
        table = _FeedTable.open(self, contract, handle)
        survey.header, survey.problems = table.header, table.problems
        if survey.problems:
            return
        if scratch is None:
            _count_rows(table.read(), survey)
        else:
            with NamedTemporaryFile(
                "w", dir=scratch, suffix=".csv", encoding="utf-8", newline="", delete=False
            ) as staged:
                survey.staged = Path(staged.name)
                for batch in _count_rows(table.read(), survey):
                    staged.write(_to_csv(batch.texts))
        survey.problems += table.problems_at_end
        if not (survey.row_count or survey.problems or contract.allow_empty):
            survey.problems.append(problem_of_file("the file has no rows"))

    def apply_steps(self, steps: tuple[str, ...], column: str) -> tuple[str, ...]:
        """Return steps that leave alone what was no text in the workbook."""
        if not steps:
            return ()
        is_marked = f"starts_with({column}, {quote_text(MARK)})"
        kept = [f"CASE WHEN {is_marked} THEN {column} ELSE {step} END" for step in steps]
        return (*kept, f"CASE WHEN {is_marked} THEN {column}[2:] ELSE {column} END")

    def reader_sql(
        self,
        header: Sequence[str],
        types: Mapping[str, str],
        path_column: str,
        *,
        is_staged: bool,  # noqa: ARG002
    ) -> str:
        """Return DuckDB's `read_csv` for the values that were written aside."""
        columns = {name: types.get(name, "VARCHAR") for name in header}
        return read_csv_sql(columns, path_column, may_quote_nulls=True)

    def read_rows(
        self,
        contract: "Contract",
        file: LandedFile,
        header: Sequence[str],
        duck: duckdb.DuckDBPyConnection,
        watch: Watch = unwatched,
    ) -> Iterator[RowBatch]:
        """Read the table again, and give DuckDB the values in batches."""
        del duck
        with file.open() as handle, watch(handle.tell):
            try:
                table = _FeedTable.open(self, contract, handle)
                if table.problems or table.header != [*header]:
                    raise changed_while_read(file)
                for batch in table.read():
                    yield table.to_batch(batch)
            except ContractError:  # it was sound when it was surveyed
                raise changed_while_read(file) from None

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:  # noqa: ARG003
        """Propose sheet, header and columns, by the kinds of the cells."""
        from partitioned_etl.engine.formats.proposals.excel_proposal import propose_table

        return propose_table(sample)


@dataclass
class _FeedTable:
    """The table of a feed in an opened workbook, which can be read once."""

    table: Table
    place: TableArea
    columns: dict[int, tuple[str, ColumnType]]
    may_have_others: bool
    problems: list[Problem]

    @classmethod
    def open(cls, options: ExcelFormat, contract: "Contract", handle: BinaryIO) -> "_FeedTable":
        """Find the table, and match its header with the feed's columns.

        Raises:
            ContractError: There is no such sheet, or the workbook cannot be read.
        """
        # Only a process that loads workbooks needs to read them.
        from partitioned_etl.engine.formats.workbooks.registry import open_workbook

        workbook = open_workbook(handle, contract.max_uncompressed_bytes)
        name = _choose_sheet(workbook, options.sheet)
        area = options._area
        header_row = (options.header_row or area.top) if options.header else 0
        place = TableArea(name, area, header_row, options.footer_lines, options.skip_empty_rows)
        table = Table(workbook.open_sheet(name), place)
        problems = list(table.problems)
        if options.header:
            match = options.match_names(contract, list(table.names.values()))
            places = dict(zip(match.columns, table.names, strict=True))
            where = f"sheet {name}, row {header_row}"
            problems += [problem_of_file(f"{where}: header: {one}") for one in match.reasons]
        else:
            places = {one: area.left + number for number, one in enumerate(contract.columns)}
        types = {
            one: ColumnType(
                type_name,
                contract.column_values[one],
                takes_texts=options.numbers_as_texts,
                is_rounded=options.round_to_15_digits,
            )
            for one, type_name in contract.column_types.items()
        }
        columns = {column: (one, types[one]) for one, column in places.items() if one in types}
        is_ignoring = options.extra_columns is ExtraColumns.IGNORE
        return cls(table, place, columns, is_ignoring, problems)

    @property
    def header(self) -> list[str]:
        """The feed's columns that the file has, in its order."""
        return [name for name, _ in self.columns.values()]

    @property
    def problems_at_end(self) -> list[Problem]:
        """What turned out to be wrong with the table as a whole."""
        return self.table.problems

    def read(self) -> Iterator[TableRows]:
        """Read the rows."""
        return self.table.read(self.columns, may_have_others=self.may_have_others)

    def to_batch(self, batch: TableRows) -> RowBatch:
        """Return rows for validation, the sound ones as a relation."""
        malformed = [TextsRecord(row, "", one, ()) for row, one in batch.problems_between.items()]
        well_formed: dict[int, Record] = {}
        for row, texts in zip(batch.rows, zip(*batch.texts, strict=True), strict=True):
            problem = batch.problems.get(row)
            values = [(text or "").removeprefix(MARK) for text in texts]
            shown = json.dumps(values, ensure_ascii=False).encode("utf-8", "backslashreplace")
            record = TextsRecord(row, shown.decode(), problem, texts)
            if problem:
                malformed.append(record)
            else:
                well_formed[row] = record
        return RowBatch(
            len(well_formed) + len(malformed),
            malformed,
            well_formed,
            bind_records([*well_formed.values()], self.header) if well_formed else None,
            place=self.place.place_of_row,
            cells={name: name_column(column) for column, (name, _) in self.columns.items()},
        )


def _count_rows(batches: Iterator[TableRows], survey: Survey) -> Iterator[TableRows]:
    """Count rows, and pass on those before the first problem."""
    for batch in batches:
        survey.row_count += len(batch.rows) + len(batch.problems_between)
        survey.problems += batch.problems.values()
        if len(survey.problems) >= MAX_PROBLEMS:
            survey.problems = survey.problems[:MAX_PROBLEMS]
            return
        if not survey.problems:
            yield batch


def _to_csv(columns: Sequence[Sequence[str | None]]) -> str:
    """Return columns as lines of CSV; an empty text stands for no value."""
    quoted = [_quote_fields(column) for column in columns]
    if len(quoted) == 1:  # an empty line would be no row
        quoted = [[text or '""' for text in quoted[0]]]
    return "".join(f"{line}\n" for line in map(",".join, zip(*quoted, strict=True)))


def _quote_fields(column: Sequence[str | None]) -> Sequence[str]:
    texts = [text or "" for text in column] if None in column else cast("Sequence[str]", column)
    if not _NEEDS_QUOTES.search("".join(texts)):
        return texts
    return [
        '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text
        for text in texts
    ]


def _choose_sheet(workbook: "Workbook", wanted: str | int) -> str:
    """Return the name of the sheet that a feed declares.

    Raises:
        ContractError: There is none, or none is declared and there are several.
    """
    names = list(workbook.names)
    if not names:
        raise ContractError("the workbook has no sheet")
    listed = ", ".join(names[:10])
    if isinstance(wanted, int):
        if wanted > len(names):
            raise ContractError(f"the workbook has no sheet {wanted}, only {listed}")
        return names[wanted - 1]
    if wanted:
        if wanted not in names:
            raise ContractError(f"the workbook has no sheet {wanted}, only {listed}")
        return wanted
    visible = [name for name in names if name not in workbook.hidden]
    if len(visible) != 1:
        raise ContractError(f"the workbook has several sheets, and the feed names none: {listed}")
    return visible[0]
