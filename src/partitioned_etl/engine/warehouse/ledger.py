"""Ledger: table `file_loads`, one row per feed and file that was loaded or refused.

It is the only proof of a load, whose own transaction writes it. Of a file that another of a higher
version took the place of, it says so. Next: `plan.py`
compares it with the landed files. Feeds' rows do not belong here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from partitioned_etl.engine.collection import no_garbage_collection
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.list_since import is_left_out
from partitioned_etl.engine.sql import LEDGER_TABLE
from partitioned_etl.engine.warehouse.table_columns import insert_columns

if TYPE_CHECKING:
    import pandas as pd

    from partitioned_etl.engine.feed import Feed


class LoadStatus(StrEnum):
    """What happened to a file that was last processed."""

    LOADED = "loaded"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


class LedgerRow(NamedTuple):
    """What the ledger records of one file.

    Attributes:
        feed: Name of the feed.
        source_file: Name of the file.
        partition_key: The partition that its rows are in, or would be.
        version: The version that was last validated; opaque to all but its landing.
        size_bytes: Its size.
        landed_ns: When it landed, in nanoseconds since 1970, by a clock that no sender sets.
        content_hash: sha256 of its bytes, hexadecimal; empty if it could not be read.
        row_count: Rows of the file that the table holds. A refused version does not change it.
        rejected_count: Rows of the loaded version that went to table `rejected_rows` instead.
        file_row_count: Rows that were counted in the loaded version: the sum of the two. None if
            none was loaded.
        status: Whether the version that was last validated was loaded or refused, or the file is
            superseded and has no rows.
        error: Why it was refused, or by which file it is superseded.
        broken_rules: The row rules for which it was refused, and `contract` for anything else.
        contract: Fingerprint of the contract that it was validated against.
        left_out: Columns that the table had and the feed did not declare when it was loaded. A
            feed that declares one of them loads the file again.
        loaded_at: When the rows in the table were loaded, UTC; later than every earlier load of the
            feed. None if there never were any.
        run_id: The Dagster run that validated it, or empty.
    """

    feed: str
    source_file: str
    partition_key: str
    version: str
    size_bytes: int
    landed_ns: int
    content_hash: str = ""
    row_count: int = 0
    rejected_count: int = 0
    file_row_count: int | None = None
    status: LoadStatus = LoadStatus.LOADED
    error: str | None = None
    broken_rules: tuple[str, ...] = ()
    contract: str = ""
    left_out: tuple[str, ...] = ()
    loaded_at: datetime | None = None
    run_id: str = ""

    def is_about(self, file: LandedFile) -> bool:
        """Return whether a landed file is exactly the version that was last validated.

        A refused file belongs to the partition that still has its rows.
        """
        is_same = (self.source_file, self.version) == (file.name, file.version)
        is_of_key = self.partition_key == file.partition_key
        return is_same and (is_of_key or self.status == LoadStatus.REFUSED)

    @property
    def is_superseded(self) -> bool:
        """Whether a file of a higher version took its place, also if that one is gone again."""
        return self.status == LoadStatus.SUPERSEDED

    @property
    def adds_up(self) -> bool:
        """Whether loaded and rejected rows add up to the rows of the version that was loaded."""
        total = self.row_count + self.rejected_count
        return self.file_row_count is None or self.file_row_count == total


def is_still_loaded(feed: "Feed", status: str, left_out: Sequence[str] | None) -> bool:
    """Return whether a version was loaded, and of it every column that the feed declares now.

    Args:
        feed: The feed.
        status: What happened to the version, as in `LedgerRow`.
        left_out: Columns that the table had and the feed did not declare then.
    """
    return status == LoadStatus.LOADED and not (left_out and feed.declares_any(left_out))


def ledger_row(feed: "Feed", file: LandedFile, **told: Any) -> LedgerRow:
    """Return the ledger row of a landed file, under the feed's current contract.

    Args:
        feed: The feed.
        file: The file.
        told: What else is to be recorded.
    """
    return LedgerRow(
        feed=feed.name,
        source_file=file.name,
        partition_key=file.partition_key,
        version=file.version,
        size_bytes=file.size_bytes,
        landed_ns=file.landed_ns,
        contract=feed.contract_fingerprint,
        **told,
    )


class KnownFile(NamedTuple):
    """A file in the ledger.

    Attributes:
        source_file: Name of the file.
        partition_key: Its partition.
        landed_ns: As in `LedgerRow`.
        row_count: Rows of it that the table holds; None if it never was loaded.
    """

    source_file: str
    partition_key: str
    landed_ns: int
    row_count: int | None


class Former(NamedTuple):
    """A file whose rows are deleted, and the one that takes its place.

    Attributes:
        source_file: Name of the file.
        partition_key: The partition that its rows were in.
        row_count: How many these are, as the ledger knows it.
        successor: Name of the file that takes its place, which may be the same.
    """

    source_file: str
    partition_key: str
    row_count: int
    successor: str


class Replaced(NamedTuple):
    """What files that are loaded take the place of.

    Attributes:
        keys: The partitions whose rows are deleted.
        names: Which files' rows these are; none where no other file's rows stay, and so all are
            deleted, whatever the ledger knows of them.
        formers: The files among them that had been loaded.
    """

    keys: Sequence[str]
    names: Sequence[str] = ()
    formers: Sequence[Former] = ()


class Takeover(NamedTuple):
    """What becomes of the files that the ledger knows when others are loaded.

    Attributes:
        replaced: What the loaded files take the place of.
        gone: The names of files whose ledger rows go.
        superseded: The file that takes the place, by the name of the one of a lower version.
    """

    replaced: Replaced
    gone: Sequence[str]
    superseded: Mapping[str, str]


def find_takeover(feed: "Feed", rows: Sequence[LedgerRow], known: Iterable[KnownFile]) -> Takeover:
    """Find out what files that are loaded take the place of.

    A file takes the place of any other file of its slot, and of what it was itself under an earlier
    declaration of the feed. One of a lower version is superseded.

    Args:
        feed: The feed.
        rows: The ledger rows of the files that are loaded.
        known: What the ledger knew before: these files, and all others of the partitions that they
            are in or were in.
    """
    names, keys = [row.source_file for row in rows], [row.partition_key for row in rows]
    winners = {feed.slot_of(row.partition_key, row.source_file): row for row in rows}
    loaded, gone, has_others = {*names}, list[str](), False
    superseded: dict[str, str] = {}
    formers = list[Former]()
    for name, key, landed_ns, row_count in known:
        winner = winners.get(feed.slot_of(key, name))
        successor = name if name in loaded else winner and winner.source_file
        if successor and row_count is not None:
            formers.append(Former(name, key, row_count, successor))
        if name in loaded:
            keys.append(key)
        elif winner is None:
            has_others = True
        elif _is_higher(feed, winner, name, landed_ns):
            superseded[name] = winner.source_file
        else:
            gone.append(name)
    replaced = [*names, *gone, *superseded] if has_others else []
    return Takeover(Replaced(list(dict.fromkeys(keys)), replaced, formers), gone, superseded)


def find_removed(names: Collection[str], known: Iterable[KnownFile]) -> Replaced:
    """Find out which rows go with files that are removed.

    Args:
        names: The files.
        known: What the ledger knows: these files, and all others of their partitions.
    """
    gone, keys, has_others = {*names}, list[str](), False
    for name, key, *_ in known:
        if name in gone:
            keys.append(key)
        else:
            has_others = True
    return Replaced(list(dict.fromkeys(keys)), [*names] if has_others else ())


def _is_higher(feed: "Feed", winner: LedgerRow, name: str, landed_ns: int) -> bool:
    """Return whether a file is of a higher version than another was."""
    if not (feed.file_names.has_versions and feed.file_names.match(name)):
        return False
    ranks = [feed.rank_of(winner.source_file, winner.landed_ns), feed.rank_of(name, landed_ns)]
    return ranks[0] > ranks[1]


@dataclass(frozen=True)
class Ledger:
    """What the ledger knows of one feed.

    Attributes:
        rows: One row per file, by its name, in the order of partition keys and names.
    """

    rows: Mapping[str, LedgerRow] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Return whether it knows any file."""
        return bool(self.rows)

    def __iter__(self) -> Iterator[LedgerRow]:
        """Iterate over the rows."""
        return iter(self.rows.values())

    def since(self, first_name: str) -> "Ledger":
        """Return it without the files whose names sort before one; empty for all."""
        if not first_name:
            return self
        left = [row for row in self if not is_left_out(row.source_file, first_name)]
        return Ledger({row.source_file: row for row in left})

    @cached_property
    def by_key(self) -> dict[str, list[LedgerRow]]:
        """The rows of each partition, which is the union of its files."""
        found: dict[str, list[LedgerRow]] = {}
        for row in self:
            found.setdefault(row.partition_key, []).append(row)
        return found

    @property
    def loaded_keys(self) -> set[str]:
        """The partition keys that have rows in the table, or had at their last load."""
        return {row.partition_key for row in self if row.loaded_at}

    def count_rows(self, key: str) -> int:
        """Return how many rows the table holds for a partition."""
        return sum(row.row_count for row in self.by_key.get(key, ()))

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a DataFrame, for a notebook."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=list(LedgerRow._fields))


