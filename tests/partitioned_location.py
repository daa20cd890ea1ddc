"""A code location with a feed of every kind of partitioning that no shipped feed has.

A partition of theirs goes with its file.
"""

import dagster as dg

from partitioned_etl.builders.partitions import build_partitions_def
from partitioned_etl.builders.pipelines import build_pipeline
from partitioned_etl.defs import resources
from partitioned_etl.ingest.feed import Feed, OnMissing, RowRule


def make_feed(name: str, pattern: str, partitioning: str | None = None) -> Feed:
    """Declare a feed of numbers that are above 0."""
    rule = RowRule(
        name=f"{name}_are_positive", column="number", expression="number > 0", reason="not above 0"
    )
    return Feed(
        name=name,
        folder=name,
        pattern=pattern,
        partitioning=partitioning,
        columns={"number": "BIGINT"},
        table=f"raw_{name}",
        row_rules=(rule,),
        on_missing=OnMissing.REMOVE,
    )


HOURS = make_feed("hours", "{date:%Y-%m-%d-%H}.csv")
ISO_WEEKS = make_feed("iso_weeks", "{date:%G-W%V}.csv")
WEEKS = make_feed("weeks", "{date:%Y-%m-%d}.csv", "weekly")
REGIONS = make_feed("regions", "{key}.csv", "static")
CUSTOMER_DAYS = make_feed("customer_days", "{key}/{date:%Y-%m-%d}.csv")
REGION_MONTHS = make_feed("region_months", "{date:%Y-%m}/{key}.csv")
WEEKDAYS = make_feed("weekdays", "{date:%Y-%m-%d}.csv", "weekdays")

WINDOW = {"start": "2018-01-01", "end": "2018-04-02"}
NAMES = ("north", "east", "south", "west")
PIPELINES = {
    "hours": build_pipeline(HOURS, partitions_def=build_partitions_def(HOURS, **WINDOW)),
    "iso_weeks": build_pipeline(
        ISO_WEEKS, partitions_def=build_partitions_def(ISO_WEEKS, **WINDOW)
    ),
    "weeks": build_pipeline(WEEKS, partitions_def=build_partitions_def(WEEKS, **WINDOW)),
    "regions": build_pipeline(REGIONS, partitions_def=build_partitions_def(REGIONS, keys=NAMES)),
    "customer_days": build_pipeline(
        CUSTOMER_DAYS, partitions_def=build_partitions_def(CUSTOMER_DAYS, **WINDOW)
    ),
    "region_months": build_pipeline(
        REGION_MONTHS, partitions_def=build_partitions_def(REGION_MONTHS, **WINDOW, keys=NAMES)
    ),
    "weekdays": build_pipeline(WEEKDAYS, partitions_def=build_partitions_def(WEEKDAYS, **WINDOW)),
}
defs = dg.Definitions.merge(
    dg.Definitions(
        resources={"landing": resources.landing, "warehouse": resources.warehouse},
        executor=dg.in_process_executor,
    ),
    *(pipeline.to_definitions() for pipeline in PIPELINES.values()),
)
