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
        if project := _find_in(folder):
            return project
    return None


def _find_in(folder: Path) -> Project | None:
    """Return the project that the files of a folder declare; None if they declare none."""
    if declared := _find(_read(folder / "dg.toml"), "project"):
        return _to_project(folder, declared)
    tools = _find(_read(folder / "pyproject.toml"), "tool")
    if declared := _find(tools, "dg", "project"):
        return _to_project(folder, declared)
    if declared := _find(tools, "dagster"):
        return Project(folder, str(declared.get("module_name", "")))
    return None


def _to_project(folder: Path, declared: Mapping[str, Any]) -> Project:
    """Return the project that a table of `dg` declares."""
    root_module = declared.get("root_module") or folder.name.replace("-", "_")
    module = declared.get("code_location_target_module") or f"{root_module}.definitions"
    return Project(folder, str(module))


def _read(file: Path) -> Mapping[str, Any]:
    """Return what a file holds; nothing if there is none."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise SettingError(f"{file} cannot be read: {error}") from None


def _find(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a table in a table; an empty one if there is none."""
    for name in names:
        found = table.get(name)
        table = found if isinstance(found, Mapping) else {}
    return table


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
