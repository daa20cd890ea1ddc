"""Plain `dagster dev` keeps the tables equal to the landing directory, by itself and when killed.

Files are dropped, touched and corrected; nobody clicks and nobody calls a function of the package.
"""

import csv
import time
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import duckdb
import psutil
import pytest

from conftest import price_rows
from dagster_state import (
    count_ticks,
    find_worker,
    list_runs,
    read_partition_statuses,
    wait_for_run,
    wait_until_quiet,
)
from dev_server import PROJECT, DevServer, open_folder_for_server

CUSTOMER_JOB = "customer_prices_job"
LOAD_JOBS = ("daily_prices_job", CUSTOMER_JOB, "monthly_orders_job")
TABLES = {
    "daily": "raw_partition_data",
    "customers": "raw_dynamic_partition_data",
    "monthly": "stg_orders",
}
SAMPLE_DIR = PROJECT / "data" / "source"

LARGE_FILE_ROWS = 2_000_000
"""About 190 MB: the database file grows for about a second until the load is committed."""
LOAD_UNDER_WAY_BYTES = 8 << 20

pytestmark = pytest.mark.slow


def read_share_prices(server: DevServer, *keys: str) -> dict[str, list[float]]:
    """Give the share prices that the customers' table holds, per partition key."""
    rows = server.read_rows(
        "SELECT partition_key, list(share_price ORDER BY share_price) "
        "FROM raw_dynamic_partition_data WHERE partition_key IN (SELECT unnest(?)) GROUP BY ALL",
        list(keys),
    )
    return dict(rows)


def read_ledger(server: DevServer, *keys: str) -> dict[str, dict[str, Any]]:
    """Give the ledger rows of customers, per partition key."""
    columns = ("status", "error", "loaded_at", "run_id", "ctime_ns")
    rows = server.read_rows(
        f"SELECT partition_key, {', '.join(columns)} FROM file_loads "
        "WHERE feed = 'customer_prices' AND partition_key IN (SELECT unnest(?))",
        list(keys),
    )
    return {key: dict(zip(columns, values, strict=True)) for key, *values in rows}


def wait_for_share_prices(server: DevServer, expected: dict[str, list[float]]) -> None:
    """Wait until the customers' table holds these rows for these keys, each once."""
    server.wait_until(
        f"loaded: {', '.join(expected)}",
        lambda: read_share_prices(server, *expected) == expected,
    )


def wait_for_ticks(server: DevServer, folder: str, count: int) -> None:
    """Wait until a feed's sensor has begun and finished some ticks from now on."""
    now = time.time()
    server.wait_until(
        f"{count} more ticks of {folder}",
        lambda: count_ticks(server, f"{folder}_landing_sensor", since=now) >= count,
    )


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
    server.wait_until(
        f"{key} is loaded",
        lambda: (
            server.read_rows(
                "SELECT count(*), count(DISTINCT share_price) FROM raw_dynamic_partition_data "
                "WHERE partition_key = ?",
                key,
            )
            == [(LARGE_FILE_ROWS, LARGE_FILE_ROWS)]
        ),
    )
    return read_ledger(server, key)[key]


def read_sample(folder: str) -> list[tuple[float | str, ...]]:
    """Give the rows of all sample files of a folder, each with its file's name, sorted."""
    rows = []
    for path in (SAMPLE_DIR / folder).glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
        rows += [(path.name, *map(to_value, line)) for line in lines[1:]]
    return sorted(rows)


def to_value(cell: object) -> float | str:
    """Give a cell in a form that does not tell whether it comes from a file or a table."""
    try:
        return float(str(cell))
    except ValueError:
        return str(cell)


def read_loaded_sample(server: DevServer, folder: str) -> list[tuple[float | str, ...]]:
    """Give what the table holds of a folder's sample files, in the form of `read_sample`."""
    rows = server.read_rows(
        "SELECT source_file, * EXCLUDE (source_file, partition_key) "
        f"FROM {TABLES[folder]} WHERE source_file IN (SELECT unnest(?))",
        [path.name for path in (SAMPLE_DIR / folder).glob("*.csv")],
    )
    return sorted(tuple(map(to_value, row)) for row in rows)


def wait_for_sample(server: DevServer, folder: str) -> None:
    """Wait until a feed's table holds the rows of its sample files, each once."""
    sample = read_sample(folder)
    server.wait_until(
        f"the sample in {folder}/ is loaded", lambda: read_loaded_sample(server, folder) == sample
    )


@pytest.fixture(scope="module")
def server() -> Iterator[DevServer]:
    """One server for the tests of this module; each has customers of its own."""
    keys = ("mixed-a", "mixed-b", "mixed-c", "touched", "worker-killed", "server-killed")
    with open_folder_for_server() as server:
        server.land("customers", {f"{key}.csv": price_rows(1) for key in keys})
        server.start()
        yield server


@pytest.mark.parametrize("folder", TABLES)
def test_sample_files_load_by_themselves(server: DevServer, folder: str) -> None:
    wait_for_sample(server, folder)


