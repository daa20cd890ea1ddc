"""Daily prices: one file a day, `daily/2018-01-22.csv`, into table `raw_partition_data`."""

import dagster as dg

from partitioned_etl.builders.assets import build_feed_assets
from partitioned_etl.builders.jobs import build_feed_job
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.reconciliation import build_reconciliation
from partitioned_etl.builders.sensors import build_landing_sensor
from partitioned_etl.defs.partitions import daily_partitions
from partitioned_etl.ingest.feed import Feed, RowRule

SHARE_PRICE_IS_POSITIVE = RowRule(
    name="share_price_is_positive",
    column="share_price",
    expression="share_price > 0",
    reason="not greater than 0",
)

DAILY_PRICES = Feed(
    name="daily_prices",
    description="Share prices, one file a day.",
    folder="daily",
    pattern="{date:%Y-%m-%d}.csv",
    columns={
        "date": "DATE",
        "share_price": "DOUBLE",
        "amount": "DOUBLE",
        "spend": "DOUBLE",
        "shift": "DOUBLE",
        "spread": "DOUBLE",
    },
    table="raw_partition_data",
    row_rules=(SHARE_PRICE_IS_POSITIVE,),
)

daily_assets = build_feed_assets(
    DAILY_PRICES,
    import_asset="import_partition_file",
    load_asset="duckdb_partition_table",
    partitions_def=daily_partitions,
    owners=["team:data-engineering"],
)
daily_job = build_feed_job(DAILY_PRICES, daily_assets)
daily_reconciliation = build_reconciliation(
    DAILY_PRICES, load_asset="duckdb_partition_table", partitions_def=daily_partitions
)
daily_sensor = build_landing_sensor(
    DAILY_PRICES,
    daily_job,
    daily_partitions,
    daily_reconciliation,
    name="daily_landing_sensor",
)
daily_schedule = dg.build_schedule_from_partitioned_job(
    daily_job,
    name="daily_prices_schedule",
    description="Loads the day's file again at the end of the day; fails if none has landed.",
    hour_of_day=23,
    minute_of_hour=30,
)

DAILY_PRICES_PIPELINE = FeedPipeline(
    feed=DAILY_PRICES,
    partitions_def=daily_partitions,
    assets=daily_assets,
    job=daily_job,
    sensor=daily_sensor,
    reconciliation=daily_reconciliation,
    schedule=daily_schedule,
)
