"""The code location: what `defs/` holds, what concerns all feeds, and the resources."""

import dagster as dg

from partitioned_etl import defs as package
from partitioned_etl.components.isolation import load_location
from partitioned_etl.defs.resources import resources
from partitioned_etl.defs.watch import watch
from partitioned_etl.engine.settings import project_dir

location = load_location(
    package,
    project_dir(),
    complete=lambda found, mistakes: dg.Definitions.merge(
        found,
        watch(found, mistakes),
        dg.Definitions(resources=resources, executor=dg.in_process_executor),
    ),
)
defs = location.definitions
