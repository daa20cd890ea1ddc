"""File names and partition keys are data: never a pattern, a path or code."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.warehouse.duckdb_file import DuckDBFile
from support.scale import try_examples
from support.workbench import NOTES, Workbench, land_numbers, loaded_numbers

HEADER = "id,note\n"


GLOB_NAMES = ["a[1].csv", "a1.csv", "a*.csv", "?.csv", "x.csv", "**.csv", "[!x].csv", "{a,b}.csv"]
ODD_NAMES = ["a b.csv", "it's.csv", 'say "hi".csv', "a;b.csv", "a\nb.csv", "-- x.csv", "%2e.csv"]


def test_a_file_name_is_never_a_pattern(bench: Workbench) -> None:
    for number, name in enumerate(GLOB_NAMES + ODD_NAMES):
        bench.land(NOTES, name, f"{HEADER}{number},x\n")
    bench.load(NOTES)
    assert {row[3]: row[0] for row in bench.rows(NOTES)} == {
        name: number for number, name in enumerate(GLOB_NAMES + ODD_NAMES)
    }
    assert len(bench.rows(NOTES)) == len(GLOB_NAMES + ODD_NAMES)


@pytest.mark.parametrize("name", GLOB_NAMES + ODD_NAMES)
def test_a_file_with_an_odd_name_loads_alone_and_is_replaced(bench: Workbench, name: str) -> None:
    for other in ("a1.csv", "x.csv", "a.csv", "b.csv"):
        bench.land(NOTES, other, HEADER + "0,other\n")
    for number in (1, 2):
        bench.land(NOTES, name, f"{HEADER}{number},x\n")
        bench.load(NOTES, [file for file in bench.list_files(NOTES) if file.name == name])
    assert bench.rows(NOTES) == [(2, "x", name.removesuffix(".csv"), name)]


def test_a_landing_directory_may_have_quotes_and_spaces_in_its_name(bench: Workbench) -> None:
    odd = Workbench(bench.root / 'it\'s "here"; --')
    odd.root.mkdir()
    for key in ("a", "b"):
        land_numbers(odd, key, 1)
    odd.load(NOTES)
    assert loaded_numbers(odd) == {"a": [1], "b": [1]}


@pytest.mark.parametrize("landing_dir", ["landing", "./landing", "x/../landing", "link"])
def test_a_landing_directory_may_be_relative_or_a_link(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, landing_dir: str
) -> None:
    for key in ("a", "b"):
        land_numbers(bench, key, 1)
    (bench.root / "x").mkdir()
    (bench.root / "link").symlink_to(bench.landing_dir)
    monkeypatch.chdir(bench.root)
    landing = LocalLanding(Path(landing_dir))
    files = list(landing.list_files(NOTES).files.values())
    with DuckDBFile(Path("warehouse.duckdb")).open(landing.directory) as opened:
        load_files(opened.table(NOTES), landing, files)
    assert loaded_numbers(bench) == {"a": [1], "b": [1]}


INJECTIONS = [
    "'; DROP TABLE raw_notes; --",
    "x' OR '1'='1",
    '"; DELETE FROM file_loads; --',
    "$1",
    "?",
    "%s",
    "{key}",
    "null",
    "",
    "raw_notes",
    "*",
    "[a-z]",
    "a\nb",
    "s3:x",
    "a=1",
]


def hostile_keys() -> st.SearchStrategy[str]:
    letters = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    drawn = st.text(letters, max_size=30) | st.text("'\";-?*[]{}$ \n\t%", max_size=10)
    keys = (
        st.sampled_from(INJECTIONS)
        | drawn
        | st.tuples(st.sampled_from(INJECTIONS), drawn).map("".join)
    )
    return keys.filter(
        lambda key: (
            key != ""
            and not key.startswith((".", "~"))
            and "\\" not in key
            and len(key.encode()) < 200
        )
    )


@pytest.mark.scaled
def test_a_hostile_partition_key_is_a_value_and_never_code(bench: Workbench) -> None:
    land_numbers(bench, "zz bystander", 1)
    bench.load(NOTES)
    (bystander,) = bench.list_files(NOTES)

    with bench.open_table(NOTES) as table:

        @try_examples(30)
        @given(hostile_keys())
        def check(key: str) -> None:
            name = f"{key}.csv"
            path = bench.land(NOTES, name, HEADER + "1,x\n2,y\n")
            try:
                files = bench.list_files(NOTES)
                assume(len(files) == 2)
                for batch in ([file for file in files if file.partition_key == key], files):
                    outcomes = load_files(table, bench.landing, batch)
                    assert [outcome.reason for outcome in outcomes] == [""] * len(batch)
                    assert table.duck.execute(
                        "SELECT id, note, source_file FROM raw_notes WHERE partition_key = ?", [key]
                    ).fetchall() == [(1, "x", name), (2, "y", name)]
                    assert table.read_ledger().rows[name].row_count == 2
            finally:
                path.unlink()
            assert table.duck.execute(
                "SELECT id FROM raw_notes WHERE partition_key = 'zz bystander'"
            ).fetchall() == [(1,)]

        check()
    assert bench.tables() == ["file_loads", "load_history", "raw_notes", "rejected_rows"]
    assert bench.list_files(NOTES) == [bystander]
    bench.assert_level(NOTES)
