"""The memory that a benchmark tells of is its child's own, and not that of who started it."""

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LARGE_BYTES = 200_000_000
ALONE_BYTES = 50_000_000


def test_a_child_of_a_large_process_has_had_only_its_own_memory() -> None:
    large = bytes(1) * LARGE_BYTES + b"."
    code = "from peak_memory import read_peak_bytes; print(read_peak_bytes())"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=BENCHMARKS, check=True, capture_output=True, text=True)
    assert 0 < int(told.stdout) < ALONE_BYTES < len(large)
