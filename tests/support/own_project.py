"""A small project of a test's own, which is not installed."""

from collections.abc import Mapping
from pathlib import Path


def write_project(folder: Path, files: Mapping[str, str] | None = None) -> str:
    """Write a project without feeds; give the name of its package, which no other test has.

    Args:
        folder: The project's folder, in one of the test's own.
        files: Texts of other files of the package, by their path in it.
    """
    name = f"feeds_of_{folder.parent.name}_{folder.name}"
    texts = {
        "__init__.py": "",
        "definitions.py": "from partitioned_etl import load_location\n"
        f"location = load_location('{name}.defs')\n",
        "defs/__init__.py": "",
        **(files or {}),
    }
    for path, text in texts.items():
        (folder / "src" / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "src" / name / path).write_text(text, encoding="utf-8")
    (folder / "dg.toml").write_text(f'[project]\nroot_module = "{name}"\n', encoding="utf-8")
    return name
