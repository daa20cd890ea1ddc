"""The entry point of Dagster: all that `defs/` has."""

from partitioned_etl import load_location

location = load_location("my_feeds.defs")
defs = location.definitions
