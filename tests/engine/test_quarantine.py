"""Quarantine: bad rows go to `rejected_rows` while the good ones load, or the file is refused."""

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine import diagnose, failpoints
from partitioned_etl.engine.contract import BadRows, RowRule
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import text as text_format
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.format import MAX_PROBLEMS
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.reconcile import DifferenceKind, compare_table, reconcile_table
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.scale import try_examples
from support.workbench import NO_LINE_END, Workbench, at_moment, change_feed

FEED = Feed(
    name="readings",
    folder="readings",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "value": "DOUBLE", "note": "VARCHAR"},
    table="readings",
    row_rules=(
        RowRule(name="value_is_small", column="value", expression="value < 100", reason="too big"),
        RowRule(name="id_is_set", column="id", expression="id IS NOT NULL", reason="not set"),
    ),
    bad_rows=BadRows.QUARANTINE,
    max_rejected_percent=100,
)
OTHER = change_feed(FEED, name="others", folder="others", table="others")
HEADER = "id,value,note\n"
WIDTH, LINE_END = "2 fields instead of 3", "another line end than the header"


def rejected(bench: Workbench, feed: Feed = FEED) -> list[tuple[Any, ...]]:
    return bench.query(
        "SELECT partition_key, source_file, line, column_name, reason, raw_line "
        "FROM rejected_rows WHERE feed = ? ORDER BY ALL",
        feed.name,
    )


def numbers(bench: Workbench, feed: Feed = FEED) -> list[int]:
    return [row[0] for row in bench.rows(feed)]


BAD_ROWS = {
    "a field less": ("2,Zaphod\n", "", WIDTH),
    "a field more": ("2,1,Zaphod,x\n", "", "4 fields instead of 3"),
    "a field more after quotes": ('2,1,"Zaphod\nx",y\n', "", "4 fields instead of 3"),
    "a text for a number": ("Zaphod,1,x\n", "id", "not a BIGINT"),
    "a fraction for a whole number": ("1.5,1,Zaphod\n", "id", "not a BIGINT"),
    "infinity": ("2,inf,Zaphod\n", "value", "not a DOUBLE"),
    "two bad values": ("Zaphod,x,y\n", "id", "not a BIGINT; column value: not a DOUBLE"),
    "a broken rule": ("2,100,Zaphod\n", "value", "too big (value_is_small)"),
    "a rule that is NULL": ("2,,Zaphod\n", "value", "too big (value_is_small)"),
    "two broken rules": (
        ",100,Zaphod\n",
        "value",
        "too big (value_is_small); column id: not set (id_is_set)",
    ),
    "a bad value in a field of several lines": ('Zaphod,1,"x\n\ny"\n', "id", "not a BIGINT"),
    "an empty line": ("\n", "", "an empty line"),
    "another line end": ("2,1,Zaphod\r\n", "", LINE_END),
    "a lone carriage return": ("2,1,Za\rphod\n", "", "a carriage return without a line feed"),
}


