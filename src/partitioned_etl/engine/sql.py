"""SQL: how names and texts get into a statement, and a query with the values that it binds.

Partition keys, file names and paths are always bound. Identifiers and options of a feed's
declaration, which cannot be, go through one quoting function each.
"""

from typing import NamedTuple

PARTITION_KEY_COLUMN = "partition_key"
SOURCE_FILE_COLUMN = "source_file"
"""The columns that a load adds to a feed's own."""
LEDGER_TABLE = "file_loads"
REJECTED_ROWS_TABLE = "rejected_rows"
LOAD_HISTORY_TABLE = "load_history"
"""The tables of this package, beside those of the feeds."""
INTERNAL_PREFIX = "partitioned_etl: "
"""How the columns of intermediate results begin; no column of a feed may be named so."""


class Query(NamedTuple):
    """A query, or a relation in parentheses, and the values that it binds, in order."""

    sql: str
    bound: list[object]


def quote_identifier(name: str) -> str:
    """Quote a table or column name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def internal_identifier(name: str) -> str:
    """Return the quoted name of a column of an intermediate result, which no feed can have."""
    return quote_identifier(INTERNAL_PREFIX + name)


def quote_text(text: str) -> str:
    """Quote a text from a feed's declaration for SQL, where a bound value is not possible."""
    return "'" + text.replace("'", "''") + "'"
