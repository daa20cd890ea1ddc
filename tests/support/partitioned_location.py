"""A code location with a feed of every kind of partitioning that no shipped feed has.

A partition of theirs goes with its file.
"""

from typing import Any

from partitioned_etl.components.isolation import Location
from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.feed import Feed, OnMissing
from support.define import define_feed, define_location

WINDOW = {"start": "2018-01-01", "end": "2018-04-02"}
NAMES = ("north", "east", "south", "west")


def make_feed(name: str, pattern: str, **declared: Any) -> Feed:
    """Declare a feed of numbers that are above 0."""
    rule = RowRule(
        name=f"{name}_are_positive", column="number", expression="number > 0", reason="not above 0"
    )
    return Feed(
        name=name,
        pattern=pattern,
        columns={"number": "BIGINT"},
        table=f"raw_{name}",
        row_rules=(rule,),
        on_missing=OnMissing.REMOVE,
        **declared,
    )


HOURS = make_feed("hours", "{date:%Y-%m-%d-%H}.csv", **WINDOW)
ISO_WEEKS = make_feed("iso_weeks", "{date:%G-W%V}.csv", **WINDOW)
WEEKS = make_feed("weeks", "{date:%Y-%m-%d}.csv", partitioning="weekly", **WINDOW)
REGIONS = make_feed("regions", "{key}.csv", partitioning="static", keys=NAMES)
CUSTOMER_DAYS = make_feed("customer_days", "{key}/{date:%Y-%m-%d}.csv", **WINDOW)
REGION_MONTHS = make_feed("region_months", "{date:%Y-%m}/{key}.csv", keys=NAMES, **WINDOW)
DATED_NAMES = make_feed("dated_names", "{date:%Y}/{key}_{date:%m%d}{any}.csv", **WINDOW)
WEEKDAYS = make_feed("weekdays", "{date:%Y-%m-%d}.csv", partitioning="weekdays", **WINDOW)

DEFINED = {
    feed.name: define_feed(feed)
    for feed in (
        HOURS,
        ISO_WEEKS,
        WEEKS,
        REGIONS,
        CUSTOMER_DAYS,
        REGION_MONTHS,
        WEEKDAYS,
        DATED_NAMES,
    )
}
location = Location(define_location(*DEFINED.values()))
defs = location.definitions
