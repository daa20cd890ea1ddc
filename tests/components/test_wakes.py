"""Ticks that rest until a notification wakes them, and messages that change nothing else."""

import json
import random
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from partitioned_etl.components import scans, sensor, wakes
from partitioned_etl.components.assets import FeedAssets
from partitioned_etl.components.wakes import UNFINISHED_SECONDS, Rest
from partitioned_etl.engine.errors import LandedFileError, WarehouseLockedError
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.notifications import registry
from partitioned_etl.engine.notifications.receiver import Receiver
from support import sample_location
from support.define import define_feed
from support.dev_server import find_free_port
from support.location import Location
from support.notifications import TestSource
from support.samples import price_rows
from support.workbench import NOTES

Query = Callable[..., list[tuple[Any, ...]]]
INTERVAL_SECONDS = 600
DEADLINE_S = 60


class WokenLocation(Location):
    """A location whose daemon is at work, at a time that the test sets.

    Attributes:
        source: Where its messages come from.
        later_seconds: How much later it is than it is.
        looks: How often a landing was looked at.
    """

    def __init__(self, instance: dg.DagsterInstance, landing_dir: Path, source: TestSource) -> None:
        super().__init__(sample_location.defs, sample_location.CUSTOMERS, instance)
        self.source, self.later_seconds, self.looks = source, 0.0, 0
        self._folder = landing_dir / "customers"

    def land(self, key: str, price: float = 1.0, *, says_so: bool = True) -> None:
        """Let a file land, and say so."""
        (self._folder / f"{key}.csv").write_text(price_rows(price), encoding="utf-8")
        if says_so:
            self.tell(key)

    def delete(self, key: str) -> None:
        (self._folder / f"{key}.csv").unlink(missing_ok=True)

    def tell(self, key: str) -> None:
        self.source.send(("", f"customers/{key}.csv"))

    @property
    def is_resting(self) -> bool:
        """Whether a tick, evaluated now, does not look."""
        before = self.looks
        self.load()
        return self.looks == before

    def load(self) -> None:
        """Tick once, and execute what is asked for."""
        for request in self.tick():
            self.execute(request)

    def come_to_rest(self) -> None:
        """Go on until a tick rests."""
        for _ in range(5):
            before = self.looks
            self.load()
            if self.looks == before:
                return
            self.later_seconds += UNFINISHED_SECONDS
        raise AssertionError(f"it does not come to rest: {self.skipped}")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestSource]:
    """The source of all messages of this process."""
    source, receivers = TestSource(), list[Receiver]()

    def connect(*_: str) -> Receiver:
        receivers.append(Receiver(source))
        return receivers[-1]

    monkeypatch.setattr(wakes, "_receivers", {})
    monkeypatch.setattr(wakes, "connect_receiver", connect)
    monkeypatch.setenv("LANDING_NOTIFICATIONS", "hook:localhost:1")
    monkeypatch.setenv("SENSOR_INTERVAL_SECONDS", str(INTERVAL_SECONDS))
    yield source
    for receiver in receivers:
        receiver.close()


@pytest.fixture
def woken(
    landing_dir: Path,
    database: Path,
    instance: dg.DagsterInstance,
    source: TestSource,
    monkeypatch: pytest.MonkeyPatch,
) -> WokenLocation:
    """The customers' sensor, as the daemon evaluates it."""
    woken = WokenLocation(instance, landing_dir, source)
    scan, now = FeedAssets.scan, time.time

    def count(*given: Any) -> Any:
        woken.looks += 1
        return scan(*given)

    monkeypatch.setattr(FeedAssets, "scan", count)
    monkeypatch.setattr(wakes.time, "time", lambda: now() + woken.later_seconds)
    monkeypatch.setattr(
        dg.SensorEvaluationContext, "last_sensor_start_time", property(lambda _: 1.0)
    )
    return woken


def test_a_tick_rests_until_a_message_wakes_it_or_its_time_comes(
    woken: WokenLocation, query: Query
) -> None:
    woken.come_to_rest()
    assert woken.is_resting
    assert "no notification since the last look; the next is due in " in woken.skipped
    woken.land("a")
    assert not woken.is_resting
    woken.come_to_rest()
    assert woken.is_resting
    woken.later_seconds += INTERVAL_SECONDS
    assert not woken.is_resting
    assert woken.is_resting


