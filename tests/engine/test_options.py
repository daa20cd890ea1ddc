"""Options of a feed: order of columns, infinite numbers, empty files, markers, missing files."""

import gzip
import logging
import os
from typing import Any

import dagster as dg
import pytest

from partitioned_etl.components.ranges import range_tags
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.engine.contract import BadRows, Column, RowRule
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.plan import compare, find_removable
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.define import define_feed
from support.workbench import NOTES, Workbench, change_feed, land_numbers, loaded_numbers

ANY_ORDER = change_feed(NOTES, format=CsvFormat(any_column_order=True))


def test_columns_in_another_order_are_loaded_by_name(bench: Workbench) -> None:
    bench.land(ANY_ORDER, "a.csv", "note,id\nx,1\n")
    bench.land(ANY_ORDER, "b.csv", "id,note\n2,y\n")
    bench.land(ANY_ORDER, "c.csv", 'note,id\n"3",3\n')
    bench.land(ANY_ORDER, "d.csv", "note,id\n4,y\n")
    outcomes = bench.load(ANY_ORDER)
    assert {key: outcome.reason for key, outcome in outcomes.items()} == {
        "a": "",
        "b": "",
        "c": "",
        "d": "d.csv: line 2, column id: not a BIGINT",
    }
    assert bench.rows(ANY_ORDER) == [
        (1, "x", "a", "a.csv"),
        (2, "y", "b", "b.csv"),
        (3, "3", "c", "c.csv"),
    ]


def test_texts_of_another_order_are_not_mixed_up_without_a_type_to_tell(bench: Workbench) -> None:
    feed = change_feed(ANY_ORDER, columns={"first": "VARCHAR", "last": "VARCHAR"})
    bench.land(feed, "a.csv", "last,first\nDent,Arthur\n")
    bench.land(feed, "b.csv", "first,last\nFord,Prefect\n")
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [("Arthur", "Dent"), ("Ford", "Prefect")]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("note", "line 1: header: column id is missing"),
        ("note,id,x", "line 1: header: 1 column name(s) that the feed does not have"),
        ("note,id,id", "line 1: header: column id is there more than once"),
        (
            "note,ID",
            "line 1: header: column id is missing: "
            "one differs in white space or in small and capital letters",
        ),
    ],
)
def test_in_any_order_a_header_still_has_each_column_once(
    bench: Workbench, header: str, problem: str
) -> None:
    bench.land(ANY_ORDER, "a.csv", f"{header}\n{','.join('1' * len(header.split(',')))}\n")
    assert bench.load(ANY_ORDER)["a"].reason == f"a.csv: {problem}"
    assert bench.rows(ANY_ORDER) == []


def test_the_order_of_the_columns_matters_by_default(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", "note,id\n1,1\n")
    reason = bench.load(NOTES)["a"].reason
    assert reason == "a.csv: line 1: header: the columns are not in the order id, note"
    assert bench.rows(NOTES) == []


NUMBERS = change_feed(
    NOTES,
    columns={"finite": "DOUBLE", "any": "DOUBLE", "small": "FLOAT"},
    non_finite_columns=("any", "small"),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inf", "inf"),
        ("-Infinity", "-inf"),
        ("NaN", "nan"),
        ("nan", "nan"),
        ("1e999", "inf"),
        ("-1e999", "-inf"),
    ],
)
def test_numbers_that_are_not_finite_are_values_only_where_the_feed_says_so(
    bench: Workbench, text: str, value: str
) -> None:
    bench.land(NUMBERS, "a.csv", f"finite,any,small\n1,{text},{text}\n")
    bench.land(NUMBERS, "b.csv", f"finite,any,small\n{text},1,1\n")
    outcomes = bench.load(NUMBERS)
    assert outcomes["a"].reason == ""
    assert outcomes["b"].reason == "b.csv: line 2, column finite: not a DOUBLE"
    found = bench.query('SELECT partition_key, "any"::VARCHAR, small::VARCHAR FROM raw_notes')
    assert found == [("a", value, value)]


@pytest.mark.parametrize("text", ["x", " inf", "inf ", "1_0", "infinite", "1e"])
def test_a_text_that_is_no_number_is_refused_in_every_column(bench: Workbench, text: str) -> None:
    bench.land(NUMBERS, "a.csv", f"finite,any,small\n1,{text},1\n")
    assert bench.load(NUMBERS)["a"].reason == "a.csv: line 2, column any: not a DOUBLE"
    assert bench.rows(NUMBERS) == []


NOT_EMPTY = change_feed(NOTES, allow_empty=False)


