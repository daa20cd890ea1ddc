"""The landing sensors: what a tick asks for, registers, remembers and says."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import ref

import dagster as dg
import duckdb
import pytest

from conftest import price_rows
from partitioned_etl.builders import sensors
from partitioned_etl.builders.jobs import FEED_TAG
from partitioned_etl.builders.ranges import RANGE_END_TAG, RANGE_START_TAG, keys_of_run
from partitioned_etl.builders.sensors import Cursor
from partitioned_etl.definitions import defs
from partitioned_etl.defs.customer_prices import CUSTOMER_PRICES_PIPELINE
from partitioned_etl.defs.daily_prices import DAILY_PRICES_PIPELINE
from partitioned_etl.ingest.reconcile import MAX_ATTEMPTS, Plan
from partitioned_etl.ingest.sync import plan_feed

Query = Callable[..., list[tuple[Any, ...]]]


class Ticker:
    """Evaluates a sensor as the daemon does, carrying the cursor and registering new keys."""

    def __init__(
        self,
        sensor: dg.SensorDefinition,
        instance: dg.DagsterInstance,
        resources: dict[str, object],
    ) -> None:
        self.sensor, self.instance, self.resources = sensor, instance, resources
        self.cursor: str | None = None
        self.registered: list[str] = []

    def tick(self) -> list[dg.RunRequest]:
        """Evaluate the sensor once and give the run requests."""
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=self.resources
        ) as context:
            result = self.sensor(context)
        if isinstance(result, dg.SkipReason):
            self.skipped = str(result.skip_message)
            return []
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for request in result.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            self.registered = list(request.partition_keys)
            self.instance.add_dynamic_partitions("customers", self.registered)
        self.skipped = str(result.skip_reason.skip_message) if result.skip_reason else ""
        return list(result.run_requests or [])

    def keys(self, request: dg.RunRequest) -> list[str]:
        """Give the partition keys that a run request covers."""
        if request.partition_key:
            return [request.partition_key]
        return keys_of_run(request.tags, self.instance.get_dynamic_partitions("customers"))

    def execute(self, request: dg.RunRequest) -> None:
        """Execute what was asked for."""
        defs.resolve_job_def("customer_prices_job").execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=request.tags,
            raise_on_error=False,
        )


@pytest.fixture
def customers(landing_dir: Path) -> Path:
    """The customers folder."""
    return landing_dir / "customers"


@pytest.fixture
def ticker(instance: dg.DagsterInstance, resources: dict[str, object]) -> Ticker:
    """The customers sensor."""
    return Ticker(CUSTOMER_PRICES_PIPELINE.sensor, instance, resources)


def drop(folder: Path, *keys: str, price: float = 1.0) -> None:
    """Let files land."""
    for key in keys:
        (folder / f"{key}.csv").write_text(price_rows(price))


def test_new_files_are_registered_and_asked_for_in_one_run(customers: Path, ticker: Ticker) -> None:
    drop(customers, "b", "a", "c")
    [request] = ticker.tick()
    assert ticker.registered == ["a", "b", "c"]
    assert request.tags[RANGE_START_TAG] == "a"
    assert request.tags[RANGE_END_TAG] == "c"
    assert request.tags[FEED_TAG] == "customer_prices"


def test_a_loaded_feed_asks_for_nothing_and_keeps_an_empty_cursor(
    customers: Path, ticker: Ticker
) -> None:
    drop(customers, "a", "b")
    [request] = ticker.tick()
    ticker.execute(request)
    assert ticker.tick() == []
    assert "2 identical" in ticker.skipped
    assert ticker.cursor is not None
    assert json.loads(ticker.cursor)["asked"] == {}


def test_only_the_changed_files_are_asked_for_again(customers: Path, ticker: Ticker) -> None:
    drop(customers, "a", "b", "c", "d", "e")
    [request] = ticker.tick()
    ticker.execute(request)
    drop(customers, "a", "c", "d", price=2.0)
    requests = ticker.tick()
    assert [ticker.keys(request) for request in requests] == [["a"], ["c", "d"]]


def test_a_touched_file_is_not_asked_for_and_its_signature_is_recorded(
    customers: Path, ticker: Ticker, query: Query
) -> None:
    drop(customers, "a")
    [request] = ticker.tick()
    ticker.execute(request)
    os.utime(customers / "a.csv", ns=(1, 1))
    assert ticker.tick() == []
    assert query("SELECT mtime_ns FROM file_loads") == [(1,)]


def test_a_refused_file_is_asked_for_again_only_when_it_changed(
    customers: Path, ticker: Ticker, query: Query
) -> None:
    drop(customers, "a", price=-1.0)
    [request] = ticker.tick()
    ticker.execute(request)
    assert ticker.tick() == []
    drop(customers, "a", price=5.0)
    [request] = ticker.tick()
    ticker.execute(request)
    assert query("SELECT share_price FROM raw_dynamic_partition_data") == [(5.0,)]


def test_a_run_that_came_to_nothing_is_asked_for_three_times(
    customers: Path, ticker: Ticker
) -> None:
    drop(customers, "a")
    run_keys = [[request.run_key for request in ticker.tick()] for _ in range(MAX_ATTEMPTS + 1)]
    assert [len(keys) for keys in run_keys] == [1] * MAX_ATTEMPTS + [0]
    assert len({key for keys in run_keys for key in keys}) == MAX_ATTEMPTS
    drop(customers, "a", price=2.0)
    assert len(ticker.tick()) == 1


def test_a_file_that_was_tried_in_vain_is_asked_for_once_an_hour(
    customers: Path, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(customers, "a")
    asked = []
    for hours in (0, 0.5, 1.1, 1.5, 2.2):
        now = time.time() + hours * 3600
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda now=now: now)
            asked.append(sum(len(ticker.tick()) for _ in range(MAX_ATTEMPTS + 1)))
    assert asked == [MAX_ATTEMPTS, 0, 1, 0, 1]


def test_a_file_that_was_tried_in_vain_is_asked_for_again_when_its_table_is_dropped(
    customers: Path, ticker: Ticker, database: Path
) -> None:
    """As the refusal of a table of other columns advises."""
    drop(customers, "a")
    ticker.execute(*ticker.tick())
    drop(customers, "b")
    assert [len(ticker.tick()) for _ in range(MAX_ATTEMPTS + 1)] == [1] * MAX_ATTEMPTS + [0]
    with duckdb.connect(str(database)) as connection:
        connection.execute("DROP TABLE raw_dynamic_partition_data")
    assert [ticker.keys(request) for request in ticker.tick()] == [["a", "b"]]


def test_a_file_that_was_tried_in_vain_is_asked_for_again_under_another_contract(
    customers: Path, ticker: Ticker, instance: dg.DagsterInstance, resources: dict[str, object]
) -> None:
    drop(customers, "a")
    assert [len(ticker.tick()) for _ in range(MAX_ATTEMPTS + 1)] == [1] * MAX_ATTEMPTS + [0]
    pipeline = CUSTOMER_PRICES_PIPELINE
    feed = replace(pipeline.feed, row_rules=pipeline.feed.row_rules[1:])
    ticker.sensor = sensors.build_landing_sensor(
        feed, pipeline.job, pipeline.partitions_def, pipeline.reconciliation, name="corrected"
    )
    assert len(ticker.tick()) == 1


def test_keys_of_an_unfinished_run_are_not_asked_for_again(
    customers: Path, ticker: Ticker, instance: dg.DagsterInstance
) -> None:
    drop(customers, "a", "b")
    [request] = ticker.tick()
    instance.create_run_for_job(
        defs.resolve_job_def("customer_prices_job"),
        tags=request.tags,
        status=dg.DagsterRunStatus.NOT_STARTED,
    )
    assert ticker.tick() == []
    drop(customers, "c")
    assert [ticker.keys(request) for request in ticker.tick()] == [["c"]]


def test_a_lost_cursor_does_not_ask_twice_for_what_is_under_way(
    customers: Path, ticker: Ticker, instance: dg.DagsterInstance
) -> None:
    drop(customers, "a", "b")
    [request] = ticker.tick()
    instance.create_run_for_job(
        defs.resolve_job_def("customer_prices_job"),
        tags=request.tags,
        status=dg.DagsterRunStatus.NOT_STARTED,
    )
    ticker.cursor = None
    assert ticker.tick() == []


def test_a_tick_asks_for_no_more_files_than_the_limit(
    landing_dir: Path,
    customers: Path,
    instance: dg.DagsterInstance,
    resources: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from partitioned_etl.builders.sensors import build_landing_sensor

    monkeypatch.setenv("MAX_FILES_PER_RUN", "2")
    pipeline = CUSTOMER_PRICES_PIPELINE
    sensor = build_landing_sensor(
        pipeline.feed,
        pipeline.job,
        pipeline.partitions_def,
        pipeline.reconciliation,
        name="limited_sensor",
    )
    ticker = Ticker(sensor, instance, resources)
    drop(customers, "a", "b", "c")
    [request] = ticker.tick()
    assert ticker.keys(request) == ["a", "b"]
    ticker.execute(request)
    [request] = ticker.tick()
    assert ticker.keys(request) == ["c"]


def test_a_file_that_is_still_settling_waits(
    customers: Path, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "3600")
    drop(customers, "a")
    assert ticker.tick() == []
    assert "1 unsettled" in ticker.skipped
    monkeypatch.setenv("SETTLE_SECONDS", "0")
    assert len(ticker.tick()) == 1


def test_a_short_settle_time_is_waited_for_in_the_tick(
    customers: Path, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLE_SECONDS", "0.4")
    drop(customers, "a")
    assert len(ticker.tick()) == 1


def test_two_plans_are_never_held_at_once(
    customers: Path, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan has a step for every landed file: two of 100,000 files took 90 MB more than one."""
    drop(customers, "a")
    plans: list[ref[Plan]] = []

    def plan_alone(*args: Any, **settings: Any) -> Plan:
        assert not any(earlier() for earlier in plans)
        plan = plan_feed(*args, **{**settings, "settle_seconds": 0 if plans else 3600})
        plans.append(ref(plan))
        return plan

    monkeypatch.setattr(sensors, "plan_feed", plan_alone)
    assert len(ticker.tick()) == 1
    assert len(plans) == 2


