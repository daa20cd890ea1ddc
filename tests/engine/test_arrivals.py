"""What came, came late, was refused or is missing, as the ledger and the folder tell it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from partitioned_etl.engine.arrivals import (
    Arrival,
    ArrivalStatus,
    due_at,
    list_arrivals,
    list_short,
    list_unpunctual,
)
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import LandedFile, Listing, PassedOver
from partitioned_etl.engine.landing.local import LocalFolder
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow, LoadStatus
from support.workbench import NOTES, ORDERS, PRICES, change_feed

DUE_AT_SEVEN = change_feed(PRICES, due_after_hours=7)
NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)


def loaded(feed: Feed, key: str, came: datetime, row_count: int = 1) -> LedgerRow:
    """A partition whose file came at a time and was loaded at once."""
    return LedgerRow(
        feed=feed.name,
        source_file=f"{key}.csv",
        partition_key=key,
        version="1",
        size_bytes=1,
        landed_ns=int(came.timestamp() * 1e9),
        row_count=row_count,
        loaded_at=came,
    )


def ledger_of(*rows: LedgerRow) -> Ledger:
    """A ledger that holds these rows."""
    return Ledger({row.source_file: row for row in rows})


def landed(*keys: str) -> Listing:
    """A folder that holds a file for each key."""
    place = LocalFolder(Path())
    return Listing({f"{key}.csv": LandedFile(key, f"{key}.csv", "1", 1, 0, place) for key in keys})


def make_dated(pattern: str, due_after_hours: float, timezone: str = "UTC") -> Feed:
    """A feed with a file a period, due some time after it."""
    return change_feed(NOTES, pattern=pattern, due_after_hours=due_after_hours, timezone=timezone)


@pytest.mark.parametrize(
    ("feed", "key", "due"),
    [
        (DUE_AT_SEVEN, "2024-02-28", datetime(2024, 2, 29, 7, tzinfo=UTC)),
        (DUE_AT_SEVEN, "2024-12-31", datetime(2025, 1, 1, 7, tzinfo=UTC)),
        (
            change_feed(ORDERS, due_after_hours=48),
            "2024-02-01",
            datetime(2024, 3, 3, tzinfo=UTC),
        ),
        (change_feed(ORDERS, due_after_hours=0), "2024-12-01", datetime(2025, 1, 1, tzinfo=UTC)),
        (
            make_dated("{date:%Y-%m-%d-%H}.csv", 5 / 60),
            "2024-02-29-23:00",
            datetime(2024, 3, 1, 0, 5, tzinfo=UTC),
        ),
        (
            make_dated("{date:%G-W%V}.csv", 7),
            "2024-12-30",
            datetime(2025, 1, 6, 7, tzinfo=UTC),
        ),
        (PRICES, "2024-02-28", None),
        (NOTES, "acme", None),
    ],
)
def test_a_file_is_due_some_time_after_its_period(
    feed: Feed, key: str, due: datetime | None
) -> None:
    assert due_at(feed, key) == due


@pytest.mark.parametrize(
    ("pattern", "timezone", "key", "due"),
    [
        ("{date:%Y-%m-%d-%H}.csv", "America/New_York", "2024-01-22-07:00", "2024-01-22 14:00"),
        # Clocks go from 02:00 to 03:00, and from 03:00 back to 02:00.
        ("{date:%Y-%m-%d-%H}.csv", "Europe/Berlin", "2024-03-31-01:00", "2024-03-31 02:00"),
        ("{date:%Y-%m-%d-%H}.csv", "Europe/Berlin", "2024-10-27-02:00", "2024-10-27 02:00"),
        ("{date:%Y-%m-%d-%H}.csv", "Europe/Berlin", "2024-10-27-03:00", "2024-10-27 04:00"),
        ("{date:%Y-%m-%d}.csv", "America/Los_Angeles", "2024-01-22", "2024-01-23 09:00"),
        ("{date:%Y-%m-%d}.csv", "Asia/Tokyo", "2024-01-22", "2024-01-22 16:00"),
        ("{date:%Y-%m-%d}.csv", "Europe/Berlin", "2024-03-31", "2024-03-31 23:00"),
        ("{date:%Y-%m-%d}.csv", "Europe/Berlin", "2024-10-27", "2024-10-28 00:00"),
        ("{date:%G-W%V}.csv", "Europe/Berlin", "2024-03-25", "2024-03-31 23:00"),
        ("{date:%Y-%m}.csv", "Europe/Berlin", "2024-03-01", "2024-03-31 23:00"),
    ],
)
def test_a_file_is_due_after_its_period_in_the_time_zone_of_the_feed(
    pattern: str, timezone: str, key: str, due: str
) -> None:
    feed = make_dated(pattern, 1, timezone)
    assert due_at(feed, key) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "due"), [("2024-03-30", "2024-03-31 05:00"), ("2024-10-26", "2024-10-27 06:00")]
)
def test_seven_in_the_morning_is_so_also_when_clocks_are_set_that_night(key: str, due: str) -> None:
    feed = make_dated("{date:%Y-%m-%d}.csv", 7, "Europe/Berlin")
    assert due_at(feed, key) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_partition_stands_at_its_own_day_in_every_time_zone() -> None:
    for timezone in ("America/Los_Angeles", "Asia/Tokyo"):
        feed = make_dated("{date:%Y-%m-%d}.csv", 1, timezone)
        [arrival] = list_arrivals(feed, Ledger(), Listing(), ["2024-03-04"], NOW)
        assert arrival.day == date(2024, 3, 4)


def test_each_partition_is_loaded_late_refused_or_missing() -> None:
    ledger = ledger_of(
        loaded(DUE_AT_SEVEN, "2024-03-04", datetime(2024, 3, 5, 6, tzinfo=UTC)),
        loaded(DUE_AT_SEVEN, "2024-03-05", datetime(2024, 3, 6, 8, tzinfo=UTC)),
        loaded(DUE_AT_SEVEN, "2024-03-06", datetime(2024, 3, 7, 6, tzinfo=UTC))._replace(
            status=LoadStatus.REFUSED,
            error="2024-03-06.csv: line 2: wrong",
        ),
    )
    listing = landed("2024-03-04", "2024-03-05", "2024-03-06", "2024-03-07")
    listing.refused.append(PassedOver("2024-03-02.csv.gz", "two files", "2024-03-02"))
    expected = [f"2024-03-{day:02d}" for day in range(2, 11)]
    arrivals = list_arrivals(DUE_AT_SEVEN, ledger, listing, expected, NOW)
    assert {arrival.day.day: (arrival.status, arrival.reason) for arrival in arrivals} == {
        2: (ArrivalStatus.REFUSED, "2024-03-02.csv.gz: two files"),
        3: (ArrivalStatus.MISSING, "no file has come; it was due at 2024-03-04 07:00 UTC"),
        4: (ArrivalStatus.LOADED, ""),
        5: (
            ArrivalStatus.LATE,
            "the file came at 2024-03-06 08:00 UTC; it was due at 2024-03-06 07:00 UTC",
        ),
        6: (ArrivalStatus.REFUSED, "2024-03-06.csv: line 2: wrong"),
        8: (ArrivalStatus.MISSING, "no file has come; it was due at 2024-03-09 07:00 UTC"),
    } | {9: (ArrivalStatus.MISSING, "no file has come; it was due at 2024-03-10 07:00 UTC")}


def test_a_file_that_was_touched_after_its_load_is_not_late() -> None:
    """Nor one that was moved with all others to another machine: its ctime is new, too."""
    came = datetime(2024, 3, 5, 6, tzinfo=UTC)
    touched = int(datetime(2024, 3, 8, tzinfo=UTC).timestamp() * 1e9)
    ledger = ledger_of(loaded(DUE_AT_SEVEN, "2024-03-04", came)._replace(landed_ns=touched))
    [arrival] = list_arrivals(DUE_AT_SEVEN, ledger, landed("2024-03-04"), [], NOW)
    assert arrival.status is ArrivalStatus.LOADED


def test_history_that_is_loaded_afterwards_is_not_late() -> None:
    ledger = ledger_of(loaded(DUE_AT_SEVEN, "2018-01-22", NOW))
    [arrival] = list_arrivals(DUE_AT_SEVEN, ledger, landed("2018-01-22"), ["2018-01-22"], NOW)
    assert arrival.status is ArrivalStatus.LOADED


def test_a_partition_whose_file_is_gone_is_loaded_while_its_rows_stay() -> None:
    came = datetime(2024, 3, 5, 6, tzinfo=UTC)
    ledger = ledger_of(loaded(DUE_AT_SEVEN, "2024-03-04", came))
    [arrival] = list_arrivals(DUE_AT_SEVEN, ledger, Listing(), ["2024-03-04"], NOW)
    assert arrival.status is ArrivalStatus.LOADED


def test_a_dynamic_partition_stands_at_the_day_of_its_load() -> None:
    came = datetime(2024, 3, 5, 23, 59, tzinfo=UTC)
    arrivals = list_arrivals(
        NOTES, ledger_of(loaded(NOTES, "a", came)), landed("a"), ["a", "b"], NOW
    )
    assert arrivals == [Arrival("a", date(2024, 3, 5), ArrivalStatus.LOADED)]


def test_only_what_was_due_lately_is_called_late_or_missing() -> None:
    late = datetime(2024, 3, 9, 8, tzinfo=UTC)
    ledger = ledger_of(
        loaded(DUE_AT_SEVEN, "2024-02-01", datetime(2024, 2, 2, 8, tzinfo=UTC)),
        loaded(DUE_AT_SEVEN, "2024-03-08", late),
    )
    expected = ["2024-02-01", "2024-02-02", "2024-03-07", "2024-03-08", "2024-03-09", "2024-03-10"]
    listing = landed("2024-02-01", "2024-03-07", "2024-03-08")
    named = list_unpunctual(DUE_AT_SEVEN, ledger, listing, expected, NOW)
    assert named == {
        "2024-03-08": "the file came at 2024-03-09 08:00 UTC; it was due at 2024-03-09 07:00 UTC",
        "2024-03-09": "no file has come; it was due at 2024-03-10 07:00 UTC",
    }
    assert list_unpunctual(PRICES, ledger, listing, expected, NOW) == {}


def test_a_file_that_is_due_and_cannot_be_loaded_is_not_on_time() -> None:
    """One without its marker, and two for one partition; not where rows are loaded already."""
    listing = landed("2024-03-07", "2024-03-08")
    file = listing.files["2024-03-07.csv"]._replace(lacks="its marker file has not landed")
    listing.files[file.name] = file
    two = "several files stand for one partition key"
    listing.refused += [
        PassedOver(f"{key}.csv.gz", two, key) for key in ("2024-03-05", "2024-03-06", "2024-03-10")
    ]
    came = datetime(2024, 3, 7, 6, tzinfo=UTC)
    ledger = ledger_of(
        loaded(DUE_AT_SEVEN, "2024-03-06", came),
        loaded(DUE_AT_SEVEN, "2024-03-08", came)._replace(
            status=LoadStatus.REFUSED, error="wrong", loaded_at=None
        ),
    )
    expected = [f"2024-03-{day:02d}" for day in (5, 6, 7, 8, 10)]
    assert list_unpunctual(DUE_AT_SEVEN, ledger, listing, expected, NOW) == {
        "2024-03-05": f"2024-03-05.csv.gz: {two}",
        "2024-03-07": (
            "2024-03-07.csv: its marker file has not landed; it was due at 2024-03-08 07:00 UTC"
        ),
    }


def test_a_partition_with_far_fewer_rows_than_those_before_is_short() -> None:
    def ledger(*counts: int) -> Ledger:
        keys = [f"2024-03-{day:02d}" for day in range(1, len(counts) + 1)]
        rows = [
            loaded(PRICES, key, NOW - timedelta(days=1), count)
            for key, count in zip(keys, counts, strict=True)
        ]
        return ledger_of(*rows[:-1], loaded(PRICES, keys[-1], NOW, counts[-1]))

    assert list_short(PRICES, ledger(10, 11, 12, 13, 900, 5)) == {
        "2024-03-06": "5 rows; 12 is the median of the 5 partitions before it"
    }
    assert list_short(PRICES, ledger(10, 11, 12, 13, 900, 6)) == {}
    assert list_short(PRICES, ledger(10, 11, 12, 13, 0)) == {}
    # Not the latest load: what a person has seen once is not named for ever.
    assert list_short(PRICES, ledger(10, 10, 10, 10, 10, 1, 10)) == {}
    assert list_short(change_feed(PRICES, short_below_percent=0), ledger(9, 9, 9, 9, 9, 0)) == {}


@pytest.mark.parametrize("key", ["2024-10-27-02:00+0100", "2024-01-01", "acme"])
def test_a_key_that_no_file_name_stands_for_is_due_at_no_time(key: str) -> None:
    hours = make_dated("{date:%Y-%m-%d-%H}.csv", 5 / 60)
    came = NOW - timedelta(days=1)
    assert hours.window_of(key) is None
    assert list_arrivals(hours, Ledger(), Listing(), [key], NOW) == []
    assert list_unpunctual(hours, Ledger(), Listing(), [key], NOW) == {}
    assert list_arrivals(hours, ledger_of(loaded(hours, key, came)), Listing(), [key], NOW) == [
        Arrival(key, came.date(), ArrivalStatus.LOADED)
    ]
