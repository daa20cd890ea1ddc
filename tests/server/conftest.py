"""One `dagster dev` with the sample location, for all tests of a file that look at a server."""

from collections.abc import Iterator

import pytest

from support.dev_server import DevServer, open_server
from support.samples import land_samples, price_rows

SETTINGS = {"SENSOR_INTERVAL_SECONDS": "5", "SETTLE_SECONDS": "0.5"}


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    """A server with files of every feed, one of which is refused, and some to change."""
    keys = ("mixed-a", "mixed-b", "mixed-c", "touched")
    with open_server(**SETTINGS) as server:
        land_samples(server)
        server.land("customers", {f"{key}.csv": price_rows(1) for key in keys})
        server.land("customers", {"broken.csv": price_rows(1, -1)})
        server.start()
        yield server
