"""Memory: a file of 5 GB is loaded while DuckDB may take 1 GB, in a process of its own.

The peak is the resident memory of the whole process: Python, DuckDB, and the survey that hashes and
counts the file's bytes meanwhile. The reference is DuckDB's plain COPY within the same limit.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb

from measure import MEASURED, REFERENCE, Bar, Figures, report

LIMIT = "1GB"
FILE_BYTES, PIECES = 5_000_000_000, 10
PIECE_ROWS = 6_700_000
NEEDED_BYTES = 3 * FILE_BYTES
MUST = 1.5
RUNS = 3
CHILD = Path(__file__).with_name("load_within.py")


def write_file(folder: Path) -> None:
    """Write a seeded file: one piece of it by DuckDB, and that many times."""
    piece, path = folder / "piece.csv", folder / "readings" / "large.csv"
    path.parent.mkdir()
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.execute("SELECT setseed(0.42)")
        connection.execute(
            "COPY (SELECT n, DATE '2018-01-01' + CAST(n % 365 AS INTEGER), 'name ' || hash(n), "
            f"random() * 1e8, random() - 0.5 FROM range({PIECE_ROWS}) AS numbers(n)) "
            f"TO '{piece}' (HEADER false)"
        )
    with path.open("wb") as file:
        file.write(b"id,day,name,value,spread\n")
        for _ in range(PIECES):
            with piece.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 24)
    piece.unlink()
    assert path.stat().st_size > FILE_BYTES, path.stat().st_size


def measure_peak(way: str, folder: Path) -> float:
    """Give the most memory that a load has had, in GB, and remove its database."""
    ran = subprocess.run(
        [sys.executable, CHILD, way, folder, LIMIT],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    for path in folder.glob("*.duckdb*"):
        path.unlink()
    return int(ran.stdout) / 1e9


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="memory_") as name:
        folder = Path(name)
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < NEEDED_BYTES:
            sys.exit(
                f"memory: {NEEDED_BYTES / 1e9:.0f} GB must be free in {folder.parent}, and "
                f"{free_bytes / 1e9:.0f} GB are; TMPDIR chooses another place"
            )
        write_file(folder)
        peaks: dict[str, list[float]] = {REFERENCE: [], MEASURED: []}
        for _ in range(RUNS):
            peaks[REFERENCE].append(measure_peak("copy", folder))
            peaks[MEASURED].append(measure_peak("load", folder))
    figures = {way: Figures.of(runs) for way, runs in peaks.items()}
    return report(
        "memory",
        f"peak memory of loading 5 GB with DUCKDB_MEMORY_LIMIT={LIMIT}",
        figures,
        [Bar("GB of memory at most", figures[MEASURED].median, MUST, is_least=False)],
        unit="GB",
    )


if __name__ == "__main__":
    sys.exit(main())
