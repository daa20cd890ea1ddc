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
DEFS = PROJECT / "src" / "partitioned_etl" / "defs"


@dataclass(frozen=True)
class Way:
    """One way to do the task.

    Attributes:
        name: What the page calls it.
        command: What loads what has landed, once.
        tables: Per feed, a query of its table: file stem and two columns.
        sources: What the user wrote.
        beside: Names that the sources define and that the task does not need.
        is_run_per_file: Whether each file is a run of its own.
    """

    name: str
    command: list[str]
    tables: Mapping[str, str]
    sources: list[Path]
    beside: tuple[str, ...] = ()
    is_run_per_file: bool = False


OURS = Way(
    "this project",
    [sys.executable, "-m", "partitioned_etl", "sync"],
    {
        "daily": "SELECT partition_key, share_price, amount FROM raw_partition_data",
        "customers": "SELECT partition_key, share_price, amount FROM raw_dynamic_partition_data",
        "monthly": "SELECT partition_key[:7], id, user_id FROM stg_orders",
    },
    [
        DEFS / f"{name}.py"
        for name in ("partitions", "daily_prices", "customer_prices", "monthly_orders")
    ],
    beside=(
        *("monthly_orders", "monthly_rollup_job", "monthly_rollup_sensor"),
        *("archived_file", "customer_prices_archive_job", "customer_prices_archive_sensor"),
    ),
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
    """Count a way's lines of code: no blank ones, comments, docstrings, or what is beside."""
    names: set[str] = set()
    count = sum(_count_lines(path, way.beside, names) for path in way.sources)
    assert names >= {*way.beside}, f"not in the sources: { ({*way.beside} - names) }"
    return count


def _count_lines(path: Path, beside: tuple[str, ...], names: set[str]) -> int:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.FunctionDef):
            names.add(_name(node))
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
            isinstance(node, ast.Assign | ast.FunctionDef) and _name(node) in beside
        ):
            decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
            first = min(each.lineno for each in (node, *decorators))
            left_out.update(range(first, (node.end_lineno or first) + 1))
    return sum(
        number not in left_out and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(text.splitlines(), 1)
    )


def _name(node: ast.Assign | ast.FunctionDef) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else node
    return target.id if isinstance(target, ast.Name) else getattr(target, "name", "")
