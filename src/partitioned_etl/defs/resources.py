"""Resources: the landing and the warehouse that every feed shares."""

from partitioned_etl.components.resources import LandingResource, WarehouseResource

_landing = LandingResource()

resources = {"landing": _landing, "warehouse": WarehouseResource(landing=_landing)}
