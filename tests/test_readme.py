"""The README and the settings' example tell the truth about files, functions, targets, settings."""

import re
import shutil
import sys
from dataclasses import MISSING, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from partitioned_etl.cli.main import EXIT_CODES, commands
from partitioned_etl.components import FileFeed
from partitioned_etl.definitions import defs
from partitioned_etl.ingest.feed import Feed
from partitioned_etl.ingest.settings import DEFAULTS, project_dir
from partitioned_etl.ingest.sync import sync_feed

PROJECT = project_dir()
README = (PROJECT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    str(path.relative_to(PROJECT))
    for path in (*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"))
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_linked_file_exists(document: str) -> None:
    text = (PROJECT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    missing = [link for link in links if not (PROJECT / document).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_linked_heading_exists(document: str) -> None:
    path = PROJECT / document
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if link[1] not in list_anchors(path, link[0])]
    assert not missing


def list_anchors(document: Path, link: str) -> set[str]:
    """Give the anchors that GitHub makes of the headings of a linked page."""
    page = document.parent / link if link else document
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_the_readme() -> None:
    pages = {f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\(([^)#]+)", README))


def test_every_command_of_the_environment_is_in_it() -> None:
    pages = (README, *(path.read_text("utf-8") for path in (PROJECT / "docs").glob("*.md")))
    named = {name for page in pages for name in re.findall(r"\.venv/bin/([\w-]+)", page)}
    assert {"dg", "partitioned-etl"} <= named
    assert not {name for name in named if not Path(sys.prefix, "bin", name).exists()}


def test_every_function_of_the_way_of_one_file_exists() -> None:
    named = re.findall(r"\]\(src/(partitioned_etl/[\w/]+)\.py\) `(\w+)`", README)
    assert len(named) >= 8
    for module, function in named:
        assert hasattr(import_module(module.replace("/", ".")), function), (module, function)


def test_every_make_target_is_documented_and_every_documented_one_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    documented = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", README, re.MULTILINE))
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    with_help = set(re.findall(r"^([a-z][\w-]*):.*## \S", makefile, re.MULTILINE))
    assert {"run", "test", "dev", "check", "clean", "help"} <= documented <= targets
    assert targets == with_help


def test_every_setting_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (?:`([^`]*)`|[^|]*) \|", README, re.MULTILINE))
    assert {name: rows.get(name) for name in DEFAULTS} == DEFAULTS
    assert set(rows) - set(DEFAULTS) == {"DAGSTER_HOME"}


def test_the_example_lists_every_setting_with_its_default() -> None:
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert dict(re.findall(r"^# ([A-Z_]+)=(.*)$", example, re.MULTILINE)) == DEFAULTS


def test_every_command_and_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| `partitioned-etl (\w+)[^`]*` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(commands.commands)
    codes = dict(re.findall(r"^\| (\d+) \| (.*) \|$", README, re.MULTILINE))
    assert codes == {str(code): meaning for code, meaning in EXIT_CODES.items()}
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands.commands.items()
    }
    assert all("--json" in of for of in options.values())
    assert {name for name, of in options.items() if "--feed" in of} == {"plan", "sync", "status"}
    assert "--csv" in options["query"]


def test_every_asset_of_the_table_of_feeds_exists() -> None:
    named = set(re.findall(r"`(import_\w+)` → `(\w+)`", README))
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert len(named) == 4
    downstream = {"monthly_orders", "archived_file", "arrivals"}
    assert all(f"`{name}`" in README for name in downstream)
    assert {name for pair in named for name in pair} | downstream == keys


def test_every_schedule_that_is_named_exists_and_is_off() -> None:
    named = set(re.findall(r"`(\w+_schedule)`", README))
    off = {
        schedule.name
        for schedule in defs.schedules or ()
        if schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    }
    assert named
    assert named <= off


def test_the_example_of_a_feed_is_one_that_ships() -> None:
    example = PROJECT / "src" / "partitioned_etl" / "defs" / "supplier_stock" / "defs.yaml"
    assert re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) == [example.read_text("utf-8")]


def test_every_policy_is_documented_under_its_name() -> None:
    section = README.partition("## Policies")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .* \| (`.*`) \|$", section, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    declared = {field.name for field in fields(Feed) if field.default is not MISSING}
    renamed = {"due_after": "due_after_hours"}
    in_yaml = {renamed.get(name, name) for name in declared}
    assert named | {"partitioning", "row_rules", "description"} == in_yaml
    assert in_yaml <= FileFeed.get_model_cls().model_fields.keys()  # type: ignore[union-attr]


def test_the_page_of_feeds_lists_every_attribute_as_dg_does() -> None:
    page = (PROJECT / "docs" / "feeds.md").read_text(encoding="utf-8")
    attributes = FileFeed.get_model_cls().model_fields  # type: ignore[union-attr]
    listed = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert listed == [(name, field.description) for name, field in attributes.items()]


def test_the_example_of_the_page_of_feeds_loads_what_it_says(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "feeds.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    attributes = yaml.safe_dump(yaml.safe_load(example)["attributes"])
    landed = tmp_path / "shops" / "berlin" / "2026-11-01.csv"
    landed.parent.mkdir(parents=True)
    landed.write_text('article;pieces;price\n"Tea; green";2;3.10\n', encoding="utf-8")
    feed = FileFeed.resolve_from_yaml(attributes).feed
    [loaded] = sync_feed(feed, tmp_path, tmp_path / "w.duckdb", settle_seconds=0).loaded
    assert (loaded.partition_key, loaded.rows) == ("berlin|2026-11-01", 1)


def test_the_page_of_feeds_has_a_whole_feed_in_python(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "feeds.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    feed, pipeline = names["PAYMENTS"], names["PAYMENTS_PIPELINE"]
    both = dg.Definitions.merge(pipeline.to_definitions(), dg.Definitions(resources=defs.resources))
    dg.Definitions.validate_loadable(both)
    landed = tmp_path / "payments" / "2026-03-02.csv"
    landed.parent.mkdir()
    landed.write_text("id,amount\n1,9.90\n", encoding="utf-8")
    [loaded] = sync_feed(feed, tmp_path, tmp_path / "w.duckdb", settle_seconds=0).loaded
    assert (loaded.partition_key, loaded.rows) == ("2026-03-02", 1)


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copytree(PROJECT / "data" / "source", tmp_path / "data" / "source")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    loaded = {record.partition_key for record in names["report"].loaded}  # type: ignore[attr-defined]
    assert loaded == {"acme", "globex", "initech"}
