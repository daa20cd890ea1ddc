"""Parquet: a file is loaded as it is, or refused because its columns, bytes or rows are others."""

import random
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine import failpoints
from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats import parquet
from partitioned_etl.engine.formats.parquet import ParquetFormat
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.warehouse.duckdb_file import IS_DUCKDB_1
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.reported_cases import INT96
from support.scale import try_examples
from support.workbench import PRICES, Workbench, at_moment, change_feed

NUMBERS = Feed(
    name="numbers",
    folder="numbers",
    pattern="{key}.parquet",
    columns={"id": "BIGINT", "note": "TEXT"},
    table="numbers",
    format=ParquetFormat(),
)
DAILY = change_feed(PRICES, pattern="{date:%Y-%m-%d}.parquet", format=ParquetFormat())
TWO_ROWS = "SELECT * FROM (VALUES (1::BIGINT, 'x'), (2, NULL)) AS t(id, note)"


def make_parquet(bench: Workbench, query: str, options: str = "") -> bytes:
    path = bench.root / "made.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet{options})")
    return path.read_bytes()


def land(bench: Workbench, feed: Feed, key: str, query: str) -> Path:
    return bench.land(feed, f"{key}.parquet", make_parquet(bench, query))


def test_a_file_is_loaded_and_its_rows_are_those_of_its_metadata(bench: Workbench) -> None:
    land(bench, NUMBERS, "a", TWO_ROWS)
    land(bench, NUMBERS, "b", "SELECT 3::BIGINT AS id, '' AS note")
    land(bench, NUMBERS, "c", f"{TWO_ROWS} LIMIT 0")
    outcomes = bench.load(NUMBERS)
    assert [outcome.reason for outcome in outcomes.values()] == [""] * 3
    assert bench.rows(NUMBERS) == [
        (1, "x", "a", "a.parquet"),
        (2, None, "a", "a.parquet"),
        (3, "", "b", "b.parquet"),
    ]
    assert [row.file_row_count for row in bench.ledger(NUMBERS)] == [2, 1, 0]
    bench.assert_level(NUMBERS)
    assert bench.sync(NUMBERS).loaded == []


COLUMNS = {
    "a column missing": ("SELECT 1::BIGINT AS id", "column note is missing"),
    "a column more": (
        f"SELECT *, 1 AS Zaphod FROM ({TWO_ROWS})",
        "1 column name(s) that the feed does not have",
    ),
    "a column in capitals": (
        "SELECT 1::BIGINT AS ID, 'x' AS note",
        "column id is missing: one differs in white space or in small and capital letters",
    ),
    "another order": (
        f"SELECT note, id FROM ({TWO_ROWS})",
        "the columns are not in the order id, note",
    ),
    "a larger type": (
        "SELECT 1::UBIGINT AS id, 'x' AS note",
        "column id: UBIGINT in the file, BIGINT in the feed",
    ),
    "a text for a number": (
        "SELECT '1' AS id, 'x' AS note",
        "column id: VARCHAR in the file, BIGINT in the feed",
    ),
    "a nested value": (
        "SELECT 1::BIGINT AS id, ['x'] AS note",
        "column note: VARCHAR[] in the file, VARCHAR in the feed",
    ),
}


@pytest.mark.parametrize(("query", "problem"), COLUMNS.values(), ids=list(COLUMNS))
def test_a_file_with_other_columns_changes_no_row(
    bench: Workbench, query: str, problem: str
) -> None:
    land(bench, NUMBERS, "a", TWO_ROWS)
    bench.load(NUMBERS)
    before = bench.rows(NUMBERS)
    land(bench, NUMBERS, "a", query)
    assert bench.load(NUMBERS)["a"].reason == f"a.parquet: {problem}"
    assert bench.rows(NUMBERS) == before
    assert bench.ledger(NUMBERS).rows["a.parquet"].status == LoadStatus.REFUSED


