"""Adding a feed as the README says, in YAML or in Python, leaves the tests of definitions green."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from partitioned_etl.components.scaffold import write_example
from support.dev_server import PROJECT

LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.duckdb*")
SUITE = (
    "tests/defs",
    "tests/docs/test_generated.py",
    "tests/docs/test_readme.py",
    "tests/test_layers.py",
)


@pytest.mark.long
@pytest.mark.slow
def test_two_more_feeds_leave_the_tests_of_definitions_green(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=LEFT_OUT)
    shutil.copy(PROJECT / ".env.example", project)
    defs = project / "src" / "sample_feeds" / "defs"
    (defs / "my_feed").mkdir()
    example = write_example("partitioned_etl.FileFeed", "my_feed")
    (defs / "my_feed" / "defs.yaml").write_text(example, encoding="utf-8")
    page = (PROJECT / "docs" / "feeds.md").read_text(encoding="utf-8")
    in_python = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    (defs / "payments.py").write_text(f'"""Payments."""\n\n{in_python}', encoding="utf-8")

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITE),
            *("-m", "not slow"),
        ],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    shown = subprocess.run(
        [sys.executable, "-m", "partitioned_etl", "plan", "--json", "--feed", "payments"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert "there is no feed" not in shown.stderr
