"""Rows of a table: its first ones, how many there are, and names that nobody can trust."""

from pathlib import Path

from partitioned_etl.engine.landing.landing import LandedFile
from partitioned_etl.engine.landing.local import LocalFolder
from support.workbench import NOTES, Workbench, change_feed, land_numbers

NOBODYS = LandedFile("nobody", "nobody.csv", "", 0, 0, LocalFolder(Path()))


def test_a_preview_shows_the_first_rows_of_each_partition(bench: Workbench) -> None:
    land_numbers(bench, "a", 3, 1, 2)
    land_numbers(bench, "b", 5)
    land_numbers(bench, "c", 6)
    bench.load(NOTES)
    with bench.open_table(NOTES) as table:
        rows = table.read_first_rows([*bench.list_files(NOTES)[:2], NOBODYS], 2)
    assert {key: sorted(of_key) for key, of_key in rows.items()} == {
        "a": [(1, "x"), (3, "x")],
        "b": [(5, "x")],
        "nobody": [],
    }


def test_rows_are_counted_per_partition_key_and_file(bench: Workbench) -> None:
    land_numbers(bench, "a", 3, 1, 2)
    land_numbers(bench, "b", 5)
    bench.land(NOTES, "c.csv", "id,note\n")
    bench.load(NOTES)
    with bench.open_table(NOTES) as table:
        counted = table.count_rows(["a", "c", "b') OR true --"])
        assert counted == {("a", "a.csv"): 3}
        assert table.count_rows([]) == {}
        assert table.count_rows() == {("a", "a.csv"): 3, ("b", "b.csv"): 1}


def test_the_names_of_table_and_columns_are_quoted(bench: Workbench) -> None:
    feed = change_feed(
        NOTES, table='t"; DROP TABLE file_loads; --', columns={'a"; --': "BIGINT", "b.c": "VARCHAR"}
    )
    bench.land(feed, "a.csv", '"a""; --",b.c\n1,x\n')
    bench.load(feed)
    with bench.open_table(feed) as table:
        assert table.read_first_rows(bench.list_files(feed), 9) == {"a": [(1, "x")]}
        assert list(table.read_partition("a").columns)[:2] == ['a"; --', "b.c"]
    assert bench.tables() == ["file_loads", "load_history", "rejected_rows", feed.table]
