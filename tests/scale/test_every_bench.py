"""What is promised, on each landing with each warehouse in the same words."""

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest

from partitioned_etl.engine.archive import write_archive
from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.errors import NoWarehouseError, QueryError, WarehouseError
from partitioned_etl.engine.feed import Feed, OnMissing
from partitioned_etl.engine.forget import drop_feed, forget_files, list_held_files
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.list_since import find_first_name
from partitioned_etl.engine.migrate import apply_migration, find_migration
from partitioned_etl.engine.plan import find_removable, make_plan
from partitioned_etl.engine.reconcile import DifferenceKind, compare_table, reconcile_table
from support.odd_names import PARTS as ALL_PARTS
from support.odd_names import VERSIONS, WITH_MARKERS
from support.workbench import NOTES, PRICES, Workbench, change_feed, land_numbers
from support.workbooks import make_xlsx

pytestmark = pytest.mark.scale

PARTS = change_feed(NOTES, pattern="{key}_{part}-{version}.csv", key_pattern="[a-z]")


def numbers(bench: Workbench) -> list[tuple[int, str]]:
    """Give the number and the file of every row."""
    return sorted(bench.query("SELECT id, source_file FROM raw_notes"))


def statuses(bench: Workbench) -> dict[str, str]:
    return dict(bench.query("SELECT source_file, status FROM file_loads"))


def test_new_changed_touched_refused_and_removed_files(bench: Workbench) -> None:
    feed = change_feed(NOTES, on_missing=OnMissing.REMOVE)
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1, 2)
    assert [one.rows for one in bench.sync(feed).loaded] == [2, 2, 2]
    assert [one.rows for one in bench.sync(feed).unchanged] == [2, 2, 2]
    land_numbers(bench, "a", 7)
    bench.place.touch(feed, "b.csv")
    bench.land(feed, "d.csv", "id,note\nbad,x\n")
    report = bench.sync(feed)
    assert [one.partition_key for one in report.loaded] == ["a"]
    assert report.refused[0].reason.startswith("d.csv: line 2, column id: not a BIGINT")
    bench.land(feed, "c.csv", "id,note\nworse,x\n")
    bench.sync(feed)
    assert statuses(bench)["c.csv"] == "refused"
    assert numbers(bench) == [
        *((1, "b.csv"), (1, "c.csv"), (2, "b.csv"), (2, "c.csv"), (7, "a.csv"))
    ]
    bench.place.delete(feed, "b.csv")
    assert [one.partition_key for one in bench.sync(feed).removed] == ["b"]
    assert numbers(bench) == [(1, "c.csv"), (2, "c.csv"), (7, "a.csv")]
    bench.assert_level(feed)


def test_a_file_whose_bytes_land_again_keeps_its_load_and_gets_its_version(
    bench: Workbench,
) -> None:
    for key in ("a", "b"):
        land_numbers(bench, key, 1)
    assert len(bench.sync(NOTES).loaded) == 2
    before = bench.ledger(NOTES).rows
    land_numbers(bench, "b", 3)
    bench.place.touch(NOTES, "a.csv")
    report = bench.sync(NOTES)
    assert [record.source_file for record in report.loaded] == ["b.csv"]
    assert numbers(bench) == [(1, "a.csv"), (3, "b.csv")]
    after = bench.ledger(NOTES).rows
    assert after["a.csv"].loaded_at == before["a.csv"].loaded_at
    assert after["b.csv"].loaded_at != before["b.csv"].loaded_at
    landed = bench.landing.list_files(NOTES).files["a.csv"].version
    assert after["a.csv"].version == landed != before["a.csv"].version
    assert not bench.sync(NOTES).loaded


def test_rows_of_more_than_half_of_the_files_are_not_removed_at_once(bench: Workbench) -> None:
    feed = change_feed(NOTES, on_missing=OnMissing.REMOVE)
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1)
    bench.sync(feed)
    bench.place.delete(feed, "b.csv")
    assert [one.source_file for one in bench.sync(feed).removed] == ["b.csv"]
    held = [(1, "a.csv"), (1, "c.csv")]
    assert numbers(bench) == held
    for key in ("a", "c"):
        bench.place.delete(feed, f"{key}.csv")
    report = bench.sync(feed)
    assert not report.removed
    assert "more than half" in report.unchanged[0].reason
    assert numbers(bench) == held
    bench.assert_level(feed)


