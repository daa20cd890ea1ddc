"""Daily prices: one file per day, `daily/2018-01-22.csv`, into table `raw_partition_data`."""

from collections.abc import Iterator

import dagster as dg

from partitioned_etl import (
    Column,
    Feed,
    FeedEvent,
    LandingResource,
    RowRule,
    WarehouseResource,
    feed_assets,
    feed_job,
    landing_sensor,
)
from sample_feeds.defs.partitions import daily_partitions

SHARE_PRICE_IS_POSITIVE = RowRule(
    name="share_price_is_positive",
    column="share_price",
    expression="share_price > 0",
    reason="not greater than 0",
)
PRICE_COLUMNS = {
    "date": Column(
        type="DATE", description="Day of the quotation; it need not be the day of the file."
    ),
    "share_price": Column(type="DOUBLE", description="Price of one share; more than 0."),
    "amount": Column(type="DOUBLE", description="Number of shares that changed hands."),
    "spend": Column(type="DOUBLE", description="What was paid for them, in thousands."),
    "shift": Column(type="DOUBLE", description="Change of the price since the quotation before."),
    "spread": Column(type="DOUBLE", description="Difference between the prices asked and offered."),
}

DAILY_PRICES = Feed(
    name="daily_prices",
    description="Share prices, one file a day.",
    folder="daily",
    pattern="{date:%Y-%m-%d}.csv",
    columns=PRICE_COLUMNS,
    table="raw_partition_data",
    row_rules=(SHARE_PRICE_IS_POSITIVE,),
    due_after_hours=7,
)


@feed_assets(
    DAILY_PRICES,
    partitions_def=daily_partitions,
    import_asset="import_partition_file",
    load_asset="duckdb_partition_table",
    owners=["team:data-engineering"],
)
def daily_prices(
    context: dg.AssetExecutionContext, landing: LandingResource, warehouse: WarehouseResource
) -> Iterator[FeedEvent]:
    """Find the file of each day of the run; in one transaction, delete its rows and insert them."""
    files = landing.find(context)
    yield from warehouse.load(context, files)


daily_prices_job = feed_job(daily_prices)

daily_prices_schedule = dg.build_schedule_from_partitioned_job(
    daily_prices_job,
    name="daily_prices_schedule",
    description="Loads the day's file again at 23:30; fails if none has landed.",
    hour_of_day=23,
    minute_of_hour=30,
)

daily_prices_sensor = landing_sensor(daily_prices, daily_prices_job)
