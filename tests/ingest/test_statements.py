"""Statements: the ones that no load runs, and how little of a feed's declaration they trust."""

from dataclasses import replace

from ingest.workbench import NOTES, Workbench, land_numbers
from partitioned_etl.ingest.statements import count_rows_sql, preview_sql


def test_a_preview_shows_the_first_rows_of_each_partition(bench: Workbench) -> None:
    land_numbers(bench, "a", 3, 1, 2)
    land_numbers(bench, "b", 5)
    land_numbers(bench, "c", 6)
    bench.load(NOTES)
    rows = bench.query(preview_sql(NOTES), ["a", "b", "nobody"], 2)
    assert sorted(rows) == [("a", 1, "x"), ("a", 3, "x"), ("b", 5, "x")]


def test_rows_are_counted_per_partition_key(bench: Workbench) -> None:
    land_numbers(bench, "a", 3, 1, 2)
    land_numbers(bench, "b", 5)
    bench.land(NOTES, "c.csv", "id,note\n")
    bench.load(NOTES)
    counted = bench.query(count_rows_sql(NOTES), ["a", "c", "b') OR true --"])
    assert counted == [("a", 3)]


def test_the_names_of_table_and_columns_are_quoted(bench: Workbench) -> None:
    feed = replace(
        NOTES, table='t"; DROP TABLE file_loads; --', columns={'a"; --': "BIGINT", "b.c": "VARCHAR"}
    )
    bench.land(feed, "a.csv", '"a""; --",b.c\n1,x\n')
    bench.load(feed)
    assert bench.query(preview_sql(feed), ["a"], 9) == [("a", 1, "x")]
    assert bench.tables() == ["file_loads", "rejected_rows", feed.table]
