"""`status --changes`: which loads changed the tables lately, and by how many rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from support.samples import price_rows

Call = Callable[..., Result]
CHANGES = ("status", "--changes", "--feed", "daily_prices")


@pytest.fixture
def day(landing_dir: Path) -> Path:
    """The file of a day beside that of another, neither of which is loaded."""
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1), encoding="utf-8")
    path = landing_dir / "daily" / "2018-01-23.csv"
    path.write_text(price_rows(1, 2, 3), encoding="utf-8")
    return path


@pytest.fixture
def sync(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Load the feed, in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda: call("sync", "--feed", "daily_prices")


def test_without_a_database_nothing_has_changed(landing_dir: Path, call: Call) -> None:
    result = call(*CHANGES)
    assert result.exit_code == 0
    assert result.stdout.startswith("Nothing has changed since 2")


def test_what_loads_changed_is_listed_with_the_latest_first(
    day: Path, sync: Call, call: Call
) -> None:
    sync()
    day.write_text(price_rows(1, 2, 4), encoding="utf-8")
    sync()
    told = json.loads(call(*CHANGES, "--json").stdout)["changes"]
    assert [(one["source_file"], one["kind"]) for one in told] == [
        ("2018-01-23.csv", "reload"),
        ("2018-01-22.csv", "first load"),
        ("2018-01-23.csv", "first load"),
    ]
    numbers = ("row_count", "rows_added", "rows_removed", "rows_unchanged", "not_compared")
    assert [told[0][name] for name in numbers] == [3, 1, 1, 2, ""]
    lines = call(*CHANGES).stdout.splitlines()
    assert lines[0].split()[:3] == ["when", "feed", "partition"]
    assert lines[2].split()[3:] == [
        "daily_prices",
        "2018-01-23",
        "2018-01-23.csv",
        *("reload", "3", "1", "1", "2"),
    ]


def test_what_is_older_is_left_out(day: Path, sync: Call, call: Call) -> None:
    sync()
    assert "2018-01-23" in call(*CHANGES, "--days", "0.5").stdout
    assert call(*CHANGES, "--days", "0").stdout.startswith("Nothing has changed since")


def test_days_without_changes_and_an_unknown_feed_are_refused(call: Call) -> None:
    result = call("status", "--days", "3")
    assert result.exit_code == 2
    assert "--days says how far --changes looks back" in result.stderr
    assert call("status", "--changes", "--feed", "none").exit_code == 2
