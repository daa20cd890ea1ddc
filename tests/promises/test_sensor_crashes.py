"""The sensor daemon is killed at every crash point that Dagster's own tests know of a sensor tick.

Whatever it leaves behind, the next daemon loads each version of each file, removes the partition of
each file that is deleted, and asks for it once.
"""

import inspect
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest

# Dagster has no public way to run one iteration of its daemons.
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor as sensor_daemon
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

from partitioned_etl.components import attempts
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.ranges import keys_of_run
from partitioned_etl.components.reconcile import RECONCILES_TAG
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.plan import Action, compare
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.define import DefinedFeed
from support.dev_server import PROJECT, default_environment
from support.removing_location import CUSTOMERS, DAILY
from support.samples import price_rows
from support.scale import TEST_SCALE

CRASH_POINTS = (
    "TICK_CREATED",
    "TICK_HELD",
    "AUTOMATION_EVALUATIONS_ADDED",
    "RUN_IDS_RESERVED",
    "RUN_CREATED",
    "RUN_LAUNCHED",
    "RUN_IDS_ADDED_TO_EVALUATIONS",
)
POINTS = CRASH_POINTS if TEST_SCALE >= 10 else ("RUN_IDS_RESERVED", "RUN_LAUNCHED")
"""The points that are tried: at least these two, between which nobody has started the run."""
DEFINED = (CUSTOMERS, DAILY)
CUSTOMER_PRICES, DAILY_PRICES = FEEDS = (CUSTOMERS.feed, DAILY.feed)
SENSORS = {defined.feed.name: defined.sensor.name for defined in DEFINED}
KEYS = {
    "customer_prices": ("acme", "globex", "hooli", "initech", "piper", "umbrella", "wonka"),
    "daily_prices": tuple(f"2018-01-{day}" for day in range(21, 28)),
}
"""The keys of each feed, in the order that ranges follow."""

SETTINGS = default_environment() | {
    "SENSOR_INTERVAL_SECONDS": "1",
    "SETTLE_SECONDS": "0",
}
LAUNCHER = """
run_launcher:
  module: dagster._core.launcher.sync_in_memory_run_launcher
  class: SyncInMemoryRunLauncher
"""
MOST_PASSES = 10
DEADLINE_S = 600
LOG_TAIL_CHARS = 5000

pytestmark = [pytest.mark.long, pytest.mark.slow]


