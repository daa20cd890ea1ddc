"""The landing sensors: what a tick asks for, registers, remembers and says."""

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import ref

import dagster as dg
import duckdb
import pytest

from partitioned_etl.components import agenda, ranges
from partitioned_etl.components.assets import feed_assets, feed_job
from partitioned_etl.components.attempts import PAUSE_SECONDS, Attempt, Attempts
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.ranges import (
    PARTITION_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    keys_of_run,
)
from partitioned_etl.components.resources import WarehouseResource
from partitioned_etl.components.sensor import LandingCursor, landing_sensor
from partitioned_etl.engine.errors import WarehouseLockedError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import Landing
from partitioned_etl.engine.landing.local import LocalLanding, version_in
from partitioned_etl.engine.landing.names import Scan
from partitioned_etl.engine.plan import MAX_ATTEMPTS, Plan, make_plan
from partitioned_etl.engine.sync import sync_feed
from support.define import DefinedFeed
from support.sample_location import CUSTOMER_PRICES, CUSTOMERS, DAILY, define_customers, defs
from support.samples import price_rows
from support.workbench import change_feed

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
        self.asked: list[dg.RunRequest] = []

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
        self.asked = list(result.run_requests or [])
        return self.asked

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

    def queue(self, request: dg.RunRequest) -> dg.DagsterRun:
        """Make the run that was asked for, as the daemon does before it starts it."""
        key = {PARTITION_TAG: request.partition_key} if request.partition_key else {}
        return self.instance.create_run_for_job(
            defs.resolve_job_def("customer_prices_job"),
            tags={**request.tags, **key},
            status=dg.DagsterRunStatus.NOT_STARTED,
        )


@pytest.fixture
def customers(landing_dir: Path) -> Path:
    """The customers folder."""
    return landing_dir / "customers"


@pytest.fixture
def ticker(instance: dg.DagsterInstance, resources: dict[str, object]) -> Ticker:
    """The customers sensor."""
    return Ticker(CUSTOMERS.sensor, instance, resources)


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
    assert json.loads(ticker.cursor)["attempts"]["of_key"] == {}


def test_only_the_changed_files_are_asked_for_again(customers: Path, ticker: Ticker) -> None:
    drop(customers, "a", "b", "c", "d", "e")
    [request] = ticker.tick()
    ticker.execute(request)
    drop(customers, "a", "c", "d", price=2.0)
    requests = ticker.tick()
    assert [ticker.keys(request) for request in requests] == [["a"], ["c", "d"]]


def test_a_touched_file_is_not_asked_for_and_its_version_is_recorded(
    customers: Path, ticker: Ticker, query: Query
) -> None:
    drop(customers, "a")
    [request] = ticker.tick()
    ticker.execute(request)
    os.utime(customers / "a.csv", ns=(1, 1))
    assert ticker.tick() == []
    touched = (customers / "a.csv").stat()
    assert touched.st_mtime_ns == 1
    assert query("SELECT version FROM file_loads") == [(version_in(touched),)]


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
    assert query("SELECT share_price FROM raw_customer_prices") == [(5.0,)]


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
    """As the refusal of a table that no load has made advises."""
    drop(customers, "a")
    ticker.execute(*ticker.tick())
    drop(customers, "b")
    assert [len(ticker.tick()) for _ in range(MAX_ATTEMPTS + 1)] == [1] * MAX_ATTEMPTS + [0]
    with duckdb.connect(str(database)) as connection:
        connection.execute("DROP TABLE raw_customer_prices")
    assert [ticker.keys(request) for request in ticker.tick()] == [["a", "b"]]


def test_a_tick_that_asks_for_a_load_says_what_it_changes_at_the_table(
    customers: Path, ticker: Ticker, capfd: pytest.CaptureFixture[str]
) -> None:
    drop(customers, "a")
    ticker.execute(*ticker.tick())
    drop(customers, "b")
    columns = {**CUSTOMER_PRICES.columns, "currency": "VARCHAR"}
    ticker.sensor = define_customers(change_feed(CUSTOMER_PRICES, columns=columns)).sensor
    capfd.readouterr()
    assert len(ticker.tick()) == 1
    told = "column currency VARCHAR is added: NULL in 1 loaded partition(s)"
    assert f"feed customer_prices: {told}" in capfd.readouterr().err


@pytest.mark.parametrize("changes", [{"row_rules": ()}, {"max_rejected_rows": 7}])
def test_a_file_that_was_tried_in_vain_is_asked_for_again_under_another_declaration(
    changes: dict[str, Any], customers: Path, ticker: Ticker
) -> None:
    drop(customers, "a")
    assert [len(ticker.tick()) for _ in range(MAX_ATTEMPTS + 1)] == [1] * MAX_ATTEMPTS + [0]
    ticker.sensor = define_customers(CUSTOMER_PRICES).sensor
    assert ticker.tick() == []
    ticker.sensor = define_customers(change_feed(CUSTOMER_PRICES, **changes)).sensor
    assert [len(ticker.tick()) for _ in range(MAX_ATTEMPTS + 1)] == [1] * MAX_ATTEMPTS + [0]