def test_what_is_passed_over_is_said_once_per_change(
    customers: Path, ticker: Ticker, capfd: pytest.CaptureFixture[str]
) -> None:
    (customers / ".hidden.csv").touch()
    (customers / "half.csv.part").touch()
    (customers / "notes.txt").touch()
    (customers / "folder.csv").mkdir()
    (customers / "link.csv").symlink_to(customers / "notes.txt")

    def said() -> str:
        capfd.readouterr()
        ticker.tick()
        return capfd.readouterr().err

    first = said()
    for name, reason in {
        ".hidden.csv": "hidden file",
        "half.csv.part": "temporary file",
        "notes.txt": "does not match the pattern",
        "folder.csv": "folder",
        "link.csv": "symbolic link",
    }.items():
        assert any(name in line and reason in line for line in first.splitlines()), (name, first)
    assert "hidden file" not in said()
    (customers / "new.txt").touch()
    assert "new.txt" in said()


def test_a_file_outside_the_window_is_said_and_not_asked_for(
    landing_dir: Path,
    instance: dg.DagsterInstance,
    resources: dict[str, object],
    capfd: pytest.CaptureFixture[str],
) -> None:
    drop(landing_dir / "daily", "2018-01-22", "1999-01-01")
    ticker = Ticker(DAILY_PRICES_PIPELINE.sensor, instance, resources)
    [request] = ticker.tick()
    assert request.partition_key == "2018-01-22"
    assert "outside the window" in capfd.readouterr().err


