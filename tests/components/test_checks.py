"""Checks of a feed: late files and short ones are warned of."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from partitioned_etl.components.checks import CHECK_NAMES
from partitioned_etl.components.ranges import range_tags
from support.define import define_feed
from support.sample_location import DAILY_PRICES, daily_partitions
from support.samples import price_rows

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
