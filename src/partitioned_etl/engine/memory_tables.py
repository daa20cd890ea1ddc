"""Memory tables: many rows of a few columns in memory, each in a tenth of what an object takes.

Takes columns as lists; keeps them as compressed tables of a DuckDB database of their own, which
reads and writes no file, and lives as long as what refers to it. What is asked of the rows is SQL
of the caller.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

ROWS_AT_ONCE = 2_048
"""How many rows are held twice at a time, as objects and as rows: DuckDB's vector."""
_ROWS_UNTIL_COMPRESSED = 122_880
"""As many as DuckDB compresses together."""
_NUMPY_TYPES = {"VARCHAR": "object", "BIGINT": "int64"}


class MemoryTables:
    """Tables in memory."""

    def __init__(self) -> None:
        self._duck = duckdb.connect(":memory:", config={"threads": 1})
        self._duck.execute("ATTACH ':memory:' AS compressed (COMPRESS)")
        self._duck.execute("USE compressed")
        self._duck.execute("SET temp_directory = ''")
        self._columns: dict[str, Mapping[str, str]] = {}
        self._uncompressed = 0

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Create a table.

        Args:
            table: Its name.
            columns: Its columns, each with one of the types VARCHAR and BIGINT.
        """
        listed = ", ".join(f"{name} {type_name}" for name, type_name in columns.items())
        self._duck.execute(f"CREATE TABLE {table} ({listed})")
        self._columns[table] = columns

    def append(self, table: str, columns: Sequence[Sequence[Any]]) -> int:
        """Append rows to a table; return how many.

        Args:
            table: The table.
            columns: Its columns' values, none of them None; none for no row.
        """
        if not columns:
            return 0
        import numpy as np

        kinds = self._columns[table].values()
        # DuckDB finds the values by the name of the variable.
        chunk = {  # noqa: F841
            str(number): np.array(values, dtype=_NUMPY_TYPES[kind])
            for number, (values, kind) in enumerate(zip(columns, kinds, strict=True))
        }
        self._duck.execute(f"INSERT INTO {table} SELECT * FROM chunk")
        self._uncompressed += len(columns[0])
        if self._uncompressed >= _ROWS_UNTIL_COMPRESSED:
            self._duck.execute("CHECKPOINT compressed")
            self._uncompressed = 0
        return len(columns[0])

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return next(self.read(f"SELECT count(*) FROM {table}"))[0]

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> None:
        """Run a statement."""
        self._duck.execute(statement, values or {})

    def read(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, of which only some are objects at a time."""
        found = self._duck.cursor()
        found.execute("USE compressed")
        found.execute(query, values)
        while rows := found.fetchmany(ROWS_AT_ONCE):
            yield from rows
