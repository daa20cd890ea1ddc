"""Whatever happens to files, clock, loads and database, in any order, table and ledger stay true.

Histories run on the real code and on a model.
"""

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, cast

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from partitioned_etl.engine import failpoints, sync
from partitioned_etl.engine.errors import WarehouseLockedError
from partitioned_etl.engine.landing import found, landing, names
from partitioned_etl.engine.landing.landing import LandedFile, Place
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.plan import Action, make_plan
from partitioned_etl.engine.sql import LEDGER_TABLE, quote_identifier
from partitioned_etl.engine.sync import sync_feed
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.scale import IS_SEEDED, examples
from support.workbench import NOTES, Child, Workbench, change_feed

pytestmark = [pytest.mark.slow, pytest.mark.scaled]

HISTORIES = max(4, examples(4))
MANY_HISTORIES = 60
"""In so many, all happens that can."""
KEYS = "abcde"
SETTLE_SECONDS = 60
CLOCK_STEP_SECONDS = 40
"""No sum of such steps comes near the settle time, so that a slow machine changes no history."""

NOTICED = (
    failpoints.AFTER_BEGIN,
    failpoints.AFTER_LEDGER,
    failpoints.AFTER_DELETE,
    failpoints.MID_INSERT,
)
"""Where a load notices that one of its files changes; later, its rows are those it had read."""
UNNOTICED = (failpoints.BEFORE_COMMIT, failpoints.AFTER_COMMIT)
UNCOMMITTED = (*NOTICED, failpoints.BEFORE_COMMIT)
assert set(failpoints.ALL) == {*NOTICED, *UNNOTICED}

keys = st.sampled_from(KEYS)
key_sets = st.sets(keys, min_size=1)
picks = st.integers(0, 9)
counts = st.integers(0, 3)
flaws = st.sampled_from(["", "text", "value"])
settle_times = st.sampled_from([0, SETTLE_SECONDS])
changes = st.tuples(
    st.sampled_from(["put", "overwrite", "overwrite unseen", "touch", "rename", "delete"]),
    keys,
    picks,
    counts,
    flaws,
)

Rows = tuple[tuple[int, str], ...]
Change = tuple[str, str, int, int, str]


class Crash(BaseException):
    """Ends a load as nothing that the load itself could handle."""


class SteppedClock:
    """Stands in for the module `time`, and can be set forwards and back.

    As with a machine's clock, a file's ctime is what the clock said when the file changed.
    """

    def __init__(self) -> None:
        self.step_s = 0
        self.step_s_at: dict[int, int] = {}

    def monotonic(self) -> float:
        return time.monotonic() + self.step_s

    def time_ns(self) -> int:
        return time.time_ns() + self.step_s * 10**9

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.step_s += CLOCK_STEP_SECONDS

    def step_ctime(self, ctime_ns: int) -> int:
        return ctime_ns + self.step_s_at[ctime_ns] * 10**9

    def is_settled(self, status: os.stat_result, settle_seconds: float) -> bool:
        since_ns = self.time_ns() - self.step_ctime(status.st_ctime_ns)
        return abs(since_ns) >= settle_seconds * 10**9


@dataclass(frozen=True)
class Content:
    """What a file holds, and the rows that it stands for; of one count, all are of one size."""

    number: int
    count: int
    flaw: str

    @property
    def rows(self) -> Rows:
        return tuple((self.number, str(row)) for row in range(self.count))

    @property
    def text(self) -> str:
        text = "id,note\n" + "".join(f"{number},{note}\n" for number, note in self.rows)
        if self.flaw == "value":
            # Not the same for two numbers: the model tells contents apart by their numbers.
            return text.replace(f"\n{self.number}", f"\nx{str(self.number)[1:]}", 1)
        return text.replace("note", "nota") if self.flaw else text


@dataclass(frozen=True)
class Landed:
    """A file as the model knows it: each change of any kind makes it another version."""

    content: Content
    version: int


Asked = dict[str, tuple[LandedFile, Landed]]


class LedgerRow(NamedTuple):
    """What the ledger's table says of a file."""

    status: str
    content_hash: str
    row_count: int


