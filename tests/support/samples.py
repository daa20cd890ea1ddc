"""Landed files of the sample location: a few of each feed, and one that is refused."""

from collections import Counter

from support.dev_server import DevServer

PRICE_HEADER = "date,share_price,amount,spend,shift,spread\n"
ORDER_HEADER = "id,user_id,order_date,status\n"
LOAD_ASSETS = ("raw_daily_prices", "raw_customer_prices", "stg_orders")


def price_rows(*share_prices: float) -> str:
    """Give the text of a price file with one row per share price."""
    rows = (f"2018-01-{day:02d},{price},2,3,4,5\n" for day, price in enumerate(share_prices, 1))
    return PRICE_HEADER + "".join(rows)


def order_rows(month: str, *statuses: str) -> str:
    """Give the text of an order file with one order per status."""
    rows = (f"{number},7,{month}-15,{status}\n" for number, status in enumerate(statuses, 1))
    return ORDER_HEADER + "".join(rows)


DAILY = {f"2018-01-{day}.csv": price_rows(*range(1, day)) for day in (21, 22, 23)}
CUSTOMERS = {f"{name}.csv": price_rows(1, 2) for name in ("acme", "globex", "initech")}
STATUSES = {"2018-01": ["placed"] * 3, "2018-02": ["placed", "returned"], "2018-03": ["lost"]}
MONTHLY = {f"{month}.csv": order_rows(month, *statuses) for month, statuses in STATUSES.items()}
ORDERS_PER_MONTH = {
    (month, status): count
    for month, statuses in STATUSES.items()
    for status, count in Counter(statuses).items()
}
SAMPLES_PER_FEED = 3


def land_samples(server: DevServer) -> None:
    """Let all of them land."""
    for folder, files in {"daily": DAILY, "customers": CUSTOMERS, "monthly": MONTHLY}.items():
        server.land(folder, files)


def read_row_counts(server: DevServer, table: str) -> dict[str, int]:
    """Give how many rows a table holds of each file."""
    rows = server.read_rows(f"SELECT source_file, count(*) FROM {table} GROUP BY ALL")
    return dict(rows)


def count_rows(files: dict[str, str]) -> dict[str, int]:
    """Give how many rows each file has, without its header."""
    return {name: text.count("\n") - 1 for name, text in files.items()}
