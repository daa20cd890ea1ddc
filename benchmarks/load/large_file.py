"""One large file: the whole strict load, `sync_feed`, against DuckDB's plain `COPY` of it.

The file is one of the daily price feed that ships, with 9.5 million rows, some 850 MB. The strict
load also hashes it, counts its rows, validates every value against the contract, adds
`partition_key` and `source_file`, and writes the ledger. Both begin with no database.
"""

import sys
import tempfile
from pathlib import Path

import duckdb

from measure import MEASURED, REFERENCE, report, take_turns, throughput_bar
from partitioned_etl.engine.sql import quote_identifier
from partitioned_etl.engine.sync import sync_feed
from sample_feeds.defs.daily_prices import DAILY_PRICES

ROWS = 9_500_000
MUST = 0.65


def write_file(path: Path, rows: int = ROWS) -> None:
    """Write a seeded price file of so many rows."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SELECT setseed(0.42)")
        connection.execute(
            "COPY (SELECT CAST(DATE '2018-01-01' + CAST(n % 365 AS INTEGER) AS DATE) AS date, "
            "round(random() * 1000, 2) + 0.01 AS share_price, round(random() * 1e6, 4) AS amount, "
            "random() * 1e8 AS spend, random() AS shift, random() - 0.5 AS spread "
            f"FROM range({rows}) AS numbers(n)) TO '{path}' (HEADER)"
        )


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="large_file_") as name:
        folder = Path(name)
        path = folder / "landing" / DAILY_PRICES.folder / "2018-01-22.csv"
        path.parent.mkdir(parents=True)
        write_file(path)
        database = folder / "warehouse.duckdb"
        columns = ", ".join(
            f"{quote_identifier(column)} {type_name}"
            for column, type_name in DAILY_PRICES.column_types.items()
        )

        def copy() -> None:
            database.unlink(missing_ok=True)
            with duckdb.connect(str(database)) as connection:
                connection.execute(f"CREATE TABLE prices ({columns})")
                connection.execute(f"COPY prices FROM '{path}' (HEADER)")

        def load() -> None:
            database.unlink(missing_ok=True)
            synced = sync_feed(DAILY_PRICES, folder / "landing", database, settle_seconds=0)
            assert [record.rows for record in synced.loaded] == [ROWS], synced

        megabytes = path.stat().st_size / 1e6
        figures = take_turns({REFERENCE: copy, MEASURED: load}, runs=9)
    return report(
        "large_file",
        "one strict, hashed load of one file, against DuckDB's plain COPY",
        figures,
        [throughput_bar("ratio of COPY's throughput", figures, MUST)],
        amount=(round(megabytes), "MB"),
    )


if __name__ == "__main__":
    sys.exit(main())
