"""`partitioned-etl forget` and `drop`: what a person decides, of files that are stale or not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from partitioned_etl.components.isolation import Location
from support.define import DefinedFeed, define_feed
from support.workbench import NOTES, change_feed

Call = Callable[..., Result]
Query = Callable[..., list[tuple[Any, ...]]]
UseLocation = Callable[..., Location]

DAYS = change_feed(
    NOTES,
    name="days",
    folder="days",
    table="days",
    pattern="{date:%Y-%m-%d}.csv",
    start="2024-01-01",
    end="2024-03-01",
)
MONTHS = change_feed(DAYS, pattern="{date:%Y-%m}.csv", on_missing="remove")
NAMES = define_feed(change_feed(NOTES, table="notes"))
WHY_STALE = (
    "1 file(s), 2024-01-02.csv; their rows are kept until someone calls "
    "`partitioned-etl forget days --stale`"
)


def define_days(**changes: Any) -> DefinedFeed:
    return define_feed(change_feed(DAYS, **changes))


@pytest.fixture
def folder(landing_dir: Path) -> Path:
    """The folder of a feed, with a file for each of two days."""
    folder = landing_dir / "days"
    folder.mkdir()
    for day in ("2024-01-01", "2024-01-02"):
        (folder / f"{day}.csv").write_text(f"id,note\n1,{day}\n", encoding="utf-8")
    return folder


@pytest.fixture
def monthly(folder: Path, call: Call, use_location: UseLocation) -> Path:
    """The folder after its days were loaded, and the feed became monthly."""
    use_location(define_days())
    assert call("sync").exit_code == 0
    for path in folder.iterdir():
        path.unlink()
    (folder / "2024-01.csv").write_text("id,note\n1,2024-01-01\n1,2024-01-02\n", encoding="utf-8")
    use_location(define_feed(MONTHS))
    return folder


def test_what_is_stale_is_told_by_every_command(monthly: Path, call: Call) -> None:
    result = call("sync", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [(file["file"], file["status"]) for file in told["files"]] == [
        ("2024-01.csv", "loaded"),
        ("2024-01-02.csv", "loaded, stale"),
    ]
    assert told["warnings"] == [f"stale: days: {WHY_STALE}"]
    assert f"stale: days: {WHY_STALE}" in result.stderr
    stale = [file for file in json.loads(call("plan", "--json").stdout) if file["state"] == "stale"]
    assert [(file["file"], file["next"], file["reason"]) for file in stale] == [
        ("2024-01-02.csv", "keep", "the feed cannot name it any more: forget days --stale")
    ]
    [status] = json.loads(call("status", "--json").stdout)["feeds"]
    assert status["stale"] == ["2024-01-02.csv"]
    assert f"stale: days: {WHY_STALE}" in call("status").stdout
