"""What the tests of the command line share: code locations that only one test has."""

import sys
from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
from click.testing import Result

from partitioned_etl.components.isolation import Location, Mistake
from support.define import DefinedFeed, define_location


@pytest.fixture
def use_location(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Location]:
    """Let the command line use a code location of some feeds, and of some mistakes."""

    def use(*feeds: DefinedFeed, mistakes: Sequence[Mistake] = ()) -> Location:
        location = Location(define_location(*feeds), mistakes)
        module = ModuleType("location_of_one_test")
        monkeypatch.setattr(module, "location", location, raising=False)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setenv("DEFINITIONS_MODULE", module.__name__)
        return location

    return use