class Site:
    """A folder with what the daemons need.

    Attributes:
        folder: Working directory of the daemons, with the shipped Dagster instance.
        landing_dir: The landing directory.
        database: The DuckDB database.
        landed: Share prices per feed and key of what landed last and is not deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.landing_dir = folder / "landing"
        self.database = folder / "warehouse.duckdb"
        self.landed = {
            feed.name: {key: [1.0, 2.0] for key in KEYS[feed.name][:4]} for feed in FEEDS
        }

    def prepare(self) -> None:
        """Fill the folder, with the first files landed."""
        for name in ("daily", "customers", "monthly"):
            (self.landing_dir / name).mkdir(parents=True)
        shutil.copy(PROJECT / "dagster.yaml", self.folder)
        with (self.folder / "dagster.yaml").open("a", encoding="utf-8") as config:
            config.write(LAUNCHER)
        for feed in FEEDS:
            for key, share_prices in self.landed[feed.name].items():
                self.land(feed, key, *share_prices)

    def land(self, feed: Feed, key: str, *share_prices: float) -> None:
        """Let a file land, or correct it in place."""
        path = self.landing_dir / feed.folder / f"{key}.csv"
        path.write_text(price_rows(*share_prices), encoding="utf-8")
        self.landed[feed.name][key] = list(share_prices)

    def delete(self, feed: Feed, key: str) -> None:
        """Delete a landed file."""
        (self.landing_dir / feed.folder / f"{key}.csv").unlink()
        del self.landed[feed.name][key]

    def open_instance(self) -> dg.DagsterInstance:
        """Open the Dagster instance; the folder has to be the working directory."""
        return dg.DagsterInstance.from_config(str(self.folder))

    def run_daemons(self, crash: tuple[str, str] | None = None) -> int | None:
        """Run the daemons in a process of their own, and give its exit code.

        Args:
            crash: A sensor, and the point of its tick at which the process is killed; without it
                the daemons go on until there is nothing left to do.
        """
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=run_daemons, args=(self, crash))
        process.start()
        process.join(DEADLINE_S)
        exit_code = process.exitcode
        process.kill()
        process.join()
        process.close()
        return exit_code

    def read_log(self) -> str:
        """Give what the daemons wrote last."""
        log = self.folder / "daemons.log"
        return log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARS:]


def run_daemons(site: Site, crash: tuple[str, str] | None) -> None:
    """Let the sensors tick and the queue run, until nothing happens any more or the crash comes."""
    with (site.folder / "daemons.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(site.folder)
    os.environ["LANDING_DIR"] = str(site.landing_dir)
    os.environ["DUCKDB_DATABASE"] = str(site.database)
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(module_name="support.removing_location"),
        location_name="partitioned_etl",
    )
    with (
        site.open_instance() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace,
        QueuedRunCoordinatorDaemon(interval_seconds=1) as queue,
        # The next tick comes when the test wants it, and not when an interval is over.
        mock.patch.object(sensor_daemon, "is_under_min_interval", return_value=False),
        mock.patch.object(attempts, "PAUSE_SECONDS", 0),
    ):
        for _ in range(MOST_PASSES):
            was_quiet = not list_unfinished(instance)
            known_runs = instance.get_runs_count()
            # The first tick may only finish what a killed one began; the second finds what the
            # first has asked for still waiting in the queue.
            for _ in range(2):
                tick(workspace, crash)
            if was_quiet and instance.get_runs_count() == known_runs:
                return
            # The pool lets the queue give away one run at a time.
            for _ in list_unfinished(instance):
                list(queue.run_iteration(workspace))
        raise AssertionError(f"there is still something to do after {MOST_PASSES} passes")


def tick(workspace: WorkspaceProcessContext, crash: tuple[str, str] | None) -> None:
    """Let every sensor tick once, as the sensor daemon does, and check what they asked for."""
    iteration = sensor_daemon.execute_sensor_iteration(
        workspace,
        logging.getLogger("sensor daemon"),
        threadpool_executor=None,
        submit_threadpool_executor=None,
        debug_crash_flags={crash[0]: {crash[1]: signal.SIGKILL}} if crash else None,
    )
    errors = [error for error in iteration if error]
    assert not errors, errors
    for feed in FEEDS:
        runs = list_unfinished(workspace.instance, {FEED_TAG: feed.name})
        held = Counter(key for run in runs for key in keys_of_run(run.tags, KEYS[feed.name]))
        assert set(held.values()) <= {1}, f"two unfinished runs hold the same key: {held}"
        assert len(list_unfinished(workspace.instance, {RECONCILES_TAG: feed.name})) <= 1


def list_unfinished(
    instance: dg.DagsterInstance, tags: dict[str, str] | None = None
) -> list[dg.DagsterRun]:
    """Give the runs that have yet to end."""
    return [run for run in instance.get_runs(dg.RunsFilter(tags=tags)) if not run.is_finished]


@pytest.fixture(scope="module")
def loaded_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a site with four loaded files of each feed, for the tests to copy."""
    context = multiprocessing.get_context("forkserver")
    # Dagster and the code location are imported once, for all processes of the daemons.
    modules = ["pytest", "support.removing_location", sensor_daemon.__name__]
    context.set_forkserver_preload(modules)
    with pytest.MonkeyPatch.context() as patch:
        for name, text in SETTINGS.items():
            patch.setenv(name, text)
        # The processes import this module by the name that pytest has given it.
        patch.syspath_prepend(PROJECT)
        forkserver.ensure_running()
        site = Site(tmp_path_factory.mktemp("loaded"))
        site.prepare()
        assert site.run_daemons() == 0, site.read_log()
        yield site.folder


