"""Compare: the same three feeds and mishaps, with this project, a tutorial's project and dlt.

Each way gets a landing directory of its own, the same files and the same mishaps one after the
other, each load in a process of its own. After each, its tables are held against the files. Gives
`results.json` and the table of `docs/comparison.md`, which is written from it.
"""

import ast
import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import duckdb
from tabulate import tabulate

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
RESULTS = HERE / "results.json"
PAGE = PROJECT / "docs" / "comparison.md"
START, END = "<!-- written by `make compare` -->\n", "<!-- end -->\n"
MANY = 1000
MANY_BY_TUTORIAL = 20
LARGE_ROWS = 200_000
KILLS = 3
_HEADER = "date,share_price,amount,spend,shift,spread\n"
_ROLLUP = ("monthly_orders", "monthly_rollup")

Rows = Counter[tuple[object, ...]]


@dataclass(frozen=True)
class Way:
    """One way to do the task.

    Attributes:
        name: What the page calls it.
        command: What a user starts to load what has landed.
        tables: Per feed, a query of its table: file stem, if the table has it, and two columns.
        sources: What the user wrote.
    """

    name: str
    command: list[str]
    tables: Mapping[str, str]
    sources: list[Path]


DEFS = PROJECT / "src" / "partitioned_etl" / "defs"
OURS = Way(
    "this project",
    [sys.executable, "-m", "partitioned_etl"],
    {
        "daily": "SELECT partition_key, share_price, amount FROM raw_partition_data",
        "customers": "SELECT partition_key, share_price, amount FROM raw_dynamic_partition_data",
        "monthly": "SELECT partition_key[:7], id, user_id FROM stg_orders",
    },
    [
        DEFS / f"{name}.py"
        for name in ("partitions", "daily_prices", "customer_prices", "monthly_orders")
    ],
)
TUTORIAL = Way(
    "tutorial",
    [sys.executable, str(HERE / "run_tutorial.py")],
    {
        "daily": "SELECT NULL, share_price, amount FROM daily_prices",
        "customers": "SELECT customer, share_price, amount FROM customer_prices",
        "monthly": "SELECT NULL, id, user_id FROM monthly_orders",
    },
    [HERE / "tutorial.py"],
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
    """Count the lines of code of a way: no blank ones, comments, docstrings or roll-up."""
    count = 0
    for path in way.sources:
        text = path.read_text(encoding="utf-8")
        left_out: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            body = getattr(node, "body", None)
            first = body[0] if isinstance(body, list) and body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                left_out.update(range(first.lineno, (first.end_lineno or 0) + 1))
        if way is OURS:
            for node in ast.parse(text).body:
                target = node.targets[0] if isinstance(node, ast.Assign) else node
                name = getattr(target, "id", getattr(target, "name", ""))
                if name.startswith(_ROLLUP):
                    decorators = getattr(node, "decorator_list", [])
                    start = min([node.lineno, *(each.lineno for each in decorators)])
                    left_out.update(range(start, (node.end_lineno or 0) + 1))
        count += sum(
            bool(line.strip()) and not line.strip().startswith("#") and number not in left_out
            for number, line in enumerate(text.splitlines(), 1)
        )
    return count


class Site:
    """One way at work in a folder of its own, with the sample files landed."""

    def __init__(self, way: Way, folder: Path) -> None:
        self.way = way
        self.landing_dir = folder / "landing"
        self.database = folder / "warehouse.duckdb"
        home = folder / "home"
        home.mkdir(parents=True)
        shutil.copytree(PROJECT / "data" / "source", self.landing_dir)
        shutil.copy(PROJECT / "dagster.yaml", home)
        self._environment = os.environ | {
            "LANDING_DIR": str(self.landing_dir),
            "DUCKDB_DATABASE": str(self.database),
            "SETTLE_SECONDS": "0",
            "DAGSTER_HOME": str(home),
            "DLT_DATA_DIR": str(home),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        }
        self._home = home

    def start(self) -> subprocess.Popen[bytes]:
        """Start a load."""
        return subprocess.Popen(
            self.way.command,
            cwd=self._home,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def load(self) -> int:
        """Load what has landed, and give the exit code."""
        return self.start().wait()

    def path(self, customer: str) -> Path:
        """Give the path of a customer's file."""
        return self.landing_dir / "customers" / f"{customer}.csv"

    def land(self, customer: str, text: str, *, is_old: bool = False) -> None:
        """Let a customer's file land, with the time of now or of the file that it replaces."""
        path = self.path(customer)
        before = path.stat() if is_old else None
        path.write_text(text, encoding="utf-8")
        if before:
            os.utime(path, (before.st_atime, before.st_mtime))

    def grown_bytes(self) -> int:
        """Give the size of the database with its log, which comes and goes."""
        size = 0
        for path in self.database.parent.glob("warehouse.duckdb*"):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def read_files(self) -> dict[str, Rows]:
        """Give the rows of all files by feed."""
        found: dict[str, Rows] = {}
        for folder, columns in {
            "daily": ("share_price", "amount"),
            "customers": ("share_price", "amount"),
            "monthly": ("id", "user_id"),
        }.items():
            rows: Rows = Counter()
            for path in (self.landing_dir / folder).glob("*.csv"):
                with path.open(encoding="utf-8", newline="") as file:
                    for row in csv.DictReader(file):
                        rows[path.stem, *(float(row[column]) for column in columns)] += 1
            found[folder] = rows
        return found

    def read_tables(self) -> dict[str, Rows]:
        """Give the rows of all tables by feed."""
        found: dict[str, Rows] = {}
        with duckdb.connect(str(self.database), read_only=True) as connection:
            for feed, query in self.way.tables.items():
                rows = connection.execute(query).fetchall()
                found[feed] = Counter((key, *map(float, values)) for key, *values in rows)
        return found

    def compare(self, files: Mapping[str, Rows]) -> str:
        """Say how the tables differ from files; empty if they are equal."""
        tables, differ = self.read_tables(), []
        for feed, of_table in tables.items():
            has_key = all(row[0] is not None for row in of_table)
            of_files = files[feed] if has_key else _without_key(files[feed])
            missing, extra = (of_files - of_table).total(), (of_table - of_files).total()
            if missing or extra:
                words = [f"{missing:,} rows missing"] * bool(missing)
                words += [f"{extra:,} rows too many"] * bool(extra)
                differ.append(f"{feed}: {', '.join(words)}")
        return "; ".join(differ)

    def of_customer(self, customer: str) -> Rows:
        """Give the rows that the table holds of one customer."""
        rows = self.read_tables()["customers"]
        return Counter({row: count for row, count in rows.items() if row[0] == customer})


def _without_key(rows: Rows) -> Rows:
    bare: Rows = Counter()
    for row, count in rows.items():
        bare[None, *row[1:]] += count
    return bare


def prices(count: int, price: float) -> str:
    """Give the text of a price file."""
    return _HEADER + f"2018-01-15,{price},2,3,4,5\n" * count


def try_mishaps(site: Site) -> dict[str, str]:
    """Let one mishap after the other happen, and say what the tables hold after the next load."""

    def verdict() -> str:
        return site.compare(site.read_files()) or "as the files"

    said = {}
    site.load()
    said["first load"] = verdict()
    site.load()
    said["load again"] = verdict()
    site.land("acme", prices(4, 7.5))
    site.load()
    said["a corrected file"] = verdict()
    site.land("acme", prices(4, 8.5), is_old=True)
    site.load()
    said["a corrected file that kept its time"] = verdict()
    for path in site.landing_dir.rglob("*.csv"):
        path.touch()
    site.load()
    said["every file dropped again, unchanged"] = verdict()
    before = site.of_customer("acme")
    site.land("acme", prices(3, 9.5) + "2018-01-16,oops,2,3,4,5\n")
    site.land("globex", prices(2, 9.5))
    code = site.load()
    after, globex = site.of_customer("acme"), site.of_customer("globex")
    old = "keeps its old rows" if after == before else f"has {after.total()} of its 4 old rows"
    good = "loads" if globex == Counter({("globex", 9.5, 2.0): 2}) else "does not load"
    said["a bad file beside a good one"] = (
        f"the bad one {old}, the good one {good}; exit code {code}"
    )
    site.land("acme", prices(5, 10.5))
    site.load()
    said["the bad file is put right"] = verdict()
    site.path("initech").unlink()
    site.load()
    kept = site.of_customer("initech").total()
    said["a deleted file"] = f"{kept} of its 9 rows stay"
    return said


def try_kills(site: Site) -> dict[str, str]:
    """Kill loads of a large file as the database grows, and say what it holds then, and next."""
    site.land("large", prices(LARGE_ROWS, 0.5))
    site.load()
    whole, level = 0, 0
    for kill in range(KILLS):
        old, new = site.of_customer("large"), 1.5 + kill
        site.land("large", prices(LARGE_ROWS, new))
        size, grown = site.grown_bytes(), 0
        process = site.start()
        while process.poll() is None and grown <= kill:
            if (now := site.grown_bytes()) != size:
                size, grown = now, grown + 1
            time.sleep(0.0005)
        process.kill()
        process.wait()
        found = site.of_customer("large")
        whole += found in (old, Counter({("large", new, 2.0): LARGE_ROWS}))
        site.load()
        level += site.of_customer("large") == Counter({("large", new, 2.0): LARGE_ROWS})
    return {
        "a load of 200,000 rows is killed": f"old or new rows, whole, in {whole} of {KILLS}",
        "the next load after the kill": f"the new rows in {level} of {KILLS}",
    }


def time_many(site: Site, count: int) -> float:
    """Measure how many seconds files take that land at once."""
    for number in range(count):
        site.land(f"customer{number}", prices(3, 1.5))
    started = time.perf_counter()
    site.load()
    seconds = time.perf_counter() - started
    assert site.read_tables()["customers"] == site.read_files()["customers"]
    return seconds


def try_way(way: Way) -> dict[str, str]:
    """Try one way in everything, and give what the page says of it, line by line."""
    said = {"lines that the user writes": str(count_lines(way))}
    for step in (try_mishaps, try_kills):
        with tempfile.TemporaryDirectory(prefix="compare-") as folder:
            said |= step(Site(way, Path(folder) / "site"))
    count = MANY_BY_TUTORIAL if way is TUTORIAL else MANY
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        seconds = time_many(Site(way, Path(folder) / "site"), count)
    said["files that land at once"] = f"{count:,} files in {seconds:.1f} s"
    print(way.name, json.dumps(said, indent=2), flush=True)
    return said


def table() -> str:
    """Give the results as a Markdown table."""
    said = json.loads(RESULTS.read_text(encoding="utf-8"))["ways"]
    rows = [(what, *(said[name][what] for name in said)) for what in said[OURS.name]]
    heads = ["", *said]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True) + "\n"


def main() -> int:
    """Compare, keep the result and write the page's table."""
    dlt_version, dlt_duckdb = subprocess.run(
        [DLT.command[0], "-c", "import dlt, duckdb; print(dlt.__version__, duckdb.__version__)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    versions = {name: version(name) for name in ("dagster", "duckdb", "partitioned-etl")}
    versions |= {"dlt": dlt_version, "duckdb of dlt": dlt_duckdb}
    result = {"versions": versions, "ways": {way.name: try_way(way) for way in WAYS}}
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(f"{before}{START}\n{table()}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