@pytest.mark.parametrize(("row", "column", "problem"), BAD_ROWS.values(), ids=list(BAD_ROWS))
def test_a_bad_row_is_put_aside_and_the_others_load(
    bench: Workbench, row: str, column: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bench.land(FEED, "a.csv", f'{HEADER}1,1,"x\ny"\n{row}3,1,z\n')
    bench.land(FEED, "b.csv", f"{HEADER}4,1,good\n")
    outcomes = bench.load(FEED)
    assert [each.status for each in outcomes.values()] == [OutcomeStatus.LOADED] * 2
    assert numbers(bench) == [1, 3, 4]
    raw_line = row.removesuffix("\n").removesuffix("\r")
    assert rejected(bench) == [("a", "a.csv", 4, column, problem, raw_line)]
    ledger = bench.ledger(FEED).rows["a.csv"]
    assert (ledger.status, ledger.error) == (LoadStatus.LOADED, None)
    assert (ledger.row_count, ledger.rejected_count, ledger.file_row_count) == (2, 1, 3)
    warning = "a.csv: 1 of 3 rows are bad and went to table rejected_rows"
    assert outcomes["a"].warning == warning
    assert warning in caplog.text
    assert "Zaphod" not in f"{outcomes} {bench.ledger(FEED)} {bench.sync(FEED)} {caplog.text}"


WHOLE = {
    "stray quote": (f'{HEADER}1,1,x\n2,1,Za"phod\n', "line 3: a quote that is not closed, or "
    "stands inside an unquoted field"),
    "unclosed quote": (f'{HEADER}1,1,x\n2,1,"Zaphod\n', "line 3: a quote that is not closed, or "
    "stands inside an unquoted field"),
    "NUL": (f"{HEADER}1,1,x\n2,1,Za\0phod\n", "line 3: a NUL character"),
    "another encoding": (f"{HEADER}1,1,x\n2,1,".encode() + b"Zaphod\xff\n",
    "line 3: the bytes are not utf-8"),
    "a column missing": ("id,note\n1,x\n", "line 1: header: column value is missing"),
    "a header in another order": ("note,id,value\nx,1,1\n",
    "line 1: header: the columns are not in the order id, value, note"),
    "an empty line for a header": ("\n1,1,x\n", "line 1: an empty line"),
    "no line end at the end": (f"{HEADER}1,1,x\n2,1,Zaphod",
    f"line 3: {NO_LINE_END}"),
    "no bytes": ("", "the file is empty"),
    "a record of a million characters": (f"{HEADER}1,1,x\n2,1,{'Zaphod' * 170_000}\n",
    "line 3: a line of over 500,000 characters"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "problem"), WHOLE.values(), ids=list(WHOLE))
def test_what_puts_the_whole_file_in_doubt_refuses_it(
    bench: Workbench, content: str | bytes, problem: str
) -> None:
    bench.land(FEED, "a.csv", f"{HEADER}7,1,x\nold,1,x\n")
    bench.load(FEED)
    before = bench.rows(FEED), rejected(bench)
    bench.land(FEED, "a.csv", content)
    outcome = bench.load(FEED)["a"]
    assert (outcome.status, outcome.reason) == (OutcomeStatus.REFUSED, f"a.csv: {problem}")
    assert "Zaphod" not in outcome.reason
    assert (bench.rows(FEED), rejected(bench)) == before
    row = bench.ledger(FEED).rows["a.csv"]
    assert (row.row_count, row.rejected_count, row.file_row_count) == (1, 1, 2)


@pytest.mark.parametrize("bad", ["2\n", "Zaphod,1,x\n"], ids=["width", "type"])
@pytest.mark.parametrize("batch_rows", [3, 50_000])
def test_a_stray_quote_below_many_bad_rows_refuses_the_file(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, bad: str, batch_rows: int
) -> None:
    monkeypatch.setattr(text_format, "BATCH_ROWS", batch_rows)
    text = f'{HEADER}{bad * (2 * MAX_PROBLEMS)}1,1,"open\n2,1,x\n'
    bench.land(FEED, "a.csv", text)
    outcome = bench.load(FEED)["a"]
    assert outcome.status is OutcomeStatus.REFUSED
    assert "a quote that is not closed" in outcome.reason
    assert (bench.rows(FEED), rejected(bench)) == ([], [])


@pytest.mark.parametrize(
    ("limits", "good", "bad", "reason"),
    [
        ({"max_rejected_rows": 2}, 10, 2, ""),
        (
            {"max_rejected_rows": 2}, 10, 3,
            "3 of 13 rows are bad; at most 2 rows and 100 % may be",
        ),
        ({"max_rejected_rows": 0}, 10, 0, ""),
        (
            {"max_rejected_rows": 0}, 10, 1,
            "1 of 11 rows are bad; at most 0 rows and 100 % may be",
        ),
        ({"max_rejected_percent": 25}, 3, 1, ""),
        (
            {"max_rejected_percent": 24.9}, 3, 1,
            "1 of 4 rows are bad; at most 10,000 rows and 24.9 % may be",
        ),
        ({"max_rejected_percent": 100}, 0, 5, ""),
        ({}, 9, 1, ""),
        ({}, 8, 1, "1 of 9 rows are bad; at most 10,000 rows and 10 % may be"),
    ],
)  # fmt: skip
def test_a_file_with_more_bad_rows_than_the_limits_is_refused_as_a_whole(
    bench: Workbench, limits: dict[str, float], good: int, bad: int, reason: str
) -> None:
    feed = change_feed(FEED, **({"max_rejected_percent": 100 if limits else 10} | limits))
    bench.land(feed, "a.csv", f"{HEADER}7,1,x\n")
    bench.load(feed)
    bench.land(feed, "a.csv", HEADER + "1,1,x\n" * good + "Zaphod,1,x\n" * bad)
    outcome = bench.load(feed)["a"]
    if reason:
        assert outcome.reason.startswith(f"a.csv: {reason}; line {good + 2}, column id: not a ")
        assert "Zaphod" not in outcome.reason
        assert (numbers(bench), rejected(bench)) == ([7], [])
    else:
        assert outcome.reason == ""
        assert (numbers(bench), len(rejected(bench))) == ([1] * good, bad)


def test_a_corrected_file_takes_its_rejected_rows_away_and_no_others(bench: Workbench) -> None:
    for feed in (FEED, OTHER):
        for key in "ab":
            bench.land(feed, f"{key}.csv", f"{HEADER}1,1,x\nbad,1,x\n")
        bench.sync(feed)
    bench.land(FEED, "a.csv", f"{HEADER}1,1,x\n2,1,x\n")
    bench.sync(FEED)
    assert [row[0] for row in rejected(bench)] == ["b"]
    assert [row[0] for row in rejected(bench, OTHER)] == ["a", "b"]
    assert numbers(bench) == [1, 1, 2]
    row = bench.ledger(FEED).rows["a.csv"]
    assert (row.row_count, row.rejected_count, row.file_row_count) == (2, 0, 2)


def test_loading_again_makes_no_difference(bench: Workbench) -> None:
    bench.land(FEED, "a.csv", f"{HEADER}1,1,x\nbad,1,x\nbad,1,x\n")
    bench.load(FEED)
    before = bench.rows(FEED), rejected(bench)
    assert len(before[1]) == 2
    bench.load(FEED)
    assert (bench.rows(FEED), rejected(bench)) == before
    assert bench.sync(FEED).loaded == []


def test_with_the_policy_fail_nothing_is_put_aside(bench: Workbench) -> None:
    feed = change_feed(FEED, bad_rows=BadRows.FAIL)
    bench.land(feed, "a.csv", f"{HEADER}1,1,x\nbad,1,x\n")
    assert bench.load(feed)["a"].reason == "a.csv: line 3, column id: not a BIGINT"
    assert (bench.rows(feed), rejected(bench)) == ([], [])


def test_a_file_that_changes_before_its_bad_rows_are_counted_does_not_stop_the_batch(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.land(FEED, "a.csv", HEADER + "1,1\n")
    bench.land(FEED, "b.csv", HEADER + "2,1,x\n")
    validate = diagnose.validate_file

    def change_first(*args: Any, **options: Any) -> Any:
        path.write_text(HEADER + "3,1,changed\n", encoding="utf-8")
        return validate(*args, **options)

    monkeypatch.setattr(diagnose, "validate_file", change_first)
    assert bench.load(FEED)["a"].status is OutcomeStatus.CHANGED
    assert numbers(bench) == [2]
    bench.sync(FEED)
    assert sorted(numbers(bench)) == [2, 3]


def test_a_change_of_policy_puts_a_refused_file_right(bench: Workbench) -> None:
    bench.land(FEED, "a.csv", f"{HEADER}1,1,x\nbad,1,x\n")
    bench.sync(change_feed(FEED, bad_rows=BadRows.FAIL))
    assert bench.rows(FEED) == []
    (record,) = bench.sync(FEED).loaded
    assert record.reason == "a.csv: 1 of 2 rows are bad and went to table rejected_rows"
    assert (numbers(bench), len(rejected(bench))) == ([1], 1)


def test_a_row_rule_that_cannot_be_evaluated_refuses_the_file(bench: Workbench) -> None:
    rule = RowRule(name="r", column="note", expression="CAST(note AS INT) > 0", reason="no")
    feed = change_feed(FEED, row_rules=(rule,))
    bench.land(feed, "a.csv", f"{HEADER}1,1,7\n2,1,Zaphod\nbad,1,7\n")
    reason = bench.load(feed)["a"].reason
    assert reason == "a.csv: a row rule cannot be evaluated for a row of the file"
    assert (bench.rows(feed), rejected(bench)) == ([], [])


@pytest.mark.filterwarnings("error")
def test_good_rows_that_the_table_does_not_take_refuse_their_file_and_no_other(
    bench: Workbench,
) -> None:
    bench.land(FEED, "a.csv", f"{HEADER}1,1,x\n")
    bench.load(FEED)
    with bench.open_table(FEED) as table:
        table.duck.execute("CREATE UNIQUE INDEX one_of_each ON readings (id)")
        for key in "bc":
            bench.land(FEED, f"{key}.csv", f"{HEADER}1,1,Zaphod\nbad,1,x\n")
        bench.land(FEED, "d.csv", f"{HEADER}4,1,x\nbad,1,x\n")
        outcomes = load_files(table, bench.landing, bench.list_files(FEED)[1:])
        registered = table.duck.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal")
        assert registered.fetchone() == (0,)
    assert [outcome.reason for outcome in outcomes] == [
        f"{key}.csv: the table does not take its rows (ConstraintException): has it a constraint?"
        for key in "bc"
    ] + [""]
    assert numbers(bench) == [1, 4]
    assert [row[0] for row in rejected(bench)] == ["d"]


class CrashError(Exception):
    """Stands for the end of the process."""


def crash() -> None:
    raise CrashError


@pytest.mark.parametrize("moment", failpoints.ALL)
def test_a_crash_leaves_table_and_rejected_rows_as_they_were_or_as_they_shall_be(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    bench.land(FEED, "a.csv", f"{HEADER}1,1,x\nold,1,x\n")
    bench.load(FEED)
    bench.land(FEED, "a.csv", f"{HEADER}2,1,x\nnew,1,x\nnewer,1,x\n")
    at_moment(monkeypatch, moment, crash)
    with pytest.raises(CrashError):
        bench.load(FEED)
    state = numbers(bench), [row[5] for row in rejected(bench)]
    ledger = bench.ledger(FEED).rows["a.csv"]
    new = [2], ["new,1,x", "newer,1,x"]
    if moment == failpoints.AFTER_COMMIT:
        assert (*state, ledger.rejected_count) == (*new, 2)
    else:
        assert (*state, ledger.rejected_count) == ([1], ["old,1,x"], 1)
    bench.sync(FEED)
    assert (numbers(bench), [row[5] for row in rejected(bench)]) == new


def test_removing_a_partition_removes_its_rejected_rows(bench: Workbench) -> None:
    for feed in (FEED, OTHER):
        for key in "ab":
            bench.land(feed, f"{key}.csv", f"{HEADER}1,1,x\nbad,1,x\n")
        bench.load(feed)
    with bench.open_table(FEED) as table:
        table.remove(["a.csv"])
    assert [row[0] for row in rejected(bench)] == ["b"]
    assert [row[0] for row in rejected(bench, OTHER)] == ["a", "b"]
    assert numbers(bench) == [1]
    assert list(bench.ledger(FEED).by_key) == ["b"]


def test_a_table_that_was_dropped_takes_the_rejected_rows_of_its_feed_with_it(
    bench: Workbench,
) -> None:
    for feed in (FEED, OTHER):
        bench.land(feed, "gone.csv", f"{HEADER}1,1,x\nbad,1,x\n")
        bench.load(feed)
    bench.path(FEED, "gone.csv").unlink()
    with bench.connect() as connection:
        connection.execute(f"DROP TABLE {FEED.table}")
    bench.land(FEED, "a.csv", f"{HEADER}1,1,x\n")
    bench.sync(FEED)
    assert rejected(bench) == []
    assert [row[0] for row in rejected(bench, OTHER)] == ["gone"]


def test_rejected_rows_that_somebody_deleted_are_missed_and_put_back(bench: Workbench) -> None:
    bench.land(FEED, "a.csv", f"{HEADER}1,1,x\nbad,1,x\n")
    bench.sync(FEED)
    before = rejected(bench)
    with bench.open_table(FEED) as table:
        table.duck.execute("DELETE FROM rejected_rows")
        listing = bench.landing.list_files(FEED)
        found = compare_table(table, listing).differences
        assert [difference.kind for difference in found] == [DifferenceKind.REJECTED_ROWS]
        done = reconcile_table(table, bench.landing, listing)
    assert done.left.differences == []
    assert rejected(bench) == before
    assert numbers(bench) == [1]


GOOD_ROWS: dict[str, tuple[object, ...]] = {
    "1,1,x": (1, 1.0, "x"),
    ",1,": (None, 1.0, None),
    '3,-0.5,"a ""b"",\n"': (3, -0.5, 'a "b",\n'),
    '4,1e3,""': (4, 1000.0, ""),
    "5,99,\u00e9": (5, 99.0, "\u00e9"),
}
SOME_BAD_ROWS = ["x,1,x", "1,1", "1,1,x,y", "1,200,x", "", "1,inf,x", '1.5,1,"a\nb"', "1,1,x\r"]
BY_VALUE = change_feed(
    FEED,
    row_rules=(RowRule(name="r", column="value", expression="value <> 200", reason="not that"),),
)


@pytest.mark.scaled
@pytest.mark.parametrize("batch_rows", [1, 2, 50_000])
def test_of_any_rows_the_good_ones_are_loaded_and_the_bad_ones_put_aside_with_their_lines(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(text_format, "BATCH_ROWS", batch_rows)
    all_rows = [(row, True) for row in GOOD_ROWS] + [(row, False) for row in SOME_BAD_ROWS]
    with bench.open() as opened:

        @try_examples(10)
        @given(st.lists(st.sampled_from(all_rows), max_size=9), st.booleans())
        def check(rows: list[tuple[str, bool]], has_header: bool) -> None:
            feed = change_feed(BY_VALUE, format=CsvFormat(header=has_header))
            line, good, bad = 1 + has_header, [], []
            # Without a header, the first row says which line ends the file has.
            if not has_header:
                rows = [("1,1,x", True), *rows]
            for row, is_good in rows:
                (good if is_good else bad).append((line, row.removesuffix("\r")))
                line += row.count("\n") + 1
            text = (HEADER if has_header else "") + "".join(f"{row}\n" for row, _ in rows)
            bench.land(feed, "a.csv", text)
            table = opened.table(feed)
            (outcome,) = load_files(table, bench.landing, bench.list_files(feed))
            assert outcome.reason == ""
            assert (outcome.row_count, outcome.rejected_count) == (len(good), len(bad))
            put_aside = table.duck.execute(
                "SELECT line, raw_line FROM rejected_rows ORDER BY rowid"
            )
            assert put_aside.fetchall() == bad
            values = table.duck.execute("SELECT id, value, note FROM readings ORDER BY rowid")
            assert values.fetchall() == [GOOD_ROWS[row] for _, row in good]

        check()
