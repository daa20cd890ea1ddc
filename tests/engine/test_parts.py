"""Parts: all files of a key together are its partition, and each loads by itself."""

from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.plan import choose_parts, compare
from support.workbench import Workbench, change_feed

EVENTS = Feed.model_validate(
    {
        "name": "events",
        "pattern": "{date:%Y-%m-%d}/part-{part}.csv",
        "columns": {"number": "BIGINT"},
        "start": "2024-01-01",
    }
)


def land(bench: Workbench, name: str, *numbers: int, feed: Feed = EVENTS) -> Path:
    rows = "".join(f"{number}\n" for number in numbers)
    return bench.land(feed, name, f"number\n{rows}")


def loaded(bench: Workbench, feed: Feed = EVENTS) -> dict[str, list[int]]:
    """The numbers in the table by the file that they came from."""
    found: dict[str, list[int]] = {}
    for number, _, name in bench.rows(feed):
        found.setdefault(name, []).append(number)
    return found


def test_a_partition_is_the_sum_of_its_parts(bench: Workbench) -> None:
    land(bench, "2024-01-01/part-0001.csv", 1, 2)
    land(bench, "2024-01-01/part-0002.csv", 3)
    land(bench, "2024-01-02/part-0001.csv", 4)
    bench.sync(EVENTS)
    assert loaded(bench) == {
        "2024-01-01/part-0001.csv": [1, 2],
        "2024-01-01/part-0002.csv": [3],
        "2024-01-02/part-0001.csv": [4],
    }
    ledger = bench.ledger(EVENTS)
    assert {key: ledger.count_rows(key) for key in ledger.by_key} == {
        "2024-01-01": 3,
        "2024-01-02": 1,
    }
    bench.assert_level(EVENTS)


def test_each_part_loads_and_reloads_by_itself(bench: Workbench) -> None:
    land(bench, "2024-01-01/part-0001.csv", 1)
    bench.sync(EVENTS)
    land(bench, "2024-01-01/part-0002.csv", 2)
    assert [one.source_file for one in bench.sync(EVENTS).loaded] == ["2024-01-01/part-0002.csv"]
    land(bench, "2024-01-01/part-0001.csv", 10, 11)
    assert [one.source_file for one in bench.sync(EVENTS).loaded] == ["2024-01-01/part-0001.csv"]
    assert loaded(bench) == {
        "2024-01-01/part-0001.csv": [10, 11],
        "2024-01-01/part-0002.csv": [2],
    }
    assert bench.sync(EVENTS).loaded == []
    bench.assert_level(EVENTS)


