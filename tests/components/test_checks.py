"""Checks of a feed: each says why, fails for what is refused, and blocks no good partition."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from partitioned_etl.components import isolation
from partitioned_etl.components.checks import CHECK_NAMES, CheckedState
from partitioned_etl.components.ranges import range_tags
from partitioned_etl.engine.landing.landing import Listing, PassedOver
from partitioned_etl.engine.warehouse.ledger import Ledger
from support.define import define_feed, define_location
from support.location import Location
from support.sample_location import DAILY_PRICES, daily_partitions, define_customers, defs
from support.samples import price_rows
from support.workbench import NOTES, change_feed

OPEN_DAYS = dg.DailyPartitionsDefinition("2018-01-01")
WARNINGS = (CHECK_NAMES.file_is_on_time, CHECK_NAMES.partition_is_of_usual_size)


def test_the_sample_of_2018_fails_neither_check(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    found = evaluate(landing_dir, resources, instance, daily_partitions, ["2018-01-22"], [3])
    assert found == dict.fromkeys(WARNINGS, (True, []))


def test_a_missing_day_and_a_short_one_are_warned_of(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    today = datetime.now(UTC).date()
    days = [str(today - timedelta(days=ago)) for ago in range(9, 2, -1)]
    found = evaluate(landing_dir, resources, instance, OPEN_DAYS, days, [8] * 6 + [2])
    # Yesterday's file is due at seven today, so it is missing only from then on.
    assert str(today - timedelta(days=2)) in found[CHECK_NAMES.file_is_on_time][1]
    assert found[CHECK_NAMES.partition_is_of_usual_size] == (False, [days[-1]])


def evaluate(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    partitions_def: dg.PartitionsDefinition,
    days: list[str],
    row_counts: list[int],
) -> dict[str, tuple[bool, list[str]]]:
    """Load days in one run, and give verdict and named partitions of the two warnings."""
    for day, row_count in zip(days, row_counts, strict=True):
        path = landing_dir / "daily" / f"{day}.csv"
        path.write_text(price_rows(*range(1, row_count + 1)), encoding="utf-8")
        os.utime(path)
    result = dg.materialize(
        [define_feed(DAILY_PRICES, partitions_def=partitions_def).definition],
        instance=instance,
        partition_key=None if days[1:] else days[0],
        tags=range_tags(days),
        resources=resources,
    )
    found = {}
    for evaluation in result.get_asset_check_evaluations():
        if evaluation.check_name in WARNINGS:
            assert evaluation.severity is dg.AssetCheckSeverity.WARN
            reasons = evaluation.metadata["reasons"].value
            assert isinstance(reasons, dict)
            found[evaluation.check_name] = (evaluation.passed, list(reasons))
    return found


@pytest.mark.parametrize(
    ("policy", "severity"),
    [("warn", dg.AssetCheckSeverity.WARN), ("fail", dg.AssetCheckSeverity.ERROR)],
)
def test_a_file_of_no_feed_fails_a_check_as_severely_as_the_feed_says(
    policy: str, severity: dg.AssetCheckSeverity
) -> None:
    check = dg.AssetCheckKey(dg.AssetKey("notes"), CHECK_NAMES.every_file_is_matched)
    feed = change_feed(NOTES, unmatched=policy)
    other = change_feed(NOTES, name="other", table="other", pattern="{key}.txt")
    names = ("a.txt", "b.CSV", "c.md")
    entries = [PassedOver(name, "another pattern", is_unmatched=True) for name in names]
    listing = Listing(ignored=[*entries, PassedOver(".hidden", "hidden file")])
    [result] = CheckedState(feed, Ledger(), listing, others=[other]).evaluate([check])
    assert (result.passed, result.severity) == (False, severity)
    assert {name: one.value for name, one in result.metadata.items()} == {
        "unmatched_entries": 2,
        "reasons": {"b.CSV": "another pattern", "c.md": "another pattern"},
    }
    [result] = CheckedState(feed, Ledger(), Listing()).evaluate([check])
    assert result.passed


def test_a_file_of_no_feed_is_told_by_the_run_of_a_load_and_every_night(
    landing_dir: Path, database: Path, instance: dg.DagsterInstance
) -> None:
    """The other feed of the location has files in the same folder."""
    days = define_feed(DAILY_PRICES, partitions_def=daily_partitions)
    others = define_feed(change_feed(NOTES, folder="daily", pattern="{key}.txt"))
    location = Location(
        isolation.Location(define_location(days, others)).definitions, days, instance
    )
    for name in ("2018-01-22.csv", "note.txt", "README.md"):
        (landing_dir / "daily" / name).write_text(price_rows(1), encoding="utf-8")
    [request] = location.tick()
    for result in (location.execute(request), location.reconcile()):
        [told] = [
            one
            for one in result.get_asset_check_evaluations()
            if one.check_name == CHECK_NAMES.every_file_is_matched
        ]
        assert not told.passed
        reasons = told.metadata["reasons"].value
        assert isinstance(reasons, dict)
        assert [*reasons] == ["README.md"]


def test_each_result_says_its_reason_in_words_that_cannot_act(
    landing_dir: Path, database: Path, instance: dg.DagsterInstance
) -> None:
    """In the web UI, a description is rendered as markdown; names of files are strangers' texts."""
    customers = define_customers()
    location = Location(define_location(customers), customers, instance)
    for key, price in (("acme", 1), ("www.evil.example", -1), ("![x](graphql)", 1)):
        (landing_dir / "customers" / f"{key}.csv").write_text(price_rows(price), encoding="utf-8")
    (landing_dir / "customers" / "![y](z).txt").write_text("what is this?", encoding="utf-8")
    location.settle()
    results = location.reconcile().get_asset_check_evaluations()
    told = {result.check_name: result.description or "" for result in results}
    broken = (
        "www.evil.example.csv: line 2, column share_price: not greater than 0 "
        "(share_price_is_positive)"
    )
    assert told["share_price_is_positive"].split("\n") == [
        "Refused partitions: 1",
        "",
        f"- `www.evil.example: {broken}`",
    ]
    title, _, first, second = told["matches_contract"].split("\n")
    assert (title, first) == ("Refused partitions: 2", f"- `www.evil.example: {broken}`")
    assert second.startswith("- `![x](graphql).csv: partition key '![x](graphql)' is not made of")
    assert told["rows_add_up"] == "The files have 1 rows that are loaded and 0 rejected."
    assert told["table_equals_landing"].startswith("Differences: 1\n\n- `a landed file cannot be")
    assert told["every_file_is_matched"].startswith("Unmatched entries: 1\n\n- `![y](z).txt: ")
    (landing_dir / "customers" / "![x](graphql).csv").unlink()
    (landing_dir / "customers" / "![y](z).txt").unlink()
    (landing_dir / "customers" / "www.evil.example.csv").write_text(price_rows(1), encoding="utf-8")
    location.settle()
    results = location.reconcile().get_asset_check_evaluations()
    told = {result.check_name: result.description or "" for result in results}
    assert told == {
        "every_file_is_matched": "Nothing in the folder is a file of no feed.",
        "matches_contract": "No landed file is refused.",
        "rows_add_up": "The files have 2 rows that are loaded and 0 rejected.",
        "share_price_is_positive": "No landed file breaks it.",
        "table_equals_landing": "Landing, ledger, table and Dagster agree.",
    }


