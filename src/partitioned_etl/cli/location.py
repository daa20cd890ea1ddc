"""Location: the declared feeds and the Dagster instance, as the commands see them.

Takes a feed's name, or none; gives pipelines, and the very instance that `dagster dev` uses.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click
import dagster as dg
from dotenv import load_dotenv

from partitioned_etl import definitions
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.cli.output import show
from partitioned_etl.ingest.errors import FeedDefinitionError, LandedFileError, SettingError
from partitioned_etl.ingest.settings import project_dir

T = TypeVar("T")


def choose_pipelines(feed_name: str | None) -> Sequence[FeedPipeline]:
    """Give the pipeline of a feed, or all of them.

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
    """Look at feeds one by one; that the folder of one cannot be listed does not hide the others.

    Args:
        pipelines: The feeds' pipelines.
        examine: What gives the answer for one.

    Returns:
        The answers, and the exit code: 0, or 2 if one is lacking; standard error then says why.
    """
    found, code = [], 0
    for pipeline in pipelines:
        try:
            found.append(examine(pipeline))
        except LandedFileError as error:
            click.echo(show(f"error: {error}"), err=True)
            code = 2
    return found, code


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance that `dagster dev` uses, or one in memory if there is none.

    Raises:
        SettingError: DAGSTER_HOME cannot be used.
    """
    load_dotenv(project_dir() / ".env", encoding="utf-8")
    if "DAGSTER_HOME" not in os.environ and (project_dir() / "dagster.yaml").is_file():
        # The folders that dagster.yaml names are relative to the working directory.
        os.chdir(project_dir())
        os.environ["DAGSTER_HOME"] = str(project_dir())
    has_home = "DAGSTER_HOME" in os.environ
    try:
        opened = dg.DagsterInstance.get() if has_home else dg.DagsterInstance.ephemeral()
    except (dg.DagsterError, OSError) as error:
        raise SettingError(f"setting DAGSTER_HOME: {error}") from error
    with opened as instance:
        yield instance
