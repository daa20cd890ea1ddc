"""What Python files below `defs/` declare: pipelines once, and everything else beside them."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest

from partitioned_etl.builders.modules import find_pipelines, import_modules, load_others
from partitioned_etl.ingest.errors import FeedDefinitionError

FEED = """
from partitioned_etl.builders.partitions import build_partitions_def
from partitioned_etl.builders.pipelines import build_pipeline
from partitioned_etl.ingest.feed import Feed

STOCK = Feed(name="stock", folder="s", pattern="{key}.csv", columns={"a": "DATE"}, table="stock")
STOCK_PIPELINE = build_pipeline(STOCK, partitions_def=build_partitions_def(STOCK))
STOCK_JOB, STOCK_ASSETS = STOCK_PIPELINE.job, STOCK_PIPELINE.assets
"""


@pytest.fixture
def write_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Write the modules of a package of its own, by their paths in it."""

    def write(**texts: str) -> ModuleType:
        name = f"package_{tmp_path.name}"
        for path, text in {"__init__": "", **texts}.items():
            file = tmp_path / name / f"{path.replace('__in__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return import_module(name)

    return write


def test_a_pipeline_that_other_modules_import_is_there_once(
    write_package: Callable[..., ModuleType], tmp_path: Path
) -> None:
    imports = f"from package_{tmp_path.name}.stock import STOCK_PIPELINE\n"
    modules = import_modules(write_package(stock=FEED, other=imports))
    assert [pipeline.feed.name for pipeline in find_pipelines(modules)] == ["stock"]


@pytest.mark.parametrize("path", ["folder__in__stock", "folder__in____init__", "a__in__b__in__c"])
def test_a_feed_may_lie_in_a_folder(path: str, write_package: Callable[..., ModuleType]) -> None:
    modules = import_modules(write_package(**{path: FEED}))
    assert {pipeline.feed.name for pipeline in find_pipelines(modules)} == {"stock"}


def test_whatever_else_modules_hold_for_dagster_is_loaded_too(
    write_package: Callable[..., ModuleType], tmp_path: Path
) -> None:
    mine = """
import dagster as dg

@dg.asset
def mine() -> None: ...

@dg.asset_check(asset=mine)
def mine_is_sound() -> dg.AssetCheckResult: return dg.AssetCheckResult(passed=True)

job = dg.define_asset_job("mine_job", selection=[mine])
schedule = dg.ScheduleDefinition(job=job, cron_schedule="0 0 * * *")

@dg.sensor(job=job)
def mine_sensor() -> dg.SkipReason: return dg.SkipReason("no")

@dg.definitions
def given() -> dg.Definitions: return dg.Definitions(resources={"mine": 1})
"""
    imports = f"from package_{tmp_path.name}.mine import mine\n"
    package = write_package(stock=FEED, mine=mine, folder__in__also=imports)
    modules = import_modules(package)
    pipelines = find_pipelines(modules)
    others = load_others(modules, pipelines)
    shared = dg.Definitions(resources={"landing": 1, "warehouse": 1})
    of_feeds = (pipeline.to_definitions() for pipeline in pipelines)
    location = dg.Definitions.merge(shared, others, *of_feeds)
    dg.Definitions.validate_loadable(location)
    keys = location.resolve_asset_graph().get_all_asset_keys()
    assert {key.to_user_string() for key in keys} == {"mine", "import_stock", "stock"}
    assert others.resolve_asset_graph().get_all_asset_keys() == {dg.AssetKey("mine")}
    assert others.resolve_job_def("mine_job")
    assert others.resolve_schedule_def("mine_job_schedule")
    assert others.resolve_sensor_def("mine_sensor")
    assert [key.name for key in others.resolve_asset_graph().asset_check_keys] == ["mine_is_sound"]
    assert others.resources == {"mine": 1}


def test_a_refresh_that_no_pipeline_has_is_loaded_once(
    write_package: Callable[..., ModuleType], tmp_path: Path
) -> None:
    copies = f"""
from package_{tmp_path.name}.stock import STOCK, STOCK_PIPELINE
from partitioned_etl.builders.archives import build_archive

archive = build_archive(STOCK, name="copies", folder="s", load_asset="stock",
    partitions_def=STOCK_PIPELINE.partitions_def, owners=[])
copies, job = archive.asset, archive.job
"""
    modules = import_modules(write_package(stock=FEED, copies=copies))
    others = load_others(modules, find_pipelines(modules))
    [copies] = others.assets or [None]
    assert isinstance(copies, dg.AssetsDefinition)
    assert copies.key == dg.AssetKey("copies")
    assert [job.name for job in others.jobs or ()] == ["stock_archive_job"]
    assert [sensor.name for sensor in others.sensors or ()] == ["stock_archive_sensor"]


def test_a_function_that_wants_a_context_is_refused_by_name(
    write_package: Callable[..., ModuleType],
) -> None:
    text = """
import dagster as dg

@dg.definitions
def mine(context: dg.ComponentLoadContext) -> dg.Definitions: return dg.Definitions()
"""
    modules = import_modules(write_package(mine=text))
    with pytest.raises(FeedDefinitionError, match=r"\.mine\.mine: .* takes no context here"):
        load_others(modules, [])


def test_what_an_editor_leaves_in_a_hidden_folder_is_not_loaded(
    write_package: Callable[..., ModuleType], tmp_path: Path
) -> None:
    package = write_package()
    hidden = tmp_path / package.__name__ / ".copies"
    hidden.mkdir()
    (hidden / "stock.py").write_text(FEED)
    assert find_pipelines(import_modules(package)) == []
