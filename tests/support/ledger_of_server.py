"""What the database of a dev server says of the customers of the sample location."""

from typing import Any

from support.dev_server import DevServer

CUSTOMER_JOB = "customer_prices_job"


def read_share_prices(server: DevServer, *keys: str) -> dict[str, list[float]]:
    """Give the share prices that the customers' table holds, per partition key."""
    rows = server.read_rows(
        "SELECT partition_key, list(share_price ORDER BY share_price) "
        "FROM raw_customer_prices WHERE partition_key IN (SELECT unnest(?)) GROUP BY ALL",
        list(keys),
    )
    return dict(rows)


def read_ledger(server: DevServer, *keys: str) -> dict[str, dict[str, Any]]:
    """Give the ledger rows of customers, per partition key."""
    columns = ("status", "error", "loaded_at", "run_id", "landed_ns")
    rows = server.read_rows(
        f"SELECT partition_key, {', '.join(columns)} FROM file_loads "
        "WHERE feed = 'customer_prices' AND partition_key IN (SELECT unnest(?))",
        list(keys),
    )
    return {key: dict(zip(columns, values, strict=True)) for key, *values in rows}
