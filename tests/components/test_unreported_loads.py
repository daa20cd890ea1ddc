"""Loads that a run committed and did not live to report: asked for again, once, and no others."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components import runs
from partitioned_etl.components.sensor import LandingCursor
from partitioned_etl.engine import failpoints
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.warehouse import feed_table
from support.location import Location, tick_downstream
from support.sample_location import CUSTOMER_PRICES, CUSTOMERS, MONTHLY, defs
from support.samples import order_rows, price_rows
from support.workbench import Workbench

Query = Callable[..., list[tuple[Any, ...]]]
MONTH = "2018-02-01"

KILLED_WORKER = """
import json
import os
import signal
import sys

import dagster as dg

from partitioned_etl.engine import failpoints
from support.sample_location import defs

def kill(name):
    if name == failpoints.AFTER_COMMIT:
        os.kill(os.getpid(), signal.SIGKILL)

job, partition_key, tags = json.loads(sys.argv[1])
failpoints.listener = kill
with dg.DagsterInstance.get() as instance:
    defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition_key, tags=tags
    )
"""


@pytest.fixture
def customers(landing_dir: Path, database: Path) -> Path:
    """The customers folder with five files."""
    folder = landing_dir / "customers"
    drop(folder, "a", "b", "c", "d", "e")
    return folder


@pytest.fixture
def location(customers: Path, instance: dg.DagsterInstance) -> Location:
    """The customers, all five files loaded."""
    location = Location(defs, CUSTOMERS, instance)
    assert location.settle() == [["a", "b", "c", "d", "e"]]
    return location


@pytest.fixture
def queried(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The ids of the runs whose records were asked for, per query."""
    asked: list[list[str]] = []
    list_unsuccessful_runs = runs._list_unsuccessful_runs

    def listed(instance: dg.DagsterInstance, run_ids: list[str]) -> object:
        asked.append(list(run_ids))
        return list_unsuccessful_runs(instance, run_ids)

    monkeypatch.setattr(runs, "_list_unsuccessful_runs", listed)
    return asked


def drop(folder: Path, *keys: str, rows: int = 1) -> None:
    """Let files land that have so many rows."""
    for key in keys:
        (folder / f"{key}.csv").write_text(price_rows(*range(1, rows + 1)), encoding="utf-8")


def kill_load(location: Location) -> list[str]:
    """End the one run that a tick asks for between commit and report; give its keys."""
    [request] = location.tick()
    location.kill_at(failpoints.AFTER_COMMIT, request)
    return location.keys(request)


def row_counts(query: Query) -> dict[str, int]:
    """Give the rows of each partition in the customers' table."""
    return dict(query("SELECT partition_key, count(*) FROM raw_customer_prices GROUP BY 1"))


def test_exactly_the_keys_of_the_ended_run_are_asked_for_again_once(
    location: Location, customers: Path, query: Query
) -> None:
    drop(customers, "b", "c", rows=2)
    assert kill_load(location) == ["b", "c"]
    assert row_counts(query) == dict.fromkeys("ade", 1) | {"b": 2, "c": 2}
    assert {location.status(key) for key in "bc"} == {"FAILED"}
    assert location.row_counts() == {key: [1] for key in "abcde"}
    assert location.settle() == [["b", "c"]]
    assert {location.status(key) for key in "abcde"} == {"MATERIALIZED"}
    assert location.row_counts() == {key: [1] for key in "ade"} | {"b": [1, 2], "c": [1, 2]}
    assert row_counts(query) == dict.fromkeys("ade", 1) | {"b": 2, "c": 2}


def test_first_loads_that_were_not_reported_are_asked_for_again(
    customers: Path, instance: dg.DagsterInstance, query: Query
) -> None:
    location = Location(defs, CUSTOMERS, instance)
    assert kill_load(location) == list("abcde")
    assert row_counts(query) == dict.fromkeys("abcde", 1)
    assert location.settle() == [list("abcde")]
    assert location.row_counts() == {key: [1] for key in "abcde"}
    assert location.check() == (True, [])


def test_a_load_that_was_ended_before_its_commit_is_repeated(
    location: Location, customers: Path, query: Query
) -> None:
    drop(customers, "b", rows=2)
    [request] = location.tick()
    location.kill_at(failpoints.BEFORE_COMMIT, request)
    assert row_counts(query) == dict.fromkeys("abcde", 1)
    assert location.settle() == [["b"]]
    assert location.row_counts()["b"] == [1, 2]


def test_a_killed_worker_is_noticed_and_its_keys_are_asked_for_again_once(
    customers: Path, query: Query, instance_on_disk: dg.DagsterInstance
) -> None:
    location = Location(defs, CUSTOMERS, instance_on_disk)
    location.settle()
    drop(customers, "b", "c", rows=2)
    [request] = location.tick()
    told = json.dumps([request.job_name, request.partition_key, dict(request.tags)])
    # The instance's folder is in DAGSTER_HOME.
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WORKER, told],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert row_counts(query) == dict.fromkeys("ade", 1) | {"b": 2, "c": 2}
    assert location.settle() == [["b", "c"]]
    assert {location.status(key) for key in "abcde"} == {"MATERIALIZED"}
    assert location.row_counts()["b"] == [1, 2]
    statuses = [run.status for run in location.instance.get_runs()]
    assert sorted(status.value for status in statuses) == ["FAILURE", "SUCCESS", "SUCCESS"]


