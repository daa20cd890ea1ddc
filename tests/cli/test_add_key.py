"""`partitioned-etl add-key`, and what the other commands make of ad-hoc keys."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import Result

from partitioned_etl.cli import plan
from partitioned_etl.components.ad_hoc_keys import MARK
from partitioned_etl.components.isolation import Location
from partitioned_etl.components.sensor import LandingCursor
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.plan import MAX_ATTEMPTS
from partitioned_etl.engine.sources.computed_rows import Rows
from partitioned_etl.engine.sources.parameters import Parameters
from support.define import define_feed
from support.workbench import NOTES, change_feed

Call = Callable[..., Result]
Query = Callable[..., list[tuple[Any, ...]]]
UseLocation = Callable[..., Location]

SCORES = Feed(name="scores", columns={"key": "VARCHAR", "score": "BIGINT"}, source=Parameters())
ROWS = "SELECT partition_key, score FROM scores ORDER BY ALL"


class Scorer:
    """Gives a row with how often it was called; raises for keys that are bad."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, key: str) -> Rows:
        self.calls.append(key)
        if key.startswith("bad"):
            raise ValueError("no such model")
        return {"key": key, "score": len(self.calls)}


@pytest.fixture
def scorer() -> Scorer:
    return Scorer()


@pytest.fixture
def scores(scorer: Scorer, use_location: UseLocation) -> None:
    """A location with a feed of ad-hoc keys, and another one."""
    use_location(define_feed(SCORES, compute=scorer), define_feed(NOTES))


def list_keys(dagster_home: Path) -> list[str]:
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        return list(instance.get_dynamic_partitions("scores"))


@pytest.mark.usefixtures("scores")
def test_keys_are_added_computed_and_told_of_as_by_sync(
    call: Call, query: Query, dagster_home: Path, scorer: Scorer
) -> None:
    result = call("add-key", "scores", "b", "a")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert "scores_job: b to a, 2 partitions" in result.stdout
    assert "Loaded 2 file(s)" in result.stdout
    assert query(ROWS) == [("a", 2), ("b", 1)]
    assert list_keys(dagster_home) == ["b", "a"]
    again = call("add-key", "scores", "a", "c", "--json")
    assert (again.exit_code, scorer.calls) == (0, ["b", "a", "c"])
    told = json.loads(again.stdout)
    assert told["loaded"] == 1
    assert [file["partition_key"] for file in told["files"]] == ["a", "c"]
    assert query(ROWS) == [("a", 2), ("b", 1), ("c", 3)]


@pytest.mark.usefixtures("scores")
def test_with_no_run_a_key_is_only_added_and_left_to_sensor_or_sync(
    call: Call, query: Query, dagster_home: Path, scorer: Scorer
) -> None:
    result = call("add-key", "scores", "a", "a", "--no-run")
    assert result.stdout == (
        "Added 1 key(s) to scores. Its sensor has their rows computed, or `sync`.\n"
    )
    result = call("add-key", "scores", "a", "b", "--no-run", "--json")
    assert json.loads(result.stdout) == {"feed": "scores", "added": ["b"]}
    assert (list_keys(dagster_home), scorer.calls) == (["a", "b"], [])
    planned = json.loads(call("plan", "--feed", "scores", "--json").stdout)["files"]
    told = ("file", "state", "next", "run")
    assert [[file[name] for name in told] for file in planned if file["partition_key"]] == [
        ["a.json", "not computed", "compute", 1],
        ["b.json", "not computed", "compute", 1],
    ]
    text = call("plan", "--feed", "scores").stdout
    assert "0 file(s) to load, 2 key(s) to compute, in 1 run(s); nothing was changed." in text
    assert call("sync").exit_code == 0
    assert (query(ROWS), scorer.calls) == ([("a", 1), ("b", 2)], ["a", "b"])


@pytest.mark.usefixtures("scores")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("scores", "good", "a/b"), "partition key 'a/b' is not made of the characters"),
        (("scores", "good", ""), "partition key '' is not made of the characters"),
        (("scores", "good", "GOOD"), "partition key 'GOOD' is another spelling of 'good'"),
        (("notes", "a"), "feed notes has no ad-hoc keys: it is not declared with source"),
        (("nobody", "a"), "there is no feed 'nobody'"),
    ],
)
@pytest.mark.parametrize("option", [(), ("--no-run",)])
def test_what_can_be_no_key_is_refused_and_none_is_added(
    call: Call,
    dagster_home: Path,
    scorer: Scorer,
    arguments: tuple[str, ...],
    reason: str,
    option: tuple[str, ...],
) -> None:
    result = call("add-key", *arguments, *option)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert (list_keys(dagster_home), scorer.calls) == ([], [])


