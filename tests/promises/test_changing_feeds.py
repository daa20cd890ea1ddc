"""Whatever lands under whatever name, and however its feed changes, the table is what is declared.

Histories run on the real code; a model that knows nothing of it says which file stands for what.
"""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.forget import forget_files, list_held_files
from partitioned_etl.engine.landing import found
from partitioned_etl.engine.plan import Action, Plan
from partitioned_etl.engine.reconcile import DifferenceKind, compare_table
from partitioned_etl.engine.unmatched import list_unmatched
from support.scale import IS_SEEDED, examples
from support.workbench import Workbench

pytestmark = [pytest.mark.slow, pytest.mark.scaled]

HISTORIES = 3 if IS_SEEDED else examples(100)
MANY_HISTORIES = 60
"""In so many, all happens that can."""
HAPPENS = ("new", "changed", "stale", "superseded", "missing", "refused", "crashed", "forgotten")
STEPS = 30
PATTERNS = {
    "{date:%Y-%m-%d}.csv": r"(?P<key>\d{4}-\d\d-\d\d)\.csv",
    "{date:%Y-%m-%d}{version}.csv": r"(?P<key>\d{4}-\d\d-\d\d)(?P<version>.*)\.csv",
    "{date:%Y-%m-%d}_{part}.csv": r"(?P<key>\d{4}-\d\d-\d\d)_(?P<part>.+)\.csv",
    "{date:%Y-%m-%d}_{part}-{version}.csv": (
        r"(?P<key>\d{4}-\d\d-\d\d)_(?P<part>.+?)-(?P<version>.*)\.csv"
    ),
    "{date:%Y-%m}.csv": r"(?P<key>\d{4}-\d\d)\.csv",
}
"""The patterns that the feed is declared with, and what the model reads names by."""
COLUMNS: list[dict[str, object]] = [
    {"id": "INTEGER", "note": "VARCHAR"},
    {"id": "BIGINT", "note": "VARCHAR"},
    {"id": "BIGINT", "note": "VARCHAR", "extra": {"type": "VARCHAR", "optional": True}},
]
NAMES = [
    *(
        f"2024-01-0{day}{rest}.csv"
        for day in (1, 2)
        for rest in ("", "_1", "_2", "_2-", "_2-1", "_2-10", "_v2", " (1)")
    ),
    *("2024-01.csv", "2024-02.csv", "2024-01-01.txt", "notes.csv", "2024-13.csv"),
]

kinds = st.sampled_from(["delete", "put", "replace", "touch", "delete"])
works = st.sampled_from(["sync", "sync", "sync", "forget", *failpoints.ALL])
some_names = st.lists(st.sampled_from(NAMES), min_size=4, max_size=12)
patterns = st.sampled_from(list(PATTERNS))
columns = st.integers(0, len(COLUMNS) - 1)
picks = st.integers(0, 99)


