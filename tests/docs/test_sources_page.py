"""docs/sources.md: every feed of it can be defined, with a job and a sensor that fetch."""

import re

import dagster as dg
import pytest
import yaml

from partitioned_etl.components import FileFeed
from partitioned_etl.engine.project import project_dir

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


def test_every_kind_is_on_the_page() -> None:
    assert {feed["attributes"]["source"]["type"] for feed in FEEDS} == {
        "http",
        "rss",
        "remote_folder",
    }
