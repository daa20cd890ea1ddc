"""Keeps tables equal to the files that land, partition by partition.

What a project needs is imported from here: `from partitioned_etl import Feed, feed_assets, …`.
`docs/reference.md` describes it, and semantic versioning holds for it and for nothing else.

Inside, imports go one way, `cli → components → engine`. `engine` puts files into tables, in plain
Python and DuckDB; `components` makes Dagster definitions of a feed; `cli` is the command line.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from partitioned_etl.components.archive import archive_asset as archive_asset
    from partitioned_etl.components.assets import feed_assets as feed_assets
    from partitioned_etl.components.assets import feed_job as feed_job
    from partitioned_etl.components.assets import find_warehouse_pool as find_warehouse_pool
    from partitioned_etl.components.downstream import downstream_job as downstream_job
    from partitioned_etl.components.downstream import downstream_sensor as downstream_sensor
    from partitioned_etl.components.events import FeedEvent as FeedEvent
    from partitioned_etl.components.fetches import fetch_job as fetch_job
    from partitioned_etl.components.fetches import fetch_sensor as fetch_sensor
    from partitioned_etl.components.file_feed import FileFeed as FileFeed
    from partitioned_etl.components.isolation import Location as Location
    from partitioned_etl.components.location import load_location as load_location
    from partitioned_etl.components.partitions import build_partitions_def as build_partitions_def
    from partitioned_etl.components.resources import LandingResource as LandingResource
    from partitioned_etl.components.resources import WarehouseResource as WarehouseResource
    from partitioned_etl.components.schedule import ReloadSchedule as ReloadSchedule
    from partitioned_etl.components.schedule import reload_schedule as reload_schedule
    from partitioned_etl.components.sensor import landing_sensor as landing_sensor
    from partitioned_etl.engine.contract import BadRows as BadRows
    from partitioned_etl.engine.contract import Column as Column
    from partitioned_etl.engine.contract import RowRule as RowRule
    from partitioned_etl.engine.errors import ContractError as ContractError
    from partitioned_etl.engine.errors import FeedDefinitionError as FeedDefinitionError
    from partitioned_etl.engine.errors import LandedFileError as LandedFileError
    from partitioned_etl.engine.errors import PartitionedEtlError as PartitionedEtlError
    from partitioned_etl.engine.errors import PartitionKeyError as PartitionKeyError
    from partitioned_etl.engine.errors import SettingError as SettingError
    from partitioned_etl.engine.errors import SourceError as SourceError
    from partitioned_etl.engine.errors import WarehouseError as WarehouseError
    from partitioned_etl.engine.feed import Feed as Feed
    from partitioned_etl.engine.feed import OnMissing as OnMissing
    from partitioned_etl.engine.feed import OnUnmatched as OnUnmatched
    from partitioned_etl.engine.settings import Settings as Settings
    from partitioned_etl.engine.sources.computed_rows import Rows as Rows
    from partitioned_etl.engine.sources.computed_rows import land_rows as land_rows
    from partitioned_etl.engine.sources.parameters import Parameters as Parameters
    from partitioned_etl.engine.sync import SyncRecord as SyncRecord
    from partitioned_etl.engine.sync import SyncReport as SyncReport
    from partitioned_etl.engine.sync import sync_feed as sync_feed
    from partitioned_etl.engine.warehouse.registry import connect_warehouse as connect_warehouse
    from partitioned_etl.engine.warehouse.warehouse import FeedTable as FeedTable
    from partitioned_etl.engine.warehouse.warehouse import OpenWarehouse as OpenWarehouse
    from partitioned_etl.engine.warehouse.warehouse import Warehouse as Warehouse

_MODULES = {
    "components.archive": ("archive_asset",),
    "components.assets": ("feed_assets", "feed_job", "find_warehouse_pool"),
    "components.downstream": ("downstream_job", "downstream_sensor"),
    "components.events": ("FeedEvent",),
    "components.fetches": ("fetch_job", "fetch_sensor"),
    "components.file_feed": ("FileFeed",),
    "components.isolation": ("Location",),
    "components.location": ("load_location",),
    "components.partitions": ("build_partitions_def",),
    "components.resources": ("LandingResource", "WarehouseResource"),
    "components.schedule": ("ReloadSchedule", "reload_schedule"),
    "components.sensor": ("landing_sensor",),
    "engine.contract": ("BadRows", "Column", "RowRule"),
    "engine.errors": (
        *("ContractError", "FeedDefinitionError", "LandedFileError", "PartitionKeyError"),
        *("PartitionedEtlError", "SettingError", "SourceError", "WarehouseError"),
    ),
    "engine.feed": ("Feed", "OnMissing", "OnUnmatched"),
    "engine.settings": ("Settings",),
    "engine.sources.computed_rows": ("Rows", "land_rows"),
    "engine.sources.parameters": ("Parameters",),
    "engine.sync": ("SyncRecord", "SyncReport", "sync_feed"),
    "engine.warehouse.registry": ("connect_warehouse",),
    "engine.warehouse.warehouse": ("FeedTable", "OpenWarehouse", "Warehouse"),
}
"""Where each public name is. It is imported when it is first used: most need Dagster, which takes a
second, and the command line does not begin with it."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

# A library says nothing unless it is asked to.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
