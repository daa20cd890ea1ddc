"""A look that takes longer than a tick: it goes on, and a later tick takes what it found."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any, cast

import dagster as dg
import pytest

from partitioned_etl.components import sensor
from partitioned_etl.components.scans import StillScanningError, scan_in_time
from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.landing.landing import Landing
from partitioned_etl.engine.landing.local import LocalLanding
from support import sample_location
from support.define import DefinedFeed, define_feed
from support.location import Location
from support.samples import price_rows
from support.workbench import NOTES, Workbench, land_numbers

PATIENT_S = 60


class SlowLanding:
    """A folder that is listed when the test says so."""

    def __init__(self, landing: Landing) -> None:
        self._landing, self.may_go_on, self.count = landing, Event(), 0
        self.mishap: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._landing, name)

    def scan(self, *given: Any) -> Any:
        self.count += 1
        assert self.may_go_on.wait(PATIENT_S)
        if self.mishap:
            raise self.mishap
        return self._landing.scan(*given)


@pytest.fixture
def slow(bench: Workbench) -> Iterator[SlowLanding]:
    land_numbers(bench, "a", 1)
    slow = SlowLanding(bench.landing)
    yield slow
    slow.may_go_on.set()


@pytest.fixture(scope="module")
def notes() -> DefinedFeed:
    return define_feed(NOTES)


def look(notes: DefinedFeed, slow: SlowLanding, seconds: float | None) -> list[str]:
    scan = scan_in_time(notes.assets, cast("Landing", slow), seconds=seconds)
    return [file.name for file in scan.found]


def test_what_a_look_found_is_taken_by_the_call_after_the_one_that_gave_up(
    notes: DefinedFeed, slow: SlowLanding
) -> None:
    for _ in range(2):
        with pytest.raises(StillScanningError, match=r"notes is still being listed, for \d+ s now"):
            look(notes, slow, 0)
    slow.may_go_on.set()
    assert look(notes, slow, PATIENT_S) == ["a.csv"]
    assert slow.count == 1
    assert look(notes, slow, PATIENT_S) == ["a.csv"]
    assert slow.count == 2


@pytest.mark.parametrize("mishap", [LandedFileError("gone"), TimeoutError("too slow")])
def test_what_goes_wrong_is_told_once_and_then_looked_at_again(
    notes: DefinedFeed, slow: SlowLanding, mishap: Exception
) -> None:
    with pytest.raises(StillScanningError):
        look(notes, slow, 0)
    slow.mishap = mishap
    slow.may_go_on.set()
    with pytest.raises(type(mishap), match=str(mishap)):
        look(notes, slow, PATIENT_S)
    slow.mishap = None
    assert look(notes, slow, PATIENT_S) == ["a.csv"]


def test_two_who_ask_do_not_take_what_the_other_asked_for(
    notes: DefinedFeed, slow: SlowLanding
) -> None:
    for asker in ("one", "other"):
        with pytest.raises(StillScanningError):
            scan_in_time(notes.assets, cast("Landing", slow), seconds=0, asker=asker)
    assert slow.count == 2


def test_a_tick_that_cannot_wait_says_so_and_a_later_one_loads(
    landing_dir: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of Dagster's end of the tick after a minute, each time anew."""
    location = Location(sample_location.defs, sample_location.CUSTOMERS, instance)
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1), encoding="utf-8")
    may_go_on, scan = Event(), LocalLanding.scan

    def scan_slowly(*given: Any) -> Any:
        assert may_go_on.wait(PATIENT_S)
        return scan(*given)

    monkeypatch.setattr(LocalLanding, "scan", scan_slowly)
    monkeypatch.setattr(sensor, "TICK_SCAN_SECONDS", 0)
    assert location.tick() == []
    assert "customers is still being listed, for 0 s now; the next tick" in location.skipped
    may_go_on.set()
    monkeypatch.setattr(sensor, "TICK_SCAN_SECONDS", PATIENT_S)
    [request] = location.tick()
    assert location.keys(request) == ["acme"]
