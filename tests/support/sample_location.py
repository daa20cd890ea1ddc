"""A code location with a daily, a dynamic and a monthly feed, for tests of all that is not in one.

A daily file is due at seven; customers have copies; of orders there is a roll-up. Which feeds ship,
and what they are called, only `tests/defs/` knows.
"""

from collections import Counter

import dagster as dg

from partitioned_etl.components.archive import archive_asset
from partitioned_etl.components.assets import WAREHOUSE_POOL
from partitioned_etl.components.downstream import downstream_job, downstream_sensor
from partitioned_etl.components.isolation import Location
from partitioned_etl.components.resources import WarehouseResource
from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.warehouse.feed_table import has_table, transaction
from support.define import DefinedFeed, define_feed, define_location

PRICE_COLUMNS = {
    "date": "DATE",
    "share_price": "DOUBLE",
    "amount": "DOUBLE",
    "spend": "DOUBLE",
    "shift": "DOUBLE",
    "spread": "DOUBLE",
}
SHARE_PRICE_IS_POSITIVE = RowRule(
    name="share_price_is_positive",
    column="share_price",
    expression="share_price > 0",
    reason="not greater than 0",
)

DAILY_PRICES = Feed(
    name="daily_prices",
    folder="daily",
    pattern="{date:%Y-%m-%d}.csv",
    columns=PRICE_COLUMNS,
    table="raw_daily_prices",
    row_rules=(SHARE_PRICE_IS_POSITIVE,),
    due_after_hours=7,
)
CUSTOMER_PRICES = Feed(
    name="customer_prices",
    folder="customers",
    pattern="{key}.csv",
    columns=PRICE_COLUMNS,
    table="raw_customer_prices",
    row_rules=(SHARE_PRICE_IS_POSITIVE,),
)
MONTHLY_ORDERS = Feed(
    name="monthly_orders",
    folder="monthly",
    pattern="{date:%Y-%m}.csv",
    columns={"id": "BIGINT", "user_id": "BIGINT", "order_date": "DATE", "status": "VARCHAR"},
    table="stg_orders",
    row_rules=(
        RowRule(
            name="order_date_is_in_file_month",
            column="order_date",
            expression="strftime(order_date, '%Y-%m-01') = partition_key",
            reason="not in the month of the file's name",
        ),
    ),
)

daily_partitions = dg.DailyPartitionsDefinition("2018-01-21", end_date="2018-01-24")
monthly_partitions = dg.MonthlyPartitionsDefinition("2018-01-01", end_offset=1)
customer_partitions = dg.DynamicPartitionsDefinition(name="customers")


@dg.asset(
    deps=["stg_orders"],
    partitions_def=monthly_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=WAREHOUSE_POOL,
)
def orders_per_month(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> None:
    """Number of orders per month and status."""
    months = {key: key[:7] for key in context.partition_keys}
    inserted: list[tuple[str]] = []
    with warehouse.get_connection() as connection, transaction(connection):
        connection.execute(
            "CREATE TABLE IF NOT EXISTS orders_per_month "
            "(partition_date VARCHAR, status VARCHAR, order_num BIGINT)"
        )
        connection.execute(
            "DELETE FROM orders_per_month WHERE partition_date IN (SELECT unnest(?::VARCHAR[]))",
            [list(months.values())],
        )
        if has_table(connection, "stg_orders"):
            inserted = connection.execute(
                "INSERT INTO orders_per_month "
                "SELECT partition_key[:7], status, count(*) FROM stg_orders "
                "WHERE partition_key IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL "
                "RETURNING partition_date",
                [list(months)],
            ).fetchall()
    counted = Counter(month for (month,) in inserted)
    for key, month in months.items():
        context.add_asset_metadata(
            {"dagster/partition_row_count": counted[month]}, partition_key=key
        )


def define_daily(feed: Feed = DAILY_PRICES) -> DefinedFeed:
    """Define the daily feed, or another one in its place."""
    return define_feed(feed, partitions_def=daily_partitions, sensor="daily_sensor")


def define_customers(feed: Feed = CUSTOMER_PRICES) -> DefinedFeed:
    """Define the dynamic feed with its copies, or another one in its place."""
    defined = define_feed(feed, partitions_def=customer_partitions, sensor="customers_sensor")
    copies = archive_asset(defined.definition, name="customer_copies", folder="customers")
    job = downstream_job(copies, name="copies_job", feed=defined.definition)
    sensor = downstream_sensor(copies, job, name="copies_sensor", feed=defined.definition)
    downstream = dg.Definitions(assets=[copies], jobs=[job], sensors=[sensor])
    return DefinedFeed(defined.definition, defined.job, defined.sensor, downstream)


def define_monthly(feed: Feed = MONTHLY_ORDERS) -> DefinedFeed:
    """Define the monthly feed with its roll-up, or another one in its place."""
    defined = define_feed(feed, partitions_def=monthly_partitions, sensor="monthly_sensor")
    job = downstream_job(orders_per_month, name="rollup_job", feed=defined.definition)
    sensor = downstream_sensor(orders_per_month, job, name="rollup_sensor", feed=defined.definition)
    downstream = dg.Definitions(assets=[orders_per_month], jobs=[job], sensors=[sensor])
    return DefinedFeed(defined.definition, defined.job, defined.sensor, downstream)


DAILY, CUSTOMERS, MONTHLY = define_daily(), define_customers(), define_monthly()

location = Location(define_location(DAILY, CUSTOMERS, MONTHLY))
defs = location.definitions