TAKEN: dict[str, tuple[str, str, Any]] = {
    "INTEGER": ("-1::INTEGER", "BIGINT", -1),
    "UINTEGER": ("4294967295::UINTEGER", "BIGINT", 4294967295),
    "BIGINT to HUGEINT": ("-1::BIGINT", "HUGEINT", -1),
    "INTEGER to DECIMAL": ("-1::INTEGER", "DECIMAL(12, 2)", Decimal("-1.00")),
    "INTEGER to DOUBLE": ("2147483647::INTEGER", "DOUBLE", 2147483647.0),
    "SMALLINT to FLOAT": ("7::SMALLINT", "FLOAT", 7.0),
    "FLOAT": ("0.1::FLOAT", "DOUBLE", 0.10000000149011612),
    "DECIMAL": ("1.5::DECIMAL(4, 1)", "DECIMAL(6, 3)", Decimal("1.500")),
    "DECIMAL to BIGINT": ("123::DECIMAL(10, 0)", "BIGINT", 123),
    "nanoseconds": (
        "'2024-01-02 03:04:05.123456789'::TIMESTAMP_NS",
        "TIMESTAMP_NS",
        "2024-01-02 03:04:05.123456789",
    ),
    "whole microseconds": (
        "'2024-01-02 03:04:05.123456'::TIMESTAMP_NS",
        "TIMESTAMP",
        "2024-01-02 03:04:05.123456",
    ),
    "microseconds": (
        "'2024-01-02 03:04:05.123456'::TIMESTAMP",
        "TIMESTAMP_NS",
        "2024-01-02 03:04:05.123456",
    ),
    "structure": (
        "{'a': 1, 'B c': ['x', NULL]}",
        'STRUCT(a INTEGER, "B c" VARCHAR[])',
        {"a": 1, "B c": ["x", None]},
    ),
    "list": ("[1.5, NULL]::DOUBLE[]", "DOUBLE[]", [1.5, None]),
    "map": ("MAP {'k': [DATE '2024-01-02']}", "MAP(VARCHAR, DATE[])", {"k": [date(2024, 1, 2)]}),
}


@pytest.mark.parametrize(("value", "type_name", "loaded"), TAKEN.values(), ids=list(TAKEN))
@pytest.mark.parametrize("policy", BadRows)
def test_a_value_is_loaded_into_a_type_that_has_room_for_it(
    bench: Workbench, value: str, type_name: str, loaded: Any, policy: BadRows
) -> None:
    feed = change_feed(
        NUMBERS, columns={"v": type_name, "n": "INTEGER"}, bad_rows=policy, max_rejected_percent=100
    )
    columns = f"SELECT {value} AS v, i::SMALLINT AS n FROM range(2) AS t(i)"
    land(bench, feed, "a", f"{columns} UNION ALL SELECT NULL, NULL")
    assert bench.load(feed)["a"].reason == ""
    assert bench.query("SELECT count(v), count(*) FROM numbers") == [(2, 3)]
    shown = "CAST(v AS VARCHAR)" if type_name.startswith("TIMESTAMP") else "v"
    assert bench.query(f"SELECT {shown} FROM numbers WHERE n = 1") == [(loaded,)]


def test_files_whose_types_differ_are_loaded_each_by_its_own(bench: Workbench) -> None:
    land(bench, NUMBERS, "a", "SELECT 1::TINYINT AS id, 'x' AS note")
    land(bench, NUMBERS, "b", "SELECT 9007199254740993::BIGINT AS id, 'y' AS note")
    bench.load(NUMBERS)
    assert [row[0] for row in bench.rows(NUMBERS)] == [1, 9007199254740993]


