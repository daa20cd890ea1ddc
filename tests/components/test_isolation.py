"""One feed's mistake stops no other: it is shown as what it is, with file, line and reason."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest

from partitioned_etl.components.assets import find_feeds
from partitioned_etl.components.isolation import Location, Mistake, load_definitions
from partitioned_etl.components.location import DEFAULT_RESOURCES
from partitioned_etl.components.watch import watch
from partitioned_etl.engine.errors import FeedDefinitionError

GOOD = "name: {name}\n  pattern: '{{key}}.csv'\n  columns: {{a: BIGINT}}"
PYTHON = """
from collections.abc import Iterator

import dagster as dg

from partitioned_etl.components.assets import feed_assets, feed_job
from partitioned_etl.components.events import FeedEvent
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.sensor import landing_sensor
from partitioned_etl.engine.feed import Feed


@feed_assets(Feed(name="written", pattern="{key}.csv", columns={"a": "BIGINT"}))
def written(
    context: dg.AssetExecutionContext, landing: LandingResource, warehouse: WarehouseResource
) -> Iterator[FeedEvent]:
    yield from warehouse.load(context, landing.find(context))


written_job = feed_job(written)
written_sensor = landing_sensor(written, written_job)
"""

Load = Callable[[Mapping[str, str]], Location]


def complete(found: dg.Definitions, mistakes: Sequence[Mistake]) -> dg.Definitions:
    shared = dg.Definitions(resources=DEFAULT_RESOURCES, executor=dg.in_process_executor)
    return dg.Definitions.merge(found, watch(found, mistakes), shared)


def in_yaml(name: str, text: str = "") -> str:
    """Give the text of a `defs.yaml` with these attributes, of which the sixth line is the last."""
    return (
        "type: partitioned_etl.FileFeed\nattributes:\n  "
        f"{GOOD.format(name=name)}\n  {text or 'on_missing: keep'}\n"
    )


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Write files into a package of definitions, and load it."""
    package = f"definitions_{tmp_path.name}"

    def write_and_load(files: Mapping[str, str]) -> Location:
        (tmp_path / package).mkdir()
        for name, text in {"__init__.py": "", **files}.items():
            path = tmp_path / package / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return load_definitions(import_module(package), tmp_path, complete)

    return write_and_load


def list_names(location: Location) -> list[str]:
    return [assets.feed.name for assets in find_feeds(location.definitions)]


