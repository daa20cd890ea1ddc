"""DuckDB file: a warehouse with one writer, opened for one unit of work and always closed."""

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import duckdb

from partitioned_etl.engine.errors import (
    NoWarehouseError,
    WarehouseError,
    WarehouseLockedError,
)
from partitioned_etl.engine.load_folder import passing_load_folder
from partitioned_etl.engine.sandbox import enter_sandbox, shut_off
from partitioned_etl.engine.warehouse.duckdb_query import answer_query
from partitioned_etl.engine.warehouse.feed_table import DuckDBTable, transaction
from partitioned_etl.engine.warehouse.open_folders import OpenFolders
from partitioned_etl.engine.warehouse.read_copy import publish_read_copy
from partitioned_etl.engine.warehouse.warehouse import Answer, Execute

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed

logger = getLogger(__name__)

DEFAULT_LOCK_WAIT_SECONDS = 60.0

_LOCKS: defaultdict[Path, Lock] = defaultdict(Lock)
"""Per database, the lock of whoever writes in this process; DuckDB locks out other processes."""

_FOLDERS = OpenFolders()

# The first means another process; the second, a thread of this process that is closing the file.
_SIGNS_OF_USE = ("set lock on file", "already attached by database")
_NO_DATABASE = "not a valid DuckDB database file"
_MAKING_SECONDS = 5.0
"""How long after its creation a file may be no database yet, because another process makes it."""

IS_DUCKDB_1 = duckdb.__version__.startswith("1.")
"""DuckDB 1.5 is supported beside 2: extensions such as DuckLake's exist for it alone."""
# By default DuckDB 1 writes a storage version that accepts another database's write-ahead log.
_CONFIG = {"storage_compatibility_version": "v1.4.0"} if IS_DUCKDB_1 else {}
_WAL_ADVICE = (
    "\nIts write-ahead log is damaged or of another database. Move {}.wal away and load again: "
    "what the database then lacks is loaded from the landed files."
)


@dataclass(frozen=True)
class OpenDuckDB:
    """A DuckDB database that is open for one unit of work.

    Attributes:
        duck: The connection.
        lock: Held by the one thread of this process that is writing to the database.
        scratch_dir: A folder for what loads write aside, in which the connection can read.
    """

    duck: duckdb.DuckDBPyConnection
    lock: Lock
    scratch_dir: Path = Path()

    def table(self, feed: "Feed") -> DuckDBTable:
        """Return a feed's table, which need not exist yet."""
        return DuckDBTable(feed, self.duck, self.lock, self.scratch_dir)

    @contextmanager
    def transaction(self, _table: str, /) -> Iterator[Execute]:
        """Run statements of one's own in one transaction, such as those of a downstream asset."""
        with self.lock, transaction(self.duck):

            def execute(sql: str, bound: Sequence[object] = ()) -> list[tuple[Any, ...]]:
                return self.duck.execute(sql, list(bound)).fetchall()

            yield execute

    def query(self, sql: str) -> Answer:
        """Run one statement of a person's own, on a database that is open for reading.

        Raises:
            QueryError: It is refused, as it asks for more than to read, or is no statement.
        """
        return answer_query(self.duck, sql)

    def interrupt(self) -> None:
        """End the statement that another thread waits for."""
        self.duck.interrupt()


