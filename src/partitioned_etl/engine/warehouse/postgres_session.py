"""PostgreSQL session: one connection, its statements, locks and errors. All of psycopg is here.

Takes an address; gives statements that bind values, transactions, and this package's own errors, in
which neither a password nor a cell value stands. What the statements say belongs in the other
modules of this name.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import capabilities
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from partitioned_etl.engine.errors import (
    QueryError,
    WarehouseConflictError,
    WarehouseError,
    WarehouseLockedError,
)
from partitioned_etl.engine.sql import quote_identifier

OLDEST_SERVER = 13
_GIVES_WAY = {"40001", "40P01"}
_LOCK_NOT_AVAILABLE = "55P03"
_LOST = ("08", "57P")
"""Classes of states that end a connection: it failed, or an operator shut the server down."""
_ABOUT_VALUES = ("22", "23")
"""Classes of states whose messages hold cell values."""
_CONNECT_DEFAULTS = {
    "application_name": "partitioned-etl",
    "connect_timeout": "10",
    # A machine that vanished is noticed after two minutes.
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "6",
}
_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # As above, for a client that vanished: its locks are free then.
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
}
_ROWS_PER_FETCH = 1_000


def quote_name(name: str) -> str:
    """Quote a table or column name for a statement that binds values."""
    return quote_identifier(name).replace("%", "%%")


def read_address(address: str) -> dict[str, str]:
    """Read an address as libpq does, without connecting.

    Raises:
        WarehouseError: libpq cannot read it. The reason is not told, as it may hold the password.
    """
    place, *others = re.split("[/?]", address.partition("://")[2])
    # libpq would take a part of such a password for host, port or database, and so show it.
    is_cut = any("@" in other for other in others) or place.count("@") > 1
    with suppress(psycopg.Error):
        told = {name: str(value) for name, value in conninfo_to_dict(address).items()}
        if not is_cut and re.fullmatch(r"[\d,]*", told.get("port", ""), re.ASCII):
            return told
    raise WarehouseError(
        "the warehouse's address is none that libpq can read; in user, password and database, "
        "these characters are escaped: / is %2F, @ is %40, : is %3A, ? is %3F, % is %25"
    )


def hide_credentials(address: str) -> str:
    """Return an address without user and password: hosts, ports and database."""
    told = read_address(address)
    hosts = (told.get("host") or told.get("hostaddr") or "").split(",")
    ports = told.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    places = [
        f"{quote(host, safe='')}:{port}" if port else quote(host, safe="")
        for host, port in zip(hosts, ports, strict=False)
    ]
    return f"postgresql://{','.join(places)}/{quote(told.get('dbname', ''), safe='')}"


class Session:
    """A connection to a PostgreSQL database, on which one thread at a time works.

    Attributes:
        name: The database's address without credentials.
    """

    def __init__(
        self, connection: psycopg.Connection[tuple[Any, ...]], name: str, lock_wait_seconds: float
    ) -> None:
        self.connection, self.name = connection, name
        self._lock_wait_seconds = lock_wait_seconds

    @classmethod
    @contextmanager
    def open(
        cls, address: str, lock_wait_seconds: float, *, read_only: bool = False
    ) -> Iterator["Session"]:
        """Connect, and close the connection whatever happens.

        Args:
            address: Where to, as libpq takes it.
            lock_wait_seconds: How long a statement waits for others.
            read_only: Whether statements may change nothing.

        Raises:
            WarehouseError: The database cannot be reached, or holds no UTF-8.
        """
        told, name = read_address(address), hide_credentials(address)
        try:
            info = make_conninfo("", **{**_CONNECT_DEFAULTS, **told, "client_encoding": "UTF8"})
            # A table may change between two statements: none is kept prepared.
            connection = psycopg.connect(info, autocommit=True, prepare_threshold=None)
        except psycopg.Error as error:
            reason = " ".join(str(error).split())
            for secret in filter(None, (told.get("password"), told.get("sslpassword"))):
                reason = reason.replace(secret, "***")
            raise WarehouseError(f"cannot connect to {name}: {reason}") from None
        session = cls(connection, name, lock_wait_seconds)
        try:
            session._set_up(read_only=read_only)
            yield session
        finally:
            connection.close()

    def _set_up(self, *, read_only: bool) -> None:
        info = self.connection.info
        if info.server_version < OLDEST_SERVER * 10_000:
            raise WarehouseError(f"{self.name}: PostgreSQL {OLDEST_SERVER} or later is needed")
        if info.parameter_status("server_encoding") != "UTF8":
            raise WarehouseError(f"{self.name}: a database with the encoding UTF8 is needed")
        # The least that PostgreSQL takes is 1 ms; 0 means forever.
        lock_timeout = str(max(1, round(self._lock_wait_seconds * 1000)))
        settings = _SETTINGS | {"lock_timeout": lock_timeout}
        if read_only:
            settings["default_transaction_read_only"] = "on"
        self.fetch(
            "SELECT set_config(name, value, false) "
            "FROM unnest(%s::text[], %s::text[]) AS settings(name, value)",
            [list(settings), list(settings.values())],
        )

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Turn psycopg's errors into this package's own."""
        try:
            yield
        except psycopg.Error as error:
            raise self._explain(error) from None

    def _explain(self, error: psycopg.Error) -> WarehouseError:
        state = error.sqlstate or ""
        if state in _GIVES_WAY:
            return WarehouseConflictError(
                f"{self.name}: a transaction gave way to another ({describe_state(error)})"
            )
        if state == _LOCK_NOT_AVAILABLE:
            return WarehouseLockedError(
                f"{self.name}: another transaction held what this one needs for "
                f"{self._lock_wait_seconds:g} s"
            )
        if self.connection.closed or state.startswith(_LOST):
            return WarehouseError(
                f"{self.name}: the connection was lost ({describe_state(error)}); what was not "
                "committed is undone, and the next load goes on"
            )
        reason = error.diag.message_primary or ""
        if not reason or state.startswith(_ABOUT_VALUES):
            reason = "it refused a statement"
        return WarehouseError(f"{self.name}: {describe_state(error)}: {reason}")

    def fetch(self, query: str, bound: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; none of a statement that has none."""
        with self.telling():
            found = self.connection.execute(query.encode(), bound)
            return found.fetchall() if found.description else []

    def run(self, query: str, bound: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it concerned."""
        with self.telling():
            return self.connection.execute(query.encode(), bound).rowcount

    def fetch_raw(self, query: str, bound: Sequence[object]) -> list[tuple[Any, ...]]:
        """Run a statement whose values are `$1`, `$2`, …, and return its rows."""
        with self.telling(), psycopg.RawCursor(self.connection) as cursor:
            found = cursor.execute(query.encode(), bound)
            return found.fetchall() if found.description else []

    def stream(self, query: str, bound: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Run a query and give its rows, few of which are in memory at a time."""
        size = _ROWS_PER_FETCH if capabilities.has_stream_chunked() else 1
        with self.telling(), self.connection.cursor() as cursor:
            yield from cursor.stream(query.encode(), bound, size=size)

    def query(self, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Run one statement of a person's own, which binds no values.

        Returns:
            The names of its columns, and its rows.

        Raises:
            QueryError: PostgreSQL refused it.
        """
        rows = self._stream_query(sql)
        names = [str(name) for name in next(rows)]
        return names, rows

    def _stream_query(self, sql: str) -> Iterator[tuple[Any, ...]]:
        size = _ROWS_PER_FETCH if capabilities.has_stream_chunked() else 1
        try:
            with self.connection.cursor() as cursor:
                # It goes by the protocol that takes one statement at a time.
                rows = cursor.stream(sql.encode(), size=size)
                first = next(rows, None)
                yield tuple(column.name for column in cursor.description or ())
                if first is not None:
                    yield first
                    yield from rows
        except psycopg.Error as error:
            if self.connection.closed:
                raise self._explain(error) from None
            reason = error.diag.message_primary or str(error)
            raise QueryError(" ".join(reason.split())) from None

    def interrupt(self) -> None:
        """End the statement that another thread waits for."""
        with suppress(psycopg.Error):
            self.connection.cancel_safe(timeout=5)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run statements in one transaction: all of them or, after any exception, none."""
        with self.telling(), self.connection.transaction():
            yield

    def lock(self, names: Iterable[str], *, shared: bool = False) -> None:
        """Take advisory locks until the transaction ends, in an order that all transactions share.

        Args:
            names: What the locks stand for; two of one name exclude each other.
            shared: Whether others may hold them too, if they share them likewise.

        Raises:
            WarehouseLockedError: Others held one for longer than the wait.
        """
        function = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
        self.fetch(
            f"SELECT count({function}(number)::text) FROM unnest(%s::bigint[]) AS locks(number)",
            [sorted({_number_of(name) for name in names})],
        )


def describe_state(error: psycopg.Error) -> str:
    """Return the kind of an error, by its name and number, without what it is about."""
    return " ".join(filter(None, (type(error).__name__, error.sqlstate)))


def _number_of(name: str) -> int:
    digest = hashlib.sha256(f"partitioned_etl: {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
