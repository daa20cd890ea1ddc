"""The names of what ships; a change here is a change for its users. More feeds may be added."""

import itertools
import subprocess
import sys

import dagster as dg

from partitioned_etl import load_location
from partitioned_etl.components.assets import find_feeds
from sample_feeds.definitions import defs, location

CHECKS_OF_ALL = (
    *("matches_contract", "rows_add_up"),
    *("table_equals_landing", "every_file_is_matched"),
)
OTHER_CHECKS = {
    "duckdb_partition_table": [
        *("share_price_is_positive", "file_is_on_time", "partition_is_of_usual_size")
    ],
    "duckdb_dynamic_partition_table": ["share_price_is_positive"],
    "stg_orders": ["order_date_is_in_file_month", "partition_is_of_usual_size"],
    "supplier_stock": ["pieces_are_counted", "partition_is_of_usual_size"],
    "podcast_episodes": [],
}


def test_nothing_is_broken() -> None:
    assert location.mistakes == ()


def test_the_assets_that_ship_are_these() -> None:
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} >= {
        "import_partition_file",
        "duckdb_partition_table",
        "import_dynamic_partition_file",
        "duckdb_dynamic_partition_table",
        "import_monthly_file",
        "stg_orders",
        "monthly_orders",
        "import_supplier_stock",
        "supplier_stock",
        "import_podcast_episodes",
        "podcast_episodes",
        "archived_file",
        "arrivals",
    }


def test_every_table_has_the_same_checks_and_those_of_its_feed() -> None:
    checks: dict[str, set[str]] = {}
    for key in defs.resolve_asset_graph().asset_check_keys:
        checks.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    for table, others in OTHER_CHECKS.items():
        assert checks[table] == {*CHECKS_OF_ALL, *others}


def test_a_feed_has_one_job_and_one_sensor_and_all_share_one_reconcile_job() -> None:
    repository = defs.get_repository_def()
    feeds = {assets.feed.name for assets in find_feeds(defs)}
    jobs = {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"}
    downstream = {"monthly_rollup_job", "customer_prices_archive_job"}
    assert feeds >= {"daily_prices", "customer_prices", "monthly_orders", "supplier_stock"}
    assert jobs >= {*(f"{feed}_job" for feed in feeds), *downstream}
    assert {"reconcile_job", "forget_job", "arrivals_job"} <= jobs
    assert len([name for name in jobs if "reconcile" in name]) == 1
    assert {sensor.name for sensor in repository.sensor_defs} >= {
        "daily_prices_sensor",
        "customer_prices_sensor",
        "monthly_orders_sensor",
        "supplier_stock_sensor",
        "monthly_rollup_sensor",
        "customer_prices_archive_sensor",
        "removal_sensor",
        "late_file_sensor",
        "arrivals_sensor",
    }
    assert {schedule.name for schedule in repository.schedule_defs} >= {
        "daily_prices_schedule",
        "monthly_orders_schedule",
        "supplier_stock_schedule",
        "reconcile_schedule",
    }


def test_what_executes_the_steps_of_all_jobs_is_said_in_one_place() -> None:
    for executor in (dg.in_process_executor, dg.multiprocess_executor):
        definitions = load_location("sample_feeds.defs", executor=executor).definitions
        jobs = [definitions.resolve_job_def(job.name) for job in definitions.jobs or ()]
        assert len(jobs) > 1
        assert {job.executor_def.name for job in jobs} == {executor.name}
        assert (
            definitions.resolve_implicit_global_asset_job_def().executor_def.name == executor.name
        )


def test_each_asset_comes_after_the_one_before_it_in_its_chain() -> None:
    graph = defs.resolve_asset_graph()
    chains = [
        ["import_partition_file", "duckdb_partition_table"],
        ["import_dynamic_partition_file", "duckdb_dynamic_partition_table", "archived_file"],
        ["import_monthly_file", "stg_orders", "monthly_orders"],
        ["import_supplier_stock", "supplier_stock"],
    ]
    for chain in chains:
        for upstream, downstream in itertools.pairwise(chain):
            assert graph.get(dg.AssetKey(downstream)).parent_keys == {dg.AssetKey(upstream)}


def test_every_sensor_is_on_and_of_the_schedules_only_the_nightly_one() -> None:
    repository = defs.get_repository_def()
    assert {sensor.default_status for sensor in repository.sensor_defs} == {
        dg.DefaultSensorStatus.RUNNING
    }
    running = {
        schedule.name
        for schedule in repository.schedule_defs
        if schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    }
    assert running == {"reconcile_schedule"}


def test_the_daily_window_is_the_samples() -> None:
    assets = defs.resolve_asset_graph().get(dg.AssetKey("duckdb_partition_table"))
    assert assets.partitions_def is not None
    assert list(assets.partitions_def.get_partition_keys()) == [
        "2018-01-21",
        "2018-01-22",
        "2018-01-23",
    ]


def test_loading_them_imports_nothing_that_is_slow_to_import() -> None:
    """Every run worker and code server begins with it; what only some need, these import."""
    code = "import sys, sample_feeds.definitions\nprint(*sys.modules)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    modules = set(subprocess.check_output(command, text=True).split())
    slow = {"matplotlib", "numpy", "pandas", "psutil", "sqlalchemy", "tabulate", "apprise", "rich"}
    assert "dagster" in modules
    assert not modules & slow
