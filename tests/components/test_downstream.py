"""What is computed from a table follows it: one run for all loaded, and no endless trying."""

import time

import dagster as dg
import pytest

from partitioned_etl.components.attempts import Attempt, Attempts
from partitioned_etl.components.downstream import DownstreamCursor
from partitioned_etl.components.events import FEED_TAG
from partitioned_etl.components.ranges import range_tags
from support.location import tick_downstream
from support.sample_location import CUSTOMERS, defs

KEYS = ["a", "b", "c", "d", "e"]
COPIES = dg.AssetKey("customer_copies")


@pytest.fixture
def customers(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance that knows five customers."""
    instance.add_dynamic_partitions("customers", KEYS)
    return instance


def tick(
    instance: dg.DagsterInstance, cursor: str | None = None
) -> tuple[list[list[str]], str | None]:
    """Evaluate the copies' sensor; give the keys of each run asked for, and its cursor."""
    return tick_downstream(defs.resolve_sensor_def("copies_sensor"), CUSTOMERS, instance, cursor)


def report(instance: dg.DagsterInstance, asset: dg.AssetKey, *keys: str) -> None:
    """Tell Dagster that partitions of an asset were computed."""
    for key in keys:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key))


def load(instance: dg.DagsterInstance, *keys: str) -> None:
    report(instance, CUSTOMERS.assets.load_key, *keys)


def compute(instance: dg.DagsterInstance, *keys: str) -> None:
    report(instance, COPIES, *keys)


def test_nothing_is_asked_for_before_the_first_load(customers: dg.DagsterInstance) -> None:
    assert tick(customers) == ([], None)


def test_all_that_was_loaded_is_one_run_and_then_nothing(customers: dg.DagsterInstance) -> None:
    load(customers, "d", "a", "c", "b", "e")
    asked, cursor = tick(customers)
    assert asked == [KEYS]
    compute(customers, *KEYS)
    for _ in range(2):
        asked, cursor = tick(customers, cursor)
        assert asked == []
    load(customers, "c")
    assert tick(customers, cursor)[0] == [["c"]]


def test_what_was_wiped_is_computed_again(customers: dg.DagsterInstance) -> None:
    load(customers, *KEYS)
    compute(customers, *KEYS)
    asked, cursor = tick(customers)
    assert asked == []
    customers.wipe_assets([COPIES])
    asked, cursor = tick(customers, cursor)
    assert asked == [KEYS]
    compute(customers, *KEYS)
    assert tick(customers, cursor)[0] == []


def test_what_a_person_computes_at_the_asset_is_waited_for(customers: dg.DagsterInstance) -> None:
    load(customers, *KEYS)
    run = customers.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        tags=range_tags(KEYS[1:]),
        asset_selection=frozenset([COPIES]),
    )
    asked, cursor = tick(customers)
    assert asked == [["a"]]
    customers.report_run_failed(run)
    compute(customers, "a")
    assert tick(customers, cursor)[0] == [KEYS[1:]]


def test_partitions_that_a_run_is_loading_or_computing_are_waited_for(
    customers: dg.DagsterInstance,
) -> None:
    load(customers, *KEYS)
    runs = [
        customers.create_run_for_job(defs.resolve_job_def(job), tags={**tags, **range_tags(keys)})
        for job, tags, keys in [
            ("customer_prices_job", {FEED_TAG: "customer_prices"}, KEYS[:2]),
            ("copies_job", {}, KEYS[3:]),
        ]
    ]
    asked, cursor = tick(customers)
    assert asked == [["c"]]
    compute(customers, "c")
    asked, cursor = tick(customers, cursor)
    assert asked == []
    for run in runs:
        customers.delete_run(run.run_id)
    assert tick(customers, cursor)[0] == [["a", "b"], ["d", "e"]]


def test_what_no_run_computes_is_asked_for_three_times_and_again_when_it_is_loaded(
    customers: dg.DagsterInstance,
) -> None:
    load(customers, "a")
    cursor, asked = None, []
    for _ in range(5):
        keys, cursor = tick(customers, cursor)
        asked += keys
    assert asked == [["a"]] * 3
    load(customers, "b")
    assert tick(customers, cursor)[0] == [["b"]]
    load(customers, "a")
    assert tick(customers, cursor)[0] == [["a", "b"]]


def test_attempts_are_counted_while_a_run_is_under_way(customers: dg.DagsterInstance) -> None:
    """A run that lasts longer than the pause between two ticks, and then fails, is no new start."""
    load(customers, "a", "b")
    cursor, asked = None, []
    for _ in range(6):
        keys, cursor = tick(customers, cursor)
        asked += keys
        job = defs.resolve_job_def("copies_job")
        run = customers.create_run_for_job(job, tags=range_tags(["a", "b"]))
        none, cursor = tick(customers, cursor)
        assert none == []
        customers.report_run_failed(run)
    assert asked == [["a", "b"]] * 3


def test_what_was_given_up_is_asked_for_once_an_hour_whatever_else_is_loaded(
    customers: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(customers, "a")
    cursor, asked = None, []
    for hours in (0, 0.5, 1.1, 1.5, 2.2):
        now = time.time() + hours * 3600
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda now=now: now)
            of_hour = []
            for other in ("b", "d", "e", "b", "d"):
                load(customers, other)
                keys, cursor = tick(customers, cursor)
                of_hour += [key for of_run in keys for key in of_run]
                compute(customers, other)
        asked.append("".join(sorted(of_hour)))
    assert asked == ["aaabbdde", "bbdde", "abbdde", "bbdde", "abbdde"]
    compute(customers, "a")
    assert tick(customers, cursor)[0] == []
    assert tick(customers, None)[0] == []


def test_runs_that_fail_one_after_another_are_no_new_start(customers: dg.DagsterInstance) -> None:
    """The archive's pool has one slot: while one run is under way, another has failed before."""
    load(customers, "a", "c")
    job = defs.resolve_job_def("copies_job")
    cursor, asked = None, []
    for turn in range(10):
        busy = {"dagster/partition": "ac"[turn % 2]}
        run = customers.create_run_for_job(job, tags=busy)
        keys, cursor = tick(customers, cursor)
        asked += [key for of_run in keys for key in of_run]
        customers.report_run_failed(run)
    assert sorted(asked) == ["a"] * 3 + ["c"] * 3


def test_a_key_that_dagster_does_not_know_any_more_is_not_asked_for(
    customers: dg.DagsterInstance,
) -> None:
    load(customers, "a", "gone")
    assert tick(customers)[0] == [["a"]]


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "x", "[1]", "null", '{"other": 1}', '{"until": 7, "asked": {}}'),
        '{"until": "x", "attempts": {"of_key": {}}}',
        '{"until": 7, "attempts": {"of_key": {"a": 1}}}',
    ],
)
def test_a_cursor_that_cannot_be_read_is_empty(text: str | None) -> None:
    assert DownstreamCursor.parse(text) == DownstreamCursor()


def test_a_cursor_survives_its_own_writing() -> None:
    cursor = DownstreamCursor(7, Attempts({"a": Attempt("12", 2, 1_800_000_000)}))
    assert DownstreamCursor.parse(str(cursor)) == cursor