class KnownLoad(NamedTuple):
    """What the ledger knows of one file, as far as that tells whether there is anything to do.

    Attributes:
        source_file: Name of the file.
        partition_key: Its partition.
        version: The version that was last validated.
        status: What happened to that version.
        left_out: As in `LedgerRow`; None if there are none.
        row_count: As in `LedgerRow`.
        rejected_count: As in `LedgerRow`.
        loaded_us: When its rows were loaded, in microseconds since 1970; 0 if there never were any.
        run_id: As in `LedgerRow`.
    """

    source_file: str
    partition_key: str
    version: str
    status: LoadStatus
    left_out: Sequence[str] | None
    row_count: int
    rejected_count: int
    loaded_us: int
    run_id: str


COLUMNS = {
    "feed": "VARCHAR",
    "source_file": "VARCHAR",
    "partition_key": "VARCHAR",
    "version": "VARCHAR",
    "size_bytes": "BIGINT",
    "landed_ns": "BIGINT",
    "content_hash": "VARCHAR",
    "row_count": "BIGINT",
    "rejected_count": "BIGINT",
    "file_row_count": "BIGINT",
    "status": "VARCHAR",
    "error": "VARCHAR",
    "broken_rules": "VARCHAR[]",
    "contract": "VARCHAR",
    "left_out": "VARCHAR[]",
    "loaded_at": "TIMESTAMPTZ",
    "run_id": "VARCHAR",
}
_EXPRESSIONS = {
    "broken_rules": "nullif(broken_rules, [])",
    "left_out": "nullif(left_out, [])",
    # A time without zone avoids a zone lookup per row.
    "loaded_at": "make_timestamp(epoch_us(loaded_at))",
    "loaded_us": "coalesce(epoch_us(loaded_at), 0)",
}
"""SQL for the columns that are not read unchanged."""
_UNKNOWN = {"left_out": "NULL"}
"""SQL for the columns that a ledger may lack, of which no load wrote anything then."""
_BY_PARTITION = f"""
    (SELECT feed, source_file, partition_key,
        concat_ws('-', size_bytes, mtime_ns, ctime_ns, inode) AS version,
        size_bytes, ctime_ns AS landed_ns, sha256 AS content_hash,
        row_count, rejected_count, file_row_count,
        CASE status WHEN 'rejected' THEN 'refused' ELSE status END AS status,
        error, broken_rules, coalesce(contract, '') AS contract,
        CAST([] AS VARCHAR[]) AS left_out, loaded_at, run_id
    FROM {LEDGER_TABLE}
    QUALIFY row_number() OVER (
        PARTITION BY feed, source_file ORDER BY loaded_at DESC NULLS LAST, partition_key) = 1)
"""
"""The rows of a ledger of version 0.1, which had one row per partition, in the present shape."""
_ROWS_PER_FETCH = 1_000
"""How many rows are held twice at a time, as read and as `LedgerRow`."""
_IN_LIST = "IN (SELECT unnest(CAST(? AS VARCHAR[])))"


