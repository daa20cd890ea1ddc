"""Imports run one way, and only a room and its registry know what is in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import partitioned_etl

PACKAGE = Path(partitioned_etl.__file__).parent
LAYERS = ("engine", "components", "cli", "__main__")
TEMPLATE = PACKAGE / "project_template"
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py" and TEMPLATE not in path.parents
)
PUBLIC_IN_FACT = {f"dagster.components.core.{name}" for name in ("context", "decl", "defs_module")}
"""What lets one folder of definitions be loaded without the others; nothing else does."""
ROOMS = {
    "landing": ("landing", "names", "found"),
    "sources": ("computed_rows", "mirror", "places", "source", "troubles"),
    "notifications": ("receiver", "places"),
    "formats": ("format", "types", "values", "rows", "compression", "proposals"),
    "warehouse": ("warehouse", "ledger", "load_history", "rejected_rows"),
}
"""What those outside a room of the engine may know of it, beside its registry."""
EXCEPTIONS = {
    # The default format, and the text formats' own way of reading rows one by one.
    "engine/contract.py": {"formats.csv"},
    # Two spellings of a key are not two files.
    "engine/sources/computed_rows.py": {"landing.slots"},
    # What is fetched is written to where a landing lists it.
    "engine/sources/bucket_place.py": {"landing.bucket", "landing.object_store"},
    "engine/sources/folder_place.py": {"landing.local"},
    "engine/sources/places.py": {"landing.object_store"},
    # Python's one call takes a path; the default settings of both are its own.
    "engine/sync.py": {"landing.local", "warehouse.duckdb_file"},
    "engine/settings.py": {"landing.local", "warehouse.duckdb_file"},
}
HEAVY = {
    "apprise",
    "boto3",
    "feedparser",
    "fsspec",
    "matplotlib",
    "numpy",
    "pandas",
    "psutil",
    "rich",
    "tabulate",
}
"""Imported by the function that needs it, and by no module that a run worker loads."""


def imported_by(path: Path) -> set[str]:
    """Give the full names of the modules and members that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def layer_of(path: Path) -> str:
    """Give the layer of a file: its folder in the package, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_its_own_layer_and_those_below(path: Path) -> None:
    own = LAYERS.index(layer_of(path))
    for name in imported_by(path):
        parts = name.split(".")
        if parts[0] == "partitioned_etl" and parts[1] in LAYERS:
            assert LAYERS.index(parts[1]) <= own, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_engine_knows_no_dagster_and_nobody_its_private_modules(path: Path) -> None:
    dagster = {name for name in imported_by(path) if name.split(".")[0].startswith("dagster")}
    assert not {name for name in dagster if "._" in name}
    internal = {name.rpartition(".")[0] for name in dagster if ".core." in name}
    assert internal <= PUBLIC_IN_FACT
    if layer_of(path) == "engine":
        assert not dagster


def rooms_entered_by(path: Path) -> Iterator[tuple[str, str]]:
    """Give room and module of all that a file imports from the rooms of the engine."""
    for name in imported_by(path):
        parts = name.split(".")
        if parts[:2] == ["partitioned_etl", "engine"] and parts[2] in ROOMS:
            yield parts[2], parts[3]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_a_room_and_its_registry_know_what_is_in_it(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts
    entered = {
        f"{room}.{module}"
        for room, module in rooms_entered_by(path)
        if room not in own and module not in (*ROOMS[room], "registry")
    }
    assert entered <= EXCEPTIONS.get(name_of(path), set())


def test_what_is_heavy_is_imported_where_it_is_used() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name.split(".")[0] for node in at_import for name in ast.unparse(node).split()}
        if layer_of(path) != "cli":
            assert not names & HEAVY, path


def test_only_the_command_line_draws_progress() -> None:
    for path in MODULES:
        if layer_of(path) != "cli":
            assert not {name for name in imported_by(path) if name.split(".")[0] == "rich"}, path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_that_is_shipped_is_validated_by_assert(path: Path) -> None:
    """`python -O` leaves them out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
