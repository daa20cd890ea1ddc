"""Completion by the shell: commands, options and names of feeds, and nothing printed besides."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class
from click.testing import Result

from partitioned_etl.cli.main import commands
from partitioned_etl.components.isolation import Location, Mistake
from partitioned_etl.engine.project import project_dir
from support.sample_location import CUSTOMERS, DAILY

Call = Callable[..., Result]

VARIABLE = "_PARTITIONED_ETL_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def complete(*words: str) -> list[str]:
    """Give what completes the last word."""
    completion = get_completion_class("bash")
    assert completion
    found = completion(commands, {}, "partitioned-etl", VARIABLE)
    *before, incomplete = words
    return [item.value for item in found.get_completions(list(before), incomplete)]


def test_commands_options_and_states_are_completed() -> None:
    assert complete("st") == ["status"]
    assert complete("sync", "--re") == ["--reload"]
    assert complete("status", "--format", "p") == ["prometheus"]
    assert complete("status", "--fail-on", "late,re") == ["late,refused", "late,rejected"]
    assert "late" not in complete("status", "--fail-on", "late,")


@pytest.mark.parametrize(
    "words",
    [("plan", "--feed"), ("sync", "--feed", "daily_prices", "--feed"), ("forget",), ("drop",)],
)
def test_names_of_feeds_are_completed(
    words: tuple[str, ...], call: Call, use_location: Callable[..., Location]
) -> None:
    use_location(CUSTOMERS, DAILY, mistakes=[Mistake("stock", "reason")])
    assert complete(*words, "") == ["customer_prices", "daily_prices", "stock"]
    assert complete(*words, "d") == ["daily_prices"]


def test_nothing_is_completed_or_printed_where_feeds_cannot_be_loaded(
    call: Call, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEFINITIONS_MODULE", "no.such.module")
    assert complete("plan", "--feed", "") == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_is_told_by_the_command_that_is_documented(shell: str, tmp_path: Path) -> None:
    page = (project_dir() / "docs" / "command-line.md").read_text(encoding="utf-8")
    [line] = re.findall(rf"^.*{VARIABLE}={shell}_source partitioned-etl.*$", page, re.MULTILINE)
    assert f"{VARIABLE}={shell}_source" in line
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "partitioned_etl"]
    source = {**environment, VARIABLE: f"{shell}_source"}
    told = subprocess.run(command, env=source, capture_output=True, text=True, check=False)
    if shell == "bash" and "4.4" in told.stderr:
        pytest.skip("this bash is too old")
    assert "partitioned-etl" in told.stdout, told.stderr
    words = "partitioned-etl plan --feed cust"
    asked = {**environment, VARIABLE: f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": "3"}
    if shell == "fish":
        asked["COMP_CWORD"] = "cust"
    asked["DEFINITIONS_MODULE"] = "support.sample_location"
    answer = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    assert "customer_prices" in answer.stdout
    assert answer.stderr == ""
