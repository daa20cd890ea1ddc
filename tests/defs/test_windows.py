"""The windows of the feeds that ship: settings that this project adds to the package's own."""

from datetime import date

import pytest

from partitioned_etl import SettingError
from sample_feeds.defs.partitions import Windows

NAMES = ("DAILY_START_DATE", "DAILY_END_DATE", "MONTHLY_START_DATE", "MONTHLY_END_DATE")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_the_windows_are_those_of_the_samples() -> None:
    windows = Windows()
    assert (windows.daily_start_date, windows.daily_end_date) == (
        date(2018, 1, 21),
        date(2018, 1, 24),
    )
    assert (windows.monthly_start_date, windows.monthly_end_date) == (
        date(2018, 1, 1),
        date(2018, 4, 1),
    )


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_end_means_no_end_and_an_empty_start_the_default(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, empty)
    windows = Windows()
    assert (windows.daily_end_date, windows.monthly_end_date) == (None, None)
    assert windows.daily_start_date == date(2018, 1, 21)


def test_every_window_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    days = [date(2020, month, 1) for month in (1, 2, 3, 4)]
    for name, day in zip(NAMES, days, strict=True):
        monkeypatch.setenv(name, day.isoformat())
    windows = Windows()
    assert [getattr(windows, name.lower()) for name in NAMES] == days


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAILY_START_DATE", "yesterday"),
        ("DAILY_START_DATE", "2018-02-30"),
        ("DAILY_END_DATE", "24.01.2018"),
        ("MONTHLY_START_DATE", "2018-01"),
    ],
)
def test_a_day_that_cannot_be_used_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=f"setting {name}: "):
        Windows()