def test_a_file_that_was_tried_in_vain_is_asked_for_again_when_the_feeds_code_is_corrected(
    customers: Path, ticker: Ticker, tmp_path: Path
) -> None:
    module = tmp_path / "feed_of_somebody.py"

    def define(code: str) -> dg.SensorDefinition:
        module.write_text(code, encoding="utf-8")
        names: dict[str, Any] = {}
        exec(compile(code, module, "exec"), names)
        definition = feed_assets(CUSTOMER_PRICES)(names["load"])
        return landing_sensor(definition, feed_job(definition))

    broken = """
from partitioned_etl.components.resources import LandingResource, WarehouseResource

def load(context, landing: LandingResource, warehouse: WarehouseResource):
    raise ValueError
"""
    ticker.sensor = define(broken)
    drop(customers, "a")
    assert [len(ticker.tick()) for _ in range(MAX_ATTEMPTS + 1)] == [1] * MAX_ATTEMPTS + [0]
    ticker.sensor = define(broken)
    assert ticker.tick() == []
    ticker.sensor = define(broken.replace("raise ValueError", "yield"))
    assert len(ticker.tick()) == 1


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch, ticker: Ticker) -> Callable[[float], list[list[str]]]:
    """Evaluate the sensor some seconds from now; give the keys of each run."""

    def tick(seconds: float) -> list[list[str]]:
        now = time.time() + seconds
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda: now)
            return [ticker.keys(request) for request in ticker.tick()]

    return tick


def test_a_run_that_could_not_start_is_no_attempt_and_its_files_are_asked_for_after_a_pause(
    customers: Path, ticker: Ticker, after: Callable[[float], list[list[str]]]
) -> None:
    drop(customers, "a", "b")
    seconds = 0
    for _ in range(2 * MAX_ATTEMPTS):
        assert after(seconds) == [["a", "b"]]
        ticker.instance.report_run_failed(ticker.queue(*ticker.asked))
        for passed in (0, PAUSE_SECONDS - 2):
            assert after(seconds + passed) == []
            assert "2 waiting because their run could not start" in ticker.skipped
        seconds += PAUSE_SECONDS
    assert after(seconds) == [["a", "b"]]
    ticker.execute(*ticker.asked)
    assert after(seconds) == []
    assert "2 identical" in ticker.skipped