def test_what_defines_nothing_is_no_mistake(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    # Dagster validates: a mistake would be raised.
    monkeypatch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
    files = {"README.md": "What the feeds are.", "samples/a.csv": "a\n1\n"}
    location = load({"stock/defs.yaml": in_yaml("stock"), **files})
    assert (list_names(location), location.mistakes) == (["stock"], ())


def test_definitions_without_a_mistake_are_dagsters_own_tree(load: Load) -> None:
    location = load({"stock/defs.yaml": in_yaml("stock"), "written.py": PYTHON})
    assert list_names(location) == ["stock", "written"]
    assert location.mistakes == ()
    keys = location.definitions.resolve_asset_graph().get_all_asset_keys()
    assert "broken_definitions" not in {key.path[0] for key in keys}


@pytest.mark.parametrize(
    ("broken", "named", "reason"),
    [
        (
            {"broken/defs.yaml": in_yaml("broken", "on_mising: keep")},
            "broken",
            "broken/defs.yaml:6: feed broken: on_mising: there is no such attribute",
        ),
        ({"broken/defs.yaml": "type: [\n"}, "broken", "broken/defs.yaml"),
        ({"broken/defs.yaml": "type: partitioned_etl.components.FileFed\n"}, "broken", "FileFed"),
        ({"broken/defs.yaml": "type: nowhere.Feed\nattributes: {}\n"}, "broken", "nowhere"),
        ({"broken.py": "x = (\n"}, "broken", "broken.py:1: '(' was never closed"),
        ({"broken.py": "import nowhere\n"}, "broken", "broken.py:1: ModuleNotFoundError"),
        ({"broken.py": "1 / 0\n"}, "broken", "broken.py:1: ZeroDivisionError"),
        (
            {"broken.py": PYTHON.replace("{key}.csv", "x.csv").replace("written", "broken")},
            "broken",
            "feed broken: pattern 'x.csv' needs a placeholder",
        ),
        (
            {"broken.py": "import dagster as dg\n@dg.asset(deps=['loop'])\ndef loop(): ...\n"},
            "broken",
            "loop",
        ),
        ({"broken/component.py": "class Feed(\n"}, "broken", "component.py:1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_mistake_is_named_and_every_other_feed_goes_on(
    load: Load, broken: dict[str, str], named: str, reason: str
) -> None:
    files = {"stock/defs.yaml": in_yaml("stock"), "written.py": PYTHON, **broken}
    location = load(files)
    assert list_names(location) == ["stock", "written"]
    [mistake] = location.mistakes
    assert mistake.name == named
    assert reason in mistake.reason
    assert next(iter(broken)).split("/", maxsplit=1)[0] in mistake.reason
    assert "\n" not in mistake.reason
    assert location.definitions.resolve_job_def("stock_job")
    assert location.definitions.resolve_job_def("written_job")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("b", "sensor: a_sensor", "share the sensor or schedule a_sensor"),
        ("b", "load_asset: a", "share the asset a"),
        ("b", "load_asset: import_a", "share the asset import_a"),
        ("b", "import_asset: import_a", "share the asset import_a"),
        ("b", "table: A", "share the table a"),
        ("b", "folder: a/", "share the folder and pattern a/{key}.csv"),
        ("b", "folder: ./x/../a", "share the folder and pattern a/{key}.csv"),
        ("a", "", "share the asset a"),
    ],
)
def test_of_two_feeds_that_share_something_none_is_loaded(
    load: Load, name: str, text: str, message: str
) -> None:
    location = load(
        {
            "one/defs.yaml": in_yaml("a"),
            "other/defs.yaml": in_yaml(name, text),
            "written.py": PYTHON,
        }
    )
    assert list_names(location) == ["written"]
    assert [mistake.name for mistake in location.mistakes] == ["one", "other"]
    for mistake in location.mistakes:
        assert message in mistake.reason
        assert "feed a" in mistake.reason
        assert f"feed {name}" in mistake.reason


def of_days(name: str, folder: str, pattern: str, start: str, end: str) -> str:
    """Give the text of a `defs.yaml` of days."""
    return (
        "type: partitioned_etl.FileFeed\nattributes:\n"
        f"  {{name: {name}, folder: {folder}, pattern: '{pattern}', columns: {{a: BIGINT}}, "
        f"start: {start}, end: {end}}}\n"
    )


DAYS = ("{date:%Y-%m-%d}.csv", "2018-01-01", "2019-01-01")


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        (in_yaml("a"), of_days("b", "a", *DAYS), "a/2018-01-01.csv"),
        (
            in_yaml("a", "keys: [p, 2018-12-31]\n  partitioning: static"),
            of_days("b", "a", *DAYS),
            "a/2018-12-31.csv",
        ),
        (
            of_days("a", "x", "{date:%Y-%m-%d}{any}.csv", "2018-06-01", "2018-07-01"),
            of_days("b", "x", *DAYS),
            "x/2018-06-01.csv",
        ),
        (
            of_days("a", "x", "{date:%Y}/{date:%m%d}.csv", "2018-01-01", "2020-01-01"),
            of_days("b", "x/2019", "{date:%Y%m%d}.csv", "2018-01-01", "2020-01-01"),
            "",
        ),
        (
            of_days("a", "x", "{date:%Y-%m-%d}{any}.csv", "2019-01-01", "2020-01-01"),
            of_days("b", "x", *DAYS),
            "",
        ),
        (in_yaml("a", "key_pattern: '[a-z]+'"), of_days("b", "a", *DAYS), ""),
    ],
)
def test_two_feeds_that_certainly_take_one_file_are_refused(
    load: Load, one: str, other: str, path: str
) -> None:
    location = load({"one/defs.yaml": one, "other/defs.yaml": other, "written.py": PYTHON})
    reasons = {mistake.name: mistake.reason for mistake in location.mistakes}
    assert reasons.keys() == ({"one", "other"} if path else set())
    for reason in reasons.values():
        assert any(
            f"feed {first} and feed {second} both take {path}" in reason
            for first, second in (("a", "b"), ("b", "a"))
        )


def test_a_feed_that_takes_the_name_of_what_concerns_all_feeds_is_refused(load: Load) -> None:
    location = load({"arrivals/defs.yaml": in_yaml("arrivals"), "written.py": PYTHON})
    assert list_names(location) == ["written"]
    [mistake] = location.mistakes
    assert mistake.name == "arrivals"
    assert "feed arrivals and what concerns all feeds share the asset arrivals" in mistake.reason


def test_a_mistake_is_an_asset_with_a_check_that_fails(
    load: Load, instance: dg.DagsterInstance
) -> None:
    location = load({"stock/defs.yaml": in_yaml("stock"), "typo.py": "1 / 0\n"})
    [mistake] = location.mistakes
    defs = location.definitions
    spec = defs.resolve_asset_graph().get(dg.AssetKey(["broken_definitions", "typo"]))
    assert mistake.reason in (spec.description or "")
    sensor = defs.resolve_sensor_def("broken_definitions_sensor")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING

    def tick(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result

    first = tick(None)
    [evaluation] = first.asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert (evaluation.asset_key, evaluation.passed) == (spec.key, False)
    assert evaluation.description == mistake.reason
    assert not tick(first.cursor).asset_events


def test_dagsters_own_validation_fails_on_a_mistake(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
    with pytest.raises(FeedDefinitionError, match=r"typo\.py:1: ZeroDivisionError"):
        load({"stock/defs.yaml": in_yaml("stock"), "typo.py": "1 / 0\n"})


def test_a_mistake_that_is_mended_is_gone(load: Load, tmp_path: Path) -> None:
    location = load({"stock/defs.yaml": in_yaml("stock", "on_mising: keep")})
    assert len(location.mistakes) == 1
    [path] = tmp_path.glob("*/stock/defs.yaml")
    path.write_text(in_yaml("stock"), encoding="utf-8")
    again = load_definitions(sys.modules[path.parent.parent.name], tmp_path, complete)
    assert again.mistakes == ()
    assert list_names(again) == ["stock"]