@dataclass(frozen=True)
class DuckDBFile:
    """A DuckDB file, in which one process at a time writes.

    Attributes:
        path: Path of the file; it and its folder are made if they do not exist.
        lock_wait_seconds: How long to wait for another process that has it open.
        memory_limit: How much memory DuckDB may use, such as `1GB`, before it spills to the folder
            `<path>.tmp`; empty for DuckDB's default. The first connection's value applies to the
            whole process while the database is open.

        read_copy_seconds: How often, at most, a copy is made for those who only read; 0 for never.

    What a load writes aside, because DuckDB cannot read it where it landed, is in the folder
    `<path>.scratch` meanwhile.
    """

    path: Path
    lock_wait_seconds: float = DEFAULT_LOCK_WAIT_SECONDS
    memory_limit: str = ""
    read_copy_seconds: float = 0.0

    @property
    def address(self) -> str:
        """The file's address."""
        return self.path.resolve().as_uri()

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.exists()

    @property
    def _scratch_dir(self) -> Path:
        path = self.path.resolve()
        return path.with_name(f"{path.name}.scratch")

    def scratch(self) -> AbstractContextManager[Path]:
        """Give a folder for what one load writes aside, in which DuckDB reads once it is open."""
        return passing_load_folder(self._scratch_dir)

    @contextmanager
    def open(
        self, readable_dir: Path, *, lock_wait_seconds: float | None = None
    ) -> Iterator[OpenDuckDB]:
        """Open it for one unit of work, and close it whatever happens.

        DuckDB lets one process write. While another has the file open, this waits, with random
        pauses so that waiting processes do not stay in step. The connection is sandboxed: it reads
        files in one folder and nothing else, has no network access, loads no extensions, and its
        configuration is locked.

        Where feeds have landings of their own, threads of one process read in different folders.
        Those with another folder than the first wait as another process does.

        Raises:
            WarehouseLockedError: Another process, or a thread with another folder, held the file
                for longer than the wait.
            WarehouseError: The file cannot be opened.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        path, wait_seconds = self.path.resolve(), self._wait(lock_wait_seconds)
        folders = [readable_dir.resolve(), self._scratch_dir]
        with _FOLDERS.use(path, frozenset(folders), wait_seconds):
            duck = self._connect(wait_seconds)
            try:
                enter_sandbox(duck, folders, self.memory_limit)
                yield OpenDuckDB(duck, _LOCKS[path], self._scratch_dir)
                if self.read_copy_seconds:
                    publish_read_copy(duck, path, _LOCKS[path], self.read_copy_seconds)
            finally:
                duck.close()

    @contextmanager
    def open_read_only(self, *, lock_wait_seconds: float | None = None) -> Iterator[OpenDuckDB]:
        """Open it for statements that only read, sandboxed.

        The connection changes nothing, reads no file but the database, has no network access and
        shows times in UTC.

        Raises:
            NoWarehouseError: The file does not exist.
            WarehouseLockedError: Another process held the file for longer than the wait.
            WarehouseError: The file cannot be opened.
        """
        if not self.exists():
            raise NoWarehouseError(
                f"there is no database yet: {self.path}; the first load makes it"
            )
        duck = self._connect(self._wait(lock_wait_seconds), read_only=True)
        try:
            duck.execute("SET TimeZone = 'UTC'")
            # It would be printed among the rows.
            duck.execute("SET enable_progress_bar = false")
            shut_off(duck)
            yield OpenDuckDB(duck, Lock())
        finally:
            duck.close()

    def _wait(self, lock_wait_seconds: float | None) -> float:
        return self.lock_wait_seconds if lock_wait_seconds is None else lock_wait_seconds

    def _connect(
        self, lock_wait_seconds: float, *, read_only: bool = False
    ) -> duckdb.DuckDBPyConnection:
        deadline, pause, waiting = time.monotonic() + lock_wait_seconds, 0.05, False
        while True:
            try:
                return duckdb.connect(str(self.path), read_only, dict(_CONFIG))
            except duckdb.Error as error:
                if not self._is_in_use(str(error)):
                    advice = _WAL_ADVICE.format(self.path) if "WAL" in str(error) else ""
                    raise WarehouseError(f"cannot open {self.path}: {error}{advice}") from error
                if time.monotonic() >= deadline:
                    raise WarehouseLockedError(
                        f"{self.path} was in use by another process for {lock_wait_seconds:g} s: "
                        f"{error}"
                    ) from error
            if not waiting:
                logger.info(
                    f"waiting up to {lock_wait_seconds:g} s for another process to close "
                    f"{self.path}"
                )
                waiting = True
            time.sleep(min(pause * random.uniform(0.5, 1.5), max(0, deadline - time.monotonic())))
            pause = min(pause * 2, 1.0)

    def _is_in_use(self, error: str) -> bool:
        """Return whether an error means that another process has the file, or is making it."""
        if any(sign in error for sign in _SIGNS_OF_USE):
            return True
        try:
            age_ns = time.time_ns() - self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        return _NO_DATABASE in error and abs(age_ns) < _MAKING_SECONDS * 1e9
