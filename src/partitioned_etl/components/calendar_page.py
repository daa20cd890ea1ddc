"""Calendar page: what arrived, was late, was refused or is missing, as a picture and a page.

Takes the arrivals of each feed, from `engine/arrivals.py`; returns a PNG image and a self-contained
HTML page. When to draw it is decided in `calendar.py`.
"""

import io
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from html import escape
from operator import itemgetter
from typing import TYPE_CHECKING

from partitioned_etl.engine.arrivals import Arrival, ArrivalStatus
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.file_names import Partitioning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 6
"""How many months of a feed are shown, or years of a monthly one: the latest with arrivals."""
MOST_NAMED = 500
_COLORS = {
    ArrivalStatus.LOADED: "#4a9c6d",
    ArrivalStatus.LATE: "#e3b341",
    ArrivalStatus.MISSING: "#ffffff",
    ArrivalStatus.REFUSED: "#c8423b",
}
_SIGNS = {ArrivalStatus.LATE: "L", ArrivalStatus.MISSING: "?", ArrivalStatus.REFUSED: "x"}
_WORST = list(ArrivalStatus)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Cell = tuple[str, int]
"""A cell of the calendar: its row's label, and its column, counted from 1."""


def draw_calendar(arrivals: Mapping[str, Sequence[Arrival]], feeds: Sequence[Feed]) -> bytes:
    """Draw one calendar per feed: months by days, or years by months for a monthly feed.

    Args:
        arrivals: The arrivals of each feed, by its name.
        feeds: The feeds, from top to bottom.

    Returns:
        A PNG image.
    """
    # Imported where needed: the code location is loaded often, the calendar drawn rarely.
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    grids = {feed.name: _fill_cells(feed, arrivals[feed.name]) for feed in feeds}
    heights = [max(1, len({row for row, _ in cells})) for cells in grids.values()]
    figure = Figure(figsize=(9, 0.8 + sum(0.75 + 0.26 * height for height in heights)), dpi=80)
    grid = figure.subplots(len(feeds), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for feed, axes in zip(feeds, grid[:, 0], strict=True):
        _draw_feed(axes, feed, grids[feed.name])
    figure.legend(
        handles=[
            Patch(facecolor=_COLORS[status], edgecolor="#57606a", label=_label(status))
            for status in ArrivalStatus
        ],
        loc="lower center",
        ncols=len(ArrivalStatus),
        frameon=False,
        fontsize=8,
    )
    figure.tight_layout(rect=(0, 0.35 / figure.get_figheight(), 1, 1))
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def write_page(image: bytes, arrivals: Mapping[str, Sequence[Arrival]], drawn_at: datetime) -> str:
    """Return an HTML page with the picture and, below it, every partition not simply loaded.

    Args:
        image: The picture, PNG.
        arrivals: The arrivals of each feed, by its name.
        drawn_at: When they were determined, UTC.
    """
    told = [
        (arrival.day, name, arrival)
        for name, of_feed in arrivals.items()
        for arrival in of_feed
        if arrival.status is not ArrivalStatus.LOADED
    ]
    latest = sorted(told, key=itemgetter(0))[-MOST_NAMED:]
    rows = sorted(
        (name, arrival.partition_key, arrival.status, arrival.reason) for _, name, arrival in latest
    )
    cells = "\n".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows
    )
    more = f"<p>The latest {MOST_NAMED} of {len(told)}.</p>" if len(told) > MOST_NAMED else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Arrivals</title>
<style>
body {{ font-family: sans-serif; margin: 2em }}
td, th {{ text-align: left; padding: 0.2em 1em 0.2em 0; vertical-align: top }}
</style>
<h1>Arrivals</h1>
<p>As of {drawn_at:%Y-%m-%d %H:%M} UTC.</p>
<p><img alt="Calendar of arrivals" src="{data_uri(image)}"></p>
<table>
<tr><th>feed</th><th>partition</th><th>status</th><th>reason</th></tr>
{cells}
</table>
{more}
</html>
"""


def data_uri(image: bytes) -> str:
    """Return a PNG image as a data URI."""
    return f"data:image/png;base64,{b64encode(image).decode()}"


def _fill_cells(feed: Feed, arrivals: Sequence[Arrival]) -> dict[Cell, list[ArrivalStatus]]:
    cells: dict[Cell, list[ArrivalStatus]] = defaultdict(list)
    for arrival in arrivals:
        cells[_cell_of(feed, arrival.day)].append(arrival.status)
    shown = set(sorted({row for row, _ in cells})[-MOST_ROWS:])
    return {cell: statuses for cell, statuses in cells.items() if cell[0] in shown}


def _cell_of(feed: Feed, day: date) -> Cell:
    if feed.partitioning is Partitioning.MONTHLY:
        return f"{day:%Y}", day.month
    return f"{day:%Y-%m}", day.day


def _draw_feed(axes: "Axes", feed: Feed, cells: Mapping[Cell, Sequence[ArrivalStatus]]) -> None:
    from matplotlib.patches import Rectangle

    is_monthly = feed.partitioning is Partitioning.MONTHLY
    rows = sorted({row for row, _ in cells})
    width = 12 if is_monthly else 31
    for (row, column), statuses in cells.items():
        worst = max(statuses, key=_WORST.index)
        x, y = column - 1, rows.index(row)
        corner, fill = (x + 0.04, y + 0.08), _COLORS[worst]
        axes.add_patch(Rectangle(corner, 0.92, 0.84, facecolor=fill, edgecolor="#57606a"))
        sign = _SIGNS.get(worst, "")
        count = str(statuses.count(worst)) if len(statuses) > 1 else ""
        color = "#24292f" if worst in (ArrivalStatus.LATE, ArrivalStatus.MISSING) else "#ffffff"
        axes.text(x + 0.5, y + 0.5, count + sign, ha="center", va="center", fontsize=7, color=color)
    kind = "by month" if is_monthly else "by day"
    if not Partitioning(feed.partitioning or "").is_dated:
        kind = "by day of load"
    axes.set_title(f"{feed.name}, {kind}", loc="left", fontsize=9)
    axes.set_xlim(0, width)
    axes.set_ylim(max(1, len(rows)), 0)
    axes.set_xticks(
        [column + 0.5 for column in range(width)],
        _MONTHS if is_monthly else [str(day) for day in range(1, width + 1)],
    )
    axes.set_yticks([number + 0.5 for number in range(len(rows))], rows)
    axes.tick_params(length=0, labelsize=7)
    for side in axes.spines.values():
        side.set_visible(False)
    if not rows:
        axes.text(width / 2, 0.5, "nothing has come yet", ha="center", va="center", fontsize=8)


def _label(status: ArrivalStatus) -> str:
    sign = _SIGNS.get(status)
    return f"{status} ({sign})" if sign else str(status)
