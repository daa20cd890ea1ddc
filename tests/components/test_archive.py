"""The archive: a Parquet copy of each partition."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from partitioned_etl.components import archive as components_archive
from partitioned_etl.components.archive import archive_asset
from partitioned_etl.components.calendar import build_calendar
from partitioned_etl.components.downstream import (
    downstream_job,
    downstream_sensor,
    list_stale_keys,
)
from partitioned_etl.components.ranges import range_tags
from partitioned_etl.components.reconcile import RECONCILE_JOB
from partitioned_etl.engine.archive import ArchivedFile, write_archive
from partitioned_etl.engine.feed import Feed, OnMissing
from support.define import DefinedFeed, define_feed, define_location
from support.location import KilledError, Location, tick_downstream
from support.partitioned_location import DEFINED
from support.sample_location import CUSTOMERS, defs
from support.samples import price_rows

COPIES = dg.AssetKey("customer_copies")
ASSETS = [CUSTOMERS.definition, defs.get_assets_def(COPIES)]
KEYS = ["acme", "globex"]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the copies of the customers lie."""
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path / "archive"))
    return tmp_path / "archive" / "customers"


def read_prices(path: Path) -> list[float]:
    """Read the share prices of a copy."""
    rows = duckdb.read_parquet(str(path)).project("share_price").order("ALL")
    return [price for (price,) in rows.fetchall()]


def test_a_load_is_copied_and_a_correction_is_copied_again(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance, archive: Path
) -> None:
    instance.add_dynamic_partitions("customers", ["acme", "globex"])
    for prices in ([1.0, 2.0], [3.0]):
        (landing_dir / "customers" / "acme.csv").write_text(price_rows(*prices))
        (landing_dir / "customers" / "globex.csv").write_text(price_rows(9))
        result = dg.materialize(
            ASSETS, instance=instance, tags=range_tags(["acme", "globex"]), resources=resources
        )
        assert read_prices(archive / "acme.parquet") == prices
        events = result.asset_materializations_for_node("customer_copies")
        told = {event.partition: event.metadata for event in events}
        assert told["acme"]["dagster/partition_row_count"].value == len(prices)
        assert told["acme"]["path"].value == str(archive / "acme.parquet")
    assert {path.name for path in archive.iterdir()} == {"acme.parquet", "globex.parquet"}


def test_a_key_that_was_never_loaded_fails_alone_and_writes_nothing(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance, archive: Path
) -> None:
    hostile = "../../evil"
    instance.add_dynamic_partitions("customers", ["acme", hostile])
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    dg.materialize(ASSETS[:1], instance=instance, partition_key="acme", resources=resources)
    result = dg.materialize(
        ASSETS,
        selection=[COPIES],
        instance=instance,
        tags=range_tags(["acme", hostile]),
        resources=resources,
        raise_on_error=False,
    )
    assert not result.success
    assert instance.get_materialized_partitions(COPIES) == {"acme"}
    assert list(archive.parent.rglob("*.parquet")) == [archive / "acme.parquet"]
    assert not list(archive.parent.parent.glob("evil*"))


