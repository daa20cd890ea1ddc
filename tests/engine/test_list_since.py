"""A look from a date on: what it leaves out is whole partitions, and nothing is made of them."""

import os
import string
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from partitioned_etl.engine.arrivals import ArrivalStatus, list_arrivals
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.file_names import KEY_SEPARATOR
from partitioned_etl.engine.landing.bucket import Bucket
from partitioned_etl.engine.landing.landing import Landing, Listing
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.landing.object_store import ObjectLanding
from partitioned_etl.engine.list_since import (
    find_first_name,
    find_first_name_of,
    find_name_before,
    is_folder_left_out,
    is_left_out,
)
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.plan import Action, Plan, find_removable, make_plan
from partitioned_etl.engine.reconcile import reconcile_table
from support.scale import try_examples
from support.workbench import Workbench

DECLARED: dict[str, Any] = {
    "name": "days",
    "columns": {"id": "BIGINT"},
    "start": "2018-01-01",
    "list_since_days": 7,
}
DAYS = Feed(pattern="{date:%Y}/{date:%m}/{date:%d}/prices.csv", **DECLARED)
REMOVING = Feed(pattern=DAYS.pattern, on_missing=OnMissing.REMOVE, **DECLARED)
NOW = datetime(2026, 5, 17, 12, tzinfo=UTC)
FIRST_NAMES = {
    "{date:%Y}/{date:%m}/{date:%d}/prices.csv": "2026/05/10",
    "{date:%Y}/{date:%Y-%m-%d}.csv": "2026/2026-05-10",
    "dt={date:%Y-%m-%d}/part-{part}_{version}.csv": "dt=2026-05-10",
    "{date:%Y-%m-%d}/{key}.csv": "2026-05-10",
    "{date:%Y-%m-%d}.csv": "2026-05-10",
    "{date:%Y}/{date:%m}/{key}.csv": "2026/05",
    "{date:%Y-%m-%d-%H}.csv": "2026-05-10-00",
    "{date:%G}/W{date:%V}.csv": "2026/W19",
    "{date:%Y}/{key}_{date:%m%d}.csv": "2026",
    "{date:%Y}/{date:%d.%m}/{any}.csv": "2026",
    "{date:%Y%m}/{date:%d}{date:%H}.csv": "202605/1000",
}
UNSORTED = [
    *("{key}.csv", "{key}/{date:%Y-%m-%d}.csv", "{any}_{date:%Y%m%d}.csv", "{date:%d.%m.%Y}.csv"),
    *("{date:%m}/{date:%Y}/x.csv", "{part}/{date:%Y-%m-%d}.csv", "{date:%V-%G}.csv"),
]

dates = st.dates(date(2018, 1, 1), date(2030, 12, 31))
patterns = st.sampled_from(sorted(FIRST_NAMES))
names_of_folders = st.text(string.digits + "/-=zA.~ä", min_size=1, max_size=12)


def define(pattern: str, **declared: Any) -> Feed:
    return Feed.model_validate(DECLARED | {"pattern": pattern} | declared)


@pytest.mark.parametrize(("pattern", "first_name"), FIRST_NAMES.items())
def test_a_look_begins_with_the_period_of_the_date_so_many_days_ago(
    pattern: str, first_name: str
) -> None:
    assert find_first_name(define(pattern), NOW) == first_name
    assert find_first_name(define(pattern, list_since_days=None), NOW) == ""


@pytest.mark.parametrize("pattern", UNSORTED)
def test_names_that_do_not_begin_with_a_date_by_which_they_sort_are_refused(pattern: str) -> None:
    start = None if "date" not in pattern else DECLARED["start"]
    with pytest.raises(FeedDefinitionError, match="does not begin with a date whose year") as told:
        define(pattern, start=start)
    assert told.value.attribute == "list_since_days"
    assert str(told.value).startswith("feed days: list_since_days: names are left out by how they")


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"list_since_days": 0}, "greater than or equal to 1"),
        ({"list_since_days": 40_000}, "less than or equal to 36500"),
        (
            {"pattern": "D{date:%Y-%m-%d}.csv", "pattern_ignores_case": True},
            "with pattern_ignores_case, 'D2000-01-01' has several spellings",
        ),
        (
            {"pattern": "{date:%Y}/{date:%m-%d}/x.csv", "done_file": "{date:%Y}/{date:%d-%m}.ok"},
            "does not begin as the pattern does",
        ),
        ({"due_after_hours": 0, "list_since_days": 8}, "list_since_days is 9 or more: a file that"),
        ({"due_after_hours": 60}, "list_since_days is 11 or more: a file that was due 60 hours"),
    ],
)
def test_a_definition_is_refused_by_which_a_look_could_see_half_of_something(
    declared: dict[str, Any], reason: str
) -> None:
    with pytest.raises(FeedDefinitionError, match=reason) as told:
        define(**{"pattern": DAYS.pattern} | declared)
    assert told.value.attribute == "list_since_days"


