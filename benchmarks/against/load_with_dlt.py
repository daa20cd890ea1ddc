"""dlt's way with the files of a folder: its filesystem source into its DuckDB destination.

Runs in `.venv-dlt`, because dlt does not know DuckDB 2. Takes the folder, a working folder and a
way; prints the seconds of the pipeline's run, without the start of the interpreter. `plain` is the
DuckDB reader as its documentation shows it. With `arrow`, rows travel as Arrow and the types are
given rather than sniffed: of the ways of the source, the fastest. Rows are appended in both.
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
OPTIONS = {
    "plain": {},
    "arrow": {"use_pyarrow": True, "auto_detect": False, "header": True, "columns": _COLUMNS},
}


def main() -> None:
    """Load every file of a folder, and print how many seconds that took."""
    folder, work, way = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt  # pyright: ignore[reportMissingImports] (after the variable that it reads)
    from dlt.sources.filesystem import (  # pyright: ignore[reportMissingImports]
        filesystem,
        read_csv_duckdb,
    )

    pipeline = dlt.pipeline(
        "small_files",
        pipelines_dir=str(work / "pipelines"),
        destination=dlt.destinations.duckdb(str(work / "dlt.duckdb")),
        dataset_name="landed",
    )
    started = time.perf_counter()
    files = filesystem(bucket_url=folder.as_uri(), file_glob="*.csv", files_per_page=1000)
    rows = files | read_csv_duckdb(**OPTIONS[way])
    pipeline.run(rows.with_name("readings"), write_disposition="append").raise_on_failed_jobs()
    seconds = time.perf_counter() - started
    with pipeline.sql_client() as client:
        counted = client.execute_sql("SELECT count(*) FROM readings")
    print(counted[0][0], seconds)


if __name__ == "__main__":
    main()
