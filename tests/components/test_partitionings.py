"""Every kind of partitioning goes the whole way: drop, tick, run, correct, refuse, remove."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from support.define import define_location
from support.location import Location
from support.partitioned_location import DEFINED, defs
from support.scale import quick_and_long

Query = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Kind:
    """A feed of `partitioned_location`, with names of files.

    Attributes:
        feed: Its name.
        files: Partition key per file name, in the order of ranges; the first four are neighbours.
        runs: The keys of the runs that load all of them.
        outside: A file that no partition can take, and why.
    """

    feed: str
    files: dict[str, str]
    runs: list[list[str]]
    outside: tuple[str, str]


def dated(feed: str, names: list[str], keys: list[str], outside: tuple[str, str]) -> Kind:
    """Make a kind whose files but the last are neighbours."""
    return Kind(feed, dict(zip(names, keys, strict=True)), [keys[:-1], keys[-1:]], outside)


WINDOW = "is outside the window of {} partitions, {} to {}"
NO_NAME = "{} is not in the list of names that feed {} takes: north, east, south, west"
KINDS = [
    dated(
        "hours",
        ["2018-01-22-22.csv", "2018-01-22-23.csv", "2018-01-23-00.csv", "2018-01-23-05.csv"],
        ["2018-01-22-22:00", "2018-01-22-23:00", "2018-01-23-00:00", "2018-01-23-05:00"],
        (
            "2017-12-31-23.csv",
            "partition key 2017-12-31-23:00 "
            + WINDOW.format("hourly", "2018-01-01-00:00", "2018-04-01-23:00"),
        ),
    ),
    dated(
        "iso_weeks",
        ["2018-W01.csv", "2018-W02.csv", "2018-W03.csv", "2018-W09.csv"],
        ["2018-01-01", "2018-01-08", "2018-01-15", "2018-02-26"],
        (
            "2017-W52.csv",
            "partition key 2017-12-25 " + WINDOW.format("weekly", "2018-01-01", "2018-03-26"),
        ),
    ),
    dated(
        "weeks",
        ["2018-01-01.csv", "2018-01-08.csv", "2018-01-15.csv", "2018-02-26.csv"],
        ["2018-01-01", "2018-01-08", "2018-01-15", "2018-02-26"],
        ("2018-01-02.csv", "partition key '2018-01-02' is not a weekly key, a Monday"),
    ),
    dated(
        "weekdays",
        ["2018-01-18.csv", "2018-01-19.csv", "2018-01-22.csv", "2018-02-26.csv"],
        ["2018-01-18", "2018-01-19", "2018-01-22", "2018-02-26"],
        (
            "2018-01-20.csv",
            "partition key '2018-01-20' is not a weekdays key, a day from Monday to Friday",
        ),
    ),
    dated(
        "regions",
        ["north.csv", "east.csv", "west.csv"],
        ["north", "east", "west"],
        ("up.csv", NO_NAME.format("up", "regions")),
    ),
    Kind(
        "customer_days",
        {
            "acme/2018-01-22.csv": "acme|2018-01-22",
            "acme/2018-01-23.csv": "acme|2018-01-23",
            "globex/2018-01-22.csv": "globex|2018-01-22",
            "globex/2018-01-23.csv": "globex|2018-01-23",
            "initech/2018-01-23.csv": "initech|2018-01-23",
        },
        [
            ["acme|2018-01-22", "acme|2018-01-23", "globex|2018-01-22", "globex|2018-01-23"],
            ["initech|2018-01-23"],
        ],
        (
            "acme/2017-12-31.csv",
            "partition key acme|2017-12-31 " + WINDOW.format("daily", "2018-01-01", "2018-04-01"),
        ),
    ),
    Kind(
        "region_months",
        {
            "2018-01/north.csv": "north|2018-01-01",
            "2018-01/east.csv": "east|2018-01-01",
            "2018-01/south.csv": "south|2018-01-01",
            "2018-03/west.csv": "west|2018-03-01",
        },
        [["north|2018-01-01", "east|2018-01-01", "south|2018-01-01"], ["west|2018-03-01"]],
        ("2018-01/up.csv", NO_NAME.format("up", "region_months")),
    ),
    Kind(
        "dated_names",
        {
            "2018/acme_0122_053012.csv": "acme|2018-01-22",
            "2018/acme_0123.csv": "acme|2018-01-23",
            "2018/globex_0122 (1).csv": "globex|2018-01-22",
            "2018/globex_0123-2.csv": "globex|2018-01-23",
            "2018/initech_0123_v2.csv": "initech|2018-01-23",
        },
        [
            ["acme|2018-01-22", "acme|2018-01-23", "globex|2018-01-22", "globex|2018-01-23"],
            ["initech|2018-01-23"],
        ],
        ("2018/acme_0230.csv", "the name holds no date of the form %Y and %m%d"),
    ),
]


@pytest.fixture
def drop(landing_dir: Path) -> Callable[..., None]:
    """Let files of a feed land."""

    def land(feed: str, *names: str, number: int = 1) -> None:
        for name in names:
            path = landing_dir / feed / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"number\n{number}\n", encoding="utf-8")

    return land


@pytest.mark.parametrize("kind", quick_and_long({kind.feed: [kind] for kind in KINDS}, every=3))
def test_files_go_the_whole_way(
    kind: Kind,
    landing_dir: Path,
    database: Path,
    drop: Callable[..., None],
    query: Query,
    instance: dg.DagsterInstance,
    capfd: pytest.CaptureFixture[str],
) -> None:
    defined = DEFINED[kind.feed]
    location = Location(define_location(defined), defined, instance)

    def rows() -> dict[tuple[str, str], list[int]]:
        found: dict[tuple[str, str], list[int]] = {}
        for name, key, number in query(
            f"SELECT source_file, partition_key, number FROM raw_{kind.feed}"
        ):
            found.setdefault((name, key), []).append(number)
        return found

    numbers = {entry: [1] for entry in kind.files.items()}
    first, second, *_ = kind.files
    *_, last = kind.files

    drop(kind.feed, *kind.files)
    assert location.settle() == kind.runs
    assert rows() == numbers
    assert location.check() == (True, [])
    for key in kind.files.values():
        assert location.status(key) == "MATERIALIZED"

    drop(kind.feed, first, number=2)
    assert location.settle() == [[kind.files[first]]]
    numbers[first, kind.files[first]] = [2]
    assert rows() == numbers

    outside, reason = kind.outside
    drop(kind.feed, second, number=-1)
    drop(kind.feed, outside)
    capfd.readouterr()
    assert location.settle() == [[kind.files[second]]]
    assert f"refused '{outside}': {reason}" in capfd.readouterr().err
    assert rows() == numbers
    assert location.status(kind.files[second]) == "FAILED"

    drop(kind.feed, second)
    (landing_dir / kind.feed / outside).unlink()
    (landing_dir / kind.feed / last).unlink()
    location.settle()
    del numbers[last, kind.files[last]]
    assert rows() == numbers
    has_names = kind.feed in ("customer_days", "dated_names")
    names = ["acme", "globex"] if has_names else []
    assert instance.get_dynamic_partitions(kind.feed) == names
    assert location.check() == (True, [])


def test_a_backfill_over_names_and_dates_loads_all_of_them_and_no_other(
    landing_dir: Path,
    database: Path,
    drop: Callable[..., None],
    query: Query,
    instance: dg.DagsterInstance,
) -> None:
    from dagster._core.definitions.automation_tick_evaluation_context import (
        build_run_requests_with_backfill_policies,
    )
    from dagster._core.definitions.events import AssetKeyPartitionKey
    from dagster._core.definitions.partitions.context import partition_loading_context

    defined = DEFINED["customer_days"]
    asset_keys = defined.definition.keys
    names, days = ("acme", "globex", "initech"), ("2018-01-22", "2018-01-23", "2018-01-24")
    drop("customer_days", *(f"{name}/{day}.csv" for name in names for day in days))
    instance.add_dynamic_partitions("customer_days", list(names))
    asked = [f"{name}|{day}" for name in names for day in days]
    asked.remove("globex|2018-01-23")

    with partition_loading_context(dynamic_partitions_store=instance):
        # What the daemon makes of a backfill that somebody clicks in the web UI.
        requests = build_run_requests_with_backfill_policies(
            [AssetKeyPartitionKey(asset, key) for asset in asset_keys for key in asked],
            defs.resolve_asset_graph(),
            instance,
        )
    location = Location(defs, defined, instance)
    for request in requests:
        location.execute(request.with_replaced_attrs(job_name=defined.job.name))
    assert len(requests) == 4
    loaded = query("SELECT partition_key FROM raw_customer_days ORDER BY ALL")
    assert [key for (key,) in loaded] == asked
