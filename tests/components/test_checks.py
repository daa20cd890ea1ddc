"""Checks of a feed: late files, short ones and files of no feed are warned of."""

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
from support.sample_location import DAILY_PRICES, daily_partitions
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
