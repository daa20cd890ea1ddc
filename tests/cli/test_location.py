"""Which feeds a command takes: those it names, of the code location that the settings name."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from partitioned_etl.components.isolation import Location, Mistake
from partitioned_etl.engine import project
from support.define import define_feed
from support.own_project import write_project
from support.sample_location import CUSTOMERS, DAILY, MONTHLY_ORDERS, monthly_partitions
from support.samples import order_rows, price_rows

Call = Callable[..., Result]
Query = Callable[..., list[tuple[object, ...]]]

BROKEN = Mistake("stock", "src/x/defs.yaml:3: reason")
SENTENCE = "broken: stock: src/x/defs.yaml:3: reason\n"


@pytest.fixture
def landed(landing_dir: Path) -> Path:
    """A landing directory with one sound file per feed."""
    (landing_dir / "daily" / "2018-01-22.csv").write_text(price_rows(1, 2))
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(3))
    (landing_dir / "monthly" / "2018-02.csv").write_text(order_rows("2018-02", "placed"))
    return landing_dir


@pytest.fixture
def broken(use_location: Callable[..., Location]) -> None:
    """A code location of two feeds, and of one that cannot be loaded."""
    use_location(DAILY, CUSTOMERS, mistakes=[BROKEN])


def test_two_named_feeds_are_planned_and_told_of_and_no_other(landed: Path, call: Call) -> None:
    named = ("--feed", "monthly_orders", "--feed", "daily_prices", "--feed", "daily_prices")
    planned = json.loads(call("plan", *named, "--json").stdout)["files"]
    assert [file["feed"] for file in planned] == ["monthly_orders", "daily_prices"]
    told = json.loads(call("status", *named, "--json").stdout)
    assert [feed["feed"] for feed in told["feeds"]] == ["monthly_orders", "daily_prices"]


def test_two_named_feeds_are_loaded_and_no_other(
    landed: Path, use_location: Callable[..., Location], call: Call, query: Query
) -> None:
    use_location(CUSTOMERS, DAILY, define_feed(MONTHLY_ORDERS, partitions_def=monthly_partitions))
    result = call("sync", "--feed", "daily_prices", "--feed", "monthly_orders", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["loaded"] == 2
    assert query("SELECT feed FROM file_loads ORDER BY feed") == [
        ("daily_prices",),
        ("monthly_orders",),
    ]


@pytest.mark.parametrize("command", ["plan", "status"])
def test_a_broken_feed_is_named_and_hides_no_other(
    command: str, landed: Path, broken: None, call: Call
) -> None:
    result = call(command)
    assert (result.exit_code, result.stderr) == (1, SENTENCE)
    assert "daily_prices" in result.stdout
    assert "customer_prices" in result.stdout
    alone = call(command, "--feed", "daily_prices")
    assert (alone.exit_code, alone.stderr) == (0, "")


def test_a_broken_feed_is_named_and_stops_no_other(
    landed: Path, broken: None, call: Call, query: Query
) -> None:
    (landed / "customers" / "acme.csv").unlink()
    result = call("sync")
    assert (result.exit_code, result.stderr) == (1, SENTENCE)
    assert "Loaded 1 file(s)" in result.stdout
    assert query("SELECT feed, status FROM file_loads") == [("daily_prices", "loaded")]
    alone = call("sync", "--feed", "daily_prices")
    assert (alone.exit_code, alone.stderr) == (0, "")


@pytest.mark.parametrize("command", ["plan", "sync", "status"])
def test_a_broken_feed_alone_is_all_that_is_told_of(
    command: str, landed: Path, broken: None, call: Call, database: Path
) -> None:
    result = call(command, "--feed", "stock")
    assert (result.exit_code, result.stderr) == (1, SENTENCE)
    assert "prices" not in result.stdout
    assert "Nothing" not in result.stdout
    assert not database.exists()


def test_a_broken_feed_is_in_the_json_of_sync_and_status(
    landed: Path, broken: None, call: Call
) -> None:
    synced = call("sync", "--feed", "stock", "--json")
    told = json.loads(synced.stdout)
    assert told == {"loaded": 0, "files": [], "problems": [SENTENCE.strip()], "warnings": []}
    status = json.loads(call("status", "--json").stdout)
    assert status["broken"] == [{"name": "stock", "reason": "src/x/defs.yaml:3: reason"}]
    planned = call("plan", "--json")
    files = json.loads(planned.stdout)["files"]
    assert [file["file"] for file in files] == ["acme.csv", "2018-01-22.csv"]
    assert (planned.exit_code, planned.stderr) == (1, SENTENCE)


@pytest.mark.parametrize("command", ["plan", "sync", "status"])
def test_a_feed_that_cannot_be_looked_at_counts_more_than_a_broken_one(
    command: str, landing_dir: Path, broken: None, call: Call
) -> None:
    (landing_dir / "customers").rmdir()
    (landing_dir / "customers").write_text("a file where the folder was")
    result = call(command)
    assert result.exit_code == 2
    assert "error: feed customer_prices: cannot list" in result.stderr
    assert SENTENCE in result.stderr


@pytest.mark.parametrize("command", ["plan", "sync", "status"])
def test_an_unknown_feed_ends_with_two_and_the_names_of_those_there_are(
    command: str, landed: Path, broken: None, call: Call, database: Path
) -> None:
    result = call(command, "--feed", "daily_prices", "--feed", "nope")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "error: there is no feed 'nope'; there are customer_prices, daily_prices, stock (broken)\n"
    )
    assert not database.exists()


@pytest.mark.parametrize(("name", "meant"), [("daily_price", "daily_prices"), ("stok", "stock")])
def test_a_misspelled_feed_is_refused_with_the_one_that_is_meant(
    name: str, meant: str, broken: None, call: Call
) -> None:
    result = call("plan", "--feed", name)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: there is no feed {name!r}; there are ")
    assert result.stderr.endswith(f"stock (broken); did you mean {meant!r}?\n")


@pytest.mark.parametrize("command", ["plan", "sync", "status"])
@pytest.mark.parametrize("name", ["nowhere", "nowhere.at.all", "support.nowhere"])
def test_a_code_location_that_does_not_exist_ends_with_two_and_one_sentence(
    command: str, name: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFINITIONS_MODULE", name)
    result = call(command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: setting DEFINITIONS_MODULE: no module '{name}'\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import brok", r"'broken2': .*broken2.py:1: ModuleNotFoundError: No module named 'brok'"),
        ("1 / 0", r"'broken2': .*broken2.py:1: ZeroDivisionError"),
        ("x = 1", r"module 'broken2' has neither `location` nor `defs`"),
    ],
)
def test_a_code_location_that_cannot_be_used_ends_with_two_and_the_reason(
    code: str, reason: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken2.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken2", raising=False)
    monkeypatch.setenv("DEFINITIONS_MODULE", "broken2")
    result = call("plan")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(f"error: setting DEFINITIONS_MODULE: {reason}", result.stderr), result.stderr


def test_definitions_alone_are_a_code_location(
    landed: Path, use_location: Callable[..., Location], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = use_location(DAILY).definitions
    monkeypatch.delattr("location_of_one_test.location")
    monkeypatch.setattr("location_of_one_test.defs", definitions, raising=False)
    [planned] = json.loads(call("plan", "--json").stdout)["files"]
    assert planned["file"] == "2018-01-22.csv"


def test_without_a_project_it_is_said_how_to_come_to_one(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEFINITIONS_MODULE")
    monkeypatch.chdir(tmp_path)
    result = call("plan")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: there is no project in {tmp_path} or above it: go to one, name a module in "
        "DEFINITIONS_MODULE, or make a project by `partitioned-etl init`\n"
    )


def test_a_project_that_is_not_installed_is_found_where_it_lies(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEFINITIONS_MODULE")
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = write_project(tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own" / "src" / name / "defs")
    result = call("status", "--json")
    assert (result.exit_code, json.loads(result.stdout)["feeds"]) == (0, []), result.stderr
    assert project.project_dir() == tmp_path / "own"


@pytest.mark.parametrize(
    "command",
    [("plan",), ("status", "--json"), ("query", "SELECT 1 AS n"), ("infer", "data.csv")],
)
def test_settings_are_those_of_the_definitions_wherever_the_command_is_called(
    command: tuple[str, ...],
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for setting in ("LANDING_DIR", "DUCKDB_DATABASE", "SETTLE_SECONDS"):
        monkeypatch.delenv(setting, raising=False)
    name = write_project(tmp_path / "own")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "own" / "src"), *sys.path])
    (tmp_path / "own" / ".env").write_text("SETTLE_SECONDS=soon\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".env").write_text("MAX_FILES_PER_RUN=none\n")
    (tmp_path / "here" / "data.csv").write_text("id\n1\n")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("DEFINITIONS_MODULE", f"{name}.definitions")
    monkeypatch.setenv("MAX_FILES_PER_RUN", "7")
    result = call(*command)
    assert result.exit_code == 2
    assert "setting SETTLE_SECONDS: " in result.stderr
    assert project.project_dir() == tmp_path / "own"


@pytest.mark.parametrize(
    ("command", "reason"),
    [(("plan",), "ZeroDivisionError"), (("infer", "data.csv", "--write"), "no module")],
)
def test_a_project_whose_package_cannot_be_imported_is_an_error_with_its_reason(
    command: tuple[str, ...],
    reason: str,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "own"
    write_project(folder, {"__init__.py": "1 / 0\n"})
    (folder / "data.csv").write_text("id\n1\n")
    monkeypatch.delenv("DEFINITIONS_MODULE")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(folder)
    result = call(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error: project {folder}: " in result.stderr
    assert reason in result.stderr
