"""DuckLake session: a DuckDB connection on which a DuckLake catalog is attached, and its turns.

Takes an address; gives statements, transactions that take turns, and this package's own errors, in
which neither a password nor a cell value stands. No statement of a landed file runs here: its
extension for PostgreSQL reaches any server, whatever the sandbox says.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
from psycopg.conninfo import make_conninfo

from partitioned_etl.engine.conflicts import run_until_done
from partitioned_etl.engine.errors import WarehouseConflictError, WarehouseError
from partitioned_etl.engine.sandbox import shut_off
from partitioned_etl.engine.sql import quote_text
from partitioned_etl.engine.warehouse.postgres_session import (
    Session,
    hide_credentials,
    read_address,
)

LAKE = "lake"
TURNS_TABLE = "load_turns"
NEEDS = (
    "a warehouse in DuckLake needs DuckDB 1.5.5 with its extensions: pip install duckdb==1.5.5 "
    "duckdb-extension-ducklake==1.5.5 duckdb-extension-postgres-scanner==1.5.5 "
    "duckdb-extension-httpfs==1.5.5"
)
_LOCK = "turn in the lake"
_GIVES_WAY = re.compile(r"conflict|could not serialize|duplicate key|deadlock", re.IGNORECASE)
_VALUE = re.compile(r"[\"'\n{(]")
"""Where the part of a message begins that may hold a value or a statement."""


@dataclass(frozen=True)
class LakeAddress:
    """Where catalog and data are.

    Attributes:
        catalog: The catalog's address, as libpq takes it; it may hold a password.
        data: The folder, resolved, or the bucket's prefix, that holds the data; it ends with `/`.
    """

    catalog: str = field(repr=False)
    data: str

    @property
    def is_bucket(self) -> bool:
        """Whether the data are in a bucket."""
        return self.data.startswith("s3://")

    @property
    def name(self) -> str:
        """Where they are, without credentials."""
        return f"ducklake:{hide_credentials(self.catalog)}#{self.data}"


def is_initialized(locks: Session) -> bool:
    """Return whether the database of a session has a catalog of DuckLake."""
    ((found,),) = locks.fetch("SELECT to_regclass('ducklake_metadata') IS NOT NULL")
    return bool(found)


class LakeSession:
    """A connection to a lake, on which one thread at a time works.

    It stands in for DuckDB's connection where the SQL of a DuckDB file is that of a lake, too.
    """

    def __init__(self, duck: duckdb.DuckDBPyConnection, locks: Session, name: str) -> None:
        self._duck, self._locks, self._name = duck, locks, name

    @classmethod
    @contextmanager
    def open(
        cls,
        address: LakeAddress,
        locks: Session,
        folders: Sequence[Path],
        memory_limit: str = "",
        *,
        read_only: bool = False,
    ) -> Iterator["LakeSession"]:
        """Attach a lake, and let it go whatever happens.

        Args:
            address: Where it is.
            locks: A session on the catalog's database, for locks.
            folders: The folders beside the data that its statements may access.
            memory_limit: How much memory DuckDB may use; empty for its default.
            read_only: Whether statements may change nothing.

        Raises:
            WarehouseError: It cannot be reached.
        """
        with duckdb.connect(":memory:") as duck:
            session = cls(duck, locks, address.name)
            session._set_up(address, folders, memory_limit)
            if is_initialized(locks):
                session._attach(address, read_only=read_only)
            else:
                with locks.transaction():
                    locks.lock([_LOCK])
                    if not is_initialized(locks):
                        session._require_empty(address)
                    session._attach(address, read_only=read_only)
            session._shut_off(address, folders)
            if not read_only:
                run_until_done(session._make_turns)
            yield session

    def _set_up(self, address: LakeAddress, folders: Sequence[Path], memory_limit: str) -> None:
        names = ["ducklake", "postgres_scanner", *(["httpfs"] if address.is_bucket else [])]
        for name in names:
            self.execute(f"LOAD {quote_text(str(_find_extension(name)))}")
        self.execute("SET GLOBAL TimeZone = 'UTC'")
        self.execute("SET enable_progress_bar = false")
        if address.is_bucket:
            self.execute(_bucket_secret())
        if folders:
            self.execute(f"SET temp_directory = {quote_text(str(folders[0] / 'spilled_lake'))}")
        if memory_limit:
            self.execute(f"SET memory_limit = {quote_text(memory_limit)}")

    def _require_empty(self, address: LakeAddress) -> None:
        """Refuse to make a lake where files are that it does not know: it would remove them."""
        if self.execute("SELECT 1 FROM glob(?) LIMIT 1", [f"{address.data}**"]).fetchall():
            raise WarehouseError(
                f"{self._name}: its data need an empty place: the lake removes files there that it "
                "does not know"
            )

    def _attach(self, address: LakeAddress, *, read_only: bool) -> None:
        if not address.is_bucket and not read_only:
            Path(address.data).mkdir(parents=True, exist_ok=True)
        told = {key: str(value) for key, value in read_address(address.catalog).items()}
        # A secret's password is not shown to those who may query.
        secret = {"USER": told.pop("user", ""), "PASSWORD": told.pop("password", "")}
        given = "".join(f", {key} {quote_text(value)}" for key, value in secret.items() if value)
        self.execute(f"CREATE SECRET catalog (TYPE postgres{given})")
        options = {
            "META_SECRET": quote_text("catalog"),
            "DATA_PATH": quote_text(address.data),
            # Rows that are kept in the catalog, and then written out, are not safe from each other.
            "DATA_INLINING_ROW_LIMIT": "0",
            **({"READ_ONLY": ""} if read_only else {}),
        }
        listed = ", ".join(f"{key} {value}" for key, value in options.items())
        catalog = quote_text(f"ducklake:postgres:{make_conninfo('', **told)}")
        self.execute(f"ATTACH {catalog} AS {LAKE} ({listed})")
        self.execute(f"USE {LAKE}")

    def _shut_off(self, address: LakeAddress, folders: Sequence[Path]) -> None:
        listed = ", ".join(quote_text(str(one)) for one in (*folders, address.data))
        self.execute(f"SET allowed_directories = [{listed}]")
        with self._telling():
            shut_off(self._duck)

    def _make_turns(self) -> None:
        if not self.has(TURNS_TABLE):
            with self._locked():
                if not self.has(TURNS_TABLE):
                    # Others that write to the lake keep no rows in the catalog, either.
                    self.execute(f"CALL {LAKE}.set_option('data_inlining_row_limit', 0)")
                    self.execute(f"CREATE TABLE {TURNS_TABLE} AS SELECT 0::BIGINT AS turn")

    def has(self, table: str) -> bool:
        """Return whether the lake has a table."""
        sql = (
            "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() "
            "AND table_name = ?"
        )
        return bool(self.execute(sql, [table]).fetchall())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run statements in one transaction: all of them or, after any exception, none.

        Transactions of a lake take turns. Each changes the one row of a table first, so that of two
        with the same row before them only one is committed. The lock makes this rare; it is lost
        with its connection, so that it alone would not do.

        Raises:
            WarehouseLockedError: Others had their turn for longer than the wait.
            WarehouseConflictError: It gave way to another one, and changed nothing.
        """
        with self._locked():
            self.execute("BEGIN")
            try:
                turns = self.execute(f"UPDATE {TURNS_TABLE} SET turn = turn + 1").fetchall()
                if turns != [(1,)]:
                    raise WarehouseError(f"{self._name}: table {TURNS_TABLE} has not one row")
                yield
                self.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):
                    self._duck.execute("ROLLBACK")
                raise

    def call(self, function: str, arguments: str) -> None:
        """Run a function of DuckLake that rewrites or removes files, in its turn.

        It cannot change the row of turns; DuckLake itself lets it give way to a load.
        """
        with self._locked():
            self.execute(f"CALL {function}({arguments})").fetchall()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._locks.transaction():
            self._locks.lock([_LOCK])
            yield

    def execute(self, sql: str, bound: Sequence[object] | None = None) -> "LakeSession":
        """Run a statement; its rows are fetched from what this returns."""
        with self._telling():
            self._duck.execute(sql, None if bound is None else list(bound))
        return self

    def executemany(self, sql: str, bound: Sequence[Sequence[object]]) -> "LakeSession":
        """Run a statement once for each row of values."""
        for values in bound:
            self.execute(sql, values)
        return self

    run = execute

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows of the last statement."""
        with self._telling():
            return self._duck.fetchall()

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row of the last statement."""
        with self._telling():
            return self._duck.fetchone()

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """Return the next rows of the last statement."""
        with self._telling():
            return self._duck.fetchmany(size)

    def df(self) -> Any:
        """Return the rows of the last statement as a DataFrame."""
        with self._telling():
            return self._duck.df()

    @property
    def raw(self) -> duckdb.DuckDBPyConnection:
        """DuckDB's connection, whose errors are DuckDB's."""
        return self._duck

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except duckdb.CatalogException:
            raise  # there is no such table, which is asked for by trying
        except duckdb.Error as error:
            told = f"{self._name}: {_VALUE.split(str(error), maxsplit=1)[0].strip(' :')}"
            if _GIVES_WAY.search(str(error)):
                raise WarehouseConflictError(f"{told}: it gave way to another one") from None
            raise WarehouseError(told) from None


def _find_extension(name: str) -> Path:
    spec = find_spec(f"duckdb_extension_{name}")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder, "extensions", f"v{duckdb.__version__}", f"{name}.duckdb_extension")
        if path.is_file():
            return path
    raise WarehouseError(NEEDS)


def _bucket_secret() -> str:
    """Return the statement that tells DuckDB how to reach a bucket, as the environment has it."""
    known = {
        "KEY_ID": "AWS_ACCESS_KEY_ID",
        "SECRET": "AWS_SECRET_ACCESS_KEY",
        "SESSION_TOKEN": "AWS_SESSION_TOKEN",
        "REGION": "AWS_REGION",
    }
    given = {key: os.environ[name] for key, name in known.items() if os.environ.get(name)}
    scheme, _, place = os.environ.get("AWS_ENDPOINT_URL", "").rpartition("://")
    if place:
        given |= {"ENDPOINT": place.rstrip("/"), "URL_STYLE": "path"}
    listed = "".join(f", {key} {quote_text(value)}" for key, value in given.items())
    if place:
        listed += f", USE_SSL {str(scheme != 'http').lower()}"
    return f"CREATE SECRET bucket (TYPE s3{listed})"
