"""dlt's way with the files of a folder or a bucket: its filesystem source into a destination.

Runs in `.venv-dlt`, because dlt does not know DuckDB 2. Takes the address of the folder or the
bucket, a working folder, a way, what to select from the table at the end, and the address of a
PostgreSQL database if DuckDB is not the destination; a bucket's endpoint and keys are in the
environment. Prints what was selected, and the seconds of the pipeline's run, without the start of
the interpreter. Rows are appended.

`plain` is the DuckDB reader as its documentation shows it, and the loader as it is. In the other
ways rows travel as Arrow and the types are given rather than sniffed: of the ways of the source,
the fastest. `arrow` leaves the loader's files to dlt; `csv` and `parquet` name their format, and
PostgreSQL takes the one by COPY, the other by a binary COPY of the ADBC driver.
"""

import os
import sys
import time
from pathlib import Path

_COLUMNS = {
    "date": "DATE",
    "share_price": "DOUBLE",
    "amount": "DOUBLE",
    "spend": "DOUBLE",
    "shift": "DOUBLE",
    "spread": "DOUBLE",
}
_ARROW = {"use_pyarrow": True, "auto_detect": False, "header": True, "columns": _COLUMNS}
OPTIONS = {"plain": {}, "arrow": _ARROW, "csv": _ARROW, "parquet": _ARROW}


def main() -> None:
    """Load every file, and print what is there and how many seconds that took."""
    source, work, way, sums, *addresses = sys.argv[1:]
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt  # pyright: ignore[reportMissingImports] (after the variable that it reads)
    from dlt.sources.filesystem import (  # pyright: ignore[reportMissingImports]
        filesystem,
        read_csv_duckdb,
    )

    destination = (
        dlt.destinations.postgres(*addresses)
        if addresses
        else dlt.destinations.duckdb(str(Path(work) / "dlt.duckdb"))
    )
    pipeline = dlt.pipeline(
        "readings",
        pipelines_dir=str(Path(work) / "pipelines"),
        destination=destination,
        dataset_name="landed",
    )
    started = time.perf_counter()
    files = filesystem(bucket_url=source, file_glob="*.csv", files_per_page=1000)
    rows = files | read_csv_duckdb(**OPTIONS[way])
    pipeline.run(
        rows.with_name("readings"),
        write_disposition="append",
        loader_file_format=way if way in ("csv", "parquet") else None,
    ).raise_on_failed_jobs()
    seconds = time.perf_counter() - started
    with pipeline.sql_client() as client:
        [row] = client.execute_sql(f"SELECT {sums} FROM readings")
    print(*row, seconds)


if __name__ == "__main__":
    main()
