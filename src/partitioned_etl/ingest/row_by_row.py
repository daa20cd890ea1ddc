"""Row by row: validate and load a file whose rows DuckDB cannot load all at once.

Takes a landed file; returns its bad rows, each with line and reason, or loads the good ones and
quarantines the bad ones in table `rejected_rows`. `records.py` or `json_lines.py` cuts records,
which are passed in batches to DuckDB; it validates their values as in a load of whole files. DuckDB
itself reads the rows of a Parquet file, by number. This is about ten times slower than loading
whole files, so only files that failed that way, and JSON lines, are handled here.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import BinaryIO

import duckdb

from partitioned_etl.ingest.columns import internal_identifier, quote_identifier
from partitioned_etl.ingest.contract import MAX_PROBLEMS
from partitioned_etl.ingest.errors import ContractError
from partitioned_etl.ingest.feed import (
    PARTITION_KEY_COLUMN,
    SOURCE_FILE_COLUMN,
    Feed,
)
from partitioned_etl.ingest.formats import CsvFormat
from partitioned_etl.ingest.json_lines import JsonRecord, read_json_lines
from partitioned_etl.ingest.landing import LandedFile
from partitioned_etl.ingest.opening import (
    changed_while_read,
    list_changed_while_read,
    open_landed_file,
    open_text,
)
from partitioned_etl.ingest.progress import Progress
from partitioned_etl.ingest.records import CsvRecord, Problem, Record, read_records
from partitioned_etl.ingest.rejected_rows import BadRow, insert_rejected_rows
from partitioned_etl.ingest.statements import (
    IS_BAD_SQL,
    KEPT,
    VALID,
    judged_sql,
    numbered_rows_sql,
)

BATCH_ROWS = 10_000
BATCH_CHARS = 4_000_000
"""A batch ends with the record that reaches either limit, so that memory grows with neither."""
_LINE = internal_identifier("line in the file")
_TEXT = internal_identifier("text of the row")
_Row = CsvRecord | JsonRecord


@dataclass
class Judgement:
    """What reading a file row by row finds.

    Attributes:
        row_count: Rows that were read, including bad ones.
        bad_row_count: Bad rows among them.
        problems: What is wrong with the first bad rows, at most `MAX_PROBLEMS`; or only what
            invalidates the whole file, if anything does.
    """

    row_count: int = 0
    bad_row_count: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Batch:
    """Rows, the bad ones among them, and a relation of all well-formed ones, if there are any."""

    row_count: int
    bad_rows: list[BadRow]
    judged: str = ""
    bound: Sequence[object] = ()


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    file: LandedFile,
    header: Sequence[str],
    progress: Progress,
    *,
    enough_bad_rows: int | None = None,
) -> Judgement:
    """Read a file row by row and count its bad rows; nothing is loaded.

    Args:
        connection: A connection, outside a transaction.
        feed: The feed.
        file: The landed file.
        header: The feed's columns in the file's order.
        progress: Where to report progress.
        enough_bad_rows: After how many bad rows to stop; None reads to the end.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
        duckdb.Error: A row rule cannot be evaluated.
    """
    judgement = Judgement()
    for batch in _read_batches(connection, feed, file, header, "judged", progress):
        judgement.row_count += batch.row_count
        judgement.bad_row_count += len(batch.bad_rows)
        found = list(chain.from_iterable(row.problems for row in batch.bad_rows))
        judgement.problems += found[: MAX_PROBLEMS - len(judgement.problems)]
        if of_file := [problem for problem in found if problem.is_of_file]:
            judgement.problems = of_file[:MAX_PROBLEMS]
            break
        if enough_bad_rows is not None and judgement.bad_row_count >= enough_bad_rows:
            break
    return judgement


def insert_good_rows(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    file: LandedFile,
    header: Sequence[str],
    progress: Progress,
    *,
    most_bad_rows: int,
) -> int:
    """Load a file's good rows, and quarantine its bad ones in table `rejected_rows`.

    Args:
        connection: A connection, inside a transaction.
        feed: The feed.
        file: The landed file.
        header: The feed's columns in the file's order.
        progress: Where to report progress.
        most_bad_rows: How many bad rows are known; reading stops when there are more.

    Returns:
        The number of bad rows.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
    """
    names = ", ".join(quote_identifier(name) for name in feed.columns)
    rejected = 0
    for batch in _read_batches(connection, feed, file, header, "loaded", progress):
        if batch.judged:
            connection.execute(
                f"INSERT INTO {quote_identifier(feed.table)} "
                f"({names}, {PARTITION_KEY_COLUMN}, {SOURCE_FILE_COLUMN}) "
                f"SELECT {names}, {PARTITION_KEY_COLUMN}, {SOURCE_FILE_COLUMN} FROM {batch.judged} "
                f"WHERE NOT {IS_BAD_SQL} ORDER BY {_LINE}",
                batch.bound,
            )
        insert_rejected_rows(connection, feed, file, batch.bad_rows)
        rejected += len(batch.bad_rows)
        if rejected > most_bad_rows:
            break
    return rejected


def _read_batches(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    file: LandedFile,
    header: Sequence[str],
    what: str,
    progress: Progress,
) -> Iterator[_Batch]:
    if not feed.format.is_text:
        yield from _read_batches_of_values(connection, feed, file)
        return
    with open_landed_file(file) as handle, progress.watch(what, handle.tell):
        for batch in _in_batches(_read_rows(feed, file, handle)):
            yield _judge_batch(connection, feed, file, header, batch)


def _in_batches(records: Iterable[_Row]) -> Iterator[list[_Row]]:
    batch: list[_Row] = []
    chars = 0
    for record in records:
        batch.append(record)
        chars += len(record.text)
        if len(batch) >= BATCH_ROWS or chars >= BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _judge_batch(
    connection: duckdb.DuckDBPyConnection,
    feed: Feed,
    file: LandedFile,
    header: Sequence[str],
    batch: Sequence[_Row],
) -> _Batch:
    bad = [BadRow(record, [record.problem]) for record in batch if record.problem]
    by_line = {record.line: record for record in batch if not record.problem}
    if not by_line:
        return _Batch(len(batch), bad)
    rows, texts = _bind_texts(list(by_line.values()), header)
    keyed = f"(SELECT *, ? AS {PARTITION_KEY_COLUMN}, ? AS {SOURCE_FILE_COLUMN} FROM {rows})"
    judged, bound = judged_sql(feed, keyed, [_LINE]), [file.partition_key, file.name, *texts]
    found = connection.execute(
        f"SELECT {_LINE}, {VALID}, {KEPT} FROM {judged} WHERE {IS_BAD_SQL}", bound
    ).fetchall()
    bad += [
        BadRow(by_line[line], _problems_of_row(feed, line, valid, kept))
        for line, valid, kept in found
    ]
    bad.sort(key=lambda row: row.record.line)
    return _Batch(len(batch), bad, judged, bound)


def _bind_texts(records: Sequence[_Row], header: Sequence[str]) -> tuple[str, list[str]]:
    """Return a relation of the records' lines and texts, and the values to bind.

    The texts are bound as one JSON array per column. DuckDB would keep registered data frames, and
    so all of a file's batches, until the transaction ends.
    """
    names = [_LINE, *(quote_identifier(name) for name in header)]
    kinds = ["BIGINT", *("VARCHAR" for _ in header)]
    columns = ", ".join(
        f"unnest(from_json(?, '[\"{kind}\"]')) AS {name}"
        for name, kind in zip(names, kinds, strict=True)
    )
    fields = zip(*(record.fields() for record in records), strict=True)
    lists = [[record.line for record in records], *fields]
    return f"(SELECT {columns})", [json.dumps(values, ensure_ascii=False) for values in lists]


def _read_rows(feed: Feed, file: LandedFile, handle: BinaryIO) -> Iterator[_Row]:
    try:
        text = open_text(file, handle, max_bytes=feed.max_uncompressed_bytes)
        if isinstance(feed.format, CsvFormat):
            records = read_records(feed.format, text, width=len(feed.columns))
            yield from islice(records, int(feed.format.header), None)
        else:
            yield from read_json_lines(feed, text)
    except (ContractError, UnicodeError):  # its bytes were valid when it was surveyed
        raise changed_while_read(file) from None


def _read_batches_of_values(
    connection: duckdb.DuckDBPyConnection, feed: Feed, file: LandedFile
) -> Iterator[_Batch]:
    rows, bound = numbered_rows_sql(feed, file, _LINE, _TEXT)
    judged = judged_sql(feed, rows, [_LINE, _TEXT])
    first = 1
    while True:
        of_batch = [*bound, first, first + BATCH_ROWS - 1]
        try:
            counted = connection.execute(f"SELECT count(*) FROM {rows}", of_batch).fetchall()
            found = connection.execute(
                f"SELECT {_LINE}, {_TEXT}, {VALID}, {KEPT} FROM {judged} "
                f"WHERE {IS_BAD_SQL} ORDER BY {_LINE}",
                of_batch,
            ).fetchall()
        except duckdb.Error:
            if list_changed_while_read([file]):
                raise changed_while_read(file) from None
            raise
        if not counted[0][0]:
            return
        bad = [
            BadRow(Record(row, text, None), _problems_of_row(feed, row, valid, kept, "row"))
            for row, text, valid, kept in found
        ]
        yield _Batch(counted[0][0], bad, judged, of_batch)
        first += BATCH_ROWS


def _problems_of_row(
    feed: Feed, line: int, valid: list[bool], rules_kept: list[bool], place: str = "line"
) -> list[Problem]:
    invalid = [
        Problem(line, name, f"not {_article(kind)}", place=place)
        for (name, kind), is_valid in zip(feed.columns.items(), valid, strict=True)
        if not is_valid
    ]
    broken = [
        Problem(line, rule.column, rule.reason, rule.name, place=place)
        for rule, is_kept in zip(feed.row_rules, rules_kept, strict=True)
        if not is_kept
    ]
    return invalid or broken


def _article(type_name: str) -> str:
    type_name = type_name.upper()
    return f"{'an' if type_name[0] in 'AEIOU' else 'a'} {type_name}"
