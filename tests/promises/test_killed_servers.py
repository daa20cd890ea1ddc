"""A worker, or the whole `dagster dev`, is killed in the middle of a load: it is done once."""

from collections.abc import Collection, Iterator
from typing import Any

import duckdb
import psutil
import pytest

from support.dagster_state import find_worker, list_runs, wait_for_run
from support.dev_server import DevServer, open_server
from support.ledger_of_server import CUSTOMER_JOB, read_ledger, read_share_prices
from support.samples import land_samples, price_rows

LARGE_FILE_ROWS = 2_000_000
"""About 190 MB: the database file grows for about a second until the load is committed."""
LOAD_UNDER_WAY_BYTES = 8 << 20

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    """One server for the tests of this module; each has a customer of its own."""
    keys = ("worker-killed", "server-killed", "restarted")
    with open_server(SENSOR_INTERVAL_SECONDS="5", SETTLE_SECONDS="0.5") as server:
        land_samples(server)
        server.land("customers", {f"{key}.csv": price_rows(1) for key in keys})
        server.start()
        server.wait_until(
            "all are loaded",
            lambda: read_share_prices(server, *keys) == {key: [1] for key in keys},
        )
        server.wait_until_quiet(15)
        yield server


def land_large_file(server: DevServer, key: str) -> None:
    """Let a file land in customers/ that takes seconds to load."""
    path = server.folder / f"{key}.csv"
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            "COPY (SELECT DATE '2018-01-22' AS date, n + 1 AS share_price, random() AS amount, "
            "random() AS spend, random() AS shift, random() AS spread "
            f"FROM range({LARGE_FILE_ROWS}) AS numbers(n)) TO '{path}' (HEADER)"
        )
    path.replace(server.landing_dir / "customers" / path.name)


def wait_for_load_under_way(
    server: DevServer, known_runs: Collection[str]
) -> tuple[str, psutil.Process]:
    """Wait until a new run writes rows of a large file, and give the run and its process."""

    def find_started_run() -> str | None:
        runs = list_runs(server, CUSTOMER_JOB)
        started = {run["runId"] for run in runs if run["status"] == "STARTED"}
        return next(iter(started.difference(known_runs)), None)

    size_bytes = server.database.stat().st_size
    run_id = server.wait_until("a run has started", find_started_run)
    worker = server.wait_until("the run names its worker", lambda: find_worker(server, run_id))
    server.wait_until(
        "rows are being written",
        lambda: server.database.stat().st_size > size_bytes + LOAD_UNDER_WAY_BYTES,
        poll_s=0.02,
    )
    return run_id, worker


def wait_for_large_file(server: DevServer, key: str) -> dict[str, Any]:
    """Wait until the table holds a large file's rows, each once, and give its ledger row."""
    sql = (
        "SELECT count(*), count(DISTINCT share_price) FROM raw_customer_prices "
        "WHERE partition_key = ?"
    )
    server.wait_until(
        f"{key} is loaded",
        lambda: server.read_rows(sql, key) == [(LARGE_FILE_ROWS, LARGE_FILE_ROWS)],
    )
    return read_ledger(server, key)[key]


def test_a_file_whose_run_worker_was_killed_is_loaded_once(server: DevServer) -> None:
    known_runs = [run["runId"] for run in list_runs(server)]
    land_large_file(server, "worker-killed")
    run_id, worker = wait_for_load_under_way(server, known_runs)
    worker.kill()
    assert read_share_prices(server, "worker-killed") == {"worker-killed": [1]}

    assert wait_for_large_file(server, "worker-killed")["run_id"] != run_id
    assert wait_for_run(server, run_id)["status"] == "FAILURE"


def test_a_file_is_loaded_once_after_the_whole_server_was_killed(server: DevServer) -> None:
    server.wait_until_quiet(15)
    known_runs = [run["runId"] for run in list_runs(server)]
    land_large_file(server, "server-killed")
    run_id, _ = wait_for_load_under_way(server, known_runs)
    server.kill()
    assert read_share_prices(server, "server-killed") == {"server-killed": [1]}

    server.start()
    assert wait_for_large_file(server, "server-killed")["run_id"] != run_id
    assert wait_for_run(server, run_id)["status"] == "FAILURE"
    assert {run["runId"] for run in list_runs(server)} > {run_id, *known_runs}


def test_a_restart_keeps_the_history_and_loads_nothing_again(server: DevServer) -> None:
    server.wait_until_quiet(15)
    runs = list_runs(server)
    server.stop()
    server.start()
    # A file that lands now is loaded after every sensor has looked.
    server.land("customers", {"restarted.csv": price_rows(2)})
    server.wait_until(
        "it is loaded", lambda: read_share_prices(server, "restarted") == {"restarted": [2]}
    )
    known = {run["runId"] for run in runs}
    later = [run for run in list_runs(server, CUSTOMER_JOB) if run["runId"] not in known]
    assert [run["tags"]["dagster/partition"] for run in later] == ["restarted"]
