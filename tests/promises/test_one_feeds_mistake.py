"""A running `dagster dev` with a broken `defs.yaml`: all other feeds go on, and it is named."""

import time
from collections.abc import Iterator

import pytest

from support.dagster_state import list_runs, read_partition_statuses, wait_for_run
from support.dev_server import LOCATION, DevServer, open_server

LOCATION_FILE = """
from pathlib import Path

import dagster as dg
import feeds

from partitioned_etl.components.isolation import load_definitions
from partitioned_etl.components.location import DEFAULT_RESOURCES
from partitioned_etl.components.watch import watch


def complete(found, mistakes):
    shared = dg.Definitions(resources=DEFAULT_RESOURCES, executor=dg.in_process_executor)
    return dg.Definitions.merge(found, watch(found, mistakes), shared)


defs = load_definitions(feeds, Path(__file__).parent, complete).definitions
"""
FEED = """
type: partitioned_etl.FileFeed
attributes:
  name: {name}
  pattern: "{{key}}.csv"
  columns: {{id: BIGINT}}
"""
WRONG = FEED.format(name="wrong").replace("columns", "colunms")
CHECKS = """
query ($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
  description
  assetChecksOrError { ... on AssetChecks { checks { name description
    executionForLatestMaterialization { status } } } } } } }
"""

pytestmark = [pytest.mark.long, pytest.mark.slow]


@pytest.fixture
def server() -> Iterator[DevServer]:
    """A server with a good feed, and one whose declaration has a typo."""
    with open_server("location.py", SENSOR_INTERVAL_SECONDS="5", SETTLE_SECONDS="0.5") as server:
        (server.folder / "location.py").write_text(LOCATION_FILE, encoding="utf-8")
        for name, text in (("good", FEED.format(name="good")), ("wrong", WRONG)):
            folder = server.folder / "feeds" / name
            folder.mkdir(parents=True)
            (folder / "defs.yaml").write_text(text, encoding="utf-8")
            (server.landing_dir / name).mkdir()
        (server.folder / "feeds" / "__init__.py").touch()
        server.start()
        yield server


def read_failed_checks(server: DevServer) -> list[str]:
    """Give the reasons of the checks that have failed for what cannot be loaded."""
    asset = server.ask(CHECKS, asset={"path": ["broken_definitions", "wrong"]})["assetNodeOrError"]
    checks = asset["assetChecksOrError"]["checks"]
    executions = [(one, one["executionForLatestMaterialization"]) for one in checks]
    return [one["description"] for one, ran in executions if ran and ran["status"] == "FAILED"]


def reload(server: DevServer) -> None:
    """Reload the definitions, as the button of the web UI does."""
    server.ask(
        "mutation ($location: String!) { reloadRepositoryLocation("
        "repositoryLocationName: $location) { __typename } }",
        location=LOCATION,
    )


def test_a_broken_feed_is_named_and_the_good_one_loads(server: DevServer) -> None:
    server.land("good", {"a.csv": "id\n1\n"})
    server.land("wrong", {"b.csv": "id\n2\n"})
    server.wait_until(
        "the good feed's file is green",
        lambda: read_partition_statuses(server, "good").get("a") == "MATERIALIZED",
    )
    [reason] = server.wait_until("the other is red", lambda: read_failed_checks(server))
    assert "feeds/wrong/defs.yaml:6: feed wrong: colunms: there is no such attribute" in reason

    mended = server.folder / "feeds" / "wrong" / "defs.yaml"
    mended.write_text(FEED.format(name="wrong"), encoding="utf-8")
    reload(server)
    server.wait_until(
        "it is loaded once it is mended",
        lambda: read_partition_statuses(server, "wrong").get("b") == "MATERIALIZED",
    )


def test_runs_that_cannot_start_are_no_attempts_at_a_good_file(server: DevServer) -> None:
    """The definitions break as a whole, and are mended before the next minute."""
    server.land("good", {"a.csv": "id\n1\n"})
    server.wait_until(
        "the feed is loaded", lambda: server.read_rows("SELECT id FROM good") == [(1,)]
    )
    server.wait_until_quiet()
    # The code server keeps what it has loaded; a run's worker loads them anew, and cannot.
    location = server.folder / "location.py"
    location.write_text("raise RuntimeError('a mistake in what concerns all feeds')\n")
    server.land("good", {"c.csv": "id\n3\n"})

    def has_failed() -> bool:
        return any(run["status"] == "FAILURE" for run in list_runs(server, "good_job"))

    server.wait_until("a run could not start", has_failed)
    location.write_text(LOCATION_FILE, encoding="utf-8")
    mended_at = time.time()
    server.wait_until(
        "it is loaded by a later run",
        lambda: server.read_rows("SELECT id FROM good ORDER BY ALL") == [(1,), (3,)],
    )
    [run] = [run for run in list_runs(server, "good_job") if run["creationTime"] >= mended_at]
    assert wait_for_run(server, run["runId"])["status"] == "SUCCESS"
