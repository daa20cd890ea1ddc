"""The project whose definitions the commands use: the nearest one, or what a setting names.

It imports no Dagster, so that what needs no definitions need not wait for it.
"""

import sys
from pathlib import Path

from partitioned_etl.engine.errors import SettingError
from partitioned_etl.engine.project import find_project
from partitioned_etl.engine.settings import Settings


def find_definitions_module() -> tuple[str, str]:
    """Return the module of the code location, and what names it, for a message.

    Raises:
        SettingError: Nothing does.
    """
    if name := Settings().definitions_module:
        return name, "setting DEFINITIONS_MODULE"
    project = find_project(Path.cwd())
    if project and project.definitions_module:
        # It need not be installed: Dagster finds it in the working directory.
        places = (str(project.folder), str(project.folder / "src"))
        sys.path += [place for place in places if place not in sys.path]
        return project.definitions_module, f"project {project.folder}"
    raise SettingError(
        f"there is no project in {Path.cwd()} or above it: go to one, name a module in "
        "DEFINITIONS_MODULE, or make a project by `partitioned-etl init`"
    )
