"""DuckDB query: one statement of a person's own, which can neither change nor leave a DuckDB file.

The connection is sandboxed and read-only; this gives the refusals in words.
"""

from collections.abc import Callable, Iterator, Sequence

import duckdb

from partitioned_etl.engine.errors import QueryError
from partitioned_etl.engine.warehouse.warehouse import Answer

_ROWS_PER_FETCH = 10_000
_QUERIES = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


def answer_query(
    duck: duckdb.DuckDBPyConnection, sql: str, why_not: Callable[[str], str] = lambda _sql: ""
) -> Answer:
    """Run a query.

    Args:
        duck: A connection that is open for reading.
        sql: One statement.
        why_not: Returns why one that reads may not run; empty if it may.

    Raises:
        QueryError: DuckDB refused it, or it is not one statement that reads.
    """
    try:
        if refusal := _why_no_query(duck.extract_statements(sql)) or why_not(sql):
            raise QueryError(refusal)
        duck.execute(sql)
    except duckdb.Error as error:
        raise QueryError(_explain(error)) from error
    return Answer([column[0] for column in duck.description], _fetch_rows(duck))


def _fetch_rows(duck: duckdb.DuckDBPyConnection) -> Iterator[tuple[object, ...]]:
    try:
        while rows := duck.fetchmany(_ROWS_PER_FETCH):
            yield from rows
    except duckdb.Error as error:
        raise QueryError(_explain(error)) from error


def _why_no_query(statements: Sequence[duckdb.Statement]) -> str:
    if len(statements) != 1:
        return f"one statement at a time: these are {len(statements)}"
    if statements[0].type not in _QUERIES:
        return f"query only reads, and {statements[0].type.name} is no statement that reads"
    return ""


def _explain(error: duckdb.Error) -> str:
    """Return DuckDB's reason as one sentence, without its marker of the position."""
    reason = str(error).partition("\n\nLINE ")[0]
    if "read-only mode" in reason:
        return "query only reads, and this statement would change the database"
    if "disabled by configuration" in reason:
        return "query reads the database only, and this statement asks for a file or the network"
    return " ".join(reason.split())