def test_a_locked_warehouse_skips_the_tick_with_the_reason(
    customers: Path,
    ticker: Ticker,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_locked(*_: object, **__: object) -> None:
        raise sensors.WarehouseLockedError(f"{database} was in use by another process")

    monkeypatch.setattr(sensors, "plan_feed", is_locked)
    drop(customers, "a")
    assert ticker.tick() == []
    assert "in use by another process" in ticker.skipped


def test_a_missing_landing_directory_skips_the_tick_with_the_reason(
    ticker: Ticker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LANDING_DIR", str(tmp_path / "unmounted"))
    assert ticker.tick() == []
    assert "unmounted does not exist" in ticker.skipped


def test_a_deleted_database_is_filled_again(
    customers: Path, ticker: Ticker, database: Path, query: Query
) -> None:
    drop(customers, "a", "b")
    [request] = ticker.tick()
    ticker.execute(request)
    database.unlink()
    [again] = ticker.tick()
    assert again.run_key != request.run_key
    ticker.execute(again)
    assert query("SELECT count(*) FROM raw_dynamic_partition_data") == [(2,)]


def test_loaded_files_get_their_key_in_a_new_instance(
    customers: Path, ticker: Ticker, instance: dg.DagsterInstance
) -> None:
    drop(customers, "a", "b")
    [request] = ticker.tick()
    ticker.execute(request)
    instance.delete_dynamic_partition("customers", "a")
    assert ticker.tick() == []
    assert ticker.registered == ["a"]


def test_a_reset_cursor_does_not_repeat_run_keys(customers: Path, ticker: Ticker) -> None:
    drop(customers, "a")
    first = {request.run_key for _ in range(2) for request in ticker.tick()}
    ticker.cursor = str(Cursor(requests=0))
    real_time = sensors.time.time
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sensors.time, "time", lambda: real_time() + 3600)
        second = {request.run_key for _ in range(2) for request in ticker.tick()}
    assert len(first) == len(second) == 2
    assert not first & second


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"asked":{"a":1}}', "old-style.csv"])
def test_a_cursor_that_cannot_be_read_is_empty(text: str | None) -> None:
    assert Cursor.parse(text) == Cursor()


def test_a_cursor_survives_its_own_writing() -> None:
    cursor = Cursor({"a": ("0a1b", 2, 1_800_000_000)}, "ee", "ff", ("2c", 1), 12.5, 7)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("pipeline", [CUSTOMER_PRICES_PIPELINE, DAILY_PRICES_PIPELINE])
def test_sensors_run_by_default_at_every_other_look_of_the_daemon(pipeline: Any) -> None:
    assert pipeline.sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert pipeline.sensor.minimum_interval_seconds == 9


def test_a_tick_leaves_the_database_free(customers: Path, ticker: Ticker, database: Path) -> None:
    drop(customers, "a")
    ticker.execute(ticker.tick()[0])
    ticker.tick()
    with duckdb.connect(str(database), config={"threads": 1}) as connection:
        assert connection.execute("SELECT count(*) FROM file_loads").fetchone() == (1,)
