"""Reconcile: the action for every partition key, from a listing and the ledger alone."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ingest.workbench import NOTES, Workbench
from partitioned_etl.ingest import reconcile as reconcile_module
from partitioned_etl.ingest.landing import (
    LandedFile,
    Listing,
    PassedOver,
    Signature,
    list_landed_files,
)
from partitioned_etl.ingest.ledger import LedgerRow, LoadStatus
from partitioned_etl.ingest.opening import hash_landed_file
from partitioned_etl.ingest.reconcile import Action, Plan, choose_files, find_touched, reconcile

SIGNATURE = Signature(size_bytes=10, mtime_ns=20, ctime_ns=30 * 10**9, inode=40)
LATER_NS = 1_000 * 10**9


def file_of(key: str = "a", signature: Signature = SIGNATURE) -> LandedFile:
    return LandedFile(key, Path("/landing/notes"), f"{key}.csv", signature)


def row_of(file: LandedFile, **changes: object) -> LedgerRow:
    row = LedgerRow(
        feed="notes",
        partition_key=file.partition_key,
        source_file=file.name,
        size_bytes=file.signature.size_bytes,
        mtime_ns=file.signature.mtime_ns,
        ctime_ns=file.signature.ctime_ns,
        inode=file.signature.inode,
    )
    return row._replace(**changes)


def plan_of(*files: LandedFile, ledger: tuple[LedgerRow, ...] = ()) -> Plan:
    return reconcile(
        Listing(files={file.partition_key: file for file in files}),
        {row.partition_key: row for row in ledger},
        settle_seconds=2.0,
        now_ns=LATER_NS,
    )


def actions(plan: Plan) -> Mapping[str, Action]:
    return {key: step.action for key, step in plan.steps.items()}


def test_a_file_that_the_ledger_does_not_know_is_new() -> None:
    plan = plan_of(file_of())
    assert actions(plan) == {"a": Action.NEW}
    assert plan.steps["a"].file == file_of()
    assert plan.steps["a"].ledger_row is None


def test_a_file_with_the_signature_of_the_ledger_is_identical() -> None:
    plan = plan_of(file_of(), ledger=(row_of(file_of()),))
    assert actions(plan) == {"a": Action.IDENTICAL}
    assert plan.steps["a"].ledger_row == row_of(file_of())


def test_a_refused_file_stays_rejected_while_its_signature_stays() -> None:
    row = row_of(file_of(), status=LoadStatus.REJECTED)
    assert actions(plan_of(file_of(), ledger=(row,))) == {"a": Action.REJECTED}


@pytest.mark.parametrize("status", LoadStatus)
@pytest.mark.parametrize(
    "change",
    [
        {"size_bytes": 11},
        {"mtime_ns": 21},
        {"ctime_ns": 31 * 10**9},
        {"inode": 41},
        {"source_file": "other.csv"},
    ],
)
def test_a_file_is_changed_if_any_part_of_the_signature_or_its_name_is_another(
    change: dict[str, object], status: LoadStatus
) -> None:
    row = row_of(file_of(), status=status, **change)
    assert actions(plan_of(file_of(), ledger=(row,))) == {"a": Action.CHANGED}


def test_a_file_that_is_gone_is_missing_and_keeps_its_ledger_row() -> None:
    row = row_of(file_of())
    plan = plan_of(ledger=(row,))
    assert actions(plan) == {"a": Action.MISSING}
    assert plan.steps["a"].ledger_row == row
    assert plan.steps["a"].file is None


def test_a_key_whose_files_collide_is_unusable_and_not_loaded() -> None:
    refused = PassedOver("a.csv", "several files stand for one partition key: A.csv, a.csv", "a")
    plan = reconcile(Listing(refused=[refused]), {"a": row_of(file_of())})
    assert actions(plan) == {"a": Action.UNUSABLE}
    assert plan.refused == [refused]


@pytest.mark.parametrize(
    ("now_s", "action"), [(31, Action.UNSETTLED), (32, Action.NEW), (29, Action.UNSETTLED)]
)
def test_a_new_file_waits_until_it_is_settled(now_s: int, action: Action) -> None:
    listing = Listing(files={"a": file_of()})
    plan = reconcile(listing, {}, settle_seconds=2.0, now_ns=now_s * 10**9)
    assert actions(plan) == {"a": action}


def test_a_changed_file_waits_until_it_is_settled() -> None:
    ledger = {"a": row_of(file_of(), size_bytes=9)}
    plan = reconcile(Listing(files={"a": file_of()}), ledger, settle_seconds=2.0, now_ns=31 * 10**9)
    assert actions(plan) == {"a": Action.UNSETTLED}


@pytest.mark.parametrize(
    ("lacks_marker", "now_s", "is_settling"),
    [
        ((), 31, False),
        ((False,), 31, True),
        ((False, True), 31, True),
        ((True,), 31, False),
        ((False, False), 32, False),
    ],
)
def test_waiting_helps_a_file_that_is_written_and_not_one_without_its_marker(
    lacks_marker: tuple[bool, ...], now_s: int, is_settling: bool
) -> None:
    files = {
        key: file_of(key)._replace(lacks_marker=lacks)
        for key, lacks in zip("ab", lacks_marker, strict=False)
    }
    plan = reconcile(Listing(files=files), {}, settle_seconds=2.0, now_ns=now_s * 10**9)
    assert plan.is_settling is is_settling


@pytest.mark.parametrize(
    ("status", "action"),
    [(LoadStatus.LOADED, Action.IDENTICAL), (LoadStatus.REJECTED, Action.REJECTED)],
)
def test_a_file_that_the_ledger_knows_does_not_have_to_settle(
    status: LoadStatus, action: Action
) -> None:
    ledger = {"a": row_of(file_of(), status=status)}
    plan = reconcile(Listing(files={"a": file_of()}), ledger, settle_seconds=2.0, now_ns=31 * 10**9)
    assert actions(plan) == {"a": action}


def test_a_plan_gives_keys_and_files_by_action() -> None:
    files = [file_of(key) for key in "abcd"]
    ledger = (
        row_of(files[1]),
        row_of(files[2], size_bytes=9),
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
    plan = reconcile(Listing(ignored=[ignored], refused=[refused]), {})
    assert (plan.ignored, plan.refused, plan.steps) == ([ignored], [refused], {})


def touched_plan(bench: Workbench, **ledger: object) -> Plan:
    """A plan for a landed file whose size and content, but not its times, the ledger knows."""
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    listing = list_landed_files(NOTES, bench.landing_dir)
    file = listing.files["a"]
    row = row_of(file, mtime_ns=1, sha256=hash_landed_file(file))
    return reconcile(listing, {"a": row._replace(**ledger)})


@pytest.mark.parametrize(
    ("status", "action"),
    [(LoadStatus.LOADED, Action.IDENTICAL), (LoadStatus.REJECTED, Action.REJECTED)],
)
def test_a_touched_file_is_what_it_was_before(
    bench: Workbench, status: LoadStatus, action: Action
) -> None:
    plan = touched_plan(bench, status=status)
    assert actions(plan) == {"a": Action.CHANGED}
    touched = find_touched(plan, max_bytes=1_000)
    assert actions(plan) == {"a": action}
    assert touched == list(plan.steps.values())


def test_a_file_with_another_content_of_the_same_size_is_changed(bench: Workbench) -> None:
    plan = touched_plan(bench, sha256="0" * 64)
    assert find_touched(plan, max_bytes=1_000) == []
    assert actions(plan) == {"a": Action.CHANGED}


def test_a_file_of_another_size_is_not_read(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = touched_plan(bench, size_bytes=11)
    monkeypatch.setattr(reconcile_module, "hash_landed_file", None)
    assert find_touched(plan, max_bytes=1_000) == []
    assert actions(plan) == {"a": Action.CHANGED}


def test_a_new_file_is_never_only_touched(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.land(NOTES, "a.csv", "id,note\n")
    plan = reconcile(list_landed_files(NOTES, bench.landing_dir), {})
    monkeypatch.setattr(reconcile_module, "hash_landed_file", None)
    assert find_touched(plan, max_bytes=1_000) == []
    assert actions(plan) == {"a": Action.NEW}


def test_only_so_many_bytes_are_read_to_find_touched_files(bench: Workbench) -> None:
    assert find_touched(touched_plan(bench), max_bytes=11) == []
    assert len(find_touched(touched_plan(bench), max_bytes=12)) == 1


def test_a_file_that_changes_meanwhile_stays_changed(bench: Workbench) -> None:
    plan = touched_plan(bench)
    bench.land(NOTES, "a.csv", "id,note\n1,y\n")
    assert find_touched(plan, max_bytes=1_000) == []
    assert actions(plan) == {"a": Action.CHANGED}
