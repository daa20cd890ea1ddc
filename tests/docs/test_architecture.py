"""docs/architecture.md: its tree is the package's, and what it names exists."""

import re
from pathlib import Path

from partitioned_etl.engine.project import project_dir

PAGE = (project_dir() / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = project_dir() / "src" / "partitioned_etl"
TEMPLATE = PACKAGE / "project_template"
OF_ALL_ROOMS = {"registry.py"}
"""Named once, below the tree."""
WITHOUT_REGISTRY = {"engine/formats/proposals"}
"""A room of functions, of which each format names its own."""


def list_tree() -> dict[str, set[str]]:
    """Give the files that the page's tree names, per folder."""
    [tree] = re.findall(
        r"^```text\nsrc/partitioned_etl/\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
    )
    found: dict[str, set[str]] = {"": set()}
    layer = folder = ""
    for line in tree.splitlines():
        name = line.split()[0]
        indent = len(line) - len(line.lstrip())
        if indent == 2:
            layer = folder = name.removesuffix("/") if name.endswith("/") else ""
        elif indent == 4 and name.endswith("/") and layer == "engine":
            folder = f"{layer}/{name.removesuffix('/')}"
        elif indent == 4:
            folder = layer
        found.setdefault(folder, set()).update(re.findall(r"[\w/]+\.(?:py|yaml)", line))
    return found


def list_files(folder: Path) -> set[str]:
    """Give the modules of a folder that the page has to name."""
    return {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}


def test_the_tree_is_the_packages() -> None:
    folders = [
        path
        for path in PACKAGE.rglob("*")
        if (path / "__init__.py").is_file() and TEMPLATE not in path.parents
    ]
    there = {
        "" if path == PACKAGE else path.relative_to(PACKAGE).as_posix(): list_files(path)
        for path in [PACKAGE, *folders]
    }
    of_rooms = {name for name in there if "/" in name}
    for name in of_rooms:
        assert "registry.py" in there[name] or name in WITHOUT_REGISTRY
        there[name] -= OF_ALL_ROOMS
    named = list_tree()
    assert named == there


def test_the_tree_of_the_project_is_there() -> None:
    [tree] = re.findall(r"^```text\nsrc/sample_feeds/(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"[\w/]+\.(?:py|yaml)", tree)) - {"definitions.py"}
    assert "daily_prices.py" in named
    assert all((PACKAGE.parent / "sample_feeds" / "defs" / name).is_file() for name in named)


def test_every_function_that_is_named_exists() -> None:
    names = re.findall(r"`(\w+)`: |`(?:landing|warehouse)\.(\w+)`|`(\w+_\w+)`", PAGE)
    code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    wanted = {name for found in names for name in found if name}
    wanted -= {"partitioned_etl", "rejected_rows", "file_loads"}
    assert {"scan", "make_plan", "make_agenda", "replace_rows", "load_files"} <= wanted
    assert not {name for name in wanted if not re.search(rf"\bdef {name}\(", code)}
