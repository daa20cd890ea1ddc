"""The project: which folder relative paths are relative to, and which module is loaded."""

from pathlib import Path

import pytest

from partitioned_etl.engine.errors import SettingError
from partitioned_etl.engine.project import find_project, project_dir, use_project


@pytest.mark.parametrize(
    ("name", "text", "module"),
    [
        ("dg.toml", '[project]\nroot_module = "my_feeds"', "my_feeds.definitions"),
        (
            "dg.toml",
            '[project]\nroot_module = "my_feeds"\ncode_location_target_module = "my_feeds.all"',
            "my_feeds.all",
        ),
        (
            "pyproject.toml",
            '[tool.dg.project]\nroot_module = "my_feeds"',
            "my_feeds.definitions",
        ),
        ("pyproject.toml", '[tool.dagster]\nmodule_name = "my_feeds"', "my_feeds"),
    ],
)
def test_a_project_is_found_from_anywhere_inside(
    name: str, text: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "src" / "my_feeds" / "defs"
    inside.mkdir(parents=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    for folder in (tmp_path, inside):
        found = find_project(folder)
        assert found
        assert (found.folder, found.definitions_module) == (tmp_path, module)
        monkeypatch.chdir(folder)
        assert project_dir() == tmp_path


def test_a_project_in_a_workspace_is_the_project(tmp_path: Path) -> None:
    (tmp_path / "dg.toml").write_text('directory_type = "workspace"\n[workspace]\n')
    folder = tmp_path / "projects" / "one"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "one"')
    found = find_project(folder)
    assert found
    assert found.folder == folder
    assert find_project(tmp_path / "projects") is None


def test_another_package_around_it_is_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n[tool.ruff]\n')
    monkeypatch.chdir(tmp_path)
    assert find_project(tmp_path) is None
    assert project_dir() == tmp_path


def test_the_project_whose_definitions_are_loaded_counts_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    use_project(tmp_path / "elsewhere")
    assert project_dir() == tmp_path / "elsewhere"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.dg")
    with pytest.raises(SettingError, match=f"{tmp_path}/pyproject.toml cannot be read: "):
        find_project(tmp_path)