def test_a_look_that_cannot_miss_a_marker_or_what_is_late_is_accepted() -> None:
    define("{date:%Y-%m-%d}/{part}.csv", done_file="{date:%Y-%m-%d}.ok")
    define("{date:%Y-%m-%d}.CSV", pattern_ignores_case=True)
    define(DAYS.pattern, due_after_hours=7, list_since_days=9)


@given(pattern=patterns, day=dates, now=dates, days=st.integers(1, 800))
@try_examples(400)
def test_what_is_left_out_is_a_partition_as_a_whole_and_before_the_window(
    pattern: str, day: date, now: date, days: int
) -> None:
    feed = define(pattern, list_since_days=days)
    first_name = find_first_name(feed, datetime(now.year, now.month, now.day, tzinfo=UTC))
    texts = {"key": "k", "part": "1", "version": "v2", "any": ""}
    shown = feed.pattern
    for name, text in texts.items():
        shown = shown.replace(f"{{{name}}}", text)
    while "{date:" in shown:
        head, _, rest = shown.partition("{date:")
        form, _, tail = rest.partition("}")
        shown = head + day.strftime(form) + tail
    names = [shown, f"{shown}.gz", shown.replace("k", "z").replace("v2", "~")]
    keys = {feed.partition_key_of(name) for name in names}
    left_out = {is_left_out(name, first_name) for name in names}
    assert len(left_out) == 1
    assert left_out == {is_left_out(feed.file_names.start_of_key(key), first_name) for key in keys}
    since = feed.first_day_of(now - timedelta(days=days))
    if left_out == {True}:
        assert day < since
    if "{key}_" not in pattern and "%d.%m" not in pattern and day < since - timedelta(days=31):
        assert left_out == {True}
    assert find_first_name_of(feed, keys, NOW) <= min(names)


@given(first=st.from_regex(r"[0-9a-z=]{0,3}[0-9]{1,4}[-/z]?[0-9]{0,2}x?", fullmatch=True))
@try_examples(200)
def test_the_name_before_is_before_and_hardly_anything_lies_between(first: str) -> None:
    before = find_name_before(first)
    assert before < first
    number = first.rstrip("-/xz")
    assert before[:-2] == number[:-1]
    assert before[-2] == chr(ord(number[-1]) - 1)


@given(folder=names_of_folders, rest=names_of_folders, first=names_of_folders)
@try_examples(400)
def test_a_folder_is_left_out_only_with_all_that_is_in_it(
    folder: str, rest: str, first: str
) -> None:
    name = f"{folder}/{rest}"
    if is_folder_left_out(folder, first):
        assert is_left_out(name, first)
    elif is_left_out(name, first):
        assert first.startswith(f"{folder}/")


@pytest.mark.parametrize(
    ("now", "zone", "days", "first_name"),
    [
        ("2024-03-01T00:30+00:00", "UTC", 1, "2024/02/29"),
        ("2023-03-01T00:30+00:00", "UTC", 1, "2023/02/28"),
        ("2024-03-01T00:30+00:00", "America/New_York", 1, "2024/02/28"),
        ("2024-02-29T15:30+00:00", "Asia/Tokyo", 1, "2024/02/29"),
        # Clocks are set forwards on 2024-03-10 and back on 2024-11-03 in New York.
        ("2024-03-11T03:59+00:00", "America/New_York", 1, "2024/03/09"),
        ("2024-03-11T04:00+00:00", "America/New_York", 1, "2024/03/10"),
        ("2024-11-04T04:59+00:00", "America/New_York", 1, "2024/11/02"),
        ("2024-11-04T05:00+00:00", "America/New_York", 1, "2024/11/03"),
        ("2025-01-03T00:00+00:00", "UTC", 366, "2024/01/03"),
    ],
)
def test_the_day_is_that_of_the_feeds_time_zone(
    now: str, zone: str, days: int, first_name: str
) -> None:
    feed = define(DAYS.pattern, timezone=zone, list_since_days=days)
    assert find_first_name(feed, datetime.fromisoformat(now)) == first_name


