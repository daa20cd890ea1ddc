"""Modules: what the Python files below `defs/` declare.

Takes the package; returns its modules, the pipelines in them, and whatever else they hold for
Dagster, such as an asset or a schedule of one's own. Folders with a `defs.yaml` are Dagster's part.
"""

import warnings
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import dagster as dg
from dagster.components.definitions import LazyDefinitions

from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.refresh import Refresh
from partitioned_etl.ingest.errors import FeedDefinitionError

T = TypeVar("T")


def import_modules(package: ModuleType) -> list[ModuleType]:
    """Import every module of a package, those of its folders, too.

    Args:
        package: The package.
    """
    folder = Path(package.__path__[0])
    names = (path.relative_to(folder).with_suffix("").parts for path in folder.rglob("*.py"))
    return [
        import_module(".".join((package.__name__, *parts)).removesuffix(".__init__"))
        for parts in sorted(names)
        if not any(part.startswith(".") for part in parts)
    ]


def find_pipelines(modules: Iterable[ModuleType]) -> list[FeedPipeline]:
    """Return the pipelines that modules hold, once each: a module may import another's."""
    return _find(modules, FeedPipeline)


def load_others(modules: Sequence[ModuleType], pipelines: Sequence[FeedPipeline]) -> dg.Definitions:
    """Return what modules hold for Dagster that is no part of a pipeline.

    Args:
        modules: The modules.
        pipelines: The pipelines in them.

    Raises:
        FeedDefinitionError: A function with `dg.definitions` wants a context, which there is only
            for a `defs.yaml`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        found = dg.load_definitions_from_modules(modules)
    in_use = {id(pipeline.refresh) for pipeline in pipelines}
    alone = [
        refresh.to_definitions() for refresh in _find(modules, Refresh) if id(refresh) not in in_use
    ]
    whole = [*(pipeline.to_definitions() for pipeline in pipelines), *alone]
    known = {id(part) for definitions in whole for part in _list_parts(definitions)}

    def select(parts: Iterable[T] | None) -> list[T]:
        return [part for part in parts or () if id(part) not in known]

    return dg.Definitions.merge(
        dg.Definitions(
            assets=select(found.assets),
            asset_checks=select(found.asset_checks),
            jobs=select(found.jobs),
            schedules=select(found.schedules),
            sensors=select(found.sensors),
        ),
        *alone,
        *_find(modules, dg.Definitions),
        *(_build(lazy) for lazy in _find(modules, LazyDefinitions)),
    )


def _build(lazy: LazyDefinitions[dg.Definitions]) -> dg.Definitions:
    if lazy.has_context_arg:
        function = f"{lazy.load_fn.__module__}.{lazy.load_fn.__name__}"
        raise FeedDefinitionError(
            f"{function}: what dg.definitions decorates takes no context here"
        )
    return lazy()


def _find(modules: Iterable[ModuleType], kind: type[T]) -> list[T]:
    held = (value for module in modules for value in vars(module).values())
    return list({id(value): value for value in held if isinstance(value, kind)}.values())


def _list_parts(definitions: dg.Definitions) -> list[object]:
    return [
        *(definitions.assets or ()),
        *(definitions.asset_checks or ()),
        *(definitions.jobs or ()),
        *(definitions.schedules or ()),
        *(definitions.sensors or ()),
    ]
