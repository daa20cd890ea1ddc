"""The page on what changed against the tutorial names functions and tests that exist."""

import re
from importlib import import_module

import pytest

from partitioned_etl.engine.project import project_dir

TESTS = project_dir() / "tests"
PAGE = (project_dir() / "docs" / "from-the-tutorial.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\|.* \| \[`\S+`\]\(\.\./src/((?:partitioned_etl|sample_feeds)/\S+)\.py\) `(\w+)` "
    r"\| `(\S+)::(\w+)` \|$",
    PAGE,
    re.MULTILINE,
)


def test_every_row_says_where_and_what_shows_it() -> None:
    tables = len(re.findall(r"^\| there \|", PAGE, re.MULTILINE))
    assert len(ROWS) == len(re.findall(r"^\| ", PAGE, re.MULTILINE)) - 2 * tables
    assert len(ROWS) >= 20


@pytest.mark.parametrize(("module", "name", "file", "test"), ROWS)
def test_what_a_row_names_exists(module: str, name: str, file: str, test: str) -> None:
    assert hasattr(import_module(module.replace("/", ".")), name)
    assert f"\ndef {test}(" in (TESTS / file).read_text(encoding="utf-8")
