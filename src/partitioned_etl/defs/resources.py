"""Resources: the landing directory and the warehouse that every feed shares."""

from partitioned_etl.builders.resources import LandingDirectory, Warehouse

landing = LandingDirectory()
warehouse = Warehouse(landing=landing)
