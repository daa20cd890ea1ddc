"""Page: the table of results in `docs/performance.md`, written from the JSON files alone.

Takes `results/*.json`; gives the lines between the page's two markers. `measure.report` calls it,
so that the page and the results cannot differ.
"""

import json
from pathlib import Path

from tabulate import tabulate

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
START, END = "<!-- results: written by `make bench` -->\n", "<!-- end of results -->\n"


def results_table() -> str:
    """Give the table of all results as Markdown: one line per bar."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        for place, bar in enumerate(result["bars"]):
            rows.append(
                (
                    "" if place else f"[{result['name']}](#{result['name']})",
                    bar["what"],
                    f"{bar['value']:,.3g}",
                    f"{'≥' if bar['is_least'] else '≤'} {bar['must']:,.3g}",
                    "met" if bar["met"] else "**not met**",
                )
            )
    heads = ["benchmark", "figure", "measured", "must be", ""]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True) + "\n"


def write_table() -> None:
    """Put the table of all results between the page's markers."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{START}\n{results_table()}\n{END}{after}", encoding="utf-8")