TOO_NARROW: dict[str, tuple[str, str, str]] = {
    "sign": ("1::INTEGER", "UBIGINT", "column v: INTEGER in the file, UBIGINT in the feed"),
    "bits": ("1::BIGINT", "DOUBLE", "column v: BIGINT in the file, DOUBLE in the feed"),
    "double": ("1.0::DOUBLE", "BIGINT", "column v: DOUBLE in the file, BIGINT in the feed"),
    "half": ("1.5::DOUBLE", "FLOAT", "column v: DOUBLE in the file, FLOAT in the feed"),
    "digits": (
        "1::INTEGER",
        "DECIMAL(11, 2)",
        "column v: INTEGER in the file, DECIMAL(11,2) in the feed",
    ),
    "decimals": (
        "1::DECIMAL(5, 2)",
        "DECIMAL(10, 1)",
        "column v: DECIMAL(5,2) in the file, DECIMAL(10,1) in the feed",
    ),
    "room before the point": (
        "1::DECIMAL(5, 1)",
        "DECIMAL(6, 3)",
        "column v: DECIMAL(5,1) in the file, DECIMAL(6,3) in the feed",
    ),
    "day": (
        "DATE '2024-01-02'",
        "TIMESTAMP",
        "column v: DATE in the file, TIMESTAMP in the feed",
    ),
    "nanoseconds": (
        "'2024-01-02 03:04:05.123456789'::TIMESTAMP_NS",
        "TIMESTAMP",
        "row 1, column v: a time finer than the microseconds of a TIMESTAMP",
    ),
    "far away": (
        "TIMESTAMP '2500-01-01'",
        "TIMESTAMP_NS",
        # DuckDB 1.5 ends the statement instead of giving NULL.
        "a row rule cannot be evaluated for a row of the file"
        if IS_DUCKDB_1
        else "row 1, column v: not a TIMESTAMP_NS",
    ),
    "another field": (
        "{'a': 1}",
        "STRUCT(b INTEGER)",
        "column v: STRUCT(a INTEGER) in the file, STRUCT(b INTEGER) in the feed",
    ),
    "another leaf": (
        "[1::SMALLINT]",
        "INTEGER[]",
        "column v: SMALLINT[] in the file, INTEGER[] in the feed",
    ),
    "NaN in a list": (
        "[1::DOUBLE, 'nan'::DOUBLE]",
        "DOUBLE[]",
        "row 1, column v: not a DOUBLE[]",
    ),
    "infinity in a structure": (
        "{'a': [MAP {'k': 'inf'::FLOAT}]}",
        "STRUCT(a MAP(VARCHAR, FLOAT)[])",
        'row 1, column v: not a STRUCT("a" MAP(VARCHAR, FLOAT)[])',
    ),
}


@pytest.mark.parametrize(
    ("value", "type_name", "problem"), TOO_NARROW.values(), ids=list(TOO_NARROW)
)
def test_a_value_that_would_lose_something_is_refused(
    bench: Workbench, value: str, type_name: str, problem: str
) -> None:
    feed = change_feed(NUMBERS, columns={"v": type_name})
    land(bench, feed, "a", f"SELECT {value} AS v")
    assert bench.load(feed)["a"].reason == f"a.parquet: {problem}"
    assert bench.rows(feed) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("-9007199254740991", ""),
        ("NULL", ""),
        ("1.5", "row 2, column id: no whole number below 9007199254740992"),
        ("9007199254740992", "row 2, column id: no whole number below 9007199254740992"),
        ("'nan'", "row 2, column id: no whole number below 9007199254740992"),
    ],
)
@pytest.mark.parametrize("policy", BadRows)
def test_whole_numbers_may_be_stored_as_doubles(
    bench: Workbench, value: str, problem: str, policy: BadRows
) -> None:
    feed = change_feed(NUMBERS, format=ParquetFormat(whole_doubles=True), bad_rows=policy)
    query = f"SELECT v::DOUBLE AS id, 'x' AS note FROM (VALUES ('1'), ({value})) AS t(v)"
    land(bench, feed, "a", query.replace(f"({value})", f"(CAST({value} AS VARCHAR))"))
    assert bench.load(feed)["a"].reason == (f"a.parquet: {problem}" if problem else "")
    assert [row[0] for row in bench.rows(feed)] == (
        [] if problem else sorted([1, None if value == "NULL" else int(value)], key=str)
    )


@pytest.mark.parametrize("policy", BadRows)
def test_columns_may_have_other_names_in_the_file_or_be_missing(
    bench: Workbench, policy: BadRows
) -> None:
    options = {"any_column_order": True, "header_ignores_case": True, "extra_columns": "ignore"}
    feed = change_feed(
        NUMBERS,
        columns={
            "id": {"type": "BIGINT", "from": ["number", "Nr"]},
            "note": "VARCHAR",
            "tags": {"type": "VARCHAR[]", "optional": True},
        },
        format={"type": "parquet", **options},
        bad_rows=policy,
        max_rejected_percent=100,
    )
    land(bench, feed, "a", "SELECT 'inf'::DOUBLE AS x, 'y' AS NOTE, 1 AS nr, 2 AS y")
    land(bench, feed, "b", "SELECT ['t'] AS tags, 2::BIGINT AS number, 'z' AS note")
    assert [one.reason for one in bench.load(feed).values()] == ["", ""]
    assert [row[:3] for row in bench.rows(feed)] == [(1, "y", None), (2, "z", ["t"])]


