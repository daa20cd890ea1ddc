"""Measure: run two ways of doing one thing by turns, and write down how they compare.

Takes a benchmark's two ways; gives a table on the screen and `results/<name>.json`. Both run in the
same call, because machines differ and are shared; a ratio of medians is what a bar is set for.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tabulate import tabulate

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("dagster", "duckdb", "partitioned-etl")


@dataclass(frozen=True)
class Seconds:
    """What some runs took, in seconds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, runs: list[float]) -> "Seconds":
        """Sum up single runs."""
        return cls(*(round(of(runs), 3) for of in (statistics.median, min, max)))


def compare(
    name: str,
    *,
    measured: Callable[[], None],
    reference: Callable[[], None],
    must: float,
    unit: str,
    amount: float,
    runs: int = 5,
) -> bool:
    """Run two ways by turns, once more than counted, and print and keep how they compare.

    Args:
        name: The benchmark's name.
        measured: This project's way.
        reference: The other way.
        must: Least ratio of the measured throughput to the reference's.
        unit: What `amount` counts, such as `MB`.
        amount: How much one run handles, for a throughput per second.
        runs: How often each way counts.

    Returns:
        Whether the ratio reached what it must.
    """
    took: dict[str, list[float]] = {"measured": [], "reference": []}
    for run in range(runs + 1):
        for way, of_way in (("reference", reference), ("measured", measured)):
            started = time.perf_counter()
            of_way()
            if run:
                took[way].append(time.perf_counter() - started)
    seconds = {way: Seconds.of(of_way) for way, of_way in took.items()}
    ratio = round(seconds["reference"].median / seconds["measured"].median, 3)
    rows = [
        (way, one.median, one.min, one.max, f"{amount / one.median:,.0f} {unit}/s")
        for way, one in seconds.items()
    ]
    print(tabulate(rows, [name, "median s", "min s", "max s", "throughput"]))
    met = ratio >= must
    verdict = "met" if met else "NOT met"
    print(f"ratio {ratio} of the reference's throughput, must be {must}: {verdict}")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "name": name,
        "unit": f"seconds for {amount:,.0f} {unit}",
        **{way: asdict(one) for way, one in seconds.items()},
        "ratio": ratio,
        "must": must,
        "met": met,
        "machine": {
            "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
        },
        "versions": {package: version(package) for package in _PACKAGES},
    }
    text = json.dumps(result, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return met
