"""A code location with one feed whose keys people add; files that are gone take rows along."""

from partitioned_etl.components.isolation import Location
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.sources.computed_rows import Rows
from partitioned_etl.engine.sources.parameters import Parameters
from support.define import define_feed, define_location

SQUARES = Feed(
    name="squares",
    columns={"number": "BIGINT", "square": "HUGEINT"},
    on_missing=OnMissing.REMOVE,
    source=Parameters(),
)


def compute(key: str) -> Rows:
    """Give the square of a number; any other key has none."""
    return {"number": int(key), "square": int(key) ** 2}


location = Location(define_location(define_feed(SQUARES, compute=compute)))
defs = location.definitions
