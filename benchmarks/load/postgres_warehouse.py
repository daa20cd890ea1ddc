"""One large file into PostgreSQL: the strict load against psycopg's `COPY` of its rows, and dlt.

The file is one of the daily price feed that ships, with 1 million rows, some 90 MB. The reference
sends bytes to `COPY` as they are, of a file that has `partition_key` and `source_file` already,
into a table with the same columns and the same index. The strict load also hashes the file,
validates every value in DuckDB, counts the rows that it put there and writes the ledger. dlt's ways
are in `against/load_with_dlt.py`: as documented, with its loader's INSERT statements; as Arrow by
COPY; and as Arrow through an ADBC driver, its fastest. Only its pipeline is timed, not the start of
its process. Everybody begins with an empty database of a server that the benchmark starts, with its
default settings; rows and a sum are checked after each run.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import psycopg

from dlt_process import ROWS_AND_SUM, dlt_versions, require_dlt, sum_files, time_dlt
from large_file import write_file
from measure import MEASURED, REFERENCE, Bar, report, take_turns, throughput_bar
from partitioned_etl.engine.sql import quote_identifier
from partitioned_etl.engine.sync import sync_feed
from sample_feeds.defs.daily_prices import DAILY_PRICES
from support.postgres_server import PostgresServer, run_postgres

ROWS = 1_000_000
MUST, DLT_MUST = 0.7, 5.0
PLAIN = "dlt"
DLT = {PLAIN: "plain", "dlt with Arrow, by COPY": "csv", "dlt with Arrow, by ADBC": "parquet"}
"""Ways of dlt's."""
PLAIN_RUNS = 2
"""How often its slowest counts, which takes more than a minute."""
_CHUNK_BYTES = 1 << 20


class Ways:
    """The ways, each into a database of its own.

    Args:
        server: The server.
        landing_dir: Where the file is.
        path: The file.
    """

    def __init__(self, server: PostgresServer, landing_dir: Path, path: Path) -> None:
        self._server, self._landing_dir, self._path = server, landing_dir, path
        self._with_key = path.with_name("with key.txt")
        self._sums, self._url = sum_files([path]), ""
        with duckdb.connect() as duck:
            duck.execute(
                f"COPY (SELECT *, '{path.stem}', '{path.name}' FROM read_csv('{path}')) "
                f"TO '{self._with_key}' (FORMAT csv, HEADER false)"
            )

    def make_database(self) -> None:
        """Make a database that is empty."""
        self._url = self._server.make_database()

    def copy(self) -> float:
        """Send a text of all columns as it is, and give the seconds."""
        columns = ", ".join(
            f"{quote_identifier(name)} {'date' if one == 'DATE' else 'double precision'}"
            for name, one in DAILY_PRICES.column_types.items()
        )
        table = f"CREATE TABLE prices ({columns}, partition_key text, source_file text)"
        started = time.perf_counter()
        with psycopg.connect(self._url) as connection, self._with_key.open("rb") as file:
            connection.execute(table.encode())
            connection.execute("CREATE INDEX ON prices (partition_key)")
            with connection.cursor().copy("COPY prices FROM STDIN (FORMAT csv)") as copy:
                while chunk := file.read(_CHUNK_BYTES):
                    copy.write(chunk)
        seconds = time.perf_counter() - started
        self._check("prices")
        return seconds

    def load(self) -> float:
        """Load it, and give the seconds."""
        started = time.perf_counter()
        synced = sync_feed(DAILY_PRICES, self._landing_dir, self._url, settle_seconds=0)
        seconds = time.perf_counter() - started
        assert [record.rows for record in synced.loaded] == [ROWS], synced
        self._check(DAILY_PRICES.table)
        return seconds

    def load_with_dlt(self, way: str) -> Callable[[], float]:
        """Give what lets dlt load it, and gives the seconds."""
        folder = self._path.parent.as_uri()
        return lambda: time_dlt(folder, way, self._sums, self._url)

    def _check(self, table: str) -> None:
        with psycopg.connect(self._url) as connection:
            found = connection.execute(f"SELECT {ROWS_AND_SUM} FROM {table}".encode()).fetchone()
        assert found == self._sums, f"{found} were loaded, not {self._sums}"


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    require_dlt()
    with (
        tempfile.TemporaryDirectory(prefix="postgres_") as name,
        run_postgres(fsync="on") as server,
    ):
        landing_dir = Path(name) / "landing"
        path = landing_dir / DAILY_PRICES.folder / "2018-01-22.csv"
        path.parent.mkdir(parents=True)
        write_file(path, ROWS)
        ways = Ways(server, landing_dir, path)
        megabytes = path.stat().st_size / 1e6
        dlt = {name: ways.load_with_dlt(way) for name, way in DLT.items()}
        slow = {PLAIN: dlt.pop(PLAIN)}
        turns = {REFERENCE: ways.copy, MEASURED: ways.load, **dlt}
        empty = dict.fromkeys([*turns, *slow], ways.make_database)
        figures = take_turns(turns, prepare=empty)
        figures |= take_turns(slow, runs=PLAIN_RUNS, warm_ups=0, prepare=empty)
    return report(
        "postgres_warehouse",
        "one strict, hashed load into PostgreSQL, against psycopg's plain COPY, and dlt",
        figures,
        [
            throughput_bar("ratio of COPY's throughput", figures, MUST),
            Bar(
                "times dlt's speed",
                round(figures[PLAIN].median / figures[MEASURED].median, 3),
                DLT_MUST,
            ),
        ],
        amount=(round(megabytes), "MB"),
        packages=dlt_versions("adbc-driver-postgresql"),
    )


if __name__ == "__main__":
    sys.exit(main())
