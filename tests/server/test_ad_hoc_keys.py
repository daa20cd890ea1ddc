"""Plain `dagster dev` computes the keys that a person adds in the web UI, and removes deleted ones.

The mutations are those that the web UI sends.
"""

from collections.abc import Iterator

import pytest

from support.dagster_state import read_partition_statuses
from support.dev_server import LOCATION, DevServer, open_server

pytestmark = [pytest.mark.long, pytest.mark.slow]

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


def test_keys_that_are_added_are_computed_and_deleted_ones_go(server: DevServer) -> None:
    for key in ("2", "3", "4", "x"):
        add(server, key)
    expected = [("2", 4), ("3", 9), ("4", 16)]
    server.wait_until("three keys are computed", lambda: server.read_rows(ROWS) == expected)

    def is_shown() -> bool:
        shown = read_partition_statuses(server, "squares")
        return shown["3"] == "MATERIALIZED" and shown["x"] == "FAILED"

    server.wait_until("the web UI shows which failed", is_shown)
    delete(server, "3")
    del expected[1]
    server.wait_until("its rows are gone", lambda: server.read_rows(ROWS) == expected)
    assert "3" not in read_partition_statuses(server, "squares")
