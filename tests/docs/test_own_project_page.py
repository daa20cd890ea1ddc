"""docs/own-project.md: its notebook runs, and its tree is what `init` writes."""

import re
from pathlib import Path

import pytest

from support.dev_server import PROJECT

PAGE = (PROJECT / "docs" / "own-project.md").read_text(encoding="utf-8")
TEMPLATE = PROJECT / "src" / "partitioned_etl" / "project_template"


def test_the_notebook_loads_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = re.findall(r"```python\n(from pathlib.*?)```", PAGE, re.DOTALL)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "source").symlink_to(TEMPLATE / "data" / "source")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "own-project.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("acme.csv") >= 2
    assert "120.0 " in printed


def test_the_test_on_the_page_is_that_of_the_template() -> None:
    text = (TEMPLATE / "tests" / "test_feeds.py").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(monkeypatch.*?)```", PAGE, re.DOTALL)
    settings = [line for line in code.splitlines() if line.startswith("monkeypatch")]
    assert len(settings) == 2
    assert all(line in text for line in settings)


def test_its_tree_is_what_init_writes() -> None:
    [tree] = re.findall(r"```text\nmy-feeds/\n(.*?)```", PAGE, re.DOTALL)
    named = {
        name
        for line in tree.splitlines()
        for name in re.match(r"  (\S+(?: {1,2}\S+\.\w+)*)", line)[1].split()  # pyright: ignore[reportOptionalSubscript]
    }
    assert {"src/my_feeds/definitions.py", "Makefile", ".env.example"} <= named
    assert all((TEMPLATE / name).exists() for name in named - {".env.example"})
