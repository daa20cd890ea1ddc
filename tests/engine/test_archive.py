"""Copies of partitions: equal to the table, whole, and named so that no key can do harm."""

from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.archive import (
    archive_file_name,
    remove_archived_files,
    write_archive,
)
from partitioned_etl.engine.feed import OnMissing
from support.workbench import NOTES, Workbench, change_feed

HOSTILE_KEYS = [
    "../../etc/passwd",
    "..",
    "/etc/passwd",
    ".hidden",
    "a\nb",
    "a'; DROP TABLE raw_notes; --",
    "*",
    "[a]",
    "{uuid}",
    "%2F",
    "k" * 300,
    "\u00e9" * 200,
    "con",
    "",
]


def read_copy(path: Path) -> list[tuple[object, ...]]:
    """Read a copy as anybody does, without the database."""
    relation = duckdb.read_parquet(str(path))
    return relation.order("ALL").fetchall()


def load(bench: Workbench, keys: dict[str, list[str]]) -> None:
    """Put rows into the table under keys that need not be file names."""
    with duckdb.connect(str(bench.database)) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS raw_notes "
            "(id BIGINT, note VARCHAR, partition_key VARCHAR, source_file VARCHAR)"
        )
        connection.execute("DELETE FROM raw_notes")
        for key, notes in keys.items():
            for number, note in enumerate(notes, 1):
                connection.execute(
                    "INSERT INTO raw_notes VALUES (?, ?, ?, ?)", [number, note, key, "x.csv"]
                )


def test_each_copy_holds_the_rows_of_its_partition_and_stays_in_the_folder(
    bench: Workbench, tmp_path: Path
) -> None:
    load(bench, {key: [f"of {number}"] for number, key in enumerate(HOSTILE_KEYS)})
    archive_dir = tmp_path / "archive [1]*"
    archive_dir.mkdir()
    before = set(tmp_path.rglob("*"))
    with bench.warehouse.open(archive_dir) as opened:
        written = write_archive(opened.table(NOTES), HOSTILE_KEYS, archive_dir / "notes")
    made = set(tmp_path.rglob("*")) - before - {archive_dir / "notes"}
    assert made == {file.path for file in written.values()}
    assert len(made) == len(HOSTILE_KEYS)
    plain_dir = tmp_path / "plain"
    sizes = {key: copy.path.stat().st_size for key, copy in written.items()}
    (archive_dir / "notes").rename(plain_dir)
    for number, key in enumerate(HOSTILE_KEYS):
        copy = written[key]
        assert read_copy(plain_dir / copy.path.name) == [(1, f"of {number}", key, "x.csv")]
        assert (copy.row_count, copy.size_bytes) == (1, sizes[key])


def test_a_copy_is_replaced_as_a_whole(bench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    for notes in (["a", "b"], ["c"]):
        load(bench, {"acme": notes})
        with bench.warehouse.open(tmp_path) as opened:
            [copy] = write_archive(opened.table(NOTES), ["acme"], folder).values()
        assert [note for _, note, _, _ in read_copy(copy.path)] == notes
    assert list(folder.iterdir()) == [folder / "acme.parquet"]


def test_a_write_that_fails_leaves_the_old_copy(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "archive"
    load(bench, {"acme": ["old"]})
    with bench.warehouse.open(tmp_path) as opened:
        [copy] = write_archive(opened.table(NOTES), ["acme"], folder).values()
    load(bench, {"acme": ["new"]})

    def fail(*_: object) -> None:
        raise OSError("disk is full")

    monkeypatch.setattr("partitioned_etl.engine.archive.os.fsync", fail)
    with (
        bench.warehouse.open(tmp_path) as opened,
        pytest.raises(OSError, match="disk is full"),
    ):
        write_archive(opened.table(NOTES), ["acme"], folder)
    assert [note for _, note, _, _ in read_copy(copy.path)] == ["old"]


def test_a_connection_for_copies_reaches_nothing_else(bench: Workbench, tmp_path: Path) -> None:
    load(bench, {"acme": ["a"]})
    (tmp_path / "archive").mkdir()
    with (
        bench.warehouse.open(tmp_path / "archive") as opened,
        pytest.raises(duckdb.PermissionException),
    ):
        write_archive(opened.table(NOTES), ["acme"], tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_copies_of_removed_partitions_go_only_where_the_policy_removes(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet", "notes.txt"):
        (tmp_path / name).touch()
    assert remove_archived_files(NOTES, tmp_path, {"a"}) == []
    removing = change_feed(NOTES, on_missing=OnMissing.REMOVE)
    assert remove_archived_files(removing, tmp_path, {"a"}) == [tmp_path / "b.parquet"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.parquet", "notes.txt"}
    assert remove_archived_files(removing, tmp_path / "nowhere", {"a"}) == []


@given(st.text(), st.text())
def test_no_two_keys_share_a_name_and_no_name_is_a_path(one: str, other: str) -> None:
    name = archive_file_name(one)
    assert (name == archive_file_name(other)) == (one == other)
    assert "/" not in name
    assert "\\" not in name
    assert not name.startswith(".") or one == ""
    assert len(name.encode()) <= 240