def ensure_ledger(duck: duckdb.DuckDBPyConnection) -> None:
    """Create the ledger's table, or convert that of version 0.1; inside a transaction."""
    columns = ", ".join(f"{name} {type_name}" for name, type_name in COLUMNS.items())
    shape = f"({columns}, PRIMARY KEY (feed, source_file))"
    duck.execute(f"CREATE TABLE IF NOT EXISTS {LEDGER_TABLE} {shape}")
    rows = duck.execute("SELECT name FROM pragma_table_info(?)", [LEDGER_TABLE]).fetchall()
    if is_ledger([name for (name,) in rows]):
        duck.execute(f"ALTER TABLE {LEDGER_TABLE} ADD COLUMN IF NOT EXISTS left_out VARCHAR[]")
        return
    duck.execute(f"CREATE TABLE {LEDGER_TABLE}_by_file {shape}")
    duck.execute(
        f"INSERT INTO {LEDGER_TABLE}_by_file SELECT {', '.join(COLUMNS)} FROM {_BY_PARTITION}"
    )
    duck.execute(f"DROP TABLE {LEDGER_TABLE}")
    duck.execute(f"ALTER TABLE {LEDGER_TABLE}_by_file RENAME TO {LEDGER_TABLE}")


def is_ledger(columns: Collection[str], *, is_complete: bool = False) -> bool:
    """Return whether these are the columns of a ledger with a row per file.

    Args:
        columns: The columns of a table.
        is_complete: Whether it must also have all that a load writes.
    """
    return "version" in columns and (not is_complete or {*COLUMNS}.issubset(columns))


