"""Loads that are killed at any moment, and databases whose files were lost, cut or put back."""

import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.feed import Feed
from support.scale import IS_SEEDED, examples
from support.workbench import (
    NOTES,
    Child,
    Workbench,
    change_feed,
    land_numbers,
    loaded_numbers,
)

StartChild = Callable[[str], Child]

RANDOM_KILLS = examples(2)

LOADERS = """
import json
import os
import signal
import time
import traceback

def load(moment, told, never):
    def stop(name):
        if name == moment:
            os.write(told, b"!")
            # Nothing is ever written there; the end of the process that reads it ends this one too.
            os.read(never, 1)
            os._exit(1)

    failpoints.listener = stop
    os.write(told, b"!")
    bench.sync(NOTES)

def fork_loader(moment):
    told, tell = os.pipe()
    never, keep = os.pipe()
    loader = os.fork()
    if loader == 0:
        os.close(told)
        os.close(keep)
        try:
            load(moment, tell, never)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(2)
    os.close(tell)
    os.close(never)
    return loader, told, keep

while True:
    pause("ready")
    order = json.loads((bench.root / "order").read_text(encoding="utf-8"))
    loader, told, keep = fork_loader(order["moment"])
    began = os.read(told, 1) and time.monotonic()
    if order["moment"]:
        os.read(told, 1)
        os.kill(loader, signal.SIGKILL)
    elif order["delay_s"] is not None:
        time.sleep(order["delay_s"])
        os.kill(loader, signal.SIGKILL)
    _, status = os.waitpid(loader, 0)
    took_s = time.monotonic() - began
    os.close(told)
    os.close(keep)
    code = os.waitstatus_to_exitcode(status)
    (bench.root / "result").write_text(json.dumps([code, took_s]), encoding="utf-8")
"""

Contents = dict[str, tuple[int, int]]
"""Number of the content, which is in every row, and how many rows, by partition key."""


