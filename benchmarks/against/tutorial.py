"""The three feeds as a careful reader of Dagster's tutorials would write them.

Assets that delete and insert one partition; a sensor per folder with the last modification time as
its cursor, as Dagster's guide on sensors shows it. The course deletes by a date in the file, which
adds its sample's rows again at every run: a careful reader adds a column, and so does this.
"""

import os
from collections.abc import Callable
from pathlib import Path

import dagster as dg
from dagster_duckdb import DuckDBResource

SOURCE = Path(os.environ["LANDING_DIR"])
PRICES = "date DATE, share_price DOUBLE, amount DOUBLE, spend DOUBLE, shift DOUBLE, spread DOUBLE"
ORDERS = "id BIGINT, user_id BIGINT, order_date DATE, status VARCHAR"

days = dg.DailyPartitionsDefinition(start_date="2018-01-21", end_date="2018-01-24")
months = dg.MonthlyPartitionsDefinition(start_date="2018-01-01")
customers = dg.DynamicPartitionsDefinition(name="customers")


def replace_partition(
    database: DuckDBResource, table: str, columns: str, partition: str, path: Path
) -> None:
    """Delete a partition's rows, and insert the file's."""
    with database.get_connection() as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}, partition VARCHAR)")
        connection.execute(f"DELETE FROM {table} WHERE partition = '{partition}'")
        connection.execute(f"INSERT INTO {table} SELECT *, '{partition}' FROM read_csv('{path}')")


@dg.asset(partitions_def=days, kinds={"duckdb"})
def daily_prices(context: dg.AssetExecutionContext, database: DuckDBResource) -> None:
    """Prices of one day."""
    day = context.partition_key
    replace_partition(database, "daily_prices", PRICES, day, SOURCE / f"daily/{day}.csv")


@dg.asset(partitions_def=customers, kinds={"duckdb"})
def customer_prices(context: dg.AssetExecutionContext, database: DuckDBResource) -> None:
    """Prices of one customer."""
    customer = context.partition_key
    path = SOURCE / f"customers/{customer}.csv"
    replace_partition(database, "customer_prices", PRICES, customer, path)


@dg.asset(partitions_def=months, kinds={"duckdb"})
def monthly_orders(context: dg.AssetExecutionContext, database: DuckDBResource) -> None:
    """Orders of one month."""
    month = context.partition_key
    path = SOURCE / f"monthly/{month[:7]}.csv"
    replace_partition(database, "monthly_orders", ORDERS, month, path)


def build_sensor(
    asset: dg.AssetsDefinition, folder: str, to_key: Callable[[str], str]
) -> dg.SensorDefinition:
    """Watch a folder for files that are newer than the newest one before."""
    name = asset.key.to_user_string()

    @dg.sensor(name=f"{name}_sensor", job=dg.define_asset_job(f"{name}_job", [asset]))
    def landing_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        last_modified = newest = float(context.cursor or 0)
        requests = []
        for path in sorted((SOURCE / folder).glob("*.csv")):
            modified = path.stat().st_mtime
            if modified > last_modified:
                run_key = f"{path.name}:{modified}"
                requests.append(dg.RunRequest(run_key, partition_key=to_key(path.stem)))
                newest = max(newest, modified)
        keys = [request.partition_key for request in requests if request.partition_key]
        added = [customers.build_add_request(keys)] if asset is customer_prices else []
        return dg.SensorResult(requests, cursor=str(newest), dynamic_partitions_requests=added)

    return landing_sensor


defs = dg.Definitions(
    assets=[daily_prices, customer_prices, monthly_orders],
    sensors=[
        build_sensor(daily_prices, "daily", lambda stem: stem),
        build_sensor(customer_prices, "customers", lambda stem: stem),
        build_sensor(monthly_orders, "monthly", lambda stem: f"{stem}-01"),
    ],
    resources={"database": DuckDBResource(database=os.environ["DUCKDB_DATABASE"])},
)