def test_a_week_under_way_is_looked_at_as_a_whole() -> None:
    weekly = define("{date:%Y-%m-%d}.csv", partitioning="weekly", list_since_days=1)
    assert [find_first_name(weekly, NOW + timedelta(days=n)) for n in range(4)] == [
        *("2026-05-11", "2026-05-11", "2026-05-18", "2026-05-18")
    ]


def test_a_look_that_concerns_partitions_begins_with_the_first_of_them() -> None:
    keys = ["2026-05-16", "2018-02-03", "no key", "2026-12-31"]
    assert find_first_name_of(DAYS, keys, NOW) == "2018/02/03"
    assert find_first_name_of(DAYS, keys[:1], NOW) == "2026/05/10"
    assert find_first_name_of(DAYS, ["no key"], NOW) == "2026/05/10"
    assert find_first_name_of(define(DAYS.pattern, list_since_days=None), keys, NOW) == ""
    names = define("{date:%Y-%m-%d}/{key}.csv")
    assert find_first_name_of(names, [f"acme{KEY_SEPARATOR}2019-01-01"], NOW) == "2019-01-01"


# What landings list

SEEN = [
    *("2026/05/10/prices.csv", "2026/05/11/prices.csv", "2026/05/10/prices.csv.gz"),
    *("2026/12/01/prices.csv", "2027/01/01/prices.csv", "2026/05/10/other.csv"),
    *("2026/05/17/.hidden", "2026/05/18", "readme.txt", "x/y/z/prices.csv", "2026/05/12/a/b.csv"),
    *("2026/1x/01/prices.csv", "2026/05/31/prices.csv", "2026/02/30/prices.csv"),
]
UNSEEN = [
    *("2026/05/09/prices.csv", "2018/01/01/prices.csv", "2025/12/31/prices.csv", "2026/05/1"),
    *("2026/05/09/other.csv", "2026/05/0x/prices.csv", "00-readme.txt", "2026/04/30/a/b/c.csv"),
    *(".hidden", "2026/05/09~~/prices.csv", "2019"),
]


def list_names(landing: Landing, feed: Feed, first_name: str) -> dict[str, Any]:
    """Give all that a look finds and passes over, by name."""
    listing = landing.scan(feed, None, first_name).list_files()
    assert listing.first_name == first_name
    return {
        "files": [(name, file.partition_key) for name, file in listing.files.items()],
        "superseded": sorted(listing.superseded),
        "refused": [(one.name, one.partition_key) for one in listing.refused],
        "ignored": [one.name for one in listing.ignored],
    }


def land_all(folder: Path, store: MemoryStore, names: list[str]) -> None:
    for name in names:
        path = folder / "days" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("id\n1\n", encoding="utf-8")
        obstore.put(store, f"in/days/{name}", b"id\n1\n")


def test_folder_and_bucket_list_what_is_not_before_the_first_name(tmp_path: Path) -> None:
    store, first_name = MemoryStore(), "2026/05/10"
    land_all(tmp_path, store, [*SEEN, *UNSEEN])
    bucket = ObjectLanding(Bucket("s3://bucket", store), "in/", tmp_path / "staging")
    folder = LocalLanding(tmp_path, 0)
    found = list_names(folder, DAYS, first_name)
    assert found == list_names(bucket, DAYS, first_name)
    named = {name.partition("/")[0] for names in found.values() for name in map(str, names)}
    assert {"readme.txt", "x"} <= named
    in_all = list_names(folder, DAYS, "")
    assert found["files"] == [one for one in in_all["files"] if one[0] >= first_name]
    assert {name for name, _ in found["files"]}.isdisjoint(UNSEEN)
    assert [name for name, _ in found["refused"]] == [
        *("2026/05/10/prices.csv", "2026/05/10/prices.csv.gz")
    ]
    assert not {*found["ignored"]} & {*UNSEEN}
    assert {*UNSEEN} & {*in_all["ignored"]}


