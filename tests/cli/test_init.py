"""`init`: what it writes, and where it writes nothing. That a project works: `tests/server/`."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result

from partitioned_etl.cli.init import find_requirement
from support.dev_server import PROJECT

Call = Callable[..., Result]


def test_a_project_is_called_like_its_folder(call: Call, tmp_path: Path) -> None:
    result = call("init", str(tmp_path / "Shop Feeds-2"))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"Made project shop_feeds_2 in {tmp_path}/Shop Feeds-2. Next:")
    folder = tmp_path / "Shop Feeds-2"
    written = {path for path in folder.rglob("*") if path.is_file()}
    texts = {path: path.read_text(encoding="utf-8") for path in written}
    assert not [path for path, text in texts.items() if "my_feeds" in text or "my-feeds" in text]
    assert (folder / "src" / "shop_feeds_2" / "definitions.py") in written
    assert 'name = "shop-feeds-2"' in texts[folder / "pyproject.toml"]
    assert "# LANDING_DIR=data/source" in texts[folder / ".env.example"]
    assert ".venv/" in texts[folder / ".gitignore"]


def test_it_is_as_this_checkout_is(call: Call, tmp_path: Path) -> None:
    """What both have in common is the same, so that neither is forgotten."""
    call("init", str(tmp_path / "my_feeds"))
    own, checkout = tmp_path / "my_feeds", PROJECT
    assert (own / "dagster.yaml").read_text() == (checkout / "dagster.yaml").read_text()
    for name in ("dg.toml", "workspace.yaml"):
        ours = (checkout / name).read_text().replace("sample_feeds", "my_feeds")
        assert (own / name).read_text() == ours.replace("partitioned_etl", "my_feeds")
    ours = (checkout / "src" / "sample_feeds" / "definitions.py").read_text().splitlines()[2:]
    theirs = (own / "src" / "my_feeds" / "definitions.py").read_text().splitlines()[2:]
    assert theirs == [line.replace("sample_feeds", "my_feeds") for line in ours]


def test_nothing_is_overwritten(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "feeds_of_someone"
    folder.mkdir()
    (folder / "notes.txt").touch()
    result = call("init", str(folder))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: {folder} is not empty: name a folder that is, or that is new\n"
    )
    assert list(folder.iterdir()) == [folder / "notes.txt"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("2feeds", "'2feeds' cannot be the name of a Python package"),
        ("fähre", "cannot be the name of a Python package"),
        ("class", "'class' cannot be the name of a Python package"),
        ("json", "there is a Python package json already"),
        ("dagster", "there is a Python package dagster already"),
        ("partitioned-etl", "there is a Python package partitioned_etl already"),
        ("tests", "there is a Python package tests already"),
    ],
)
def test_a_name_that_no_package_can_have_is_refused(
    name: str, reason: str, call: Call, tmp_path: Path
) -> None:
    result = call("init", str(tmp_path / name))
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert not (tmp_path / name).exists()


def test_a_folder_that_cannot_be_made_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = call("init", str(tmp_path / "file" / "feeds"))
    assert result.exit_code == 2
    assert f"{tmp_path}/file/feeds cannot be written to: " in result.stderr


@pytest.mark.parametrize(
    ("told", "requirement"),
    [
        (None, "partitioned-etl>=1.4.2,<2"),
        (
            {"url": "file:///a/partitioned_etl-1.4.2-py3-none-any.whl", "archive_info": {}},
            "partitioned-etl @ file:///a/partitioned_etl-1.4.2-py3-none-any.whl",
        ),
        (
            {"url": "file:///src/etl", "dir_info": {"editable": True}},
            "partitioned-etl @ file:///src/etl",
        ),
        (
            {
                "url": "https://git.example/etl.git",
                "vcs_info": {"vcs": "git", "commit_id": "0a1b", "requested_revision": "main"},
            },
            "partitioned-etl @ git+https://git.example/etl.git@0a1b",
        ),
    ],
)
def test_a_project_requires_what_is_installed(
    told: dict[str, Any] | None, requirement: str
) -> None:
    text = json.dumps(told) if told else None
    package: Any = SimpleNamespace(version="1.4.2", read_text=lambda _: text)
    assert find_requirement(package) == requirement