def test_loads_of_a_run_that_is_under_way_are_waited_for(
    location: Location, customers: Path, bench: Workbench
) -> None:
    drop(customers, "b", rows=2)
    [request] = location.tick()
    run = location.queue(request)
    files = bench.landing.list_files(CUSTOMER_PRICES).files
    with bench.open_table(CUSTOMER_PRICES) as table:
        load_files(table, bench.landing, [files["b.csv"]], run_id=run.run_id)
    assert location.tick() == []
    # A later load must not make the sensor forget it.
    with bench.open_table(CUSTOMER_PRICES) as table:
        load_files(table, bench.landing, [files["c.csv"]], run_id="later")
    assert location.tick() == []
    location.instance.report_run_failed(run)
    assert location.settle() == [["b"]]


def test_good_files_of_a_run_that_failed_for_a_bad_one_are_not_loaded_again(
    location: Location, customers: Path, query: Query
) -> None:
    drop(customers, "b", "d", rows=2)
    (customers / "c.csv").write_text(price_rows(-1), encoding="utf-8")
    assert location.settle() == [["b", "c", "d"]]
    [run, _] = location.instance.get_runs()
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert query("SELECT partition_key FROM file_loads WHERE run_id = ? ORDER BY 1", [run.run_id])
    assert location.tick() == []
    location.cursor = None
    assert location.tick() == []
    assert location.row_counts() == {key: [1] for key in "ace"} | {"b": [1, 2], "d": [1, 2]}


def test_an_idle_tick_looks_at_no_run(
    location: Location, customers: Path, query: Query, queried: list[list[str]]
) -> None:
    drop(customers, "b", rows=2)
    kill_load(location)
    location.settle()
    assert queried
    queried.clear()
    assert location.tick() == []
    assert queried == []
    [(latest,)] = query("SELECT max(loaded_at) FROM file_loads")
    assert LandingCursor.parse(location.cursor).reported_until == latest.timestamp()


def test_a_tick_after_a_load_looks_at_the_runs_of_new_loads_only(
    location: Location, customers: Path, queried: list[list[str]]
) -> None:
    location.tick()
    queried.clear()
    drop(customers, "b", rows=2)
    [request] = location.tick()
    result = location.execute(request)
    assert location.tick() == []
    assert queried == [[result.run_id]]


def test_a_lost_cursor_converges(location: Location, customers: Path, query: Query) -> None:
    drop(customers, "b", rows=2)
    assert kill_load(location) == ["b"]
    location.cursor = None
    assert location.settle() == [["b"]]
    location.cursor = None
    assert location.settle() == []
    assert location.row_counts()["b"] == [1, 2]


def test_a_clock_that_is_set_back_loses_no_key(
    location: Location, customers: Path, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EarlierClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "EarlierClock":
            return super().now(tz) - timedelta(hours=1)

    monkeypatch.setattr(feed_table, "datetime", EarlierClock)
    assert EarlierClock.now(UTC) < datetime.now(UTC)
    for rows in (2, 3):
        drop(customers, "b", rows=rows)
        assert kill_load(location) == ["b"]
        assert location.settle() == [["b"]]
    assert location.row_counts()["b"] == [1, 2, 3]
    assert location.status("b") == "MATERIALIZED"
    [(last,)] = query("SELECT partition_key FROM file_loads ORDER BY loaded_at DESC LIMIT 1")
    assert last == "b"


def test_a_load_that_is_never_reported_is_asked_for_three_times(
    location: Location, customers: Path, query: Query
) -> None:
    drop(customers, "b", rows=2)
    for _ in range(MAX_ATTEMPTS):
        assert kill_load(location) == ["b"]
    assert location.tick() == []
    assert row_counts(query)["b"] == 2
    drop(customers, "b", rows=3)
    assert location.settle() == [["b"]]
    assert location.row_counts()["b"] == [1, 3]


def test_a_load_that_was_not_reported_and_whose_file_is_gone_is_not_asked_for(
    location: Location, customers: Path
) -> None:
    drop(customers, "b", rows=2)
    kill_load(location)
    (customers / "b.csv").unlink()
    assert location.tick() == []


def test_a_roll_up_is_right_after_the_load_was_reported(
    landing_dir: Path, query: Query, instance: dg.DagsterInstance
) -> None:
    location = Location(defs, MONTHLY, instance)
    sensor = defs.resolve_sensor_def("rollup_sensor")
    cursor = None

    def refresh() -> set[str]:
        """Do what the roll-up's sensor asks for."""
        nonlocal cursor
        runs, cursor = tick_downstream(sensor, MONTHLY, instance, cursor)
        asked = {key for keys in runs for key in keys}
        for key in asked:
            location.execute(dg.RunRequest(job_name="rollup_job", partition_key=key))
        return asked

    assert refresh() == set()
    month = landing_dir / "monthly" / "2018-02.csv"
    month.write_text(order_rows("2018-02", "placed"), encoding="utf-8")
    assert location.settle() == [[MONTH]]
    assert refresh() == {MONTH}
    assert refresh() == set()
    month.write_text(order_rows("2018-02", "returned", "returned"), encoding="utf-8")
    assert kill_load(location) == [MONTH]
    assert query("SELECT count(*) FROM stg_orders") == [(2,)]
    assert refresh() == set()
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "placed", 1)]
    assert location.settle() == [[MONTH]]
    assert refresh() == {MONTH}
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "returned", 2)]
