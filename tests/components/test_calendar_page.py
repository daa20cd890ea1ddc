"""The picture and the page of arrivals."""

from datetime import UTC, date, datetime, timedelta

from partitioned_etl.components.calendar_page import draw_calendar, write_page
from partitioned_etl.engine.arrivals import Arrival, ArrivalStatus
from support.workbench import NOTES, ORDERS, PRICES

DRAWN_AT = datetime(2024, 3, 10, tzinfo=UTC)
ARRIVALS = {
    PRICES.name: [
        Arrival(f"2024-{month:02d}-{day:02d}", date(2024, month, day), status, "why")
        for month in range(1, 10)
        for day, status in enumerate([*ArrivalStatus] * 6, 1)
    ],
    ORDERS.name: [Arrival("2024-01-01", date(2024, 1, 1), ArrivalStatus.LOADED)],
    NOTES.name: [
        Arrival(str(number), date(2024, 3, 9), ArrivalStatus.LOADED) for number in range(1000)
    ],
}


def test_the_picture_is_a_small_png() -> None:
    image = draw_calendar(ARRIVALS, [PRICES, ORDERS, NOTES])
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    assert 5_000 < len(image) < 60_000


def test_feeds_that_nothing_has_come_of_are_drawn_too() -> None:
    nothing: dict[str, list[Arrival]] = {PRICES.name: [], NOTES.name: []}
    assert draw_calendar(nothing, [PRICES, NOTES]).startswith(b"\x89PNG")


def test_the_page_names_all_that_is_not_simply_loaded_and_shows_hostile_keys_as_text() -> None:
    hostile = Arrival(
        "<script>", date(2024, 3, 9), ArrivalStatus.REFUSED, "<img src=x onerror=alert(1)>"
    )
    page = write_page(b"image", {**ARRIVALS, NOTES.name: [hostile]}, DRAWN_AT)
    assert "<tr><td>prices</td><td>2024-01-02</td><td>late</td><td>why</td></tr>" in page
    assert "<td>2024-01-01</td>" not in page
    assert "<td>&lt;script&gt;</td><td>refused</td><td>&lt;img src=x onerror" in page
    assert "<script" not in page
    assert "http://" not in page


def test_a_page_that_is_cut_names_the_latest_of_all_feeds() -> None:
    latest = Arrival("acme", date(2024, 3, 9), ArrivalStatus.REFUSED, "today")
    history = [
        Arrival(f"{number:04}", date(2018, 1, 1) + timedelta(number), ArrivalStatus.MISSING)
        for number in range(1000)
    ]
    page = write_page(b"image", {"customers": [latest], PRICES.name: history}, DRAWN_AT)
    assert "<td>acme</td>" in page
    assert ("<td>0999</td>" in page, "<td>0500</td>" in page) == (True, False)
    assert "The latest 500 of 1001." in page
