"""Parquet: what the file itself declares about its columns and rows, compared with the feed.

Takes an opened file; returns its row count, its column names and what is wrong with it. DuckDB
reads every value once, in a separate database: what breaks the reader breaks nothing else, and the
load that comes next, in `loading.py`, meets only readable values.
"""

import glob
import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import BinaryIO

import duckdb

from partitioned_etl.ingest.database import connect_in_memory, read_share
from partitioned_etl.ingest.errors import ContractError
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.formats import ParquetFormat
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.progress import Progress
from partitioned_etl.ingest.records import Problem, compare_names
from partitioned_etl.ingest.statements import expected_columns_sql

_MARK, _MARK_OF_ENCRYPTED = b"PAR1", b"PARE"


@dataclass
class ParquetContents:
    """What a Parquet file declares about itself.

    Attributes:
        row_count: Rows, according to the file's own metadata.
        names: Its column names.
        problems: Why it does not match its contract; empty if every value can be read.
    """

    row_count: int = 0
    names: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_contents(
    feed: Feed,
    parquet: ParquetFormat,
    file: LandedFile,
    handle: BinaryIO,
    progress: Progress | None = None,
) -> ParquetContents:
    """Compare a Parquet file's columns with the feed's, and read every value once.

    Args:
        feed: The feed.
        parquet: Its format.
        file: The landed file.
        handle: The same file, opened.
        progress: Where to report progress, if it may take long.

    Raises:
        ContractError: It is not a Parquet file, or cannot be read.
    """
    _check_marks(handle)
    contents, path = ParquetContents(), glob.escape(str(file.path))
    with connect_in_memory(file.path.parent.resolve()) as connection:
        try:
            (contents.row_count,) = connection.execute(
                "SELECT CAST(sum(num_rows) AS BIGINT) FROM parquet_file_metadata(?)", [path]
            ).fetchall()[0]
            described = connection.execute(
                "DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [path]
            ).fetchall()
            given = {name: kind for name, kind, *_ in described}
            contents.names = list(given)
            contents.problems = _compare(feed, parquet, given, _wanted_types(connection, feed))
            if not contents.problems:
                _read_every_value(connection, file, path, progress)
        except duckdb.Error as error:
            reason = f"the file cannot be read as Parquet ({type(error).__name__})"
            raise ContractError(reason) from None
    if not (contents.row_count or contents.problems or feed.allow_empty):
        contents.problems.append(Problem(0, "", "the file has no rows", is_of_file=True))
    return contents


def _read_every_value(
    connection: duckdb.DuckDBPyConnection, file: LandedFile, path: str, progress: Progress | None
) -> None:
    def count_read_bytes() -> float:
        return file.signature.size_bytes * read_share(connection)

    with progress.watch("checked", count_read_bytes) if progress else nullcontext():
        connection.execute(
            "SELECT bit_xor(hash(COLUMNS(*))) FROM read_parquet(?, hive_partitioning = false)",
            [path],
        ).fetchall()


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


def _wanted_types(connection: duckdb.DuckDBPyConnection, feed: Feed) -> dict[str, str]:
    """Return the feed's types as DuckDB spells them."""
    described = connection.execute(expected_columns_sql(feed)).fetchall()
    return {name: kind for name, kind, *_ in described if name in feed.columns}


def _compare(
    feed: Feed, parquet: ParquetFormat, given: dict[str, str], wanted: dict[str, str]
) -> list[Problem]:
    reasons = compare_names(list(feed.columns), list(given), any_order=parquet.any_column_order)
    problems = [Problem(0, "", reason, is_of_file=True) for reason in reasons]
    return problems + [
        Problem(0, name, f"{given[name]} in the file, {kind} in the feed", is_of_file=True)
        for name, kind in wanted.items()
        if given.get(name, kind) != kind
    ]
