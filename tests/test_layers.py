"""Imports run one way, and the package's tree is the one that its pages describe."""

import ast
from pathlib import Path

import pytest

from partitioned_etl import definitions

PACKAGE = Path(definitions.__file__).parent
LAYERS = [
    *("ingest", "reports", "builders", "components", "defs", "definitions"),
    *("cli", "__main__"),
]
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def imported_by(path: Path) -> set[str]:
    """Give the full names of the modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of(path: Path) -> str:
    """Give the layer of a file: its folder in the package, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_its_own_layer_and_those_below(path: Path) -> None:
    own = LAYERS.index(layer_of(path))
    for name in imported_by(path):
        parts = name.split(".")
        if parts[0] == "partitioned_etl" and parts[1] in LAYERS:
            assert LAYERS.index(parts[1]) <= own, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_uses_private_modules_of_dagster_and_ingest_uses_none(path: Path) -> None:
    dagster = {name for name in imported_by(path) if name.split(".")[0].startswith("dagster")}
    assert not {name for name in dagster if "._" in name}
    if layer_of(path) in ("ingest", "reports"):
        assert not dagster


def test_the_plotting_library_is_imported_by_the_function_that_draws() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name for node in at_import for name in ast.unparse(node).split()}
        assert not {name for name in names if name.split(".")[0] == "matplotlib"}, path
        if layer_of(path) != "reports":
            assert not {name for name in imported_by(path) if name.startswith("matplotlib")}, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_tree_is_the_documented_one() -> None:
    tree = {
        folder: {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}
        for folder in ("ingest", "builders", "defs", "components")
    }
    assert {"feed", "landing", "contract", "warehouse", "reconcile", "sync"} <= tree["ingest"]
    assert {"imports", "checks", "loads", "jobs", "sensors"} <= tree["builders"]
    assert tree["components"] == {"file_feed", "mistakes", "scaffolding"}
    assert tree["defs"] == {
        "partitions",
        "daily_prices",
        "customer_prices",
        "monthly_orders",
        "resources",
    }