def test_files_that_are_gone_stay_loaded_where_the_feed_does_not_say_otherwise(
    bench: Workbench,
) -> None:
    for key in ("a", "b", "c"):
        land_numbers(bench, key, 1)
    bench.sync(NOTES)
    bench.place.delete(NOTES, "b.csv")
    assert not bench.sync(NOTES).removed
    assert numbers(bench) == [(1, "a.csv"), (1, "b.csv"), (1, "c.csv")]


def write_parquet() -> bytes:
    with TemporaryDirectory() as folder, duckdb.connect() as duck:
        path = Path(folder, "x")
        rows = "SELECT unnest([1, 2])::BIGINT AS id, 'x' AS note"
        duck.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


LINES = b"id,note\n1,x\n2,x\n"
FORMATS: dict[str, tuple[dict[str, object], str, Callable[[], bytes]]] = {
    "csv": ({}, "a.csv", lambda: LINES),
    "gzip": ({}, "a.csv.gz", lambda: gzip.compress(LINES)),
    "json lines": (
        {"pattern": "{key}.jsonl", "format": "json_lines"},
        "a.jsonl",
        lambda: b'{"id": 1, "note": "x"}\n{"id": 2, "note": "x"}\n',
    ),
    "workbook": (
        {"pattern": "{key}.xlsx", "format": "excel"},
        "a.xlsx",
        lambda: make_xlsx(("id", "note"), (1, "x"), (2, "x")),
    ),
    "parquet": ({"pattern": "{key}.parquet", "format": "parquet"}, "a.parquet", write_parquet),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_loaded_exactly(bench: Workbench, kind: str) -> None:
    changes, name, make = FORMATS[kind]
    feed = change_feed(NOTES, **changes)
    bench.land(feed, name, make())
    [outcome] = bench.load(feed).values()
    assert outcome.reason == ""
    assert bench.rows(feed) == [(1, "x", "a", name), (2, "x", "a", name)]


def test_a_marker_of_completeness_is_waited_for(bench: Workbench) -> None:
    for name in ("a.csv", "b.csv"):
        bench.land(WITH_MARKERS, name, "id,note\n1,x\n")
    bench.land(WITH_MARKERS, "b.csv.done", "")
    bench.sync(WITH_MARKERS)
    assert numbers(bench) == [(1, "b.csv")]
    bench.land(WITH_MARKERS, "a.csv.done", "")
    bench.sync(WITH_MARKERS)
    assert numbers(bench) == [(1, "a.csv"), (1, "b.csv")]


def test_a_part_that_is_missing_keeps_the_others_waiting(bench: Workbench) -> None:
    for name in ("a-1.csv", "a-2.csv", "b-1.csv"):
        bench.land(ALL_PARTS, name, f"id,note\n{name[2]},x\n")
    bench.sync(ALL_PARTS)
    assert numbers(bench) == [(1, "a-1.csv"), (2, "a-2.csv")]


def test_of_versions_the_highest_number_counts(bench: Workbench) -> None:
    for number in (2, 10):
        bench.land(VERSIONS, f"a_v{number}.csv", f"id,note\n{number},x\n")
    bench.sync(VERSIONS)
    assert numbers(bench) == [(10, "a_v10.csv")]


def test_loads_get_later_times_one_after_the_other_and_one_time_together(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    land_numbers(bench, "b", 1)
    bench.sync(NOTES)
    first = {row.loaded_at for row in bench.ledger(NOTES)}
    assert len(first) == 1
    land_numbers(bench, "b", 2)
    bench.sync(NOTES)
    rows = bench.ledger(NOTES).rows
    before, after = rows["a.csv"].loaded_at, rows["b.csv"].loaded_at
    assert {before} == first
    assert before
    assert after
    assert after > before


def test_quarantined_rows_go_and_come_with_their_file(bench: Workbench) -> None:
    feed = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    bench.land(feed, "a.csv", 'id,note\n1,x\nbad,"y ""z"\n')
    bench.sync(feed)
    state = "SELECT line, column_name, raw_line FROM rejected_rows"
    assert bench.query(state) == [(3, "id", 'bad,"y ""z"')]
    bench.assert_level(feed)
    bench.land(feed, "a.csv", "id,note\n1,x\n2,y\n")
    bench.sync(feed)
    assert bench.query(state) == []
    assert numbers(bench) == [(1, "a.csv"), (2, "a.csv")]


def test_parts_and_versions_take_the_place_of_those_they_should(bench: Workbench) -> None:
    bench.land(PARTS, "a_1-1.csv", "id,note\n1,x\n")
    bench.land(PARTS, "a_2-1.csv", "id,note\n2,x\n")
    bench.sync(PARTS)
    bench.land(PARTS, "a_1-2.csv", "id,note\n10,x\n")
    bench.land(PARTS, "a_3-1.csv", "id,note\n3,x\n")
    bench.sync(PARTS)
    assert numbers(bench) == [(2, "a_2-1.csv"), (3, "a_3-1.csv"), (10, "a_1-2.csv")]
    assert statuses(bench) == {
        "a_1-1.csv": "superseded",
        "a_1-2.csv": "loaded",
        "a_2-1.csv": "loaded",
        "a_3-1.csv": "loaded",
    }
    bench.assert_level(PARTS)


def test_a_file_under_another_name_takes_the_partition(bench: Workbench) -> None:
    dated = change_feed(PRICES, pattern="{date:%Y-%m-%d}.csv")
    bench.land(dated, "2024-01-02.csv", "day,price\n2024-01-02,1\n")
    bench.sync(dated)
    renamed = change_feed(PRICES, pattern="p_{date:%Y%m%d}.csv")
    bench.land(renamed, "p_20240102.csv", "day,price\n2024-01-02,3\n")
    bench.sync(renamed)
    found = bench.query("SELECT day, price, source_file FROM raw_prices")
    assert found == [(date(2024, 1, 2), 3.0, "p_20240102.csv")]
    assert statuses(bench) == {"p_20240102.csv": "loaded"}


def test_a_total_in_the_footer_is_held_against_the_rows(bench: Workbench) -> None:
    feed = change_feed(
        NOTES,
        columns={"id": "BIGINT", "amount": "DECIMAL(9,2)"},
        format=CsvFormat(footer=r"sum,(?P<amount>.*)"),
    )
    bench.land(feed, "a.csv", "id,amount\n1,1.50\n2,2.25\nsum,3.75\n")
    bench.land(feed, "b.csv", "id,amount\n1,1.50\n2,2.25\nsum,3.76\n")
    report = bench.sync(feed)
    assert [one.partition_key for one in report.loaded] == ["a"]
    assert "not the sum of the rows" in report.refused[0].reason


SALES = change_feed(
    NOTES,
    name="sales",
    table="sales",
    folder="sales",
    columns={"id": "INTEGER", "note": "VARCHAR"},
)


def test_a_table_follows_its_feed_where_nothing_is_lost(bench: Workbench) -> None:
    bench.land(SALES, "a.csv", "id,note\n70000,a\n")
    bench.sync(SALES)
    wider = change_feed(SALES, columns={"id": "BIGINT", "note": "VARCHAR", "day": "DATE"})
    told = bench.plan(wider).describe_changes("sales")
    assert told[0] == "column id becomes BIGINT from INTEGER"
    assert told[1].startswith("column day DATE is added: NULL")
    bench.land(wider, "b.csv", "id,note,day\n5000000000,b,2024-01-02\n")
    bench.place.delete(SALES, "a.csv")
    bench.sync(wider)
    assert sorted(bench.query("SELECT id, note, day FROM sales"), key=repr) == [
        (5000000000, "b", date(2024, 1, 2)),
        (70000, "a", None),
    ]
    with bench.open_table(wider) as table:
        assert not table.find_changes().columns


def test_what_may_be_lost_waits_for_migrate_and_what_does_not_fit_loads_again(
    bench: Workbench,
) -> None:
    bench.land(SALES, "a.csv", "id,note\n70000,a\n")
    bench.land(SALES, "b.csv", "id,note\n7,b\n")
    bench.sync(SALES)
    narrow = change_feed(SALES, columns={"id": "SMALLINT"})
    for name, row in (("a", 70), ("b", 7)):
        bench.land(narrow, f"{name}.csv", f"id\n{row}\n")
    with pytest.raises(WarehouseError, match="column id is INTEGER in the table and SMALLINT"):
        bench.sync(narrow)
    listing = bench.landing.list_files(narrow)
    with bench.open_table(narrow) as table:
        migration = find_migration(table, listing)
        assert migration.misfits == {"id": {"a": 1}}
        assert migration.lost == {"note": 2}
        assert apply_migration(table, listing) == migration
        assert table.count_rows() == {("b", "b.csv"): 1}
    bench.sync(narrow)
    assert sorted(bench.query("SELECT id FROM sales")) == [(7,), (70,)]
    bench.assert_level(narrow)


def test_what_a_person_forgets_goes_and_a_feed_is_dropped_as_a_whole(bench: Workbench) -> None:
    for key in ("a", "b"):
        land_numbers(bench, key, 1)
    bench.sync(NOTES)
    listing = bench.landing.list_files(NOTES)
    with bench.open_table(NOTES) as table:
        forget_files(table, list_held_files(table, listing, keys=["a"]))
    assert numbers(bench) == [(1, "b.csv")]
    bench.assert_level(NOTES)
    with bench.open_table(NOTES) as table:
        drop_feed(table)
        assert table.count_files() == 0
    assert "raw_notes" not in bench.tables()
    bench.sync(NOTES)
    assert numbers(bench) == [(1, "a.csv"), (1, "b.csv")]


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ("DELETE FROM raw_notes WHERE partition_key = 'a'", DifferenceKind.ROWS),
        ("INSERT INTO raw_notes SELECT * FROM raw_notes", DifferenceKind.ROWS),
        ("DELETE FROM file_loads WHERE partition_key = 'a'", DifferenceKind.NOT_LOADED),
        ("UPDATE raw_notes SET partition_key = 'z'", DifferenceKind.UNKNOWN),
    ],
    ids=["lost", "doubled", "forgotten", "unknown"],
)
def test_reconcile_finds_what_somebody_changed_and_repairs_what_files_allow(
    bench: Workbench, damage: str, kind: DifferenceKind
) -> None:
    for key in ("a", "b"):
        land_numbers(bench, key, 1, 2)
    bench.sync(NOTES)
    with bench.open_table(NOTES) as table:
        with table.transaction():
            session = getattr(table, "session", None)
            (session.run if session else table.duck.execute)(damage)
        listing = bench.landing.list_files(NOTES)
        assert kind in {one.kind for one in compare_table(table, listing).differences}
        left = reconcile_table(table, bench.landing, listing).left
        assert {one.kind for one in left.differences} <= {DifferenceKind.UNKNOWN}
        counted = table.count_rows()
    assert counted["a", "a.csv"] == counted["b", "b.csv"] == 2


