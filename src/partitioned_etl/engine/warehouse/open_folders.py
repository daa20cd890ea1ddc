"""Open folders: which folders this process's connections to a database may read.

A database has one set of folders per process, and for as long as one of its connections is open.
So who needs other folders waits until the last is closed, as for another process. What the set
means belongs in `sandbox.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition

from partitioned_etl.engine.errors import WarehouseLockedError


@dataclass
class _Opened:
    folders: frozenset[Path] = frozenset()
    count: int = 0


@dataclass
class OpenFolders:
    """Which databases this process has open, and for which folders."""

    _by_database: dict[Path, _Opened] = field(default_factory=dict)
    _changed: Condition = field(default_factory=Condition)

    @contextmanager
    def use(self, database: Path, folders: frozenset[Path], wait_seconds: float) -> Iterator[None]:
        """Take part in what the process has open, or wait until it has closed it.

        Args:
            database: Path of the database, resolved.
            folders: The folders, resolved.
            wait_seconds: How long to wait for others that have it open for other folders.

        Raises:
            WarehouseLockedError: They had it open for longer.
        """
        with self._changed:
            opened = self._by_database.setdefault(database, _Opened())
            if not self._changed.wait_for(
                lambda: not opened.count or folders <= opened.folders, wait_seconds
            ):
                others = min(folders - opened.folders)
                raise WarehouseLockedError(
                    f"the database is open in this process for another folder than {others}, and "
                    f"was for {wait_seconds:g} s"
                )
            if not opened.count:
                opened.folders = folders
            opened.count += 1
        try:
            yield
        finally:
            with self._changed:
                opened.count -= 1
                self._changed.notify_all()
