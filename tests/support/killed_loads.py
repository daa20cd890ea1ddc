"""Killed loads: files that keep changing, and loads of them that are killed at any moment.

A process that has everything imported forks one for each load, so that a kill costs little more
than its load. What is held after a kill is compared with what was there before and with what had
landed.
"""

import json
import os
import random
import signal
from collections import Counter

from partitioned_etl.engine import failpoints
from support.scale import IS_SEEDED
from support.workbench import CHILD_DEADLINE_S, NOTES, Child, Workbench

LOADERS = """
import json
import os
import select
import signal
import time
import traceback

def load(moment, goes_on, told, never):
    def stop(name):
        if name == moment or goes_on and name == "after_commit":
            os.write(told, b"!")
            if goes_on:
                return
            # Nothing is ever written there; the end of the process that reads it ends this one too.
            os.read(never, 1)
            os._exit(1)

    failpoints.listener = stop
    os.write(told, b"!")
    bench.sync(NOTES)

def fork_loader(moment, goes_on):
    told, tell = os.pipe()
    never, keep = os.pipe()
    loader = os.fork()
    if loader == 0:
        os.close(told)
        os.close(keep)
        try:
            load(moment, goes_on, tell, never)
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
    goes_on = order["moment"] and order["delay_s"] is not None
    loader, told, keep = fork_loader(order["moment"], goes_on)
    began = os.read(told, 1) and time.monotonic()
    if order["moment"]:
        os.read(told, 1)
        reached = time.monotonic()
    if order["moment"] or order["delay_s"] is not None:
        # It goes on until the commit is done, or until it ends.
        select.select([told], [], [], order["delay_s"] or 0)
        waited_s = time.monotonic() - (reached if order["moment"] else began)
        os.kill(loader, signal.SIGKILL)
    _, status = os.waitpid(loader, 0)
    took_s = waited_s if order["moment"] else time.monotonic() - began
    os.close(told)
    os.close(keep)
    code = os.waitstatus_to_exitcode(status)
    (bench.root / "result").write_text(json.dumps([code, took_s]), encoding="utf-8")
"""

Contents = dict[str, tuple[int, int]]
"""Number of the content, which is in every row, and how many rows, by partition key."""


class Loads:
    """Files that keep changing, and loads of them in processes that are killed or not."""

    def __init__(
        self, bench: Workbench, server: Child, rng: random.Random, large_rows: int
    ) -> None:
        self.bench, self.server, self.rng = bench, server, rng
        self.large_rows = large_rows
        self.landed: Contents = {}
        self.serial = 0
        self.rounds = 0
        self.load_s = self.last_wait_s = 0.0
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
            count = (
                self.rng.randint(self.large_rows, 2 * self.large_rows)
                if large
                else self.rng.randint(1, 500)
            )
            self.serial += 1
            self.landed[key] = (self.serial, count)
            rows = "".join(f"{self.serial},{row}\n" for row in range(count))
            self.bench.land(NOTES, f"{key}.csv", "id,note\n" + rows)

    def load(self, moment: str = "", delay_s: float | None = None) -> bool:
        """Load in another process, which is killed at a failpoint, after a delay, or not at all.

        Args:
            moment: The failpoint; empty for none.
            delay_s: How long after the failpoint, but no later than the commit is done; or after
                the begin of the load. None for a load that stops at the failpoint, or is not
                killed.

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
        if moment:
            self.last_wait_s = took_s
        elif exit_code == 0 and self.last_held != self.landed:
            self.load_s = took_s
        return exit_code != 0

    def held(self) -> Contents:
        """Read the table, whose partitions must each be one content, whole and once."""
        self.last_held = found = {}
        self.bench.wait_until_alone()
        if NOTES.table not in self.bench.tables():
            return found
        self.bench.assert_level(NOTES)
        self.bench.assert_history(NOTES)
        for key, source_file, serial, count, distinct in self.bench.query(
            "SELECT partition_key, source_file, id, count(*), count(DISTINCT note) "
            f"FROM {NOTES.table} GROUP BY 1, 2, 3"
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


class Kills:
    """Loads that are killed, and what each of them left.

    Args:
        bench: The bench.
        server: A process that runs `LOADERS`.
        large_rows: How many rows its large files have, at least.
    """

    def __init__(self, bench: Workbench, server: Child, large_rows: int = 20_000) -> None:
        server.wait_for("ready")
        self.seed = "the same every time" if IS_SEEDED else os.urandom(8).hex()
        self.rng = random.Random(self.seed)
        self.loads = Loads(bench, server, self.rng, large_rows)
        self.outcomes: Counter[str] = Counter()

    def kill(self, how: str, moment: str = "", delay_s: float | None = None) -> str:
        """Kill a load; what it leaves is all of what was there, or all of what had landed."""
        before = self.loads.last_held
        self.loads.change_files()
        if not self.loads.load(moment, delay_s):
            assert self.loads.held() == self.loads.landed
            self.outcomes[f"{how}: too late"] += 1
            return "new"
        self.outcomes["killed"] += 1
        self.after_kill()
        after = self.loads.held()
        assert after in (before, self.loads.landed)
        outcome = "old" if after == before else "new"
        self.outcomes[f"{how}: {outcome}"] += 1
        return outcome

    def after_kill(self) -> None:
        """Look at what a kill leaves, before anything reads it."""

    def at_failpoints(self) -> None:
        """Kill a load at each failpoint."""
        for moment in failpoints.ALL:
            is_committed = moment == failpoints.AFTER_COMMIT
            assert self.kill("failpoint", moment) == ("new" if is_committed else "old")
            self.loads.level(self.rng.choice(["here", "there"]))

    def at_any_moment(self, count: int) -> None:
        """Kill so many loads, one in each part of the time a load takes."""
        self.loads.change_files()
        self.loads.level("there")
        for part in range(count):
            self.kill("random", delay_s=self.loads.load_s * (part + self.rng.random()) / count)
            if self.rng.random() < 0.7:
                self.loads.level(self.rng.choice(["here", "there"]))
        self.loads.level("there")

    def around_the_commit(self, count: int) -> None:
        """Kill so many loads as they commit, a little earlier or later."""
        assert self.kill("calibration", failpoints.BEFORE_COMMIT, CHILD_DEADLINE_S) == "new"
        commit_s = self.loads.last_wait_s
        for part in range(count):
            delay_s = commit_s * (part + self.rng.random()) / count
            self.kill("commit", failpoints.BEFORE_COMMIT, delay_s)
        self.loads.change_files()
        self.loads.level("there")

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.loads.load_s:.2f} s a load, {dict(self.outcomes)}"