@pytest.mark.usefixtures("scores")
@pytest.mark.usefixtures("scores")
def test_a_key_whose_function_raises_is_named_and_the_others_are_loaded(
    call: Call, query: Query, scorer: Scorer
) -> None:
    reason = "bad: its function raised ValueError: no such model"
    result = call("add-key", "scores", "a", "bad", "b")
    assert result.exit_code == 1
    failed = f"feed scores: 1 of 3 partitions failed: {reason}"
    assert f"not computed: scores, partition bad: {failed}" in result.stderr
    assert (query(ROWS), scorer.calls) == ([("a", 1), ("b", 3)], ["a", "bad", "b"])
    # Another call tries it again, once.
    result = call("sync", "--feed", "scores")
    assert (result.exit_code, scorer.calls[3:]) == (1, ["bad"])
    assert reason in result.stderr


@pytest.mark.usefixtures("scores")
def test_a_key_that_is_asked_for_again_is_computed_again(
    call: Call, query: Query, scorer: Scorer, landing_dir: Path
) -> None:
    call("add-key", "scores", "a", "b")
    assert call("sync", "--feed", "scores").exit_code == 0
    assert scorer.calls == ["a", "b"]
    result = call("sync", "--feed", "scores", "--partition", "b")
    assert (result.exit_code, scorer.calls) == (0, ["a", "b", "b"])
    assert query(ROWS) == [("a", 1), ("b", 3)]
    result = call("sync", "--feed", "scores", "--reload")
    assert (result.exit_code, scorer.calls[3:]) == (0, ["a", "b"])
    assert query(ROWS) == [("a", 4), ("b", 5)]
    (landing_dir / "scores" / "a.json").unlink()
    result = call("sync", "--feed", "scores", "--partition", "a")
    assert (result.exit_code, scorer.calls[5:]) == (0, ["a"]), result.stderr
    assert query(ROWS) == [("a", 6), ("b", 5)]
    result = call("sync", "--feed", "scores", "--partition", "c")
    assert result.exit_code == 2
    assert "nobody has added partition 'c': `partitioned-etl add-key scores KEY` does" in (
        result.stderr
    )


def test_a_key_that_fails_when_it_is_computed_again_is_named_and_keeps_its_rows(
    call: Call, query: Query, scorer: Scorer, use_location: UseLocation
) -> None:
    fails = False

    def compute(key: str) -> Rows:
        if fails:
            raise ValueError("no such model")
        return scorer(key)

    use_location(define_feed(SCORES, compute=compute))
    call("add-key", "scores", "a")
    fails = True
    result = call("sync", "--feed", "scores", "--partition", "a")
    assert result.exit_code == 1
    failed = "feed scores: 1 of 1 partitions failed: a: its function raised ValueError"
    assert f"not loaded again: scores, partition a: {failed}" in result.stderr
    assert query(ROWS) == [("a", 1)]


@pytest.mark.usefixtures("scores")
def test_keys_that_a_person_adds_in_the_web_ui_and_can_be_none_are_named(
    call: Call, query: Query, dagster_home: Path
) -> None:
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        instance.add_dynamic_partitions("scores", ["a", "../b"])
    result = call("sync")
    assert result.exit_code == 1
    assert "partition key '../b' is not made of the characters" in result.stderr
    assert query(ROWS) == [("a", 1)]
    assert "'../b'" in call("plan", "--feed", "scores").stdout


@pytest.mark.usefixtures("scores")
def test_forgetting_a_key_takes_its_file_and_the_key_along(
    call: Call, query: Query, dagster_home: Path, landing_dir: Path, scorer: Scorer
) -> None:
    call("add-key", "scores", "a", "b", "bad")
    arguments = ("forget", "scores", "--partition", "b", "--partition", "bad")
    result = call(*arguments, "--yes")
    assert result.exit_code == 0, result.stderr
    assert "Forgot 1 file(s), 1 rows, of scores, and 2 key(s)." in result.stdout
    assert "loads it again" not in result.stdout
    assert query(ROWS) == [("a", 1)]
    assert list_keys(dagster_home) == ["a"]
    assert [path.name for path in (landing_dir / "scores").iterdir()] == ["a.json"]
    calls = [*scorer.calls]
    assert call("sync").exit_code == 0
    assert (query(ROWS), scorer.calls) == ([("a", 1)], calls)
    assert call(*arguments, "--yes").exit_code == 2


