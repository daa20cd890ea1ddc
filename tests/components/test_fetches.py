"""A feed with a source in Dagster: its sensor looks, its job fetches, and the rest is as always."""

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.components import FileFeed, fetches
from partitioned_etl.components.fetches import fetch_job
from partitioned_etl.components.isolation import Location as LoadedLocation
from partitioned_etl.engine.errors import FeedDefinitionError, SourceError
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.sources.mirror import mirror_source
from support.define import DefinedFeed, define_feed, define_location
from support.location import Location
from support.remote_server import RemoteServer, give
from support.workbench import NOTES, change_feed

Query = Callable[..., list[tuple[Any, ...]]]
ROWS = "SELECT partition_key, note FROM raw_notes ORDER BY ALL"


pytestmark = pytest.mark.usefixtures("no_pauses")


def locate(feed: Any, instance: dg.DagsterInstance) -> Location:
    defined = define_feed(feed)
    return Location(define_location(defined), defined, instance)


def fetch(location: Location) -> dg.ExecuteInProcessResult:
    [request] = location.tick_fetch()
    return location.execute(request)


def test_what_is_offered_is_fetched_and_then_loaded_as_what_landed(
    remote: RemoteServer, landing_dir: Path, query: Query, instance: dg.DagsterInstance
) -> None:
    location = locate(remote.feed(), instance)
    assert location.tick_fetch() == []
    assert location.skipped == "feed notes: nothing is offered"
    remote.put("a", "b")
    assert fetch(location).success
    assert location.settle() == [["a", "b"]]
    assert query(ROWS) == [("a", "x"), ("b", "x")]
    assert location.tick_fetch() == []
    assert location.skipped == "feed notes: 2 unchanged"
    remote.put("a", note="y")
    assert fetch(location).success
    assert location.settle() == [["a"]]
    assert query(ROWS) == [("a", "y"), ("b", "x")]


def test_what_is_gone_at_the_source_goes_by_the_policy_of_the_feed(
    remote: RemoteServer, landing_dir: Path, query: Query, instance: dg.DagsterInstance
) -> None:
    location = locate(change_feed(remote.feed(), on_missing="remove"), instance)
    remote.put("a", "b", "c")
    fetch(location)
    location.settle()
    del remote.items["b"]
    assert fetch(location).success
    location.settle()
    assert query(ROWS) == [("a", "x"), ("c", "x")]
    remote.items.clear()
    assert location.tick_fetch() == []
    assert "2 of 2 fetched files are gone at the source, more than half" in location.skipped


def test_a_run_tells_what_it_fetched_and_fails_for_what_it_could_not(
    remote: RemoteServer, landing_dir: Path, database: Path, instance: dg.DagsterInstance
) -> None:
    location = locate(remote.feed(), instance)
    remote.put("a", "b")
    remote.answers["/item/b"] = lambda handler: give(handler, b"", 403)
    result = fetch(location)
    [failure] = result.get_step_failure_events()
    data = failure.step_failure_data.user_failure_data
    assert data
    assert data.description == (
        "not fetched: notes: b.csv: the server answers 403: access is denied; check the secrets "
        "and what they allow"
    )
    assert (data.metadata["fetched"].value, data.metadata["failed"].value) == (1, 1)
    assert location.settle() == [["a"]]


