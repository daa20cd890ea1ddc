"""Found files: what one look at a feed's place found, as objects or as rows.

Takes the files one after the other, in any order; returns them. An object takes 400 bytes, and most
of many files are as they were at the look before: of these, each is a row of a table in memory.
Next: `engine/unchanged.py` compares that table with the ledger.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

from partitioned_etl.engine.landing.landing import LandedFile, Place
from partitioned_etl.engine.landing.slots import to_one_spelling
from partitioned_etl.engine.memory_tables import ROWS_AT_ONCE, MemoryTables

MOST_OBJECTS = 10_000
"""Of how many files each is an object; of more, each is a row."""
_COLUMNS = {
    "partition_key": "VARCHAR",
    "name": "VARCHAR",
    "version": "VARCHAR",
    "size_bytes": "BIGINT",
    "landed_ns": "BIGINT",
    "likeness": "VARCHAR",
    "part": "VARCHAR",
}


def list_likenesses(keys: Sequence[str]) -> list[str]:
    """Return, per partition key, what it has in common with all others that may concern it."""
    spelled = {key: to_one_spelling(key) for key in {*keys}}  # many files are of few partitions
    return [spelled[key] for key in keys]


class FoundFiles:
    """The files that one look at a feed's place found.

    Attributes:
        concerned: Of which partition keys, in one spelling, all files are looked at in any case.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._files: list[LandedFile] = []
        self._parts: list[str] = []
        self._row_count = 0
        self.concerned: set[str] = set()

    @property
    def are_many(self) -> bool:
        """Whether there are so many that they are rows of a table."""
        return bool(self._row_count)

    def __len__(self) -> int:
        """Return how many files there are."""
        return self._row_count + len(self._files)

    def __iter__(self) -> Iterator[LandedFile]:
        """Yield the files, in any order."""
        return self.select() if self.are_many else iter(self._files)

    def add(self, file: LandedFile, part: str) -> None:
        """Add a file, and which part of its partition it is, as `slots.part_of` tells."""
        self._files.append(file)
        self._parts.append(part)
        if len(self._files) >= (min(MOST_OBJECTS, ROWS_AT_ONCE) if self.are_many else MOST_OBJECTS):
            self._flush()

    def concern(self, key: str) -> None:
        """Have all files that a partition key may concern looked at one by one."""
        self.concerned.update(list_likenesses([key]))

    @property
    def tables(self) -> MemoryTables:
        """Table `landed` of the files that are rows, and what is compared with it."""
        self._flush()
        return self._tables

    def select(
        self, condition: str = "true", values: Sequence[object] = ()
    ) -> Iterator[LandedFile]:
        """Yield the files that are rows and meet a condition on table `landed`."""
        columns = "partition_key, name, version, size_bytes, landed_ns"
        query = f"SELECT {columns} FROM landed WHERE {condition}"
        for row in self.tables.read(query, values):
            yield LandedFile._make((*row, self._place, ""))

    @cached_property
    def _tables(self) -> MemoryTables:
        tables = MemoryTables()
        tables.create("landed", _COLUMNS)
        return tables

    def _flush(self) -> None:
        if not self._files:
            return
        keys, names, versions, sizes, times, _, _ = zip(*self._files, strict=True)
        columns = [keys, names, versions, sizes, times, list_likenesses(keys), self._parts]
        self._tables.append("landed", columns)
        self._row_count += len(keys)
        self._files.clear()
        self._parts.clear()