def test_a_folder_that_is_left_out_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_all(tmp_path, MemoryStore(), [f"{year}/01/01/prices.csv" for year in range(2018, 2028)])
    opened, scandir = list[int](), os.scandir

    def count(folder: Any) -> Any:
        opened.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", count)
    listing = LocalLanding(tmp_path, 0).scan(DAYS, None, "2026/05/10").list_files()
    assert list(listing.files) == ["2027/01/01/prices.csv"]
    # The feed's folder, 2026 and 2027, and in the latter a month and a day.
    assert len(opened) == 5


@given(
    pattern=patterns.filter(lambda one: "{version}" not in one and "{part}" not in one),
    days=st.lists(dates, max_size=6),
    first=dates,
)
@try_examples(60)
def test_folder_and_bucket_agree_for_every_pattern(
    pattern: str, days: list[date], first: date
) -> None:
    feed, store = define(pattern), MemoryStore()
    noon = datetime(first.year, first.month, first.day, 12, tzinfo=UTC)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "days").mkdir()
        for day in days:
            key = day.strftime("%Y-%m-%d-%H:00" if "%H" in pattern else "%Y-%m-%d")
            if "{key}" in pattern:
                key = f"k{KEY_SEPARATOR}{key}"
            if feed.file_names.partitioning == "monthly":
                key = f"{key[:-2]}01"
            land_all(folder, store, [feed.file_names.name_of(key)])
        bucket = ObjectLanding(Bucket("s3://bucket", store), "in/", folder)
        first_name = find_first_name(feed, noon)
        found = list_names(bucket, feed, first_name)
        assert found == list_names(LocalLanding(folder, 0), feed, first_name)
        in_all = LocalLanding(folder, 0).list_files(feed).files
        assert [name for name, _ in found["files"]] == [one for one in in_all if one >= first_name]


def test_an_empty_window_is_not_an_empty_place(tmp_path: Path) -> None:
    store = MemoryStore()
    land_all(tmp_path, store, ["2018/01/01/prices.csv"])
    bucket = ObjectLanding(Bucket("s3://bucket", store), "in/", tmp_path)
    for landing in (bucket, LocalLanding(tmp_path, 0)):
        found = list_names(landing, DAYS, "2026/05/10")
        assert not any(found.values())


# What a plan makes of it


def land_days(bench: Workbench, *days: str, feed: Feed = DAYS, number: int = 1) -> None:
    for day in days:
        bench.land(feed, f"{day.replace('-', '/')}/prices.csv", f"id\n{number}\n")


def plan_from(bench: Workbench, feed: Feed, first_name: str) -> Plan:
    scan = bench.landing.scan(feed, None, first_name)
    return make_plan(feed, scan, bench.landing, bench.warehouse)


def delete(bench: Workbench, *days: str) -> None:
    for day in days:
        bench.place.delete(DAYS, f"{day.replace('-', '/')}/prices.csv")


OLD = ["2018-01-01", "2025-12-31", "2026-05-09"]
NEW = ["2026-05-10", "2026-05-12", "2026-05-18"]


def test_what_is_not_looked_at_is_neither_gone_nor_new_nor_counted(bench: Workbench) -> None:
    land_days(bench, *OLD, *NEW, feed=REMOVING)
    bench.sync(REMOVING)
    delete(bench, "2018-01-01", "2025-12-31", "2026-05-12")
    land_days(bench, "2026-05-09", "2020-02-02", number=2)
    plan = plan_from(bench, REMOVING, "2026/05/10")
    assert {step.partition_key: step.action for step in plan.steps.values()} == {
        "2026-05-10": Action.IDENTICAL,
        "2026-05-12": Action.MISSING,
        "2026-05-18": Action.IDENTICAL,
    }
    assert find_removable(REMOVING, plan).keys == ["2026-05-12"]
    assert plan.sum_up().partitions == 3
    assert not plan.is_first
    in_all = plan_from(bench, REMOVING, "")
    assert in_all.keys(Action.MISSING) == ["2018-01-01", "2025-12-31", "2026-05-12"]
    assert in_all.keys(Action.NEW, Action.CHANGED) == ["2020-02-02", "2026-05-09"]


