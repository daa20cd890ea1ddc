"""A code location like the sample one, in which a customer or a day goes with its file.

Every name in it is the sample's, and so is the other feed; there are more days.
"""

import dagster as dg

from partitioned_etl.components.isolation import Location
from partitioned_etl.engine.feed import OnMissing
from support.define import define_feed, define_location
from support.sample_location import CUSTOMER_PRICES, DAILY_PRICES, MONTHLY, define_customers
from support.workbench import change_feed

DAILY = define_feed(
    change_feed(DAILY_PRICES, on_missing=OnMissing.REMOVE),
    partitions_def=dg.DailyPartitionsDefinition("2018-01-21", end_date="2018-02-01"),
    sensor="daily_sensor",
)
CUSTOMERS = define_customers(change_feed(CUSTOMER_PRICES, on_missing=OnMissing.REMOVE))

location = Location(define_location(DAILY, CUSTOMERS, MONTHLY))
defs = location.definitions
