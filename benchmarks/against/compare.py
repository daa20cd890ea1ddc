"""Compare: the same three feeds and mishaps, with this project, a tutorial's project and dlt.

Each way gets the same files and the same mishaps one after the other (`mishaps.py`). Gives
`results.json` and the table of `docs/comparison.md`, which is written from it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version

from tabulate import tabulate

from mishaps import try_way
from ways import DLT, HERE, OURS, PROJECT, WAYS

RESULTS = HERE / "results.json"
PAGE = PROJECT / "docs" / "comparison.md"
START, END = "<!-- written by `make compare` -->\n", "<!-- end -->\n"


def results_table() -> str:
    """Give the results as a Markdown table."""
    said = json.loads(RESULTS.read_text(encoding="utf-8"))["ways"]
    rows = [(what, *(said[name][what] for name in said)) for what in said[OURS.name]]
    return tabulate(rows, ["", *said], tablefmt="github", disable_numparse=True) + "\n"


def write_table() -> None:
    """Put the table between the page's markers."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{START}\n{results_table()}\n{END}{after}", encoding="utf-8")


def list_versions() -> dict[str, str]:
    """Give the versions of what is compared."""
    of_dlt = subprocess.run(
        [DLT.command[0], "-c", "import dlt, duckdb; print(dlt.__version__, duckdb.__version__)"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ).stdout.split()
    packages = ("dagster", "duckdb", "partitioned-etl")
    return {name: version(name) for name in packages} | dict(
        zip(("dlt", "duckdb of dlt"), of_dlt, strict=True)
    )


def main() -> int:
    """Compare, keep the result and write the page's table."""
    parser = argparse.ArgumentParser(description="Compare this project with two others.")
    parser.add_argument("--kills", type=int, default=3, help="loads to kill, of each way")
    parser.add_argument("--files", type=int, default=1000, help="files that land at once")
    counts = parser.parse_args()
    said = {}
    for way in WAYS:
        said[way.name] = try_way(way, kills=counts.kills, files=counts.files)
        lines = "\n".join(f"  {what}: {text}" for what, text in said[way.name].items())
        print(f"{way.name}\n{lines}", flush=True)
    machine = {
        "processors": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }
    result = {"versions": list_versions(), "machine": machine, "ways": said}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    write_table()
    return 0


if __name__ == "__main__":
    sys.exit(main())