class Loads:
    """Files that keep changing, and loads of them in processes that are killed or not."""

    def __init__(self, bench: Workbench, server: Child, rng: random.Random) -> None:
        self.bench, self.server, self.rng = bench, server, rng
        self.landed: Contents = {}
        self.serial = 0
        self.rounds = 0
        self.load_s = 0.0
        self.last_held: Contents = {}

    def change_files(self) -> None:
        """Change some files, a large one among them, and every third time add one."""
        small = sorted(self.landed.keys() - {"large", "larger"})
        changed = ["large", "larger", *self.rng.sample(small, len(small) // 2)]
        if self.rounds % 3 == 0:
            changed.append(f"added in round {self.rounds}")
        self.rounds += 1
        for key in changed:
            large = key in ("large", "larger")
            count = self.rng.randint(20_000, 40_000) if large else self.rng.randint(1, 500)
            self.serial += 1
            self.landed[key] = (self.serial, count)
            rows = "".join(f"{self.serial},{row}\n" for row in range(count))
            self.bench.land(NOTES, f"{key}.csv", "id,note\n" + rows)

    def load(self, moment: str = "", delay_s: float | None = None) -> bool:
        """Load in another process, which is killed at a failpoint, after a delay, or not at all.

        Returns:
            Whether it was killed before it had ended.
        """
        order = json.dumps({"moment": moment, "delay_s": delay_s})
        (self.bench.root / "order").write_text(order, encoding="utf-8")
        self.server.go_on()
        self.server.wait_for("ready")
        result = (self.bench.root / "result").read_text(encoding="utf-8")
        exit_code, took_s = json.loads(result)
        assert exit_code in (0, -signal.SIGKILL)
        if exit_code == 0 and self.last_held != self.landed:
            self.load_s = took_s
        return exit_code != 0

    def held(self) -> Contents:
        """Read the table, whose partitions must each be one content, whole and once."""
        self.last_held = found = {}
        if NOTES.table not in self.bench.tables():
            return found
        self.bench.assert_level(NOTES)
        for key, source_file, serial, count, distinct in self.bench.query(
            "SELECT partition_key, source_file, id, count(*), count(DISTINCT note) "
            f"FROM {NOTES.table} GROUP BY ALL"
        ):
            assert source_file == f"{key}.csv"
            assert key not in found
            assert count == distinct
            found[key] = (serial, count)
        return found

    def level(self, how: str) -> None:
        """Load what is not loaded, here or in another process."""
        if how == "here":
            self.bench.sync(NOTES)
        else:
            assert not self.load()
        assert self.held() == self.landed


def wal_of(bench: Workbench) -> Path:
    return bench.database.with_name(bench.database.name + ".wal")


@pytest.mark.scaled
def test_loads_that_are_killed_leave_old_or_new_partitions_and_the_next_one_makes_them_level(
    bench: Workbench, start_child: StartChild
) -> None:
    server = start_child(LOADERS)
    server.wait_for("ready")
    seed = "the same every time" if IS_SEEDED else os.urandom(8).hex()
    rng = random.Random(seed)
    loads = Loads(bench, server, rng)
    outcomes: Counter[str] = Counter()

    def kill(how: str, moment: str = "", delay_s: float | None = None) -> str:
        before = loads.last_held
        loads.change_files()
        if not loads.load(moment, delay_s):
            assert loads.held() == loads.landed
            outcomes[f"{how}: too late"] += 1
            return "new"
        outcomes["with a log"] += wal_of(bench).exists()
        after = loads.held()
        assert after in (before, loads.landed)
        outcome = "old" if after == before else "new"
        outcomes[f"{how}: {outcome}"] += 1
        return outcome

    for moment in failpoints.ALL:
        is_committed = moment == failpoints.AFTER_COMMIT
        assert kill("failpoint", moment) == ("new" if is_committed else "old")
        loads.level(rng.choice(["here", "there"]))

    loads.change_files()
    loads.level("there")
    for part in range(RANDOM_KILLS):
        # One kill in each part of a load, so that no part is left out.
        kill("random", delay_s=loads.load_s * (part + rng.random()) / RANDOM_KILLS)
        if rng.random() < 0.7:
            loads.level(rng.choice(["here", "there"]))
    loads.level("there")

    print(f"seed {seed}, {loads.load_s:.2f} s a load, {dict(outcomes)}")
    assert outcomes["random: old"]
    assert outcomes["failpoint: new"] + outcomes["random: new"]
    assert outcomes["with a log"]


KILLED_WITH_A_LOG = """
failpoints.listener = lambda moment: pause("committed") if moment == "after_commit" else None
bench.sync(NOTES)
"""


@pytest.fixture
def killed(bench: Workbench, start_child: StartChild) -> Path:
    """A database whose last load was committed and killed, so that it is in the log only."""
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1, 2)
    bench.sync(NOTES)
    land_numbers(bench, "a", *range(1_000))
    land_numbers(bench, "d", 7)
    child = start_child(KILLED_WITH_A_LOG)
    child.wait_for("committed")
    child.kill()
    assert wal_of(bench).stat().st_size > 1_000
    return wal_of(bench)


LANDED = {"a": list(range(1_000)), "b": [1, 2], "c": [1, 2], "d": [7]}


def test_a_log_that_is_lost_or_cut_off_after_a_kill_is_loaded_again(
    bench: Workbench, killed: Path
) -> None:
    database, log = bench.database.read_bytes(), killed.read_bytes()
    size = len(log)
    for cut in (None, 0, 1, 40, size // 4, size // 2, size - 100, size - 1):
        bench.database.write_bytes(database)
        killed.unlink(missing_ok=True)
        if cut is not None:
            killed.write_bytes(log[:cut])
        report = bench.sync(NOTES)
        assert [record.partition_key for record in report.loaded] == ["a", "d"]
        assert loaded_numbers(bench) == LANDED
        bench.assert_level(NOTES)


def assert_refused_until_the_log_is_removed(bench: Workbench) -> None:
    database, log = bench.database.read_bytes(), wal_of(bench).read_bytes()
    with pytest.raises(WarehouseError, match=re.escape(str(wal_of(bench)))):
        bench.sync(NOTES)
    assert (bench.database.read_bytes(), wal_of(bench).read_bytes()) == (database, log)
    wal_of(bench).unlink()
    bench.sync(NOTES)
    assert loaded_numbers(bench) == LANDED
    bench.assert_level(NOTES)


def test_a_damaged_log_is_an_error_that_names_it_and_without_it_all_is_loaded(
    bench: Workbench, killed: Path
) -> None:
    log = bytearray(killed.read_bytes())
    log[len(log) // 2] ^= 255
    killed.write_bytes(log)
    assert_refused_until_the_log_is_removed(bench)


def test_an_older_database_that_is_put_back_is_brought_level(bench: Workbench) -> None:
    land_numbers(bench, "a", 1, 2)
    land_numbers(bench, "b", 1)
    bench.sync(NOTES)
    backup = bench.database.read_bytes()
    land_numbers(bench, "a", 3)
    land_numbers(bench, "c", 4)
    bench.sync(NOTES)
    land_numbers(bench, "c", 5)
    bench.sync(NOTES)

    bench.database.write_bytes(backup)
    report = bench.sync(NOTES)
    assert [record.partition_key for record in report.loaded] == ["a", "c"]
    assert loaded_numbers(bench) == {"a": [3], "b": [1], "c": [5]}
    bench.assert_level(NOTES)


def test_an_older_database_beside_a_newer_log_is_an_error_and_without_the_log_all_is_loaded(
    bench: Workbench, start_child: StartChild
) -> None:
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1, 2)
    bench.sync(NOTES)
    backup = bench.database.read_bytes()
    land_numbers(bench, "a", 5, 6, 7)
    bench.sync(NOTES)
    land_numbers(bench, "a", *range(1_000))
    land_numbers(bench, "d", 7)
    child = start_child(KILLED_WITH_A_LOG)
    child.wait_for("committed")
    child.kill()

    bench.database.write_bytes(backup)
    assert_refused_until_the_log_is_removed(bench)


SALES = Feed(name="sales", pattern="{date:%Y-%m}.csv", columns={"id": "INTEGER", "note": "VARCHAR"})
WITH_DAY = change_feed(SALES, columns={"id": "BIGINT", "day": "DATE"})
NARROW = change_feed(SALES, columns={"id": "SMALLINT"})
CHANGE_COLUMNS = """
from partitioned_etl.engine.migrate import apply_migration
from promises.test_kills import NARROW, WITH_DAY

failpoints.listener = lambda name: pause("there") if name == "{moment}" else None
if {is_load}:
    bench.sync(WITH_DAY)
else:
    with bench.open_table(NARROW) as table:
        apply_migration(table, bench.landing.list_files(NARROW))
"""


@pytest.mark.parametrize(
    ("moment", "is_load", "columns"),
    [
        (failpoints.AFTER_ALTER, True, {"id": "INTEGER", "note": "VARCHAR"}),
        pytest.param(
            failpoints.AFTER_BEGIN,
            True,
            {"id": "BIGINT", "note": "VARCHAR", "day": "DATE"},
            marks=pytest.mark.long,
        ),
        (failpoints.AFTER_ALTER, False, {"id": "INTEGER", "note": "VARCHAR"}),
    ],
    ids=["before the alteration is there", "before the load", "in a migration"],
)
def test_columns_that_are_changed_are_the_old_ones_or_the_new_ones(
    bench: Workbench, start_child: StartChild, moment: str, is_load: bool, columns: dict[str, str]
) -> None:
    bench.land(SALES, "2024-01.csv", "id,note\n70000,a\n")
    bench.land(SALES, "2024-02.csv", "id,note\n7,b\n")
    bench.sync(SALES)
    bench.land(WITH_DAY, "2024-03.csv", "id,day\n8,2024-03-02\n")
    child = start_child(CHANGE_COLUMNS.format(moment=moment, is_load=is_load))
    child.wait_for("there")
    child.kill()
    described = {name: one for name, one, *_ in bench.query("DESCRIBE sales")}
    assert described == {**columns, "partition_key": "VARCHAR", "source_file": "VARCHAR"}
    assert bench.query("SELECT id, note FROM sales ORDER BY ALL") == [(7, "b"), (70000, "a")]
    bench.assert_level(SALES)
    bench.sync(WITH_DAY)
    assert bench.query("SELECT id, note, day FROM sales ORDER BY ALL") == [
        (7, "b", None),
        (8, None, date(2024, 3, 2)),
        (70000, "a", None),
    ]
    bench.assert_level(WITH_DAY)


SEVERAL_FILES = """
from partitioned_etl.engine import failpoints
from promises.test_kills import VERSIONED_PARTS

failpoints.listener = lambda name: pause("there") if name == "{moment}" else None
bench.sync(VERSIONED_PARTS)
"""
VERSIONED_PARTS = change_feed(NOTES, pattern="{key}_{part}-{version}.csv", key_pattern="[a-z]")


@pytest.mark.parametrize(
    "moment",
    [
        failpoints.AFTER_LEDGER,
        pytest.param(failpoints.AFTER_DELETE, marks=pytest.mark.long),
        failpoints.BEFORE_COMMIT,
        failpoints.AFTER_COMMIT,
    ],
)
def test_a_part_and_a_version_are_there_whole_or_not_at_all(
    bench: Workbench, start_child: StartChild, moment: str
) -> None:
    feed = VERSIONED_PARTS
    bench.land(feed, "a_1-1.csv", "id,note\n1,x\n")
    bench.land(feed, "a_2-1.csv", "id,note\n2,x\n")
    bench.sync(feed)
    old = [(1, "loaded", "a_1-1.csv"), (2, "loaded", "a_2-1.csv")]
    bench.land(feed, "a_1-2.csv", "id,note\n10,x\n")
    bench.land(feed, "a_3-1.csv", "id,note\n3,x\n")
    child = start_child(SEVERAL_FILES.format(moment=moment))
    child.wait_for("there")
    child.kill()
    new = [
        (2, "loaded", "a_2-1.csv"),
        (3, "loaded", "a_3-1.csv"),
        (10, "loaded", "a_1-2.csv"),
        (None, "superseded", "a_1-1.csv"),
    ]
    state = (
        "SELECT id, status, l.source_file FROM file_loads AS l "
        "LEFT JOIN raw_notes AS t USING (source_file) ORDER BY ALL"
    )
    assert bench.query(state) == (new if moment == failpoints.AFTER_COMMIT else old)
    bench.sync(feed)
    assert bench.query(state) == new
    bench.assert_level(feed)
