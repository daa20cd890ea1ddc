"""Origin: the web UI shows a command's run under its job and in the timeline, if it can be told."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.cli.location import open_instance
from partitioned_etl.cli.origin import REPOSITORY_TAG, find_location_name
from partitioned_etl.cli.project import find_definitions_module
from support.dev_server import LOCATION
from support.samples import price_rows

Call = Callable[..., Result]
WORKSPACE = """
load_from:
  - grpc_server: {host: code, port: 4000, location_name: far}
  - python_module: another.module
  - python_module: {module_name: support.sample_location, location_name: near}
"""
JOB = "customer_prices_job"


@pytest.fixture
def home(call: Call, landing_dir: Path) -> Path:
    """The folder of the instance, with a workspace; one good file has landed, and one bad one."""
    home = Path(os.environ["DAGSTER_HOME"])
    (home / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1), encoding="utf-8")
    (landing_dir / "customers" / "bad.csv").write_text(price_rows(-1), encoding="utf-8")
    return home


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("a.b", "a.b"),
        ("{module_name: a.b}", "a.b"),
        ("{module_name: a.b, attribute: defs}", "a.b:defs"),
        ("{module_name: a.b, attribute: defs, location_name: near}", "near"),
    ],
)
def test_a_location_is_called_as_dagster_calls_it(home: Path, entry: str, name: str) -> None:
    text = f"load_from: [{{python_module: {entry}}}]\n"
    (home / "workspace.yaml").write_text(text, encoding="utf-8")
    assert find_location_name("a.b") == name


def list_origins() -> list[tuple[str, str, str | None, tuple[Any, ...] | None]]:
    """Give job, status, tag and origin of each run, newest first."""
    with open_instance() as instance:
        told = []
        for run in instance.get_runs():
            origin = run.remote_job_origin
            named = origin and (origin.job_name, origin.repository_origin.get_label())
            told.append((run.job_name, run.status.value, run.tags.get(REPOSITORY_TAG), named))
        return told


def test_a_run_of_a_command_is_of_its_job_in_the_workspace_of_the_server(
    home: Path, call: Call
) -> None:
    assert call("sync").exit_code == 1
    label = "__repository__@near"
    told = list_origins()
    assert {status for job, status, *_ in told if job == JOB} == {"FAILURE"}
    assert {job: status for job, status, *_ in told if job != JOB} == {"copies_job": "SUCCESS"}
    assert {(tag, origin) for job, _, tag, origin in told if job == JOB} == {(label, (JOB, label))}
    with open_instance() as instance:
        # What a job's page asks for.
        found = instance.get_runs(dg.RunsFilter(job_name=JOB, tags={REPOSITORY_TAG: label}))
        assert found


def test_without_a_workspace_it_is_of_the_location_of_earlier_runs(home: Path, call: Call) -> None:
    assert call("sync").exit_code == 1
    before = list_origins()
    (home / "workspace.yaml").unlink()
    assert call("sync", "--feed", "customer_prices", "--reload").exit_code == 1
    after = list_origins()
    assert len(after) > len(before)
    assert {tag for _, _, tag, _ in after} == {"__repository__@near"}
    assert all(origin for *_, origin in after)


def test_where_nothing_tells_the_location_a_run_has_none(
    call: Call, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout's workspace names another module."""
    (home / "workspace.yaml").write_text("load_from: {no: list}", encoding="utf-8")
    assert call("sync").exit_code == 1
    assert {(tag, origin) for _, _, tag, origin in list_origins()} == {(None, None)}


def test_a_run_that_cannot_be_given_its_origin_loads_all_the_same(
    home: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    with open_instance() as instance:
        storage = type(instance.run_storage)
    monkeypatch.setattr(storage, "replace_job_origin", refuse)
    result = call("sync")
    assert "Loaded 1 file(s)" in result.stdout
    assert {(tag, origin) for _, _, tag, origin in list_origins()} == {
        ("__repository__@near", None)
    }


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("support.sample_location", "near"),
        ("another.module", "another.module"),
        ("far", ""),
    ],
)
def test_a_workspace_names_the_location_of_a_module(home: Path, module: str, name: str) -> None:
    assert find_location_name(module) == name


def test_the_workspace_of_the_project_names_its_location(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEFINITIONS_MODULE")
    monkeypatch.setattr(sys, "path", [*sys.path])
    module, _ = find_definitions_module()
    assert find_location_name(module) == LOCATION


def test_a_workspace_that_cannot_be_read_names_none(home: Path) -> None:
    for text in ("load_from: [", "[]", "load_from: [{python_module: {}}, 1]", "\x00"):
        (home / "workspace.yaml").write_text(text, encoding="utf-8")
        assert find_location_name("support.sample_location") == ""
