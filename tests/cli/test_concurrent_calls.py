"""Several processes call the command line at once, on a Dagster without a storage."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from support.samples import order_rows, price_rows

Query = Callable[..., list[tuple[Any, ...]]]

pytestmark = [pytest.mark.slow, pytest.mark.long]

PROCESSES, SYNCS = 3, 2
ROUNDS = 3
DEADLINE_S = 600
PROLOGUE = """
import os, sys
from multiprocessing import get_context
from pathlib import Path
from partitioned_etl.cli import sync
from partitioned_etl.cli.location import open_instance
from partitioned_etl.cli.main import commands
from support.sample_location import CUSTOMERS

processes, rounds = map(int, sys.argv[1:])
fork = get_context("fork")
barrier = fork.Barrier(processes, timeout=300)
"""
EPILOGUE = """
def call_or_abort(number):
    try:
        call(number)
    except Exception:
        # The others would wait for it in vain.
        barrier.abort()
        raise

children = [fork.Process(target=call_or_abort, args=[number]) for number in range(processes)]
for child in children:
    child.start()
for child in children:
    child.join()
sys.exit(max((child.exitcode for child in children), key=abs))
"""
OPEN = f"""{PROLOGUE}
def call(number):
    home = Path(os.environ["DAGSTER_HOME"])
    for one in range(rounds):
        os.environ["DAGSTER_HOME"] = str(home / str(one))
        barrier.wait()
        with open_instance():
            pass
{EPILOGUE}"""
REGISTER = f"""{PROLOGUE}
def call(number):
    with open_instance() as instance:
        for one in range(rounds):
            barrier.wait()
            CUSTOMERS.assets.partitions.register(instance, [f"{{one}}", f"{{one}}_{{number}}"])
{EPILOGUE}"""
SYNC = f"""{PROLOGUE}
def call(number):
    barrier.wait()
    commands(["sync", "--feed", "customer_prices", "--feed", "monthly_orders"])
{EPILOGUE}"""


def call_at_once(code: str, processes: int = PROCESSES) -> None:
    """Run code in several processes at once, which end well and say nothing of a fault."""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(processes), str(ROUNDS)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            _, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, errors) == (0, "")


@pytest.fixture
def home(call: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME, with a `dagster.yaml` and no storage yet."""
    home = tmp_path / "home_without_storage"
    home.mkdir()
    shutil.copy(tmp_path / "dagster_home" / "dagster.yaml", home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


def test_processes_that_start_at_once_make_one_storage(home: Path) -> None:
    homes = [home / str(number) for number in range(ROUNDS)]
    for one in homes:
        one.mkdir()
        shutil.copy(home / "dagster.yaml", one)
    call_at_once(OPEN)
    for one in homes:
        with dg.DagsterInstance.from_config(str(one)) as instance:
            assert instance.get_runs() == []


def test_a_name_that_several_processes_register_at_once_is_there_once(home: Path) -> None:
    call_at_once(REGISTER)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        names = instance.get_dynamic_partitions("customers")
    numbers = range(ROUNDS)
    own = [f"{number}_{process}" for number in numbers for process in range(PROCESSES)]
    assert sorted(names) == sorted([*(str(number) for number in numbers), *own])


def test_syncs_that_start_at_once_load_every_row_once(
    home: Path, landing_dir: Path, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For as long, a call that waits for the run of another one rests.
    monkeypatch.setenv("SETTLE_SECONDS", "0.2")
    for price, name in enumerate(("acme", "globex"), 1):
        (landing_dir / "customers" / f"{name}.csv").write_text(price_rows(price))
    (landing_dir / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "placed"))
    call_at_once(SYNC, SYNCS)
    assert query("SELECT count(*) FROM raw_customer_prices") == [(2,)]
    assert query("SELECT count(*) FROM stg_orders") == [(1,)]
    assert query("SELECT * FROM orders_per_month") == [("2018-02", "placed", 1)]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert sorted(instance.get_dynamic_partitions("customers")) == ["acme", "globex"]
