"""Location: the declared feeds and the Dagster instance, as the commands see them.

Takes a feed's name, or none; returns pipelines, plans for their folders, and the instance that
`dagster dev` uses.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import click
import dagster as dg
from dotenv import load_dotenv

from partitioned_etl import definitions
from partitioned_etl.builders.partitions import list_files_in_window
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.cli.output import show
from partitioned_etl.ingest.errors import FeedDefinitionError, LandedFileError, SettingError
from partitioned_etl.ingest.reconcile import Plan
from partitioned_etl.ingest.settings import Settings, project_dir
from partitioned_etl.ingest.sync import plan_feed

T = TypeVar("T")


def choose_pipelines(feed_name: str | None) -> Sequence[FeedPipeline]:
    """Return the pipeline of a feed, or all of them.

    Args:
        feed_name: The feed's name; None for all feeds.

    Raises:
        FeedDefinitionError: There is no such feed.
    """
    by_name = {pipeline.feed.name: pipeline for pipeline in definitions.pipelines}
    if feed_name is None:
        return list(by_name.values())
    if feed_name not in by_name:
        raise FeedDefinitionError(f"there is no feed {feed_name!a}; there are {', '.join(by_name)}")
    return [by_name[feed_name]]


def examine_each(
    pipelines: Iterable[FeedPipeline], examine: Callable[[FeedPipeline], T]
) -> tuple[list[T], int]:
    """Examine feeds one by one; a folder that cannot be listed does not hide the other feeds.

    Args:
        pipelines: The feeds' pipelines.
        examine: Returns the answer for one feed.

    Returns:
        The answers, and the exit code: 0, or 2 if one is missing; standard error then explains why.
    """
    found, code = [], 0
    for pipeline in pipelines:
        try:
            found.append(examine(pipeline))
        except LandedFileError as error:
            click.echo(show(f"error: {error}"), err=True)
            code = 2
    return found, code


def plan_pipeline(pipeline: FeedPipeline, settings: Settings, *, read_only: bool = False) -> Plan:
    """Compare a feed's folder with the ledger, as its sensor does.

    Args:
        pipeline: The feed's pipeline.
        settings: The settings.
        read_only: Whether to change nothing: touched files are detected but not recorded.

    Raises:
        LandedFileError: The folder cannot be listed.
        WarehouseError: The database cannot be opened.
    """
    feed, landing_dir = pipeline.feed, settings.landing_dir
    return plan_feed(
        feed,
        list_files_in_window(feed, landing_dir, pipeline.partitions_def),
        landing_dir,
        settings.database,
        settle_seconds=settings.settle_seconds,
        lock_wait_seconds=settings.lock_wait_seconds,
        memory_limit=settings.memory_limit,
        read_only=read_only,
    )


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance that `dagster dev` uses, or an in-memory one if there is none.

    Raises:
        SettingError: DAGSTER_HOME cannot be used.
    """
    load_dotenv(project_dir() / ".env", encoding="utf-8")
    if not os.environ.get("DAGSTER_HOME") and (project_dir() / "dagster.yaml").is_file():
        # The folders named in dagster.yaml are relative to the working directory.
        os.chdir(project_dir())
        os.environ["DAGSTER_HOME"] = str(project_dir())
    home = os.environ.get("DAGSTER_HOME")
    try:
        if not home:
            opened = dg.DagsterInstance.ephemeral()
        else:
            with _one_at_a_time(home) if Path(home).is_dir() else nullcontext():
                opened = dg.DagsterInstance.get()
    except Exception as error:
        # Storage raises exceptions of SQLAlchemy, Alembic or other libraries.
        raise SettingError(f"setting DAGSTER_HOME: {error}") from error
    with opened as instance:
        yield instance


@contextmanager
def _one_at_a_time(folder: str) -> Iterator[None]:
    """Let only one process at a time open a folder's instance.

    The first one creates Dagster's storage. Two that create it at once leave it with two versions,
    so that it can never be opened again.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Continue even on a file system without locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
