"""What lies in a feed's folder and is not loaded is named with its reason, wherever one looks."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.engine.sync import sync_feed
from support.location import Location
from support.sample_location import CUSTOMER_PRICES, CUSTOMERS, defs
from support.samples import PRICE_HEADER, price_rows

REASONS = {
    ".hidden.csv": "hidden",
    "upload.csv.part": "temporary",
    "acme.txt": "pattern",
    "folder.csv": "folder",
    "link.csv": "symbolic link",
    "no key!.csv": "key",
    "Twin.csv": "several files",
    "twin.csv": "several files",
    "broken.csv": "line 2, column share_price",
}
"""Part of the reason for which each is not loaded."""


@pytest.fixture
def folder(landing_dir: Path) -> Path:
    """A feed's folder with one file of each kind that is not loaded, and one that is."""
    folder = landing_dir / CUSTOMER_PRICES.folder
    (folder / "good.csv").write_text(price_rows(1), encoding="utf-8")
    (folder / "folder.csv").mkdir()
    Path(folder / "link.csv").symlink_to(folder / "good.csv")
    for name in {*REASONS} - {"folder.csv", "link.csv", "broken.csv"}:
        (folder / name).write_text(price_rows(2), encoding="utf-8")
    (folder / "broken.csv").write_text(f"{PRICE_HEADER}2018-01-01,x,1,1,1,1\n", encoding="utf-8")
    return folder


def find_unnamed(told: str) -> list[str]:
    """Give the entries that a text does not name with their reason."""
    return [
        name
        for name, reason in REASONS.items()
        if not any(name in line and reason in line for line in told.splitlines())
    ]


def test_a_notebook_is_told(folder: Path, database: Path) -> None:
    report = sync_feed(CUSTOMER_PRICES, folder.parent, database, settle_seconds=0)
    assert [record.source_file for record in report.loaded] == ["good.csv"]
    frame = report.to_frame()
    told = [
        f"{name} {reason}" for name, reason in zip(frame.source_file, frame.reason, strict=True)
    ]
    assert find_unnamed("\n".join(told)) == []


def test_the_command_line_tells(folder: Path, database: Path, call: Callable[..., Result]) -> None:
    call("sync", "--feed", "customer_prices")
    told = json.loads(call("plan", "--feed", "customer_prices", "--json").stdout)
    assert find_unnamed(json.dumps(told).replace("}", "}\n")) == []


def test_a_tick_tells(
    folder: Path,
    database: Path,
    instance: dg.DagsterInstance,
    capfd: pytest.CaptureFixture[str],
) -> None:
    location = Location(defs, CUSTOMERS, instance)
    location.settle()
    # What was refused by the load is told by its run, and by every tick as a number.
    told = capfd.readouterr().err
    assert find_unnamed(told) == []
