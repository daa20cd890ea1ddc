"""README and pages tell the truth about files, functions, targets, commands and feeds."""

import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from partitioned_etl.cli.main import EXIT_CODES, commands
from partitioned_etl.components import FileFeed
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.sync import sync_feed
from sample_feeds.definitions import defs

PROJECT = project_dir()
README = (PROJECT / "README.md").read_text(encoding="utf-8")
COMMAND_LINE = (PROJECT / "docs" / "command-line.md").read_text(encoding="utf-8")
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


def test_every_function_that_is_named_exists() -> None:
    named = re.findall(r"\]\(src/(partitioned_etl/[\w/]+)\.py\)\s`(\w+)`", README)
    assert len(named) >= 6
    for module, function in named:
        assert hasattr(import_module(module.replace("/", ".")), function), (module, function)


def test_every_make_target_has_its_help_and_every_documented_one_exists() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    pages = (README, *(path.read_text("utf-8") for path in (PROJECT / "docs").glob("*.md")))
    documented = {
        target
        for page in pages
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", page, re.MULTILINE)
    }
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    with_help = set(re.findall(r"^([a-z][\w-]*):.*## \S", makefile, re.MULTILINE))
    assert {"run", "test", "dev", "help"} <= documented <= targets
    assert targets == with_help


def test_every_command_and_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| `partitioned-etl ([\w-]+)[^`]*` \|", COMMAND_LINE, re.MULTILINE)
    assert sorted(rows) == sorted(commands.commands)
    codes = dict(re.findall(r"^\| (\d+) \| (.*) \|$", COMMAND_LINE, re.MULTILINE))
    assert codes == {str(code): meaning for code, meaning in EXIT_CODES.items()}
    options = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in commands.commands.items()
    }
    assert {name for name, of in options.items() if "--json" not in of} == {"init", "watch"}
    with_feeds = {name for name, of in options.items() if "--feed" in of}
    assert with_feeds == {"plan", "sync", "status", "watch", "explain"}
    assert "--csv" in options["query"]


def test_every_asset_of_the_table_of_feeds_exists() -> None:
    rows = re.findall(r"`(import_\w+)` → `(\w+)` \| (?:`(\w+)` )?\|$", README, re.MULTILINE)
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert len(rows) == 5
    assert {name for row in rows for name in row if name} <= keys


def test_the_example_of_a_feed_is_one_that_ships() -> None:
    example = PROJECT / "src" / "sample_feeds" / "defs" / "supplier_stock" / "defs.yaml"
    assert re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) == [example.read_text("utf-8")]


def test_the_example_of_the_page_of_feeds_loads_what_it_says(tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "feeds.md").read_text(encoding="utf-8")
    example = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0]
    attributes = yaml.safe_dump(yaml.safe_load(example)["attributes"])
    landed = tmp_path / "shops" / "berlin" / "2026-11-01.csv"
    landed.parent.mkdir(parents=True)
    landed.write_text('article;pieces;price\n"Tea; green";2;3.10\n', encoding="utf-8")
    feed = FileFeed.resolve_from_yaml(attributes)
    [loaded] = sync_feed(feed, tmp_path, tmp_path / "w.duckdb", settle_seconds=0).loaded
    assert (loaded.partition_key, loaded.rows) == ("berlin|2026-11-01", 1)


def test_the_page_of_feeds_has_a_whole_feed_in_python_and_adds_to_its_metadata(
    landing_dir: Path, resources: dict[str, object]
) -> None:
    page = (PROJECT / "docs" / "feeds.md").read_text(encoding="utf-8")
    [example, metadata, component] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    landed = landing_dir / "payments" / "2026-03-02.csv"
    landed.parent.mkdir()
    landed.write_text("id,amount\n1,9.90\n", encoding="utf-8")
    with_value = example.replace("@feed_assets(PAYMENTS)\n", metadata)
    assert with_value != example
    for text, cost_center in ((example, None), (with_value, 4711)):
        names: dict[str, Any] = {"__name__": "payments", "__file__": __file__}
        exec(compile(text, __file__, "exec"), names)
        found = dg.Definitions(
            assets=[names["payments"]],
            jobs=[names["payments_job"]],
            sensors=[names["payments_sensor"]],
            resources=resources,
        )
        dg.Definitions.validate_loadable(found)
        check_cost_center(names["payments"], resources, cost_center)

    names = {"__name__": "payments_component"}
    exec(component, names)
    feed = names["Payments"].resolve_from_yaml(
        "{name: payments, pattern: '{date:%Y-%m-%d}.csv', start: 2026-03-01, "
        "columns: {id: BIGINT, amount: DOUBLE}, table: other}"
    )
    [definition] = feed.build_defs(dg.ComponentTree.for_test().load_context).assets
    check_cost_center(definition, resources, 4711)


def check_cost_center(
    definition: dg.AssetsDefinition, resources: dict[str, object], expected: int | None
) -> None:
    result = dg.materialize([definition], partition_key="2026-03-02", resources=resources)
    events = result.get_asset_materialization_events()
    told = [event.materialization.metadata.get("cost_center") for event in events]
    assert [value.value if value else None for value in told] == [expected, expected]


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copytree(PROJECT / "data" / "source", tmp_path / "data" / "source")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example, names)
    loaded = {record.partition_key for record in names["report"].loaded}  # type: ignore[attr-defined]
    assert loaded == {"acme", "globex", "initech"}
