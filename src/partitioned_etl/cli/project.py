"""The project whose definitions the commands use: the nearest one, or what a setting names.

It imports no Dagster, so that what needs no definitions need not wait for it.
"""

import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from partitioned_etl.engine.errors import SettingError
from partitioned_etl.engine.project import find_project, use_project
from partitioned_etl.engine.settings import Settings


def find_definitions_module() -> tuple[str, str]:
    """Return the module of the code location, and what names it, for a message.

    From now on, the settings are those of the project that the module is in, wherever the command
    was called.

    Raises:
        SettingError: Nothing names one.
    """
    project = find_project(Path.cwd())
    if project:
        # It need not be installed: Dagster finds it in the working directory.
        places = (str(project.folder), str(project.folder / "src"))
        sys.path += [place for place in places if place not in sys.path]
    if name := Settings().definitions_module:
        _use_project_of(name)
        return name, "setting DEFINITIONS_MODULE"
    if project and project.definitions_module:
        _use_project_of(project.definitions_module)
        return project.definitions_module, f"project {project.folder}"
    raise SettingError(
        f"there is no project in {Path.cwd()} or above it: go to one, name a module in "
        "DEFINITIONS_MODULE, or make a project by `partitioned-etl init`"
    )


def enter_project() -> None:
    """Let the settings be those of the project, if there is one."""
    with suppress(SettingError):
        find_definitions_module()


def _use_project_of(module: str) -> None:
    """Let the process use the project that a module is in, if both can be found."""
    with suppress(ImportError, ValueError):
        spec = find_spec(module)
        project = find_project(Path(spec.origin).parent) if spec and spec.origin else None
        if project:
            use_project(project.folder)
