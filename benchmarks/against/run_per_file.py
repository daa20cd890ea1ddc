"""What this project is compared with: one run per file, in the style of the usual tutorial.

A sensor remembers the names that it has seen, registers a dynamic partition per file and requests
one run each; import and load are two steps under the default executor. It is written for the
benchmarks only, and as fast as that style allows: the delete is by partition key, and a load that
finds the database locked is tried again.
"""

import json
import os
from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

LANDING_DIR = Path(os.environ["LANDING_DIR"])
customers = dg.DynamicPartitionsDefinition(name="customers")
days = dg.DailyPartitionsDefinition(
    start_date=os.environ["DAILY_START_DATE"], end_date=os.environ["DAILY_END_DATE"]
)
retries = dg.RetryPolicy(max_retries=20, delay=1)


def load_file(database: DuckDBResource, table: str, path: str, key: str) -> None:
    """Replace a partition's rows by those of a file."""
    with database.get_connection() as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {table} AS SELECT *, '' AS partition_key "
            "FROM read_csv(?) LIMIT 0",
            [path],
        )
        connection.execute("BEGIN")
        connection.execute(f"DELETE FROM {table} WHERE partition_key = ?", [key])
        connection.execute(f"INSERT INTO {table} SELECT *, ? FROM read_csv(?)", [key, path])
        connection.execute("COMMIT")


@dg.asset(partitions_def=customers)
def customer_file(context: dg.AssetExecutionContext) -> str:
    """The landed file of a customer."""
    return str(LANDING_DIR / "customers" / f"{context.partition_key}.csv")


@dg.asset(partitions_def=customers, retry_policy=retries)
def customer_table(
    context: dg.AssetExecutionContext, customer_file: str, database: DuckDBResource
) -> None:
    """The rows of a customer's file."""
    load_file(database, "raw_dynamic_partition_data", customer_file, context.partition_key)


@dg.asset(partitions_def=days)
def day_file(context: dg.AssetExecutionContext) -> str:
    """The landed file of a day."""
    return str(LANDING_DIR / "daily" / f"{context.partition_key}.csv")


@dg.asset(partitions_def=days, retry_policy=retries)
def day_table(context: dg.AssetExecutionContext, day_file: str, database: DuckDBResource) -> None:
    """The rows of a day's file."""
    load_file(database, "raw_partition_data", day_file, context.partition_key)


customers_job = dg.define_asset_job("customers_job", selection=[customer_file, customer_table])


@dg.sensor(
    job=customers_job,
    minimum_interval_seconds=int(os.environ["SENSOR_INTERVAL_SECONDS"]),
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def customers_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Request one run per file that was not seen before."""
    seen = set(json.loads(context.cursor or "[]"))
    names = {path.stem for path in (LANDING_DIR / "customers").glob("*.csv")}
    new = sorted(names - seen)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=name, partition_key=name) for name in new],
        dynamic_partitions_requests=[customers.build_add_request(new)],
        cursor=json.dumps(sorted(names | seen)),
    )


defs = dg.Definitions(
    assets=[customer_file, customer_table, day_file, day_table],
    jobs=[customers_job],
    sensors=[customers_sensor],
    resources={"database": DuckDBResource(database=os.environ["DUCKDB_DATABASE"])},
)
