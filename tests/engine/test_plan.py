"""The plan: the action for every file, from a listing and the ledger alone."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from partitioned_etl.engine import plan as plan_module
from partitioned_etl.engine.landing.landing import LandedFile, Listing, PassedOver, hash_content
from partitioned_etl.engine.landing.local import LocalFolder
from partitioned_etl.engine.plan import Action, Plan, choose_files, compare, find_touched
from partitioned_etl.engine.warehouse.ledger import Ledger, LedgerRow, LoadStatus
from support.workbench import NOTES, Workbench

LATER_NS = 1_000 * 10**9


def file_of(key: str = "a", ending: str = "csv") -> LandedFile:
    place = LocalFolder(Path("/landing/notes"))
    return LandedFile(key, f"{key}.{ending}", "10-20-30000000000-40", 10, 30 * 10**9, place)


def row_of(file: LandedFile, **changes: object) -> LedgerRow:
    row = LedgerRow(
        feed="notes",
        source_file=file.name,
        partition_key=file.partition_key,
        version=file.version,
        size_bytes=file.size_bytes,
        landed_ns=file.landed_ns,
        contract=NOTES.contract_fingerprint,
    )
    return row._replace(**changes)


def ledger_of(*rows: LedgerRow) -> Ledger:
    return Ledger({row.source_file: row for row in rows})


def listing_of(*files: LandedFile) -> Listing:
    return Listing(files={file.name: file for file in files})


def plan_of(*files: LandedFile, ledger: tuple[LedgerRow, ...] = (), now_ns: int = LATER_NS) -> Plan:
    return compare(NOTES, listing_of(*files), ledger_of(*ledger), settle_seconds=2.0, now_ns=now_ns)


def actions(plan: Plan) -> Mapping[str, Action]:
    return {name: step.action for name, step in plan.steps.items()}


def test_a_file_that_the_ledger_does_not_know_is_new() -> None:
    plan = plan_of(file_of())
    assert actions(plan) == {"a.csv": Action.NEW}
    assert plan.steps["a.csv"].file == file_of()
    assert plan.steps["a.csv"].ledger_row is None


def test_a_file_with_the_version_of_the_ledger_is_identical() -> None:
    plan = plan_of(file_of(), ledger=(row_of(file_of()),))
    assert actions(plan) == {"a.csv": Action.IDENTICAL}
    assert plan.steps["a.csv"].ledger_row == row_of(file_of())


def test_a_refused_file_stays_refused_while_its_version_stays() -> None:
    row = row_of(file_of(), status=LoadStatus.REFUSED)
    assert actions(plan_of(file_of(), ledger=(row,))) == {"a.csv": Action.REFUSED}


@pytest.mark.parametrize("status", LoadStatus)
@pytest.mark.parametrize(
    "change",
    [
        {"version": "10-20-30000000000-41"},
        {"source_file": "other.csv"},
    ],
)
def test_a_file_is_changed_if_its_version_or_its_name_is_another(
    change: dict[str, object], status: LoadStatus
) -> None:
    row = row_of(file_of(), status=status, **change)
    assert actions(plan_of(file_of(), ledger=(row,))) == {"a.csv": Action.CHANGED}


def test_a_loaded_file_is_changed_if_its_key_is_another_and_a_refused_one_stays_refused() -> None:
    row = row_of(file_of(), partition_key="other")
    assert actions(plan_of(file_of(), ledger=(row,))) == {"a.csv": Action.CHANGED}
    refused = row._replace(status=LoadStatus.REFUSED)
    assert actions(plan_of(file_of(), ledger=(refused,))) == {"a.csv": Action.REFUSED}


def test_a_file_that_is_gone_is_missing_and_keeps_its_ledger_row() -> None:
    row = row_of(file_of())
    plan = plan_of(ledger=(row,))
    assert actions(plan) == {"a.csv": Action.MISSING}
    assert plan.steps["a.csv"].ledger_row == row
    assert plan.steps["a.csv"].file is None


def test_a_key_whose_files_collide_is_unusable_and_not_loaded() -> None:
    refused = PassedOver("a.csv", "several files stand for one partition key: A.csv, a.csv", "a")
    plan = compare(NOTES, Listing(refused=[refused]), ledger_of(row_of(file_of())))
    assert actions(plan) == {"a.csv": Action.UNUSABLE}
    assert plan.refused == [refused]


@pytest.mark.parametrize(
    ("now_s", "action"), [(31, Action.UNSETTLED), (32, Action.NEW), (29, Action.UNSETTLED)]
)
def test_a_new_file_waits_until_it_is_settled(now_s: int, action: Action) -> None:
    plan = plan_of(file_of(), now_ns=now_s * 10**9)
    assert actions(plan) == {"a.csv": action}


def test_a_changed_file_waits_until_it_is_settled() -> None:
    row = row_of(file_of(), version="9")
    plan = plan_of(file_of(), ledger=(row,), now_ns=31 * 10**9)
    assert actions(plan) == {"a.csv": Action.UNSETTLED}


@pytest.mark.parametrize(
    ("lacks", "now_s", "is_settling"),
    [
        ((), 31, False),
        (("",), 31, True),
        (("", "its marker"), 31, True),
        (("its marker",), 31, False),
        (("", ""), 32, False),
    ],
)
def test_waiting_helps_a_file_that_is_written_and_not_one_without_its_marker(
    lacks: tuple[str, ...], now_s: int, is_settling: bool
) -> None:
    files = [file_of(key)._replace(lacks=what) for key, what in zip("ab", lacks, strict=False)]
    plan = plan_of(*files, now_ns=now_s * 10**9)
    assert plan.is_settling is is_settling


@pytest.mark.parametrize(
    ("status", "action"),
    [(LoadStatus.LOADED, Action.IDENTICAL), (LoadStatus.REFUSED, Action.REFUSED)],
)
def test_a_file_that_the_ledger_knows_does_not_have_to_settle(
    status: LoadStatus, action: Action
) -> None:
    row = row_of(file_of(), status=status)
    plan = plan_of(file_of(), ledger=(row,), now_ns=31 * 10**9)
    assert actions(plan) == {"a.csv": action}


def test_a_plan_gives_keys_and_files_by_action() -> None:
    files = [file_of(key) for key in "abcd"]
    ledger = (
        row_of(files[1]),
        row_of(files[2], version="9"),
        row_of(file_of("gone")),
    )
    plan = plan_of(*files, ledger=ledger)
    assert plan.keys(Action.NEW, Action.CHANGED) == ["a", "c", "d"]
    assert plan.files(Action.NEW) == [files[0], files[3]]
    assert plan.keys(Action.IDENTICAL) == ["b"]
    assert plan.keys(Action.MISSING) == ["gone"]
    assert plan.files(Action.MISSING) == []
    assert plan.keys() == []


@pytest.mark.parametrize(
    ("in_flight", "wanted", "later"),
    [("", "ab", "cdef"), ("ab", "cd", "ef"), ("abc", "d", "ef"), ("abcd", "", "ef")],
)
def test_one_batch_is_chosen_and_two_are_under_way(in_flight: str, wanted: str, later: str) -> None:
    files = [file_of(key) for key in "abcdef"]
    choice = choose_files(files, lambda _: 0, in_flight=set(in_flight), most=2)
    chosen = (choice.in_flight, choice.wanted, choice.later)
    assert ["".join(file.partition_key for file in some) for some in chosen] == [
        in_flight,
        wanted,
        later,
    ]


def test_what_was_passed_over_is_part_of_the_plan() -> None:
    ignored, refused = PassedOver("README.md", "no"), PassedOver("x.csv", "no", "x")
    plan = compare(NOTES, Listing(ignored=[ignored], refused=[refused]), Ledger())
    assert (plan.ignored, plan.refused, plan.steps) == ([ignored], [refused], {})


def touched_plan(bench: Workbench, **ledger: object) -> Plan:
    """A plan for a landed file whose size and content, but not its version, the ledger knows."""
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    listing = bench.landing.list_files(NOTES)
    file = listing.files["a.csv"]
    row = row_of(file, version="1", content_hash=hash_content(file))
    return compare(NOTES, listing, ledger_of(row._replace(**ledger)))


@pytest.mark.parametrize(
    ("status", "action"),
    [(LoadStatus.LOADED, Action.IDENTICAL), (LoadStatus.REFUSED, Action.REFUSED)],
)
def test_a_touched_file_is_what_it_was_before(
    bench: Workbench, status: LoadStatus, action: Action
) -> None:
    plan = touched_plan(bench, status=status)
    assert actions(plan) == {"a.csv": Action.CHANGED}
    touched = find_touched(plan, NOTES, max_bytes=1_000)
    assert actions(plan) == {"a.csv": action}
    assert touched == list(plan.steps.values())


def test_a_file_with_another_content_of_the_same_size_is_changed(bench: Workbench) -> None:
    plan = touched_plan(bench, content_hash="0" * 64)
    assert find_touched(plan, NOTES, max_bytes=1_000) == []
    assert actions(plan) == {"a.csv": Action.CHANGED}


def test_a_file_of_another_size_is_not_read(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = touched_plan(bench, size_bytes=11)
    monkeypatch.setattr(plan_module, "hash_content", None)
    assert find_touched(plan, NOTES, max_bytes=1_000) == []
    assert actions(plan) == {"a.csv": Action.CHANGED}


def test_a_new_file_is_never_only_touched(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.land(NOTES, "a.csv", "id,note\n")
    plan = compare(NOTES, bench.landing.list_files(NOTES), Ledger())
    monkeypatch.setattr(plan_module, "hash_content", None)
    assert find_touched(plan, NOTES, max_bytes=1_000) == []
    assert actions(plan) == {"a.csv": Action.NEW}


def test_only_so_many_bytes_are_read_to_find_touched_files(bench: Workbench) -> None:
    assert find_touched(touched_plan(bench), NOTES, max_bytes=11) == []
    assert len(find_touched(touched_plan(bench), NOTES, max_bytes=12)) == 1


def test_a_file_that_changes_meanwhile_stays_changed(bench: Workbench) -> None:
    plan = touched_plan(bench)
    bench.land(NOTES, "a.csv", "id,note\n1,y\n")
    assert find_touched(plan, NOTES, max_bytes=1_000) == []
    assert actions(plan) == {"a.csv": Action.CHANGED}


def test_a_file_takes_the_place_of_one_that_is_gone() -> None:
    plain, compressed = file_of(), file_of(ending="csv.gz")
    row = row_of(plain, row_count=3)
    plan = plan_of(compressed, ledger=(row,))
    assert actions(plan) == {"a.csv.gz": Action.CHANGED}
    assert plan.steps["a.csv.gz"].ledger_row == row
    assert plan.steps["a.csv.gz"].row_count == 3


@pytest.mark.parametrize("status", [LoadStatus.LOADED, LoadStatus.REFUSED])
def test_a_file_that_is_gone_is_hidden_while_its_partition_has_another(status: LoadStatus) -> None:
    plain, compressed = file_of(), file_of(ending="csv.gz")
    rows = (row_of(plain, row_count=3), row_of(compressed, status=status))
    action = Action.IDENTICAL if status is LoadStatus.LOADED else Action.REFUSED
    plan = plan_of(compressed, ledger=rows)
    assert actions(plan) == {"a.csv.gz": action}
    assert plan.steps["a.csv.gz"].ledger_row == rows[1]
    assert plan.ledger.count_rows("a") == 3


def test_a_file_that_belongs_to_another_partition_than_before_is_read_again(
    bench: Workbench,
) -> None:
    plan = touched_plan(bench, partition_key="other")
    assert find_touched(plan, NOTES, max_bytes=1_000) == []
    assert actions(plan) == {"a.csv": Action.CHANGED}
    assert plan.keys(Action.CHANGED) == ["a"]


def test_a_file_refused_under_another_contract_is_read_again(bench: Workbench) -> None:
    plan = touched_plan(bench, status=LoadStatus.REFUSED, contract="another")
    assert find_touched(plan, NOTES, max_bytes=1_000) == []
    assert actions(plan) == {"a.csv": Action.CHANGED}
