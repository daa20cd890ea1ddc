"""A project of one's own, from the built wheel and nothing else, by the commands of its README."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.dev_server import (
    DEADLINE_S,
    PROJECT,
    STOP_DEADLINE_S,
    default_interrupt,
    find_free_port,
)
from support.wheel import build_wheel, install_apart, run, system_environment

pytestmark = [pytest.mark.wheel, pytest.mark.long, pytest.mark.slow]

STOCK = "article,pieces\nscrew,70\nnut,20\n"
DAGSTER_YAML = "dagster.yaml"
RELEASES = sorted((PROJECT / "tests" / "support" / "released").iterdir())
"""Projects as the `init` of each release made them."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that `init` has made, after its first `make run`."""
    home = tmp_path_factory.mktemp("home")
    programs = install_apart(wheel, home / "venv")
    told = run(programs / "partitioned-etl", "init", "my-feeds", cwd=home, env=environment())
    assert "Made project my_feeds in " in told
    # Whatever made it is gone: a project depends on nothing but what it declares.
    shutil.rmtree(home / "venv")
    loaded = run("make", "run", cwd=home / "my-feeds", env=environment())
    assert "Loaded 2 file(s) into data/staging/partitioned_etl.duckdb." in loaded
    return home / "my-feeds"


def environment(**settings: str) -> dict[str, str]:
    """Give a shell with the Python of this test run, and some settings."""
    return system_environment() | {"PYTHON": sys.executable, "SETTLE_SECONDS": "0", **settings}


def call(project: Path, *arguments: str, folder: str = "", **settings: str) -> str:
    """Give what a command of the project prints, run in one of its folders."""
    command = project / ".venv" / "bin" / "partitioned-etl"
    return run(command, *arguments, cwd=project / folder, env=environment(**settings))


def count_rows(project: Path) -> dict[str, int]:
    """Give the rows that the ledger has of each feed."""
    sql = "SELECT feed, sum(row_count)::BIGINT AS n FROM file_loads GROUP BY feed ORDER BY feed"
    return {row["feed"]: row["n"] for row in json.loads(call(project, "query", sql, "--json"))}


def test_the_wheel_has_no_feeds_and_all_of_the_template(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    template = "partitioned_etl/project_template/"
    packaged = {name.removeprefix(template) for name in names if name.startswith(template)}
    folder = PROJECT / "src" / template
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert packaged == {name for name in there if "__pycache__" not in name}
    assert not [name for name in names if name.startswith("sample_feeds") or "/defs/" in name[:22]]


def test_a_second_run_has_nothing_to_do_and_the_tests_pass(project: Path) -> None:
    assert "Nothing to load" in run("make", "run", cwd=project, env=environment())
    assert " 3 passed" in run("make", "test", cwd=project, env=environment())
    assert "All definitions loaded successfully" in run(
        "make", "check", cwd=project, env=environment()
    )


@pytest.mark.parametrize("folder", ["src/my_feeds/defs/orders", "data/source", "tests"])
def test_the_commands_work_in_any_folder_of_it(project: Path, folder: str) -> None:
    assert json.loads(call(project, "status", "--json", folder=folder))
    assert "0 file(s) to load" in call(project, "plan", "--feed", "orders", folder=folder)


def test_a_feed_is_added_from_a_sample(project: Path) -> None:
    sample = project / "data" / "source" / "stock" / "berlin.csv"
    sample.parent.mkdir()
    sample.write_text(STOCK, encoding="utf-8")
    told = call(project, "infer", "data/source/stock/berlin.csv", "--write")
    assert f"Wrote {project}/src/my_feeds/defs/stock/defs.yaml" in told
    assert "Loaded 1 file(s)" in run("make", "run", cwd=project, env=environment())
    assert count_rows(project)["stock"] == 2


def test_dg_scaffolds_a_feed_that_loads(project: Path) -> None:
    folder = project / "src" / "my_feeds" / "defs" / "payments"
    dg = project / ".venv" / "bin" / "dg"
    run(dg, "scaffold", "defs", "partitioned_etl.FileFeed", "payments", cwd=project)
    try:
        text = (folder / "defs.yaml").read_text(encoding="utf-8")
        assert text.startswith("type: partitioned_etl.FileFeed\n")
        run(dg, "check", "defs", cwd=project, env=environment(VIRTUAL_ENV=f"{project}/.venv"))
    finally:
        shutil.rmtree(folder)


def test_without_dagster_yaml_everything_works(project: Path, tmp_path: Path) -> None:
    kept = shutil.move(project / DAGSTER_YAML, tmp_path)
    try:
        database = f"--database={tmp_path / 'other.duckdb'}"
        assert "file(s) to load in" in call(project, "plan", database)
        assert "Loaded " in call(project, "sync", database)
        assert "Nothing to load" in call(project, "sync", database)
        assert json.loads(call(project, "status", "--json", database))
        home = tmp_path / "home"
        home.mkdir()
        assert "0 file(s) to load" in call(project, "plan", DAGSTER_HOME=str(home))
    finally:
        shutil.move(kept, project)


def ask(port: int, query: str) -> dict[str, Any]:
    """Ask a web server; nothing while it does not answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)["data"]
    except OSError:
        return {}


@pytest.fixture
def served(project: Path, tmp_path: Path) -> Iterator[tuple[int, Callable[[], None]]]:
    """`make dev` in the project: its port, and what fails if it has ended."""
    port, log = find_free_port(), tmp_path / "dev.log"
    with log.open("wb") as output, default_interrupt():
        process = subprocess.Popen(
            ["make", "dev", f"ARGS=-p {port}"],
            cwd=project,
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def require_alive() -> None:
        assert process.poll() is None, log.read_text(encoding="utf-8")

    try:
        yield port, require_alive
    finally:
        # First Dagster may end its own servers; then whatever is left of its group is killed.
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_make_dev_serves_the_feeds_and_loads_what_lands(
    project: Path, served: tuple[int, Callable[[], None]]
) -> None:
    port, require_alive = served
    landed = project / "data" / "source" / "orders" / "initech.csv"
    landed.write_text("id,ordered_on,amount\n7,2026-02-01,1.00\n", encoding="utf-8")
    sql = "SELECT count(*) AS n FROM file_loads WHERE partition_key = 'initech'"
    deadline = time.monotonic() + DEADLINE_S
    while json.loads(call(project, "query", sql, "--json")) != [{"n": 1}]:
        require_alive()
        assert time.monotonic() < deadline
        time.sleep(1)
    data = ask(port, "{ assetNodes { assetKey { path } } }")
    assert {"assetKey": {"path": ["orders"]}} in data["assetNodes"]


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_project_of_an_earlier_release_is_upgraded_without_an_edit(
    release: Path, wheel: Path, tmp_path: Path
) -> None:
    own = tmp_path / "released"
    shutil.copytree(release, own)
    links = " ".join(filter(None, [str(wheel.parent), os.environ.get("PIP_FIND_LINKS")]))
    env = environment(PIP_FIND_LINKS=links)
    assert "Loaded 2 file(s)" in run("make", "run", cwd=own, env=env)
    assert " 3 passed" in run("make", "test", cwd=own, env=env)
    assert "All definitions loaded successfully" in run("make", "check", cwd=own, env=env)
