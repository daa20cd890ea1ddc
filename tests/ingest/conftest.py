"""Fixtures of the `ingest` tests: a workbench, and processes beside the test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.workbench import Child, Workbench


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
