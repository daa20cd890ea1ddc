"""Server bench: a workbench whose warehouse is at an address, and may be open in many places."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.warehouse.ledger import Ledger
from support.workbench import Workbench


@dataclass
class ServerBench(Workbench):
    """A landing directory and a warehouse at an address.

    Attributes:
        url: The warehouse's address.
    """

    url: str = ""

    @property
    def address(self) -> str:
        return self.url

    @property
    def warehouse(self) -> Any:  # type: ignore[override]
        return self._warehouse

    @contextmanager
    def open(self, lock_wait_seconds: float | None = None) -> Iterator[Any]:  # type: ignore[override]
        self.landing.readable_dir.mkdir(parents=True, exist_ok=True)
        with self._warehouse.open(
            self.landing.readable_dir, lock_wait_seconds=lock_wait_seconds
        ) as opened:
            yield opened

    @contextmanager
    def open_table(  # type: ignore[override]
        self, feed: Feed, lock_wait_seconds: float | None = None
    ) -> Iterator[Any]:
        with self.open(lock_wait_seconds) as opened:
            yield opened.table(feed)

    def rows(self, feed: Feed) -> list[tuple[Any, ...]]:
        return sorted(self.query(f'SELECT * FROM "{feed.table}"'), key=repr)

    def ledger(self, feed: Feed) -> Ledger:
        with self.open_table(feed) as table:
            return table.read_ledger()

    def assert_level(self, feed: Feed) -> None:
        with self.open_table(feed) as table:
            counted, ledger = table.count_rows(), table.read_ledger()
        told = {(row.partition_key, row.source_file): row.row_count for row in ledger}
        assert counted == {of_file: count for of_file, count in told.items() if count}
