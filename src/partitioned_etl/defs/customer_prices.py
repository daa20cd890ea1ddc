"""Customer prices: one file a customer, `customers/acme.csv`, any name at any time."""

from partitioned_etl.builders.assets import build_feed_assets
from partitioned_etl.builders.jobs import build_feed_job
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.builders.reconciliation import build_reconciliation
from partitioned_etl.builders.sensors import build_landing_sensor
from partitioned_etl.defs.daily_prices import DAILY_PRICES, SHARE_PRICE_IS_POSITIVE
from partitioned_etl.defs.partitions import customer_partitions
from partitioned_etl.ingest.feed import Feed

CUSTOMER_PRICES = Feed(
    name="customer_prices",
    description="Share prices, one file a customer.",
    folder="customers",
    pattern="{key}.csv",
    columns=DAILY_PRICES.columns,
    table="raw_dynamic_partition_data",
    row_rules=(SHARE_PRICE_IS_POSITIVE,),
)

customer_assets = build_feed_assets(
    CUSTOMER_PRICES,
    import_asset="import_dynamic_partition_file",
    load_asset="duckdb_dynamic_partition_table",
    partitions_def=customer_partitions,
    owners=["team:data-engineering"],
)
customers_job = build_feed_job(CUSTOMER_PRICES, customer_assets)
customers_reconciliation = build_reconciliation(
    CUSTOMER_PRICES, load_asset="duckdb_dynamic_partition_table", partitions_def=customer_partitions
)
customers_sensor = build_landing_sensor(
    CUSTOMER_PRICES,
    customers_job,
    customer_partitions,
    customers_reconciliation,
    name="customers_landing_sensor",
)

CUSTOMER_PRICES_PIPELINE = FeedPipeline(
    feed=CUSTOMER_PRICES,
    partitions_def=customer_partitions,
    assets=customer_assets,
    job=customers_job,
    sensor=customers_sensor,
    reconciliation=customers_reconciliation,
)
