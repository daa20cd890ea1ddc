"""A project's code location: what it has by default, and what a project has in its place."""

from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import pytest

from partitioned_etl import FeedDefinitionError, LandingResource, load_location
from partitioned_etl.components.location import DEFAULT_RESOURCES
from partitioned_etl.engine import project
from support.own_project import write_project

FEED = """type: partitioned_etl.FileFeed
attributes:
  name: notes
  pattern: "{key}.csv"
  columns: {id: BIGINT}
"""
RESOURCES = """
import dagster as dg

from partitioned_etl import LandingResource, WarehouseResource

landing = LandingResource(path="/elsewhere")


@dg.definitions
def resources() -> dg.Definitions:
    return dg.Definitions(
        resources={"landing": landing, "warehouse": WarehouseResource(landing=landing)},
        executor=dg.multiprocess_executor,
    )
"""

Make = Callable[[Mapping[str, str]], str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make a project with a feed and other files; give the name of its package."""

    def make_project(files: Mapping[str, str]) -> str:
        monkeypatch.syspath_prepend(tmp_path / "own" / "src")
        return write_project(tmp_path / "own", {"defs/notes/defs.yaml": FEED, **files})

    return make_project


def test_a_project_has_the_resources_of_its_settings_and_what_watches_all_feeds(
    make: Make, tmp_path: Path
) -> None:
    definitions = load_location(f"{make({})}.defs").definitions
    assert definitions.resources == DEFAULT_RESOURCES
    assert definitions.executor is dg.in_process_executor
    repository = definitions.get_repository_def()
    assert {"notes_job", "reconcile_job"} <= {job.name for job in repository.get_all_jobs()}
    assert {"notes_sensor", "late_file_sensor"} <= {one.name for one in repository.sensor_defs}
    assert project.project_dir() == tmp_path / "own"


def test_what_a_project_defines_takes_the_place_of_the_defaults(make: Make) -> None:
    location = load_location(f"{make({'defs/resources.py': RESOURCES})}.defs")
    landing = (location.definitions.resources or {})["landing"]
    assert isinstance(landing, LandingResource)
    assert landing.path == "/elsewhere"
    assert location.definitions.executor is dg.multiprocess_executor


def test_a_landing_of_the_projects_own_is_that_of_the_default_warehouse_too(make: Make) -> None:
    only_landing = RESOURCES.replace(', "warehouse": WarehouseResource(landing=landing)', "")
    location = load_location(f"{make({'defs/resources.py': only_landing})}.defs")
    warehouse = (location.definitions.resources or {})["warehouse"]
    assert warehouse.landing.path == "/elsewhere"


def test_the_executor_of_a_project_comes_before_the_one_that_is_asked_for(make: Make) -> None:
    name = make({"defs/resources.py": RESOURCES})
    location = load_location(f"{name}.defs", executor=dg.in_process_executor)
    assert location.mistakes == ()
    assert location.definitions.executor is dg.multiprocess_executor


def test_a_feed_loads_by_dagsters_own_loader_too(make: Make, tmp_path: Path) -> None:
    name = make({"defs/resources.py": RESOURCES})
    found = dg.load_from_defs_folder(path_within_project=tmp_path / "own" / "src" / name)
    dg.Definitions.validate_loadable(found)
    assert {job.name for job in found.jobs or ()} == {"notes_job"}


@pytest.mark.parametrize("module", ["no_such_feeds.defs", "json.decoder"])
def test_what_is_no_package_of_definitions_is_refused(module: str) -> None:
    with pytest.raises((FeedDefinitionError, ModuleNotFoundError), match=r"no_such_feeds|package"):
        load_location(module)
