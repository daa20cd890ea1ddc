"""What the command line's tests share: a Dagster home of their own, and the command in process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from partitioned_etl.cli.main import commands

Call = Callable[..., Result]


@pytest.fixture
def call(
    landing_dir: Path, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Call the command line with arguments, in this process."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(commands, [str(argument) for argument in arguments])

    return run
