"""Fixtures of the `ingest` tests: a workbench, and processes beside the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from ingest.workbench import Child, Workbench


@pytest.fixture(scope="session", autouse=True)
def _hypothesis_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hypothesis keeps its caches with the test's files, and not in the checkout."""
    set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    """A landing directory and a database that nobody else uses."""
    return Workbench(tmp_path)


@pytest.fixture
def start_child(bench: Workbench) -> Iterator[Callable[[str], Child]]:
    """Start processes that run Python code on the same workbench; all are ended."""
    children: list[Child] = []

    def start(code: str) -> Child:
        children.append(Child(bench, code))
        return children[-1]

    yield start
    for child in children:
        child.close()
