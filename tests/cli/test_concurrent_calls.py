"""Several processes call the command line at once, on a Dagster without a storage."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from conftest import order_rows, price_rows

Query = Callable[..., list[tuple[Any, ...]]]

PROCESSES = 3
ROUNDS = 3
DEADLINE_S = 60
BARRIER = """
import os, sys, time
from pathlib import Path
from partitioned_etl.builders.partitions import register_names
from partitioned_etl.cli.location import open_instance

folder, number, processes, rounds = Path(sys.argv[1]), *map(int, sys.argv[2:])

def meet(name):
    # Each says that it is there, and goes on when all are.
    (folder / name).mkdir(exist_ok=True)
    (folder / name / str(number)).touch()
    while len(list((folder / name).iterdir())) < processes:
        time.sleep(0.0005)

"""
OPEN = f"""{BARRIER}
home = Path(os.environ["DAGSTER_HOME"])
for one in range(rounds):
    meet(f"round{{one}}")
    os.environ["DAGSTER_HOME"] = str(home / str(one))
    with open_instance():
        pass
"""
REGISTER = f"""{BARRIER}
with open_instance() as instance:
    for one in range(rounds):
        meet(f"round{{one}}")
        register_names(instance, "customers", [f"{{one}}", f"{{one}}_{{number}}"])
"""
SYNC = f"""{BARRIER}
from partitioned_etl.cli.main import commands
meet("start")
commands(["sync"])
"""


def call_at_once(code: str, folder: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run code in several processes at once, and give how each of them ended."""
    folder.mkdir()
    command = [sys.executable, "-c", code, str(folder)]
    processes = [
        subprocess.Popen(
            [*command, str(number), str(PROCESSES), str(ROUNDS)],
            env=os.environ | {"SETTLE_SECONDS": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        outputs = [process.communicate(timeout=DEADLINE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        subprocess.CompletedProcess([], process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


@pytest.fixture
def home(call: Callable[..., Result], tmp_path: Path) -> Path:
    """DAGSTER_HOME, with a `dagster.yaml` and no storage yet."""
    return tmp_path / "dagster_home"


def test_processes_that_start_at_once_make_one_storage(home: Path, tmp_path: Path) -> None:
    homes = [home / str(number) for number in range(ROUNDS)]
    for one in homes:
        one.mkdir()
        shutil.copy(home / "dagster.yaml", one)
    done = call_at_once(OPEN, tmp_path / "barrier")
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * PROCESSES
    for one in homes:
        with dg.DagsterInstance.from_config(str(one)) as instance:
            assert instance.get_runs() == []


def test_a_name_that_several_processes_register_at_once_is_there_once(
    home: Path, tmp_path: Path
) -> None:
    done = call_at_once(REGISTER, tmp_path / "barrier")
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * PROCESSES
    with dg.DagsterInstance.from_config(str(home)) as instance:
        names = instance.get_dynamic_partitions("customers")
    numbers = range(ROUNDS)
    own = [f"{number}_{process}" for number in numbers for process in range(PROCESSES)]
    assert sorted(names) == sorted([*(str(number) for number in numbers), *own])


@pytest.mark.slow
def test_syncs_that_start_at_once_load_every_row_once(
    home: Path, landing_dir: Path, query: Query, tmp_path: Path
) -> None:
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1, 2))
    for name in ("acme", "globex"):
        (landing_dir / "customers" / f"{name}.csv").write_text(price_rows(1))
    (landing_dir / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "placed"))
    done = call_at_once(SYNC, tmp_path / "barrier")
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * PROCESSES
    assert query("SELECT count(*) FROM raw_partition_data") == [(2,)]
    assert query("SELECT count(*) FROM raw_dynamic_partition_data") == [(2,)]
    assert query("SELECT * FROM monthly_orders") == [("2018-02", "placed", 1)]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert sorted(instance.get_dynamic_partitions("customers")) == ["acme", "globex"]