@pytest.fixture
def site(loaded_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with four loaded files of each feed."""
    shutil.copytree(loaded_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path)


def check_table(site: Site, feed: Feed) -> None:
    """Check that the table holds the rows of what landed last, each once, and no other."""
    with DuckDBFile(site.database).open_read_only() as opened:
        rows = opened.duck.execute(
            "SELECT partition_key, source_file, list(share_price ORDER BY share_price) "
            f"FROM {feed.table} GROUP BY ALL"
        ).fetchall()
    landed = site.landed[feed.name]
    assert sorted(rows) == [(key, f"{key}.csv", landed[key]) for key in sorted(landed)]


def check_ledger(site: Site, feed: Feed) -> None:
    """Check that the ledger says of every file that it is loaded as it is, and knows no other."""
    with DuckDBFile(site.database).open_read_only() as opened:
        ledger = opened.table(feed).read_ledger()
    steps = compare(feed, LocalLanding(site.landing_dir, 0).list_files(feed), ledger).steps
    expected = dict.fromkeys(site.landed[feed.name], Action.IDENTICAL)
    assert {step.partition_key: step.action for step in steps.values()} == expected
    assert {row.status for row in ledger.rows.values()} == {LoadStatus.LOADED}
    row_counts = {key: len(prices) for key, prices in site.landed[feed.name].items()}
    assert {key: ledger.count_rows(key) for key in ledger.by_key} == row_counts


def check_runs(instance: dg.DagsterInstance, feed: Feed, expected: Counter[str]) -> None:
    """Check that each key had this many runs, all good and one after the other."""
    spans: dict[str, list[tuple[float, float]]] = {key: [] for key in KEYS[feed.name]}
    for run in instance.get_runs(dg.RunsFilter(tags={FEED_TAG: feed.name})):
        assert run.status is dg.DagsterRunStatus.SUCCESS
        stats = instance.get_run_stats(run.run_id)
        assert stats.enqueued_time
        assert stats.end_time
        for key in keys_of_run(run.tags, KEYS[feed.name]):
            spans[key].append((stats.enqueued_time, stats.end_time))
    assert {key: len(runs) for key, runs in spans.items()} == expected
    for runs in spans.values():
        for (_, end), (enqueued, _) in pairwise(sorted(runs)):
            assert end <= enqueued


def check_removal(instance: dg.DagsterInstance, defined: DefinedFeed, deleted: str) -> None:
    """Check that one run removed the partition, and that Dagster shows it without rows."""
    (run,) = instance.get_runs(dg.RunsFilter(tags={RECONCILES_TAG: defined.feed.name}))
    assert run.status is dg.DagsterRunStatus.SUCCESS
    wanted = dg.AssetRecordsFilter(defined.assets.load_key, asset_partitions=[deleted])
    told = instance.fetch_materializations(wanted, limit=10, ascending=True).records
    events = [record.asset_materialization for record in told]
    assert [event.metadata["dagster/partition_row_count"].value for event in events if event] == [
        2,
        0,
    ]


def read_cursor(instance: dg.DagsterInstance, sensor: str) -> dict[str, Any]:
    """Give what a sensor remembers."""
    (state,) = (state for state in instance.all_instigator_state() if state.name == sensor)
    data = state.instigator_data
    assert isinstance(data, SensorInstigatorData)
    return json.loads(data.cursor or "")


def test_these_are_all_crash_points_of_the_installed_dagster() -> None:
    calls = r'check_for_debug_crash\(\s*\w+,\s*"(\w+)"'
    assert set(re.findall(calls, inspect.getsource(sensor_daemon))) == set(CRASH_POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_tick_leaves_nothing_out_and_repeats_nothing(site: Site, point: str) -> None:
    for feed in FEEDS:
        _, changed, _, deleted, *new, last = KEYS[feed.name]
        site.land(feed, changed, 3, 4, 5)
        for key in new:
            site.land(feed, key, 6)
        site.delete(feed, deleted)
        assert site.run_daemons((SENSORS[feed.name], point)) == -signal.SIGKILL, site.read_log()
        # What lands while no daemon runs meets what the killed one left to be done.
        site.land(feed, new[-1], 7, 8)
        site.land(feed, last, 9)
    assert site.run_daemons() == 0, site.read_log()

    with site.open_instance() as instance:
        for defined in DEFINED:
            feed = defined.feed
            _, changed, _, deleted, *_ = KEYS[feed.name]
            check_table(site, feed)
            check_ledger(site, feed)
            check_runs(instance, feed, Counter([*KEYS[feed.name], changed]))
            check_removal(instance, defined, deleted)
            assert read_cursor(instance, SENSORS[feed.name])["attempts"] == {"of_key": {}}
            [mark, count, _] = read_cursor(instance, "removal_sensor")[feed.name]
            assert (mark, count) == ("", 0)
        registered = instance.get_dynamic_partitions("customers")
        assert sorted(registered) == sorted(site.landed["customer_prices"])


def test_a_run_that_was_given_up_before_the_daemon_came_back_is_asked_for_again(
    site: Site,
) -> None:
    site.land(CUSTOMER_PRICES, "piper", 6)
    crash = (SENSORS["customer_prices"], "RUN_CREATED")
    assert site.run_daemons(crash) == -signal.SIGKILL, site.read_log()
    with site.open_instance() as instance:
        # So does run monitoring, when a run has not started for a minute.
        (run,) = list_unfinished(instance)
        instance.report_run_failed(run)
    assert site.run_daemons() == 0, site.read_log()
    check_table(site, CUSTOMER_PRICES)
