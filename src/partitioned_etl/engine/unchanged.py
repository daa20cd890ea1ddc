"""Unchanged: which of many landed files are as the ledger has them, found in DuckDB.

Takes what a look at a feed's place found, and the feed's table; sets aside what nothing is to be
done for, without an object per file. Next: `plan.py` compares all others one by one. A file is left
to it as soon as anything else of its partition is: what becomes of one may depend on the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from partitioned_etl.engine.file_names import KEY_SEPARATOR
from partitioned_etl.engine.landing.found import FoundFiles, list_likenesses
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.memory_tables import ROWS_AT_ONCE, MemoryTables
from partitioned_etl.engine.warehouse.ledger import LoadStatus, is_still_loaded

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed
    from partitioned_etl.engine.warehouse.warehouse import FeedTable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FILES_PER_GROUPING = 300_000
"""How many files are grouped at a time: each time, all of them are read."""
_FILES_PER_JOIN = 50_000
"""How many files are joined at a time, which takes 150 bytes of memory for each."""
_LOADS_AT_LEAST, _LOOKS_AT_MOST = 25_000, 40
"""Of how many loads, at least, the files are looked for together, and how often at most."""
_FACTS = dict.fromkeys(("row_count", "rejected_count", "loaded_us", "run"), "BIGINT")
_TOLD = {"name": "VARCHAR", "partition_key": "VARCHAR", "version": "VARCHAR"}
_TABLES = {
    "told": _TOLD | _FACTS,
    "same": {"file": "BIGINT"} | _FACTS,
    "others": {"name": "VARCHAR"},
    "concerned": {"likeness": "VARCHAR"},
}
"""What the ledger tells, some rows at a time; which rows of `landed` are as it tells, with what it
tells of them; its files that are not; and what those have in common with others.
"""
_MATCH = """
CREATE OR REPLACE TABLE matched AS
SELECT landed.rowid AS file, told.* FROM told LEFT JOIN landed USING (name, partition_key, version)
"""
_KEEP = (
    f"INSERT INTO same SELECT file, {', '.join(_FACTS)} FROM matched WHERE file IS NOT NULL",
    "INSERT INTO others SELECT name FROM matched WHERE file IS NULL",
    "CREATE OR REPLACE TABLE told AS SELECT * FROM told LIMIT 0",
)
_KEYS_NOT_LANDED = "SELECT DISTINCT partition_key FROM matched WHERE file IS NULL"
_NOT_AS_TOLD = """
INSERT INTO concerned SELECT DISTINCT likeness FROM landed
ANTI JOIN (SELECT file FROM same WHERE file BETWEEN $first AND $last) ON file = landed.rowid
WHERE landed.rowid BETWEEN $first AND $last
"""
_SEVERAL_THINGS = """
INSERT INTO concerned
WITH partitions AS (
    SELECT likeness, partition_key, count(*) AS files, count(DISTINCT part) AS parts
    FROM landed WHERE hash(likeness) % $slices = $slice GROUP BY likeness, partition_key)
SELECT likeness FROM partitions GROUP BY likeness
HAVING max(files - parts) > 0 OR max(files) > $most_parts OR count(*) > 1
"""
"""Two files of one partition, or of one part; too many parts; two spellings of a key."""
_SEVERAL_SPELLINGS = f"""
INSERT INTO concerned SELECT DISTINCT likeness FROM landed
WHERE split_part(likeness, '{KEY_SEPARATOR}', 1) IN (
    SELECT split_part(likeness, '{KEY_SEPARATOR}', 1) FROM landed
    GROUP BY 1 HAVING count(DISTINCT split_part(partition_key, '{KEY_SEPARATOR}', 1)) > 1)