class IngestMachine(RuleBasedStateMachine):
    """Plays histories of one feed's folder, and knows what table and ledger must hold.

    `files` is what lies in the folder, `held` the rows in the table, and `judged` the content that
    was last loaded or refused, each by partition key. `seed` chooses the histories of a short run.
    """

    feed = NOTES
    seed = 1

    def __init__(
        self, bench: Workbench, clock: SteppedClock, holder: Child, seen: Counter[str]
    ) -> None:
        super().__init__()
        self.bench, self.clock, self.holder, self.seen = bench, clock, holder, seen
        bench.stays_open = False
        shutil.rmtree(bench.landing_dir, ignore_errors=True)
        bench.path(self.feed, "").mkdir(parents=True)
        self.remove_database()
        clock.step_s, clock.step_s_at = 0, {}
        self.numbers = iter(range(100_000, 1_000_000))
        self.past: list[Content] = []
        self.files: dict[str, Landed] = {}
        self.held: dict[str, Rows] = {}
        self.judged: dict[str, Content] = {}
        self.asked: Asked = {}
        self.checked: object = None

    @property
    def removes_missing(self) -> bool:
        return self.feed.on_missing == "remove"

    def missing(self) -> set[str]:
        return self.judged.keys() - self.files.keys()

    def too_many_missing(self) -> bool:
        return 2 * len(self.missing()) > len(self.judged)

    def remove_database(self) -> None:
        self.bench.database.unlink(missing_ok=True)
        self.bench.database.with_name(self.bench.database.name + ".wal").unlink(missing_ok=True)

    # What happens to files

    def new_content(self, count: int, flaw: str) -> Content:
        # Without rows, files of one flaw are all the same.
        number, flaw = (next(self.numbers), flaw) if count else (0, flaw and "text")
        self.past.append(Content(number, count, flaw))
        return self.past[-1]

    def existing(self, pick: int) -> str:
        return sorted(self.files)[pick % len(self.files)]

    def note(self, key: str, content: Content) -> None:
        """Take note of a changed file, once its ctime is one that no file has had."""
        path = self.bench.path(self.feed, f"{key}.csv")
        while (status := path.stat()).st_ctime_ns in self.clock.step_s_at:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.clock.step_s_at[status.st_ctime_ns] = self.clock.step_s
        self.files[key] = Landed(content, next(self.numbers))

    def land(self, key: str, content: Content) -> None:
        self.bench.land(self.feed, f"{key}.csv", content.text)
        self.note(key, content)

    def change(self, change: Change) -> None:
        """Change a file; what needs one that is there puts one if there is none."""
        kind, key, pick, count, flaw = change
        if kind == "put" or not self.files:
            self.land(key, self.new_content(count, flaw))
            return
        old = self.existing(pick)
        path = self.bench.path(self.feed, f"{old}.csv")
        content = self.files[old].content
        if kind == "overwrite":
            content = self.new_content(count, flaw)
            path.write_text(content.text, encoding="utf-8")
            self.note(old, content)
        elif kind == "overwrite unseen":
            status = path.stat()
            content = self.new_content(content.count, flaw)
            path.write_text(content.text, encoding="utf-8")
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            self.note(old, content)
            after = path.stat()
            assert (after.st_size, after.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        elif kind == "touch":
            path.touch()
            self.note(old, content)
        elif kind == "rename":
            if key != old:
                path.rename(self.bench.path(self.feed, f"{key}.csv"))
                del self.files[old]
                self.note(key, content)
        else:
            path.unlink()
            del self.files[old]

    @rule(key=keys, count=counts)
    def put(self, key: str, count: int) -> None:
        self.change(("put", key, 0, count, ""))

    @rule(key=keys, count=counts, flaw=flaws.filter(bool))
    def put_a_bad_file(self, key: str, count: int, flaw: str) -> None:
        self.change(("put", key, 0, count, flaw))

    @precondition(lambda self: self.past)
    @rule(key=keys, pick=picks)
    def put_an_earlier_content(self, key: str, pick: int) -> None:
        self.land(key, self.past[-1 - pick % len(self.past)])

    @precondition(lambda self: self.files)
    @rule(pick=picks, count=counts)
    def overwrite(self, pick: int, count: int) -> None:
        self.change(("overwrite", "", pick, count, ""))

    @precondition(lambda self: self.files)
    @rule(pick=picks, flaw=flaws)
    def overwrite_with_the_same_size_and_mtime(self, pick: int, flaw: str) -> None:
        self.change(("overwrite unseen", "", pick, 0, flaw))

    @precondition(lambda self: self.files)
    @rule(pick=picks)
    def touch(self, pick: int) -> None:
        self.change(("touch", "", pick, 0, ""))

    @precondition(lambda self: self.files)
    @rule(pick=picks, key=keys)
    def rename(self, pick: int, key: str) -> None:
        self.change(("rename", key, pick, 0, ""))

    @precondition(lambda self: self.files)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        self.change(("delete", "", pick, 0, ""))

    @precondition(lambda self: len(self.files) > 1)
    @rule(kept=st.sets(keys, max_size=2))
    def delete_most(self, kept: set[str]) -> None:
        for key in sorted(self.files.keys() - kept):
            self.change(("delete", "", sorted(self.files).index(key), 0, ""))

    @rule(steps=st.sampled_from([-100, -2, -1, 1, 2, 100]))
    def step_the_clock(self, steps: int) -> None:
        self.clock.step_s += steps * CLOCK_STEP_SECONDS

    @rule(most=st.sampled_from([1, 10_000]))
    def set_aside_what_is_unchanged(self, most: int) -> None:
        """As if there were many files, or few."""
        found.MOST_OBJECTS = most

    # What is done about it

    def plan(self, settle_seconds: int) -> Asked:
        place = LocalLanding(self.bench.landing_dir, settle_seconds)
        listing = place.list_files(self.feed)
        plan = make_plan(self.feed, place.scan(self.feed), place, self.bench.warehouse)
        wanted = {file.partition_key: file for file in plan.files(Action.NEW, Action.CHANGED)}
        assert wanted.keys() == {
            key
            for key, landed in self.files.items()
            if landed.content != self.judged.get(key)
            and self.clock.is_settled(listing.by_key[key][0].path.stat(), settle_seconds)
        }
        if not self.removes_missing:
            assert set(plan.keys(Action.MISSING)) == self.missing()
        return {key: (file, self.files[key]) for key, file in wanted.items()}

    def load(self, asked: Asked, moment: str = "", act: Callable[[], None] | None = None) -> None:
        """Load files as a run does, with something that happens at a failpoint."""
        before, reached = dict(self.files), False

        def listen(name: str) -> None:
            nonlocal reached
            if act and name == moment and not reached:
                reached = True
                act()

        statuses: dict[str, OutcomeStatus] | None = None
        failpoints.listener = listen
        try:
            with self.bench.open_table(self.feed) as table:
                files = [file for file, _ in asked.values()]
                outcomes = load_files(table, self.bench.landing, files)
            statuses = {outcome.file.partition_key: outcome.status for outcome in outcomes}
        except Crash:
            self.seen[f"crashed {moment}"] += 1
        finally:
            failpoints.listener = None

        expected = {}
        for key, (_, landed) in asked.items():
            is_noticed = moment in NOTICED and self.files.get(key) != before.get(key)
            if moment == failpoints.MID_INSERT and landed.content.flaw:
                is_noticed = False  # it was refused before the others of its batch got there
            if before.get(key) != landed:
                expected[key] = OutcomeStatus.CHANGED
            elif landed.content.flaw == "text":
                expected[key] = OutcomeStatus.REFUSED
            elif is_noticed:
                expected[key] = OutcomeStatus.CHANGED
                self.seen["changed while it was read"] += 1
            elif landed.content.flaw:
                expected[key] = OutcomeStatus.REFUSED
            else:
                expected[key] = OutcomeStatus.LOADED
        if statuses is not None:
            assert statuses == expected
            self.seen.update(str(status) for status in statuses.values())
        for key, status in expected.items():
            is_committed = statuses is not None or moment == failpoints.AFTER_COMMIT
            if status == OutcomeStatus.LOADED and is_committed:
                self.held[key] = asked[key][1].content.rows
                self.judged[key] = asked[key][1].content
            elif status == OutcomeStatus.REFUSED and statuses is not None:
                self.judged[key] = asked[key][1].content

    def choose(self, chosen: set[str], asked_earlier: bool) -> Asked:
        """Choose files that a tick has asked for, or would; a run without any is not started."""
        asked = self.asked if asked_earlier and self.asked else self.plan(settle_seconds=0)
        if not asked:
            for key in chosen:
                self.land(key, self.new_content(count=1, flaw=""))
            asked = self.plan(settle_seconds=0)
        return {key: asked[key] for key in asked if key in chosen} or asked

    def level(self, settle_seconds: int) -> None:
        report = sync_feed(
            self.feed,
            self.bench.landing_dir,
            self.bench.database,
            settle_seconds=settle_seconds,
            lock_wait_seconds=0,
        )
        if self.removes_missing:
            # How many are missing at once is for certain only when all that landed is loaded.
            self.bench.sync(self.feed)
        assert {record.partition_key for record in report.loaded} == {
            key
            for key, landed in self.files.items()
            if landed.content != self.judged.get(key) and not landed.content.flaw
        }
        assert {record.partition_key for record in report.refused} == {
            key for key, landed in self.files.items() if landed.content.flaw
        }
        for key, landed in self.files.items():
            self.judged[key] = landed.content
            if not landed.content.flaw:
                self.held[key] = landed.content.rows
        if self.removes_missing and not self.too_many_missing():
            self.forget(self.missing())
        elif self.removes_missing:
            self.seen["too many missing"] += 1

    def forget(self, removed: set[str]) -> None:
        self.seen["removed"] += len(removed)
        for key in removed:
            del self.judged[key]
            self.held.pop(key, None)

    @rule(settle_seconds=settle_times)
    def tick(self, settle_seconds: int) -> None:
        self.asked = self.plan(settle_seconds)

    @rule(chosen=key_sets, asked_earlier=st.booleans())
    def run(self, chosen: set[str], asked_earlier: bool) -> None:
        self.load(self.choose(chosen, asked_earlier))

    @rule(settle_seconds=settle_times)
    def sync(self, settle_seconds: int) -> None:
        self.level(settle_seconds)

    def crash(self, chosen: set[str], asked_earlier: bool, moment: str) -> None:
        def die() -> None:
            raise Crash

        self.load(self.choose(chosen, asked_earlier), moment, die)

    @precondition(lambda self: self.files)
    @rule(chosen=key_sets, asked_earlier=st.booleans(), moment=st.sampled_from(UNCOMMITTED))
    def crash_before_the_commit(self, chosen: set[str], asked_earlier: bool, moment: str) -> None:
        self.crash(chosen, asked_earlier, moment)

    @precondition(lambda self: self.files)
    @rule(chosen=key_sets, asked_earlier=st.booleans())
    def crash_after_the_commit(self, chosen: set[str], asked_earlier: bool) -> None:
        self.crash(chosen, asked_earlier, failpoints.AFTER_COMMIT)

    @precondition(lambda self: self.files)
    @rule(chosen=key_sets, moment=st.sampled_from(NOTICED), change=changes)
    def change_while_read(self, chosen: set[str], moment: str, change: Change) -> None:
        asked = self.choose(chosen, asked_earlier=False)
        self.load(asked, moment, lambda: self.change(change))

    @precondition(lambda self: self.files)
    @rule(chosen=key_sets, moment=st.sampled_from(UNNOTICED), change=changes)
    def change_once_read(self, chosen: set[str], moment: str, change: Change) -> None:
        asked = self.choose(chosen, asked_earlier=False)
        self.load(asked, moment, lambda: self.change(change))

    @contextmanager
    def held_by_another_process(self) -> Iterator[None]:
        self.holder.go_on()
        self.holder.wait_for("held")
        try:
            yield
        finally:
            self.holder.go_on()
            self.holder.wait_for("free")

    @precondition(lambda self: self.files)
    @rule(work=st.sampled_from(["tick", "run", "sync"]))
    def find_the_database_locked(self, work: str) -> None:
        does: dict[str, Callable[[], object]] = {
            "tick": lambda: self.plan(settle_seconds=0),
            "run": lambda: self.load(self.asked),
            "sync": lambda: self.level(settle_seconds=0),
        }
        with self.held_by_another_process(), pytest.raises(WarehouseLockedError):
            does[work]()
        self.seen["locked"] += 1

    @precondition(lambda self: self.held)
    @rule()
    def lose_the_database(self) -> None:
        self.remove_database()
        self.held, self.judged = {}, {}

    # What must be true

    def look(self) -> tuple[dict[str, Rows], dict[str, LedgerRow]]:
        """Read table and ledger, past all code that is tested."""
        found: dict[str, Rows] = {}
        ledger: dict[str, LedgerRow] = {}
        if not self.bench.database.exists():
            return found, ledger
        with (
            duckdb.connect(str(self.bench.database), read_only=True) as connection,
            suppress(duckdb.CatalogException),
        ):
            for key, source_file, *row in connection.execute(
                "SELECT partition_key, source_file, status, content_hash, row_count "
                f"FROM {LEDGER_TABLE} WHERE feed = ?",
                [self.feed.name],
            ).fetchall():
                assert source_file == f"{key}.csv"
                assert key not in ledger
                ledger[key] = LedgerRow(*row)
            rows = connection.execute(
                "SELECT partition_key, source_file, id, note "
                f"FROM {quote_identifier(self.feed.table)} ORDER BY ALL"
            ).fetchall()
            for key, source_file, number, note in rows:
                assert source_file == f"{key}.csv"
                found[key] = (*found.get(key, ()), (number, note))
        return found, ledger

    @invariant()
    def table_and_ledger_are_true(self) -> None:
        state = self.bench.database.stat() if self.bench.database.exists() else None
        known = (state and (state.st_mtime_ns, state.st_size), dict(self.held), dict(self.judged))
        if known == self.checked:
            return
        table, ledger = self.look()
        assert {key: len(rows) for key, rows in table.items()} == {
            key: row.row_count for key, row in ledger.items() if row.row_count
        }
        if self.removes_missing and (removed := self.judged.keys() - ledger.keys()):
            assert removed <= self.missing()
            assert not self.too_many_missing()
            self.forget(removed)
        assert table == {key: rows for key, rows in self.held.items() if rows}
        assert {key: (row.status, row.content_hash) for key, row in ledger.items()} == {
            key: (
                LoadStatus.REFUSED if content.flaw else LoadStatus.LOADED,
                sha256(content.text.encode()).hexdigest(),
            )
            for key, content in self.judged.items()
        }
        self.checked = known

    def teardown(self) -> None:
        if sys.exc_info()[0] is not None:
            return
        self.level(settle_seconds=0)
        self.table_and_ledger_are_true()
        assert self.plan(settle_seconds=0) == {}
        for key, landed in self.files.items():
            assert landed.content.flaw or self.held[key] == landed.content.rows


class RemovingMachine(IngestMachine):
    """A feed whose partitions go when their files go."""

    feed = change_feed(NOTES, on_missing="remove")
    seed = 9


HOLD_WHEN_TOLD = """
while True:
    pause("free")
    with bench.connect():
        pause("held")
"""


@pytest.fixture
def play(
    bench: Workbench, start_child: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch
) -> Callable[[type[IngestMachine]], Counter[str]]:
    """Play histories on a machine, and count what happened in them."""
    monkeypatch.setattr(found, "MOST_OBJECTS", found.MOST_OBJECTS)
    clock, seen = SteppedClock(), Counter[str]()

    def landed_file(
        key: str, name: str, version: str, size_bytes: int, ctime_ns: int, place: Place
    ) -> LandedFile:
        return LandedFile(key, name, version, size_bytes, clock.step_ctime(ctime_ns), place)

    monkeypatch.setattr(landing, "time", clock)
    monkeypatch.setattr(sync, "time", clock)
    monkeypatch.setattr(names, "LandedFile", landed_file)

    def run(machine: type[IngestMachine]) -> Counter[str]:
        holder = start_child(HOLD_WHEN_TOLD)
        holder.wait_for("free")

        def make() -> IngestMachine:
            return machine(bench, clock, holder, seen)

        run_state_machine_as_test(
            cast("type[RuleBasedStateMachine]", seed(machine.seed)(make) if IS_SEEDED else make),
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=30,
                database=None,
                deadline=None,
                # To shrink a history takes minutes.
                phases=[Phase.generate, *([Phase.shrink] if not IS_SEEDED else [])],
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
        print(dict(seen))
        return +seen

    return run


HAPPENS_SOON = {str(OutcomeStatus.LOADED), str(OutcomeStatus.REFUSED)}
HAPPENS = {
    # Only a run of the import asset alone surveys a file without loading it.
    *(str(status) for status in OutcomeStatus if status is not OutcomeStatus.SURVEYED),
    "locked",
    f"crashed {failpoints.MID_INSERT}",
    f"crashed {failpoints.AFTER_COMMIT}",
}


def test_whatever_happens_the_table_equals_the_folder_and_missing_files_keep_their_rows(
    play: Callable[[type[IngestMachine]], Counter[str]],
) -> None:
    seen = play(IngestMachine)
    assert seen.keys() >= HAPPENS_SOON
    assert seen.keys() >= HAPPENS or HISTORIES < MANY_HISTORIES


def test_whatever_happens_the_table_equals_the_folder_and_missing_files_take_their_rows(
    play: Callable[[type[IngestMachine]], Counter[str]],
) -> None:
    seen = play(RemovingMachine)
    assert seen.keys() >= HAPPENS_SOON
    assert seen.keys() >= HAPPENS | {"removed", "too many missing"} or HISTORIES < MANY_HISTORIES
