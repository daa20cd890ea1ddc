"""A transaction that gave way to another one is run again, a few times."""

import pytest

from partitioned_etl.engine import conflicts
from partitioned_etl.engine.conflicts import MAX_RUNS, run_until_done
from partitioned_etl.engine.errors import WarehouseConflictError, WarehouseError
from support.workbench import FakeClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(conflicts, "time", clock)
    return clock


def test_it_is_run_until_it_is_done_with_growing_pauses(clock: FakeClock) -> None:
    slept: list[float] = []

    def work() -> str:
        slept.append(clock.slept_s)
        if len(slept) < MAX_RUNS:
            raise WarehouseConflictError("gave way")
        return "done"

    assert run_until_done(work) == "done"
    assert len(slept) == MAX_RUNS
    assert sorted({*slept}) == slept


def test_it_gives_up_in_the_end(clock: FakeClock) -> None:
    runs = 0

    def work() -> None:
        nonlocal runs
        runs += 1
        raise WarehouseConflictError("gave way")

    with pytest.raises(WarehouseConflictError, match="gave way"):
        run_until_done(work)
    assert runs == MAX_RUNS


def test_any_other_error_is_none_to_try_again(clock: FakeClock) -> None:
    def work() -> None:
        raise WarehouseError("the disk is full")

    with pytest.raises(WarehouseError, match="the disk is full"):
        run_until_done(work)
    assert clock.slept_s == 0
