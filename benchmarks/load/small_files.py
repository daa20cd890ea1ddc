"""2,000 files of 50 rows: `sync_feed` against one plain statement of DuckDB, and against dlt.

`sync_feed` lists the folder, hashes and validates every file, loads all of them in one transaction
with `partition_key` and `source_file`, and writes 2,000 ledger rows. The plain statement is an
INSERT from `read_csv` with the list of files and their types, so that nothing is sniffed. dlt's
ways are in `against/load_with_dlt.py`; only its pipeline is timed, not the start of its process.
Everybody begins with no database.
"""

import sys
import tempfile
from pathlib import Path

import duckdb

from dlt_process import dlt_versions, require_dlt, sum_files, time_dlt
from measure import MEASURED, REFERENCE, Bar, Figures, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sync import sync_feed
from sample_feeds.defs.daily_prices import DAILY_PRICES, SHARE_PRICE_IS_POSITIVE

FILES, ROWS = 2_000, 50
RAW_MUST, DLT_MUST = 4.0, 8.0
DLT_RUNS = 3
FEED = Feed(
    name="readings",
    pattern="{key}.csv",
    columns=DAILY_PRICES.columns,
    row_rules=(SHARE_PRICE_IS_POSITIVE,),
)


def write_files(folder: Path) -> None:
    """Write seeded price files."""
    folder.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SELECT setseed(0.42)")
        texts = connection.execute(
            "SELECT n // ?, string_agg(concat_ws(',', "
            "CAST(DATE '2018-01-01' + CAST(n % 365 AS INTEGER) AS DATE), "
            "round(random() * 1000, 2) + 0.01, round(random() * 1e6, 4), random() * 1e8, random(), "
            "random() - 0.5), '\n') FROM range(? * ?) AS numbers(n) GROUP BY ALL ORDER BY ALL",
            [ROWS, FILES, ROWS],
        ).fetchall()
    for number, text in texts:
        path = folder / f"r{number:04}.csv"
        path.write_text(f"{','.join(FEED.columns)}\n{text}\n", encoding="utf-8")


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    require_dlt()
    with tempfile.TemporaryDirectory(prefix="small_files_") as name:
        folder = Path(name)
        landed = folder / "landing" / FEED.folder
        write_files(landed)
        database = folder / "warehouse.duckdb"
        types = ", ".join(f"{name}: '{kind}'" for name, kind in FEED.column_types.items())
        columns = ", ".join(f"{name} {kind}" for name, kind in FEED.column_types.items())

        def insert() -> None:
            paths = [str(path) for path in sorted(landed.iterdir())]
            with duckdb.connect(str(database)) as connection:
                connection.execute(f"CREATE TABLE readings ({columns})")
                connection.execute(
                    "INSERT INTO readings FROM read_csv(?, auto_detect = false, header = true, "
                    f"columns = {{{types}}})",
                    [paths],
                )

        def load() -> None:
            loaded = sync_feed(FEED, folder / "landing", database, settle_seconds=0).loaded
            assert len(loaded) == FILES, len(loaded)

        def forget() -> None:
            database.unlink(missing_ok=True)

        figures = take_turns(
            {REFERENCE: insert, MEASURED: load}, prepare={REFERENCE: forget, MEASURED: forget}
        )
        sums = sum_files(sorted(landed.iterdir()))
        for label, way in {"dlt": "plain", "dlt with Arrow and types": "arrow"}.items():
            runs = [time_dlt(landed.as_uri(), way, sums) for _ in range(DLT_RUNS + 1)]
            figures[label] = Figures.of(runs[1:])
    ours = figures[MEASURED].median
    return report(
        "small_files",
        "2,000 files of 50 rows, against one INSERT of DuckDB, and dlt",
        figures,
        [
            Bar("time against DuckDB's INSERT", ours / figures[REFERENCE].median, RAW_MUST, False),
            Bar("times dlt's files per second", figures["dlt"].median / ours, DLT_MUST),
        ],
        amount=(FILES, "files"),
        packages=dlt_versions(),
    )


if __name__ == "__main__":
    sys.exit(main())
