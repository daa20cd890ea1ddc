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

    Raises:
        SettingError: Nothing names one.
    """
    project = find_project(Path.cwd())
    if project:
        # It need not be installed: Dagster finds it in the working directory.
        places = (str(project.folder), str(project.folder / "src"))
        sys.path += [place for place in places if place not in sys.path]
    if name := Settings().definitions_module:
        return name, "setting DEFINITIONS_MODULE"
    if project and project.definitions_module:
        return project.definitions_module, f"project {project.folder}"
    raise SettingError(
        f"there is no project in {Path.cwd()} or above it: go to one, name a module in "
        "DEFINITIONS_MODULE, or make a project by `partitioned-etl init`"
    )


def enter_project() -> None:
    """Let the settings be those of the project of the definitions, wherever a command was called.

    What is wrong with it is said by whoever needs the definitions.
    """
    with suppress(SettingError):
        module, _ = find_definitions_module()
        file = find_file(module)
        if file and (project := find_project(file.parent)):
            use_project(project.folder)


def find_file(module: str) -> Path | None:
    """Return the file of a module; None if there is none, or its package cannot be imported."""
    try:
        spec = find_spec(module)
    except Exception:  # whatever the package raises
        return None
    return Path(spec.origin) if spec and spec.origin else None
