"""Monthly orders: one file per month, `monthly/2018-01.csv`, and the order counts per status."""

from collections import Counter

import dagster as dg

from partitioned_etl.builders.assets import DUCKDB_POOL
from partitioned_etl.builders.imports import feed_tags
from partitioned_etl.builders.pipelines import build_pipeline
from partitioned_etl.builders.refresh import build_refresh
from partitioned_etl.builders.resources import Warehouse
from partitioned_etl.defs.partitions import monthly_partitions
from partitioned_etl.ingest.database import has_table, transaction
from partitioned_etl.ingest.feed import Feed, RowRule

MONTHLY_ORDERS = Feed(
    name="monthly_orders",
    description="Orders, one file a month.",
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
    column_descriptions={
        "id": "Number of the order.",
        "user_id": "Who ordered.",
        "order_date": "Day of the order, in the month of the file.",
        "status": "How far the order has come, such as `placed` or `returned`.",
    },
)


@dg.asset(
    deps=["stg_orders"],
    partitions_def=monthly_partitions,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=DUCKDB_POOL,
    kinds={"duckdb", "table"},
    group_name=MONTHLY_ORDERS.name,
    tags=feed_tags(MONTHLY_ORDERS),
    owners=["team:data-engineering"],
    metadata={
        "dagster/table_name": "monthly_orders",
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                "partition_date": [dg.TableColumnDep(dg.AssetKey("stg_orders"), "partition_key")],
                "status": [dg.TableColumnDep(dg.AssetKey("stg_orders"), "status")],
                "order_num": [dg.TableColumnDep(dg.AssetKey("stg_orders"), "id")],
            }
        ),
        "dagster/column_schema": dg.TableSchema(
            [
                dg.TableColumn("partition_date", "VARCHAR", description="The month: `2018-01`."),
                dg.TableColumn("status", "VARCHAR", description="Status of the orders."),
                dg.TableColumn("order_num", "BIGINT", description="How many orders have it."),
            ]
        ),
    },
)
def monthly_orders(context: dg.AssetExecutionContext, warehouse: Warehouse) -> None:
    """Number of orders per month and status, counted again whenever a month's file was loaded."""
    months = {key: key[:7] for key in context.partition_keys}
    inserted: list[tuple[str]] = []
    with warehouse.get_connection() as connection, transaction(connection):
        connection.execute(
            "CREATE TABLE IF NOT EXISTS monthly_orders "
            "(partition_date VARCHAR, status VARCHAR, order_num BIGINT)"
        )
        connection.execute(
            "DELETE FROM monthly_orders WHERE partition_date IN (SELECT unnest(?::VARCHAR[]))",
            [list(months.values())],
        )
        # The first load makes the table.
        if has_table(connection, MONTHLY_ORDERS.table):
            inserted = connection.execute(
                "INSERT INTO monthly_orders "
                "SELECT partition_key[:7], status, count(*) FROM stg_orders "
                "WHERE partition_key IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL ORDER BY ALL "
                "RETURNING partition_date",
                [list(months)],
            ).fetchall()
    counted = Counter(month for (month,) in inserted)
    for key, month in months.items():
        row_count = dg.MetadataValue.int(counted[month])
        context.add_asset_metadata(
            {"row_count": row_count, "dagster/partition_row_count": row_count}, partition_key=key
        )


monthly_rollup = build_refresh(
    MONTHLY_ORDERS,
    monthly_orders,
    monthly_partitions,
    load_asset="stg_orders",
    job="monthly_rollup_job",
    job_description="Count orders per status again, for one month or a range.",
    sensor="monthly_rollup_sensor",
    sensor_description="Refreshes the roll-up of a month when its orders were loaded again.",
)

MONTHLY_ORDERS_PIPELINE = build_pipeline(
    MONTHLY_ORDERS,
    partitions_def=monthly_partitions,
    import_asset="import_monthly_file",
    sensor="monthly_landing_sensor",
    owners=["team:data-engineering"],
    refresh=monthly_rollup,
)
