"""The code location of a project: all that its `defs/` has, and what concerns all of it.

A project's `definitions.py` is one call of it. Resources and the executor are those of the
project where it defines them, by a `dg.Definitions` in a module of `defs/`; else these here.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import dagster as dg

from partitioned_etl.components.isolation import Location, Mistake, load_definitions
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.watch import watch
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.project import find_project, use_project

_landing = LandingResource()

DEFAULT_RESOURCES = {"landing": _landing, "warehouse": WarehouseResource(landing=_landing)}
"""The landing and the warehouse that the settings name, which every feed shares."""


def load_location(module: str, *, executor: dg.ExecutorDefinition | None = None) -> Location:
    """Load a project's code location, such that a mistake in one file stops no other.

    Besides the definitions in the module, it has the nightly reconcile job, the sensors that report
    late files and failed runs, and the calendar of arrivals. From now on, the project is that of
    the whole process: relative paths in settings are relative to its folder.

    Args:
        module: The package of definitions, such as `my_feeds.defs`.
        executor: What executes the steps of jobs, unless the project defines an executor; by
            default, a run does so itself.

    Raises:
        FeedDefinitionError: The module is no package, or Dagster validates the definitions and
            there is a mistake.
    """
    package = import_module(module)
    folder = next(iter(getattr(package, "__path__", ())), None)
    if not folder:
        raise FeedDefinitionError(f"{module} is no package: name a folder, with its __init__.py")
    project = find_project(Path(folder))
    use_project(project.folder if project else Path.cwd())
    return load_definitions(
        package,
        project.folder if project else Path(folder).parent,
        complete=lambda found, mistakes: _complete(found, mistakes, executor),
    )


def _complete(
    found: dg.Definitions, mistakes: Sequence[Mistake], executor: dg.ExecutorDefinition | None
) -> dg.Definitions:
    own = found.resources or {}
    shared = dict(DEFAULT_RESOURCES)
    if isinstance(landing := own.get("landing"), LandingResource):
        shared["warehouse"] = WarehouseResource(landing=landing)
    return dg.Definitions.merge(
        found,
        watch(found, mistakes),
        dg.Definitions(
            resources={name: one for name, one in shared.items() if name not in own},
            executor=None if found.executor else executor or dg.in_process_executor,
        ),
    )
