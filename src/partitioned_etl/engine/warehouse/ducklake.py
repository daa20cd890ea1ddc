"""DuckLake: a warehouse of Parquet files in a bucket or folder, with its catalog in PostgreSQL.

One DuckDB, in memory and sandboxed, reads and validates the landed files; another has the lake.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from partitioned_etl.engine.errors import NoWarehouseError, WarehouseError
from partitioned_etl.engine.load_folder import load_folder
from partitioned_etl.engine.sandbox import enter_sandbox, shut_off
from partitioned_etl.engine.sql import LEDGER_TABLE, quote_text
from partitioned_etl.engine.warehouse.duckdb_query import answer_query
from partitioned_etl.engine.warehouse.ducklake_query import why_no_lake_query
from partitioned_etl.engine.warehouse.ducklake_session import (
    LakeAddress,
    LakeSession,
    is_initialized,
)
from partitioned_etl.engine.warehouse.ducklake_table import DuckLakeTable
from partitioned_etl.engine.warehouse.postgres import scratch_root
from partitioned_etl.engine.warehouse.postgres_session import Session, read_address
from partitioned_etl.engine.warehouse.warehouse import Answer, Execute

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

PREFIX = "ducklake:postgres:"


@dataclass(frozen=True)
class OpenDuckLake:
    """A lake that is open for one unit of work.

    Attributes:
        duck: A connection to DuckDB, in memory, which reads landed files.
        session: A connection to the lake.
        scratch_dir: A folder for what loads write aside, in which both can read and write.
    """

    duck: duckdb.DuckDBPyConnection
    session: LakeSession
    scratch_dir: Path = Path()

    def table(self, feed: "Feed") -> DuckLakeTable:
        """Return a feed's table, which need not exist yet."""
        return DuckLakeTable(feed, self.duck, scratch_dir=self.scratch_dir, session=self.session)

    @contextmanager
    def transaction(self, _table: str, /) -> Iterator[Execute]:
        """Run statements of one's own in one transaction, which takes its turn."""
        with self.session.transaction():

            def execute(sql: str, bound: Sequence[object] = ()) -> list[tuple[Any, ...]]:
                return self.session.execute(sql, bound).fetchall()

            yield execute

    def query(self, sql: str) -> Answer:
        """Run one statement of a person's own, on a lake that is open for reading.

        Raises:
            QueryError: It is refused, as it asks for more than to read, or is no statement.
        """
        raw = self.session.raw
        return answer_query(raw, sql, lambda text: why_no_lake_query(raw, text))

    def interrupt(self) -> None:
        """End the statement that another thread waits for."""
        self.duck.interrupt()
        self.session.raw.interrupt()


@dataclass(frozen=True)
class DuckLake:
    """A lake, in which many processes write in turn.

    Attributes:
        url: Its address, `ducklake:postgres:CATALOG#DATA`; it may hold a password; never shown.
        lock_wait_seconds: How long a transaction waits for its turn.
        memory_limit: How much memory each DuckDB may use, such as `1GB`; empty for its default.
    """

    url: str = field(repr=False)
    lock_wait_seconds: float
    memory_limit: str = ""

    def __post_init__(self) -> None:
        read_address(self._address.catalog)

    @property
    def _address(self) -> LakeAddress:
        catalog, _, data = self.url.removeprefix(PREFIX).rpartition("#")
        is_bucket = data.startswith("s3://")
        if not (catalog and (is_bucket or Path(data).is_absolute())):
            raise WarehouseError(
                "the warehouse's address must be ducklake:postgres:CATALOG#DATA, such as "
                "ducklake:postgres:postgresql://etl@db/lake#s3://bucket/lake, or an absolute folder"
            )
        place = data if is_bucket else str(Path(data).resolve())
        return LakeAddress(catalog, f"{place.rstrip('/')}/")

    @property
    def address(self) -> str:
        """The lake's address, without credentials."""
        return self._address.name

    @property
    def name(self) -> str:
        """The lake's address, without credentials."""
        return self._address.name

    def exists(self) -> bool:
        """Return whether the lake has a ledger, which the first load makes."""
        with self._connect(None) as locks:
            return _has_ledger(locks)

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder for what one load writes aside, in which DuckDB reads once it is open."""
        return load_folder(scratch_root())

    @contextmanager
    def open(
        self, readable_dir: Path, *, lock_wait_seconds: float | None = None
    ) -> Iterator[OpenDuckLake]:
        """Open it for one unit of work, and close it whatever happens.

        Landed files are read on a connection of their own, which is sandboxed.

        Raises:
            WarehouseError: The lake cannot be reached.
        """
        self._check_apart(readable_dir.resolve())
        with (
            self._connect(lock_wait_seconds) as locks,
            load_folder(scratch_root()) as scratch_dir,
            LakeSession.open(self._address, locks, [scratch_dir], self.memory_limit) as session,
            duckdb.connect(":memory:") as duck,
        ):
            duck.execute(f"SET temp_directory = {quote_text(str(scratch_dir / 'spilled'))}")
            enter_sandbox(duck, [readable_dir.resolve(), scratch_root()], self.memory_limit)
            yield OpenDuckLake(duck, session, scratch_dir)

    @contextmanager
    def open_read_only(self, *, lock_wait_seconds: float | None = None) -> Iterator[OpenDuckLake]:
        """Open it for statements that only read.

        Raises:
            NoWarehouseError: The lake has no ledger.
            WarehouseError: The lake cannot be reached.
        """
        with self._connect(lock_wait_seconds) as locks:
            if not _has_ledger(locks):
                raise NoWarehouseError(
                    f"there is no ledger yet in {self.address}; the first load makes it"
                )
            with (
                LakeSession.open(
                    self._address, locks, [], self.memory_limit, read_only=True
                ) as session,
                duckdb.connect(":memory:") as duck,
            ):
                shut_off(duck)
                yield OpenDuckLake(duck, session)

    def _check_apart(self, readable_dir: Path) -> None:
        """Refuse to remove what no state of the lake has where files land."""
        address = self._address
        if not address.is_bucket:
            data = Path(address.data)
            if data.is_relative_to(readable_dir) or readable_dir.is_relative_to(data):
                raise WarehouseError(
                    f"{address.name}: its data need a folder of their own, apart from "
                    f"{readable_dir}: the lake removes files there that it does not know"
                )

    @contextmanager
    def _connect(self, lock_wait_seconds: float | None) -> Iterator[Session]:
        wait = self.lock_wait_seconds if lock_wait_seconds is None else lock_wait_seconds
        with Session.open(self._address.catalog, wait) as session:
            yield session


def _has_ledger(locks: Session) -> bool:
    if not is_initialized(locks):
        return False
    return bool(
        locks.fetch(
            "SELECT 1 FROM ducklake_table WHERE table_name = %s AND end_snapshot IS NULL",
            [LEDGER_TABLE],
        )
    )
