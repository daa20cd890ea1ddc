"""`dg scaffold defs` writes a feed that passes `dg check yaml`, loads and takes a file."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components import FileFeed

TYPE_NAME = "partitioned_etl.FileFeed"
DG_TOML = """\
directory_type = "project"

[project]
root_module = "own_project"
registry_modules = ["partitioned_etl.components"]

[cli.telemetry]
enabled = false
"""


def run_dg(project: Path, *arguments: str) -> str:
    """Run a `dg` command in a project and give what it prints."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dg")), *arguments],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(project / "src"), *sys.path]),
            "VIRTUAL_ENV": sys.prefix,
        },
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty `dg` project beside this package."""
    defs = tmp_path / "project" / "src" / "own_project" / "defs"
    defs.mkdir(parents=True)
    (defs.parent / "__init__.py").touch()
    (defs / "__init__.py").touch()
    (tmp_path / "project" / "dg.toml").write_text(DG_TOML, encoding="utf-8")
    return tmp_path / "project"


@pytest.mark.long
@pytest.mark.slow
def test_a_scaffolded_feed_is_valid_and_loads_a_file(
    project: Path,
    landing_dir: Path,
    resources: dict[str, object],
    query: Callable[..., list[tuple[Any, ...]]],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_dg(project, "scaffold", "defs", TYPE_NAME, "my_feed")
    assert "validated successfully" in run_dg(project, "check", "yaml")

    monkeypatch.syspath_prepend(project / "src")
    tree = dg.ComponentTree.from_module(import_module("own_project.defs"), project)
    [feed] = tree.get_all_components(FileFeed)
    (landing_dir / "my_feed").mkdir()
    text = "id,day,amount\n1,2018-01-22,2.5\n"
    (landing_dir / "my_feed" / "north.csv").write_text(text, encoding="utf-8")
    instance.add_dynamic_partitions("my_feed", ["north"])
    [assets] = [
        one
        for one in tree.build_defs("my_feed").assets or []
        if isinstance(one, dg.AssetsDefinition)
    ]
    result = dg.materialize([assets], instance=instance, partition_key="north", resources=resources)
    assert result.success
    assert query("SELECT id, day::VARCHAR, amount, partition_key FROM my_feed") == [
        (1, "2018-01-22", 2.5, "north")
    ]
    columns = feed.column_descriptions
    assert columns == {"amount": "In euro, without tax."}


def test_dg_names_the_line_of_a_wrong_attribute(project: Path) -> None:
    folder = project / "src" / "own_project" / "defs" / "my_feed"
    folder.mkdir()
    text = f"type: {TYPE_NAME}\nattributes:\n  name: my_feed\n  foldr: x\n"
    (folder / "defs.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"defs\.yaml:4"):
        run_dg(project, "check", "yaml")
