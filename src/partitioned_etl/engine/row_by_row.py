"""Row by row: validate and load a file whose rows DuckDB cannot load all at once.

Takes a landed file; returns its bad rows, each with line and reason, or loads the good ones and
puts the bad ones into table `rejected_rows`. The format gives the rows in batches; DuckDB validates
their values as in a load of whole files. This is about ten times slower than that, so only files
that failed that way, and formats that DuckDB does not read exactly, are handled here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import duckdb

from partitioned_etl.engine.formats.format import (
    LINE,
    MAX_PROBLEMS,
    TEXT,
    Problem,
    Record,
    RowBatch,
    Watch,
)
from partitioned_etl.engine.formats.rows import (
    IS_BAD_SQL,
    KEPT,
    VALID,
    add_key_and_name,
    add_missing_columns,
    list_columns,
    validate_rows,
)
from partitioned_etl.engine.formats.types import describe_type
from partitioned_etl.engine.landing.landing import LandedFile, changed_while_read
from partitioned_etl.engine.sql import Query
from partitioned_etl.engine.warehouse.rejected_rows import RejectedRow
from partitioned_etl.engine.warehouse.warehouse import FeedTable


@dataclass
class Validation:
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
class _BadRow:
    record: Record
    problems: Sequence[Problem]

    def to_rejected(self) -> RejectedRow:
        first, *others = self.problems
        reason = "; ".join([first.full_reason, *(problem.what for problem in others)])
        return RejectedRow(self.record.line, first.column, reason, self.record.line_text)


@dataclass(frozen=True)
class _ValidatedBatch:
    """Rows, the bad ones among them, and a relation of all well-formed ones, if there are any."""

    row_count: int
    bad_rows: list[_BadRow]
    validated: Query | None = None


def validate_file(
    table: FeedTable,
    file: LandedFile,
    header: Sequence[str],
    watch: Watch,
    *,
    enough_bad_rows: int | None = None,
) -> Validation:
    """Read a file row by row and count its bad rows; nothing is loaded.

    Args:
        table: The feed's table, outside a transaction.
        file: The landed file.
        header: The feed's columns in the file's order.
        watch: Reports progress.
        enough_bad_rows: After how many bad rows to stop; None reads to the end.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
        duckdb.Error: A row rule cannot be evaluated.
    """
    validation = Validation()
    for batch in _validate_batches(table, file, header, watch):
        validation.row_count += batch.row_count
        validation.bad_row_count += len(batch.bad_rows)
        found = list(chain.from_iterable(row.problems for row in batch.bad_rows))
        validation.problems += found[: MAX_PROBLEMS - len(validation.problems)]
        if of_file := [problem for problem in found if problem.is_of_file]:
            validation.problems = of_file[:MAX_PROBLEMS]
            break
        if enough_bad_rows is not None and validation.bad_row_count >= enough_bad_rows:
            break
    return validation


def insert_good_rows(
    table: FeedTable,
    file: LandedFile,
    header: Sequence[str],
    watch: Watch,
    *,
    most_bad_rows: int,
) -> int:
    """Load a file's good rows, and put its bad ones into table `rejected_rows`.

    Args:
        table: The feed's table, inside a transaction.
        file: The landed file.
        header: The feed's columns in the file's order.
        watch: Reports progress.
        most_bad_rows: How many bad rows are known; reading stops when there are more.

    Returns:
        The number of bad rows.

    Raises:
        LandedFileError: The file is gone, or changed since it was listed.
    """
    columns = list_columns(table.feed)
    rejected = 0
    for batch in _validate_batches(table, file, header, watch):
        if batch.validated:
            rows = f"SELECT {columns} FROM {batch.validated.sql} WHERE NOT {IS_BAD_SQL}"
            table.insert(Query(f"{rows} ORDER BY {LINE}", batch.validated.bound))
        table.insert_rejected(file, [row.to_rejected() for row in batch.bad_rows])
        rejected += len(batch.bad_rows)
        if rejected > most_bad_rows:
            break
    return rejected


def _validate_batches(
    table: FeedTable, file: LandedFile, header: Sequence[str], watch: Watch
) -> Iterator[_ValidatedBatch]:
    contract = table.feed.contract_of(file.partition_key)
    try:
        for batch in contract.format.read_rows(contract, file, header, table.duck, watch):
            yield _validate_batch(table, file, header, batch)
    except duckdb.Error:
        if file.has_changed:
            raise changed_while_read(file) from None
        raise


def _validate_batch(
    table: FeedTable, file: LandedFile, header: Sequence[str], batch: RowBatch
) -> _ValidatedBatch:
    bad = [_BadRow(record, [record.problem]) for record in batch.malformed if record.problem]
    if batch.rows is None:
        return _ValidatedBatch(batch.row_count, bad)
    has_records = bool(batch.well_formed)
    others = [LINE] if has_records else [LINE, TEXT]
    rows = add_missing_columns(batch.rows, table.feed, header)
    limits = {name: limit.condition for name, limit in table.limits.items()}
    validated = validate_rows(table.feed, add_key_and_name(rows, file), others, limits)
    found = table.duck.execute(
        f"SELECT {LINE}, {'NULL' if has_records else TEXT}, {VALID}, {KEPT} "
        f"FROM {validated.sql} WHERE {IS_BAD_SQL}",
        validated.bound,
    ).fetchall()
    bad += [
        _BadRow(
            _record_of(batch.well_formed, line, text),
            _list_problems(table, line, batch, valid, kept),
        )
        for line, text, valid, kept in found
    ]
    bad.sort(key=lambda row: row.record.line)
    return _ValidatedBatch(batch.row_count, bad, validated)


def _record_of(well_formed: Mapping[int, Record], line: int, text: str | None) -> Record:
    return well_formed[line] if text is None else Record(line, text, None)


def _list_problems(
    table: FeedTable, line: int, batch: RowBatch, valid: list[bool], rules_kept: list[bool]
) -> list[Problem]:
    feed, place, cells = table.feed, batch.place, batch.cells
    invalid = [
        Problem(line, name, _what_it_is_not(table, name), place=place, cell=cells.get(name, ""))
        for name, is_valid in zip(feed.columns, valid, strict=True)
        if not is_valid
    ]
    broken = [
        Problem(
            line, rule.column, rule.reason, rule.name, place=place, cell=cells.get(rule.column, "")
        )
        for rule, is_kept in zip(feed.row_rules, rules_kept, strict=True)
        if not is_kept
    ]
    return invalid or broken


def _what_it_is_not(table: FeedTable, column: str) -> str:
    limit = table.limits.get(column)
    within = f" {limit.described}" if limit else ""
    return f"not {describe_type(table.feed, column)}{within}"
