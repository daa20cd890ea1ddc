"""Origin: by what the web UI shows a command's run under its job, as it does a run of its server.

Takes the instance and a job; returns the run's tags, and completes the run once it has ended. Jobs
go by the tag alone, the timeline by an origin, which Dagster gives only to runs that a server
launches. Next: `runs.py` executes the job.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from logging import getLogger
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from partitioned_etl.cli.project import find_definitions_module
from partitioned_etl.engine.project import project_dir

logger = getLogger(__name__)

REPOSITORY_TAG = ".dagster/repository"
"""Run tag by which the web UI finds the runs of a job: `<repository>@<code location>`."""
_MAX_RETRIES_TAG = "dagster/max_retries"
_REPOSITORY = "__repository__"
"""What Dagster calls the definitions of a module."""
_LATEST_RUNS = 20


@dataclass(frozen=True)
class RunOrigin:
    """Where the web UI shows the runs of a job.

    Attributes:
        instance: The Dagster instance.
        job_name: The job.
    """

    instance: dg.DagsterInstance
    job_name: str

    @property
    def tags(self) -> dict[str, str]:
        """Tags of a run of the job; none if it is not known what the server calls the location.

        Who called the command has seen it fail: no server tries it again.
        """
        label = self._origin.repository_origin.get_label() if self._origin else ""
        return {REPOSITORY_TAG: label, _MAX_RETRIES_TAG: "0"} if label else {}

    def complete(self, run_id: str) -> None:
        """Give a run that has ended its origin, so that the timeline shows it.

        Not earlier: by its origin, a run that is under way is told from one of a server, whose
        worker may be on another machine.
        """
        try:
            run = self.instance.get_run_by_id(run_id)
            if self._origin and run and run.is_finished:
                self.instance.run_storage.replace_job_origin(run, self._origin)
        except Exception as error:
            # What a load has done does not depend on how it is shown.
            logger.debug(f"run {run_id} is not shown in the timeline: {error!r}")

    @cached_property
    def _origin(self) -> Any:
        """The origin: by the workspace, else that of an earlier run; None if nothing tells it."""
        module, _ = find_definitions_module()
        if location_name := find_location_name(module):
            return _build_origin(location_name, self.job_name)
        runs = self.instance.get_runs(dg.RunsFilter(job_name=self.job_name), limit=_LATEST_RUNS)
        return next((run.remote_job_origin for run in runs if run.remote_job_origin), None)


def find_location_name(module: str) -> str:
    """Return what Dagster's server calls the code location of a module.

    Args:
        module: The module with the definitions.

    Returns:
        The name that `workspace.yaml` gives it, beside `dagster.yaml` or in the project's folder;
        empty if there is none, or the module is not in it.
    """
    for folder in (os.environ.get("DAGSTER_HOME"), project_dir()):
        path = Path(folder or ".") / "workspace.yaml"
        try:
            workspace = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if name := _find_in_workspace(workspace, module):
            return name
    return ""


def _find_in_workspace(workspace: object, module: str) -> str:
    entries = workspace.get("load_from") if isinstance(workspace, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        loaded = entry.get("python_module") if isinstance(entry, dict) else None
        target = {"module_name": loaded} if isinstance(loaded, str) else loaded
        if isinstance(target, dict) and target.get("module_name") == module:
            attribute = target.get("attribute")
            named = f"{module}:{attribute}" if attribute else module
            return str(target.get("location_name") or named)
    return ""


def _build_origin(location_name: str, job_name: str) -> Any:
    """Return the origin of a job as the history of runs keeps it; None if Dagster cannot read it.

    The class has no public name, but a public way to be read from what is stored.
    """
    location = {"__class__": "RegisteredRepositoryLocationOrigin", "location_name": location_name}
    repository = {
        "__class__": "ExternalRepositoryOrigin",
        "repository_location_origin": location,
        "repository_name": _REPOSITORY,
    }
    stored = {
        "__class__": "ExternalPipelineOrigin",
        "external_repository_origin": repository,
        "pipeline_name": job_name,
    }
    try:
        return dg.deserialize_value(json.dumps(stored))
    except Exception as error:
        logger.debug(f"Dagster does not know an origin in this form: {error!r}")
        return None
