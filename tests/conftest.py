"""What the Dagster tests share: a landing directory, a warehouse and an instance of their own."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner, Result
from hypothesis.configuration import set_hypothesis_home_dir

from partitioned_etl.cli.main import commands
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.engine import project
from partitioned_etl.engine.sources import retries
from support.remote_server import RemoteServer, start_remote_server
from support.workbench import Child, Workbench

collect_ignore = ["support/released"]
"""Projects, whose tests run in projects."""


@pytest.fixture(autouse=True)
def no_project_in_use() -> Iterator[None]:
    """Let no test see which project another one has loaded.

    Without monkeypatch, which would then be undone after all other fixtures, and not before.
    """
    project._in_use.clear()
    yield
    project._in_use.clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no process is left with them alone in the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _hypothesis_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hypothesis keeps its caches with the test's files, and not in the checkout."""
    set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))


@pytest.fixture(scope="session", autouse=True)
def _output_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made from the tables lies with the test's files, and not in the checkout."""
    folder = tmp_path_factory.mktemp("output")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("archive", "reports"):
            monkeypatch.setenv(f"{name.upper()}_DIR", str(folder / name))
        yield


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A landing directory and a database that nobody else uses."""
    bench = Workbench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def remote() -> Iterator[RemoteServer]:
    """A server that lists items, and gives them."""
    with start_remote_server() as server:
        yield server


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def start_child(bench: Workbench) -> Iterator[Callable[[str], Child]]:
    """Start processes that run Python code on the same workbench; all are ended."""
    children: list[Child] = []

    def start(code: str) -> Child:
        children.append(bench.start_child(code))
        return children[-1]

    yield start
    for child in children:
        child.close()


@pytest.fixture
def landing_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty landing directory with the folders of the sample feeds, set as LANDING_DIR."""
    folder = tmp_path / "landing"
    for feed_folder in ("daily", "customers", "monthly"):
        (folder / feed_folder).mkdir(parents=True)
    monkeypatch.setenv("LANDING_DIR", str(folder))
    monkeypatch.setenv("SETTLE_SECONDS", "0")
    return folder


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of a database that is not made yet, set as DUCKDB_DATABASE."""
    path = tmp_path / "warehouse.duckdb"
    monkeypatch.setenv("DUCKDB_DATABASE", str(path))
    return path


@pytest.fixture
def query(database: Path) -> Callable[..., list[tuple[object, ...]]]:
    """Run a query on the database in a connection of its own."""

    def run(sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with duckdb.connect(str(database)) as connection:
            return connection.execute(sql, list(values)).fetchall()

    return run


@pytest.fixture
def resources(landing_dir: Path, database: Path) -> dict[str, object]:
    """The shipped resources, which take folder and database from the settings."""
    assert os.environ["LANDING_DIR"] == str(landing_dir)
    assert os.environ["DUCKDB_DATABASE"] == str(database)
    landing = LandingResource()
    return {"landing": landing, "warehouse": WarehouseResource(landing=landing)}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this test only, in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture(scope="session")
def dagster_storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dagster's storage of an instance that nobody has used: to make one takes a second or two."""
    home = tmp_path_factory.mktemp("dagster_storage")
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        instance.get_runs(limit=1)
        instance.all_instigator_state()
        instance.fetch_materializations(dg.AssetKey("none"), limit=1)
    (home / "dagster.yaml").unlink()
    return home


@pytest.fixture
def dagster_home(tmp_path: Path, dagster_storage: Path) -> Path:
    """The folder of a Dagster instance of this test only."""
    home = tmp_path / "dagster_home"
    shutil.copytree(dagster_storage, home)
    return home


@pytest.fixture
def instance_on_disk(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this test only, which other processes can open, too."""
    with dg.instance_for_test(temp_dir=str(dagster_home)) as instance:
        yield instance


@pytest.fixture
def call(
    landing_dir: Path, database: Path, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Call the command line for the sample feeds with arguments, in this process."""
    (dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
    monkeypatch.setenv("DEFINITIONS_MODULE", "support.sample_location")

    def run(*arguments: object, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(commands, [str(argument) for argument in arguments], stdin)

    return run
