"""The single `Definitions` object, which combines what `defs/` declares.

A module in `defs/` is a feed in Python, or holds other Dagster definitions; a folder is what
Dagster's components build from its `defs.yaml`.
"""

import warnings
from pathlib import Path

import dagster as dg

from partitioned_etl import defs as declared
from partitioned_etl.builders.alerts import build_alerts
from partitioned_etl.builders.arrivals import build_arrivals
from partitioned_etl.builders.clashes import check_pipelines_are_apart
from partitioned_etl.builders.modules import find_pipelines, import_modules, load_others
from partitioned_etl.components.file_feed import FileFeed
from partitioned_etl.components.mistakes import tell_mistakes
from partitioned_etl.defs import resources
from partitioned_etl.ingest.settings import project_dir

_modules = import_modules(declared)
_in_python = find_pipelines(_modules)
_folder = Path(declared.__path__[0])
_in_yaml = sorted({path.relative_to(_folder).parts[0] for path in _folder.rglob("defs.yaml")})
_components = dg.ComponentTree.from_module(declared, project_dir())

with tell_mistakes():
    _declared_in_yaml = _components.get_all_components(FileFeed)
pipelines = [*_in_python, *(component.pipeline for component in _declared_in_yaml)]

check_pipelines_are_apart(pipelines)

with tell_mistakes(), warnings.catch_warnings():
    # Dagster marks what it builds from a YAML file with parameters that are themselves in beta.
    warnings.simplefilter("ignore", dg.BetaWarning)
    _of_yaml = [_components.build_defs(folder) for folder in _in_yaml]

defs = dg.Definitions.merge(
    dg.Definitions(
        resources={"landing": resources.landing, "warehouse": resources.warehouse},
        executor=dg.in_process_executor,
    ),
    *(pipeline.to_definitions() for pipeline in _in_python),
    load_others(_modules, _in_python),
    *_of_yaml,
    build_arrivals(pipelines),
    build_alerts(pipelines),
)
