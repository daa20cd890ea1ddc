"""Location: the declared feeds and the Dagster instance, as the commands see them.

Takes names of feeds, or none; returns the feeds' assets, what cannot be loaded, and the instance
that `dagster dev` uses.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click
import dagster as dg
import duckdb
from dotenv import load_dotenv

from partitioned_etl.cli.options import list_overridden
from partitioned_etl.cli.output import show
from partitioned_etl.cli.project import find_definitions_module
from partitioned_etl.components.assets import FeedAssets, find_feeds
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.isolation import Location, Mistake, explain_mistake
from partitioned_etl.engine.errors import (
    FeedDefinitionError,
    PartitionedEtlError,
    SettingError,
    WarehouseLockedError,
    suggest,
)
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import Landing, PassedOver
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.unmatched import list_unmatched
from partitioned_etl.engine.warehouse.warehouse import Warehouse

T = TypeVar("T")


@dataclass(frozen=True)
class ChosenFeeds:
    """The feeds that a command is about.

    Attributes:
        definitions: The definitions of the whole code location.
        feeds: The feeds' assets.
        mistakes: What cannot be loaded.
    """

    definitions: dg.Definitions
    feeds: Sequence[FeedAssets]
    mistakes: Sequence[Mistake]

    @property
    def _resources(self) -> Mapping[str, Any]:
        return self.definitions.resources or {}

    def landing_of(self, feed: Feed) -> Landing:
        """Return the landing of a feed."""
        return self._resources["landing"].connect(feed)

    def list_not_fetched(self, feed: Feed) -> list[PassedOver]:
        """Return what the latest fetch from a feed's source could not fetch, and why."""
        return self._resources["landing"].list_not_fetched(feed)

    def landing_address_of(self, feed: Feed) -> Path | str:
        """Return where the landing of a feed is, a folder or a URL."""
        return self._resources["landing"].address_of(feed)

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse of the code location, which is not opened yet."""
        return self._resources["warehouse"].connect()

    def list_unmatched(self, feed: Feed, ignored: Sequence[PassedOver]) -> list[PassedOver]:
        """Return the entries of a feed's folder that are a file of no feed.

        Args:
            feed: The feed.
            ignored: What a listing of its files ignored.
        """
        feeds = (assets.feed for assets in find_feeds(self.definitions))
        return list_unmatched(feed, ignored, feeds)

    def find_sensor(self, assets: FeedAssets) -> str:
        """Return the name of a feed's landing sensor; empty if it has none."""
        for sensor in self.definitions.sensors or ():
            if sensor.tags.get(FEED_TAG) == assets.feed.name:
                return sensor.name
        return ""

    def report_mistakes(self) -> None:
        """Print what cannot be loaded to standard error."""
        for mistake in self.mistakes:
            click.echo(show(f"broken: {mistake.name}: {mistake.reason}"), err=True)


def choose_feeds(names: Sequence[str]) -> ChosenFeeds:
    """Return the chosen feeds, or all of them.

    Args:
        names: The feeds' names; none for all feeds.

    Raises:
        FeedDefinitionError: There is no such feed.
        SettingError: The code location does not use what an option of the call overrides.
    """
    location = _load_location()
    _refuse_void_options(location.definitions)
    by_name = {assets.feed.name: assets for assets in find_feeds(location.definitions)}
    broken = {mistake.name: mistake for mistake in location.mistakes}
    if not names:
        return ChosenFeeds(location.definitions, list(by_name.values()), location.mistakes)
    if unknown := [name for name in names if name not in {*by_name, *broken}]:
        there = ", ".join([*by_name, *(f"{name} (broken)" for name in broken)])
        meant = suggest(unknown[0], [*by_name, *broken])
        raise FeedDefinitionError(f"there is no feed {unknown[0]!a}; there are {there}{meant}")
    chosen = [by_name[name] for name in dict.fromkeys(names) if name in by_name]
    mistakes = [broken[name] for name in dict.fromkeys(names) if name in broken]
    return ChosenFeeds(location.definitions, chosen, mistakes)


def list_feed_names() -> list[str]:
    """Return the names of all feeds, and of what cannot be loaded."""
    location = _load_location()
    names = {assets.feed.name for assets in find_feeds(location.definitions)}
    return sorted(names.union(mistake.name for mistake in location.mistakes))


def _load_location() -> Location:
    name, named_by = find_definitions_module()
    try:
        module = import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        reason = f"{name!a}: {explain_mistake(error, Path('/'), project_dir())}"
        if missing and f"{name}.".startswith(f"{missing}."):
            reason = f"no module {name!a}"
        raise SettingError(f"{named_by}: {reason}") from None
    for found in (getattr(module, "location", None), getattr(module, "defs", None)):
        if isinstance(found, Location):
            return found
        if isinstance(found, dg.Definitions):
            return Location(found)
    raise SettingError(f"{named_by}: module {name!a} has neither `location` nor `defs`")


def _refuse_void_options(definitions: dg.Definitions) -> None:
    """Make sure that the resources take from the settings what options of this call override."""
    resources = definitions.resources or {}
    own = {
        "--landing-dir": getattr(resources.get("landing"), "path", None),
        "--database": getattr(resources.get("warehouse"), "database", None),
    }
    for option in sorted(list_overridden()):
        if own[option]:
            raise SettingError(
                f"{option} would change nothing: a resource of the code location names its own"
            )


ERRORS_OF_ONE_FEED = (PartitionedEtlError, OSError, duckdb.Error, dg.DagsterError)
"""What keeps a command from one feed, and from no other."""


def describe_error(assets: FeedAssets, error: Exception) -> str:
    """Return one printable line for an error that keeps a command from a feed."""
    reason = " ".join(str(error).split())
    is_sentence = isinstance(error, PartitionedEtlError)
    return show(f"error: {reason}" if is_sentence else f"error: feed {assets.feed.name}: {reason}")


def look_at_each(
    feeds: Iterable[FeedAssets], look: Callable[[FeedAssets], T]
) -> tuple[list[T], int]:
    """Look at feeds one by one; one that cannot be looked at does not hide the others.

    Only a warehouse that others hold ends it: the other feeds share it, and each would wait as
    long.

    Args:
        feeds: The feeds' assets.
        look: Returns the answer for one feed.

    Returns:
        The answers, and the exit code: 0, or 2 if one is missing; standard error then explains why.
    """
    found, code = [], 0
    for assets in feeds:
        try:
            found.append(look(assets))
        except ERRORS_OF_ONE_FEED as error:
            click.echo(describe_error(assets, error), err=True)
            code = 2
            if isinstance(error, WarehouseLockedError):
                break
    return found, code


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
