"""Measure: run the ways of doing one thing by turns, and write down how they compare.

Takes a benchmark's ways; gives a table on the screen, `results/<name>.json` and, through
`charts.py`, its chart in `docs/images/`. What is compared runs in the same call, because machines
differ and are shared; bars are set for ratios of medians where there is a reference.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tabulate import tabulate

from charts import draw_chart
from page import write_table

RESULTS = Path(__file__).parent / "results"
MEASURED, REFERENCE = "measured", "reference"
_PACKAGES = ("dagster", "duckdb", "partitioned-etl")


@dataclass(frozen=True)
class Figures:
    """What the runs of one way took, in the unit that the report names.

    Attributes:
        median: Their median.
        min: Their least.
        max: Their most.
    """

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, runs: Sequence[float]) -> "Figures":
        """Sum up single runs."""
        return cls(*(round(of(runs), 4) for of in (statistics.median, min, max)))


@dataclass(frozen=True)
class Bar:
    """What a figure must reach.

    Attributes:
        what: The figure in words, such as `ratio of COPY's throughput`.
        value: What was measured.
        must: What it must be.
        is_least: Whether `must` is the least that it may be; otherwise the most.
    """

    what: str
    value: float
    must: float
    is_least: bool = True

    @property
    def is_met(self) -> bool:
        """Whether it is."""
        return self.value >= self.must if self.is_least else self.value <= self.must

    def __str__(self) -> str:
        sign, verdict = ">=" if self.is_least else "<=", "met" if self.is_met else "NOT met"
        return f"{self.what}: {self.value:,.3g}, must be {sign} {self.must:,.3g}: {verdict}"


@dataclass(frozen=True)
class Lines:
    """Curves for a chart in place of one bar per way.

    Attributes:
        x: What runs along the x axis.
        points: The curves by name, each a list of x and y.
        is_log: Whether the x axis is logarithmic.
        y: What runs along the y axis; the benchmark's unit if empty.
    """

    x: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    is_log: bool = True
    y: str = ""


def take_turns(
    ways: Mapping[str, Callable[[], float | None]],
    *,
    runs: int = 5,
    warm_ups: int = 1,
    prepare: Mapping[str, Callable[[], None]] | None = None,
) -> dict[str, Figures]:
    """Run ways by turns and time them.

    Args:
        ways: What to run, by name. What returns seconds has timed itself, such as another program
            whose start does not count.
        runs: How often each one counts.
        warm_ups: How often each one runs before that.
        prepare: What goes before each run of a way and is not timed, by the way's name.

    Returns:
        The seconds that each one took.
    """
    took: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(warm_ups + runs):
        for name, way in ways.items():
            if prepare and name in prepare:
                prepare[name]()
            started = time.perf_counter()
            own = way()
            seconds = time.perf_counter() - started if own is None else own
            if run >= warm_ups:
                took[name].append(seconds)
    return {name: Figures.of(seconds) for name, seconds in took.items()}


def report(
    name: str,
    title: str,
    figures: Mapping[str, Figures],
    bars: Sequence[Bar],
    *,
    unit: str = "s",
    amount: tuple[float, str] | None = None,
    lines: Lines | None = None,
    packages: Mapping[str, str] | None = None,
) -> int:
    """Print, keep and draw what a benchmark measured.

    Args:
        name: The benchmark's name, also of its result and chart.
        title: What was measured, in one line.
        figures: Figures by way; `MEASURED` is this project's, `REFERENCE`, if any, the other's.
        bars: What must be reached, the most important first.
        unit: Unit of the figures.
        amount: How much one run handles and what that counts, such as `(847, "MB")`, for a
            throughput beside each way.
        lines: Curves for the chart.
        packages: Versions of other packages that took part.

    Returns:
        0 if all bars are met, else 1: the exit code of the benchmark.
    """
    table = [
        (way, one.median, one.min, one.max, _throughput(amount, one))
        for way, one in figures.items()
    ]
    heads = [name, f"median {unit}", f"min {unit}", f"max {unit}", "throughput"]
    print(tabulate(table, heads))
    for bar in bars:
        print(bar)
    met = all(bar.is_met for bar in bars)
    measured, reference = figures.get(MEASURED), figures.get(REFERENCE)
    result = {
        "name": name,
        "title": title,
        "unit": unit,
        "amount": amount,
        "measured": asdict(measured) if measured else None,
        "reference": asdict(reference) if reference else None,
        "ratio": round(bars[0].value, 3),
        "must": bars[0].must,
        "met": met,
        "figures": {way: asdict(one) for way, one in figures.items()},
        "bars": [{**asdict(bar), "met": bar.is_met} for bar in bars],
        "lines": asdict(lines) if lines else None,
        "machine": {
            "processors": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
        },
        "versions": {package: version(package) for package in _PACKAGES} | dict(packages or {}),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    draw_chart(path)
    write_table()
    return 0 if met else 1


def throughput_bar(what: str, figures: Mapping[str, Figures], must: float) -> Bar:
    """Give the bar for the measured throughput as a share of the reference's."""
    return Bar(what, round(figures[REFERENCE].median / figures[MEASURED].median, 3), must)


def plain_environment() -> dict[str, str]:
    """Give this process's environment without what makes Dagster or Python behave otherwise."""
    strange = ("DAGSTER", "PYTHON")
    return {name: text for name, text in os.environ.items() if not name.startswith(strange)}


def _throughput(amount: tuple[float, str] | None, figures: Figures) -> str:
    return f"{amount[0] / figures.median:,.0f} {amount[1]}/s" if amount else ""
