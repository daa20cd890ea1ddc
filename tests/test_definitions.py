"""The names of everything that the code location holds; a change here is a change for its users."""

import itertools
import subprocess
import sys

import dagster as dg

from partitioned_etl.definitions import defs


def test_the_code_location_holds_exactly_these() -> None:
    repository = defs.get_repository_def()
    graph = defs.resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "import_partition_file",
        "duckdb_partition_table",
        "import_dynamic_partition_file",
        "duckdb_dynamic_partition_table",
        "import_monthly_file",
        "stg_orders",
        "monthly_orders",
        "import_supplier_stock",
        "supplier_stock",
        "archived_file",
        "arrivals",
    }
    assert {key.to_user_string() for key in graph.asset_check_keys} == {
        "duckdb_partition_table:daily_prices_match_contract",
        "duckdb_partition_table:share_price_is_positive",
        "duckdb_partition_table:daily_prices_rows_add_up",
        "duckdb_partition_table:daily_prices_table_equals_directory",
        "duckdb_partition_table:daily_prices_file_is_on_time",
        "duckdb_partition_table:daily_prices_partition_is_of_usual_size",
        "duckdb_dynamic_partition_table:customer_prices_match_contract",
        "duckdb_dynamic_partition_table:share_price_is_positive",
        "duckdb_dynamic_partition_table:customer_prices_rows_add_up",
        "duckdb_dynamic_partition_table:customer_prices_table_equals_directory",
        "stg_orders:monthly_orders_match_contract",
        "stg_orders:order_date_is_in_file_month",
        "stg_orders:monthly_orders_rows_add_up",
        "stg_orders:monthly_orders_table_equals_directory",
        "supplier_stock:supplier_stock_match_contract",
        "supplier_stock:pieces_are_counted",
        "supplier_stock:supplier_stock_rows_add_up",
        "supplier_stock:supplier_stock_table_equals_directory",
        "supplier_stock:supplier_stock_partition_is_of_usual_size",
        "stg_orders:monthly_orders_partition_is_of_usual_size",
    }
    assert {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"} == {
        "daily_prices_job",
        "customer_prices_job",
        "monthly_orders_job",
        "daily_prices_reconcile_job",
        "customer_prices_reconcile_job",
        "monthly_orders_reconcile_job",
        "monthly_rollup_job",
        "supplier_stock_job",
        "supplier_stock_reconcile_job",
        "customer_prices_archive_job",
        "arrivals_job",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "daily_landing_sensor",
        "customers_landing_sensor",
        "monthly_landing_sensor",
        "monthly_rollup_sensor",
        "supplier_stock_landing_sensor",
        "customer_prices_archive_sensor",
        "arrivals_sensor",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "daily_prices_schedule",
        "monthly_orders_schedule",
        "daily_prices_reconcile_schedule",
        "customer_prices_reconcile_schedule",
        "monthly_orders_reconcile_schedule",
        "supplier_stock_schedule",
        "supplier_stock_reconcile_schedule",
    }


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


def test_every_sensor_is_on_and_of_the_schedules_only_the_nightly_reconciliation() -> None:
    repository = defs.get_repository_def()
    assert {sensor.default_status for sensor in repository.sensor_defs} == {
        dg.DefaultSensorStatus.RUNNING
    }
    running = {
        schedule.name
        for schedule in repository.schedule_defs
        if schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    }
    assert running == {
        schedule.name for schedule in repository.schedule_defs if "reconcile" in schedule.name
    }


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
    code = "import sys, partitioned_etl.definitions\nprint(*sys.modules)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    modules = set(subprocess.check_output(command, text=True).split())
    assert "dagster" in modules
    assert not modules & {"matplotlib", "numpy", "pandas", "psutil", "sqlalchemy", "tabulate"}
