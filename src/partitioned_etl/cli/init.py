"""Init: a project of one's own, which depends on this package.

Takes the name of a folder; writes what `project_template/` has into it, with the project's name in
the place of `my_feeds`, and `.env.example` from the settings.
"""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path, PurePath

import click

from partitioned_etl.cli.output import show
from partitioned_etl.engine.errors import SettingError
from partitioned_etl.engine.settings_example import render_env_example

_DISTRIBUTION = "partitioned-etl"
_NAME, _NAME_OF_DISTRIBUTION = "my_feeds", "my-feeds"
_REQUIREMENT = f'"{_DISTRIBUTION}"'
_RENAMED = {"gitignore": ".gitignore"}
"""Files that would mean something where the template is."""
_LEFT_OUT = ("__pycache__", ".")


def make_project(folder: Path) -> int:
    """Write a new project, and print what to do next.

    Args:
        folder: Where to; it is made if it does not exist. The project is called like it.

    Raises:
        SettingError: There is something in the folder, its name is no name of a Python package, or
            it cannot be written to.
    """
    folder = folder.resolve()
    name = _name_package(folder.name)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise SettingError(f"{folder} is not empty: name a folder that is, or that is new")
        for path, text in _render(name):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingError(f"{folder} cannot be written to: {error.strerror}") from None
    click.echo(
        f"Made project {name} in {show(str(folder))}. Next:\n"
        f"  cd {show(shlex.quote(str(folder)))}\n"
        "  make run    # load the sample files\n"
        "  make test   # run the tests\n"
        "  make dev    # the web UI, on http://127.0.0.1:3000"
    )
    return 0


def _name_package(text: str) -> str:
    """Return the name of the project's package, from the name of its folder."""
    name = re.sub(r"[\s.-]", "_", text).lower()
    if not (name.isidentifier() and name.isascii()) or iskeyword(name):
        raise SettingError(f"{text!a} cannot be the name of a Python package: choose another one")
    if name in sys.stdlib_module_names or name in {"test", "tests"} or find_spec(name):
        raise SettingError(f"there is a Python package {name} already: choose another name")
    return name


def _render(name: str) -> Iterator[tuple[PurePath, str]]:
    """Yield each file of a project, by its path in it, with its text."""
    requirement = json.dumps(find_requirement(distribution(_DISTRIBUTION)))
    for path, file in _list_files(files("partitioned_etl") / "project_template", PurePath()):
        text = file.read_text(encoding="utf-8")
        if path == PurePath("pyproject.toml"):
            text = text.replace(_REQUIREMENT, requirement)
        text = text.replace(_NAME, name).replace(_NAME_OF_DISTRIBUTION, name.replace("_", "-"))
        renamed = path.with_name(_RENAMED.get(path.name, path.name))
        yield PurePath(*(name if part == _NAME else part for part in renamed.parts)), text
    yield PurePath(".env.example"), render_env_example()


def _list_files(folder: Traversable, path: PurePath) -> Iterator[tuple[PurePath, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(_LEFT_OUT):
            continue
        if entry.is_dir():
            yield from _list_files(entry, path / entry.name)
        else:
            yield path / entry.name, entry


def find_requirement(package: Distribution) -> str:
    """Return how a project requires this package, such that it gets what is installed here.

    That is a version, if it came from an index; else the file, folder or repository that it came
    from, as its `direct_url.json` says (PEP 610).
    """
    told = json.loads(package.read_text("direct_url.json") or "{}")
    if not told:
        return f"{_DISTRIBUTION}>={package.version},<{int(package.version.split('.')[0]) + 1}"
    if vcs := told.get("vcs_info"):
        return f"{_DISTRIBUTION} @ {vcs['vcs']}+{told['url']}@{vcs['commit_id']}"
    return f"{_DISTRIBUTION} @ {told['url']}"