def test_the_share_of_files_that_are_gone_is_that_of_those_looked_at(bench: Workbench) -> None:
    land_days(bench, *OLD, "2017-01-01", *NEW, feed=REMOVING)
    bench.sync(REMOVING)
    delete(bench, "2026-05-10", "2026-05-12")
    brake = find_removable(REMOVING, plan_from(bench, REMOVING, "2026/05/10")).brake
    assert brake.startswith("2 of 3 files are gone, more than half: nothing is removed")
    assert len(find_removable(REMOVING, plan_from(bench, REMOVING, "")).rows) == 2


def test_a_ledger_that_was_lost_is_noticed_and_one_of_other_dates_is_not(bench: Workbench) -> None:
    land_days(bench, *OLD)
    assert plan_from(bench, DAYS, "2026/05/10").is_first
    bench.sync(DAYS)
    assert not plan_from(bench, DAYS, "2026/05/10").is_first
    bench.close()
    bench.database.unlink()
    assert plan_from(bench, DAYS, "2026/05/10").is_first


def test_of_dates_that_were_not_looked_at_the_ledger_tells_what_came(bench: Workbench) -> None:
    feed = define(DAYS.pattern, due_after_hours=7, list_since_days=9)
    land_days(bench, "2026-05-01", "2026-05-10", feed=feed)
    bench.land(feed, "2026/05/02/prices.csv", "id\nx\n")
    bench.sync(feed)
    listing = bench.landing.scan(feed, None, find_first_name(feed, NOW)).list_files()
    assert listing.first_name == "2026/05/08"
    expected = [f"2026-05-{day:02}" for day in (1, 2, 3, 10, 11)]
    arrivals = list_arrivals(feed, bench.ledger(feed), listing, expected, NOW)
    told = {one.partition_key: (one.status, one.reason.partition(";")[0]) for one in arrivals}
    assert told == {
        "2026-05-01": (ArrivalStatus.LOADED, ""),
        "2026-05-02": (ArrivalStatus.REFUSED, told["2026-05-02"][1]),
        "2026-05-03": (ArrivalStatus.MISSING, "no file is in the ledger"),
        "2026-05-10": (ArrivalStatus.LOADED, ""),
        "2026-05-11": (ArrivalStatus.MISSING, "no file has come"),
    }
    assert Listing(first_name="2026").is_there("2025") > Listing(first_name="2026").is_there("2026")


changes = st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from([*OLD, *NEW]))
histories = st.lists(
    st.tuples(st.lists(changes, max_size=3), st.sampled_from(["tick", "tick", "tick", "night"])),
    max_size=8,
)


@pytest.mark.scaled
@pytest.mark.parametrize("feed", [DAYS, REMOVING], ids=["keep", "remove"])
@given(history=histories)
@try_examples(60)
def test_ticks_keep_the_window_equal_and_each_night_all_of_it(
    tmp_path_factory: pytest.TempPathFactory, feed: Feed, history: Any
) -> None:
    """A tick lists a window, as the sensors do; a night lists all, as the reconcile job does."""
    bench = Workbench(tmp_path_factory.mktemp("history"))
    bench.path(feed, "").mkdir(parents=True)
    landed, held, number = dict[str, int](), dict[str, int](), 0
    for changed, what in [*history, ([], "night")]:
        for kind, day in changed:
            number += 1
            if kind == "put":
                land_days(bench, day, feed=feed, number=number)
                landed[day] = number
            elif landed.pop(day, None) is not None:
                delete(bench, day)
        looked_at = {*NEW} if what == "tick" else {*OLD, *NEW}
        if what == "tick":
            plan = plan_from(bench, feed, "2026/05/10")
            with bench.open_table(feed) as table:
                load_files(table, bench.landing, plan.candidates())
                if gone_rows := find_removable(feed, plan).rows:
                    table.remove([row.source_file for row in gone_rows])
        else:
            with bench.open_table(feed) as table:
                reconcile_table(table, bench.landing, bench.landing.list_files(feed))
        known = held.keys() & looked_at
        gone = known - landed.keys()
        is_removed = feed.on_missing is OnMissing.REMOVE and 2 * len(gone) <= len(known)
        kept = held.keys() - gone if is_removed else held.keys()
        held = {day: held[day] for day in kept} | {
            day: landed[day] for day in looked_at & {*landed}
        }
        rows = bench.rows(feed) if feed.table in bench.tables() else []
        assert {key: row for row, key, _ in rows} == held
    assert {day: held.get(day) for day in landed} == landed
    bench.close()