def test_what_fails_is_requested_again_a_few_times_and_then_once_an_hour(
    remote: RemoteServer,
    landing_dir: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location = locate(remote.feed(), instance)
    remote.put("a")
    remote.answers["/item/a"] = lambda handler: give(handler, b"", 404)
    keys = set()
    for _ in range(MAX_ATTEMPTS):
        [request] = location.tick_fetch()
        keys.add(request.run_key)
        assert not location.execute(request).success
    assert len(keys) == MAX_ATTEMPTS
    assert location.tick_fetch() == []
    assert location.skipped.endswith("requested 3 times in vain, and once an hour from now on")
    monkeypatch.setattr(fetches, "_PAUSE_SECONDS", 0)
    assert len(location.tick_fetch()) == 1
    remote.answers.clear()
    remote.put("a", note="mended")
    monkeypatch.setattr(fetches, "_PAUSE_SECONDS", 3600)
    assert fetch(location).success


def test_while_a_run_fetches_no_other_is_requested(
    remote: RemoteServer, landing_dir: Path, instance: dg.DagsterInstance
) -> None:
    location = locate(remote.feed(), instance)
    remote.put("a")
    [request] = location.tick_fetch()
    location.queue(request)
    assert location.tick_fetch() == []
    assert location.skipped == "feed notes: a run is fetching"


def test_a_list_that_takes_longer_than_a_tick_goes_on(
    remote: RemoteServer,
    landing_dir: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location, go_on = locate(remote.feed(), instance), Event()
    remote.put("a")

    def wait(handler: Any) -> None:
        assert go_on.wait(60)
        del remote.answers["/list"]
        remote.answer(handler)

    remote.answers["/list"] = wait
    monkeypatch.setattr(fetches, "TICK_SCAN_SECONDS", 0.1)
    assert location.tick_fetch() == []
    assert "its source is still being listed, for 0 s; the next tick tries" in location.skipped
    go_on.set()
    monkeypatch.setattr(fetches, "TICK_SCAN_SECONDS", 60)
    assert len(location.tick_fetch()) == 1
    assert len([one for one in remote.asked if one.path == "/list"]) == 2


def test_a_source_that_is_down_is_tried_again_and_one_that_refuses_fails_the_tick(
    remote: RemoteServer, landing_dir: Path, instance: dg.DagsterInstance
) -> None:
    location = locate(remote.feed(), instance)
    remote.answers["/list"] = lambda handler: give(handler, b"", 503)
    assert location.tick_fetch() == []
    assert location.skipped == (
        "feed notes: its source: the server answers 503; the next tick tries again"
    )
    remote.answers["/list"] = lambda handler: give(handler, b"", 401)
    with pytest.raises(SourceError, match="the server answers 401: access is denied"):
        location.tick_fetch()


def test_days_that_are_no_partition_are_not_fetched(
    remote: RemoteServer, landing_dir: Path, instance: dg.DagsterInstance
) -> None:
    daily = change_feed(
        NOTES, pattern="{date:%Y-%m-%d}.csv", start="2026-01-02", end="2026-01-04", key_pattern="x"
    )
    location = locate(remote.feed(feed=daily), instance)
    remote.put("2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")
    assert fetch(location).success
    assert sorted(path.name for path in (landing_dir / "notes").iterdir()) == [
        "2026-01-02.csv",
        "2026-01-03.csv",
    ]
    assert location.tick_fetch() == []
    assert location.skipped == "feed notes: 2 unchanged, 2 of no partition"


@pytest.fixture
def sync(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[DefinedFeed], Result]:
    """Call `sync` for a feed."""
    import sys
    from types import ModuleType

    monkeypatch.chdir(tmp_path)

    def run(defined: DefinedFeed) -> Result:
        module = ModuleType("location_with_a_source")
        module.location = LoadedLocation(define_location(defined))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setenv("DEFINITIONS_MODULE", module.__name__)
        return call("sync")

    return run


def test_sync_fetches_before_it_loads_and_twice_fetches_nothing_twice(
    remote: RemoteServer, sync: Callable[[DefinedFeed], Result], query: Query
) -> None:
    remote.put("a", "b")
    defined = define_feed(remote.feed())
    result = sync(defined)
    assert result.exit_code == 0, result.output
    assert "notes_fetch_job: 2 to fetch" in result.output
    assert query(ROWS) == [("a", "x"), ("b", "x")]
    remote.list_fetched()
    result = sync(defined)
    assert result.exit_code == 0
    assert "Nothing to load" in result.output
    assert "fetch_job" not in result.output
    assert remote.list_fetched() == []


def test_sync_loads_what_has_landed_although_the_source_fails_and_says_so(
    remote: RemoteServer,
    sync: Callable[[DefinedFeed], Result],
    query: Query,
    call: Callable[..., Result],
) -> None:
    remote.put("a", "b")
    defined = define_feed(remote.feed())
    remote.answers["/item/b"] = lambda handler: give(handler, b"", 404)
    result = sync(defined)
    assert result.exit_code == 1
    assert "not fetched: notes: b.csv: the server answers 404" in result.output
    assert query(ROWS) == [("a", "x")]
    told = "not fetched: notes: b.csv: the server answers 404"
    assert told in call("status").output
    remote.answers["/list"] = lambda handler: give(handler, b"[]")
    result = sync(defined)
    assert result.exit_code == 1
    assert "not fetched: feed notes: its source: its list has no array at $.data.items" in (
        result.output
    )


@pytest.mark.parametrize(("unmatched", "code"), [("warn", 0), ("fail", 1)])
def test_sync_names_items_that_cannot_land_and_fails_if_the_feed_says_so(
    remote: RemoteServer,
    sync: Callable[[DefinedFeed], Result],
    query: Query,
    unmatched: str,
    code: int,
) -> None:
    remote.put("a", ".b")
    defined = define_feed(change_feed(remote.feed(), unmatched=unmatched))
    for _ in range(2):
        result = sync(defined)
        assert result.exit_code == code
        assert "unmatched: notes: .b.csv: the landing takes it for a hidden" in result.output
    assert query(ROWS) == [("a", "x")]


def test_a_secret_that_is_not_set_fails_each_tick_until_it_is(
    remote: RemoteServer,
    landing_dir: Path,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location = locate(remote.feed(bearer="API_TOKEN"), instance)
    remote.put("a")
    for _ in range(2):
        with pytest.raises(SourceError, match="environment variable API_TOKEN is not set"):
            location.tick_fetch()
    monkeypatch.setenv("API_TOKEN", "t0ken")
    assert len(location.tick_fetch()) == 1


def test_sync_says_that_a_feed_in_python_has_no_job_to_fetch(
    remote: RemoteServer, sync: Callable[[DefinedFeed], Result], landing_dir: Path
) -> None:
    remote.put("a")
    defined = define_feed(remote.feed())
    bare = DefinedFeed(defined.definition, defined.job, defined.sensor, dg.Definitions())
    result = sync(bare)
    assert (result.exit_code, "notes has a source, and no fetch_job" in result.output) == (1, True)


def build(text: str) -> dg.Definitions:
    return FileFeed.resolve_from_yaml(text).build_defs(dg.ComponentTree.for_test().load_context)


YAML = """
name: notes
pattern: "{key}.csv"
columns: {id: BIGINT}
source:
  type: http
  url: https://example.org/list
  name: "{id}.csv"
  item_url: "{url}"
  bearer: API_TOKEN
"""


def test_a_feed_in_yaml_gets_a_job_and_a_sensor_that_fetch() -> None:
    definitions = build(YAML)
    assert [job.name for job in definitions.jobs or ()] == ["notes_job", "notes_fetch_job"]
    sensors = {sensor.name: sensor for sensor in definitions.sensors or ()}
    assert [*sensors] == ["notes_sensor", "notes_fetch_sensor"]
    assert sensors["notes_fetch_sensor"].minimum_interval_seconds == 299


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (("API_TOKEN", "s3cr3t!"), 10, "must be the name of an environment variable"),
        (("{id}.csv", "{id}.json"), 8, "does not match"),
        (("type: http", "type: gopher"), 5, "needs a type, one of http, rss, remote_folder"),
        (("bearer:", "token:"), 10, "there is no such attribute"),
    ],
)
def test_a_mistake_in_a_source_is_named_with_its_line(
    change: tuple[str, str], line: int, reason: str
) -> None:
    with pytest.raises(FeedDefinitionError) as caught:
        build(YAML.replace(*change))
    assert reason in str(caught.value)
    assert f":{line}: feed notes: " in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_feed_without_a_source_has_nothing_to_fetch() -> None:
    with pytest.raises(FeedDefinitionError, match="feed notes: declares no source"):
        fetch_job(define_feed(NOTES).definition)


def test_a_source_in_the_declaration_shows_names_of_variables_alone(
    remote: RemoteServer, landing_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t")
    feed = remote.feed(bearer="API_TOKEN")
    remote.put("a")
    mirror_source(feed, landing_dir)
    shown = repr(define_feed(feed).definition.metadata_by_key)
    assert "API_TOKEN" in shown
    assert "s3cr3t" not in shown
