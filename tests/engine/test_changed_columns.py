"""A feed whose columns change: the table follows, and nothing that was loaded is lost."""

import json
import os
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest

from partitioned_etl.engine.contract import BadRows, RowRule
from partitioned_etl.engine.errors import FeedDefinitionError, WarehouseError
from partitioned_etl.engine.feed import Feed
from support.workbench import Workbench, change_feed
from support.workbooks import make_xlsx

CURRENCY = {"type": "VARCHAR", "optional": True}
AMOUNTS = Feed(
    name="amounts",
    pattern="{date:%Y-%m}.csv",
    columns={"id": "BIGINT", "amount": "BIGINT"},
)


def with_columns(**columns: Any) -> Feed:
    """Give the feed of amounts with other columns."""
    return change_feed(AMOUNTS, columns=columns)


WITH_CURRENCY = with_columns(id="BIGINT", amount="BIGINT", currency=CURRENCY)


def land_three(bench: Workbench) -> None:
    """Land two months without a currency and one with it."""
    bench.land(AMOUNTS, "2024-01.csv", "id,amount\n1,10\n")
    bench.land(AMOUNTS, "2024-02.csv", "id,amount\n2,20\n")
    bench.land(AMOUNTS, "2024-03.csv", "id,amount,currency\n3,30,EUR\n")


def rows(bench: Workbench, columns: str = "id, amount, currency") -> list[tuple[Any, ...]]:
    return bench.query(f"SELECT {columns} FROM amounts ORDER BY ALL")


def types(bench: Workbench, table: str = "amounts") -> dict[str, str]:
    """The table's columns but for the two that every load adds."""
    described = {name: one for name, one, *_ in bench.query(f"DESCRIBE {table}")}
    return {name: described[name] for name in described if name not in ADDED_BY_LOAD}


ADDED_BY_LOAD = ("partition_key", "source_file")


@pytest.mark.parametrize("declared", [CURRENCY, {"type": "VARCHAR", "since": "2024-03"}])
def test_a_column_that_is_added_is_null_in_what_was_loaded(
    bench: Workbench, declared: dict[str, Any]
) -> None:
    land_three(bench)
    assert len(bench.sync(AMOUNTS).refused) == 1
    feed = with_columns(id="BIGINT", amount="BIGINT", currency=declared)
    report = bench.sync(feed)
    assert [record.source_file for record in report.loaded] == ["2024-03.csv"]
    assert rows(bench) == [(1, 10, None), (2, 20, None), (3, 30, "EUR")]
    bench.assert_level(feed)
    # The files of before load as well, whenever that may be.
    bench.load(feed)
    assert rows(bench) == [(1, 10, None), (2, 20, None), (3, 30, "EUR")]


def test_from_its_first_date_on_a_column_is_needed(bench: Workbench) -> None:
    feed = with_columns(
        id="BIGINT", amount="BIGINT", currency={"type": "VARCHAR", "since": "2024-03"}
    )
    for month in ("2024-02", "2024-03", "2024-04"):
        bench.land(feed, f"{month}.csv", "id,amount\n1,10\n")
    outcomes = bench.load(feed)
    assert {key: outcome.reason for key, outcome in outcomes.items()} == {
        "2024-02-01": "",
        "2024-03-01": "2024-03.csv: line 1: header: column currency is missing",
        "2024-04-01": "2024-04.csv: line 1: header: column currency is missing",
    }
    assert rows(bench) == [(1, 10, None)]


Record = dict[str, Any]


def write_csv(rows: list[Record]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in ([*rows[0]], *map(dict.values, rows)))