def test_a_table_that_is_gone_makes_every_file_new(bench: Workbench) -> None:
    land_numbers(bench, "a", 1)
    bench.sync(NOTES)
    with bench.open_table(NOTES) as table, table.transaction():
        table.drop()
    assert len(bench.sync(NOTES).loaded) == 1
    assert numbers(bench) == [(1, "a.csv")]


def test_a_copy_of_a_partition_has_its_rows(bench: Workbench, tmp_path: Path) -> None:
    columns = {"id": "UBIGINT", "note": "VARCHAR", "at": "TIMESTAMPTZ"}
    feed = change_feed(NOTES, columns=columns)
    bench.land(feed, "a.csv", 'id,note,at\n18446744073709551615,"",2024-01-02 03:04:05Z\n2,,\n')
    bench.sync(feed)
    folder = tmp_path / "copies"
    folder.mkdir()
    with bench.warehouse.open(folder) as opened:
        [copy] = write_archive(opened.table(feed), ["a"], folder).values()
    assert copy.row_count == 2
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        found = duck.execute(
            'SELECT id, note, CAST("at" AS VARCHAR), partition_key, source_file '
            "FROM read_parquet(?) ORDER BY id DESC",
            [str(copy.path)],
        ).fetchall()
    assert found == [
        (18446744073709551615, "", "2024-01-02 03:04:05+00", "a", "a.csv"),
        (2, None, None, "a", "a.csv"),
    ]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("DELETE FROM raw_notes", "query only reads, and DELETE"),
        ("SELECT 1; DELETE FROM raw_notes", "one statement|multiple commands"),
        ("/* a */ WITH gone AS (DELETE FROM raw_notes RETURNING *) SELECT * FROM gone", "read|CTE"),
        ("COPY raw_notes TO '/tmp/partitioned_etl_never'", "query only reads, and COPY"),
        ("SELECT nothing FROM raw_notes", "nothing"),
        ("", "no statement|one statement at a time"),
    ],
)
def test_a_query_reads_and_changes_nothing(bench: Workbench, sql: str, reason: str) -> None:
    with pytest.raises(NoWarehouseError), bench.warehouse.open_read_only():
        pass
    land_numbers(bench, "a", 1, 2)
    bench.sync(NOTES)
    with bench.warehouse.open_read_only() as opened:
        names, rows = opened.query("SELECT id AS n, note FROM raw_notes ORDER BY 1")
        assert (list(names), list(rows)) == (["n", "note"], [(1, "x"), (2, "x")])
    with pytest.raises(QueryError, match=reason), bench.warehouse.open_read_only() as opened:
        list(opened.query(sql).rows)
    assert numbers(bench) == [(1, "a.csv"), (2, "a.csv")]
    assert not Path("/tmp/partitioned_etl_never").exists()


