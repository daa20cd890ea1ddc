"""Customer prices: one file per customer, `customers/acme.csv`, any name at any time."""

from partitioned_etl.builders.archives import build_archive
from partitioned_etl.builders.pipelines import build_pipeline
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
    column_descriptions=DAILY_PRICES.column_descriptions,
)

customer_archive = build_archive(
    CUSTOMER_PRICES,
    name="archived_file",
    folder="customers",
    load_asset="duckdb_dynamic_partition_table",
    partitions_def=customer_partitions,
    owners=["team:data-engineering"],
)

CUSTOMER_PRICES_PIPELINE = build_pipeline(
    CUSTOMER_PRICES,
    partitions_def=customer_partitions,
    import_asset="import_dynamic_partition_file",
    load_asset="duckdb_dynamic_partition_table",
    sensor="customers_landing_sensor",
    owners=["team:data-engineering"],
    refresh=customer_archive,
)
