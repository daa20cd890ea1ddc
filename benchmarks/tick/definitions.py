"""Loading of the code location in a fresh Python, against the import of what it is made with.

Every run worker begins with it, and so does a code server. All definitions are resolved, as a code
server does it.
"""

import subprocess
import sys

from measure import MEASURED, REFERENCE, Bar, plain_environment, report, take_turns

MUST = 1.3
_REFERENCE = "import dagster, dagster_duckdb, duckdb"
_LOAD = (
    "import dagster; from sample_feeds.definitions import defs; "
    "dagster.Definitions.validate_loadable(defs)"
)


def main() -> int:
    """Measure, and give 0 if all bars are met."""

    def run(code: str) -> None:
        command = [sys.executable, "-W", "ignore", "-c", code]
        subprocess.run(command, check=True, env=plain_environment())

    figures = take_turns(
        {REFERENCE: lambda: run(_REFERENCE), MEASURED: lambda: run(_LOAD)}, runs=15
    )
    ratio = figures[MEASURED].median / figures[REFERENCE].median
    bar = Bar("times the import of Dagster and DuckDB", ratio, MUST, is_least=False)
    return report("definitions", "a fresh Python loads the code location", figures, [bar])


if __name__ == "__main__":
    sys.exit(main())