def test_statements_of_a_downstream_asset_are_done_together_or_not_at_all(
    bench: Workbench,
) -> None:
    land_numbers(bench, "a", 1, 2)
    bench.sync(NOTES)

    def count_again(fail: Callable[[], object]) -> None:
        with bench.open() as opened, opened.transaction("counted") as execute:
            execute("CREATE TABLE IF NOT EXISTS counted (key VARCHAR, n BIGINT)", [])
            execute("DELETE FROM counted WHERE key = ANY($1)", [["a", "b"]])
            execute(
                "INSERT INTO counted SELECT partition_key, count(*) FROM raw_notes "
                "WHERE partition_key = ANY($1) GROUP BY 1",
                [["a"]],
            )
            assert execute("SELECT n FROM counted", []) == [(2,)]
            fail()

    count_again(lambda: None)
    with pytest.raises(ZeroDivisionError):
        count_again(lambda: 1 / 0)
    count_again(lambda: None)
    assert bench.query("SELECT key, n FROM counted") == [("a", 2)]


def test_a_look_from_a_date_on_reads_of_the_ledger_what_it_lists(bench: Workbench) -> None:
    """Names are compared by their characters, and not by the rules of a database's language."""
    feed = Feed(
        name="days",
        pattern="D{date:%Y-%m-%d}_{part}.csv",
        columns={"id": "BIGINT"},
        list_since_days=7,
        on_missing=OnMissing.REMOVE,
    )
    names = [f"D2026-05-{day}_{part}.csv" for day in ("09", "10", "11") for part in ("a", "B", "ä")]
    for number, name in enumerate(names):
        bench.land(feed, name, f"id\n{number}\n")
    assert len(bench.sync(feed).loaded) == len(names)
    for name in (names[0], names[4]):
        bench.place.delete(feed, name)
    bench.land(feed, names[1], "id\n77\n")
    first_name = find_first_name(feed, datetime(2026, 5, 17, tzinfo=UTC))
    assert first_name == "D2026-05-10"
    for first, expected in ((first_name, names[3:]), ("D2026-05-10_b", [names[5], *names[6:]])):
        with bench.warehouse.open(bench.landing.readable_dir) as opened:
            table = opened.table(feed)
            assert sorted(table.read_ledger(first_name=first).rows) == sorted(expected)
            assert sorted(name for name, *_ in table.read_loads(first)) == sorted(expected)
    scan = bench.landing.scan(feed, None, first_name)
    plan = make_plan(feed, scan, bench.landing, bench.warehouse)
    assert find_removable(feed, plan).names == [names[4]]
    assert not plan.candidates()
    assert not plan.is_first