def test_a_run_that_began_and_failed_is_an_attempt(
    customers: Path,
    ticker: Ticker,
    after: Callable[[float], list[list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> Iterator[None]:
        raise ValueError

    monkeypatch.setattr(WarehouseResource, "load", fail)
    drop(customers, "a")
    for _ in range(MAX_ATTEMPTS):
        assert after(0) == [["a"]]
        ticker.execute(*ticker.asked)
    assert after(0) == after(2 * PAUSE_SECONDS) == []
    assert len(ticker.instance.get_runs()) == MAX_ATTEMPTS


def test_a_run_that_could_not_start_takes_back_one_attempt_and_no_more(
    customers: Path, ticker: Ticker, after: Callable[[float], list[list[str]]]
) -> None:
    drop(customers, "a")
    assert after(0) == [["a"]]
    assert after(0) == [["a"]]
    ticker.instance.report_run_failed(ticker.queue(*ticker.asked))
    assert after(0) == []
    asked = [after(PAUSE_SECONDS) for _ in range(MAX_ATTEMPTS)]
    assert asked == [[["a"]], [["a"]], []]


def test_a_pause_concerns_only_the_files_of_the_run_that_could_not_start_and_ends_if_they_change(
    customers: Path, ticker: Ticker, after: Callable[[float], list[list[str]]]
) -> None:
    drop(customers, "loaded")
    ticker.execute(*ticker.tick())
    drop(customers, "a", "b")
    assert after(0) == [["a", "b"]]
    ticker.instance.report_run_failed(ticker.queue(*ticker.asked))
    drop(customers, "c")
    assert after(0) == [["c"]]
    ticker.execute(*ticker.asked)
    assert after(0) == []
    drop(customers, "a", price=2.0)
    assert after(0) == [["a"]]


def test_keys_of_an_unfinished_run_are_not_asked_for_again(customers: Path, ticker: Ticker) -> None:
    drop(customers, "a", "b")
    [request] = ticker.tick()
    ticker.queue(request)
    assert ticker.tick() == []
    drop(customers, "c")
    assert [ticker.keys(request) for request in ticker.tick()] == [["c"]]


def test_a_lost_cursor_does_not_ask_twice_for_what_is_under_way(
    customers: Path, ticker: Ticker
) -> None:
    drop(customers, "a", "b")
    [request] = ticker.tick()
    ticker.queue(request)
    ticker.cursor = None
    assert ticker.tick() == []


def test_a_tick_asks_for_no_more_files_than_the_limit(
    customers: Path, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_FILES_PER_RUN", "2")
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

    def plan_alone(feed: Feed, scan: Scan, landing: Landing, *given: Any, **settings: Any) -> Plan:
        assert not any(earlier() for earlier in plans)
        settling = LocalLanding(landing.readable_dir, settle_seconds=0 if plans else 3600)
        plan = make_plan(feed, scan, settling, *given, **settings)
        plans.append(ref(plan))
        return plan

    monkeypatch.setattr(agenda, "make_plan", plan_alone)
    assert len(ticker.tick()) == 1
    assert len(plans) == 2


def test_no_plan_outlives_its_tick(
    customers: Path, ticker: Ticker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster keeps the variables of the function that makes a process's first request for ever.

    Which test makes the first is chance, so every request is looked at.
    """
    requests: list[dict[str, Any]] = []

    def request(**values: Any) -> dg.RunRequest:
        requests.append(sys._getframe(1).f_locals)
        return dg.RunRequest(**values)

    known = SimpleNamespace(RunRequest=request, MultiPartitionKey=dg.MultiPartitionKey)
    monkeypatch.setattr(ranges, "dg", known)
    drop(customers, "a", "b", "c")
    gc.collect()
    gc.disable()
    try:
        assert ticker.tick()
        assert len(requests) == 1
        assert not [plan for plan in gc.get_objects() if isinstance(plan, Plan)]
    finally:
        gc.enable()


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
    warned = [line for line in first.splitlines() if "unmatched" in line]
    assert len(warned) == 3
    assert all("WARNING" in line for line in warned)
    assert "3 of no feed" in ticker.skipped
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
    ticker = Ticker(DAILY.sensor, instance, resources)
    [request] = ticker.tick()
    assert request.partition_key == "2018-01-22"
    assert "outside the window" in capfd.readouterr().err


def test_what_is_stale_is_counted_and_said_once(
    landing_dir: Path,
    database: Path,
    instance: dg.DagsterInstance,
    resources: dict[str, object],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The feed began earlier when its file was loaded."""
    drop(landing_dir / "daily", "1999-01-01")
    sync_feed(DAILY.feed, landing_dir, database, settle_seconds=0)
    (landing_dir / "daily" / "1999-01-01.csv").unlink()
    ticker = Ticker(DAILY.sensor, instance, resources)
    assert ticker.tick() == []
    assert "files: 1 stale" in ticker.skipped
    [told] = [line for line in capfd.readouterr().err.splitlines() if "1999-01-01.csv" in line]
    assert "WARNING" in told
    assert "stale '1999-01-01.csv': the feed cannot name it any more" in told
    ticker.tick()
    assert "1999-01-01.csv" not in capfd.readouterr().err


def test_a_locked_warehouse_skips_the_tick_with_the_reason(
    customers: Path,
    ticker: Ticker,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def is_locked(*_: object, **__: object) -> None:
        raise WarehouseLockedError(f"{database} was in use by another process")

    monkeypatch.setattr(agenda, "make_plan", is_locked)
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
    assert query("SELECT count(*) FROM raw_customer_prices") == [(2,)]


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
    ticker.cursor = str(LandingCursor(requests=0))
    real_time = time.time
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "time", lambda: real_time() + 3600)
        second = {request.run_key for _ in range(2) for request in ticker.tick()}
    assert len(first) == len(second) == 2
    assert not first & second


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "[]", "{", "null", "old-style.csv"),
        '{"asked":{"a":["0a1b",1,2]},"basis":"","said":"","removal":["",0],"requests":7}',
        '{"attempts":{"of_key":{"a":1}},"basis":"","said":"","reported_until":0,'
        '"failures_until":0,"requests":7}',
    ],
)
def test_a_cursor_that_cannot_be_read_is_empty(text: str | None) -> None:
    assert LandingCursor.parse(text) == LandingCursor()


def test_a_cursor_survives_its_own_writing() -> None:
    attempts = {"a": Attempt("0a1b", 2, 1_800_000_000), "b": Attempt("0", 0, 1, True)}
    cursor = LandingCursor(Attempts(attempts), "ee", "ff", 12.5, 13.5, 7)
    assert LandingCursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("defined", [CUSTOMERS, DAILY])
def test_sensors_run_by_default_at_every_other_look_of_the_daemon(defined: DefinedFeed) -> None:
    assert defined.sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert defined.sensor.minimum_interval_seconds == 9


def test_a_tick_leaves_the_database_free(customers: Path, ticker: Ticker, database: Path) -> None:
    drop(customers, "a")
    ticker.execute(ticker.tick()[0])
    ticker.tick()
    with duckdb.connect(str(database), config={"threads": 1}) as connection:
        assert connection.execute("SELECT count(*) FROM file_loads").fetchone() == (1,)