def read_ledger(
    duck: duckdb.DuckDBPyConnection,
    feed_name: str,
    landed: Mapping[str, LandedFile],
    columns: Collection[str] = tuple(COLUMNS),
    names: Sequence[str] | None = None,
    first_name: str = "",
) -> Ledger:
    """Read the ledger rows of one feed.

    Args:
        duck: A connection to a database that has a ledger.
        feed_name: The feed's name.
        landed: The landed files by name; values shared by a row and its file are kept in memory
            once.
        columns: The columns of the ledger's table, which may be of version 0.1.
        names: The files to read of; None for all.
        first_name: None is read whose name sorts before it; empty for all.
    """
    rows = _stream(duck, feed_name, COLUMNS, columns, names, first_name)
    return collect_ledger(feed_name, landed, rows)


def read_loads(
    duck: duckdb.DuckDBPyConnection,
    feed_name: str,
    columns: Collection[str] = tuple(COLUMNS),
    first_name: str = "",
) -> Iterator[tuple[Any, ...]]:
    """Yield what the ledger knows of each file of a feed, as the values of `KnownLoad`."""
    return _stream(duck, feed_name, KnownLoad._fields, columns, first_name=first_name)


def _stream(
    duck: duckdb.DuckDBPyConnection,
    feed_name: str,
    wanted: Iterable[str],
    columns: Collection[str],
    names: Sequence[str] | None = None,
    first_name: str = "",
) -> Iterator[tuple[Any, ...]]:
    table = LEDGER_TABLE if is_ledger(columns) else _BY_PARTITION
    known = {**_EXPRESSIONS, **({} if is_ledger(columns, is_complete=True) else _UNKNOWN)}
    expressions = ", ".join(known.get(name, name) for name in wanted)
    condition = "feed = ?" + ("" if names is None else f" AND source_file {_IN_LIST}")
    condition += " AND source_file >= ?" if first_name else ""
    found = duck.execute(
        f"SELECT {expressions} FROM {table} WHERE {condition}",
        [feed_name, *([] if names is None else [list(names)]), *([first_name] * bool(first_name))],
    )
    return chain.from_iterable(iter(lambda: found.fetchmany(_ROWS_PER_FETCH), []))


@no_garbage_collection()
def collect_ledger(
    feed_name: str, landed: Mapping[str, LandedFile], rows: Iterable[tuple[Any, ...]]
) -> Ledger:
    """Return the ledger of a feed from its rows.

    Args:
        feed_name: The feed's name.
        landed: The landed files by name; values shared by a row and its file are kept in memory
            once.
        rows: The rows in any order, with the values of `COLUMNS`: times in UTC and without a zone,
            empty lists as None.
    """
    read: list[LedgerRow] = []
    # Values shared by many rows are kept in memory once.
    texts: dict[str, str] = {}
    times: dict[datetime, datetime] = {}
    share = texts.setdefault
    for _, name, key, version, *rest, status, error, rules, contract, out, at, run_id in rows:
        file, identity = landed.get(name), (name, key, version)
        if file and (file.partition_key, file.version) == (key, version):
            identity = (file.name, file.partition_key, file.version)
        if at and at not in times:
            times[at] = at.replace(tzinfo=UTC)
        validated = (share(status, status), error, tuple(rules) if rules else ())
        under = (share(contract, contract), tuple(out) if out else ())
        load = (times.get(at), share(run_id, run_id))
        row = (feed_name, *identity, *rest, *validated, *under, *load)
        read.append(LedgerRow._make(row))
    # Sorted here, because DuckDB would hold all of them a second time to sort them.
    read.sort(key=attrgetter("source_file"))
    read.sort(key=attrgetter("partition_key"))
    return Ledger({row.source_file: row for row in read})


def find_latest_load(duck: duckdb.DuckDBPyConnection, feed_name: str) -> datetime | None:
    """Return when any file of a feed was last loaded; None if none is."""
    found = duck.execute(
        f"SELECT max(loaded_at) FROM {LEDGER_TABLE} WHERE feed = ?", [feed_name]
    ).fetchone()
    return found[0].astimezone(UTC) if found and found[0] else None


