"""Many files: a plan is the same, whether DuckDB sets aside what is unchanged or not."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing import found
from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.landing.local import LocalFolder, LocalLanding
from partitioned_etl.engine.landing.names import Bounds, Scan
from partitioned_etl.engine.list_since import is_left_out
from partitioned_etl.engine.plan import Action, Plan, find_removable, make_plan
from partitioned_etl.engine.sql import LEDGER_TABLE
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from partitioned_etl.engine.warehouse.ledger import LedgerRow, LoadStatus, ledger_row, upsert_rows
from partitioned_etl.engine.warehouse.warehouse import FeedTable, OpenWarehouse, Warehouse
from support.scale import try_examples
from support.workbench import NOTES

DECLARED = {"name": "notes", "columns": dict(NOTES.columns), "key_pattern": r"[^|/]+"}
FEEDS = {
    "names": {"pattern": "{key}.csv"},
    "dates": {"pattern": "{date:%Y-%m-%d}.csv"},
    "parts": {"pattern": "{key}_{part}.csv"},
    "some parts": {"pattern": "{key}_{part}.csv", "part_count": 2},
    "versions": {"pattern": "{key}_{version}.csv"},
    "parts in versions": {"pattern": "{key}_{part}_{version}.csv"},
    "names and dates": {"pattern": "{key}/{date:%Y-%m-%d}.csv"},
    "markers": {"pattern": "{key}.csv", "done_suffix": ".done"},
    "dates and parts": {"pattern": "{date:%Y-%m-%d}/{part}.csv"},
    "dates and names": {"pattern": "{date:%Y-%m-%d}/{key}.csv", "done_suffix": ".done"},
}
ALIKE = ("a", "A", "ä", "a\N{COMBINING DIAERESIS}", "ß", "ss")
NAMES = (*ALIKE, "b", "a_1", "a_2", "A_1", "a_2_v2", "b_1")
DATES = ("2018-01-01", "2018-01-02")
LOADED_AT = datetime(2024, 1, 2, tzinfo=UTC)


State = tuple[Feed, list[LandedFile], list[LedgerRow], Bounds | None, str]


def define(declared: dict[str, Any]) -> Feed:
    return Feed.model_validate(DECLARED | declared)


def list_names(feed: Feed) -> list[str]:
    """Give names that a feed may have: alike, of one partition, of one part, of one version."""
    names = NAMES
    if "{date" in feed.pattern:
        names = [f"{name}/{date}" for name in NAMES for date in DATES]
        if feed.file_names.has_leading_date:
            names = [f"{date}/{name}" for name in NAMES for date in DATES]
        names = names if "/" in feed.pattern else DATES
    return [name + suffix for name in names for suffix in (".csv", ".csv.gz", ".csv.done")]


@st.composite
def states(draw: st.DrawFn) -> State:
    """Draw a feed, what has landed, what its ledger says, and what else decides about a file."""
    feed = define(FEEDS[draw(st.sampled_from(sorted(FEEDS)))])
    place = LocalFolder(Path("/nowhere"))
    landed, rows = list[LandedFile](), list[LedgerRow]()
    for name in draw(st.lists(st.sampled_from(list_names(feed)), unique=True, max_size=12)):
        match = feed.file_names.match(name)
        key = feed.file_names.key_of(match) if match else "elsewhere"
        file = LandedFile(key, name, "1-1", 1, 1, place)
        # Mostly, a file has landed and is in the ledger as it is.
        change = draw(
            st.sampled_from(["", "", "", "", "new", "gone", "version", "key", *LoadStatus])
        )
        if change != "gone":
            landed.append(file)
        if change == "new" or not match:
            continue
        row = ledger_row(
            feed,
            file._replace(version="2-2") if change == "version" else file,
            status=LoadStatus(change) if change in list(LoadStatus) else LoadStatus.LOADED,
            row_count=draw(st.integers(0, 3)),
            rejected_count=draw(st.integers(0, 2)),
            left_out=draw(st.sampled_from([(), (), (), ("note",), ("other",)])),
            loaded_at=LOADED_AT + timedelta(seconds=draw(st.integers(0, 3))),
            run_id=draw(st.sampled_from(["", "one", "other"])),
        )
        if change == "key":
            row = row._replace(partition_key=draw(st.sampled_from(["a", "A", "b", DATES[0]])))
        if change in (LoadStatus.REFUSED, LoadStatus.SUPERSEDED):
            row = row._replace(loaded_at=draw(st.sampled_from([None, row.loaded_at])))
        rows.append(row)
    outside = draw(st.sets(st.sampled_from(["b", "a|2018-01-02", *DATES]), max_size=1))
    shared = draw(st.sets(st.sampled_from(list_names(feed)), max_size=2))
    bounds = Bounds(
        lambda key: "outside" if key in outside else "",
        lambda name: "shared" if name in shared else "",
    )
    first_name = draw(st.sampled_from(["", "2018", *DATES])) if is_sorted(feed) else ""
    return feed, landed, rows, draw(st.sampled_from([None, bounds])), first_name


def is_sorted(feed: Feed) -> bool:
    """Give whether a feed may have `list_since_days`."""
    return feed.file_names.has_leading_date


def scan(feed: Feed, landed: list[LandedFile], bounds: Bounds | None, first_name: str = "") -> Scan:
    seen = Scan(feed, LocalFolder(Path("/nowhere")), bounds, first_name)
    for file in landed:
        if is_left_out(file.name, first_name) or seen.take_marker(file.name):
            continue
        if match := feed.file_names.match(file.name):
            seen.add(match, file.version, file.size_bytes, file.landed_ns)
        else:
            seen.ignore(file.name)
    return seen


@dataclass(frozen=True)
class OpenAlways:
    """A warehouse that stays open, because to open it takes longer than all else."""

    opened: OpenWarehouse

    def exists(self) -> bool:
        return True

    def open_read_only(self, **_: Any) -> AbstractContextManager[Any]:
        return nullcontext(self.opened)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAlways]:
    path = tmp_path_factory.mktemp("database") / "warehouse.duckdb"
    with DuckDBFile(path).open(Path("/nowhere")) as opened:
        yield OpenAlways(opened)


def fill(table: FeedTable, rows: list[LedgerRow]) -> None:
    table.prepare()
    with table.transaction():
        table.duck.execute(f"DELETE FROM {LEDGER_TABLE}")
        upsert_rows(table.duck, rows)


def describe(plan: Plan, feed: Feed) -> dict[str, Any]:
    """Give all that is asked of a plan, whichever files it has set aside."""
    actions = {step.name: (step.partition_key, step.action) for step in plan.steps.values()}
    set_aside = {file.name: (file.partition_key, Action.IDENTICAL) for file in plan.unchanged}
    assert actions.keys().isdisjoint(set_aside)
    removal = find_removable(feed, plan)
    identical = [step for step in plan.steps.values() if step.action is Action.IDENTICAL]
    rows = {step.name: step.row_count for step in identical}
    later, keys = LOADED_AT.timestamp() + 1, ("a", "b", "ß", *DATES)
    return {
        "actions": actions | set_aside,
        "rows": rows | {file.name: file.row_count for file in plan.unchanged},
        "ignored": plan.ignored,
        "refused": plan.refused,
        "stale": sorted(row.source_file for row in plan.stale),
        "counts": [plan.count_actions()[action] for action in Action],
        "landed keys": sorted(plan.landed_keys),
        "loads": [sorted({*plan.list_loads(since)}) for since in (0, later)],
        "totals": plan.sum_up(),
        "is first": plan.is_first,
        "removed": (sorted(removal.names), removal.brake),
        "candidates": sorted(file[:6] for file in plan.candidates(keys)),
    }


@pytest.mark.scaled
@given(state=states())
@try_examples(200)
def test_what_is_set_aside_changes_nothing_of_a_plan(warehouse: OpenAlways, state: State) -> None:
    feed, landed, rows, bounds, first_name = state
    fill(warehouse.opened.table(feed), rows)
    landing, place = LocalLanding(Path("/nowhere"), settle_seconds=0), cast("Warehouse", warehouse)
    most = found.MOST_OBJECTS
    try:
        planned = []
        for found.MOST_OBJECTS in (most, 1):
            looked = scan(feed, landed, bounds, first_name)
            planned.append(describe(make_plan(feed, looked, landing, place, read_only=True), feed))
    finally:
        found.MOST_OBJECTS = most
    assert planned[1] == planned[0]
    # As if nothing else had ever landed or been loaded.
    fill(warehouse.opened.table(feed), [row for row in rows if row.source_file >= first_name])
    late = [file for file in landed if file.name >= first_name]
    plan = make_plan(feed, scan(feed, late, bounds), landing, place, read_only=True)
    alone = describe(plan, feed)
    assert planned[0] == (alone | {"is first": False} if first_name else alone)
