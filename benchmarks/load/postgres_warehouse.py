"""One large file into PostgreSQL: the whole strict load against psycopg's `COPY` of the same rows.

The file is one of the daily price feed that ships, with 1 million rows, some 90 MB. The reference
sends bytes to `COPY` as they are, of a file that has `partition_key` and `source_file` already,
into a table with the same columns and the same index. The strict load also hashes the file,
validates every value in DuckDB, counts the rows that it put there and writes the ledger. Both begin
with an empty database of a server that the benchmark starts, with its default settings.
"""

import sys
import tempfile
from pathlib import Path

import duckdb
import psycopg

from large_file import write_file
from measure import MEASURED, REFERENCE, report, take_turns, throughput_bar
from partitioned_etl.defs.daily_prices import DAILY_PRICES
from partitioned_etl.engine.sql import quote_identifier
from partitioned_etl.engine.sync import sync_feed
from support.postgres_server import PostgresServer, run_postgres

ROWS = 1_000_000
MUST = 0.7
_CHUNK_BYTES = 1 << 20


class Ways:
    """The two ways, each into a database of its own.

    Args:
        server: The server.
        landing_dir: Where the file is.
        path: The file.
    """

    def __init__(self, server: PostgresServer, landing_dir: Path, path: Path) -> None:
        self._server, self._landing_dir, self._path = server, landing_dir, path
        self._with_key = path.with_name("with key.txt")
        self._url = ""
        with duckdb.connect() as duck:
            duck.execute(
                f"COPY (SELECT *, '{path.stem}', '{path.name}' FROM read_csv('{path}')) "
                f"TO '{self._with_key}' (FORMAT csv, HEADER false)"
            )

    def make_database(self) -> None:
        """Make a database that is empty."""
        self._url = self._server.make_database()

    def copy(self) -> None:
        """Send a text of all columns as it is."""
        columns = ", ".join(
            f"{quote_identifier(name)} {'date' if one == 'DATE' else 'double precision'}"
            for name, one in DAILY_PRICES.column_types.items()
        )
        table = f"CREATE TABLE prices ({columns}, partition_key text, source_file text)"
        with psycopg.connect(self._url) as connection, self._with_key.open("rb") as file:
            connection.execute(table.encode())
            connection.execute("CREATE INDEX ON prices (partition_key)")
            with connection.cursor().copy("COPY prices FROM STDIN (FORMAT csv)") as copy:
                while chunk := file.read(_CHUNK_BYTES):
                    copy.write(chunk)

    def load(self) -> None:
        """Load it."""
        synced = sync_feed(DAILY_PRICES, self._landing_dir, self._url, settle_seconds=0)
        assert [record.rows for record in synced.loaded] == [ROWS], synced


def main() -> int:
    """Measure, and give 0 if all bars are met."""
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
        figures = take_turns(
            {REFERENCE: ways.copy, MEASURED: ways.load},
            runs=5,
            prepare={REFERENCE: ways.make_database, MEASURED: ways.make_database},
        )
    return report(
        "postgres_warehouse",
        "one strict, hashed load into PostgreSQL, against psycopg's plain COPY of the file",
        figures,
        [throughput_bar("ratio of COPY's throughput", figures, MUST)],
        amount=(round(megabytes), "MB"),
    )


if __name__ == "__main__":
    sys.exit(main())
