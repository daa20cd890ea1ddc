"""The code location: all that `defs/` has, the resources, and what executes the steps of jobs."""

import dagster as dg

from partitioned_etl import defs as package
from partitioned_etl.components.isolation import Location, load_location
from partitioned_etl.defs.resources import resources
from partitioned_etl.defs.watch import watch
from partitioned_etl.engine.settings import project_dir


def load(executor: dg.ExecutorDefinition = dg.in_process_executor) -> Location:
    """Load the code location.

    Args:
        executor: What executes the steps of its jobs; by default, a run does so itself.
    """
    return load_location(
        package,
        project_dir(),
        complete=lambda found, mistakes: dg.Definitions.merge(
            found,
            watch(found, mistakes),
            dg.Definitions(resources=resources, executor=executor),
        ),
    )
