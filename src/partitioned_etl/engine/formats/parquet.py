"""Parquet, for trusted senders: DuckDB's own reader parses the bytes.

A file's columns have the contract's names, and types whose values the contract's take without loss.
DuckDB reads every value once, in a separate database, before a load: what breaks the reader breaks
nothing else, and the load meets only readable values. Parquet is compressed within, so a `.gz` file
is never accepted as Parquet.
"""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, ClassVar, Literal

import duckdb
from pydantic import Field

from partitioned_etl.engine.errors import ContractError, FeedDefinitionError
from partitioned_etl.engine.formats.format import (
    LINE,
    TEXT,
    FormatProposal,
    Problem,
    RowBatch,
    Survey,
    Watch,
    problem_of_file,
    unwatched,
)
from partitioned_etl.engine.formats.names import NamedColumns
from partitioned_etl.engine.formats.parquet_types import Conversion, find_conversion
from partitioned_etl.engine.formats.rows import list_paths
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.sandbox import connect_in_memory, read_share
from partitioned_etl.engine.sql import Query, quote_identifier, quote_text

if TYPE_CHECKING:
    from partitioned_etl.engine.contract import Contract

_MARK, _MARK_OF_ENCRYPTED = b"PAR1", b"PARE"
_BATCH_ROWS = 10_000
_ROW_NUMBER = "file_row_number"


class ParquetFormat(NamedColumns, frozen=True):
    """Parquet, for trusted senders: DuckDB's own reader parses the bytes."""

    kind: ClassVar[str] = "parquet"
    endings: ClassVar[tuple[str, ...]] = (".parquet",)
    may_be_compressed: ClassVar[bool] = False
    has_texts: ClassVar[bool] = False

    type: Literal["parquet"] = "parquet"
    whole_doubles: Annotated[
        bool,
        Field(
            description="Whether a column of whole numbers may be stored as DOUBLE or FLOAT, as "
            "programs do that have no other NULL. Each number must then be a whole one below 2^53."
        ),
    ] = False

    def check_contract(self, contract: "Contract") -> None:
        """Refuse the name that DuckDB gives to the number of a row."""
        if _ROW_NUMBER in map(str.casefold, contract.columns):
            reason = f"column {_ROW_NUMBER} is what DuckDB calls the number of a row"
            raise FeedDefinitionError(reason, attribute="columns")

    def survey_content(
        self,
        contract: "Contract",
        file: LandedFile,
        handle: BinaryIO,
        survey: Survey,
        watch: Watch,
        scratch: Path | None,  # noqa: ARG002
    ) -> None:
        """Compare the file's columns with the contract's, and read every value once."""
        _check_marks(handle)
        self._survey_values(contract, file, survey, watch)

    def _survey_values(
        self, contract: "Contract", file: LandedFile, survey: Survey, watch: Watch
    ) -> None:
        paths = list_paths([file])
        with connect_in_memory(file.path.parent.resolve()) as duck:
            try:
                (survey.row_count,) = duck.execute(
                    "SELECT CAST(sum(num_rows) AS BIGINT) FROM parquet_file_metadata(?)", [paths]
                ).fetchall()[0]
                given = _list_columns(duck, paths)
                survey.stored_types = tuple(type_name for _, type_name in given)
                checks = self._compare(contract, given, _list_types(duck, contract), survey)
                if not survey.problems:
                    with watch(lambda: file.size_bytes * read_share(duck)):
                        survey.problems = _read_values(duck, paths, survey.header, checks)
            except duckdb.Error as error:
                reason = f"the file cannot be read as Parquet ({type(error).__name__})"
                raise ContractError(reason) from None
        if not (survey.row_count or survey.problems or contract.allow_empty):
            survey.problems.append(problem_of_file("the file has no rows"))

    def _compare(
        self,
        contract: "Contract",
        given: Sequence[tuple[str, str]],
        wanted: Mapping[str, str],
        survey: Survey,
    ) -> dict[str, Conversion]:
        """Find the problems of names and types; return what is left to check of values."""
        match = self.match_names(contract, [name for name, _ in given])
        survey.header = match.columns
        survey.problems = [problem_of_file(reason) for reason in match.reasons]
        types = dict(zip(match.columns, (type_name for _, type_name in given), strict=True))
        checks = {}
        for name, type_name in wanted.items():
            stored = types.get(name, type_name)
            conversion = find_conversion(stored, type_name, whole_doubles=self.whole_doubles)
            if conversion is None:
                reason = f"{stored} in the file, {type_name} in the feed"
                survey.problems.append(Problem(0, name, reason, is_of_file=True))
            elif conversion.is_loss:
                checks[name] = conversion
        return checks

    def reader_sql(
        self,
        header: Sequence[str],
        types: Mapping[str, str],  # noqa: ARG002
        path_column: str,
        *,
        is_staged: bool,  # noqa: ARG002
    ) -> str:
        """Return DuckDB's `read_parquet`, whose columns get the names of the feed's."""
        return _read_with_names(header, f"filename = {quote_text(path_column)}", path_column)

    def read_rows(
        self,
        contract: "Contract",
        file: LandedFile,
        header: Sequence[str],
        duck: duckdb.DuckDBPyConnection,
        watch: Watch = unwatched,  # noqa: ARG002
    ) -> Iterator[RowBatch]:
        """Let DuckDB read the rows by number."""
        columns = [name for name in contract.columns if name in header]
        names = ", ".join(map(quote_identifier, columns))
        values = ", ".join(f"{quote_text(name)}: {quote_identifier(name)}" for name in columns)
        rows = (
            f"(SELECT {names}, CAST({{{values}}} AS VARCHAR) AS {TEXT}, "
            f"{_ROW_NUMBER} + 1 AS {LINE} FROM "
            f"{_read_with_names(header, 'file_row_number = true', _ROW_NUMBER)} "
            f"WHERE {_ROW_NUMBER} + 1 BETWEEN ? AND ?)"
        )
        first = 1
        while True:
            query = Query(rows, [list_paths([file]), first, first + _BATCH_ROWS - 1])
            ((count,),) = duck.execute(f"SELECT count(*) FROM {query.sql}", query.bound).fetchall()
            if not count:
                return
            yield RowBatch(count, rows=query, place="row")
            first += _BATCH_ROWS

    @classmethod
    def propose(cls, duck: duckdb.DuckDBPyConnection, sample: Path) -> FormatProposal:
        """Propose the columns that the file declares."""
        return FormatProposal(columns=dict(_list_columns(duck, [glob.escape(str(sample))])))


