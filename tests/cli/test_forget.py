"""`partitioned-etl forget` and `drop`: what a person decides, of files that are stale or not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.cli import forget
from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.components.forget import FORGET_JOB
from partitioned_etl.components.isolation import Location
from partitioned_etl.engine import failpoints
from partitioned_etl.engine.sync import sync_feed
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
def folder(landing_dir: Path, database: Path) -> Path:
    """The folder of a feed, with a file for each of two days, both loaded."""
    folder = landing_dir / "days"
    folder.mkdir()
    for day in ("2024-01-01", "2024-01-02"):
        (folder / f"{day}.csv").write_text(f"id,note\n1,{day}\n", encoding="utf-8")
    sync_feed(DAYS, landing_dir, database, settle_seconds=0)
    return folder


@pytest.fixture
def monthly(folder: Path, use_location: UseLocation) -> Path:
    """The folder after the feed became monthly."""
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
    planned = json.loads(call("plan", "--json").stdout)["files"]
    stale = [file for file in planned if file["state"] == "stale"]
    assert [(file["file"], file["next"], file["reason"]) for file in stale] == [
        ("2024-01-02.csv", "keep", "the feed cannot name it any more: forget days --stale")
    ]
    [status] = json.loads(call("status", "--json").stdout)["feeds"]
    assert status["stale"] == ["2024-01-02.csv"]
    assert f"stale: days: {WHY_STALE}" in call("status").stdout


def test_what_is_stale_is_shown_and_forgotten_by_a_run(
    monthly: Path, call: Call, query: Query, dagster_home: Path
) -> None:
    call("sync")
    refused = call("forget", "days", "--stale")
    assert refused.exit_code == 2
    assert refused.stdout.splitlines()[-1].split() == ["2024-01-02", "2024-01-02.csv", "1"]
    assert "there is no terminal to ask at: give --yes" in refused.stderr
    assert query("SELECT count(*) FROM days") == [(3,)]
    result = call("forget", "days", "--stale", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("Forgot 1 file(s), 1 rows, of days.\n")
    assert query("SELECT source_file, count(*) FROM days GROUP BY ALL") == [("2024-01.csv", 2)]
    assert query("SELECT source_file FROM file_loads") == [("2024-01.csv",)]
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        [record] = instance.get_run_records(dg.RunsFilter(job_name=FORGET_JOB))
        assert record.dagster_run.is_success
        told = [str(entry.user_message) for entry in instance.all_logs(record.dagster_run.run_id)]
        check = dg.AssetCheckKey(dg.AssetKey("days"), CHECK_NAMES.table_equals_landing)
        [evaluated] = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        assert evaluated.status.value == "SUCCEEDED"
    assert any("feed days: forgot 1 file(s), 1 rows; dropped no table" in line for line in told)
    assert call("forget", "days", "--stale").stdout == "Nothing to forget.\n"
    assert json.loads(call("sync", "--json").stdout)["warnings"] == []


@pytest.mark.long
def test_a_partition_is_forgotten_and_loaded_again_if_it_is_still_landed(
    folder: Path, call: Call, query: Query, use_location: UseLocation
) -> None:
    use_location(define_days())
    (folder / "2024-01-02.csv").unlink()
    both = ("--partition", "2024-01-01", "--partition", "2024-01-02")
    assert "1 of them have a landed file: the next tick" in call("forget", "days", *both).stdout
    told = json.loads(call("forget", "days", *both, "--yes", "--json").stdout)
    assert told["run_id"]
    assert told["forgotten"] == [
        {"partition_key": day, "file": f"{day}.csv", "rows": 1, "is_landed": is_landed}
        for day, is_landed in (("2024-01-01", True), ("2024-01-02", False))
    ]
    assert query("SELECT count(*) FROM days") == [(0,)]
    again = call("forget", "days", "--partition", "2024-01-02", "--yes")
    assert again.exit_code == 2
    assert "nothing is loaded of partition '2024-01-02'" in again.stderr
    assert "Loaded 1 file(s)" in call("sync").stdout
    assert query("SELECT partition_key FROM days") == [("2024-01-01",)]


@pytest.mark.long
def test_a_person_is_asked_at_a_terminal(
    folder: Path,
    call: Call,
    query: Query,
    use_location: UseLocation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_location(define_days())
    asked: list[str] = []

    def answer(question: str, **_: object) -> bool:
        asked.append(question)
        return len(asked) == 2

    monkeypatch.setattr(forget, "_has_terminal", lambda: True)
    monkeypatch.setattr(forget.click, "confirm", answer)
    one = ("forget", "days", "--partition", "2024-01-02")
    assert call(*one).exit_code == 1
    assert query("SELECT count(*) FROM days") == [(2,)]
    assert call(*one).exit_code == 0
    assert query("SELECT count(*) FROM days") == [(1,)]
    assert asked == ["Forget 1 file(s), 1 rows, of days?"] * 2


@pytest.mark.long
def test_a_feed_is_dropped_and_loaded_again_while_it_is_declared(
    folder: Path, call: Call, query: Query, use_location: UseLocation
) -> None:
    use_location(define_days())
    assert call("drop", "days").exit_code == 2
    result = call("drop", "days", "--yes")
    assert result.exit_code == 0, result.output
    told = "what is known of 2 file(s) of days, and table days with 2 rows"
    assert result.stdout.splitlines() == [
        "days is declared: what is landed, the next tick, or `sync`, loads again.",
        f"Dropped {told}.",
    ]
    assert query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'days'") == [(0,)]
    assert query("SELECT count(*) FROM file_loads") == [(0,)]
    assert "Loaded 2 file(s)" in call("sync").stdout


def test_of_a_feed_that_is_declared_no_more_the_table_is_named(
    folder: Path, call: Call, query: Query, use_location: UseLocation
) -> None:
    use_location(define_days())
    use_location(NAMES)
    for arguments, reason in {
        ("forget", "days", "--stale"): "there is no feed 'days'",
        ("drop", "never"): "feed 'never' is not declared, and nothing is loaded",
        ("drop", "days", "--table", "notes"): "table notes is the table of feed notes",
        ("drop", "notes", "--table", "days"): "feed notes is declared: its table is notes",
        ("forget", "notes"): "what is to be forgotten: --stale, or --partition KEY?",
    }.items():
        refused = call(*arguments, "--yes")
        assert refused.exit_code == 2
        assert reason in refused.stderr
    result = call("drop", "days", "--yes")
    assert "its table stays, unless you name it with --table" in result.stdout
    assert query("SELECT count(*) FROM file_loads") == [(0,)]
    assert query("SELECT count(*) FROM days") == [(2,)]
    told = json.loads(call("drop", "days", "--table", "days", "--yes", "--json").stdout)
    assert (told["table"], told["files"], told["rows"]) == ("days", 0, 2)
    assert query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'days'") == [(0,)]


def test_a_removal_that_fails_is_a_failure_and_removes_nothing(
    monthly: Path, call: Call, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(failpoints, "listener", fail)
    result = call("forget", "days", "--stale", "--yes")
    assert result.exit_code == 1
    assert result.stderr == "not removed: days: RuntimeError: the disk is full\n"
    assert query("SELECT count(*) FROM days") == [(2,)]