def test_rows_are_read_one_by_one_by_the_feeds_names_and_types(bench: Workbench) -> None:
    feed = change_feed(
        NUMBERS,
        columns={
            "id": {"type": "BIGINT", "from": "nr"},
            "ts": "TIMESTAMP",
            "tags": {"type": "DOUBLE[]", "optional": True},
            "points": "DOUBLE[]",
        },
        format={"type": "parquet", "extra_columns": "ignore", "any_column_order": True},
        bad_rows=BadRows.QUARANTINE,
        max_rejected_percent=90,
    )
    points = "CASE WHEN i = 1 THEN ['nan'::DOUBLE] ELSE [0.5::DOUBLE] END AS points"
    ts = "TIMESTAMP_NS '2024-01-02 03:04:05.123456' AS ts"
    land(bench, feed, "a", f"SELECT 'z' AS z, {points}, i::SMALLINT AS nr, {ts} FROM range(3) t(i)")
    outcome = bench.load(feed)["a"]
    assert (outcome.reason, outcome.row_count, outcome.rejected_count) == ("", 2, 1)
    at = datetime.fromisoformat("2024-01-02 03:04:05.123456")
    assert [row[:4] for row in bench.rows(feed)] == [(0, at, None, [0.5]), (2, at, None, [0.5])]
    assert bench.query("SELECT line, column_name, reason FROM rejected_rows") == [
        (2, "points", "not a DOUBLE[]")
    ]


@pytest.mark.parametrize(
    "type_name",
    ["STRUCT(a INTEGER", "INTEGER[]]", "STRUCT(a INTEGER, A INTEGER)", "MAP(INTEGER)", "NOTHING[]"],
)
def test_a_nested_type_that_is_none_is_refused(type_name: str) -> None:
    with pytest.raises(FeedDefinitionError, match="no file can be read into a column of type"):
        change_feed(NUMBERS, columns={"v": type_name})
    with pytest.raises(FeedDefinitionError):
        change_feed(NUMBERS, columns={"v": "INTEGER[]"}, pattern="{key}.csv", format="csv")


def test_a_time_in_nanoseconds_is_not_cut(bench: Workbench) -> None:
    feed = change_feed(NUMBERS, columns={"t": "TIMESTAMP"})
    bench.land(feed, "a.parquet", INT96)
    reason = "a.parquet: column t: INT96 in the file, TIMESTAMP in the feed"
    assert bench.load(feed)["a"].reason == reason
    assert bench.rows(feed) == []


@pytest.mark.parametrize(("first", "second"), [("amount_1", "amount_1"), ("amount_1", "AMOUNT_1")])
def test_names_are_compared_as_they_are_in_the_file(
    bench: Workbench, first: str, second: str
) -> None:
    """DuckDB calls the second of two columns of one name `amount_1_1`."""
    feed = change_feed(NUMBERS, columns={first: "INTEGER", f"{second}_1": "INTEGER"})
    content = make_parquet(bench, "SELECT 1 AS amount_1, 2 AS amount_2")
    bench.land(feed, "a.parquet", content.replace(b"amount_2", second.encode()))
    assert f"column {second}_1 is missing" in bench.load(feed)["a"].reason
    assert bench.rows(feed) == []


def test_columns_go_by_name_in_any_order_where_the_feed_says_so(bench: Workbench) -> None:
    feed = change_feed(NUMBERS, format=ParquetFormat(any_column_order=True))
    land(bench, feed, "a", TWO_ROWS)
    land(bench, feed, "b", "SELECT 'y' AS note, 3::BIGINT AS id")
    bench.load(feed)
    assert [row[:3] for row in bench.rows(feed)] == [(1, "x", "a"), (2, None, "a"), (3, "y", "b")]


def damage_metadata(whole: bytes) -> bytes:
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    return whole[:start] + bytes(32) + whole[start + 32 :]


def damage_pages(whole: bytes) -> bytes:
    return whole[:4] + bytes(len(whole) // 4) + whole[4 + len(whole) // 4 :]


UNREADABLE = "the file cannot be read as Parquet"
DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no bytes": (lambda _: b"", "the file is empty"),
    "text": (lambda _: b"id,note\n1,x\n", "the file is no Parquet file"),
    "cut off": (lambda whole: whole[:-100], "no Parquet mark at the end: cut off?"),
    "two marks only": (lambda _: b"PAR1PAR1", "no Parquet mark at the end: cut off?"),
    "encrypted": (lambda whole: b"PARE" + whole[4:-4] + b"PARE", "the Parquet file is encrypted"),
    "damaged metadata": (damage_metadata, UNREADABLE),
    "damaged pages": (damage_pages, UNREADABLE),
}


