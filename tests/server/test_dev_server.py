"""Plain `dagster dev` keeps the tables equal to the landing directory, by itself.

Files are dropped, touched and corrected; nobody clicks and nobody calls a function of the package.
"""

import time

import pytest

from support.dagster_state import count_ticks, list_runs, read_partition_statuses, wait_for_run
from support.dev_server import DevServer
from support.ledger_of_server import CUSTOMER_JOB, read_ledger, read_share_prices
from support.samples import (
    CUSTOMERS,
    DAILY,
    MONTHLY,
    ORDERS_PER_MONTH,
    count_rows,
    price_rows,
    read_row_counts,
)

TABLES = {
    "raw_daily_prices": DAILY,
    "raw_customer_prices": CUSTOMERS,
    "stg_orders": MONTHLY,
}

pytestmark = [pytest.mark.long, pytest.mark.slow]


def wait_for_share_prices(server: DevServer, expected: dict[str, list[float]]) -> None:
    """Wait until the customers' table holds these rows for these keys, each once."""
    server.wait_until(
        f"loaded: {', '.join(expected)}",
        lambda: read_share_prices(server, *expected) == expected,
    )


def wait_for_ticks(server: DevServer, sensor: str, count: int) -> None:
    """Wait until a sensor has begun and finished some ticks from now on."""
    now = time.time()
    server.wait_until(
        f"{count} more ticks of {sensor}", lambda: count_ticks(server, sensor, since=now) >= count
    )


@pytest.mark.parametrize("table", TABLES)
def test_landed_files_load_by_themselves(server: DevServer, table: str) -> None:
    expected = count_rows(TABLES[table])

    def is_loaded() -> bool:
        counts = read_row_counts(server, table)
        return {name: counts.get(name, 0) for name in expected} == expected

    server.wait_until(f"the samples are in {table}", is_loaded)


def test_a_hundred_files_dropped_at_once_load_in_one_run(server: DevServer) -> None:
    files = {f"batch-{number:03}": [float(number + 1)] for number in range(100)}
    # The next tick is seconds away then, so that none can see a part of the files only.
    wait_for_ticks(server, "customers_sensor", 1)
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
        statuses = read_partition_statuses(server, "raw_customer_prices")
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
    assert [mixed[key]["status"] for key in keys] == ["loaded", "refused", "loaded"]
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
    wait_for_ticks(server, "customers_sensor", 2)
    assert [run["runId"] for run in list_runs(server, CUSTOMER_JOB)] == runs
    after = read_ledger(server, "touched")["touched"]
    assert after == {**before, "landed_ns": path.stat().st_ctime_ns}


def test_the_roll_up_follows_the_orders_by_itself(server: DevServer) -> None:
    def is_rolled_up() -> bool:
        rows = server.read_rows("SELECT partition_date, status, order_num FROM orders_per_month")
        found = {(month, status): count for month, status, count in rows}
        return found.items() >= ORDERS_PER_MONTH.items()

    server.wait_until("orders are counted by month and status", is_rolled_up)
