"""Resources: the landing directory and the warehouse as Dagster sees them.

Unless given a value, each reads it from the settings when used, so that UI, command line, tests and
run workers agree.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import duckdb
from dagster_duckdb import DuckDBResource
from pydantic import Field

from partitioned_etl.ingest.database import connect
from partitioned_etl.ingest.settings import read_settings


class LandingDirectory(dg.ConfigurableResource):
    """The directory in which files land, with one folder per feed."""

    path: str | None = Field(
        default=None, description="The landing directory; by default the setting LANDING_DIR."
    )
    settle_seconds: float | None = Field(
        default=None,
        description="Seconds that a file must have been left alone; by default SETTLE_SECONDS.",
    )

    @property
    def directory(self) -> Path:
        """The landing directory."""
        return Path(self.path) if self.path else read_settings().landing_dir

    @property
    def settle_time(self) -> float:
        """How long a file must be unchanged before it is loaded, in seconds."""
        return (
            read_settings().settle_seconds if self.settle_seconds is None else self.settle_seconds
        )


class Warehouse(DuckDBResource):
    """The DuckDB database: one writer at a time, sandboxed to the landing directory.

    Unlike its base class, it waits only a bounded time for another process that has the database
    open, and closes the connection even if the work in it fails.
    """

    database: str = Field(
        default="", description="Path of the database; by default the setting DUCKDB_DATABASE."
    )
    lock_wait_seconds: float | None = Field(
        default=None,
        description="Seconds to wait for another process; by default LOCK_WAIT_SECONDS.",
    )
    memory_limit: str | None = Field(
        default=None,
        description="Memory that DuckDB may use, such as 1GB; by default DUCKDB_MEMORY_LIMIT.",
    )
    landing: dg.ResourceDependency[LandingDirectory]

    @property
    def path(self) -> Path:
        """Path of the database file."""
        return Path(self.database) if self.database else read_settings().database

    @property
    def lock_wait(self) -> float:
        """How long to wait for another process that has the database open, in seconds."""
        wait = self.lock_wait_seconds
        return read_settings().lock_wait_seconds if wait is None else wait

    @property
    def most_memory(self) -> str:
        """How much memory DuckDB may use; empty for its default."""
        limit = self.memory_limit
        return read_settings().memory_limit if limit is None else limit

    @contextmanager
    def get_connection(
        self, directory: Path | None = None, *, lock_wait_seconds: float | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the database for one unit of work.

        Args:
            directory: The one directory that statements may access; by default the landing
                directory.
            lock_wait_seconds: Seconds to wait for another process; by default as configured.

        Raises:
            WarehouseLockedError: Another process held the file for longer than the wait.
        """
        with connect(
            self.path,
            directory or self.landing.directory,
            lock_wait_seconds=self.lock_wait if lock_wait_seconds is None else lock_wait_seconds,
            memory_limit=self.most_memory,
            log=logging.getLogger(__name__),
        ) as connection:
            yield connection
