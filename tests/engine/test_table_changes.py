"""What becomes of a table under another declaration: what is said is what a load then does."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.sql import (
    PARTITION_KEY_COLUMN,
    SOURCE_FILE_COLUMN,
    quote_identifier,
)
from partitioned_etl.engine.table_changes import (
    ChangeKind,
    compare_columns,
    has_every_value,
)
from support.scale import try_examples
from support.workbench import Workbench, change_feed

LIMITS = {
    "TINYINT": ["-128", "127"],
    "SMALLINT": ["-32768", "32767"],
    "INTEGER": ["-2147483648", "2147483647"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807"],
    "HUGEINT": [str(-(1 << 127)), str((1 << 127) - 1)],
    "UTINYINT": ["0", "255"],
    "USMALLINT": ["0", "65535"],
    "UINTEGER": ["0", "4294967295"],
    "UBIGINT": ["0", "18446744073709551615"],
    "UHUGEINT": ["0", str((1 << 128) - 1)],
    "DECIMAL(4,0)": ["-9999", "9999"],
    "DECIMAL(9,2)": ["-9999999.99", "0.01", "9999999.99"],
    "DECIMAL(18,2)": ["-9999999999999999.99", "9999999999999999.99"],
    "DECIMAL(18,4)": ["-99999999999999.9999", "0.0001", "99999999999999.9999"],
    "DECIMAL(38,0)": ["9" * 38, "-" + "9" * 38],
    "FLOAT": ["0.1", "16777217", "3.4e38"],
    "DOUBLE": ["0.1", "9007199254740993", "1.7e308"],
    "VARCHAR": ["01", "", "2024/01/02"],
    "DATE": ["2024-01-02", "5881580-07-10"],
    "TIMESTAMP": ["2024-01-02 03:04:05.000006", "294247-01-10 04:00:54.775806"],
    "BOOLEAN": ["true", "t"],
}
"""For each type, the texts of its lowest and highest values and of some that are hard to keep."""


@pytest.fixture
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.mark.parametrize("former", LIMITS)
def test_a_type_is_only_widened_if_each_value_is_what_its_text_loads_as(
    duck: duckdb.DuckDBPyConnection, former: str
) -> None:
    wider = [one for one in LIMITS if one != former and has_every_value(one, former)]
    for type_name in wider:
        for text in LIMITS[former]:
            sql = f"SELECT CAST(CAST(? AS {former}) AS {type_name}), CAST(? AS {type_name})"
            [(widened, loaded)] = duck.execute(sql, [text, text]).fetchall()
            assert widened == loaded, type_name


def test_the_types_that_are_widened() -> None:
    assert [one for one in LIMITS if has_every_value(one, "INTEGER")] == [
        *("INTEGER", "BIGINT", "HUGEINT", "DECIMAL(18,2)", "DECIMAL(18,4)", "DECIMAL(38,0)"),
        "DOUBLE",
    ]
    assert has_every_value("DECIMAL(18,2)", "DECIMAL(9,2)")
    assert has_every_value("DECIMAL(18,4)", "DECIMAL(9,2)")
    assert has_every_value("BIGINT", "UINTEGER")
    assert has_every_value("SMALLINT", "DECIMAL(4,0)")


@pytest.mark.parametrize(
    ("type_name", "former"),
    [
        ("INTEGER", "BIGINT"),
        ("BIGINT", "UBIGINT"),
        ("DECIMAL(18,2)", "DECIMAL(18,4)"),
        ("DECIMAL(18,4)", "DECIMAL(18,2)"),
        ("DOUBLE", "FLOAT"),
        ("DOUBLE", "BIGINT"),
        ("DOUBLE", "DECIMAL(9,2)"),
        ("TIMESTAMP", "DATE"),
        ("VARCHAR", "INTEGER"),
        ("INTEGER", "VARCHAR"),
        ("INTEGER", "BOOLEAN"),
    ],
)
def test_a_type_that_may_lose_something_is_not_widened(type_name: str, former: str) -> None:
    assert not has_every_value(type_name, former)


def test_what_a_float_or_a_text_was_is_not_known(duck: duckdb.DuckDBPyConnection) -> None:
    """Why these are not widened, by DuckDB itself."""
    cast = "SELECT CAST(CAST(? AS {}) AS {}) = CAST(? AS {})"
    for text, former, type_name in (
        ("0.1", "FLOAT", "DOUBLE"),
        ("01", "INTEGER", "VARCHAR"),
        ("9007199254740993", "DOUBLE", "BIGINT"),
    ):
        sql = cast.format(former, type_name, type_name)
        assert duck.execute(sql, [text, text]).fetchall() == [(False,)]
    with pytest.raises(duckdb.ConversionException):
        duck.execute("SELECT CAST(DATE '5881580-07-10' AS TIMESTAMP)")


ADDED_BY_LOAD = (PARTITION_KEY_COLUMN, SOURCE_FILE_COLUMN)
TYPES = ("SMALLINT", "INTEGER", "BIGINT", "DECIMAL(9,2)", "DECIMAL(18,2)", "DOUBLE", "VARCHAR")
declarations = st.dictionaries(
    st.sampled_from(["a", "b", "C", "d e", 'q"q']), st.sampled_from(TYPES), min_size=1
).flatmap(lambda columns: st.permutations([*columns.items()]).map(dict))


def feed_of(columns: dict[str, str]) -> Feed:
    return Feed(name="made", pattern="{date:%Y-%m}.csv", columns=columns)


def land(bench: Workbench, feed: Feed, month: int, value: int) -> None:
    names = ",".join(map(quote_identifier, feed.columns))
    bench.land(
        feed, f"2024-{month:02}.csv", f"{names}\n{','.join([str(value)] * len(feed.columns))}\n"
    )


def described(bench: Workbench) -> dict[str, str]:
    return {name: one for name, one, *_ in bench.query("DESCRIBE made")}


def test_what_is_planned_is_what_is_loaded(bench: Workbench) -> None:
    bench.landing_dir.mkdir()

    @try_examples(20)
    @given(old=declarations, new=declarations, has_rows=st.booleans())
    def try_declarations(old: dict[str, str], new: dict[str, str], *, has_rows: bool) -> None:
        with bench.connect() as connection:
            connection.execute("DROP TABLE IF EXISTS made")
        change_declaration(bench, feed_of(old), feed_of(new), has_rows=has_rows)

    try_declarations()


def change_declaration(bench: Workbench, before: Feed, after: Feed, *, has_rows: bool) -> None:
    """Load a month under each declaration, and hold the table against what was planned."""
    land(bench, before, 1, 7)
    bench.load(before, bench.list_files(before)[:1] if has_rows else [])
    held = described(bench)
    with bench.open_table(after) as table:
        planned = table.find_changes()
    land(bench, after, 2, 8)
    files = bench.list_files(after)[1:]
    if planned.is_refused:
        assert planned.of(ChangeKind.RETYPED)
        with pytest.raises(WarehouseError):
            bench.load(after, files)
        assert described(bench) == held
        return
    assert bench.load(after, files)["2024-02-01"].reason == ""
    expected = {} if planned.is_made_anew else held
    for change in planned.columns:
        if change.kind is not ChangeKind.GONE:
            expected = {**expected, change.column: change.type}
    if planned.is_made_anew:
        assert [*described(bench)] == [*after.columns, *ADDED_BY_LOAD]
        assert expected.items() <= described(bench).items()
    else:
        assert described(bench) == expected
        for name in before.columns:
            assert [Decimal(value) for value in values_of(bench, name, 1)] == [7] * has_rows
        for change in planned.of(ChangeKind.ADDED):
            assert values_of(bench, change.column, 1) == [None] * has_rows
        for name in planned.gone:
            assert values_of(bench, name, 2) == [None]
    for name in after.columns:
        assert [Decimal(value) for value in values_of(bench, name, 2)] == [8]
    with bench.open_table(after) as table:
        left = table.find_changes()
    assert left.of(*ChangeKind) == ([] if planned.is_made_anew else planned.of(ChangeKind.GONE))


def values_of(bench: Workbench, column: str, month: int) -> list[Any]:
    """The values of one month in a column."""
    sql = f"SELECT {quote_identifier(column)} FROM made WHERE source_file = '2024-{month:02}.csv'"
    return [value for (value,) in bench.query(sql)]


def test_every_change_is_one_sentence() -> None:
    present = {
        "id": "INTEGER",
        "note": "VARCHAR",
        "day": "VARCHAR",
        "partition_key": "VARCHAR",
        "source_file": "VARCHAR",
    }
    declared = {"currency": "VARCHAR", "id": "BIGINT", "day": "DATE"}
    changes = compare_columns(declared, present, has_rows=True)
    assert changes.describe("x", 2) == [
        "column currency VARCHAR is added: NULL in 2 loaded partition(s)",
        "column id becomes BIGINT from INTEGER",
        "refused: column day is VARCHAR in the table and DATE in the feed: "
        "run `partitioned-etl migrate x`",
        "column note is no longer declared: kept, NULL in new loads",
    ]
    assert compare_columns(declared, present, has_rows=False).describe("x") == [
        "the table has no rows, and is made anew with the columns of the feed"
    ]
    assert compare_columns({"id": "INTEGER"}, {"id": "INTEGER"}, has_rows=True).describe("x") == [
        "refused: no load has made the table, which lacks partition_key, source_file: "
        "rename or drop it"
    ]


def test_a_wider_type_is_taken_by_the_load(bench: Workbench) -> None:
    narrow = feed_of({"id": "INTEGER", "amount": "DECIMAL(9,2)"})
    land(bench, narrow, 1, 7)
    bench.sync(narrow)
    wide = change_feed(narrow, columns={"id": "BIGINT", "amount": "DECIMAL(18,4)"})
    bench.land(wide, "2024-02.csv", f"id,amount\n{1 << 40},0.0001\n")
    bench.sync(wide)
    assert bench.query("SELECT id, amount FROM made ORDER BY ALL") == [
        (7, Decimal(7)),
        (1 << 40, Decimal("0.0001")),
    ]