@pytest.mark.parametrize(("damage", "problem"), DAMAGE.values(), ids=list(DAMAGE))
def test_a_file_that_cannot_be_read_changes_no_row(
    bench: Workbench, damage: Callable[[bytes], bytes], problem: str
) -> None:
    land(bench, NUMBERS, "a", TWO_ROWS)
    bench.load(NUMBERS)
    before = bench.rows(NUMBERS)
    rows = "SELECT i::BIGINT AS id, 'Zaphod ' || i AS note FROM range(500) AS t(i)"
    bench.land(NUMBERS, "a.parquet", damage(make_parquet(bench, rows)))
    land(bench, NUMBERS, "b", "SELECT 3::BIGINT AS id, 'y' AS note")
    outcome = bench.load(NUMBERS)["a"]
    assert outcome.reason.startswith(f"a.parquet: {problem}")
    assert "Zaphod" not in outcome.reason
    assert bench.rows(NUMBERS) == [*before, (3, "y", "b", "b.parquet")]
    assert bench.ledger(NUMBERS).rows["a.parquet"].error == outcome.reason


def test_a_file_that_is_cut_off_anywhere_is_refused(bench: Workbench) -> None:
    whole = make_parquet(bench, TWO_ROWS)
    for length in random.Random(1).sample(range(len(whole)), 15):
        bench.land(NUMBERS, "a.parquet", whole[:length])
        assert bench.load(NUMBERS)["a"].status is OutcomeStatus.REFUSED
    assert bench.rows(NUMBERS) == []


ENDLESS = {
    "NaN": ("'nan'::DOUBLE", "2018-01-22", "row 2, column price: not a DOUBLE"),
    "infinity": ("'inf'::DOUBLE", "2018-01-22", "row 2, column price: not a DOUBLE"),
    "a day without end": ("1::DOUBLE", "infinity", "row 2, column day: not a DATE"),
    "a broken rule": (
        "-1::DOUBLE",
        "2018-01-22",
        "row 2, column price: not above 0 (price_is_positive)",
    ),
}


@pytest.mark.parametrize(("price", "day", "problem"), ENDLESS.values(), ids=list(ENDLESS))
def test_a_bad_row_is_named_by_its_number(
    bench: Workbench, price: str, day: str, problem: str
) -> None:
    query = (
        "SELECT '2018-01-22'::DATE AS day, 1::DOUBLE AS price "
        f"UNION ALL SELECT '{day}'::DATE, {price}"
    )
    land(bench, DAILY, "2018-01-22", query)
    land(bench, DAILY, "2018-01-23", "SELECT '2018-01-23'::DATE AS day, 2::DOUBLE AS price")
    assert bench.load(DAILY)["2018-01-22"].reason == f"2018-01-22.parquet: {problem}"
    assert [row[2] for row in bench.rows(DAILY)] == ["2018-01-23"]


def test_a_feed_may_take_nan_and_infinity(bench: Workbench) -> None:
    feed = change_feed(DAILY, row_rules=(), non_finite_columns=("price",))
    values = "FROM (VALUES ('nan'), ('inf')) AS t(v)"
    land(
        bench, feed, "2018-01-22", f"SELECT '2018-01-22'::DATE AS day, v::DOUBLE AS price {values}"
    )
    assert bench.load(feed)["2018-01-22"].row_count == 2


@pytest.mark.parametrize("batch_rows", [1, 3, 50_000])
def test_bad_rows_are_put_aside_and_the_good_ones_load(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, batch_rows: int
) -> None:
    monkeypatch.setattr(parquet, "_BATCH_ROWS", batch_rows)
    feed = change_feed(DAILY, bad_rows=BadRows.QUARANTINE, max_rejected_percent=50)
    query = "SELECT '2018-01-22'::DATE AS day, (i - 1.5)::DOUBLE AS price FROM range(5) AS t(i)"
    land(bench, feed, "2018-01-22", query)
    outcome = bench.load(feed)["2018-01-22"]
    assert (outcome.row_count, outcome.rejected_count) == (3, 2)
    assert [row[1] for row in bench.rows(feed)] == [0.5, 1.5, 2.5]
    assert bench.query("SELECT line, column_name, reason, raw_line FROM rejected_rows") == [
        (1, "price", "not above 0 (price_is_positive)", "{'day': 2018-01-22, 'price': -1.5}"),
        (2, "price", "not above 0 (price_is_positive)", "{'day': 2018-01-22, 'price': -0.5}"),
    ]
    bench.assert_level(feed)


