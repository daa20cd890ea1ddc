"""`partitioned-etl status` for monitoring: states that are a failure, and text for Prometheus."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from partitioned_etl.cli.options import FAIL_STATES
from partitioned_etl.cli.prometheus import METRICS, render_metrics
from partitioned_etl.components.agenda import mark_of
from partitioned_etl.components.isolation import Location, Mistake
from partitioned_etl.components.sensor import LandingCursor
from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.feed_status import COUNTS
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.plan import MAX_ATTEMPTS, Action
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.sync import sync_feed
from support.define import define_feed
from support.sample_location import (
    CUSTOMER_PRICES,
    CUSTOMERS,
    DAILY,
    DAILY_PRICES,
    define_customers,
)
from support.samples import price_rows
from support.workbench import change_feed

Call = Callable[..., Result]
UseLocation = Callable[..., Location]

SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (-?[0-9.e+]+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"')
ESCAPED = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
NAMED = ("--feed", "customer_prices")

Metrics = dict[str, dict[tuple[str, ...], float]]


def parse(text: str) -> Metrics:
    """Read Prometheus's text format strictly; give the values by metric and label values."""
    found: Metrics = {}
    helped = typed = ""
    assert text.endswith("\n")
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            helped, _, told = line.removeprefix("# HELP ").partition(" ")
            assert told
            assert helped not in found, "the samples of a metric are one group"
        elif line.startswith("# TYPE "):
            typed, kind = line.removeprefix("# TYPE ").split(" ")
            assert (typed, kind) == (helped, "gauge")
            found[typed] = {}
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            name, labels, value = sample.groups()
            assert name == typed
            names = [label for label, _ in LABEL.findall(labels)]
            assert names[0] == "feed"
            values = tuple(
                re.sub(r'\\[\\"n]', lambda match: ESCAPED[match[0]], label)
                for _, label in LABEL.findall(labels)
            )
            assert values not in found[name], "a sample is told once"
            found[name][values] = float(value)
    assert all(found.values())
    return found


@pytest.fixture
def customers(landing_dir: Path, database: Path) -> Path:
    """The customers' folder with a loaded and a refused file, one that waits, and a note."""
    folder = landing_dir / "customers"
    (folder / "acme.csv").write_text(price_rows(1, 2))
    (folder / "bad.csv").write_text(price_rows(1, -7))
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    (folder / "new.csv").write_text(price_rows(4))
    (folder / "README.md").write_text("hello")
    return folder


