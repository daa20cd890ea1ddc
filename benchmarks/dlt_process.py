"""dlt process: one run of dlt's pipeline in its own environment, timed by itself.

Takes files and a way of `against/load_with_dlt.py`; gives the seconds of the pipeline, without the
start of its process.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from measure import plain_environment

ROWS_AND_SUM = "count(*), sum(CAST(round(amount * 10000) AS BIGINT))"
"""What to select from a table of prices, to tell whether all rows are there: an exact sum."""
_AGAINST = Path(__file__).parent / "against"
_PYTHON = Path(__file__).parents[1] / ".venv-dlt/bin/python"


def require_dlt() -> None:
    """End the program if dlt's environment is missing."""
    if not _PYTHON.exists():
        sys.exit(f"{_PYTHON} is missing: make .venv-dlt/.installed")


def time_dlt(source: str, way: str, sums: tuple[int, ...], address: str = "") -> float:
    """Let dlt load all files of a place into an empty database, and check what is there.

    Args:
        source: The place, as `file://` or `s3://` address.
        way: A way of `load_with_dlt.py`.
        sums: What `ROWS_AND_SUM` must give.
        address: A PostgreSQL database; a DuckDB file of its own if empty.

    Returns:
        The seconds that the pipeline took.
    """
    with tempfile.TemporaryDirectory(prefix="dlt_") as work:
        ran = subprocess.run(
            [
                *(_PYTHON, _AGAINST / "load_with_dlt.py"),
                *(source, work, way, ROWS_AND_SUM, *([address] if address else [])),
            ],
            check=True,
            env=plain_environment(),
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
    *found, seconds = ran.stdout.split()
    assert tuple(map(int, found)) == sums, f"dlt loaded {found}, not {sums}"
    return float(seconds)


def sum_files(paths: Sequence[Path]) -> tuple[int, ...]:
    """Give what `ROWS_AND_SUM` must give for these files."""
    with duckdb.connect() as duck:
        found = duck.execute(
            f"SELECT {ROWS_AND_SUM} FROM read_csv(?)", [list(map(str, paths))]
        ).fetchone()
    assert found
    return found


def dlt_versions(*others: str) -> dict[str, str]:
    """Give the versions that dlt's environment is made of.

    Args:
        others: Packages of it that take part, besides dlt and its DuckDB.
    """
    lines = (_AGAINST / "dlt.requirements").read_text(encoding="utf-8").split()
    pinned = dict(line.split("==") for line in lines)
    versions = {name.split("[")[0]: one for name, one in pinned.items()}
    named = {"dlt": versions["dlt"], "duckdb of dlt": versions["duckdb"]}
    return named | {name: versions[name] for name in others}