def test_what_is_loaded_while_copies_are_told_of_is_copied_again(
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The load's event would be older than that of the copy of the rows before it."""
    instance.add_dynamic_partitions("customers", KEYS)
    acme = landing_dir / "customers" / "acme.csv"
    acme.write_text(price_rows(1))
    (landing_dir / "customers" / "globex.csv").write_text(price_rows(9))
    dg.materialize(ASSETS[:1], instance=instance, tags=range_tags(KEYS), resources=resources)
    corrections, describe = [price_rows(2), price_rows(3)], components_archive._describe

    def correct_after(*arguments: Any) -> dict[str, ArchivedFile]:
        written = write_archive(*arguments)
        if corrections:
            acme.write_text(corrections.pop(0))
            loaded.append(True)
        return written

    def describe_after(archived: ArchivedFile) -> dict[str, dg.MetadataValue]:
        if loaded and loaded.pop():
            load = {"instance": instance, "partition_key": "acme", "resources": resources}
            assert dg.materialize(ASSETS[:1], **load).success
        return describe(archived)

    loaded: list[bool] = []
    monkeypatch.setattr(components_archive, "write_archive", correct_after)
    monkeypatch.setattr(components_archive, "_describe", describe_after)
    result = dg.materialize(
        ASSETS, selection=[COPIES], instance=instance, tags=range_tags(KEYS), resources=resources
    )
    assert read_prices(archive / "acme.parquet") == [3]
    told = [e.partition for e in result.asset_materializations_for_node("customer_copies")]
    assert told == ["acme", "globex", "acme", "acme"]
    assert not list_stale_keys(instance, CUSTOMERS.assets.load_key, COPIES)


def test_the_sensor_asks_for_the_copy_of_what_was_loaded_again(
    landing_dir: Path, resources: dict[str, object], instance: dg.DagsterInstance, archive: Path
) -> None:
    keys = ["acme", "globex", "initech"]
    instance.add_dynamic_partitions("customers", keys)
    for key in keys:
        (landing_dir / "customers" / f"{key}.csv").write_text(price_rows(1))
    dg.materialize(ASSETS, instance=instance, tags=range_tags(keys), resources=resources)
    sensor = defs.resolve_sensor_def("copies_sensor")
    asked, cursor = tick_downstream(sensor, CUSTOMERS, instance)
    assert asked == []
    dg.materialize(ASSETS[:1], instance=instance, partition_key="globex", resources=resources)
    asked, _ = tick_downstream(sensor, CUSTOMERS, instance, cursor)
    assert asked == [["globex"]]


@pytest.fixture
def notes(
    landing_dir: Path, database: Path, archive: Path, instance: dg.DagsterInstance
) -> Location:
    """A feed whose names go with their files: three of them, loaded and copied."""
    feed = Feed(
        name="notes",
        pattern="{key}.csv",
        columns={"number": "BIGINT"},
        on_missing=OnMissing.REMOVE,
    )
    loaded = define_feed(feed)
    copies = archive_asset(loaded.definition, name="copy_of_notes", folder="notes")
    job = downstream_job(copies, name="copy_job", feed=loaded.definition)
    sensor = downstream_sensor(copies, job, feed=loaded.definition, name="copy_sensor")
    downstream = dg.Definitions(assets=[copies], jobs=[job], sensors=[sensor])
    defined = DefinedFeed(loaded.definition, loaded.job, loaded.sensor, downstream)
    (landing_dir / "notes").mkdir()
    for key in "abc":
        (landing_dir / "notes" / f"{key}.csv").write_text("number\n1\n")
    location = Location(define_location(defined), defined, instance)
    location.settle()
    location.execute(dg.RunRequest(job_name="copy_job", tags=range_tags(["a", "b", "c"])))
    assert list_names(archive.parent / "notes") == ["a.parquet", "b.parquet", "c.parquet"]
    return location


def list_names(folder: Path) -> list[str]:
    """List what lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_the_copy_of_what_is_removed_goes_with_it(
    notes: Location, landing_dir: Path, archive: Path
) -> None:
    """Nothing can be run for a name that Dagster does not know any more."""
    (landing_dir / "notes" / "a.csv").unlink()
    notes.settle()
    assert notes.instance.get_dynamic_partitions("notes") == ["b", "c"]
    assert list_names(archive.parent / "notes") == ["b.parquet", "c.parquet"]
    for key in "bc":
        (landing_dir / "notes" / f"{key}.csv").unlink()
    assert notes.reconcile().success
    assert list_names(archive.parent / "notes") == ["b.parquet", "c.parquet"]
    notes.reconcile(allow_most=True)
    assert list_names(archive.parent / "notes") == []


def test_the_copy_goes_also_if_the_removal_is_ended_before_it(
    notes: Location, landing_dir: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise KilledError

    (landing_dir / "notes" / "a.csv").unlink()
    [request] = notes.tick_removal()
    assert request.job_name == RECONCILE_JOB
    with monkeypatch.context() as patch:
        patch.setattr(components_archive, "remove_archived_files", end)
        assert not notes.execute(request).success
    assert list_names(archive.parent / "notes") == ["a.parquet", "b.parquet", "c.parquet"]
    notes.settle()
    assert list_names(archive.parent / "notes") == ["b.parquet", "c.parquet"]


def test_copies_stay_if_database_and_files_are_lost(
    notes: Location, landing_dir: Path, archive: Path, database: Path
) -> None:
    database.unlink()
    for path in (landing_dir / "notes").iterdir():
        path.unlink()
    notes.reconcile(allow_most=True)
    assert list_names(archive.parent / "notes") == ["a.parquet", "b.parquet", "c.parquet"]


@pytest.mark.parametrize(
    ("feed", "files", "copies"),
    [
        (
            "hours",
            {"2018-01-22-22.csv": "2018-01-22-22:00", "2018-01-22-23.csv": "2018-01-22-23:00"},
            ["2018-01-22-22%3A00.parquet", "2018-01-22-23%3A00.parquet"],
        ),
        ("iso_weeks", {"2018-W02.csv": "2018-01-08"}, ["2018-01-08.parquet"]),
        ("regions", {"north.csv": "north"}, ["north.parquet"]),
        (
            "customer_days",
            {"acme/2018-01-22.csv": "acme|2018-01-22", "acme/2018-01-23.csv": "acme|2018-01-23"},
            ["acme%7C2018-01-22.parquet", "acme%7C2018-01-23.parquet"],
        ),
        ("region_months", {"2018-01/west.csv": "west|2018-01-01"}, ["west%7C2018-01-01.parquet"]),
    ],
)
def test_every_kind_of_partition_is_copied_and_in_the_calendar(
    feed: str,
    files: dict[str, str],
    copies: list[str],
    landing_dir: Path,
    resources: dict[str, object],
    instance: dg.DagsterInstance,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REPORTS_DIR", str(tmp_path / "reports"))
    defined, keys = DEFINED[feed], list(files.values())
    copy = archive_asset(defined.definition, name=f"copy_of_{feed}", folder=feed)
    for name in files:
        path = landing_dir / feed / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("number\n1\n2\n")
    instance.add_dynamic_partitions("customer_days", ["acme"])
    dg.materialize(
        [defined.definition, copy],
        instance=instance,
        partition_key=None if keys[1:] else keys[0],
        tags=range_tags(keys),
        resources=resources,
    )
    assert sorted(path.name for path in (archive.parent / feed).iterdir()) == copies
    assert instance.get_materialized_partitions(dg.AssetKey(f"copy_of_{feed}")) == set(keys)
    of_calendar = build_calendar([defined.assets]).assets or []
    calendar = [asset for asset in of_calendar if isinstance(asset, dg.AssetsDefinition)]
    result = dg.materialize(calendar, instance=instance, resources=resources)
    (event,) = result.asset_materializations_for_node("arrivals")
    assert event.metadata["loaded_files"].value == len(keys)
