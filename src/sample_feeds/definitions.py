"""The entry point of Dagster: the code location, loaded once."""

from partitioned_etl import load_location

location = load_location("sample_feeds.defs")
defs = location.definitions
