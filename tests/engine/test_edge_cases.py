"""What once went wrong, with the input that showed it: odd names, rules, encodings, moments."""

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine import diagnose, sync
from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.errors import (
    FeedDefinitionError,
    LandedFileError,
    SettingError,
    WarehouseError,
    WarehouseLockedError,
)
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.format import MAX_PROBLEMS
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.settings import Settings
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from support.workbench import NOTES, Workbench, change_feed, land_numbers, loaded_numbers

HEADER = "id,note\n"
WIDE = "\U0001f600" * 900_000
"""3.6 MB in less than a million characters."""


def with_rule(expression: str) -> Feed:
    """Give the notes feed with a row rule."""
    return change_feed(
        NOTES, row_rules=(RowRule(name="rule", column="id", expression=expression, reason="no"),)
    )


def in_threads(count: int, work: Callable[[], object]) -> list[BaseException]:
    """Do some work in several threads at the same moment, and give what they raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        try:
            work()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_folder_named_like_a_column_does_not_change_the_rows(tmp_path: Path) -> None:
    odd = Workbench(tmp_path / "note=evil")
    odd.root.mkdir()
    land_numbers(odd, "a", 1)
    odd.load(NOTES)
    assert odd.rows(NOTES) == [(1, "x", "a", "a.csv")]


@pytest.mark.parametrize(
    ("expression", "bad_row"),
    [("CAST(note AS INT) > 0", "1,Zaphod"), ("id * id > 0", "9223372036854775807,7")],
)
def test_a_row_rule_that_cannot_be_evaluated_refuses_only_its_file(
    bench: Workbench, expression: str, bad_row: str
) -> None:
    feed = with_rule(expression)
    bench.land(feed, "bad.csv", HEADER + "1,7\n")
    bench.load(feed)
    bench.land(feed, "bad.csv", f"{HEADER}{bad_row}\n")
    bench.land(feed, "good.csv", HEADER + "2,7\n")
    outcomes = bench.load(feed)
    assert "a row rule cannot be evaluated" in outcomes["bad"].reason
    assert "Zaphod" not in outcomes["bad"].reason
    assert sorted(bench.rows(feed)) == [(1, "7", "bad", "bad.csv"), (2, "7", "good", "good.csv")]


def test_a_record_beyond_duckdbs_limit_is_refused_with_its_line_and_alone(
    bench: Workbench,
) -> None:
    land_numbers(bench, "good", 1)
    bench.land(NOTES, "bad.csv", f'{HEADER}1,"{WIDE}"\n')
    outcome = bench.load(NOTES)["bad"]
    assert outcome.problems[0].line == 2
    assert loaded_numbers(bench) == {"good": [1]}


@pytest.mark.parametrize("name", ["data [prod]", "a*b", "why?"])
def test_a_landing_directory_that_duckdb_takes_for_a_pattern_is_refused(
    tmp_path: Path, name: str
) -> None:
    odd = Workbench(tmp_path / name)
    odd.root.mkdir()
    land_numbers(odd, "a", 1)
    with pytest.raises(LandedFileError, match="for a pattern"):
        odd.load(NOTES)


def test_a_file_that_cannot_be_opened_is_tried_three_times_and_reported(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 2)
    opened, tries = os.open, 0

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        nonlocal tries
        if os.fspath(path).endswith("a.csv"):
            tries += 1
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    report = sync.sync_feed(NOTES, bench.landing_dir, bench.database, settle_seconds=0)
    assert tries == 3
    assert [record.partition_key for record in report.loaded] == ["b"]
    assert [record.reason for record in report.refused] == [
        "a.csv: cannot be opened: Permission denied"
    ]


def test_a_bad_file_that_changes_while_its_problems_are_looked_for_does_not_stop_the_batch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.land(NOTES, "a.csv", HEADER + "1.5,x\n")
    land_numbers(bench, "b", 1)
    original = diagnose.validate_file

    def change(*args: Any, **options: Any) -> Any:
        path.write_bytes(b"id,note\n7,changed\n")
        return original(*args, **options)

    monkeypatch.setattr(diagnose, "validate_file", change)
    bench.load(NOTES)
    assert loaded_numbers(bench) == {"b": [1]}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_byte_order_mark_is_refused(bench: Workbench, encoding: str) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding="utf-16"))
    bench.land(feed, "a.csv", (HEADER + "1,x\n").encode(encoding))
    assert bench.load(feed)["a"].reason
    assert bench.rows(feed) == []


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-16", "\ufeffid,note\n1,x\n".encode("utf-16-be")),
        ("utf-16", "id,note\n1,\U0001f600\n".encode("utf-16")),
        ("latin-1", b"id,note\n1,\x80\n"),
    ],
    ids=["big endian", "beyond the BMP", "C1 control"],
)
def test_a_text_that_duckdb_does_not_decode_itself_is_loaded(
    bench: Workbench, encoding: str, content: bytes
) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding=encoding, encoding_is_certain=True))
    bench.land(feed, "a.csv", content)
    bench.land(feed, "b.csv", "id,note\n2,é\n".encode(encoding))
    assert bench.load(feed)["a"].reason == ""
    text = content.decode(encoding).splitlines()[1].removeprefix("1,")
    assert bench.rows(feed) == [(1, text, "a", "a.csv"), (2, "é", "b", "b.csv")]


def test_a_bad_byte_after_a_byte_order_mark_has_its_line(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", b"\xef\xbb\xbfid,note\n\xff\n")
    assert bench.load(NOTES)["a"].problems[0].line == 2


def test_columns_may_have_the_names_that_statements_use(bench: Workbench) -> None:
    feed = change_feed(NOTES, columns={"landed_path": "BIGINT", "filename": "VARCHAR"})
    for name in ("a.csv", "b.csv"):
        bench.land(feed, name, "landed_path,filename\n1,x\n")
    bench.load(feed)
    assert sorted(bench.rows(feed)) == [(1, "x", "a", "a.csv"), (1, "x", "b", "b.csv")]


@pytest.mark.parametrize(
    "declared",
    [
        {"pattern": "{date:%Y-%m-%d}-{time}.csv"},
        {"partitioning": "weekly"},
        {"key_pattern": "["},
    ],
    ids=str,
)
def test_a_declaration_that_cannot_work_is_refused_when_it_is_made(
    declared: dict[str, Any],
) -> None:
    with pytest.raises(FeedDefinitionError):
        change_feed(NOTES, **declared)


def test_a_type_that_no_file_can_be_read_into_is_refused_when_it_is_declared() -> None:
    with pytest.raises(FeedDefinitionError, match=r"column id: .*BLOB"):
        change_feed(NOTES, columns={"id": "BLOB", "note": "VARCHAR"})


def test_a_year_nought_is_refused(bench: Workbench) -> None:
    feed = change_feed(NOTES, columns={"id": "DATE", "note": "VARCHAR"})
    bench.land(feed, "a.csv", f"{HEADER}0000-01-01,x\n")
    assert "line 2, column id: not a DATE" in bench.load(feed)["a"].reason


def test_an_error_about_a_path_with_lock_in_it_is_no_lock(bench: Workbench) -> None:
    database = bench.root / "blocks" / "x.duckdb"
    database.mkdir(parents=True)
    with pytest.raises(WarehouseError) as failed, DuckDBFile(database).open(bench.root):
        pass
    assert not isinstance(failed.value, WarehouseLockedError)


def test_a_feed_folder_that_is_linked_out_of_the_landing_directory_is_refused(
    bench: Workbench,
) -> None:
    outside = bench.root / "outside"
    outside.mkdir()
    bench.landing_dir.mkdir()
    (bench.landing_dir / "notes").symlink_to(outside)
    with pytest.raises(LandedFileError, match="is linked out of"):
        bench.sync(NOTES)


def test_first_loads_of_several_threads_all_end_well(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    files = bench.list_files(NOTES)

    def load() -> None:
        with bench.open_table(NOTES) as table:
            load_files(table, bench.landing, files)

    with bench.connect():
        assert in_threads(4, load) == []
    assert loaded_numbers(bench) == {"a": [1]}


def test_threads_that_connect_at_the_same_moment_all_get_the_sandbox(bench: Workbench) -> None:
    bench.landing_dir.mkdir()

    def look() -> None:
        with bench.connect(lock_wait_seconds=30) as connection:
            locked = connection.execute("SELECT current_setting('lock_configuration')").fetchone()
            assert locked == (True,)

    for _ in range(20):
        assert in_threads(4, look) == []


def test_loaded_at_is_utc_in_every_time_zone(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        land_numbers(bench, "a", 1)
        bench.load(NOTES)
        loaded_at = bench.ledger(NOTES).rows["a.csv"].loaded_at
    time.tzset()
    assert loaded_at is not None
    assert loaded_at.utcoffset() == timedelta(0)


def test_a_record_of_several_lines_with_a_field_too_many_is_named_as_such(
    bench: Workbench,
) -> None:
    bench.land(NOTES, "a.csv", HEADER + '1,"x\ny",3\n2,z\n')
    outcome = bench.load(NOTES)["a"]
    assert [str(problem) for problem in outcome.problems] == ["line 2: 3 fields instead of 2"]


def test_no_more_problems_are_told_than_the_limit(bench: Workbench) -> None:
    feed = change_feed(NOTES, columns={"id": "BIGINT", "note": "BIGINT"})
    bench.land(feed, "a.csv", HEADER + "x,y\n" * 30)
    assert len(bench.load(feed)["a"].problems) == MAX_PROBLEMS


def test_files_are_listed_in_the_order_of_their_keys(bench: Workbench) -> None:
    for name in ("a.csv", "B.csv", "c.csv"):
        bench.land(NOTES, name, HEADER)
    assert list(bench.landing.list_files(NOTES).files) == ["B.csv", "a.csv", "c.csv"]


def test_a_home_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDING_DIR", "~nobody-at-all/x")
    with pytest.raises(SettingError, match="LANDING_DIR"):
        Settings()


def test_a_table_that_was_dropped_is_filled_again_from_all_files(bench: Workbench) -> None:
    for key, number in (("a", 1), ("b", 2)):
        land_numbers(bench, key, number)
    bench.sync(NOTES)
    with bench.connect() as connection:
        connection.execute(f"DROP TABLE {NOTES.table}")
    land_numbers(bench, "a", 3)
    bench.sync(NOTES)
    assert loaded_numbers(bench) == {"a": [3], "b": [2]}


def test_feeds_that_share_a_table_claim_the_same_for_themselves_alone() -> None:
    other = change_feed(NOTES, name="other", folder="other", table=NOTES.table.upper())
    assert NOTES.claims.items() & other.claims.items() == {("table", "raw_notes")}
    assert not NOTES.claims.items() & change_feed(other, table="another").claims.items()


def test_a_feed_may_not_load_into_the_ledger() -> None:
    with pytest.raises(FeedDefinitionError, match="one of this package's own"):
        change_feed(NOTES, table="File_Loads")


def test_a_refusal_names_every_rule_and_the_types_first(bench: Workbench) -> None:
    feed = with_rule("id > 0")
    rows = "-1,x\n" * 5 + "y,x\n"
    bench.land(feed, "a.csv", HEADER + rows)
    reason = bench.load(feed)["a"].reason
    assert reason.startswith("a.csv: line 2, column id: no (rule); line 7, column id: not a BIGINT")
    assert bench.ledger(feed).rows["a.csv"].broken_rules == ("contract", "rule")


@pytest.mark.parametrize(
    ("row", "rules"), [("-1,x", ("rule",)), ("y,x", ("contract",)), ("1", ("contract",))]
)
def test_a_refusal_is_told_by_its_kind(bench: Workbench, row: str, rules: tuple[str, ...]) -> None:
    feed = with_rule("id > 0")
    bench.land(feed, "a.csv", HEADER + f"{row}\n" * 6)
    bench.load(feed)
    assert bench.ledger(feed).rows["a.csv"].broken_rules == rules