def test_a_refused_part_changes_no_row_of_the_others(bench: Workbench) -> None:
    for part in range(5):
        land(bench, f"2024-01-01/part-{part}.csv", part)
    bench.land(EVENTS, "2024-01-01/part-3.csv", "number\nx\n")
    [refused] = bench.sync(EVENTS).refused
    assert refused.source_file == "2024-01-01/part-3.csv"
    assert "line 2, column number" in refused.reason
    assert sorted(loaded(bench)) == [f"2024-01-01/part-{part}.csv" for part in (0, 1, 2, 4)]
    land(bench, "2024-01-01/part-3.csv", 3)
    bench.sync(EVENTS)
    assert sorted(numbers[0] for numbers in loaded(bench).values()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("policy", ["keep", "remove"])
def test_a_part_that_goes_takes_its_own_rows_with_it(bench: Workbench, policy: str) -> None:
    feed = change_feed(EVENTS, on_missing=policy)
    for part in (1, 2, 3):
        land(bench, f"2024-01-01/part-{part}.csv", part)
    bench.sync(feed)
    bench.path(feed, "2024-01-01/part-2.csv").unlink()
    report = bench.sync(feed)
    left = [1, 3] if policy == "remove" else [1, 2, 3]
    assert sorted(numbers[0] for numbers in loaded(bench).values()) == left
    assert [one.source_file for one in report.removed] == (
        ["2024-01-01/part-2.csv"] if policy == "remove" else []
    )
    bench.assert_level(feed)


def test_a_part_may_come_again_under_another_ending(bench: Workbench) -> None:
    import gzip

    old = land(bench, "2024-01-01/part-1.csv", 1)
    land(bench, "2024-01-01/part-2.csv", 2)
    bench.sync(EVENTS)
    old.unlink()
    bench.land(EVENTS, "2024-01-01/part-1.csv.gz", gzip.compress(b"number\n7\n"))
    bench.sync(EVENTS)
    assert loaded(bench) == {"2024-01-01/part-1.csv.gz": [7], "2024-01-01/part-2.csv": [2]}
    assert len(bench.ledger(EVENTS).rows) == 2


def test_two_files_of_one_part_are_refused_and_the_others_load(bench: Workbench) -> None:
    for name in ("part-1.csv", "part-1.csv.gz", "part-2.csv"):
        land(bench, f"2024-01-01/{name}", 1)
    report = bench.sync(EVENTS)
    assert sorted(one.source_file for one in report.refused) == [
        "2024-01-01/part-1.csv",
        "2024-01-01/part-1.csv.gz",
    ]
    assert "several files stand for one part of a partition" in report.refused[0].reason
    assert loaded(bench) == {"2024-01-01/part-2.csv": [1]}


def test_nothing_is_loaded_before_the_last_part_has_landed(bench: Workbench) -> None:
    feed = change_feed(EVENTS, part_count=3)
    land(bench, "2024-01-01/part-1.csv", 1)
    land(bench, "2024-01-01/part-2.csv", 2)
    waiting = bench.sync(feed).ignored
    assert {one.reason for one in waiting} == {"2 of 3 parts have landed"}
    assert len(waiting) == 2
    assert bench.tables() == []
    land(bench, "2024-01-01/part-3.csv", 3)
    bench.sync(feed)
    assert len(loaded(bench)) == 3


def test_too_many_parts_are_refused_and_the_loaded_rows_stay(bench: Workbench) -> None:
    feed = change_feed(EVENTS, part_count=2)
    for part in (1, 2):
        land(bench, f"2024-01-01/part-{part}.csv", part)
    bench.sync(feed)
    land(bench, "2024-01-01/part-3.csv", 3)
    report = bench.sync(feed)
    assert {one.reason.partition(": ")[2] for one in report.refused} == {
        "3 parts have landed, and a partition of the feed has 2"
    }
    assert len(loaded(bench)) == 2


@pytest.mark.parametrize(
    ("pattern", "done_file", "marker"),
    [
        ("{date:%Y-%m-%d}/part-{part}.csv", "{date:%Y-%m-%d}/_SUCCESS", "2024-01-01/_SUCCESS"),
        ("{date:%Y-%m-%d}/part-{part}.csv", "{date:%Y-%m-%d}.done", "2024-01-01.done"),
        ("dt={date:%Y-%m-%d}/part-{part}.csv", "dt={date:%Y-%m-%d}/.ok", "dt=2024-01-01/.ok"),
    ],
)
def test_a_partition_is_loaded_when_its_marker_is_there(
    bench: Workbench, pattern: str, done_file: str, marker: str
) -> None:
    feed = change_feed(EVENTS, pattern=pattern, done_file=done_file, unmatched="fail")
    folder = pattern.partition("/")[0].replace("{date:%Y-%m-%d}", "2024-01-01")
    for part in (1, 2):
        land(bench, f"{folder}/part-{part}.csv", part)
    report = bench.sync(feed)
    assert {one.reason for one in report.ignored} == {"the partition's marker file has not landed"}
    assert bench.tables() == []
    bench.land(feed, marker, "")
    report = bench.sync(feed)
    assert (len(report.loaded), report.ignored) == (2, [])
    # One that comes late is one more part of a partition that is complete.
    land(bench, f"{folder}/part-3.csv", 3)
    assert len(bench.sync(feed).loaded) == 1
    assert len(loaded(bench)) == 3


def test_a_run_loads_the_parts_that_changed_or_else_all(bench: Workbench) -> None:
    for part in (1, 2, 3):
        land(bench, f"2024-01-01/part-{part}.csv", part)
    bench.sync(EVENTS)

    def chosen() -> list[str]:
        listing = bench.landing.list_files(EVENTS)
        plan = compare(EVENTS, listing, bench.ledger(EVENTS))
        return [file.name[-5:-4] for file in choose_parts(plan, listing.by_key["2024-01-01"])]

    assert chosen() == ["1", "2", "3"]
    land(bench, "2024-01-01/part-2.csv", 20)
    assert chosen() == ["2"]


def test_a_part_may_have_versions(bench: Workbench) -> None:
    feed = change_feed(EVENTS, pattern="{date:%Y-%m-%d}_{part}-{version}.csv")
    for name, number in {"a-1": 1, "a-2": 2, "b-1": 3}.items():
        land(bench, f"2024-01-01_{name}.csv", number)
    bench.sync(feed)
    assert loaded(bench) == {"2024-01-01_a-2.csv": [2], "2024-01-01_b-1.csv": [3]}


def test_rows_that_nobody_knows_go_when_all_parts_are_loaded(bench: Workbench) -> None:
    for part in (1, 2):
        land(bench, f"2024-01-01/part-{part}.csv", part)
    bench.sync(EVENTS)
    with bench.open_table(EVENTS) as table:
        table.duck.execute("INSERT INTO events VALUES (9, '2024-01-01', 'edited by hand')")
        table.duck.execute("INSERT INTO events VALUES (9, '2024-01-01', NULL)")
    land(bench, "2024-01-01/part-1.csv", 10)
    bench.sync(EVENTS)
    assert len(loaded(bench)) == 4
    bench.load(EVENTS)
    assert loaded(bench) == {"2024-01-01/part-1.csv": [10], "2024-01-01/part-2.csv": [2]}


def test_rejected_rows_are_those_of_a_part(bench: Workbench) -> None:
    feed = change_feed(EVENTS, bad_rows="quarantine", max_rejected_percent=100)
    for part in (1, 2):
        bench.land(feed, f"2024-01-01/part-{part}.csv", f"number\n{part}\nbad\n")
    bench.sync(feed)
    land(bench, "2024-01-01/part-1.csv", 1)
    bench.sync(feed)
    names = bench.query("SELECT source_file FROM rejected_rows")
    assert names == [("2024-01-01/part-2.csv",)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"part_count": 2, "pattern": "{date:%Y-%m-%d}.csv"}, "part_count: only a pattern with"),
        ({"part_count": -1}, "part_count"),
        ({"done_file": "_SUCCESS"}, "done_file: pattern '_SUCCESS' needs a placeholder"),
        ({"done_file": "{key}/_SUCCESS"}, "stands for no key of the pattern"),
        ({"done_file": "{date:%Y-%m}/_SUCCESS"}, "stands for no key of the pattern"),
        ({"done_file": "{date:%Y-%m-%d}/{part}.ok"}, "may hold the placeholders of the key"),
        ({"done_file": "{date:%Y-%m-%d}/a/_OK"}, "is deeper in folders than the files are"),
        ({"done_file": "done/{date:%Y-%m-%d}"}, "is in no folder of the pattern"),
        ({"done_file": "{date:%Y-%m-%d}.done", "done_suffix": ".ok"}, "choose one"),
        ({"pattern": "{date:%Y-%m-%d}/{part}{any}.csv"}, "needs something between two"),
        ({"pattern": "{part}.csv"}, "needs a placeholder, {key} or {date:%Y-%m-%d} or both"),
    ],
)
def test_a_contradiction_is_refused_when_the_feed_is_defined(
    values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(FeedDefinitionError) as refused:
        change_feed(EVENTS, **values)
    assert reason in str(refused.value)