def test_a_file_that_fits_no_partition_fails_the_check_of_the_contract() -> None:
    check = dg.AssetCheckKey(dg.AssetKey("notes"), CHECK_NAMES.matches_contract)
    listing = Listing(refused=[PassedOver("2017-01-01.csv", "before the feed's first day")])
    [result] = CheckedState(NOTES, Ledger(), listing).evaluate([check])
    assert not result.passed
    assert result.description == (
        "Refused partitions: 1\n\n- `2017-01-01.csv: before the feed's first day`"
    )


def test_a_refused_file_blocks_neither_other_partitions_nor_what_is_downstream_of_them(
    landing_dir: Path, database: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    """A check speaks of the whole feed, so none is blocking: decision 0028."""
    customers = define_customers()
    location = Location(define_location(customers), customers, instance)
    for key, price in (("acme", 1), ("broken", -1)):
        (landing_dir / "customers" / f"{key}.csv").write_text(price_rows(price), encoding="utf-8")
    location.settle()
    result = dg.materialize(
        [customers.definition, defs.get_assets_def(dg.AssetKey("customer_copies"))],
        instance=instance,
        partition_key="acme",
        resources=resources,
    )
    assert result.success
    verdicts = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    assert not verdicts[CHECK_NAMES.matches_contract]
    assert result.asset_materializations_for_node("customer_copies")
    checks = customers.definition.check_specs
    assert [spec.name for spec in checks if spec.blocking] == []
