"""`partitioned-etl explain`: what the feeds make of one file, without loading it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from partitioned_etl.components.isolation import Location, Mistake
from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.landing import found
from partitioned_etl.engine.sync import sync_feed
from support.define import define_feed
from support.partitioned_location import CUSTOMER_DAYS
from support.sample_location import CUSTOMER_PRICES, CUSTOMERS, DAILY, define_customers
from support.samples import price_rows
from support.workbench import NOTES, change_feed

Call = Callable[..., Result]
Query = Callable[..., list[tuple[object, ...]]]
UseLocation = Callable[..., Location]

RULES = ["file", "columns", "rows", "types", "share_price_is_positive"]
BAD_LINE = "line 3, column share_price: not greater than 0 (share_price_is_positive)"


@pytest.fixture
def acme(landing_dir: Path) -> Path:
    """A sound file of a customer."""
    path = landing_dir / "customers" / "acme.csv"
    path.write_text(price_rows(1, 2))
    return path


def take(result: Result) -> dict[str, Any]:
    """Give what the one feed says that takes a file."""
    [taken] = [feed for feed in json.loads(result.stdout)["feeds"] if feed["takes"]]
    return taken


def verdicts_of(taken: dict[str, Any]) -> dict[str, str]:
    return {one["rule"]: one["verdict"] for one in taken["verdicts"]}


def test_a_file_that_has_landed_is_explained_and_nothing_is_loaded(
    acme: Path, landing_dir: Path, database: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(landing_dir)
    for name in ("customers/acme.csv", acme, "./customers/../customers/acme.csv"):
        result = call("explain", name, "--json")
        assert result.exit_code == 0, result.output
        taken = take(result)
        assert (taken["feed"], taken["name"]) == ("customer_prices", "acme.csv")
        assert (taken["partition_key"], taken["state"], taken["next"]) == ("acme", "new", "load")
        assert (taken["row_count"], taken["ready"], taken["ledger"]) == (2, "settled", [])
        assert verdicts_of(taken) == dict.fromkeys(RULES, "passed")
        assert [row["share_price"] for row in taken["sample"]] == [1.0, 2.0]
        others = {one["feed"]: one["reason"] for one in json.loads(result.stdout)["feeds"]}
        assert others["daily_prices"] == "the file lies outside of its folder daily/"
    assert not database.exists()
    monkeypatch.chdir("/")
    text = call("explain", "customers/acme.csv").stdout
    assert "customers/acme.csv: feed customer_prices takes it." in text
    assert "  passed       columns: found date, share_price" in text
    assert "  monthly_orders: the file lies outside of its folder monthly/" in text


def test_what_the_ledger_knows_is_told(
    acme: Path, landing_dir: Path, database: Path, call: Call, query: Query
) -> None:
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    before = query("SELECT * FROM file_loads")
    taken = take(call("explain", acme, "--json"))
    assert (taken["state"], taken["next"]) == ("identical", "nothing")
    assert [line.partition(", at ")[0] for line in taken["ledger"]] == ["acme.csv: loaded, 2 rows"]
    acme.write_text(price_rows(1, -2), encoding="utf-8")
    taken = take(call("explain", acme, "--json"))
    assert (taken["state"], taken["next"], taken["row_count"]) == ("changed", "refuse", None)
    assert taken["reason"] == f"acme.csv: {BAD_LINE}"
    assert query("SELECT * FROM file_loads") == before
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    result = call("explain", acme, "--json")
    assert (result.exit_code, take(result)["state"]) == (1, "refused")


def test_of_many_files_that_are_set_aside_one_is_found(
    acme: Path, landing_dir: Path, database: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "c"):
        acme.with_name(f"{name}.csv").write_text(price_rows(1))
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    monkeypatch.setattr(found, "MOST_OBJECTS", 2)
    taken = take(call("explain", acme, "--json"))
    assert (taken["state"], taken["row_count"]) == ("identical", 2)
    assert taken["ledger"][0].startswith("acme.csv: loaded, 2 rows, at ")


@pytest.mark.parametrize(
    ("content", "failed", "not_reached", "told"),
    [
        (b"\xff\xfe", "file", RULES[1:], "the bytes are not utf-8"),
        (b"", "file", RULES[1:], "the file is empty"),
        (b"date;share_price\n", "columns", RULES[2:], "line 1: header: column date is missing"),
        (price_rows(1).encode() + b"2018-01-01,1\n", "rows", RULES[3:], "line 3: 2 fields inst"),
        (
            price_rows(9).replace(",9,", ",x,").encode(),
            "types",
            [],
            "line 2, column share_price: not a DOUBLE",
        ),
        (price_rows(1, -7).encode(), "share_price_is_positive", [], BAD_LINE),
    ],
)
def test_the_rule_that_a_file_breaks_is_named_with_line_and_column(
    content: bytes, failed: str, not_reached: list[str], told: str, acme: Path, call: Call
) -> None:
    acme.write_bytes(content)
    result = call("explain", acme, "--json")
    assert result.exit_code == 1
    taken = take(result)
    passed = dict.fromkeys(RULES, "passed")
    expected = passed | {failed: "failed"} | dict.fromkeys(not_reached, "not reached")
    assert verdicts_of(taken) == expected
    [broken] = [one for one in taken["verdicts"] if one["verdict"] == "failed"]
    assert told in broken["problems"][0]
    assert taken["sample"] == []
    text = call("explain", acme).stdout
    assert f"  FAILED       {failed}: " in text
    assert told in text


def test_rows_that_would_be_rejected_fail_their_rule_and_the_others_would_load(
    acme: Path, call: Call, use_location: UseLocation
) -> None:
    lenient = change_feed(CUSTOMER_PRICES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=50)
    use_location(define_customers(lenient))
    acme.write_text(price_rows(1, 2, -7), encoding="utf-8")
    result = call("explain", acme, "--json")
    taken = take(result)
    assert (result.exit_code, taken["next"], taken["rejected_rows"]) == (0, "load", 1)
    assert verdicts_of(taken)["share_price_is_positive"] == "failed"
    assert len(taken["sample"]) == 2


@pytest.mark.parametrize(
    ("name", "feed", "reason"),
    [
        ("customers/.acme.csv", "customer_prices", "hidden file"),
        ("customers/acme.csv.part", "customer_prices", "temporary file"),
        ("customers/acme.txt", "customer_prices", "the name does not match the pattern"),
        ("daily/2018-02-31.csv", "daily_prices", "the name holds no date of the form"),
    ],
)
def test_a_file_that_no_feed_takes_is_told_with_each_feeds_reason(
    name: str, feed: str, reason: str, landing_dir: Path, call: Call
) -> None:
    (landing_dir / name).write_text("x")
    result = call("explain", name, "--json")
    assert result.exit_code == 1
    told = {one["feed"]: one["reason"] for one in json.loads(result.stdout)["feeds"]}
    assert reason in told[feed]
    assert "no feed takes it." in call("explain", name).stdout


def test_what_a_feed_takes_and_refuses_for_its_name_is_told_with_the_reason(
    landing_dir: Path, call: Call
) -> None:
    early = landing_dir / "daily" / "2001-01-01.csv"
    early.write_text(price_rows(1))
    result = call("explain", early, "--json")
    taken = take(result)
    assert (result.exit_code, taken["next"], taken["verdicts"]) == (1, "refuse", [])
    assert taken["reason"].startswith("partition key 2001-01-01 is outside the window")
    assert taken["window"][0] == "2001-01-01T00:00:00+00:00"
    assert taken["due_at"] == "2001-01-02T07:00:00+00:00"


def test_a_file_that_two_feeds_take_is_explained_by_both(
    landing_dir: Path, call: Call, use_location: UseLocation
) -> None:
    first = change_feed(NOTES, folder="customers", pattern="a_{key}.csv")
    second = change_feed(first, name="others", table="others", pattern="{key}_b.csv")
    use_location(define_feed(first), define_feed(second))
    (landing_dir / "customers" / "a_x_b.csv").write_text("id,note\n1,x\n", encoding="utf-8")
    result = call("explain", "customers/a_x_b.csv", "--json")
    told = json.loads(result.stdout)["feeds"]
    assert result.exit_code == 1
    assert [one["reason"] for one in told] == [
        "feed others takes this file, too: neither loads it",
        "feed notes takes this file, too: neither loads it",
    ]


def test_a_file_waits_for_its_marker_and_a_marker_is_told_as_one(
    acme: Path, call: Call, use_location: UseLocation
) -> None:
    use_location(define_customers(change_feed(CUSTOMER_PRICES, done_suffix=".done")))
    result = call("explain", acme, "--json")
    taken = take(result)
    assert (result.exit_code, taken["next"]) == (0, "wait")
    assert taken["ready"] == "its marker file has not landed"
    marker = acme.with_name("acme.csv.done")
    marker.touch()
    assert take(call("explain", acme, "--json"))["ready"] == "settled, with its marker"
    assert "it is a marker" in call("explain", marker).stdout


def test_a_part_and_its_period_are_told(
    landing_dir: Path, call: Call, monkeypatch: pytest.MonkeyPatch, use_location: UseLocation
) -> None:
    use_location(define_feed(change_feed(NOTES, pattern="{key}_{part}.csv")))
    folder = landing_dir / NOTES.folder
    folder.mkdir(exist_ok=True)
    (folder / "a_2.csv").write_text("id,note\n1,x\n", encoding="utf-8")
    taken = take(call("explain", folder / "a_2.csv", "--json"))
    assert (taken["partition_key"], taken["part"]) == ("a", "2")
    assert CUSTOMER_DAYS.window_of(f"acme|{datetime.now(UTC).date()}")


def test_a_file_elsewhere_is_tried_as_if_it_had_landed(
    acme: Path, landing_dir: Path, database: Path, call: Call, tmp_path: Path
) -> None:
    sync_feed(CUSTOMER_PRICES, landing_dir, database, settle_seconds=0)
    sample = tmp_path / "acme.csv"
    sample.write_text(price_rows(1, 2, 3))
    unnamed = call("explain", sample)
    assert unnamed.exit_code == 2
    assert "say by --feed NAME whose it would be" in " ".join(unnamed.stderr.split())
    result = call("explain", sample, "--feed", "customer_prices", "--json")
    taken = take(result)
    assert (result.exit_code, taken["state"], taken["next"]) == (0, "elsewhere", "load")
    assert (taken["row_count"], taken["landed_at"]) == (3, None)
    assert taken["ledger"][0].startswith("acme.csv: loaded, 2 rows")
    assert call("explain", sample, "--feed", "daily_prices").exit_code == 1
    outside = tmp_path / "2001-01-01.csv"
    outside.write_text(price_rows(1))
    early = call("explain", outside, "--feed", "daily_prices", "--json")
    assert (early.exit_code, take(early)["next"]) == (1, "refuse")
    assert list((landing_dir / "customers").iterdir()) == [acme]


def test_a_file_elsewhere_keeps_the_folders_that_its_pattern_has(
    call: Call, tmp_path: Path, use_location: UseLocation
) -> None:
    use_location(define_feed(change_feed(NOTES, pattern="{key}/notes.csv")))
    sample = tmp_path / "acme" / "notes.csv"
    sample.parent.mkdir()
    sample.write_text("id,note\n1,x\n", encoding="utf-8")
    taken = take(call("explain", sample, "--feed", "notes", "--json"))
    assert (taken["partition_key"], taken["name"]) == ("acme", "acme/notes.csv")


def test_a_file_that_is_nowhere_ends_with_two_and_one_line(landing_dir: Path, call: Call) -> None:
    result = call("explain", "customers/nobody.csv")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "there is no file 'customers/nobody.csv', here or in " in result.stderr


def test_a_feed_that_cannot_be_looked_at_or_loaded_hides_no_other(
    acme: Path, landing_dir: Path, call: Call, use_location: UseLocation
) -> None:
    away = change_feed(NOTES, folder=".", pattern="{key}/{any}.csv")
    use_location(CUSTOMERS, DAILY, mistakes=[Mistake("stock", "reason")])
    result = call("explain", acme, "--json")
    assert (result.exit_code, result.stderr) == (1, "broken: stock: reason\n")
    assert take(result)["row_count"] == 2
    gone = change_feed(away, landing=str(landing_dir / "gone"))
    use_location(CUSTOMERS, define_feed(gone))
    assert take(call("explain", acme, "--json"))["row_count"] == 2


def test_a_name_that_controls_a_terminal_cannot(landing_dir: Path, call: Call) -> None:
    name = "customers/a\x1b[1m.csv"
    (landing_dir / name).write_text(price_rows(1))
    result = call("explain", name)
    assert "\x1b" not in result.output