def test_a_hundred_files_dropped_at_once_load_in_one_run(server: DevServer) -> None:
    files = {f"batch-{number:03}": [float(number + 1)] for number in range(100)}
    # The next tick is seconds away then, so that none can see a part of the files only.
    wait_for_ticks(server, "customers", 1)
    dropped_at = time.time()
    server.land("customers", {f"{key}.csv": price_rows(*prices) for key, prices in files.items()})
    wait_for_share_prices(server, files)

    (run_id,) = {row["run_id"] for row in read_ledger(server, *files).values()}
    assert wait_for_run(server, run_id)["status"] == "SUCCESS"
    runs = list_runs(server, CUSTOMER_JOB)
    assert [run["runId"] for run in runs if run["creationTime"] >= dropped_at] == [run_id]


def test_a_bad_file_fails_alone_and_loads_alone_once_it_is_corrected(server: DevServer) -> None:
    keys = ("mixed-a", "mixed-b", "mixed-c")
    wait_for_share_prices(server, {key: [1] for key in keys})

    def read_statuses() -> dict[str, str]:
        statuses = read_partition_statuses(server, "duckdb_dynamic_partition_table")
        return {key: statuses[key] for key in keys}

    server.land(
        "customers",
        {
            "mixed-a.csv": price_rows(2),
            "mixed-b.csv": price_rows(2, -2),
            "mixed-c.csv": price_rows(2),
        },
    )
    wait_for_share_prices(server, {"mixed-a": [2], "mixed-b": [1], "mixed-c": [2]})
    mixed = read_ledger(server, *keys)
    assert [mixed[key]["status"] for key in keys] == ["loaded", "rejected", "loaded"]
    assert "line 3, column share_price: not greater than 0" in mixed["mixed-b"]["error"]
    (run_id,) = {row["run_id"] for row in mixed.values()}
    assert wait_for_run(server, run_id)["status"] == "FAILURE"
    assert read_statuses() == {
        "mixed-a": "MATERIALIZED",
        "mixed-b": "FAILED",
        "mixed-c": "MATERIALIZED",
    }

    server.land("customers", {"mixed-b.csv": price_rows(3)})
    wait_for_share_prices(server, {"mixed-a": [2], "mixed-b": [3], "mixed-c": [2]})
    corrected = read_ledger(server, *keys)
    run = wait_for_run(server, corrected["mixed-b"]["run_id"])
    assert run["status"] == "SUCCESS"
    assert run["tags"]["dagster/partition"] == "mixed-b"
    assert set(read_statuses().values()) == {"MATERIALIZED"}
    assert corrected == {**mixed, "mixed-b": corrected["mixed-b"]}


def test_a_touched_file_starts_no_run(server: DevServer) -> None:
    wait_for_share_prices(server, {"touched": [1]})
    before = read_ledger(server, "touched")["touched"]
    runs = [run["runId"] for run in list_runs(server, CUSTOMER_JOB)]

    path = server.landing_dir / "customers" / "touched.csv"
    path.touch()
    wait_for_ticks(server, "customers", 2)
    assert [run["runId"] for run in list_runs(server, CUSTOMER_JOB)] == runs
    after = read_ledger(server, "touched")["touched"]
    assert after == {**before, "ctime_ns": path.stat().st_ctime_ns}


def test_a_file_whose_run_worker_was_killed_is_loaded_once(server: DevServer) -> None:
    wait_for_share_prices(server, {"worker-killed": [1]})
    known_runs = [run["runId"] for run in wait_until_quiet(server)]
    land_large_file(server, "worker-killed")
    run_id, worker = wait_for_load_under_way(server, known_runs)
    worker.kill()
    assert read_share_prices(server, "worker-killed") == {"worker-killed": [1]}

    assert wait_for_large_file(server, "worker-killed")["run_id"] != run_id
    assert wait_for_run(server, run_id)["status"] == "FAILURE"


def test_the_roll_up_follows_the_orders_by_itself(server: DevServer) -> None:
    expected = Counter((str(row[0])[:7], str(row[-1])) for row in read_sample("monthly"))

    def read_roll_up() -> dict[tuple[str, str], int]:
        rows = server.read_rows("SELECT partition_date, status, order_num FROM monthly_orders")
        return {(month, status): count for month, status, count in rows}

    server.wait_until("orders are counted by month and status", lambda: read_roll_up() == expected)


def test_a_restart_keeps_the_history_and_loads_nothing_again(server: DevServer) -> None:
    for folder in TABLES:
        wait_for_sample(server, folder)
    wait_until_quiet(server)
    runs = [list_runs(server, job) for job in LOAD_JOBS]
    server.stop()
    server.start()
    for folder in TABLES:
        wait_for_ticks(server, folder, 1)
    assert [list_runs(server, job) for job in LOAD_JOBS] == runs


def test_a_file_is_loaded_once_after_the_whole_server_was_killed(server: DevServer) -> None:
    wait_for_share_prices(server, {"server-killed": [1]})
    known_runs = [run["runId"] for run in wait_until_quiet(server)]
    land_large_file(server, "server-killed")
    run_id, _ = wait_for_load_under_way(server, known_runs)
    server.kill()
    assert read_share_prices(server, "server-killed") == {"server-killed": [1]}

    server.start()
    assert wait_for_large_file(server, "server-killed")["run_id"] != run_id
    assert wait_for_run(server, run_id)["status"] == "FAILURE"
    assert {run["runId"] for run in list_runs(server)} > {run_id, *known_runs}
