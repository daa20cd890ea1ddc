"""PostgreSQL: a warehouse with many writers, opened for one unit of work and always closed.

DuckDB, in memory and sandboxed, reads and validates the landed files; psycopg copies their rows.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import duckdb

from partitioned_etl.engine.errors import NoWarehouseError, QueryError, WarehouseError
from partitioned_etl.engine.load_folder import load_folder
from partitioned_etl.engine.sandbox import enter_sandbox, shut_off
from partitioned_etl.engine.sql import LEDGER_TABLE, quote_text
from partitioned_etl.engine.warehouse.postgres_columns import find_columns
from partitioned_etl.engine.warehouse.postgres_session import (
    Session,
    hide_credentials,
    read_address,
)
from partitioned_etl.engine.warehouse.postgres_table import PostgresTable
from partitioned_etl.engine.warehouse.warehouse import Answer, Execute

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

_BEGINS_TO_READ = re.compile(
    r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)*(SELECT|WITH|VALUES|TABLE|EXPLAIN|SHOW)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\W*(\w*)")


@dataclass(frozen=True)
class OpenPostgres:
    """A PostgreSQL database that is open for one unit of work.

    Attributes:
        duck: A connection to DuckDB, in memory, which reads landed files.
        session: A connection to the database.
        scratch_dir: A folder for what loads write aside, in which `duck` can read and write.
    """

    duck: duckdb.DuckDBPyConnection
    session: Session
    scratch_dir: Path = Path()

    def table(self, feed: "Feed") -> PostgresTable:
        """Return a feed's table, which need not exist yet."""
        return PostgresTable(feed, self.duck, self.session, self.scratch_dir)

    @contextmanager
    def transaction(self, table: str, /) -> Iterator[Execute]:
        """Run statements of one's own in one transaction; those on the same table take turns."""
        with self.session.transaction():
            self.session.lock([f"table {table}"])

            def execute(sql: str, bound: Sequence[object] = ()) -> list[tuple[Any, ...]]:
                return self.session.fetch_raw(sql, bound)

            yield execute

    def query(self, sql: str) -> Answer:
        """Run one statement of a person's own, on a database that is open for reading.

        Raises:
            QueryError: It is refused, as it asks for more than to read, or is no statement.
        """
        if not _BEGINS_TO_READ.match(sql):
            word = _WORD.match(sql)
            told = word[1].upper() if word and word[1] else "this"
            raise QueryError(f"query only reads, and {told} is no statement that reads")
        return Answer(*self.session.query(sql))

    def interrupt(self) -> None:
        """End the statement that another thread waits for."""
        self.session.interrupt()


@dataclass(frozen=True)
class PostgresDatabase:
    """A PostgreSQL database, in which many processes write at once.

    Attributes:
        url: Its address as libpq takes it, which may hold a password; never shown.
        lock_wait_seconds: How long a transaction waits for others that change the same.
        memory_limit: How much memory DuckDB may use, such as `1GB`; empty for DuckDB's default.

    What a load writes aside is in a folder of its own under the system's temporary folder.
    """

    url: str = field(repr=False)
    lock_wait_seconds: float
    memory_limit: str = ""

    def __post_init__(self) -> None:
        read_address(self.url)

    @property
    def address(self) -> str:
        """The database's address, without credentials."""
        return hide_credentials(self.url)

    @property
    def name(self) -> str:
        """The database's address, without credentials."""
        return self.address

    def exists(self) -> bool:
        """Return whether the database has a ledger, which the first load makes."""
        with self._connect(None, read_only=True) as session:
            return bool(find_columns(session, LEDGER_TABLE))

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder for what one load writes aside, in which DuckDB reads once it is open."""
        return load_folder(scratch_root())

    @contextmanager
    def open(
        self, readable_dir: Path, *, lock_wait_seconds: float | None = None
    ) -> Iterator[OpenPostgres]:
        """Open it for one unit of work, and close it whatever happens.

        DuckDB is sandboxed: it reads files in one folder and nothing else.

        Raises:
            WarehouseError: The database cannot be reached.
        """
        with (
            self._connect(lock_wait_seconds) as session,
            load_folder(scratch_root()) as scratch_dir,
            duckdb.connect(":memory:") as duck,
        ):
            duck.execute(f"SET temp_directory = {quote_text(str(scratch_dir / 'spilled'))}")
            enter_sandbox(duck, [readable_dir.resolve(), scratch_root()], self.memory_limit)
            yield OpenPostgres(duck, session, scratch_dir)

    @contextmanager
    def open_read_only(self, *, lock_wait_seconds: float | None = None) -> Iterator[OpenPostgres]:
        """Open it for statements that only read; the server refuses all others.

        Raises:
            NoWarehouseError: The database has no ledger.
            WarehouseError: The database cannot be reached.
        """
        with (
            self._connect(lock_wait_seconds, read_only=True) as session,
            duckdb.connect(":memory:") as duck,
        ):
            if not find_columns(session, LEDGER_TABLE):
                raise NoWarehouseError(
                    f"there is no ledger yet in {self.address}; the first load makes it"
                )
            shut_off(duck)
            yield OpenPostgres(duck, session)

    @contextmanager
    def _connect(
        self, lock_wait_seconds: float | None, *, read_only: bool = False
    ) -> Iterator[Session]:
        wait = self.lock_wait_seconds if lock_wait_seconds is None else lock_wait_seconds
        with Session.open(self.url, wait, read_only=read_only) as session:
            yield session


def scratch_root() -> Path:
    """Return the folder that the scratch folders of this user's loads are in; it is made."""
    root = Path(gettempdir()).resolve() / f"partitioned_etl-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise WarehouseError(f"{root} is not of this user: set TMPDIR to a folder that is")
    return root
