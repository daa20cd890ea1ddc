"""Daily prices: one file per day, `daily/2018-01-22.csv`, into table `raw_partition_data`."""

from datetime import timedelta

from partitioned_etl.builders.pipelines import build_pipeline
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
    due_after=timedelta(hours=7),
    column_descriptions={
        "date": "Day of the quotation; it need not be the day of the file.",
        "share_price": "Price of one share; more than 0.",
        "amount": "Number of shares that changed hands.",
        "spend": "What was paid for them, in thousands.",
        "shift": "Change of the price since the quotation before.",
        "spread": "Difference between the prices asked and offered.",
    },
)

DAILY_PRICES_PIPELINE = build_pipeline(
    DAILY_PRICES,
    partitions_def=daily_partitions,
    import_asset="import_partition_file",
    load_asset="duckdb_partition_table",
    sensor="daily_landing_sensor",
    owners=["team:data-engineering"],
)