"""
"""Two spellings of a name that has a date beside it: all dates of it are concerned."""
_IS_CONCERNED = "likeness IN (SELECT likeness FROM concerned)"
_OF_SAME = "FROM same JOIN landed ON landed.rowid = file WHERE"


class LoadOfRun(NamedTuple):
    """That a run loaded a file.

    Attributes:
        run_id: The run.
        partition_key: The file's partition.
        seconds: When, in seconds since 1970.
    """

    run_id: str
    partition_key: str
    seconds: float


class UnchangedFile(NamedTuple):
    """A landed file that is as the ledger has it.

    Attributes:
        partition_key: Its partition.
        name: Its name.
        row_count: Rows that the table holds of it.
        size_bytes: Its length.
        loaded_at: When it was loaded, UTC.
    """

    partition_key: str
    name: str
    row_count: int
    size_bytes: int
    loaded_at: datetime


class Totals(NamedTuple):
    """What files add up to.

    Attributes:
        partitions: How many partitions they are of.
        rows: Rows that the table holds of them.
        rejected_rows: Rows of them that went to `rejected_rows` instead.
        loaded_at: When the last of them was loaded, UTC; None if none was.
    """

    partitions: int = 0
    rows: int = 0
    rejected_rows: int = 0
    loaded_at: datetime | None = None


@dataclass(frozen=True)
class Unchanged:
    """Landed files that are as the ledger has them, and in whose partitions all others are, too.

    Attributes:
        found: What a look at the feed's place found; None if it was so little that each file is
            compared one by one.
        names: The names of all other files that the ledger knows.
        count: How many files are unchanged.
        run_ids: The runs that loaded them, by their numbers in the table.
    """

    found: FoundFiles | None = None
    names: Sequence[str] = ()
    count: int = 0
    run_ids: Sequence[str] = ()

    def list_others(self) -> list[LandedFile]:
        """Return the landed files that are to be compared one by one."""
        return [*self.found.select(_IS_CONCERNED)] if self.found else []

    def list_files(self, keys: Iterable[str]) -> list[LandedFile]:
        """Return the unchanged files of some partitions."""
        wanted = list(keys)
        if not self.found or not wanted:
            return []
        condition = f"NOT {_IS_CONCERNED} AND partition_key IN (SELECT unnest($1::VARCHAR[]))"
        return [*self.found.select(f"{condition} ORDER BY partition_key, name", [wanted])]

    def list_keys(self) -> Iterator[str]:
        """Yield the partition keys of the unchanged files, each once."""
        query = f"SELECT DISTINCT partition_key FROM landed WHERE NOT {_IS_CONCERNED}"
        for (key,) in self._read(query):
            yield key

    def list_loads(self, since: float) -> Iterator[LoadOfRun]:
        """Yield which runs loaded unchanged files after a time, in seconds since 1970."""
        later = f"run > 0 AND loaded_us / 1e6 > $1 AND NOT {_IS_CONCERNED}"
        query = f"SELECT run, partition_key, loaded_us {_OF_SAME} {later}"
        for run, key, loaded_us in self._read(query, [since]):
            yield LoadOfRun(self.run_ids[int(run)], key, loaded_us / 1e6)

    def __iter__(self) -> Iterator[UnchangedFile]:
        """Yield the unchanged files, in the order of keys and names."""
        for *values, loaded_us in self._read(
            "SELECT partition_key, name, row_count, size_bytes, loaded_us "
            f"{_OF_SAME} NOT {_IS_CONCERNED} ORDER BY partition_key, name"
        ):
            yield UnchangedFile._make((*values, _to_time(loaded_us)))

    def sum_up(self) -> Totals:
        """Return what the unchanged files add up to."""
        if not self.count:
            return Totals()
        ((partitions, rows, rejected_rows, loaded_us),) = self._read(
            "SELECT count(DISTINCT partition_key), sum(row_count)::BIGINT, "
            f"sum(rejected_count)::BIGINT, max(loaded_us) {_OF_SAME} NOT {_IS_CONCERNED}"
        )
        return Totals(partitions, rows, rejected_rows, _to_time(loaded_us))

    def _read(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        return self.found.tables.read(query, values) if self.found else iter(())


def set_aside_unchanged(found: FoundFiles, table: "FeedTable", first_name: str = "") -> Unchanged:
    """Find the landed files that are as the ledger has them.

    Args:
        found: What a look at the feed's place found, many files.
        table: The feed's table, outside a transaction.
        first_name: Names that sort before it were not looked at; empty if all were.
    """
    feed, tables, count = table.feed, found.tables, len(found)
    for name, columns in _TABLES.items():
        tables.create(name, columns)
    slices = 1 + count // _FILES_PER_GROUPING
    for number in range(slices):
        bound = {"slices": slices, "slice": number, "most_parts": feed.part_count or count}
        tables.run(_SEVERAL_THINGS, bound)
    runs, most = {"": 0}, max(_LOADS_AT_LEAST, count // _LOOKS_AT_MOST)
    rows = table.read_loads(first_name)
    told = 0
    while added := tables.append("told", _to_columns(feed, islice(rows, ROWS_AT_ONCE), runs)):
        told += added
        if told >= most:
            _match(tables)
            told = 0
    _match(tables)
    for first in range(0, count, _FILES_PER_JOIN):
        tables.run(_NOT_AS_TOLD, {"first": first, "last": first + _FILES_PER_JOIN - 1})
    tables.append("concerned", [sorted(found.concerned)] if found.concerned else [])
    if feed.file_names.is_two_dimensional:
        tables.run(_SEVERAL_SPELLINGS)
    others = [name for (name,) in tables.read("SELECT name FROM others")]
    left = [name for (name,) in tables.read(f"SELECT name {_OF_SAME} {_IS_CONCERNED}")]
    same = tables.count("same")
    return Unchanged(found, [*others, *left], same - len(left), list(runs))


def _match(tables: MemoryTables) -> None:
    """Match what the ledger tells with what has landed."""
    for statement in (_MATCH, *_KEEP):
        tables.run(statement)
    keys = [key for (key,) in tables.read(_KEYS_NOT_LANDED)]
    tables.append("concerned", [list_likenesses(keys)] if keys else [])


def _to_columns(
    feed: "Feed", rows: Iterable[tuple[Any, ...]], runs: dict[str, int]
) -> list[Sequence[object]]:
    """Return the columns of table `told` for values of `KnownLoad`; none for none.

    A file that is to be loaded again has no version, so that none that has landed is the same.

    Args:
        feed: The feed.
        rows: The values.
        runs: The runs' numbers; new ones are added.
    """
    columns = [*zip(*rows, strict=True)]
    if not columns:
        return []
    names, keys, versions, statuses, left_out, *facts, run_ids = columns
    loaded = str(LoadStatus.LOADED)
    wanted = [
        version if (status == loaded and not out) or is_still_loaded(feed, status, out) else ""
        for version, status, out in zip(versions, statuses, left_out, strict=True)
    ]
    numbers = [runs.setdefault(run_id, len(runs)) for run_id in run_ids]
    return [names, keys, wanted, *facts, numbers]


def _to_time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
