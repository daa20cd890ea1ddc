"""The wheel of this checkout, and an environment that has it and not the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from support.dev_server import PROJECT

_PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")
_OFFLINE = ("--no-deps", "--no-index")


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


def system_environment() -> dict[str, str]:
    """Give what a user's shell has: no setting, nothing of this test run, and how pip is set up."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith(("PIP_", "SSL_", "HTTP", "XDG_"))
    }


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy, so that nothing the build writes can land in the checkout."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    shutil.copytree(PROJECT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    run(
        *(sys.executable, *_PIP, "wheel", *_OFFLINE, "--no-build-isolation"),
        *("--wheel-dir", folder, source),
        cwd=folder,
    )
    (wheel,) = folder.glob("partitioned_etl-*.whl")
    return wheel


def install_apart(wheel: Path, folder: Path) -> Path:
    """Make an environment with the wheel, whose dependencies come from ours; give its programs."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # Python reads no .pth file of a folder that a .pth file has added: the dependencies become
    # visible, the editable installation of the checkout beside them does not.
    (site_packages / "dependencies.pth").write_text(
        sysconfig.get_path("purelib") + "\n", encoding="utf-8"
    )
    python = folder / "bin" / "python"
    run(python, *_PIP, "install", *_OFFLINE, "--ignore-installed", wheel, cwd=folder)
    imported = run(
        python, "-c", "import partitioned_etl; print(partitioned_etl.__file__)", cwd=folder
    )
    assert Path(imported.strip()).is_relative_to(site_packages)
    return python.parent
