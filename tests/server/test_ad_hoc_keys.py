"""Plain `dagster dev` computes keys that a person adds in the web UI, and keeps deleted ones.

One test clicks; the other sends the mutations that such clicks send.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.dagster_state import read_partition_statuses
from support.dev_server import LOCATION, DevServer, open_server
from support.web_browser import CHROMIUM, open_browser

pytestmark = [pytest.mark.long, pytest.mark.slow]

TIMEOUT_MS = 300_000
ROWS = "SELECT partition_key, square FROM squares ORDER BY number"
REPOSITORY = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}


@pytest.fixture
def server() -> Iterator[DevServer]:
    """A server of which nobody has asked anything yet."""
    settings = {"SENSOR_INTERVAL_SECONDS": "5", "SETTLE_SECONDS": "0.5"}
    with open_server("support.computing_location", **settings) as server:
        server.start()
        yield server


def add(server: DevServer, key: str) -> None:
    added = server.ask(
        "mutation ($in: RepositorySelector!, $key: String!) { addDynamicPartition("
        'repositorySelector: $in, partitionsDefName: "squares", partitionKey: $key) '
        "{ __typename } }",
        **{"in": REPOSITORY, "key": key},
    )
    assert added["addDynamicPartition"]["__typename"] == "AddDynamicPartitionSuccess"


def delete(server: DevServer, key: str) -> None:
    deleted = server.ask(
        "mutation ($in: RepositorySelector!, $keys: [String!]!) { deleteDynamicPartitions("
        'repositorySelector: $in, partitionsDefName: "squares", partitionKeys: $keys) '
        "{ __typename } }",
        **{"in": REPOSITORY, "keys": [key]},
    )
    assert deleted["deleteDynamicPartitions"]["__typename"] == "DeleteDynamicPartitionsSuccess"


def test_keys_that_are_added_are_computed_and_deleted_ones_come_back(server: DevServer) -> None:
    for key in ("2", "3", "4", "x"):
        add(server, key)
    expected = [("2", 4), ("3", 9), ("4", 16)]
    server.wait_until("three keys are computed", lambda: server.read_rows(ROWS) == expected)

    def is_shown() -> bool:
        shown = read_partition_statuses(server, "squares")
        return (shown.get("3"), shown.get("x")) == ("MATERIALIZED", "FAILED")

    server.wait_until("the web UI shows which failed", is_shown)
    delete(server, "3")
    assert "3" not in read_partition_statuses(server, "squares")
    server.wait_until(
        "the key is back", lambda: read_partition_statuses(server, "squares").get("3")
    )
    # Long enough for what removes the rows of files that are gone.
    add(server, "5")
    expected.append(("5", 25))
    server.wait_until("the next key is computed", lambda: server.read_rows(ROWS) == expected)
    assert read_partition_statuses(server, "squares").get("3") == "MATERIALIZED"


@pytest.mark.browser
def test_a_person_adds_a_partition_by_clicking_and_its_rows_are_there(
    server: DevServer, tmp_path: Path
) -> None:
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("chromium is not installed")
    with open_browser(tmp_path) as browser:
        page = browser.new_page(base_url=server.url)
        page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        page.goto("/assets/squares?view=partitions")
        page.get_by_role("button", name="Materialize…").click()
        # Nothing was ever imported, and Dagster asks whether that is as it should be.
        page.get_by_role("button", name="Confirm").click()
        page.get_by_role("button", name="Add a partition").click()
        page.get_by_placeholder("name", exact=True).fill("12")
        page.get_by_role("button", name="Save").click()
        page.screenshot(path=tmp_path / "added.png")
        page.get_by_role("button", name="Launch 1 run").click()
        server.wait_until("it is computed", lambda: server.read_rows(ROWS) == [("12", 144)])
        page.goto("/assets/squares?view=partitions")
        page.locator("div[title='12']").click()
        expect(page.get_by_text("dagster/partition_row_count", exact=True).first).to_be_visible()
        page.screenshot(path=tmp_path / "computed.png")
