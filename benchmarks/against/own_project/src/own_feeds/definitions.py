"""The entry point of Dagster."""

from partitioned_etl import load_location

location = load_location("own_feeds.defs")
defs = location.definitions
