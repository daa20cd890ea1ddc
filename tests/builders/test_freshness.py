"""Late and short files as checks, and Dagster's freshness of the table."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from conftest import price_rows
from partitioned_etl.builders.assets import build_feed_assets
from partitioned_etl.builders.freshness import build_freshness_policy
from partitioned_etl.builders.ranges import range_tags
from partitioned_etl.defs.daily_prices import DAILY_PRICES
from partitioned_etl.defs.monthly_orders import MONTHLY_ORDERS
from partitioned_etl.defs.partitions import daily_partitions
from partitioned_etl.ingest.feed import Feed

OPEN_DAYS = dg.DailyPartitionsDefinition("2018-01-01")
OPEN_MONTHS = dg.MonthlyPartitionsDefinition("2018-01-01")


@pytest.mark.parametrize(
    ("feed", "partitions_def", "cron", "span_days"),
    [
        (DAILY_PRICES, OPEN_DAYS, "0 7 * * *", 1),
        (
            replace(DAILY_PRICES, due_after=timedelta(days=1, minutes=90)),
            OPEN_DAYS,
            "30 1 * * *",
            1,
        ),
        (
            replace(DAILY_PRICES, partitioning="weekdays"),
            OPEN_DAYS,
            "0 7 * * 2,3,4,5,6",
            1,
        ),
        (
            replace(DAILY_PRICES, partitioning="weekdays", due_after=timedelta(days=1, hours=7)),
            OPEN_DAYS,
            "0 7 * * 0,3,4,5,6",
            1,
        ),
        (replace(DAILY_PRICES, timezone="Asia/Tokyo"), OPEN_DAYS, "0 7 * * *", 1),
        (
            replace(MONTHLY_ORDERS, due_after=timedelta(days=2, hours=7)),
            OPEN_MONTHS,
            "0 7 3 * *",
            28,
        ),
    ],
)
def test_a_table_is_fresh_if_it_was_loaded_before_a_file_was_due(
    feed: Feed, partitions_def: dg.PartitionsDefinition, cron: str, span_days: int
) -> None:
    policy = build_freshness_policy(feed, partitions_def)
    assert policy == dg.FreshnessPolicy.cron(
        deadline_cron=cron, lower_bound_delta=timedelta(days=span_days), timezone=feed.timezone
    )


def test_nothing_is_expected_of_a_window_that_has_ended_nor_of_a_feed_without_a_time() -> None:
    assert build_freshness_policy(DAILY_PRICES, daily_partitions) is None
    assert build_freshness_policy(MONTHLY_ORDERS, OPEN_MONTHS) is None


def test_the_sample_of_2018_fails_neither_check(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    assert judge(landing_dir, resources, instance, daily_partitions, ["2018-01-22"], [3]) == {
        "on_time": (True, []),
        "usual_size": (True, []),
    }


def test_a_missing_day_and_a_short_one_are_warned_of(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance
) -> None:
    today = datetime.now(UTC).date()
    days = [str(today - timedelta(days=ago)) for ago in range(9, 2, -1)]
    found = judge(landing_dir, resources, instance, OPEN_DAYS, days, [8] * 6 + [2])
    # Yesterday's file is due at seven today, so it is missing only from then on.
    assert str(today - timedelta(days=2)) in found["on_time"][1]
    assert found["usual_size"] == (False, [days[-1]])


def judge(
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
    assets = build_feed_assets(
        DAILY_PRICES, import_asset="files", load_asset="prices", partitions_def=partitions_def
    )
    result = dg.materialize(
        [assets],
        instance=instance,
        partition_key=None if days[1:] else days[0],
        tags=range_tags(days),
        resources=resources,
    )
    found = {}
    for evaluation in result.get_asset_check_evaluations():
        for name in ("on_time", "usual_size"):
            if evaluation.check_name.endswith(name):
                assert evaluation.severity is dg.AssetCheckSeverity.WARN
                reasons = evaluation.metadata["reasons"].value
                assert isinstance(reasons, dict)
                found[name] = (evaluation.passed, list(reasons))
    return found
