"""`list_since_days` in Dagster: ticks look at a window, and what is before it is found at night."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components import sensor
from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.engine import list_since
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.list_since import find_first_name
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from support.define import DefinedFeed, define_feed, define_location
from support.location import Location

Query = Callable[..., list[tuple[Any, ...]]]
NOW = datetime.now(UTC)
TODAY = NOW.date()
OLD = ["2018-01-02", "2019-03-04", "2020-05-06", "2021-07-08"]
NEW = [str(TODAY - timedelta(days=days)) for days in (3, 2, 0)]
DECLARED: dict[str, Any] = {
    "name": "days",
    "pattern": "{date:%Y}/{date:%m}/{date:%d}/prices.csv",
    "columns": {"id": "BIGINT"},
    "start": "2018-01-01",
    "list_since_days": 7,
}


class StoppedClock(datetime):
    """The clock of all looks, so that midnight changes none of them."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return NOW.astimezone(tz)


@pytest.fixture(autouse=True)
def _stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (list_since, sensor):
        monkeypatch.setattr(module, "datetime", StoppedClock)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first name of each look that takes place, the latest last."""
    begun, scan = list[str](), LocalLanding.scan

    def note(landing: LocalLanding, feed: Feed, bounds: Any = None, first_name: str = "") -> Any:
        begun.append(first_name)
        return scan(landing, feed, bounds, first_name)

    monkeypatch.setattr(LocalLanding, "scan", note)
    return begun


class Days:
    """A location of one feed with `list_since_days`, and its folder."""

    def __init__(self, folder: Path, query: Query, instance: dg.DagsterInstance, **declared: Any):
        self.folder, self.query, self.instance = folder / "days", query, instance
        self.folder.mkdir()
        self.declare(**declared)

    def declare(self, **declared: Any) -> None:
        """Let the code location have the feed with other attributes, and its sensors go on."""
        cursors = self.location.cursors if hasattr(self, "location") else {}
        self.feed = Feed.model_validate(DECLARED | declared)
        self.defined: DefinedFeed = define_feed(self.feed)
        self.location = Location(define_location(self.defined), self.defined, self.instance)
        self.location.cursors.update(cursors)

    @property
    def first_name(self) -> str:
        return find_first_name(self.feed)

    def path(self, day: str) -> Path:
        return self.folder / day.replace("-", "/") / "prices.csv"

    def land(self, *days: str, number: int = 1) -> None:
        for day in days:
            self.path(day).parent.mkdir(parents=True, exist_ok=True)
            self.path(day).write_text(f"id\n{number}\n", encoding="utf-8")

    def settle(self) -> list[str]:
        """Tick and execute until nothing is asked for; give the keys that were."""
        return sorted(key for keys in self.location.settle() for key in keys)

    def tick(self) -> list[str]:
        """Tick once; give the keys that are asked for."""
        return sorted(key for one in self.location.tick() for key in self.location.keys(one))

    def rows(self) -> dict[str, int]:
        return dict(self.query("SELECT partition_key, id FROM days"))

    def held(self, days: Sequence[str], number: int = 1) -> bool:
        return self.rows() == dict.fromkeys(days, number)


@pytest.fixture
def days(landing_dir: Path, query: Query, instance: dg.DagsterInstance, looks: list[str]) -> Days:
    """A feed of which four old days and three new ones are loaded."""
    made = Days(landing_dir, query, instance)
    made.land(*OLD, *NEW)
    assert made.settle() == sorted([*OLD, *NEW])
    made.tick()
    looks.clear()
    return made


def test_a_tick_looks_at_the_window_and_names_it(days: Days, looks: list[str]) -> None:
    days.land(NEW[1], number=2)
    days.land(OLD[0], "2018-01-03", number=2)
    [request] = days.location.tick()
    assert looks == [days.first_name]
    assert days.location.keys(request) == [NEW[1]]
    assert days.tick() == [NEW[1]]
    days.location.execute(request)
    assert days.tick() == []
    assert f"files from {days.first_name} on: 3 identical" in days.location.skipped
    assert {*looks} == {days.first_name}
    assert days.rows() == dict.fromkeys([*OLD, *NEW], 1) | {NEW[1]: 2}


def test_what_lands_late_is_loaded_at_night(days: Days, looks: list[str]) -> None:
    days.land(OLD[0], "2018-01-03", number=2)
    assert days.tick() == []
    done = days.location.reconcile()
    assert done.success
    assert looks.count("") == 1
    assert days.rows() == dict.fromkeys([*OLD, *NEW], 1) | {OLD[0]: 2, "2018-01-03": 2}
    assert days.location.status("2018-01-03") == "MATERIALIZED"
    assert days.location.check() == (True, [])
    assert days.settle() == []


def test_a_date_in_the_future_is_in_the_window(days: Days) -> None:
    days.land(str(TODAY + timedelta(days=30)))
    days.tick()
    # It has no partition yet, and is named.
    assert "1 not loadable" in days.location.skipped


def test_the_first_flood_is_looked_at_as_a_whole_until_it_is_loaded(
    landing_dir: Path,
    query: Query,
    instance: dg.DagsterInstance,
    looks: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAX_FILES_PER_RUN", "2")
    days = Days(landing_dir, query, instance)
    days.land(*OLD, *NEW)
    asked = []
    while requests := days.location.tick():
        asked.append(
            (looks[-1], sorted(key for one in requests for key in days.location.keys(one)))
        )
        for request in requests:
            days.location.execute(request)
    # What is left in the window does not need a look at all.
    in_window = (days.first_name, NEW[2:])
    assert asked == [("", OLD[:2]), ("", OLD[2:]), ("", NEW[:2]), in_window]
    assert days.held([*OLD, *NEW])


def test_a_file_that_is_never_loaded_does_not_keep_ticks_looking_at_all(
    landing_dir: Path, query: Query, instance: dg.DagsterInstance, looks: list[str]
) -> None:
    days = Days(landing_dir, query, instance)
    days.land(*OLD[1:])
    days.path(OLD[0]).parent.mkdir(parents=True)
    days.path(OLD[0]).write_text("id\nno number\n", encoding="utf-8")
    assert days.settle() == [*OLD]
    days.tick()
    assert looks[-1] == days.first_name
    # One that was given up, too, is left to the nightly job.
    days.declare(description="Others.")
    days.land(OLD[1], number=2)
    assert days.tick() == []
    for _ in range(MAX_ATTEMPTS):
        [request] = days.location.tick()
        assert looks[-1] == ""
        run = days.location.queue(request)
        instance.delete_run(run.run_id)
    assert days.tick() == []
    days.tick()
    assert looks[-1] == days.first_name


def test_with_another_definition_a_tick_looks_at_all(days: Days, looks: list[str]) -> None:
    days.land(OLD[0], number=2)
    assert days.tick() == []
    days.declare(columns={"id": "BIGINT", "note": {"type": "VARCHAR", "optional": True}})
    days.tick()
    assert days.settle() == [OLD[0]]
    assert "" in looks
    days.tick()
    assert looks[-1] == days.first_name


def test_a_lost_cursor_or_table_costs_a_look_at_all(
    days: Days, looks: list[str], database: Path
) -> None:
    days.location.cursor = None
    assert days.tick() == []
    assert looks == [""]
    database.unlink()
    days.settle()
    assert days.held([*OLD, *NEW])
    looks.clear()
    days.tick()
    days.tick()
    assert looks[-1] == days.first_name


def test_a_cursor_of_an_earlier_version_is_read(days: Days, looks: list[str]) -> None:
    cursor = json.loads(days.location.cursor or "")
    del cursor["complete_until"]
    days.location.cursor = json.dumps(cursor)
    assert days.tick() == []
    assert looks == [""]
    assert json.loads(days.location.cursor)["requests"] == cursor["requests"]


def test_after_ticks_that_did_not_take_place_the_window_is_longer(
    days: Days, looks: list[str]
) -> None:
    cursor = json.loads(days.location.cursor or "")
    cursor["complete_until"] -= timedelta(days=30).total_seconds()
    days.location.cursor = json.dumps(cursor)
    missed = str(TODAY - timedelta(days=33))
    days.land(missed)
    assert days.tick() == [missed]
    assert looks == [find_first_name(days.feed, datetime.now(UTC) - timedelta(days=30))]
    # The request is in the cursor, and its run looks at what it is asked for.
    days.tick()
    assert looks[-1] == days.first_name


def test_a_clock_that_was_set_back_looks_further_back(days: Days, looks: list[str]) -> None:
    cursor = json.loads(days.location.cursor or "")
    cursor["complete_until"] += timedelta(days=300).total_seconds()
    days.location.cursor = json.dumps(cursor)
    days.tick()
    assert looks == [days.first_name]


def test_a_run_looks_at_what_it_is_asked_for(days: Days, looks: list[str]) -> None:
    days.land(OLD[1], NEW[0], number=2)
    for day, first_name in ((NEW[0], days.first_name), (OLD[1], OLD[1].replace("-", "/"))):
        looks.clear()
        assert days.location.materialize(day).success
        assert days.rows()[day] == 2
        assert {*looks} <= {first_name, ""}
        assert looks[0] == first_name
    looks.clear()
    days.land(NEW[1], number=3)
    [request] = days.location.tick()
    done = days.location.execute(request)
    assert done.success
    # The check that compares all is left to those who ask for it.
    assert {*looks} == {days.first_name}
    of_check = {one.check_name: one for one in done.get_asset_check_evaluations()}
    matched = of_check[CHECK_NAMES.every_file_is_matched]
    assert matched.metadata["names_from"].value == days.first_name


def test_a_check_still_names_a_refused_file_that_was_not_looked_at(days: Days) -> None:
    days.path(OLD[1]).write_text("id\nno number\n", encoding="utf-8")
    assert not days.location.materialize(OLD[1]).success
    days.land(NEW[1], number=3)
    [request] = days.location.tick()
    done = days.location.execute(request)
    of_check = {one.check_name: one for one in done.get_asset_check_evaluations()}
    refused = of_check[CHECK_NAMES.matches_contract]
    assert not refused.passed
    assert list(refused.metadata["reasons"].value) == [OLD[1]]  # type: ignore[arg-type]


def test_only_the_night_removes_what_is_gone_before_the_window(
    landing_dir: Path, query: Query, instance: dg.DagsterInstance, looks: list[str]
) -> None:
    days = Days(landing_dir, query, instance, on_missing="remove")
    days.land(*OLD, *NEW)
    days.settle()
    days.tick()
    looks.clear()
    for day in OLD[:2]:
        days.path(day).unlink()
    assert days.settle() == []
    assert {*looks} == {days.first_name}
    assert days.held([*OLD, *NEW])
    assert days.location.reconcile().success
    assert days.held([*OLD[2:], *NEW])
    # Within the window a tick asks for it.
    days.path(NEW[0]).unlink()
    [request] = days.location.tick_removal()
    assert looks[-1] == days.first_name
    assert days.location.execute(request).success
    assert days.held([*OLD[2:], *NEW[1:]])


def test_names_of_old_dates_stay_registered(
    landing_dir: Path, query: Query, instance: dg.DagsterInstance
) -> None:
    days = Days(landing_dir, query, instance, pattern="{date:%Y-%m-%d}/{key}.csv")
    for day, name in ((OLD[0], "acme"), (NEW[0], "globex")):
        (days.folder / day).mkdir()
        (days.folder / day / f"{name}.csv").write_text("id\n1\n", encoding="utf-8")
    days.settle()
    for _ in range(2):
        assert days.location.tick_removal() == []
        assert days.tick() == []
    assert "files from" in days.location.skipped
    assert {*instance.get_dynamic_partitions("days")} == {"acme", "globex"}
    assert days.location.reconcile().success
    assert {*instance.get_dynamic_partitions("days")} == {"acme", "globex"}


def test_the_late_file_sensor_looks_at_the_window(
    landing_dir: Path, query: Query, instance: dg.DagsterInstance, looks: list[str]
) -> None:
    days = Days(landing_dir, query, instance, due_after_hours=0, list_since_days=9)
    days.land(*OLD, *NEW)
    days.settle()
    looks.clear()
    days.location._tick(days.location.defs.resolve_sensor_def("late_file_sensor"))
    assert looks == [days.first_name]
