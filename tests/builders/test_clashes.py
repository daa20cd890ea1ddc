"""Feeds that would share something: refused with a sentence that names both."""

import pytest

from partitioned_etl.builders.clashes import check_pipelines_are_apart
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.components import FileFeed
from partitioned_etl.definitions import pipelines
from partitioned_etl.ingest.errors import FeedDefinitionError


def make_pipeline(name: str, text: str = "") -> FeedPipeline:
    """The pipeline of a feed with these attributes."""
    feed = f"name: {name}\npattern: '{{key}}.csv'\ncolumns: {{a: BIGINT}}\n{text}"
    return FileFeed.resolve_from_yaml(feed).pipeline


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("sensor: stock_landing_sensor", "share the sensor or schedule stock_landing_sensor"),
        ("sensor: stock_reconcile_schedule", "the sensor or schedule stock_reconcile_schedule"),
        ("load_asset: stock", "share the asset stock"),
        ("load_asset: import_stock", "share the asset import_stock"),
        ("import_asset: import_stock", "share the asset import_stock"),
        ("table: Stock", "share the table stock"),
        ("folder: stock/", "share the folder and pattern stock/{key}.csv"),
        ("folder: ./shops/../stock", "share the folder and pattern stock/{key}.csv"),
    ],
)
def test_two_feeds_that_share_something_are_refused_with_both_names(
    given: str, message: str
) -> None:
    both = [make_pipeline("stock"), make_pipeline("prices", given)]
    with pytest.raises(FeedDefinitionError, match="feed stock and feed prices ") as refused:
        check_pipelines_are_apart(both)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (make_pipeline("arrivals"), "the calendar of arrivals and feed arrivals share the asset"),
        (
            make_pipeline("a", "sensor: a_reconcile_schedule"),
            "feed a has twice the sensor or schedule a_reconcile_schedule",
        ),
    ],
)
def test_a_feed_that_takes_a_name_that_is_taken_is_refused(
    pipeline: FeedPipeline, message: str
) -> None:
    with pytest.raises(FeedDefinitionError, match=message):
        check_pipelines_are_apart([pipeline])


@pytest.mark.parametrize(
    "check",
    [
        *("stock_match_contract", "stock_rows_add_up", "stock_table_equals_directory"),
        *("stock_file_is_on_time", "stock_partition_is_of_usual_size"),
    ],
)
def test_a_rule_that_is_named_like_a_check_of_the_feed_is_refused_with_its_line(check: str) -> None:
    rule = f"row_rules: [{{name: {check}, column: a, expression: a > 0, reason: too small}}]"
    with pytest.raises(FeedDefinitionError, match=rf":4: .*{check} is a check that a feed has"):
        make_pipeline("stock", rule)


def test_one_asset_for_both_steps_is_refused_with_its_line() -> None:
    with pytest.raises(FeedDefinitionError, match=r":4: .*import_asset and load_asset are both a"):
        make_pipeline("stock", "import_asset: a\nload_asset: a")


def test_the_feeds_that_ship_are_apart() -> None:
    check_pipelines_are_apart(pipelines)
