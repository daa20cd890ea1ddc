"""What no load does by itself to a table: it is told first, and done all at once."""

import pytest

from partitioned_etl.engine.errors import WarehouseError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.migrate import Migration, apply_migration, find_migration
from support.workbench import Workbench, change_feed

SALES = Feed(
    name="sales",
    pattern="{date:%Y-%m}.csv",
    columns={"id": "BIGINT", "code": "BIGINT", "note": "VARCHAR"},
)
MONTHS = {"2024-01": "id,code,note\n1,01,a\n", "2024-02": f"id,code,note\n{1 << 40},2,\n"}


@pytest.fixture
def loaded(bench: Workbench) -> Workbench:
    """Two months of sales, the second with a large number and without a note."""
    for month, content in MONTHS.items():
        bench.land(SALES, f"{month}.csv", content)
    bench.sync(SALES)
    return bench


def find(bench: Workbench, feed: Feed) -> Migration:
    with bench.open_table(feed) as table:
        return find_migration(table, bench.landing.list_files(feed))


def apply(bench: Workbench, feed: Feed) -> Migration:
    with bench.open_table(feed) as table:
        return apply_migration(table, bench.landing.list_files(feed))


def declare(**columns: str) -> Feed:
    return change_feed(SALES, columns=columns)


def state(bench: Workbench) -> tuple[object, ...]:
    return bench.query("DESCRIBE sales"), bench.rows(SALES), bench.query("FROM file_loads")


def test_a_column_that_is_gone_is_dropped_with_its_values(loaded: Workbench) -> None:
    feed, before = declare(id="BIGINT", code="BIGINT"), state(loaded)
    found = find(loaded, feed)
    assert found.describe() == ["column note VARCHAR is dropped: 1 value(s) are lost"]
    assert state(loaded) == before
    assert apply(loaded, feed) == found
    assert loaded.rows(feed) == [
        (1, 1, "2024-01-01", "2024-01.csv"),
        (1 << 40, 2, "2024-02-01", "2024-02.csv"),
    ]
    loaded.assert_level(feed)
    assert find(loaded, feed).describe() == []
    assert loaded.sync(feed).loaded == []


def test_a_value_that_fits_its_narrower_type_stays(loaded: Workbench) -> None:
    feed = declare(id="BIGINT", code="SMALLINT", note="VARCHAR")
    with pytest.raises(WarehouseError, match="run `partitioned-etl migrate sales`"):
        loaded.load(feed)
    assert apply(loaded, feed).describe() == [
        "column code becomes SMALLINT from BIGINT: every value fits"
    ]
    assert loaded.query("SELECT typeof(code), code FROM sales ORDER BY ALL") == [
        ("SMALLINT", 1),
        ("SMALLINT", 2),
    ]


def test_a_partition_that_does_not_fit_loads_again_from_its_file(loaded: Workbench) -> None:
    feed = declare(id="INTEGER", code="BIGINT", note="VARCHAR")
    before = state(loaded)
    assert find(loaded, feed).describe() == [
        "column id becomes INTEGER from BIGINT: 1 value(s) in 1 partition(s) do not fit",
        "load again from their landed files: 2024-02-01",
    ]
    assert state(loaded) == before
    apply(loaded, feed)
    assert loaded.query("SELECT id FROM sales") == [(1,)]
    loaded.assert_level(feed)
    [refused] = loaded.sync(feed).refused
    assert refused.reason == "2024-02.csv: line 2, column id: not an INTEGER"
    loaded.land(feed, "2024-02.csv", "id,code,note\n2,2,\n")
    assert len(loaded.sync(feed).loaded) == 1


def test_texts_of_what_were_numbers_come_from_the_files(loaded: Workbench) -> None:
    feed = declare(id="BIGINT", code="VARCHAR", note="VARCHAR")
    assert apply(loaded, feed).reloaded == ["2024-01-01", "2024-02-01"]
    assert loaded.query("SELECT count(*) FROM sales") == [(0,)]
    assert len(loaded.sync(feed).loaded) == 2
    assert loaded.query("SELECT code FROM sales ORDER BY ALL") == [("01",), ("2",)]


def test_without_its_file_a_partition_that_does_not_fit_refuses_all(loaded: Workbench) -> None:
    feed = declare(id="INTEGER", code="BIGINT")
    loaded.path(SALES, "2024-02.csv").unlink()
    before = state(loaded)
    reason = "values do not fit, and there is no landed file to load again, in 2024-02-01"
    assert find(loaded, feed).describe()[-1] == f"refused: {reason}"
    with pytest.raises(WarehouseError, match=reason):
        apply(loaded, feed)
    assert state(loaded) == before


def test_all_kinds_of_changes_are_made_at_once(loaded: Workbench) -> None:
    feed = declare(extra="DATE", id="INTEGER", code="HUGEINT")
    assert apply(loaded, feed).describe() == [
        "column extra DATE is added: NULL in all rows",
        "column id becomes INTEGER from BIGINT: 1 value(s) in 1 partition(s) do not fit",
        "column code becomes HUGEINT from BIGINT: every value fits",
        "column note VARCHAR is dropped: 1 value(s) are lost",
        "load again from their landed files: 2024-02-01",
    ]
    assert [row[:2] for row in loaded.query("DESCRIBE sales")] == [
        ("id", "INTEGER"),
        ("code", "HUGEINT"),
        ("partition_key", "VARCHAR"),
        ("source_file", "VARCHAR"),
        ("extra", "DATE"),
    ]


def test_rows_of_no_known_partition_are_not_lost(loaded: Workbench) -> None:
    with loaded.connect() as connection:
        connection.execute(f"INSERT INTO sales (id) VALUES ({1 << 50})")
    feed = declare(id="INTEGER", code="BIGINT", note="VARCHAR")
    assert find(loaded, feed).refusal.endswith("to load again, in rows without a partition")


def test_what_depends_on_the_table_refuses_all(loaded: Workbench) -> None:
    with loaded.connect() as connection:
        connection.execute("CREATE INDEX by_key ON sales (partition_key)")
    before = state(loaded)
    with pytest.raises(WarehouseError, match="drop the index or constraint that depends on it"):
        apply(loaded, declare(extra="DATE", id="BIGINT"))
    assert state(loaded) == before


def test_a_table_without_rows_is_made_anew(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    bench.load(SALES, [])
    feed = declare(id="DATE")
    assert apply(bench, feed).describe() == [
        "the table has no rows, and is made anew with the columns of the feed"
    ]
    assert find(bench, feed).describe() == []