@pytest.mark.usefixtures("scores")
def test_a_key_of_which_nothing_was_ever_loaded_can_be_forgotten(
    call: Call, dagster_home: Path
) -> None:
    call("add-key", "scores", "a", "--no-run")
    result = call("forget", "scores", "--partition", "a", "--yes")
    assert (result.exit_code, result.stderr) == (0, "")
    assert list_keys(dagster_home) == []


@pytest.mark.parametrize("policy", [*OnMissing])
def test_a_key_that_is_deleted_comes_back_and_is_told_how_to_be_forgotten(
    call: Call,
    query: Query,
    dagster_home: Path,
    scorer: Scorer,
    use_location: UseLocation,
    policy: OnMissing,
) -> None:
    use_location(define_feed(change_feed(SCORES, on_missing=policy), compute=scorer))
    call("add-key", "scores", "a", "b", "c")
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        instance.delete_dynamic_partition("scores", "b")
    command = "`partitioned-etl forget scores --partition KEY` removes"
    files = json.loads(call("plan", "--feed", "scores", "--json").stdout)["files"]
    [planned] = [file for file in files if file["partition_key"] == "b"]
    assert planned["next"] == "keep"
    assert command in planned["reason"]
    result = call("sync")
    assert result.exit_code == 0
    assert f"have landed, as b.json, and are registered again: {command}" in result.stdout
    assert query(ROWS) == [("a", 1), ("b", 2), ("c", 3)]
    assert sorted(list_keys(dagster_home)) == ["a", "b", "c"]
    assert call("forget", "scores", "--partition", "b", "--yes").exit_code == 0
    assert command not in call("sync").stdout
    assert query(ROWS) == [("a", 1), ("c", 3)]
    assert call("add-key", "scores", "b").exit_code == 0
    assert query(ROWS) == [("a", 1), ("b", 4), ("c", 3)]


@pytest.mark.usefixtures("scores")
def test_the_status_names_a_key_that_is_given_up(
    call: Call, dagster_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("add-key", "scores", "a", "bad")
    assert call("status", "--fail-on", "failed,refused").exit_code == 0
    cursor = LandingCursor(failures_until=time.time())
    for _ in range(MAX_ATTEMPTS):
        cursor.attempts.note("bad", MARK)
    monkeypatch.setattr(plan, "_read_cursor", lambda *_: cursor)
    result = call("status", "--feed", "scores", "--fail-on", "failed")
    assert result.exit_code == 1
    assert "failing: 1 failed (scores 1)" in result.stderr
    # As a file whose runs failed too often, it waits, too.
    told = json.loads(call("status", "--feed", "scores", "--json").stdout)["feeds"][0]
    assert (told["waiting"], told["failed"]) == (1, None)


@pytest.mark.usefixtures("scores")
def test_the_status_counts_keys_that_people_added_as_the_plan_lists_them(
    call: Call, dagster_home: Path
) -> None:
    states = "waiting,refused,failed"
    call("add-key", "scores", "a")
    assert call("status", "--fail-on", states).exit_code == 0
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        instance.add_dynamic_partitions("scores", ["b", "c", "../d", "A"])
    result = call("status", "--json", "--fail-on", states)
    assert result.exit_code == 1
    assert result.stderr == "failing: 2 refused (scores 2); 2 waiting (scores 2)\n"
    told = {feed["feed"]: feed for feed in json.loads(result.stdout)["feeds"]}
    assert (told["notes"]["waiting"], told["notes"]["refused"]) == (0, [])
    scores = told["scores"]
    assert (scores["partitions"], scores["waiting"], scores["failed"]) == (1, 2, [])
    assert scores["oldest_waiting_seconds"] is None
    assert [refused["partition_key"] for refused in scores["refused"]] == ["../d", "A"]
    text = call("status").stdout
    assert "refused: scores, partition ../d: ../d: partition key '../d' is not made of" in text
    assert "partition key 'A' is another spelling of 'a'" in text
    metrics = call("status", "--format", "prometheus").stdout
    assert 'partitioned_etl_waiting_files{feed="scores"} 2' in metrics
    assert 'partitioned_etl_refused_files{feed="scores"} 2' in metrics
    call("sync", "--feed", "scores")
    told = json.loads(call("status", "--feed", "scores", "--json").stdout)["feeds"][0]
    assert (told["partitions"], told["waiting"], len(told["refused"])) == (3, 0, 2)
