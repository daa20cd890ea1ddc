"""Ways: the three projects that do one task, and how many lines their users wrote.

Gives `WAYS`. What each of them is put through is in `mishaps.py`.
"""

import ast
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
OWN_PROJECT = HERE / "own_project"


@dataclass(frozen=True)
class Way:
    """One way to do the task.

    Attributes:
        name: What the page calls it.
        command: What loads what has landed, once.
        tables: Per feed, a query of its table: file stem and two columns.
        sources: What the user wrote.
        project: The project that the command is run in, if it has to be in one.
        is_run_per_file: Whether each file is a run of its own.
    """

    name: str
    command: list[str]
    tables: Mapping[str, str]
    sources: list[Path]
    project: Path | None = None
    is_run_per_file: bool = False


OURS = Way(
    "this project",
    [sys.executable, "-m", "partitioned_etl", "sync"],
    {
        "daily": "SELECT partition_key, share_price, amount FROM daily_prices",
        "customers": "SELECT partition_key, share_price, amount FROM customer_prices",
        "monthly": "SELECT partition_key[:7], id, user_id FROM monthly_orders",
    },
    [
        OWN_PROJECT / "src" / "own_feeds" / "definitions.py",
        *sorted((OWN_PROJECT / "src" / "own_feeds" / "defs").rglob("defs.yaml")),
    ],
    project=OWN_PROJECT,
)
TUTORIAL = Way(
    "tutorial",
    [sys.executable, str(HERE / "run_tutorial.py")],
    {
        "daily": "SELECT partition, share_price, amount FROM daily_prices",
        "customers": "SELECT partition, share_price, amount FROM customer_prices",
        "monthly": "SELECT partition[:7], id, user_id FROM monthly_orders",
    },
    [HERE / "tutorial.py"],
    is_run_per_file=True,
)
DLT = Way(
    "dlt",
    [str(PROJECT / ".venv-dlt" / "bin" / "python"), str(HERE / "dlt_project.py")],
    {
        "daily": "SELECT filename[:-5], share_price, amount FROM landed.daily_prices",
        "customers": "SELECT filename[:-5], share_price, amount FROM landed.customer_prices",
        "monthly": "SELECT filename[:-5], id, user_id FROM landed.monthly_orders",
    },
    [HERE / "dlt_project.py"],
)
WAYS = (OURS, TUTORIAL, DLT)


def count_lines(way: Way) -> int:
    """Count a way's lines of code: no blank ones, comments or docstrings."""
    return sum(map(_count_lines, way.sources))


def _count_lines(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        number not in left_out and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(text.splitlines(), 1)
    )
