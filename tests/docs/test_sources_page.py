"""docs/sources.md: every feed of it can be defined, and fetches or computes what it says."""

import re
import sys
from collections.abc import Callable
from types import ModuleType

import dagster as dg
import pytest
import yaml

from partitioned_etl.components import FileFeed
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.sources.registry import SOURCES, name_of_source

PAGE = (project_dir() / "docs" / "sources.md").read_text(encoding="utf-8")
FEEDS = [yaml.safe_load(text) for text in re.findall(r"(?ms)^```yaml\n(.*?)^```$", PAGE)]


@pytest.mark.parametrize("feed", FEEDS, ids=[feed["attributes"]["name"] for feed in FEEDS])
def test_a_feed_of_the_page_fetches(feed: dict[str, dict[str, str]]) -> None:
    attributes = feed["attributes"]
    found = FileFeed.resolve_from_yaml(yaml.safe_dump(attributes, sort_keys=False))
    definitions = found.build_defs(dg.ComponentTree.for_test().load_context)
    name = attributes["name"]
    assert f"{name}_fetch_job" in {job.name for job in definitions.jobs or ()}
    assert f"{name}_fetch_sensor" in {sensor.name for sensor in definitions.sensors or ()}


def test_every_kind_that_is_fetched_is_on_the_page() -> None:
    fetched = {name_of_source(one) for one in SOURCES if not one.is_computed}
    assert {feed["attributes"]["source"]["type"] for feed in FEEDS} == fetched


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The Python of the page, as one module."""
    module = ModuleType("module_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for text in re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE[PAGE.index("## Ad-hoc keys") :]):
        exec(compile(text, __file__, "exec"), module.__dict__)
    return module


def test_the_function_of_the_page_computes_the_rows_of_keys(
    module: ModuleType,
    resources: dict[str, object],
    query: Callable[[str], list[tuple[object, ...]]],
    instance: dg.DagsterInstance,
) -> None:
    instance.add_dynamic_partitions("scores", ["4-0.1", "x"])
    tags = {
        "dagster/asset_partition_range_start": "4-0.1",
        "dagster/asset_partition_range_end": "x",
    }
    result = dg.materialize(
        [module.scores], instance=instance, resources=resources, tags=tags, raise_on_error=False
    )
    assert not result.success
    assert query("SELECT * EXCLUDE score FROM scores ORDER BY fold") == [
        (4, 0.1, fold, "4-0.1", "4-0.1.json") for fold in range(3)
    ]
    assert module.scores_sensor.job_name == module.scores_job.name


def test_the_component_of_the_page_is_the_same_feed(module: ModuleType) -> None:
    declared = {"name": "scores", "columns": dict(module.SCORES.columns), "source": "parameters"}
    component = module.Scores.resolve_from_yaml(yaml.safe_dump(declared, sort_keys=False))
    assert [*component.compute("1-0.5")] == [*module.score("1-0.5")]
    [assets] = [*(component.definitions.assets or ())]
    assert isinstance(assets, dg.AssetsDefinition)
    assert assets.keys == module.scores.keys
