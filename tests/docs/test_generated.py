"""What pages say of attributes, formats and settings is what is declared."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from partitioned_etl.engine.project import project_dir

DEFS = project_dir() / "src" / "sample_feeds" / "defs"


def test_nothing_that_is_generated_is_stale(generate: ModuleType) -> None:
    stale = [
        str(path)
        for path, text in generate.render_all()
        if path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "make docs writes them anew"


def test_a_stale_page_is_found(generate: ModuleType) -> None:
    page = (project_dir() / "docs" / "settings.md").read_text(encoding="utf-8")
    assert "| `LANDING_DIR` | `data/source` |" in page
    assert generate.render_settings() in page
    assert generate.render_settings().replace("ticks", "tocks") not in page


@pytest.mark.parametrize("path", sorted(DEFS.rglob("defs.yaml")), ids=lambda path: path.parent.name)
def test_the_schema_knows_every_attribute_of_the_feeds(path: Path, generate: ModuleType) -> None:
    schema = json.loads(generate.SCHEMA.read_text(encoding="utf-8"))
    attributes = schema["properties"]["attributes"]
    declared = yaml.safe_load(path.read_text(encoding="utf-8"))["attributes"]
    assert set(declared) <= set(attributes["properties"])
    assert set(attributes["required"]) <= set(declared)