def find_files(
    duck: duckdb.DuckDBPyConnection, feed_name: str, names: Sequence[str], keys: Sequence[str] = ()
) -> list[KnownFile]:
    """Find files of a feed in the ledger, by name and those of the same partitions and of others.

    Args:
        duck: A connection to a database that has a ledger.
        feed_name: The feed's name.
        names: Names of files; all files of their partitions are found.
        keys: More partition keys, all files of which are found.

    Returns:
        What the ledger knows of each file.
    """
    found = duck.execute(
        f"""
        SELECT source_file, partition_key, landed_ns,
            CASE WHEN loaded_at IS NOT NULL THEN row_count END
        FROM {LEDGER_TABLE}
        WHERE feed = ? AND (partition_key {_IN_LIST} OR partition_key IN (
            SELECT partition_key FROM {LEDGER_TABLE} WHERE feed = ? AND source_file {_IN_LIST}))
        """,
        [feed_name, list(keys), feed_name, list(names)],
    ).fetchall()
    return [KnownFile._make(row) for row in found]


def find_same_content(
    duck: duckdb.DuckDBPyConnection, feed_name: str, hashes: Sequence[str]
) -> dict[str, list[str]]:
    """Find a feed's loaded files that have one of these content hashes.

    Returns:
        File names, in the order of partition keys, per content hash.
    """
    rows = duck.execute(
        f"SELECT content_hash, source_file FROM {LEDGER_TABLE} WHERE feed = ? "
        f"AND status = ? AND row_count > 0 AND content_hash {_IN_LIST} "
        "ORDER BY partition_key, source_file",
        [feed_name, LoadStatus.LOADED, list(hashes)],
    ).fetchall()
    found: dict[str, list[str]] = {}
    for content_hash, name in rows:
        found.setdefault(content_hash, []).append(name)
    return found


def forget_feed(duck: duckdb.DuckDBPyConnection, feed_name: str) -> None:
    """Delete a feed's ledger rows, because its table is new and every file must be loaded again."""
    duck.execute(f"DELETE FROM {LEDGER_TABLE} WHERE feed = ?", [feed_name])


def forget_files(duck: duckdb.DuckDBPyConnection, feed_name: str, names: Sequence[str]) -> None:
    """Delete the ledger rows of files."""
    if names:
        duck.execute(
            f"DELETE FROM {LEDGER_TABLE} WHERE feed = ? AND source_file {_IN_LIST}",
            [feed_name, list(names)],
        )


def mark_superseded(duck: duckdb.DuckDBPyConnection, feed_name: str, by: Mapping[str, str]) -> None:
    """Record that files have no rows any more, because others of a higher version took their place.

    Args:
        duck: A connection, inside a transaction.
        feed_name: The feed's name.
        by: The file that takes the place, by the name of the one that is superseded.
    """
    for name, winner in by.items():
        duck.execute(
            f"UPDATE {LEDGER_TABLE} SET status = ?, error = ?, broken_rules = [], "
            "row_count = 0, rejected_count = 0, file_row_count = NULL, loaded_at = NULL "
            "WHERE feed = ? AND source_file = ?",
            [LoadStatus.SUPERSEDED, f"superseded by {winner}", feed_name, name],
        )


def upsert_rows(duck: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow]) -> None:
    """Write ledger rows, replacing those of the same feed and file; inside a transaction."""
    insert_rows(duck, rows, "INSERT OR REPLACE")


def insert_rows(
    duck: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow], insert: str = "INSERT"
) -> None:
    """Write ledger rows, inside a transaction that deals with those of the same feed and file."""
    if not rows:
        return
    values = [[getattr(row, name) for row in rows] for name in COLUMNS]
    insert_columns(duck, LEDGER_TABLE, COLUMNS, values, insert)


def record_versions(
    duck: duckdb.DuckDBPyConnection, rows: Sequence[LedgerRow], files: Sequence[LandedFile]
) -> None:
    """Record new versions of files whose content is unchanged from the ledger's.

    A row that another load has changed since it was read is left alone.

    Args:
        duck: A connection, inside a transaction.
        rows: The ledger rows of the files, as read.
        files: The landed files, in the same order.
    """
    duck.executemany(
        f"UPDATE {LEDGER_TABLE} SET version = ?, landed_ns = ? "
        "WHERE feed = ? AND source_file = ? AND content_hash = ? AND version = ?",
        [
            (
                *(file.version, file.landed_ns),
                *(row.feed, row.source_file, row.content_hash, row.version),
            )
            for row, file in zip(rows, files, strict=True)
        ],
    )