@pytest.mark.parametrize("content", ["id,note\n", "\ufeffid,note\r\n", '"id","note"\n'])
@pytest.mark.parametrize("bad_rows", BadRows)
def test_a_file_without_rows_is_refused_where_the_feed_says_so(
    bench: Workbench, content: str, bad_rows: BadRows
) -> None:
    feed = change_feed(NOT_EMPTY, bad_rows=bad_rows)
    bench.land(feed, "a.csv", "id,note\n1,x\n")
    assert bench.load(feed)["a"].row_count == 1
    bench.land(feed, "a.csv", content)
    assert bench.load(feed)["a"].reason == "a.csv: the file has no rows"
    assert bench.rows(feed) == [(1, "x", "a", "a.csv")]
    bench.load(change_feed(feed, allow_empty=True))
    assert bench.rows(feed) == []


WITH_MARKER = change_feed(NOTES, done_suffix=".done")


def test_a_file_is_loaded_only_with_its_marker(bench: Workbench) -> None:
    for key in ("a", "b"):
        bench.land(WITH_MARKER, f"{key}.csv", "id,note\n1,x\n")
    bench.land(WITH_MARKER, "b.csv.done", "")
    bench.land(WITH_MARKER, "c.csv.done", "")
    report = bench.sync(WITH_MARKER)
    assert [record.partition_key for record in report.loaded] == ["b"]
    assert [(one.source_file, one.reason) for one in report.ignored] == [
        ("a.csv", "its marker file has not landed")
    ]
    assert bench.rows(WITH_MARKER) == [(1, "x", "b", "b.csv")]
    bench.land(WITH_MARKER, "a.csv.done", "")
    bench.sync(WITH_MARKER)
    assert [row[2] for row in bench.rows(WITH_MARKER)] == ["a", "b"]


def test_a_marker_is_never_a_landed_file_nor_passed_over(bench: Workbench) -> None:
    feed = change_feed(NOTES, pattern="{key}", done_suffix=".done")
    bench.land(feed, "a", "id,note\n1,x\n")
    bench.land(feed, "a.done", "id,note\n2,marker\n")
    bench.land(feed, "b.done", "id,note\n3,marker\n")
    listing = bench.landing.list_files(feed)
    assert list(listing.files) == ["a"]
    assert (listing.ignored, listing.refused) == ([], [])
    bench.sync(feed)
    assert bench.rows(feed) == [(1, "x", "a", "a")]


def test_the_marker_of_a_compressed_file_has_its_whole_name(bench: Workbench) -> None:
    bench.land(WITH_MARKER, "a.csv.gz", gzip.compress(b"id,note\n1,x\n", mtime=0))
    bench.land(WITH_MARKER, "a.csv.done", "")
    assert bench.sync(WITH_MARKER).loaded == []
    bench.land(WITH_MARKER, "a.csv.gz.done", "")
    bench.sync(WITH_MARKER)
    assert bench.rows(WITH_MARKER) == [(1, "x", "a", "a.csv.gz")]


def test_a_changed_file_is_loaded_while_its_marker_lies_there(bench: Workbench) -> None:
    bench.land(WITH_MARKER, "a.csv", "id,note\n1,x\n")
    marker = bench.land(WITH_MARKER, "a.csv.done", "")
    bench.sync(WITH_MARKER)
    bench.land(WITH_MARKER, "a.csv", "id,note\n2,x\n")
    bench.sync(WITH_MARKER)
    assert [row[0] for row in bench.rows(WITH_MARKER)] == [2]
    marker.unlink()
    assert [record.rows for record in bench.sync(WITH_MARKER).unchanged] == [1]
    bench.land(WITH_MARKER, "a.csv", "id,note\n3,x\n")
    bench.sync(WITH_MARKER)
    assert [row[0] for row in bench.rows(WITH_MARKER)] == [2]


