"""Ad-hoc keys: a person adds a key, the feed's function computes its rows, and the table has them.

From the landed file on, such a feed is like any other; what is tested here is what comes before,
and that it all holds together: sensor, run, re-run, removal.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from partitioned_etl.components import FileFeed, agenda
from partitioned_etl.components.computations import COMPUTES_TAG, compute_keys, tags_of_request
from partitioned_etl.components.forget import FORGET_JOB, ForgetConfig, forget_config
from partitioned_etl.components.wakes import read_tick_interval
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.sources.computed_rows import Rows
from partitioned_etl.engine.sources.parameters import Parameters
from support.define import define_feed, define_location
from support.location import Location
from support.workbench import NOTES, change_feed

Query = Callable[..., list[tuple[Any, ...]]]
SCORES = Feed(name="scores", columns={"alpha": "DOUBLE", "score": "BIGINT"}, source=Parameters())
ROWS = "SELECT partition_key, alpha, score FROM scores ORDER BY ALL"
LEDGER = "SELECT partition_key, source_file, status, row_count FROM file_loads ORDER BY ALL"


class Trainer:
    """Computes rows, and knows for which keys it was asked to.

    Attributes:
        score: What it gives as the score.
        asked: The keys, in order.
        wrong: What is given, or raised, instead of rows, by key.
    """

    def __init__(self) -> None:
        self.score = 1
        self.asked: list[str] = []
        self.wrong: dict[str, Any] = {}

    def __call__(self, key: str) -> Rows:
        self.asked.append(key)
        wrong = self.wrong.get(key)
        if isinstance(wrong, Exception):
            raise wrong
        if wrong is not None:
            return wrong
        return [{"alpha": 0.5, "score": self.score}, {"score": None, "alpha": 1}]

    def take_asked(self) -> list[str]:
        asked, self.asked = self.asked, []
        return asked


@pytest.fixture
def trainer() -> Trainer:
    return Trainer()


@pytest.fixture
def location(
    trainer: Trainer, landing_dir: Path, database: Path, instance: dg.DagsterInstance
) -> Location:
    return locate(SCORES, trainer, instance)


def locate(feed: Feed, trainer: Trainer, instance: dg.DagsterInstance) -> Location:
    defined = define_feed(feed, compute=trainer)
    return Location(define_location(defined), defined, instance)


def add(location: Location, *keys: str) -> None:
    """Add partitions, as a person does in the web UI."""
    location.instance.add_dynamic_partitions("scores", [*keys])


def said(location: Location) -> str:
    """Give what a tick says that requests nothing."""
    assert location.tick() == []
    return location.skipped


def rows_of(*keys: str, score: int = 1) -> list[tuple[str, float, int | None]]:
    return [row for key in keys for row in ((key, 0.5, score), (key, 1.0, None))]


def observed(result: dg.ExecuteInProcessResult, key: str) -> str:
    """Give the reason that the page of a partition shows."""
    [reason, *_] = [
        str(event.asset_observation_data.asset_observation.metadata["reason"].value)
        for event in result.get_asset_observation_events()
        if event.asset_observation_data.asset_observation.partition == key
    ]
    return reason


def test_a_key_that_a_person_adds_is_computed_and_loaded_by_the_next_tick(
    location: Location, trainer: Trainer, query: Query
) -> None:
    assert location.tick() == []
    add(location, "b", "a")
    assert location.settle() == [["b", "a"]]
    assert query(ROWS) == rows_of("a", "b")
    loaded = [("a", "a.json", "loaded", 2), ("b", "b.json", "loaded", 2)]
    assert query(LEDGER) == loaded
    assert location.status("a") == location.status("b") == "MATERIALIZED"
    assert location.check() == (True, [])
    assert trainer.take_asked() == ["b", "a"]
    add(location, "c")
    assert location.settle() == [["c"]]
    assert trainer.take_asked() == ["c"]
    assert query(ROWS) == rows_of("a", "b", "c")


def test_a_partition_that_is_materialized_by_hand_is_computed_again(
    location: Location, trainer: Trainer, query: Query
) -> None:
    add(location, "a", "b")
    location.settle()
    trainer.score = 2
    assert location.materialize("a").success
    assert query(ROWS) == [*rows_of("a", score=2), *rows_of("b")]
    assert location.settle() == []
    assert location.row_counts() == {"a": [2, 2], "b": [2]}


def test_a_range_of_keys_is_computed_by_one_run(
    location: Location, trainer: Trainer, query: Query, resources: dict[str, object]
) -> None:
    add(location, "a", "b", "c")
    tags = {
        "dagster/asset_partition_range_start": "a",
        "dagster/asset_partition_range_end": "b",
    }
    result = dg.materialize(
        [location.defined.definition], instance=location.instance, resources=resources, tags=tags
    )
    assert result.success
    assert query(ROWS) == rows_of("a", "b")
    assert trainer.take_asked() == ["a", "b"]


def test_a_function_that_raises_fails_its_key_alone_and_keeps_its_rows(
    location: Location, trainer: Trainer, query: Query
) -> None:
    add(location, "a", "b")
    location.settle()
    trainer.score, trainer.wrong = 2, {"a": ValueError("alpha is\nnot positive")}
    add(location, "c")
    reason = "a: its function raised ValueError: alpha is not positive"
    result = location.materialize("a")
    assert not result.success
    assert observed(result, "a") == reason
    failed = result.get_step_failure_events()[0].step_failure_data
    assert failed.user_failure_data
    assert reason in str(failed.user_failure_data.description)
    assert query(ROWS) == rows_of("a", "b")
    assert location.status("a") == "FAILED"
    trainer.wrong["d"] = dg.Failure("no data for d")
    add(location, "d", "e")
    trainer.take_asked()
    [request] = location.tick()
    assert location.keys(request) == ["c", "d", "e"]
    result = location.execute(request)
    assert not result.success
    assert observed(result, "d") == "d: its function raised Failure: no data for d"
    assert trainer.take_asked() == ["c", "d", "e"]
    assert query(ROWS) == rows_of("a", "b") + rows_of("c", "e", score=2)


def test_a_key_whose_function_fails_is_given_up_until_the_feeds_file_changes(
    location: Location, trainer: Trainer
) -> None:
    trainer.wrong["a"] = RuntimeError()
    add(location, "a")
    assert location.settle() == [["a"]] * MAX_ATTEMPTS
    assert trainer.take_asked() == ["a"] * MAX_ATTEMPTS
    assert said(location) == "feed scores: nothing to request; files: 1 to compute"
    assert observed(location.materialize("a"), "a") == "a: its function raised RuntimeError"
    changed = locate(change_feed(SCORES, description="Corrected."), trainer, location.instance)
    changed.cursors, trainer.wrong = location.cursors, {}
    assert changed.settle() == [["a"]]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"alpha": 1, "score": 1}, {"alpha": "x", "score": 1}], "row 2, column alpha: a text"),
        ([{"alpha": 1, "score": 1.5}], "row 1, column score: not a BIGINT"),
        ([{"alpha": 1}], "row 1, column score: missing"),
        ([{"alpha": 1, "score": 1, "beta": 1}], "row 1: 1 name(s) that the feed does not have"),
        ([{"alpha": 1, "score": object()}], "row 1, column 'score': a value of type object"),
        ([1], "row 1: int is no mapping of column names to values"),
        ("abc", "str was returned, and no rows"),
        (pd.DataFrame({"alpha": [1.0], "scores": [1]}), "row 1, column score: missing"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_row_and_column_and_change_nothing(
    location: Location, trainer: Trainer, query: Query, rows: object, reason: str
) -> None:
    add(location, "a", "b")
    location.settle()
    trainer.wrong["a"] = rows
    result = location.materialize("a")
    assert not result.success
    assert reason in observed(result, "a")
    assert query(ROWS) == rows_of("a", "b")
    assert location.settle() == []
    trainer.wrong, trainer.score = {}, 3
    assert location.materialize("a").success
    assert query(ROWS) == [*rows_of("a", score=3), *rows_of("b")]


def test_bad_rows_are_quarantined_where_the_feed_says_so(
    landing_dir: Path, trainer: Trainer, query: Query, instance: dg.DagsterInstance
) -> None:
    feed = change_feed(SCORES, bad_rows="quarantine", max_rejected_percent=50)
    location = locate(feed, trainer, instance)
    trainer.wrong["a"] = [{"alpha": 1, "score": 1}, {"alpha": 1, "score": "x"}]
    add(location, "a")
    location.settle()
    assert query(ROWS) == [("a", 1.0, 1)]
    assert query("SELECT partition_key, line, reason FROM rejected_rows") == [
        ("a", 2, "a text, where a number belongs")
    ]


def test_a_feed_that_nobody_sends_word_of_looks_as_often_as_without_notifications(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANDING_NOTIFICATIONS", "hook:127.0.0.1:8099")
    landed = define_feed(NOTES).sensor.minimum_interval_seconds
    computed = define_feed(SCORES, compute=Trainer()).sensor.minimum_interval_seconds
    assert (landed, computed) == (1, read_tick_interval())


def test_a_generator_that_fails_halfway_leaves_the_rows_as_they_were(
    landing_dir: Path, query: Query, instance: dg.DagsterInstance
) -> None:
    is_broken = False

    def compute(key: str) -> Iterator[dict[str, object]]:
        yield {"alpha": 0.5, "score": 1}
        if is_broken:
            raise ConnectionError("the model server is gone")
        yield {"alpha": 1, "score": None}

    defined = define_feed(SCORES, compute=compute)
    location = Location(define_location(defined), defined, instance)
    add(location, "a")
    location.settle()
    before = (landing_dir / "scores" / "a.json").read_text()
    is_broken = True
    result = location.materialize("a")
    raised = "a: its function raised ConnectionError: the model server is gone"
    assert observed(result, "a") == raised
    assert query(ROWS) == rows_of("a")
    assert (landing_dir / "scores" / "a.json").read_text() == before
    assert {path.name for path in (landing_dir / ".sources" / "scores").iterdir()} == {"lock"}


def test_no_rows_are_an_empty_partition_and_a_frame_is_loaded_as_it_is(
    location: Location, trainer: Trainer, query: Query
) -> None:
    trainer.wrong = {
        "one": {"alpha": 0.25, "score": 7},
        "frame": pd.DataFrame({"score": [1, None], "alpha": [0.5, 1.5]}, index=["x", "y"]),
        "none": iter(()),
    }
    add(location, "one", "frame", "none")
    location.settle()
    assert query(ROWS) == [("frame", 0.5, 1), ("frame", 1.5, None), ("one", 0.25, 7)]
    assert ("none", "none.json", "loaded", 0) in query(LEDGER)


@pytest.mark.parametrize("moment", ["mid_fetch", "before_landing"])
def test_a_run_that_is_killed_while_it_computes_leaves_nothing_and_is_requested_again(
    location: Location, trainer: Trainer, landing_dir: Path, query: Query, moment: str
) -> None:
    add(location, "a", "b")
    [request] = location.tick()
    location.kill_at(moment, request)
    assert not (landing_dir / "scores").exists()
    assert location.settle() == [["a", "b"]]
    assert trainer.take_asked() == ["a", "a", "b"]
    assert query(ROWS) == rows_of("a", "b")


def test_a_run_that_is_killed_between_two_keys_is_not_paid_for_twice(
    location: Location, trainer: Trainer, query: Query
) -> None:
    add(location, "a", "b")
    [request] = location.tick()
    location.kill_at("after_landing", request)
    assert location.settle() == [["a", "b"]]
    assert trainer.take_asked() == ["a", "b"]
    assert query(ROWS) == rows_of("a", "b")


def test_what_has_landed_and_is_not_loaded_is_loaded_and_not_computed_again(
    location: Location, trainer: Trainer, query: Query
) -> None:
    add(location, "a", "b")
    [request] = location.tick()
    assert request.tags[COMPUTES_TAG] == "missing"
    location.kill_at("before_commit", request)
    assert trainer.take_asked() == ["a", "b"]
    trainer.score = 2
    add(location, "c")
    assert location.settle() == [["a", "b", "c"]]
    assert trainer.take_asked() == ["c"]
    assert query(ROWS) == rows_of("a", "b") + rows_of("c", score=2)


def start(
    instance: dg.DagsterInstance,
    trainer: Trainer,
    landing_dir: Path,
    tags: dict[str, str],
    parent: dg.DagsterRun | None = None,
) -> tuple[dg.DagsterRun, list[str]]:
    """Compute key a by a new run with these tags; give the run, and what was asked for."""
    job = define_location(define_feed(SCORES, compute=trainer)).resolve_job_def("scores_job")
    parent_id = parent.run_id if parent else None
    run = instance.create_run_for_job(
        job, tags=tags, parent_run_id=parent_id, root_run_id=parent_id
    )
    context: Any = SimpleNamespace(run=run, instance=instance, partition_keys=["a"], log=None)
    listing = LocalLanding(landing_dir, settle_seconds=0).list_files(SCORES)
    assert compute_keys(context, SCORES, landing_dir, listing, trainer) == {}
    return run, trainer.take_asked()


def test_a_run_that_a_person_starts_again_computes_again_and_one_that_is_retried_is_as_its_parent(
    location: Location, trainer: Trainer, landing_dir: Path
) -> None:
    add(location, "a")
    location.settle()
    trainer.take_asked()
    given = (location.instance, trainer, landing_dir)
    requested = tags_of_request(SCORES)
    first = {"dagster/retry_number": "1"}
    second = {"dagster/retry_number": "2"}
    of_sensor, asked = start(*given, requested)
    assert asked == []
    retried, asked = start(*given, requested | first, of_sensor)
    assert asked == []
    retried, asked = start(*given, requested | second, retried)
    assert asked == []
    by_hand, asked = start(*given, requested, retried)
    assert asked == ["a"]
    assert start(*given, requested | first, by_hand)[1] == ["a"]
    wanted, asked = start(*given, {})
    assert asked == ["a"]
    assert start(*given, first, wanted)[1] == ["a"]
    # Somebody deleted the run that was retried.
    location.instance.delete_run(of_sensor.run_id)
    assert start(*given, requested | first, of_sensor)[1] == []


def test_a_key_whose_forgetting_is_killed_is_loaded_again_and_not_computed(
    location: Location, trainer: Trainer, landing_dir: Path, query: Query
) -> None:
    add(location, "a", "b")
    location.settle()
    trainer.take_asked()
    config = forget_config(ForgetConfig(feed="scores", partitions=["a"])).to_config_dict()
    request = dg.RunRequest(job_name=FORGET_JOB, run_config=config)
    location.kill_at("after_commit", request)
    assert query(ROWS) == rows_of("b")
    location.settle()
    assert query(ROWS) == rows_of("a", "b")
    assert location.execute(request).success
    assert location.settle() == []
    assert query(ROWS) == rows_of("b")
    assert location.instance.get_dynamic_partitions("scores") == ["b"]
    assert [path.name for path in (landing_dir / "scores").iterdir()] == ["b.json"]
    assert trainer.take_asked() == []
    # A key that was forgotten may be added again.
    add(location, "a")
    location.settle()
    assert query(ROWS) == rows_of("a", "b")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a/b", "is not made of the characters that feed scores allows"),
        ("", "is not made of the characters"),
        ("..", "is not made of the characters"),
        ("x'; DROP TABLE scores; --", "is not made of the characters"),
        ("ä", "is not made of the characters"),
        ("k" * 200, "is not made of the characters"),
        ("A", "is another spelling of 'a', which is there"),
    ],
)
def test_a_key_that_can_be_no_file_is_told_of_and_stops_no_other(
    location: Location, trainer: Trainer, query: Query, key: str, reason: str
) -> None:
    add(location, "a", key, "b")
    assert [key for run in location.settle() for key in run] == ["a", "b"]
    assert query(ROWS) == rows_of("a", "b")
    assert "1 not loadable" in said(location)
    result = location.materialize(key)
    assert not result.success
    assert not key or reason in observed(result, key)
    assert trainer.take_asked() == ["a", "b"]
    assert query(ROWS) == rows_of("a", "b")


@pytest.mark.parametrize("key", ["it's", "naïve 100%", "a;b", 'say "hi"', "a[1]*?.csv", "x.json"])
def test_a_key_of_a_feed_that_takes_all_is_a_name_and_never_code(
    landing_dir: Path, trainer: Trainer, query: Query, instance: dg.DagsterInstance, key: str
) -> None:
    location = locate(change_feed(SCORES, key_pattern="(?s).+"), trainer, instance)
    add(location, key, "a/b", "../../x", "k" * 260, "nul\0", "new\nline", ".hidden", "back\\slash")
    assert location.settle() == [[key]]
    assert "7 not loadable" in said(location)
    assert query(ROWS) == rows_of(key)
    assert [path.name for path in (landing_dir / "scores").iterdir()] == [f"{key}.json"]
    assert location.materialize(key).success
    assert query(ROWS) == rows_of(key)


@pytest.mark.parametrize("policy", [*OnMissing])
def test_keys_that_are_deleted_come_back_with_their_rows_however_many_and_it_is_said(
    landing_dir: Path,
    trainer: Trainer,
    query: Query,
    instance: dg.DagsterInstance,
    policy: OnMissing,
) -> None:
    location = locate(change_feed(SCORES, on_missing=policy), trainer, instance)
    trainer.wrong["bad"] = [{"alpha": "x", "score": 1}]
    add(location, "a", "b", "c", "d", "bad")
    location.settle()
    trainer.take_asked()
    for key in ("b", "c", "bad"):
        instance.delete_dynamic_partition("scores", key)
    told = said(location)
    assert "3 key(s) that Dagster does not know have landed, as " in told
    assert "`partitioned-etl forget scores --partition KEY` removes a key with its rows" in told
    add(location, "e")
    instance.delete_dynamic_partition("scores", "a")
    location.settle()
    assert "does not know" not in said(location)
    assert query(ROWS) == rows_of("a", "b", "c", "d", "e")
    assert {*instance.get_dynamic_partitions("scores")} == {"a", "b", "c", "d", "e", "bad"}
    assert len([*(landing_dir / "scores").iterdir()]) == 6
    assert trainer.take_asked() == ["e"]


@pytest.mark.parametrize("policy", [*OnMissing])
def test_a_key_that_is_deleted_and_added_again_keeps_its_rows(
    landing_dir: Path,
    trainer: Trainer,
    query: Query,
    instance: dg.DagsterInstance,
    policy: OnMissing,
) -> None:
    location = locate(change_feed(SCORES, on_missing=policy), trainer, instance)
    add(location, "a", "b", "c")
    location.settle()
    instance.delete_dynamic_partition("scores", "b")
    location.tick()
    add(location, "b")
    assert location.settle() == []
    assert query(ROWS) == rows_of("a", "b", "c")
    assert sorted(instance.get_dynamic_partitions("scores")) == ["a", "b", "c"]


def test_partitions_that_get_another_name_keep_all_rows(
    landing_dir: Path, trainer: Trainer, query: Query, instance: dg.DagsterInstance
) -> None:
    feed = change_feed(SCORES, on_missing=OnMissing.REMOVE)
    location = locate(feed, trainer, instance)
    add(location, "a", "b")
    location.settle()
    models = dg.DynamicPartitionsDefinition(name="models")
    defined = define_feed(feed, compute=trainer, partitions_def=models)
    location = Location(define_location(defined), defined, instance)
    instance.add_dynamic_partitions("models", ["c", "d", "e"])
    location.settle()
    assert query(ROWS) == rows_of("a", "b", "c", "d", "e")
    assert sorted(instance.get_dynamic_partitions("models")) == ["a", "b", "c", "d", "e"]


def test_a_file_that_somebody_deletes_takes_rows_and_key_along_if_the_policy_is_to_remove(
    landing_dir: Path, trainer: Trainer, query: Query, instance: dg.DagsterInstance
) -> None:
    location = locate(change_feed(SCORES, on_missing=OnMissing.REMOVE), trainer, instance)
    add(location, "a", "b", "c")
    location.settle()
    (landing_dir / "scores" / "b.json").unlink()
    location.settle()
    assert query(ROWS) == rows_of("a", "c")
    assert instance.get_dynamic_partitions("scores") == ["a", "c"]
    assert trainer.take_asked() == ["a", "b", "c"]
    for key in ("a", "c"):
        (landing_dir / "scores" / f"{key}.json").unlink()
    assert location.settle() == []
    assert query(ROWS) == rows_of("a", "c")


@pytest.mark.parametrize("policy", [*OnMissing])
def test_a_key_that_is_forgotten_and_added_again_is_computed_again(
    landing_dir: Path,
    trainer: Trainer,
    query: Query,
    instance: dg.DagsterInstance,
    policy: OnMissing,
) -> None:
    location = locate(change_feed(SCORES, on_missing=policy), trainer, instance)
    add(location, "a", "b")
    location.settle()
    trainer.take_asked()
    config = forget_config(ForgetConfig(feed="scores", partitions=["a"])).to_config_dict()
    assert location.execute(dg.RunRequest(job_name=FORGET_JOB, run_config=config)).success
    assert location.settle() == []
    assert query(ROWS) == rows_of("b")
    add(location, "a")
    # What is repaired every night does not take the key for one that was left behind.
    assert location.reconcile().success
    trainer.score = 2
    assert location.settle() == [["a"]]
    assert trainer.take_asked() == ["a"]
    assert query(ROWS) == [*rows_of("a", score=2), *rows_of("b")]


def test_a_key_that_is_added_and_loaded_while_a_tick_looks_was_not_deleted(
    landing_dir: Path,
    trainer: Trainer,
    query: Query,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    location = locate(change_feed(SCORES, on_missing=OnMissing.REMOVE), trainer, instance)
    add(location, "a", "b")
    location.settle()
    scan, late = agenda.scan_in_time, iter(["late"])

    def look(*arguments: Any, **named: Any) -> Any:
        for key in late:
            add(location, key)
            assert location.materialize(key).success
        return scan(*arguments, **named)

    monkeypatch.setattr(agenda, "scan_in_time", look)
    assert location.tick() == []
    assert location.settle() == []
    assert query(ROWS) == rows_of("a", "b", "late")
    assert (landing_dir / "scores" / "late.json").exists()


@pytest.mark.parametrize("policy", [*OnMissing])
def test_an_instance_that_never_knew_the_keys_removes_nothing_and_learns_them(
    landing_dir: Path, trainer: Trainer, query: Query, policy: OnMissing
) -> None:
    feed = change_feed(SCORES, on_missing=policy)
    for _ in range(2):
        with dg.DagsterInstance.ephemeral() as instance:
            location = locate(feed, trainer, instance)
            if not trainer.asked:
                add(location, "a", "b", "c")
            location.settle()
            assert sorted(instance.get_dynamic_partitions("scores")) == ["a", "b", "c"]
    assert trainer.take_asked() == ["a", "b", "c"]
    assert query(ROWS) == rows_of("a", "b", "c")


def test_a_file_that_somebody_deletes_is_not_computed_again_by_itself(
    location: Location, trainer: Trainer, landing_dir: Path, query: Query
) -> None:
    add(location, "a", "b", "c")
    location.settle()
    (landing_dir / "scores" / "b.json").unlink()
    assert location.settle() == []
    assert query(ROWS) == rows_of("a", "b", "c")
    trainer.score = 2
    assert location.materialize("b").success
    assert query(ROWS) == [*rows_of("a"), *rows_of("b", score=2), *rows_of("c")]


def test_where_checks_are_evaluated_alone_nothing_is_computed(
    location: Location, trainer: Trainer
) -> None:
    add(location, "a")
    assert location.check() == (True, [])
    assert trainer.asked == []


def test_a_feed_that_is_fetched_or_lands_is_not_computed(
    landing_dir: Path, database: Path, instance: dg.DagsterInstance
) -> None:
    feed = Feed(name="scores", pattern="{key}.csv", columns={"alpha": "DOUBLE"})
    defined = define_feed(feed, compute=Trainer())
    location = Location(define_location(defined), defined, instance)
    add(location, "a")
    result = location.materialize("a")
    assert not result.success
    error = result.get_step_failure_events()[0].step_failure_data.error
    assert error
    assert "only rows of a feed with source parameters are computed" in str(error)


def test_a_feed_with_ad_hoc_keys_takes_no_turn_for_the_warehouse_while_it_computes(
    location: Location,
) -> None:
    step = location.defined.definition.node_def
    assert isinstance(step, dg.OpDefinition)
    assert step.pool is None


def test_the_partitions_of_ad_hoc_keys_are_those_to_which_people_can_add() -> None:
    with pytest.raises(FeedDefinitionError, match="people add ad-hoc keys: its partitions are dyn"):
        define_feed(SCORES, partitions_def=dg.StaticPartitionsDefinition(["a"]))
    models = dg.DynamicPartitionsDefinition(name="models")
    assert define_feed(SCORES, partitions_def=models).assets.partitions.dynamic_name == "models"


class Squares(FileFeed, frozen=True):
    """A component whose function is a method."""

    def compute(self, key: str) -> Rows:
        number = int(key)
        return {"number": number, "square": number**2}


@pytest.mark.parametrize("source", ["parameters", "{type: parameters}"])
def test_a_subclass_of_the_component_computes_by_its_method(
    source: str, landing_dir: Path, query: Query, instance: dg.DagsterInstance
) -> None:
    text = f"name: squares\ncolumns: {{number: BIGINT, square: HUGEINT}}\nsource: {source}\n"
    component = Squares.resolve_from_yaml(text)
    found = component.build_defs(dg.ComponentTree.for_test().load_context)
    assert [job.name for job in found.jobs or ()] == ["squares_job"]
    assert [sensor.name for sensor in found.sensors or ()] == ["squares_sensor"]
    instance.add_dynamic_partitions("squares", ["3"])
    resources = define_location(define_feed(SCORES, compute=Trainer())).resources
    result = dg.Definitions.merge(found, dg.Definitions(resources=resources)).resolve_job_def(
        "squares_job"
    )
    assert result.execute_in_process(instance=instance, partition_key="3").success
    assert query("FROM squares") == [(3, 9, "3", "3.json")]


def test_a_component_without_a_method_says_what_it_needs() -> None:
    text = "name: squares\ncolumns: {number: BIGINT}\nsource: parameters\n"
    with pytest.raises(FeedDefinitionError, match="a subclass of FileFeed overrides compute"):
        FileFeed.resolve_from_yaml(text)