def test_every_state_is_counted_and_documented() -> None:
    assert list(COUNTS) == list(FAIL_STATES)
    page = (project_dir() / "docs" / "command-line.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert dict(rows).items() >= FAIL_STATES.items()


@pytest.mark.parametrize(
    ("states", "failing"),
    [
        ("refused", "1 refused (customer_prices 1)"),
        (
            "waiting,refused, unmatched",
            "1 refused (customer_prices 1); 1 unmatched (customer_prices 1); "
            "1 waiting (customer_prices 1)",
        ),
        ("late,stale,rejected,failed", ""),
    ],
)
def test_what_is_in_a_state_to_fail_on_is_counted_in_one_line(
    states: str, failing: str, customers: Path, call: Call
) -> None:
    assert call("status").exit_code == 0
    for form in ("table", "json", "prometheus"):
        result = call("status", "--fail-on", states, "--format", form)
        assert result.exit_code == bool(failing)
        assert result.stderr == (f"failing: {failing}\n" if failing else "")
    several = [part for state in states.split(",") for part in ("--fail-on", state)]
    assert call("status", *several).exit_code == bool(failing)


def test_rejected_rows_and_stale_files_fail(
    customers: Path, landing_dir: Path, database: Path, call: Call, use_location: UseLocation
) -> None:
    lenient = change_feed(CUSTOMER_PRICES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=90)
    sync_feed(lenient, landing_dir, database, settle_seconds=0)
    result = call("status", "--fail-on", "rejected")
    assert (result.exit_code, result.stderr) == (1, "failing: 1 rejected (customer_prices 1)\n")
    use_location(define_customers(change_feed(CUSTOMER_PRICES, pattern="{key}.tsv")))
    result = call("status", "--fail-on", "stale")
    assert (result.exit_code, result.stderr) == (1, "failing: 3 stale (customer_prices 3)\n")


def test_a_due_partition_of_which_nothing_is_loaded_is_late(
    landing_dir: Path, database: Path, call: Call, use_location: UseLocation
) -> None:
    today = datetime.now(UTC).date()
    feed = change_feed(DAILY_PRICES, start=today - timedelta(days=3), due_after_hours=0)
    use_location(define_feed(feed), CUSTOMERS)
    days = [f"{today - timedelta(days=ago)}" for ago in (3, 2, 1, 0)]
    (landing_dir / "daily" / f"{days[0]}.csv").write_text(price_rows(1))
    sync_feed(feed, landing_dir, database, settle_seconds=0)
    result = call("status", "--fail-on", "late", "--json")
    assert (result.exit_code, result.stderr) == (1, "failing: 2 late (daily_prices 2)\n")
    [customers, daily] = json.loads(result.stdout)["feeds"]
    assert [entry["partition_key"] for entry in daily["late"]] == days[1:3]
    assert "no file has come; it was due at" in daily["late"][0]["reason"]
    assert customers["late"] == []
    assert f"late: daily_prices: partition {days[1]}: no file has come" in call("status").stdout


def test_what_a_sensor_tried_in_vain_has_failed_and_dagster_is_asked_only_then(
    customers: Path, landing_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    [status] = json.loads(call("status", *NAMED, "--json").stdout)["feeds"]
    assert status["failed"] is None
    files = LocalLanding(landing_dir, settle_seconds=0).list_files(CUSTOMER_PRICES).by_key["new"]
    cursor = LandingCursor()
    monkeypatch.setattr("partitioned_etl.cli.plan._read_cursor", lambda *_: cursor)
    arguments = ("status", *NAMED, "--fail-on", "failed", "--json")
    assert call(*arguments).exit_code == 0
    for _ in range(MAX_ATTEMPTS):
        cursor.attempts.note("new", mark_of(files))
    result = call(*arguments)
    assert (result.exit_code, result.stderr) == (1, "failing: 1 failed (customer_prices 1)\n")
    [failed] = json.loads(result.stdout)["feeds"][0]["failed"]
    assert (failed["file"], "was requested 3 times" in failed["reason"]) == ("new.csv", True)
    text = call("status", "--fail-on", "failed", "--format", "prometheus").stdout
    assert parse(text)["partitioned_etl_failed_files"]["customer_prices",] == 1


def test_an_unknown_state_is_refused_with_those_there_are(call: Call) -> None:
    result = call("status", "--fail-on", "late,broken")
    assert result.exit_code == 2
    assert "'broken' is none of late, refused, rejected, unmatched, waiting" in result.stderr


def test_two_forms_of_one_output_are_refused(call: Call) -> None:
    assert call("status", "--json", "--format", "prometheus").exit_code == 2
    assert call("status", "--json", "--format", "json").exit_code == 0


def test_the_metrics_tell_what_the_status_tells(customers: Path, call: Call) -> None:
    before = time.time()
    metrics = parse(call("status", "--format", "prometheus").stdout)
    [status] = json.loads(call("status", *NAMED, "--json").stdout)["feeds"]
    told = {
        name.removeprefix("partitioned_etl_"): values["customer_prices",]
        for name, values in metrics.items()
        if ("customer_prices",) in values
    }
    assert told.pop("last_load_timestamp_seconds") == pytest.approx(
        datetime.fromisoformat(status["last_load"]).timestamp(), abs=0.01
    )
    assert 0 <= told.pop("last_load_age_seconds") < 600
    assert 0 <= told.pop("oldest_waiting_seconds") < 600 + time.time() - before
    assert told == {
        "feed_up": 1,
        "partitions": 1,
        "rows": 2,
        "rejected_rows": 0,
        "refused_files": 1,
        "waiting_files": 1,
        "late_partitions": 0,
        "unmatched_entries": 1,
        "unfetched_files": 0,
        "stale_files": 0,
    }
    files = metrics["partitioned_etl_files"]
    of_states = {state: files["customer_prices", str(state)] for state in Action}
    assert {state: count for state, count in of_states.items() if count} == {
        Action.NEW: 1,
        Action.IDENTICAL: 1,
        Action.REFUSED: 1,
    }
    assert {name.removeprefix("partitioned_etl_") for name in metrics} <= METRICS.keys()
    assert "daily_prices" not in {
        feed for (feed, *_) in metrics["partitioned_etl_last_load_timestamp_seconds"]
    }


def test_a_feed_that_is_broken_or_cannot_be_looked_at_is_down_and_hides_no_other(
    landing_dir: Path, call: Call, use_location: UseLocation
) -> None:
    away = change_feed(CUSTOMER_PRICES, landing=str(landing_dir / "away"))
    use_location(define_customers(away), DAILY, mistakes=[Mistake('a "b"\\\n', "reason")])
    result = call("status", "--format", "prometheus")
    assert result.exit_code == 2
    assert parse(result.stdout)["partitioned_etl_feed_up"] == {
        ("customer_prices",): 0,
        ("daily_prices",): 1,
        ('a "b"\\\n',): 0,
    }


def test_a_name_that_cannot_be_written_is_told_all_the_same() -> None:
    assert parse(render_metrics(["\udcff"], []) + "\n") == {"partitioned_etl_feed_up": {("?",): 0}}
