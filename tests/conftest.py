"""What the Dagster tests share: a landing directory, a warehouse and an instance of their own."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner, Result
from hypothesis.configuration import set_hypothesis_home_dir

from partitioned_etl.builders.resources import LandingDirectory, Warehouse
from partitioned_etl.cli.main import commands

PRICE_HEADER = "date,share_price,amount,spend,shift,spread\n"
ORDER_HEADER = "id,user_id,order_date,status\n"


def price_rows(*share_prices: float) -> str:
    """Give the text of a price file with one row per share price."""
    rows = (f"2018-01-{day:02d},{price},2,3,4,5\n" for day, price in enumerate(share_prices, 1))
    return PRICE_HEADER + "".join(rows)


def order_rows(month: str, *statuses: str) -> str:
    """Give the text of an order file with one order per status."""
    rows = (f"{number},7,{month}-15,{status}\n" for number, status in enumerate(statuses, 1))
    return ORDER_HEADER + "".join(rows)


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
def landing_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty landing directory with the folders of the shipped feeds, set as LANDING_DIR."""
    folder = tmp_path / "landing"
    for feed_folder in ("daily", "customers", "monthly", "stock"):
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
    landing = LandingDirectory()
    return {"landing": landing, "warehouse": Warehouse(landing=landing)}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this test only, in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def instance_on_disk(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of this test only, which other processes can open, too."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        yield instance


@pytest.fixture
def call(
    landing_dir: Path, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Call the command line with arguments, in this process."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(commands, [str(argument) for argument in arguments])

    return run
