"""The project: the folder of what a user declares, and the module that loads it.

Relative paths in settings, `.env` and the command line's feeds are those of a project. It is a
folder with a `dg.toml`, or with a `pyproject.toml` that has a table `[tool.dg.project]` or
`[tool.dagster]`: what Dagster's own commands know a project by.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partitioned_etl.engine.errors import SettingError


@dataclass(frozen=True)
class Project:
    """A project.

    Attributes:
        folder: Its folder.
        definitions_module: The module of its definitions, such as `my_feeds.definitions`; empty if
            it does not say.
    """

    folder: Path
    definitions_module: str = ""


def find_project(start: Path) -> Project | None:
    """Return the project that a file or folder belongs to: the nearest one above it, or None.

    Raises:
        SettingError: A file that would say so cannot be read.
    """
    for folder in (start, *start.parents):
        for name, path in (("dg.toml", ()), ("pyproject.toml", ("tool",))):
            if (folder / name).is_file() and (
                project := _parse(folder, _find(_read(folder / name), *path), is_dg=not path)
            ):
                return project
    return None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(f"{file} cannot be read: {error}") from None


def _find(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a table in a table; an empty one if there is none."""
    for name in names:
        found = table.get(name)
        table = found if isinstance(found, Mapping) else {}
    return table


def _parse(folder: Path, table: Mapping[str, Any], *, is_dg: bool) -> Project | None:
    """Return the project that a file's table declares; None if it declares none."""
    dg = _find(table, "project") if is_dg else _find(table, "dg", "project")
    if dg:
        root_module = dg.get("root_module") or folder.name.replace("-", "_")
        module = dg.get("code_location_target_module") or f"{root_module}.definitions"
        return Project(folder, str(module))
    dagster = {} if is_dg else _find(table, "dagster")
    return Project(folder, str(dagster.get("module_name", ""))) if dagster else None


_in_use: list[Path] = []
"""The folder of the project whose definitions this process has loaded."""


def use_project(folder: Path) -> None:
    """Let this process take a folder for its project, whatever its working directory."""
    _in_use[:] = [folder]


def project_dir() -> Path:
    """Return the folder that relative paths in settings, and `.env`, are relative to.

    It is that of the project whose definitions this process has loaded; before it has, of the
    project that the working directory is in; outside of a project, the working directory.

    Raises:
        SettingError: A file that would say so cannot be read.
    """
    if _in_use:
        return _in_use[0]
    project = find_project(Path.cwd())
    return project.folder if project else Path.cwd()
