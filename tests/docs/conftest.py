"""What the tests of pages share: the script that writes the generated parts of pages."""

from importlib import util
from types import ModuleType

import pytest

from partitioned_etl.engine.project import project_dir


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script that `make docs` runs."""
    spec = util.spec_from_file_location("generate", project_dir() / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
