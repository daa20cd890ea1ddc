"""The wheel serves the code location from an empty folder, without the checkout it came from."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.dev_server import DEADLINE_S, PROJECT, STOP_DEADLINE_S, find_free_port

WORKSPACE_QUERY = """{
  workspaceOrError {
    ... on Workspace {
      locationEntries { name loadStatus locationOrLoadError { __typename } }
    }
  }
  assetNodes { assetKey { path } }
}"""

pytestmark = [pytest.mark.wheel, pytest.mark.long, pytest.mark.slow]


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output; its whole output becomes the failure."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel; its dependencies come from ours."""
    home = tmp_path_factory.mktemp("wheel")

    # A copy is built, so that nothing the build writes can land in the checkout.
    source = home / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PROJECT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))

    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    offline = ("--no-deps", "--no-index")
    run(
        *(sys.executable, *pip, "wheel", *offline, "--no-build-isolation"),
        *("--wheel-dir", home, source),
        cwd=home,
    )
    (wheel,) = home.glob("partitioned_etl-*.whl")

    run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    (site_packages,) = (home / "venv").glob("lib/python*/site-packages")
    # Python reads no .pth file of a folder that a .pth file has added: the dependencies become
    # visible, the editable installation of the checkout beside them does not.
    (site_packages / "dependencies.pth").write_text(
        sysconfig.get_path("purelib") + "\n", encoding="utf-8"
    )
    python = home / "venv" / "bin" / "python"
    run(python, *pip, "install", *offline, "--ignore-installed", wheel, cwd=home)

    imported = run(
        python, "-c", "import partitioned_etl; print(partitioned_etl.__file__)", cwd=home
    )
    assert Path(imported.strip()).is_relative_to(site_packages)
    return python.parent


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    """A working directory without workspace.yaml, dagster.yaml or .env."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """An environment with the two settings that a user of the wheel has to give, and no others."""
    landing_directory = tmp_path / "landing"
    landing_directory.mkdir()
    system = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return system | {
        "LANDING_DIR": str(landing_directory),
        "DUCKDB_DATABASE": str(tmp_path / "warehouse.duckdb"),
    }


def query_workspace(port: int) -> dict[str, Any]:
    """Ask the web server what it serves; nothing while it does not answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": WORKSPACE_QUERY}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)["data"]
    except OSError:
        return {}


def is_loaded(data: dict[str, Any]) -> bool:
    """Whether every code location has been loaded, well or badly."""
    locations = data.get("workspaceOrError", {}).get("locationEntries", [])
    return bool(locations) and all(entry["loadStatus"] == "LOADED" for entry in locations)


@pytest.fixture
def dev_server(
    wheel_bin: Path, empty_folder: Path, settings: dict[str, str], tmp_path: Path
) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """`dagster dev` on the installed package: its port, its process and its log."""
    port = find_free_port()
    log = tmp_path / "dev.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(wheel_bin / "python", "-m", "dagster", "dev"),
                *("-m", "partitioned_etl.definitions", "-h", "127.0.0.1", "-p", str(port)),
            ],
            cwd=empty_folder,
            env=settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield port, process, log
    finally:
        # First dagster dev may end its own servers; then whatever is left of its group is killed.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_definitions_validate_from_an_empty_folder(
    wheel_bin: Path, empty_folder: Path, settings: dict[str, str]
) -> None:
    run(
        *(wheel_bin / "python", "-m", "dagster", "definitions", "validate"),
        *("-m", "partitioned_etl.definitions"),
        cwd=empty_folder,
        env=settings,
    )


def test_the_command_loads_and_queries_from_an_empty_folder(
    wheel_bin: Path, empty_folder: Path, settings: dict[str, str]
) -> None:
    sample = Path(settings["LANDING_DIR"]) / "customers" / "acme.csv"
    sample.parent.mkdir()
    shutil.copy(PROJECT / "data" / "source" / "customers" / "acme.csv", sample)
    settings = settings | {"SETTLE_SECONDS": "0"}
    command = wheel_bin / "partitioned-etl"
    assert "plan" in run(command, "--help", cwd=empty_folder, env=settings)
    assert "Loaded 1 file(s)" in run(command, "sync", cwd=empty_folder, env=settings)
    sql = "SELECT partition_key FROM file_loads"
    told = json.loads(run(command, "query", sql, "--json", cwd=empty_folder, env=settings))
    assert told == [{"partition_key": "acme"}]


def test_dagster_dev_serves_the_assets_from_an_empty_folder(
    dev_server: tuple[int, subprocess.Popen[bytes], Path],
) -> None:
    port, process, log = dev_server
    deadline = time.monotonic() + DEADLINE_S
    while not is_loaded(data := query_workspace(port)):
        assert process.poll() is None, log.read_text(encoding="utf-8")
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
        time.sleep(0.2)

    locations = data["workspaceOrError"]["locationEntries"]
    assert [entry["locationOrLoadError"]["__typename"] for entry in locations] == [
        "RepositoryLocation"
    ]
    served = [node["assetKey"]["path"] for node in data["assetNodes"]]
    # One feed is a module of defs/, the other a defs.yaml, which is package data.
    assert ["duckdb_partition_table"] in served
    assert ["supplier_stock"] in served
