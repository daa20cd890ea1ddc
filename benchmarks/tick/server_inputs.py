"""What the servers of these benchmarks are given: a code location, and price files."""

from collections.abc import Iterable
from pathlib import Path

SHIPPED = "sample_feeds.definitions"
"""The code location that ships."""
RUN_PER_FILE = str(Path(__file__).parents[1] / "against/run_per_file.py")
"""The code location that it is compared with."""
PRICES = "date,share_price,amount,spend,shift,spread\n" + "".join(
    f"2018-01-{day:02},{day}.5,{day * 100},{day * 150.25},0.5,-0.25\n" for day in range(1, 11)
)
"""A price file of ten rows, for loads in which the orchestrator costs more than the rows."""


def make_price_files(stems: Iterable[str]) -> dict[str, str]:
    """Give the text of price files, no two alike, by file name."""
    return {
        f"{stem}.csv": f"{PRICES}2018-02-01,{number},2,3,4,5\n"
        for number, stem in enumerate(stems, 1)
    }
