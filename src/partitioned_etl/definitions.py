"""The entry point of Dagster: the code location, loaded once."""

from partitioned_etl.location import load

location = load()
defs = location.definitions
