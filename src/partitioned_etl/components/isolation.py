"""Isolation: one feed's mistake stops no other feed.

Takes the package of definitions; returns what Dagster's own loader makes of it. If that fails, each
file and folder is loaded by itself: those that cannot be are shown as what they are, red and with
the reason, and every other one goes on. `dagster definitions validate` and `dg check defs` fail
instead, so that a mistake is found before it is deployed.
"""

import os
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import dagster as dg
from dagster.components.core.context import ComponentDeclLoadContext
from dagster.components.core.decl import (
    ComponentDecl,
    DefsFolderDecl,
    build_filesystem_component_decl_from_context,
)
from dagster.components.core.defs_module import ComponentPath
from pydantic import ValidationError

from partitioned_etl.components.assets import FeedAssets, find_feeds, introduce_feeds
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.engine.errors import FeedDefinitionError, PartitionedEtlError
from partitioned_etl.engine.overlap import folder_of, list_common_files

CHECK_NAME = "definition_can_be_built"
_IS_VALIDATION = "DAGSTER_IS_DEFS_VALIDATION_CLI"
"""Dagster sets this variable while it validates definitions."""
_IGNORED = ("__pycache__", ".")
_OF_ALL = "what concerns all feeds"


@dataclass(frozen=True)
class Mistake:
    """A file or folder of definitions that cannot be loaded.

    Attributes:
        name: Its name, without suffix: in general that of a feed.
        reason: Why, one sentence with file and line.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Location:
    """A code location, whose feeds know of each other.

    Attributes:
        definitions: Everything in it that can be loaded.
        mistakes: What cannot.
    """

    definitions: dg.Definitions
    mistakes: Sequence[Mistake] = ()

    def __post_init__(self) -> None:
        introduce_feeds(find_feeds(self.definitions))


Complete: TypeAlias = Callable[[dg.Definitions, Sequence[Mistake]], dg.Definitions]
"""Adds to the definitions of a folder what concerns all of them, and what shows the mistakes."""


def load_definitions(package: ModuleType, root: Path, complete: Complete) -> Location:
    """Load the definitions of a package, such that a mistake in one file stops no other.

    Args:
        package: The package, `defs`.
        root: The project's folder.
        complete: Adds what concerns all definitions.

    Raises:
        FeedDefinitionError: Dagster validates the definitions, and there is a mistake.
    """
    tree = dg.ComponentTree.from_module(package, root)
    try:
        # Without a path, Dagster also describes every component type, for a page of the web UI, and
        # takes twice as long.
        found = tree.build_defs(tree.defs_module_path)
        _refuse_clashes({package.__name__: found}, complete)
        whole = complete(found, ())
        dg.Definitions.validate_loadable(whole)
    except Exception as error:
        if os.environ.get(_IS_VALIDATION):
            reason = explain_mistake(error, tree.defs_module_path, root)
            raise FeedDefinitionError(reason) from error
    else:
        return Location(whole)
    return _load_one_by_one(dg.ComponentTree.from_module(package, root), root, complete)


def _load_one_by_one(tree: dg.ComponentTree, root: Path, complete: Complete) -> Location:
    mistakes: dict[str, Mistake] = {}

    def note(path: Path, error: Exception) -> None:
        reason = explain_mistake(error, tree.defs_module_path, root)
        where = path.relative_to(root) if path.is_relative_to(root) else path
        mistakes[path.name] = Mistake(
            path.stem, reason if str(where) in reason else f"{where}: {reason}"
        )

    declared: dict[Path, ComponentDecl] = {}
    for path, context in _list_children(tree):
        try:
            if decl := build_filesystem_component_decl_from_context(context):
                declared[path] = decl
        except Exception as error:
            note(path, error)
    _show_only(tree, declared)
    loaded: dict[Path, dg.Definitions] = {}
    for path in declared:
        try:
            loaded[path] = tree.build_defs(path)
        except Exception as error:
            note(path, error)
    try:
        by_name = {path.name: definitions for path, definitions in loaded.items()}
        _refuse_clashes(by_name, complete)
    except _ClashError as error:
        for path in [one for one in loaded if one.name in error.names]:
            del loaded[path]
            mistakes[path.name] = Mistake(path.stem, str(error))
    while True:
        try:
            whole = complete(dg.Definitions.merge(*loaded.values()), list(mistakes.values()))
            dg.Definitions.validate_loadable(whole)
        except Exception as error:
            path = _find_culprit(loaded, complete)
            if path is None:
                raise
            del loaded[path]
            note(path, error)
        else:
            return Location(whole, list(mistakes.values()))


def _list_children(
    tree: dg.ComponentTree,
) -> Iterator[tuple[Path, ComponentDeclLoadContext]]:
    for path in sorted(tree.defs_module_path.iterdir()):
        if not path.name.startswith(_IGNORED):
            location = ComponentPath.from_path(path)
            yield path, tree.decl_load_context.for_component_loc(location)


def _show_only(tree: dg.ComponentTree, declared: Mapping[Path, ComponentDecl]) -> None:
    """Let a tree hold only some files and folders, and not look for others."""
    location = ComponentPath.from_path(tree.defs_module_path)
    folder = DefsFolderDecl(
        context=tree.decl_load_context.for_component_loc(location),
        loc=location,
        children=dict(declared),
        source_tree=None,
        component_file_model=None,
    )
    tree.state_tracker.set_cache_data(location, component_decl=folder)


def _find_culprit(loaded: Mapping[Path, dg.Definitions], complete: Complete) -> Path | None:
    """Return the file or folder without which the others can be loaded together."""
    for path in loaded:
        others = [definitions for other, definitions in loaded.items() if other != path]
        try:
            dg.Definitions.validate_loadable(complete(dg.Definitions.merge(*others), ()))
        except Exception:
            continue
        return path
    return None


class _ClashError(FeedDefinitionError):
    """Two files of definitions need the same thing for themselves alone."""

    def __init__(self, reason: str, names: set[str]) -> None:
        super().__init__(reason)
        self.names = names


def _refuse_clashes(loaded: Mapping[str, dg.Definitions], complete: Complete) -> None:
    """Make sure that no two feeds share a table, an asset, a job, a sensor, a schedule or files.

    Of files it is sure only where a sample of one feed's names is a file of the other, too. None of
    the two is loaded, because either could damage the table of the other.

    Args:
        loaded: Definitions by the name of their file or folder.
        complete: Adds what concerns all of them, whose names nothing else may have.

    Raises:
        _ClashError: Two feeds share one.
    """
    owners: dict[tuple[str, str], dict[int, tuple[str, str]]] = defaultdict(dict)
    for name, definitions in {**loaded, _OF_ALL: complete(dg.Definitions(), ())}.items():
        for thing, claim, owner in _list_claims(definitions):
            owners[claim][id(thing)] = (name, _OF_ALL if name == _OF_ALL else owner)
    clashes = {
        claim: sorted(set(of_claim.values()))
        for claim, of_claim in owners.items()
        if len(of_claim) > 1
    }
    sentences = [
        f"{' and '.join(dict.fromkeys(owner for _, owner in both))} share the {kind} {value}"
        for (kind, value), both in clashes.items()
    ]
    names = {name for both in clashes.values() for name, _ in both}
    for one, other, path in _find_common_files(loaded):
        sentences.append(f"feed {one[1].feed.name} and feed {other[1].feed.name} both take {path}")
        names |= {one[0], other[0]}
    if sentences:
        raise _ClashError("; ".join(sentences), names)


_Loaded: TypeAlias = tuple[str, FeedAssets]
"""The name of a file or folder of definitions, and a feed in it."""


def _find_common_files(
    loaded: Mapping[str, dg.Definitions],
) -> Iterator[tuple[_Loaded, _Loaded, str]]:
    """Yield pairs of feeds that certainly take the same file, and its path.

    Their folders meet, so they are near each other in the order of folders.
    """
    feeds = [(name, assets) for name, found in loaded.items() for assets in find_feeds(found)]
    feeds.sort(key=lambda one: folder_of(one[1].feed))
    for number, (name, assets) in enumerate(feeds):
        for other_name, other in feeds[number + 1 :]:
            if not folder_of(other.feed).startswith(folder_of(assets.feed)):
                break
            if path := _find_common_file(assets, other) or _find_common_file(other, assets):
                yield (name, assets), (other_name, other), path


def _find_common_file(assets: FeedAssets, other: FeedAssets) -> str:
    """Return the path of a file of a feed that another one takes, too; empty if none is certain."""
    if assets.feed.claims["folder and pattern"] == other.feed.claims["folder and pattern"]:
        return ""  # Two feeds never share these.
    windows, of_other = assets.partitions.list_windows(), other.partitions.list_windows()
    for path, key, other_key in list_common_files(assets.feed, windows.list_examples(), other.feed):
        if key in windows and other_key in of_other:
            return path
    return ""


def _list_claims(
    definitions: dg.Definitions,
) -> Iterator[tuple[object, tuple[str, str], str]]:
    """List what definitions need for themselves alone: for what, kind and name, and who says so."""
    for asset in definitions.assets or ():
        assets = FeedAssets.find(asset)
        owner = f"feed {assets.feed.name}" if assets else "another definition"
        if assets:
            yield from ((asset, claim, owner) for claim in assets.feed.claims.items())
        if isinstance(asset, dg.AssetsDefinition):
            for key in asset.keys:
                yield asset, ("asset", key.to_user_string()), owner
    sensors, schedules = definitions.sensors or (), definitions.schedules or ()
    named = [
        *(("job", job.name, job, job) for job in definitions.jobs or ()),
        *(("sensor or schedule", sensor.name, sensor, sensor) for sensor in sensors),
        *(("sensor or schedule", one.name, one, getattr(one, "job", one)) for one in schedules),
    ]
    for kind, name, thing, tagged in named:
        feed = getattr(tagged, "tags", {}).get(FEED_TAG)
        yield thing, (kind, name), f"feed {feed}" if feed else f"{kind} {name}"


def explain_mistake(error: BaseException, folder: Path, root: Path) -> str:
    """Return why definitions cannot be loaded, as one sentence with file and line.

    Args:
        error: The error, with its causes.
        folder: The folder of the definitions.
        root: The project's folder, which paths are relative to.
    """
    cause = error
    while cause.__cause__:
        cause = cause.__cause__
    if isinstance(cause, ValidationError):
        reason = "; ".join(
            f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in cause.errors()
        )
    elif isinstance(cause, SyntaxError):
        reason = f"{cause.filename}:{cause.lineno}: {cause.msg}"
    elif isinstance(cause, PartitionedEtlError) or type(cause).__module__.startswith("yaml"):
        reason = str(cause)
    else:
        reason = f"{type(cause).__name__}: {cause}"
        if line := _find_line(cause, folder):
            reason = f"{line}: {reason}"
    return " ".join(reason.replace(f"{root}/", "").split())


def _find_line(cause: BaseException, folder: Path) -> str:
    """Return file and line of the definitions at which an error was raised; empty if unknown."""
    for frame in reversed(traceback.extract_tb(cause.__traceback__)):
        if Path(frame.filename).is_relative_to(folder):
            return f"{frame.filename}:{frame.lineno}"
    return ""


def show_mistakes(mistakes: Sequence[Mistake]) -> dg.Definitions:
    """Build what shows mistakes in the web UI: an asset for each, with a check that fails.

    Args:
        mistakes: The mistakes.
    """
    if not mistakes:
        return dg.Definitions()
    specs, checks = [], []
    for mistake in mistakes:
        key = dg.AssetKey(["broken_definitions", mistake.name])
        specs.append(
            dg.AssetSpec(
                key,
                group_name="broken_definitions",
                description=f"{mistake.name} cannot be loaded: {mistake.reason}",
                kinds={"broken"},
            )
        )
        checks.append(_build_failing_check(key, mistake))
    keys = [check.check_key for check in checks]
    return dg.Definitions(
        assets=specs,
        asset_checks=checks,
        sensors=[_build_mistake_sensor(dict(zip(keys, mistakes, strict=True)))],
    )


def _build_failing_check(key: dg.AssetKey, mistake: Mistake) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key, name=CHECK_NAME, description=mistake.reason)
    def definition_can_be_built() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            passed=False, description=mistake.reason, metadata={"reason": mistake.reason}
        )

    return definition_can_be_built


def _build_mistake_sensor(mistakes: Mapping[dg.AssetCheckKey, Mistake]) -> dg.SensorDefinition:
    """Build the sensor that evaluates the failing checks, so that nobody has to."""

    @dg.sensor(
        name="broken_definitions_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks as failed what cannot be loaded, and says why.",
    )
    def broken_definitions_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        said = "; ".join(f"{mistake.name}: {mistake.reason}" for mistake in mistakes.values())
        events = [
            dg.AssetCheckEvaluation(
                check.asset_key,
                check.name,
                passed=False,
                description=mistake.reason,
                metadata={"reason": mistake.reason},
            )
            for check, mistake in mistakes.items()
        ]
        is_new = context.cursor != said
        return dg.SensorResult(skip_reason=said, cursor=said, asset_events=events if is_new else [])

    return broken_definitions_sensor