class Crash(BaseException):
    """Ends a load as nothing that the load itself could handle."""


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        number: A number that no other file has.
        count: How many rows.
        has_extra: Whether it has the column that came later.
        is_bad: Whether a value is none of its column.
    """

    number: int
    count: int
    has_extra: bool
    is_bad: bool

    @property
    def text(self) -> str:
        names = ["id", "note", *(["extra"] if self.has_extra else [])]
        rows = [
            ["x" if self.is_bad and row == 0 else str(self.number), str(row), f"e{row}"]
            for row in range(self.count)
        ]
        lines = [names, *(row[: len(names)] for row in rows)]
        return "".join(",".join(line) + "\n" for line in lines)

    def is_refused(self, declared: dict[str, object]) -> bool:
        """Return whether a feed with some columns refuses it."""
        return (self.is_bad and self.count > 0) or (self.has_extra and "extra" not in declared)

    def rows(self, declared: dict[str, object]) -> list[tuple[object, ...]]:
        """Return number, note and, if the feed has the column, extra of each row."""
        has_extra = self.has_extra and "extra" in declared
        extras = [f"e{row}" if has_extra else None for row in range(self.count)]
        return [(self.number, str(row), extra) for row, extra in enumerate(extras)]


def order(version: str) -> list[tuple[int, int, str]]:
    """Return what tells a higher version from a lower one."""
    pieces = [piece for piece in re.split(r"(\d+)", version) if piece]
    return [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]


class ChangingFeedMachine(RuleBasedStateMachine):
    """Plays histories of a folder and of the declaration of its feed.

    `files` is what lies in the folder, by name.
    """

    def __init__(self, bench: Workbench, seen: Counter[str]) -> None:
        super().__init__()
        self.bench, self.seen = bench, seen
        shutil.rmtree(bench.landing_dir, ignore_errors=True)
        with bench.connect() as duck:
            for table in bench.tables():
                duck.execute(f"DROP TABLE {table}")
        self.pattern, self.columns = next(iter(PATTERNS)), 0
        bench.path(self.feed, "").mkdir(parents=True)
        self.files: dict[str, Content] = {}
        self.number = 0

    @property
    def feed(self) -> Feed:
        """The feed as it is declared now."""
        return Feed.model_validate(
            {
                "name": "events",
                "pattern": self.pattern,
                "columns": COLUMNS[self.columns],
                "start": "2024-01-01",
            }
        )

    def stand(self) -> dict[str, tuple[str, Content]]:
        """Return partition key and content of each file that stands for something, by its name."""
        best: dict[tuple[str, str], tuple[list[tuple[int, int, str]], str, str]] = {}
        for name in self.files:
            match = re.fullmatch(PATTERNS[self.pattern], name)
            if not match or name == "2024-13.csv":
                continue
            groups = match.groupdict()
            key = groups["key"] + ("-01" if len(groups["key"]) == len("2024-01") else "")
            slot, rank = (key, groups.get("part", "")), order(groups.get("version", ""))
            best[slot] = max(best.get(slot, ([], "", key)), (rank, name, key))
        return {name: (key, self.files[name]) for _, name, key in best.values()}

    # What happens

    def land(self, name: str, *, has_extra: bool = False, is_bad: bool = False) -> None:
        self.number += 1
        self.files[name] = Content(self.number, self.number % 3, has_extra, is_bad)
        self.bench.land(self.feed, name, self.files[name].text)

    @initialize(chosen=some_names, most_objects=st.sampled_from([1, 10_000]))
    def begin(self, chosen: list[str], most_objects: int) -> None:
        # Whether what is unchanged is set aside, as of many files.
        found.MOST_OBJECTS = most_objects
        for name in chosen:
            self.land(name)

    # Hypothesis leaves out rules in some histories, so few rules do much.
    @rule(kind=kinds, chosen=some_names, pick=picks, has_extra=st.booleans(), is_bad=st.booleans())
    def change_files(
        self, kind: str, chosen: list[str], pick: int, has_extra: bool, is_bad: bool
    ) -> None:
        if kind == "put" or not self.files:
            for name in chosen:
                self.land(name, has_extra=has_extra)
            return
        some = sorted(self.stand()) or sorted(self.files)
        name = some[pick % len(some)]
        if kind == "replace":
            self.land(name, is_bad=is_bad)
        elif kind == "touch":
            self.bench.path(self.feed, name).touch()
        else:
            self.bench.path(self.feed, name).unlink()
            del self.files[name]

    @rule(pattern=patterns, chosen=columns)
    def declare(self, pattern: str, chosen: int) -> None:
        self.pattern = pattern
        # To narrow a type is left to a person, and tested elsewhere.
        self.columns = max(chosen, min(self.columns, 1))

    @rule(work=works)
    def work(self, work: str) -> None:
        if work == "sync":
            self.sync()
        elif work == "forget":
            self.forget_what_is_stale()
        else:
            self.crash(work)

    def crash(self, moment: str) -> None:
        def end(name: str) -> None:
            if name == moment:
                raise Crash

        failpoints.listener = end
        try:
            self.bench.sync(self.feed)
        except Crash:
            self.seen["crashed"] += 1
        finally:
            failpoints.listener = None

    def forget_what_is_stale(self) -> None:
        with self.bench.open_table(self.feed) as table:
            listing = self.bench.landing.list_files(self.feed)
            stale = list_held_files(table, listing, stale=True)
            forget_files(table, stale)
        self.seen["forgotten"] += len(stale)

    def sync(self) -> None:
        plan, before = self.plan(), self.loads()
        report = self.bench.sync(self.feed)
        expected, declared = self.stand(), COLUMNS[self.columns]
        # What was loaded under an earlier declaration stays.
        refused = {
            name
            for name, (_, one) in expected.items()
            if one.is_refused(declared)
            and name in plan.steps
            and plan.steps[name].action is not Action.IDENTICAL
        }
        assert {record.source_file for record in report.refused} == refused | {
            name for name in self.files if name == "2024-13.csv" and self.pattern.endswith("m}.csv")
        }
        planned = {file.name for file in plan.files(Action.NEW, Action.CHANGED)}
        assert {record.source_file for record in report.loaded} == planned - refused
        changed = {name for name, load in self.loads().items() if before.get(name) != load}
        assert changed == planned - refused
        self.seen.update({str(action): count for action, count in plan.count_actions().items()})
        self.look(expected, refused)

    def plan(self) -> Plan:
        return self.bench.plan(self.feed)

    def loads(self) -> dict[str, object]:
        """Return when each file was loaded whose rows the table has."""
        if "file_loads" not in self.bench.tables():
            return {}
        return {
            row.source_file: row.loaded_at for row in self.bench.ledger(self.feed) if row.loaded_at
        }

    def look(self, expected: dict[str, tuple[str, Content]], refused: set[str]) -> None:
        """Hold the table against the model, and what is said of the rest against the rest."""
        if "events" not in self.bench.tables():
            assert {name for name in expected if name not in refused} == set()
            return
        declared = COLUMNS[self.columns]
        described = {name for name, *_ in self.bench.query("DESCRIBE events")}
        extra = "extra" if {"extra"} <= declared.keys() & described else "NULL"
        rows: dict[tuple[str, str], list[tuple[object, ...]]] = {}
        for key, name, *row in self.bench.query(
            f"SELECT partition_key, source_file, id, note, {extra} FROM events ORDER BY ALL"
        ):
            rows.setdefault((key, name), []).append(tuple(row))
        for name, (key, content) in expected.items():
            if name in refused:
                continue
            assert rows.pop((key, name), []) == content.rows(declared) or (
                # Rows that were loaded before the column was declared have no value in it.
                "extra" in declared and content.count == 0
            )
        plan = self.plan()
        told = {
            step.name
            for step in plan.steps.values()
            if step.action in (Action.STALE, Action.MISSING, Action.UNUSABLE)
        }
        replaced = {expected[name][0] for name in refused}
        for key, name in rows:
            assert name in told or name in refused or key in replaced
        with self.bench.open_table(self.feed) as table:
            listing = self.bench.landing.list_files(self.feed)
            differences = compare_table(table, listing).differences
        kinds = {difference.kind for difference in differences}
        assert kinds <= {DifferenceKind.STALE, DifferenceKind.UNUSABLE}
        assert (DifferenceKind.STALE in kinds) == bool(plan.stale)
        for row in self.bench.ledger(self.feed):
            assert not (row.is_superseded and row.row_count)
        unmatched = list_unmatched(self.feed, listing.ignored, [self.feed])
        assert {entry.name for entry in unmatched} == {
            name for name in self.files if not re.fullmatch(PATTERNS[self.pattern], name)
        }
        self.bench.assert_level(self.feed)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:
            self.sync()
            self.forget_what_is_stale()
            self.sync()
            assert self.plan().stale == []


@pytest.fixture
def play(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """Play histories, and count what happened in them."""
    monkeypatch.setattr(found, "MOST_OBJECTS", found.MOST_OBJECTS)

    def run() -> Counter[str]:
        seen = Counter[str]()

        def make() -> ChangingFeedMachine:
            return ChangingFeedMachine(bench, seen)

        run_state_machine_as_test(
            cast("type[RuleBasedStateMachine]", seed(3)(make) if IS_SEEDED else make),
            settings=settings(
                max_examples=HISTORIES,
                stateful_step_count=STEPS,
                database=None,
                deadline=None,
                # To shrink a history takes minutes.
                phases=[Phase.generate, *([Phase.shrink] if not IS_SEEDED else [])],
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
        print(dict(seen))
        return seen

    return run


def test_however_a_feed_changes_the_table_is_what_is_declared_or_a_person_is_asked(
    play: Callable[[], Counter[str]],
) -> None:
    seen = play()
    assert seen["new"]
    assert min(seen[what] for what in HAPPENS) > 0 or HISTORIES < MANY_HISTORIES
