"""Benches: a landing and a warehouse of any kinds, as one workbench.

Another kind of warehouse is a subclass of `Workbench`, made in `_make`, a name in `WAREHOUSES`, and
a fixture with its address in `tests/scale/conftest.py`; all tests there then run on it.
"""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from support.ducklake_bench import is_ducklake_installed
from support.workbench import Workbench

LANDINGS = ("folder", "s3")
WAREHOUSES = ("ducklake",) if is_ducklake_installed() else ("duckdb", "postgres")
"""DuckLake needs an older DuckDB, and is alone with it."""
KINDS = [f"{landing}-{warehouse}" for landing in LANDINGS for warehouse in WAREHOUSES]
ON_FOLDERS = [kind for kind in KINDS if kind.startswith("folder-")]
IN_BUCKETS = [kind for kind in KINDS if kind.startswith("s3-")]


def make_bench(
    root: Path,
    landing: str = "",
    warehouse: str = "",
    lock_wait_seconds: float = 0,
    read_copy_seconds: float = 0,
) -> Workbench:
    """Make a bench.

    Args:
        root: Its folder.
        landing: The address of a bucket's prefix; empty for a directory in the folder.
        warehouse: The address of the warehouse; empty for a DuckDB file in the folder.
        lock_wait_seconds: How long loads wait for others.
        read_copy_seconds: How often, at most, a copy of a DuckDB file is made for readers.
    """
    bench = _make(root, warehouse)
    bench.lock_wait_seconds, bench.read_copy_seconds = lock_wait_seconds, read_copy_seconds
    if landing:
        from support.bucket_bench import BucketBench

        told = urlsplit(landing)
        bench.place = BucketBench(
            bench,
            os.environ["AWS_ENDPOINT_URL"],
            told.netloc,
            told.path.strip("/"),
            Path(os.environ["STAGING_DIR"]),
        )
    return bench


def _make(root: Path, warehouse: str) -> Workbench:
    kind, _, rest = warehouse.partition(":")
    match kind:
        case "postgresql":
            from support.postgres_bench import PostgresBench

            return PostgresBench(root, stays_open=False, url=warehouse)
        case "ducklake":
            from support.ducklake_bench import DuckLakeBench

            return DuckLakeBench(root, stays_open=False, url=warehouse)
        case _:
            return Workbench(root, stays_open=False, file=Path(rest) if rest else None)


def read_bench() -> Workbench:
    """Make the bench once more whose process started this one."""
    told = json.loads(os.environ["BENCH"])
    return make_bench(Path(told.pop("root")), **told)


def make_beside(bench: Workbench, name: str) -> Workbench:
    """Make a bench with a landing of its own, empty, and the same warehouse."""
    told = bench.describe()
    root = Path(told.pop("root")) / name
    root.mkdir()
    landing = told.pop("landing")
    return make_bench(root, f"{landing}/{name}" if landing else "", **told)