def test_what_a_resting_tick_skips_is_landing_and_warehouse_and_its_cursor(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken.come_to_rest()
    cursor = woken.cursor
    with (
        mock.patch.object(LocalLanding, "scan", side_effect=AssertionError),
        mock.patch.object(sensor, "make_agenda", side_effect=AssertionError),
        mock.patch.object(sensor, "fail_runs_without_worker", side_effect=AssertionError),
    ):
        assert woken.tick() == []
    assert woken.cursor == cursor


def test_a_message_for_another_feed_does_not_wake_it(woken: WokenLocation) -> None:
    woken.come_to_rest()
    woken.source.send(("", "daily/2018-01-22.csv"), ("landing", "customers/a.csv"))
    woken.source.send()
    assert woken.is_resting
    woken.source.send(("", ""))
    assert not woken.is_resting


def test_a_message_that_comes_while_a_tick_looks_wakes_another(
    woken: WokenLocation, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken.come_to_rest()
    scan = LocalLanding.scan

    def scan_before_it_lands(*given: Any) -> Any:
        found = scan(*given)
        monkeypatch.setattr(LocalLanding, "scan", scan)
        woken.land("late")
        return found

    monkeypatch.setattr(LocalLanding, "scan", scan_before_it_lands)
    woken.source.send(("", "customers"))
    assert woken.tick() == []
    woken.load()
    assert query("SELECT DISTINCT partition_key FROM raw_customer_prices") == [("late",)]


def test_lost_doubled_and_reordered_messages_change_nothing(
    woken: WokenLocation, query: Query
) -> None:
    """The table equals the landing once the interval is over, whatever was told of it."""
    randomly = random.Random(5)
    untold: list[str] = []
    landed: dict[str, float] = {}
    woken.come_to_rest()
    for step in range(12):
        key = randomly.choice("abcdef")
        landed[key] = step + 1.0
        woken.land(key, landed[key], says_so=False)
        untold.append(key)
        randomly.shuffle(untold)
        match randomly.randrange(4):
            case 0:  # they are lost
                untold.clear()
            case 1:  # all come twice, in any order
                for one in [*untold, *reversed(untold)]:
                    woken.tell(one)
                untold.clear()
            case 2:  # one comes, and of a file that is not there
                woken.tell(untold.pop())
                woken.tell("not-there")
        woken.load()
    woken.later_seconds += INTERVAL_SECONDS
    woken.come_to_rest()
    rows = query(
        "SELECT partition_key, share_price, count(*) FROM raw_customer_prices GROUP BY ALL"
    )
    assert sorted(rows) == sorted((key, price, 1) for key, price in landed.items())
    assert woken.is_resting


def test_a_message_of_a_file_that_is_not_there_costs_one_look(
    woken: WokenLocation, query: Query
) -> None:
    woken.come_to_rest()
    looks = woken.looks
    woken.tell("nobody")
    assert woken.tick() == []
    assert woken.is_resting
    assert woken.looks == looks + 1


@pytest.mark.parametrize(
    "error", [WarehouseLockedError("locked"), LandedFileError("cannot be listed")]
)
def test_a_look_that_fails_is_repeated_soon(
    woken: WokenLocation, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken.come_to_rest()
    woken.land("a")
    with mock.patch.object(sensor, "make_agenda", side_effect=error):
        assert woken.tick() == []
    assert f"{error}; the next tick tries again" in woken.skipped
    assert woken.is_resting
    woken.later_seconds += UNFINISHED_SECONDS
    assert len(woken.tick()) == 1


def test_what_a_tick_asked_for_or_left_to_later_ones_is_looked_at_soon(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    monkeypatch.setenv("MAX_FILES_PER_RUN", "2")
    woken.come_to_rest()
    for key in "abcde":
        woken.land(key)
    woken.come_to_rest()
    told = query("SELECT count(DISTINCT partition_key) FROM raw_customer_prices")
    assert told == [(5,)]


def test_a_file_that_is_being_written_is_looked_at_soon(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken.come_to_rest()
    monkeypatch.setenv("SETTLE_SECONDS", "3600")
    woken.land("a")
    assert woken.tick() == []
    assert "1 unsettled" in woken.skipped
    woken.later_seconds += UNFINISHED_SECONDS
    monkeypatch.setenv("SETTLE_SECONDS", "0")
    assert len(woken.tick()) == 1


def test_what_lands_while_a_long_look_goes_on_is_looked_for_again(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look began before the message, and its end is taken by a tick after it."""
    woken.come_to_rest()
    found = FeedAssets.scan(woken.assets, LocalLanding(woken._folder.parent, 0))
    still = scans.StillScanningError("is still being listed")
    woken.tell("first")
    with mock.patch("partitioned_etl.components.agenda.scan_in_time", side_effect=still):
        assert woken.tick() == []
    woken.land("second")
    with mock.patch("partitioned_etl.components.agenda.scan_in_time", return_value=found):
        assert woken.tick() == []
    assert len(woken.tick()) == 1


def test_a_tick_whose_result_is_lost_is_as_if_it_had_not_been(woken: WokenLocation) -> None:
    woken.come_to_rest()
    woken.land("a")
    cursor = woken.cursor
    for _ in range(3):
        assert len(woken.tick()) == 1
        woken.cursor = cursor


def test_a_new_process_looks_first(woken: WokenLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    woken.come_to_rest()
    assert woken.is_resting
    monkeypatch.setattr(wakes, "_receivers", {})
    assert not woken.is_resting
    assert woken.is_resting


def test_a_cursor_that_is_lost_or_of_another_interval_costs_one_look(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken.come_to_rest()
    woken.cursor = None
    assert not woken.is_resting
    woken.come_to_rest()
    monkeypatch.setenv("SENSOR_INTERVAL_SECONDS", "60")
    assert not woken.is_resting
    woken.later_seconds -= 3600
    assert not woken.is_resting


def test_while_none_can_be_received_ticks_go_by_the_interval_and_say_so(
    woken: WokenLocation, query: Query
) -> None:
    woken.source.trouble = "nobody can listen"
    woken.come_to_rest()
    assert woken.is_resting
    said = f"cannot be received: nobody can listen; ticks look every {INTERVAL_SECONDS} s"
    assert said in woken.skipped
    woken.land("a", says_so=False)
    assert woken.is_resting
    woken.later_seconds += INTERVAL_SECONDS
    woken.load()
    assert query("SELECT share_price FROM raw_customer_prices") == [(1.0,)]


def test_who_tries_a_sensor_out_looks_and_takes_no_messages(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the web UI does, perhaps in another process than the daemon's code server."""
    monkeypatch.setattr(
        dg.SensorEvaluationContext, "last_sensor_start_time", property(lambda _: None)
    )
    for _ in range(2):
        assert not woken.is_resting
    assert woken.source.begun == 0


def test_without_notifications_every_tick_looks(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LANDING_NOTIFICATIONS")
    for _ in range(3):
        assert not woken.is_resting
    assert woken.source.begun == 0
    assert json.loads(woken.cursor or "")["rest"] == {
        "due_at": 0.0,
        "mark": "",
        "is_listing": False,
    }


def test_dagster_evaluates_at_every_check_only_with_notifications(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SENSOR_INTERVAL_SECONDS", "600")
    assert define_feed(NOTES).sensor.minimum_interval_seconds == 599
    assert wakes.read_follow_interval() == 599
    monkeypatch.setenv("LANDING_NOTIFICATIONS", "hook:localhost:8099")
    assert define_feed(NOTES).sensor.minimum_interval_seconds == 1
    assert wakes.read_follow_interval() == UNFINISHED_SECONDS - 1


def test_a_cursor_of_an_earlier_version_is_read() -> None:
    cursor = sensor.LandingCursor(requests=5)
    values = json.loads(str(cursor))
    del values["rest"]
    assert sensor.LandingCursor.parse(json.dumps(values)) == cursor
    cursor.rest = Rest(5.0, "mark", is_listing=True)
    assert sensor.LandingCursor.parse(str(cursor)) == cursor


def test_what_is_posted_wakes_a_tick(
    woken: WokenLocation, monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    """By the settings alone, through the real hook."""
    port = find_free_port()
    monkeypatch.setattr(wakes, "connect_receiver", registry.connect_receiver)
    monkeypatch.setenv("LANDING_NOTIFICATIONS", f"hook:127.0.0.1:{port}")
    monkeypatch.setenv("LANDING_NOTIFICATIONS_TOKEN", "secret")
    woken.come_to_rest()
    woken.land("a", says_so=False)
    assert woken.is_resting
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    body = json.dumps({"path": "customers/a.csv"})
    connection.request("POST", "/", body, {"Authorization": "Bearer secret"})
    assert connection.getresponse().status == HTTPStatus.NO_CONTENT
    connection.close()
    woken.load()
    assert query("SELECT share_price FROM raw_customer_prices") == [(1.0,)]
    for receiver in wakes._receivers.values():
        receiver.close()