def write_parquet(rows: list[Record]) -> bytes:
    values = " UNION ALL ".join(
        "SELECT " + ", ".join(f"{value!r} AS {name}" for name, value in row.items()) for row in rows
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.parquet"
        duckdb.execute(f"COPY ({values}) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


PLACES = {"id": {"start": 1, "length": 2}, "c": {"start": 3, "length": 1}}
FORMATS: dict[str, tuple[dict[str, Any], Callable[[list[Record]], str | bytes]]] = {
    "csv": ({"type": "csv"}, write_csv),
    "csv without a header": (
        {"type": "csv", "header": False},
        lambda rows: write_csv(rows).partition("\n")[2],
    ),
    "with a delimiter behind": (
        {"type": "csv", "header": False, "trailing_delimiter": True},
        lambda rows: write_csv(rows).partition("\n")[2].replace("\n", ",\n"),
    ),
    "tsv": ({"type": "tsv"}, lambda rows: write_csv(rows).replace(",", "\t")),
    "fixed_width": (
        {"type": "fixed_width"},
        lambda rows: "".join(f"{row['id']:2}{row.get('c', '')}\n" for row in rows),
    ),
    "fixed_width in bytes": (
        {"type": "fixed_width", "unit": "bytes"},
        lambda rows: "".join(f"{row['id']:2}{row.get('c', '')}\n" for row in rows),
    ),
    "json_lines": (
        {"type": "json_lines"},
        lambda rows: "".join(f"{json.dumps(row)}\n" for row in rows),
    ),
    "json": ({"type": "json"}, json.dumps),
    "parquet": ({"type": "parquet"}, write_parquet),
    "excel": (
        {"type": "excel"},
        lambda rows: make_xlsx([*rows[0]], *map(dict.values, rows)),
    ),
    "excel without a header": (
        {"type": "excel", "header": False},
        lambda rows: make_xlsx(*map(dict.values, rows)),
    ),
}
IS_POSITIVE = RowRule(name="positive", column="id", expression="id > 0", reason="not above 0")


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "row by row"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_every_format_may_lack_a_column_before_its_first_date(
    bench: Workbench, name: str, *, is_whole: bool
) -> None:
    options, write = FORMATS[name]
    places = PLACES if "fixed" in name else {"id": {}, "c": {}}
    feed = Feed(
        name="amounts",
        pattern="{date:%Y-%m}.x",
        columns={
            "id": {"type": "BIGINT", **places["id"]},
            "c": {"type": "VARCHAR", "since": "2024-03", **places["c"]},
        },  # pyright: ignore[reportArgumentType]
        format=options,  # pyright: ignore[reportArgumentType]
        bad_rows=BadRows.QUARANTINE,
        max_rejected_percent=50,
        row_rules=(IS_POSITIVE,),
    )
    rest = [] if is_whole else [{"id": -1}]
    bench.land(feed, "2024-02.x", write([{"id": 1}, *rest]))
    bench.land(
        feed, "2024-03.x", write([{"id": 3, "c": "x"}, *({**row, "c": "y"} for row in rest)])
    )
    bench.land(feed, "2024-04.x", write([{"id": 4}, *rest]))
    outcomes = bench.load(feed)
    # A sheet without a header does not tell an empty column from none.
    needed = name != "excel without a header"
    assert [key for key, outcome in outcomes.items() if outcome.is_loaded] == [
        "2024-02-01",
        "2024-03-01",
        *([] if needed else ["2024-04-01"]),
    ]
    assert rows(bench, "id, c")[:2] == [(1, None), (3, "x")]


@pytest.mark.parametrize(
    ("pattern", "since", "reason"),
    [
        ("{key}.csv", "2024-03", "dynamic partitions have no dates; set optional instead"),
        ("{date:%Y-%m}.csv", "March", "'March' is no monthly partition key, nor a year, month or"),
        ("{date:%Y-%m}.csv", "2024-03-02", "'2024-03-02' is no monthly partition key"),
        ("{date:%Y-%m-%d}.csv", "2024-3", "'2024-3' is no daily partition key"),
        ("{date:%Y-%m-%d}.csv", "2024-03-01-13", "is no daily partition key"),
        ("{date:%G-W%V}.csv", "2024-03-05", "is no weekly partition key"),
    ],
)
def test_a_first_date_that_is_none_is_refused(pattern: str, since: str, reason: str) -> None:
    columns = {"id": "BIGINT", "c": {"type": "VARCHAR", "since": since}}
    with pytest.raises(FeedDefinitionError, match=reason) as refused:
        change_feed(AMOUNTS, pattern=pattern, columns=columns)
    assert refused.value.attribute == "columns.c.since"


@pytest.mark.parametrize(
    ("pattern", "since", "may_lack", "must_have"),
    [
        ("{date:%Y-%m}.csv", "2024", "2023-12-01", "2024-01-01"),
        ("{date:%Y-%m}.csv", date(2024, 3, 1), "2024-02-01", "2024-03-01"),
        ("{date:%Y-%m-%d}.csv", "2024-03", "2024-02-29", "2024-03-01"),
        ("{date:%G-W%V}.csv", "2024-03-04", "2024-02-26", "2024-03-04"),
        ("{date:%Y-%m-%d-%H}.csv", "2024-03-01-13", "2024-03-01-12:00", "2024-03-01-13:00"),
        ("{date:%Y-%m-%d-%H}.csv", "2024-03-01", "2024-02-29-23:00", "2024-03-01-00:00"),
        ("{key}/{date:%Y-%m-%d}.csv", "2024-03-02", "zoe|2024-03-01", "acme|2024-03-02"),
    ],
)
def test_a_first_date_is_a_partition_key_or_the_start_of_one(
    pattern: str, since: Any, may_lack: str, must_have: str
) -> None:
    columns = {"id": "BIGINT", "c": {"type": "VARCHAR", "since": since}}
    feed = change_feed(AMOUNTS, pattern=pattern, columns=columns)
    assert feed.contract_of(may_lack).optional_columns == {"c"}
    assert feed.contract_of(must_have).optional_columns == frozenset()


def test_a_file_that_was_refused_for_a_column_is_validated_again_when_it_needs_it_later(
    bench: Workbench,
) -> None:
    bench.land(AMOUNTS, "2024-02.csv", "id,amount\n1,10\n")
    needed = with_columns(id="BIGINT", amount="BIGINT", currency="VARCHAR")
    assert len(bench.sync(needed).refused) == 1
    later = {"type": "VARCHAR", "since": "2024-03"}
    assert len(bench.sync(with_columns(id="BIGINT", amount="BIGINT", currency=later)).loaded) == 1


def test_a_table_without_rows_is_made_anew(bench: Workbench) -> None:
    bench.land(AMOUNTS, "2024-01.csv", "id,amount\nA1,10.5\n")
    assert len(bench.sync(AMOUNTS).refused) == 1
    feed = with_columns(amount="DECIMAL(9, 2)", id="VARCHAR")
    bench.land(feed, "2024-01.csv", "amount,id\n10.5,A1\n")
    assert len(bench.sync(feed).loaded) == 1
    assert types(bench) == {"amount": "DECIMAL(9,2)", "id": "VARCHAR"}
    assert rows(bench, "id, amount") == [("A1", Decimal("10.50"))]


def test_the_order_of_columns_is_no_matter_and_neither_is_their_case(bench: Workbench) -> None:
    bench.land(AMOUNTS, "2024-01.csv", "id,amount\n1,10\n")
    bench.sync(AMOUNTS)
    feed = with_columns(amount="BIGINT", Id="BIGINT")
    bench.land(feed, "2024-02.csv", "amount,Id\n20,2\n")
    assert len(bench.sync(feed).loaded) == 1
    assert types(bench) == {"id": "BIGINT", "amount": "BIGINT"}
    assert rows(bench, "id, amount") == [(1, 10), (2, 20)]


def test_a_column_that_is_gone_stays_and_is_used_again_when_it_is_back(bench: Workbench) -> None:
    bench.land(WITH_CURRENCY, "2024-01.csv", "id,amount,currency\n1,10,EUR\n")
    bench.sync(WITH_CURRENCY)
    bench.land(AMOUNTS, "2024-02.csv", "id,amount\n2,20\n")
    assert len(bench.sync(AMOUNTS).loaded) == 1
    assert rows(bench) == [(1, 10, "EUR"), (2, 20, None)]
    bench.land(WITH_CURRENCY, "2024-03.csv", "id,amount,currency\n3,30,USD\n")
    bench.sync(WITH_CURRENCY)
    assert rows(bench) == [(1, 10, "EUR"), (2, 20, None), (3, 30, "USD")]
    bench.assert_level(WITH_CURRENCY)


def test_a_column_that_is_back_with_another_type_is_refused(bench: Workbench) -> None:
    bench.land(WITH_CURRENCY, "2024-01.csv", "id,amount,currency\n1,10,EUR\n")
    bench.sync(WITH_CURRENCY)
    feed = with_columns(id="BIGINT", amount="BIGINT", currency="BIGINT")
    bench.land(feed, "2024-01.csv", "id,amount,currency\n1,10,978\n")
    with pytest.raises(WarehouseError, match="run `partitioned-etl migrate amounts`"):
        bench.sync(feed)
    assert rows(bench) == [(1, 10, "EUR")]


def test_a_column_that_is_renamed_is_gone_and_added(bench: Workbench) -> None:
    bench.land(AMOUNTS, "2024-01.csv", "id,amount\n1,10\n")
    bench.sync(AMOUNTS)
    feed = with_columns(id="BIGINT", total="BIGINT")
    bench.land(feed, "2024-02.csv", "id,total\n2,20\n")
    bench.sync(feed)
    assert rows(bench, "id, amount, total") == [(1, 10, None), (2, None, 20)]


# Two instances, one of which still has the old declaration.

IGNORING = {"type": "csv", "extra_columns": "ignore"}
OLDER = change_feed(AMOUNTS, format=IGNORING)
NEWER = change_feed(WITH_CURRENCY, format=IGNORING)


def test_what_an_older_declaration_leaves_out_is_loaded_by_the_newer_one(bench: Workbench) -> None:
    bench.land(OLDER, "2024-01.csv", "id,amount,currency\n1,10,EUR\n")
    bench.sync(NEWER)
    # The older one knows it as loaded, with all that it declares.
    assert bench.sync(OLDER).loaded == []
    bench.land(OLDER, "2024-01.csv", "id,amount,currency\n1,11,USD\n")
    bench.land(OLDER, "2024-02.csv", "id,amount,currency\n2,20,CHF\n")
    assert len(bench.sync(OLDER).loaded) == 2
    assert rows(bench) == [(1, 11, None), (2, 20, None)]
    assert bench.ledger(OLDER).rows["2024-02.csv"].left_out == ("currency",)
    assert len(bench.sync(NEWER).loaded) == 2
    assert rows(bench) == [(1, 11, "USD"), (2, 20, "CHF")]
    for feed in (OLDER, NEWER, OLDER):
        assert bench.sync(feed).loaded == []


def test_what_was_loaded_before_a_column_was_added_is_not_loaded_again(bench: Workbench) -> None:
    bench.land(OLDER, "2024-01.csv", "id,amount,currency\n1,10,EUR\n")
    bench.sync(OLDER)
    bench.land(OLDER, "2024-02.csv", "id,amount,currency\n2,20,CHF\n")
    assert len(bench.sync(NEWER).loaded) == 1
    assert rows(bench) == [(1, 10, None), (2, 20, "CHF")]


def test_a_touched_file_that_was_loaded_without_a_column_is_loaded_again(bench: Workbench) -> None:
    bench.land(OLDER, "2024-01.csv", "id,amount,currency\n1,10,EUR\n")
    bench.sync(NEWER)
    bench.load(OLDER)
    os.utime(bench.path(OLDER, "2024-01.csv"), ns=(1, 1))
    bench.sync(NEWER)
    assert rows(bench) == [(1, 10, "EUR")]


def test_an_older_declaration_with_a_narrower_type_loads_nothing(bench: Workbench) -> None:
    narrow = with_columns(id="INTEGER", amount="BIGINT")
    bench.land(AMOUNTS, "2024-01.csv", f"id,amount\n{1 << 40},10\n")
    bench.sync(AMOUNTS)
    bench.land(AMOUNTS, "2024-02.csv", "id,amount\n2,20\n")
    with pytest.raises(WarehouseError, match="id is BIGINT in the table and INTEGER in the feed"):
        bench.sync(narrow)
    bench.sync(AMOUNTS)
    assert rows(bench, "id") == [(2,), (1 << 40,)]


def test_a_ledger_without_the_column_of_what_was_left_out_gets_it(bench: Workbench) -> None:
    bench.land(AMOUNTS, "2024-01.csv", "id,amount\n1,10\n")
    bench.sync(AMOUNTS)
    before = bench.ledger(AMOUNTS)
    with bench.connect() as connection:
        connection.execute("ALTER TABLE file_loads DROP COLUMN left_out")
    assert bench.ledger(AMOUNTS) == before
    bench.land(AMOUNTS, "2024-02.csv", "id,amount\n2,20\n")
    assert len(bench.sync(AMOUNTS).loaded) == 1
    assert rows(bench, "id") == [(1,), (2,)]


@pytest.mark.parametrize("kind", ["UNIQUE INDEX", "INDEX"])
def test_what_depends_on_the_table_is_named_when_it_cannot_be_altered(
    bench: Workbench, kind: str
) -> None:
    narrow = with_columns(id="INTEGER", amount="BIGINT")
    bench.land(narrow, "2024-01.csv", "id,amount\n1,10\n")
    bench.sync(narrow)
    with bench.connect() as connection:
        connection.execute(f"CREATE {kind} by_id ON amounts (id)")
    bench.land(AMOUNTS, "2024-02.csv", "id,amount\n2,20\n")
    with pytest.raises(WarehouseError, match="drop the index or constraint that depends on it"):
        bench.sync(AMOUNTS)
    assert rows(bench, "id") == [(1,)]
    with bench.connect() as connection:
        connection.execute("DROP INDEX by_id")
    bench.sync(AMOUNTS)
    assert rows(bench, "id") == [(1,), (2,)]