def test_a_file_without_rows_is_refused_where_the_feed_says_so(bench: Workbench) -> None:
    feed = change_feed(NUMBERS, allow_empty=False)
    land(bench, feed, "a", f"{TWO_ROWS} LIMIT 0")
    assert bench.load(feed)["a"].reason == "a.parquet: the file has no rows"


def test_a_compressed_file_stands_for_no_key(bench: Workbench) -> None:
    bench.land(NUMBERS, "a.parquet.gz", b"")
    listing = bench.landing.list_files(NUMBERS)
    assert listing.files == {}
    assert [entry.reason for entry in listing.ignored] == [
        "the name does not match the pattern '{key}.parquet'"
    ]
    with pytest.raises(FeedDefinitionError, match="a parquet file is compressed within"):
        change_feed(NUMBERS, pattern="{key}.parquet.gz")


def test_a_feed_has_no_column_of_the_name_that_a_rows_number_has() -> None:
    with pytest.raises(FeedDefinitionError, match="file_row_number is what DuckDB calls"):
        change_feed(NUMBERS, columns={"file_row_number": "BIGINT"})


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"PAR1"), Path.unlink])
@pytest.mark.parametrize("moment", [failpoints.AFTER_DELETE, failpoints.MID_INSERT])
def test_a_file_that_changes_while_it_is_loaded_is_not_committed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, moment: str, change: Callable[[Path], Any]
) -> None:
    path = land(bench, NUMBERS, "a", TWO_ROWS)
    land(bench, NUMBERS, "b", TWO_ROWS)
    at_moment(monkeypatch, moment, lambda: change(path))
    assert bench.load(NUMBERS)["a"].status is OutcomeStatus.CHANGED
    assert {row[2] for row in bench.rows(NUMBERS)} == {"b"}


TYPED = change_feed(
    NUMBERS,
    name="typed",
    table="typed",
    columns={
        "id": "BIGINT",
        "small": "utinyint",
        "amount": "DOUBLE",
        "price": "DECIMAL(18,4)",
        "day": "DATE",
        "moment": "TIMESTAMP",
        "flag": "BOOLEAN",
        "note": "VARCHAR",
        "key": "UUID",
    },
)
tables = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.integers(0, 255),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.integers(-(10**13), 10**13).map(lambda n: Decimal(n) / 10_000),
        st.none() | st.dates(),
        st.none() | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001
        st.none() | st.booleans(),
        st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        st.none() | st.uuids(),
    ),
    max_size=6,
)


@pytest.mark.scaled
def test_the_rows_that_a_parquet_writer_wrote_are_the_rows_of_the_table(bench: Workbench) -> None:
    made = bench.root / "made.parquet"
    columns = ", ".join(f"{name} {kind}" for name, kind in TYPED.columns.items())
    with duckdb.connect() as writer, bench.open_table(TYPED) as table:
        writer.execute(f"CREATE TABLE made ({columns})")

        @try_examples(12)
        @given(tables, st.sampled_from(["snappy", "zstd", "gzip", "uncompressed"]))
        def check(rows: list[tuple[Any, ...]], codec: str) -> None:
            writer.execute("DELETE FROM made")
            marks = ", ".join("?" * len(TYPED.columns))
            for row in rows:
                writer.execute(f"INSERT INTO made VALUES ({marks})", list(row))
            writer.execute(f"COPY made TO '{made}' (FORMAT parquet, COMPRESSION {codec})")
            bench.land(TYPED, "a.parquet", made.read_bytes())
            (outcome,) = load_files(table, bench.landing, bench.list_files(TYPED))
            assert outcome.reason == ""
            loaded = table.duck.execute(
                "SELECT * EXCLUDE (partition_key, source_file) FROM typed ORDER BY rowid"
            )
            assert loaded.fetchall() == rows

        check()