def test_an_asset_loads_only_files_with_their_markers_too(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDING_DIR", str(bench.landing_dir))
    monkeypatch.setenv("DUCKDB_DATABASE", str(bench.database))
    monkeypatch.setenv("SETTLE_SECONDS", "0")
    for key in ("a", "b"):
        bench.land(WITH_MARKER, f"{key}.csv", "id,note\n1,x\n")
    bench.land(WITH_MARKER, "b.csv.done", "")
    defined = define_feed(WITH_MARKER, partitions_def=dg.DynamicPartitionsDefinition(name="notes"))
    landing = LandingResource()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("notes", ["a", "b"])
        result = dg.materialize(
            [defined.definition],
            instance=instance,
            tags=range_tags(["a", "b"]),
            resources={"landing": landing, "warehouse": WarehouseResource(landing=landing)},
            raise_on_error=False,
        )
    assert not result.success
    assert bench.rows(WITH_MARKER) == [(1, "x", "b", "b.csv")]
    failure = result.failure_data_for_node("load_notes")
    assert "a.csv: its marker file has not landed" in str(failure)


OTHER_CONTRACTS: dict[str, Any] = {
    "a rule": {"row_rules": (RowRule(name="r", column="id", expression="true", reason=""),)},
    "a dialect": {"format": CsvFormat(any_column_order=True)},
    "no empty files": {"allow_empty": False},
    "quarantine": {"bad_rows": "quarantine", "max_rejected_rows": 0},
    "a limit": {"max_rejected_percent": 99},
    "a size": {"max_uncompressed_bytes": 1000},
}
NO_CONTRACTS: dict[str, Any] = {
    "a description": {"description": "x"},
    "what becomes of missing files": {"on_missing": "remove"},
    "a marker": {"done_suffix": ""},
    "the same columns": {"columns": dict(NOTES.columns)},
    "what a column holds": {
        "columns": {**NOTES.columns, "note": Column(type="VARCHAR", description="x")}
    },
}


@pytest.mark.parametrize(
    ("change", "is_judged_again"),
    [
        *((change, True) for change in OTHER_CONTRACTS.values()),
        *((change, False) for change in NO_CONTRACTS.values()),
    ],
    ids=[*OTHER_CONTRACTS, *NO_CONTRACTS],
)
def test_a_refused_file_is_judged_again_when_the_contract_changes_and_only_then(
    bench: Workbench, change: dict[str, Any], is_judged_again: bool
) -> None:
    bench.land(NOTES, "a.csv", "id,note\nx,1\n")
    bench.land(NOTES, "b.csv", "id,note\n1,1\n")
    bench.sync(NOTES)
    changed = change_feed(NOTES, **change)
    before = bench.ledger(NOTES)
    plan = compare(changed, bench.landing.list_files(changed), before)
    assert {name: step.action.value for name, step in plan.steps.items()} == {
        "a.csv": "changed" if is_judged_again else "refused",
        "b.csv": "identical",
    }
    report = bench.sync(changed)
    assert [record.partition_key for record in report.refused] == ["a"]
    assert [record.partition_key for record in report.unchanged] == ["b"]
    after = bench.ledger(changed).rows
    assert (after["a.csv"].contract != before.rows["a.csv"].contract) is is_judged_again
    assert after["b.csv"] == before.rows["b.csv"]
    assert bench.sync(changed).loaded == []


def test_a_refused_file_that_a_new_contract_allows_is_loaded(bench: Workbench) -> None:
    path = bench.land(NOTES, "a.csv", "note,id\nx,1\n")
    bench.sync(NOTES)
    assert bench.ledger(NOTES).rows["a.csv"].status == LoadStatus.REFUSED
    os.utime(path, ns=(1, 1))
    report = bench.sync(ANY_ORDER)
    assert [record.partition_key for record in report.loaded] == ["a"]
    assert bench.rows(ANY_ORDER) == [(1, "x", "a", "a.csv")]


@pytest.mark.parametrize("on_missing", OnMissing)
def test_a_file_under_a_new_name_is_loaded_with_a_warning(
    bench: Workbench, on_missing: OnMissing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    feed = change_feed(NOTES, on_missing=on_missing)
    for number, key in enumerate("ab"):
        land_numbers(bench, key, number)
    path = land_numbers(bench, "c", 2)
    bench.sync(feed)
    assert not caplog.records
    path.rename(path.with_name("d.csv"))
    report = bench.sync(feed)
    warning = "d.csv: has the same content as c.csv"
    assert [(one.partition_key, one.reason) for one in report.loaded] == [("d", warning)]
    assert [record.getMessage() for record in caplog.records] == [f"feed notes: {warning}"]
    removed = on_missing is OnMissing.REMOVE
    assert [record.partition_key for record in report.removed] == ["c"] * removed
    kept = {} if removed else {"c": [2]}
    assert loaded_numbers(bench) == {"a": [0], "b": [1], "d": [2]} | kept
    assert bench.sync(feed).loaded == []


def test_copies_that_land_together_are_each_loaded_and_name_each_other(bench: Workbench) -> None:
    for key in "abcde":
        land_numbers(bench, key, 1)
    outcomes = bench.load(NOTES)
    assert outcomes["a"].warning == "a.csv: has the same content as b.csv, c.csv, d.csv"
    assert outcomes["e"].warning == "e.csv: has the same content as a.csv, b.csv, c.csv"
    assert loaded_numbers(bench) == {key: [1] for key in "abcde"}


def test_of_many_warnings_a_few_are_logged_and_each_is_with_its_file(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(30):
        land_numbers(bench, f"k{number:02}", 1)
    outcomes = bench.load(NOTES)
    assert all("has the same content" in outcome.warning for outcome in outcomes.values())
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 21
    assert messages[-1] == "feed notes: 10 more files have such a warning; see their partitions"


def test_files_without_rows_and_reloads_are_no_copies(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    for key in "bc":
        bench.land(NOTES, f"{key}.csv", "id,note\n")
    bench.load(NOTES)
    assert {outcome.warning for outcome in bench.load(NOTES).values()} == {""}


REMOVE = change_feed(NOTES, on_missing=OnMissing.REMOVE)


@pytest.mark.parametrize(
    ("known", "gone", "is_removed"),
    [(2, 1, True), (4, 2, True), (3, 1, True), (3, 2, False), (3, 3, False), (1, 1, False)],
)
def test_at_most_half_of_the_partitions_are_removed_with_their_files(
    bench: Workbench, known: int, gone: int, is_removed: bool
) -> None:
    paths = [land_numbers(bench, f"k{number}", number) for number in range(known)]
    bench.sync(REMOVE)
    for path in paths[:gone]:
        path.unlink()
    report = bench.sync(REMOVE)
    left = range(gone if is_removed else 0, known)
    assert loaded_numbers(bench) == {f"k{number}": [number] for number in left}
    assert list(bench.ledger(REMOVE).rows) == [f"k{number}.csv" for number in left]
    assert len(report.removed) == (gone if is_removed else 0)
    if not is_removed:
        told = [record.reason for record in report.unchanged if record.reason]
        assert (
            told
            == [
                "the file is gone; rows are kept: "
                f"{gone} of {known} files are gone, more than half: nothing is removed. Is the "
                "folder mounted? If they were deleted on purpose, run the reconcile job "
                "with allow_most"
            ]
            * gone
        )


def test_a_folder_that_is_gone_removes_nothing_and_all_is_well_when_it_is_back(
    bench: Workbench,
) -> None:
    for number in range(3):
        land_numbers(bench, f"k{number}", number)
    bench.sync(REMOVE)
    folder = bench.landing_dir / REMOVE.folder
    folder.rename(bench.root / "unmounted")
    report = bench.sync(REMOVE)
    assert report.removed == []
    assert len(loaded_numbers(bench)) == 3
    (bench.root / "unmounted").rename(folder)
    assert len(bench.sync(REMOVE).unchanged) == 3
    assert loaded_numbers(bench) == {"k0": [0], "k1": [1], "k2": [2]}


def test_more_than_half_goes_when_somebody_has_looked(bench: Workbench) -> None:
    paths = [land_numbers(bench, f"k{number}", number) for number in range(2)]
    bench.sync(REMOVE)
    for path in paths:
        path.unlink()
    plan = compare(REMOVE, bench.landing.list_files(REMOVE), bench.ledger(REMOVE))
    assert find_removable(REMOVE, plan).keys == []
    assert find_removable(REMOVE, plan, allow_most=True).keys == ["k0", "k1"]
    assert find_removable(NOTES, plan, allow_most=True).keys == []


def test_a_partition_whose_names_collide_is_not_gone(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 2)
    bench.sync(REMOVE)
    bench.land(REMOVE, "A.csv", "id,note\n3,x\n")
    assert bench.sync(REMOVE).removed == []
    assert loaded_numbers(bench) == {"a": [1], "b": [2]}


def test_a_removed_partition_whose_file_comes_back_is_loaded(bench: Workbench) -> None:
    path = land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 2)
    bench.sync(REMOVE)
    path.rename(bench.root / "aside.csv")
    bench.sync(REMOVE)
    assert loaded_numbers(bench) == {"b": [2]}
    (bench.root / "aside.csv").rename(path)
    bench.sync(REMOVE)
    assert loaded_numbers(bench) == {"a": [1], "b": [2]}


@pytest.mark.parametrize(
    ("key_pattern", "accepted", "refused"),
    [
        (r"[A-Z]{3}", ["ABC"], ["abc", "ABCD", "AB", "ABC\n"]),
        (r"\d+", ["7", "0042"], ["x", "7a"]),
        (r"(?s).+", ["a b", "é", "a\nb", ".x"], []),
        (Feed.model_fields["key_pattern"].default, ["a.b-c_1"], ["a b", "é", ".x"]),
    ],
)
def test_the_keys_that_a_feed_accepts_are_its_own_choice(
    bench: Workbench, key_pattern: str, accepted: list[str], refused: list[str]
) -> None:
    feed = change_feed(NOTES, key_pattern=key_pattern, pattern="x-{key}.csv")
    for key in accepted + refused:
        bench.land(feed, f"x-{key}.csv", "id,note\n1,x\n")
    report = bench.sync(feed)
    assert sorted(record.partition_key for record in report.loaded) == sorted(accepted)
    assert sorted(row[2] for row in bench.rows(feed)) == sorted(accepted)
    assert len(report.refused) == len(refused)
    for record in report.refused:
        assert f"that feed notes allows ({key_pattern})" in record.reason
