"""The three feeds with dlt, as its documentation recommends for files that change.

The filesystem source with `modification_date` as the incremental cursor, its DuckDB reader with
declared columns, and a merge that replaces the rows of each file, told by its name.
"""

# dlt is in .venv-dlt alone, because it does not know DuckDB 2.
# pyright: reportMissingImports=false

import os
from pathlib import Path

import dlt
from dlt.extract import DltResource
from dlt.sources.filesystem import filesystem, read_csv_duckdb

SOURCE = Path(os.environ["LANDING_DIR"])
PRICES = {
    "date": "DATE",
    "share_price": "DOUBLE",
    "amount": "DOUBLE",
    "spend": "DOUBLE",
    "shift": "DOUBLE",
    "spread": "DOUBLE",
}
ORDERS = {"id": "BIGINT", "user_id": "BIGINT", "order_date": "DATE", "status": "VARCHAR"}


def read_feed(table: str, folder: str, columns: dict[str, str]) -> DltResource:
    """Read the files of a folder that are newer than the newest one before."""
    files = filesystem(
        bucket_url=(SOURCE / folder).as_uri(),
        file_glob="*.csv",
        incremental=dlt.sources.incremental("modification_date"),
    ).with_name(f"{table}_files")
    rows = (files | read_csv_duckdb(filename=True, header=True, columns=columns)).with_name(table)
    return rows.apply_hints(write_disposition="merge", merge_key="filename")


pipeline = dlt.pipeline(
    "feeds",
    destination=dlt.destinations.duckdb(os.environ["DUCKDB_DATABASE"]),
    dataset_name="landed",
)

if __name__ == "__main__":
    feeds = [
        read_feed("daily_prices", "daily", PRICES),
        read_feed("customer_prices", "customers", PRICES),
        read_feed("monthly_orders", "monthly", ORDERS),
    ]
    pipeline.run(feeds).raise_on_failed_jobs()
