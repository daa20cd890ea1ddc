"""The three feeds as a reader of Dagster's ETL tutorial would write them.

Assets that delete and insert one partition, as in the tutorial; a sensor per folder with the last
modification time as its cursor, as Dagster's guide on sensors shows it. Dagster University's course
deletes a customer's rows by a date, which fails; a careful reader adds a column, and so does this.
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


@dg.asset(partitions_def=days, kinds={"duckdb"})
def daily_prices(context: dg.AssetExecutionContext, database: DuckDBResource) -> None:
    """Prices of one day."""
    day = context.partition_key
    with database.get_connection() as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS daily_prices ({PRICES})")
        connection.execute(f"DELETE FROM daily_prices WHERE date = '{day}'")
        connection.execute(f"COPY daily_prices FROM '{SOURCE}/daily/{day}.csv' (HEADER)")


@dg.asset(partitions_def=customers, kinds={"duckdb"})
def customer_prices(context: dg.AssetExecutionContext, database: DuckDBResource) -> None:
    """Prices of one customer."""
    customer = context.partition_key
    with database.get_connection() as connection:
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS customer_prices ({PRICES}, customer VARCHAR)"
        )
        connection.execute(f"DELETE FROM customer_prices WHERE customer = '{customer}'")
        connection.execute(
            f"INSERT INTO customer_prices SELECT *, '{customer}' "
            f"FROM read_csv('{SOURCE}/customers/{customer}.csv')"
        )


@dg.asset(partitions_def=months, kinds={"duckdb"})
def monthly_orders(context: dg.AssetExecutionContext, database: DuckDBResource) -> None:
    """Orders of one month."""
    month = context.partition_key[:7]
    with database.get_connection() as connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS monthly_orders ({ORDERS})")
        connection.execute(
            f"DELETE FROM monthly_orders WHERE strftime(order_date, '%Y-%m') = '{month}'"
        )
        connection.execute(f"COPY monthly_orders FROM '{SOURCE}/monthly/{month}.csv' (HEADER)")


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
