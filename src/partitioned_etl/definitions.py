"""The single `Definitions` object: it puts together what the modules of `defs/` declare."""

from importlib import import_module
from pkgutil import iter_modules

import dagster as dg

from partitioned_etl import defs as declared
from partitioned_etl.builders.pipelines import FeedPipeline
from partitioned_etl.defs import resources
from partitioned_etl.ingest.feed import check_feeds_are_apart

_modules = [
    import_module(f"{declared.__name__}.{name}") for _, name, _ in iter_modules(declared.__path__)
]
pipelines = [
    value
    for module in _modules
    for value in vars(module).values()
    if isinstance(value, FeedPipeline)
]

check_feeds_are_apart([pipeline.feed for pipeline in pipelines])

defs = dg.Definitions.merge(
    dg.Definitions(
        resources={"landing": resources.landing, "warehouse": resources.warehouse},
        executor=dg.in_process_executor,
    ),
    *(pipeline.to_definitions() for pipeline in pipelines),
)