def _read_with_names(header: Sequence[str], option: str, last: str) -> str:
    """Return a relation of files by the names of the feed's columns, and what an option adds."""
    names = ", ".join(map(quote_identifier, [*header, last]))
    return f"(SELECT * FROM read_parquet(?, hive_partitioning = false, {option}) AS file({names}))"


def _read_values(
    duck: duckdb.DuckDBPyConnection,
    paths: list[str],
    header: Sequence[str],
    checks: Mapping[str, Conversion],
) -> list[Problem]:
    """Read every value once; return which would lose something, the first of each column."""
    number = quote_identifier(_ROW_NUMBER)
    firsts = [
        f"min({number}) FILTER ({one.is_loss.format(quote_identifier(name))})"
        for name, one in checks.items()
    ]
    values = ", ".join(map(quote_identifier, header))
    rows = _read_with_names(header, "file_row_number = true", _ROW_NUMBER)
    [(_, *found)] = duck.execute(
        f"SELECT {', '.join([f'bit_xor(hash({values}))', *firsts])} FROM {rows}", [paths]
    ).fetchall()
    return [
        Problem(row + 1, name, one.reason, is_of_file=True, place="row")
        for (name, one), row in zip(checks.items(), found, strict=True)
        if row is not None
    ]


def _check_marks(handle: BinaryIO) -> None:
    """Reject, by first and last bytes, a file that is not Parquet, cut off, or encrypted."""
    size_bytes = handle.seek(0, os.SEEK_END)
    if not size_bytes:
        raise ContractError("the file is empty")
    handle.seek(0)
    start = handle.read(4)
    handle.seek(max(0, size_bytes - 4))
    end = handle.read(4)
    if _MARK_OF_ENCRYPTED in (start, end):
        raise ContractError("the Parquet file is encrypted")
    if start != _MARK:
        raise ContractError("the file is no Parquet file")
    if end != _MARK or size_bytes < 12:
        raise ContractError("no Parquet mark at the end: cut off?")


def _list_columns(duck: duckdb.DuckDBPyConnection, paths: list[str]) -> list[tuple[str, str]]:
    """Return a file's columns by the names that they have in it, and their types.

    DuckDB renames a column whose name another one has, in small letters or capitals. It reads INT96
    as a TIMESTAMP, without its nanoseconds, so this type keeps its own name.
    """
    schema = duck.execute(
        "SELECT name, type, num_children, CAST(logical_type AS VARCHAR) FROM parquet_schema(?)",
        [paths],
    )
    columns: list[tuple[str, str]] = []
    nested = 0
    for name, physical_type, child_count, logical_type in schema.fetchall()[1:]:
        if not nested:
            columns.append((name, ""))
        if physical_type == "INT96":
            columns[-1] = columns[-1][0], "INT96"
        elif "NANOS=Nano" in (logical_type or ""):
            columns[-1] = columns[-1][0], "nanoseconds"
        nested += (child_count or 0) - bool(nested)
    described = duck.execute(
        "DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [paths]
    ).fetchall()
    return [
        (name, _say_type(type_name, within))
        for (name, within), (_, type_name, *_) in zip(columns, described, strict=True)
    ]


def _say_type(type_name: str, within: str) -> str:
    """Return a type by a name that also says what DuckDB would cut off its values."""
    if within == "INT96":
        return "INT96" if type_name.startswith("TIMESTAMP") else f"{type_name} with INT96"
    if within and "_NS" not in type_name:
        return f"{type_name} in {within}"
    return type_name


def _list_types(duck: duckdb.DuckDBPyConnection, contract: "Contract") -> dict[str, str]:
    """Return the contract's types as DuckDB spells them."""
    columns = ", ".join(
        f"CAST(NULL AS {type_name}) AS {quote_identifier(name)}"
        for name, type_name in contract.column_types.items()
    )
    described = duck.execute(f"DESCRIBE SELECT {columns}").fetchall()
    return {name: type_name for name, type_name, *_ in described}
