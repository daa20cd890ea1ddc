"""Read copy: a second file of a DuckDB database, which others may read for as long as they like.

Takes a database that is open for writing; leaves a copy beside it, of one consistent state, under
a name that always stands for a whole file. Whoever has an older copy open goes on reading that.
"""

import glob
import os
import subprocess
import sys
import time
from logging import getLogger
from pathlib import Path
from threading import Lock

import duckdb

logger = getLogger(__name__)

_BYTES_PER_SECOND = 5e8
"""How fast a file is assumed to be copied; where the file system shares blocks, it is faster."""
_LEAST_TIMES_ITS_COST = 20
"""Copies have a twentieth of the time at most; loads have the rest."""
# Python must not open the file itself: when it closed it, the system would take away the lock that
# DuckDB has on it in this process.
_COPY = ["cp", "--reflink=auto"] if sys.platform == "linux" else ["cp"]


def read_copy_of(database: Path) -> Path:
    """Return where the copy of a database is: `prices.read.duckdb` beside `prices.duckdb`."""
    return database.with_name(f"{database.stem}.read{database.suffix}")


def publish_read_copy(
    duck: duckdb.DuckDBPyConnection, database: Path, lock: Lock, every_seconds: float
) -> bool:
    """Make the copy anew if the database has changed since, and the copy is old enough.

    Loads of other processes wait meanwhile, as they do for any other unit of work. What it cannot
    copy, because the disk is full for instance, it says in the log: no load fails for it.

    Args:
        duck: A connection to the database, outside a transaction.
        database: Path of the database.
        lock: Held by the one thread of this process that is writing to the database.
        every_seconds: The least time between two copies.

    Returns:
        Whether it made one.
    """
    copy, log = read_copy_of(database), database.with_name(f"{database.name}.wal")
    with lock:
        if not _is_due(database, log, copy, every_seconds):
            return False
        aside = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
        try:
            for left in copy.parent.glob(glob.escape(f".{copy.name}.") + "*.tmp"):
                left.unlink(missing_ok=True)
            duck.execute("CHECKPOINT")
            changed = database.stat()
            subprocess.run([*_COPY, str(database), str(aside)], check=True, capture_output=True)
            os.utime(aside, ns=(time.time_ns(), changed.st_mtime_ns))
            aside.replace(copy)
        except (duckdb.Error, OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", b"") or str(error).encode()
            logger.warning(f"cannot make {copy}: {told.decode(errors='replace').strip()}")
            aside.unlink(missing_ok=True)
            return False
    return True


def _is_due(database: Path, log: Path, copy: Path, every_seconds: float) -> bool:
    try:
        copied, present = copy.stat(), database.stat()
    except FileNotFoundError:
        return True
    if copied.st_mtime_ns == present.st_mtime_ns and not (log.exists() and log.stat().st_size):
        return False
    least_seconds = max(every_seconds, _LEAST_TIMES_ITS_COST * present.st_size / _BYTES_PER_SECOND)
    return abs(time.time() - copied.st_ctime) >= least_seconds
