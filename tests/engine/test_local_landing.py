"""What lies in a feed's folder: which entries are landed files, and why others are passed over."""

import os
import socket
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing import landing, local
from partitioned_etl.engine.landing.landing import LandedFile, find_landed_files, hash_content
from partitioned_etl.engine.landing.local import LocalFolder, version_in
from support.workbench import CUSTOMER_DAYS, NOTES, ORDERS, PRICES, Workbench, change_feed

DEFAULT_KEYS = change_feed(NOTES, key_pattern=Feed.model_fields["key_pattern"].default)


def ignored(bench: Workbench, feed: Feed = NOTES) -> dict[str, str]:
    listing = bench.landing.list_files(feed)
    assert not listing.files
    assert not listing.refused
    return {entry.name: entry.reason for entry in listing.ignored}


def refused(bench: Workbench, feed: Feed = NOTES) -> dict[str, str]:
    listing = bench.landing.list_files(feed)
    assert not listing.files
    assert not listing.ignored
    return {entry.name: entry.reason for entry in listing.refused}


def land_one(bench: Workbench, content: bytes = b"id,note\n") -> LandedFile:
    bench.land(NOTES, "a.csv", content)
    (file,) = bench.list_files(NOTES)
    return file


def test_a_landed_file_has_key_path_and_version(bench: Workbench) -> None:
    path = bench.land(PRICES, "2018-01-22.csv", b"12345")
    os.utime(path, ns=(5, 1_600_000_000_123_456_789))
    (file,) = bench.list_files(PRICES)
    status = path.stat()
    assert file == LandedFile(
        "2018-01-22",
        "2018-01-22.csv",
        f"5-1600000000123456789-{status.st_ctime_ns}-{status.st_ino}",
        5,
        status.st_ctime_ns,
        LocalFolder(path.parent),
    )
    assert file.version == version_in(status)
    assert file.path == path
    assert file.uri == path.resolve().as_uri()


def test_landed_files_are_listed_in_the_order_of_their_keys(bench: Workbench) -> None:
    for key in ("b", "c", "a"):
        bench.land(NOTES, f"{key}.csv", "")
    assert list(bench.landing.list_files(NOTES).files) == ["a.csv", "b.csv", "c.csv"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".a.csv", "hidden file"),
        (".csv", "hidden file"),
        ("~a.csv", "temporary file"),
        ("a.csv~", "temporary file"),
        ("a.csv.part", "temporary file"),
        ("a.csv.tmp", "temporary file"),
        ("a.csv.filepart", "temporary file"),
        ("a.csv.crdownload", "temporary file"),
        ("README.md", "the name does not match the pattern '{key}.csv'"),
        ("a.CSV", "the name does not match the pattern '{key}.csv'"),
        ("a.csv.7z", "the name does not match the pattern '{key}.csv'"),
    ],
)
def test_a_file_that_is_none_of_the_feeds_business_is_ignored(
    bench: Workbench, name: str, reason: str
) -> None:
    bench.land(NOTES, name, "id,note\n1,x\n")
    assert ignored(bench) == {name: reason}


def test_a_temporary_name_is_ignored_even_where_the_pattern_matches_it(bench: Workbench) -> None:
    bench.land(NOTES, "a.part", "id,note\n1,x\n")
    assert ignored(bench, change_feed(NOTES, pattern="{key}")) == {"a.part": "temporary file"}


@pytest.mark.parametrize("name", ["a.csv", "README.md"])
def test_a_symbolic_link_is_ignored(bench: Workbench, name: str) -> None:
    outside = bench.root / "outside.csv"
    outside.write_bytes(b"id,note\n1,x\n")
    bench.path(NOTES, name).parent.mkdir(parents=True)
    bench.path(NOTES, name).symlink_to(outside)
    assert ignored(bench) == {name: "symbolic link"}


def test_a_dangling_symbolic_link_is_ignored(bench: Workbench) -> None:
    bench.path(NOTES, "a.csv").parent.mkdir(parents=True)
    bench.path(NOTES, "a.csv").symlink_to(bench.root / "nowhere")
    assert ignored(bench) == {"a.csv": "symbolic link"}


@pytest.mark.parametrize("name", ["a.csv", "archive"])
def test_a_folder_is_ignored(bench: Workbench, name: str) -> None:
    bench.path(NOTES, name).mkdir(parents=True)
    assert ignored(bench) == {name: "folder"}


@pytest.mark.parametrize("name", ["a.csv", "pipe"])
def test_a_fifo_is_ignored(bench: Workbench, name: str) -> None:
    bench.path(NOTES, name).parent.mkdir(parents=True)
    os.mkfifo(bench.path(NOTES, name))
    assert ignored(bench) == {name: "not a regular file"}


def test_a_socket_is_ignored(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.path(NOTES, "a.csv").parent.mkdir(parents=True)
    # A socket's path has to be short.
    monkeypatch.chdir(bench.path(NOTES, "a.csv").parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("a.csv")
        assert ignored(bench) == {"a.csv": "not a regular file"}


def test_a_folder_that_does_not_exist_holds_nothing(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    folder = str(bench.landing_dir / "notes")
    assert ignored(bench) == {folder: "the feed's folder does not exist"}


def test_a_landing_directory_that_does_not_exist_is_an_error(bench: Workbench) -> None:
    with pytest.raises(LandedFileError, match=r"the landing directory .* does not exist"):
        bench.landing.list_files(NOTES)


def test_a_folder_that_cannot_be_listed_is_an_error(bench: Workbench) -> None:
    bench.landing_dir.mkdir()
    (bench.landing_dir / "notes").write_bytes(b"")
    with pytest.raises(LandedFileError, match=r"feed notes: cannot list .*notes"):
        bench.landing.list_files(NOTES)


def test_a_name_with_an_impossible_date_is_refused(bench: Workbench) -> None:
    bench.land(PRICES, "2018-02-30.csv", "")
    assert refused(bench, PRICES) == {
        "2018-02-30.csv": "the name holds no date of the form %Y-%m-%d"
    }


def test_a_name_of_the_last_year_that_a_calendar_has_is_refused(bench: Workbench) -> None:
    """What begins on its last day has no end, and the calendar of all feeds could not be drawn."""
    hours = change_feed(PRICES, pattern="{date:%Y-%m-%d-%H}.csv", partitioning=None)
    weeks = change_feed(PRICES, pattern="{date:%G-W%V}.csv", partitioning=None)
    for feed, name in (
        (PRICES, "9999-12-31.csv"),
        (ORDERS, "9999-12.csv"),
        (hours, "9999-12-31-23.csv"),
        (weeks, "9999-W52.csv"),
        (CUSTOMER_DAYS, "acme/9999-12-31.csv"),
    ):
        landed = bench.land(feed, name, "")
        ((_, reason),) = refused(bench, feed).items()
        assert "the name holds no date of the form" in reason
        assert feed.window_of("9999-12-31") is None
        landed.unlink()


def test_a_name_whose_key_the_feed_does_not_allow_is_refused(bench: Workbench) -> None:
    bench.land(NOTES, "a b.csv", "")
    ((name, reason),) = refused(bench, DEFAULT_KEYS).items()
    assert name == "a b.csv"
    assert reason.startswith("partition key 'a b' is not made of the characters that feed notes")


def test_a_name_with_a_backslash_is_refused(bench: Workbench) -> None:
    bench.land(NOTES, "a\\b.csv", "")
    assert refused(bench) == {
        "a\\b.csv": "the name holds a backslash, which DuckDB takes for an escape"
    }


def test_a_name_that_is_not_utf8_is_refused(bench: Workbench) -> None:
    bench.path(NOTES, "x").parent.mkdir(parents=True)
    folder = os.fsencode(bench.path(NOTES, "x").parent)
    try:
        descriptor = os.open(os.path.join(folder, b"\xff.csv"), os.O_CREAT | os.O_WRONLY)  # noqa: PTH118
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    os.close(descriptor)
    assert refused(bench) == {"\\udcff.csv": "the name is not UTF-8"}


@pytest.mark.parametrize(
    "names",
    [
        ("acme.csv", "ACME.csv"),
        ("acme.csv", "Acme.csv", "aCME.csv"),
        ("caf\u00e9.csv", "cafe\u0301.csv"),
        ("stra\u00dfe.csv", "STRASSE.csv"),
    ],
)
def test_names_that_differ_only_in_case_or_unicode_form_are_all_refused(
    bench: Workbench, names: tuple[str, ...]
) -> None:
    for name in names:
        bench.land(NOTES, name, "id,note\n1,x\n")
    if len(list(bench.path(NOTES, "").iterdir())) < len(names):
        pytest.skip("this file system does not tell these names apart")
    reason = f"several files stand for one partition key: {', '.join(sorted(names))}"
    assert refused(bench) == dict.fromkeys(names, reason)


def test_a_colliding_name_does_not_keep_others_from_being_listed(bench: Workbench) -> None:
    for name in ("acme.csv", "ACME.csv", "globex.csv"):
        bench.land(NOTES, name, "id,note\n1,x\n")
    assert [file.name for file in bench.list_files(NOTES)] == ["globex.csv"]


def test_a_folder_a_name_is_listed_with_the_files_in_it(bench: Workbench) -> None:
    for name in ("globex/2018-01-22.csv", "acme/2018-01-23.csv", "acme/2018-01-22.csv.gz"):
        bench.land(CUSTOMER_DAYS, name, "")
    bench.path(CUSTOMER_DAYS, "initech").mkdir()
    assert [(file.partition_key, file.name) for file in bench.list_files(CUSTOMER_DAYS)] == [
        ("acme|2018-01-22", "acme/2018-01-22.csv.gz"),
        ("acme|2018-01-23", "acme/2018-01-23.csv"),
        ("globex|2018-01-22", "globex/2018-01-22.csv"),
    ]


CALENDAR = change_feed(CUSTOMER_DAYS, pattern="{date:%Y}/{date:%m}/{key}_{any}.csv")
NO_MATCH = f"the name does not match the pattern {CALENDAR.pattern!r}"


def test_folders_in_folders_are_listed(bench: Workbench) -> None:
    for name in ("2018/01/acme_2.csv", "2018/02/acme_.csv", "2017/12/globex_x_y.csv.gz"):
        bench.land(CALENDAR, name, "")
    assert [(file.partition_key, file.name) for file in bench.list_files(CALENDAR)] == [
        ("acme|2018-01-01", "2018/01/acme_2.csv"),
        ("acme|2018-02-01", "2018/02/acme_.csv"),
        ("globex|2017-12-01", "2017/12/globex_x_y.csv.gz"),
    ]


@pytest.mark.parametrize(
    ("name", "passed_over", "reason"),
    [
        ("2018.csv", "2018.csv", NO_MATCH),
        ("2018/a_.csv", "2018/a_.csv", NO_MATCH),
        ("2018/1/a_.csv", "2018/1", "folder"),
        ("2018/01/a.csv", "2018/01/a.csv", NO_MATCH),
        ("2018/01/a_/a_.csv", "2018/01/a_", "folder"),
        ("2018/.01/a_.csv", "2018/.01", "hidden file"),
    ],
)
def test_an_entry_that_is_no_file_in_folders_is_ignored(
    bench: Workbench, name: str, passed_over: str, reason: str
) -> None:
    bench.land(CALENDAR, name, "id,note\n")
    assert ignored(bench, CALENDAR) == {passed_over: reason}


def test_two_files_for_one_key_are_refused_whatever_varies_in_their_names(bench: Workbench) -> None:
    for name in ("2018/01/a_1.csv", "2018/01/a_2.csv"):
        bench.land(CALENDAR, name, "id,note\n")
    reason = "several files stand for one partition key: 2018/01/a_1.csv, 2018/01/a_2.csv"
    assert refused(bench, CALENDAR) == {"2018/01/a_1.csv": reason, "2018/01/a_2.csv": reason}


@pytest.mark.parametrize("swapped", ["2018", "2018/01"])
def test_a_folder_on_the_way_that_becomes_a_link_is_not_followed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    bench.land(CALENDAR, "2018/01/a_.csv", "id,note\n")
    path, outside = bench.path(CALENDAR, swapped), bench.root / "outside"
    read_folder = local._FolderScan._read_folder

    def swap_and_read(*given: Any) -> None:
        path.rename(outside)
        path.symlink_to(outside)
        read_folder(*given)

    monkeypatch.setattr(local._FolderScan, "_read_folder", swap_and_read)
    with pytest.raises(LandedFileError, match="cannot list"):
        bench.landing.list_files(CALENDAR)


@pytest.mark.parametrize(
    ("name", "passed_over", "reason"),
    [
        (".acme/2018-01-22.csv", ".acme", "hidden file"),
        ("acme.tmp/2018-01-22.csv", "acme.tmp", "temporary file"),
        ("acme/.2018-01-22.csv", "acme/.2018-01-22.csv", "hidden file"),
        ("acme/2018-01-22.csv.part", "acme/2018-01-22.csv.part", "temporary file"),
        ("acme/2018/2018-01-22.csv", "acme/2018", "folder"),
        (
            "2018-01-22.csv",
            "2018-01-22.csv",
            "the name does not match the pattern '{key}/{date:%Y-%m-%d}.csv'",
        ),
        (
            "acme/README.md",
            "acme/README.md",
            "the name does not match the pattern '{key}/{date:%Y-%m-%d}.csv'",
        ),
    ],
)
def test_an_entry_that_is_no_file_in_a_folder_a_name_is_ignored(
    bench: Workbench, name: str, passed_over: str, reason: str
) -> None:
    bench.land(CUSTOMER_DAYS, name, "id,note\n")
    assert ignored(bench, CUSTOMER_DAYS) == {passed_over: reason}


def test_a_folder_that_is_not_like_the_pattern_is_ignored(bench: Workbench) -> None:
    feed = change_feed(CUSTOMER_DAYS, pattern="{date:%Y-%m}/{key}.csv", partitioning=None)
    bench.land(feed, "archive/a.csv", "")
    assert ignored(bench, feed) == {"archive": "folder"}


def test_a_link_to_a_folder_is_ignored(bench: Workbench) -> None:
    outside = bench.root / "outside"
    outside.mkdir()
    (outside / "2018-01-22.csv").write_bytes(b"id,note\n1,x\n")
    bench.path(CUSTOMER_DAYS, "acme").parent.mkdir(parents=True)
    bench.path(CUSTOMER_DAYS, "acme").symlink_to(outside)
    assert ignored(bench, CUSTOMER_DAYS) == {"acme": "symbolic link"}


def test_a_folder_that_becomes_a_link_is_not_followed(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.land(CUSTOMER_DAYS, "acme/2018-01-22.csv", "id,note\n").parent
    list_subfolders = local._FolderScan._list_subfolders

    def list_and_swap(*given: Any) -> list[str]:
        names = list_subfolders(*given)
        path.rename(bench.root / "outside")
        path.symlink_to(bench.root / "outside")
        return names

    monkeypatch.setattr(local._FolderScan, "_list_subfolders", list_and_swap)
    with pytest.raises(LandedFileError, match="cannot list"):
        bench.landing.list_files(CUSTOMER_DAYS)


def test_names_of_folders_that_differ_only_in_case_are_all_refused(bench: Workbench) -> None:
    for name in ("acme/2018-01-22.csv", "ACME/2018-01-23.csv"):
        bench.land(CUSTOMER_DAYS, name, "")
    bench.land(CUSTOMER_DAYS, "globex/2018-01-22.csv", "")
    if len(list(bench.path(CUSTOMER_DAYS, "").iterdir())) < 3:
        pytest.skip("this file system does not tell these names apart")
    listing = bench.landing.list_files(CUSTOMER_DAYS)
    assert list(listing.by_key) == ["globex|2018-01-22"]
    assert {entry.name: entry.reason for entry in listing.refused} == dict.fromkeys(
        ("ACME/2018-01-23.csv", "acme/2018-01-22.csv"), "several spellings of one name: ACME, acme"
    )


def test_two_files_for_one_key_in_a_folder_are_both_refused(bench: Workbench) -> None:
    names = ("acme/2018-01-22.csv", "acme/2018-01-22.csv.gz")
    for name in names:
        bench.land(CUSTOMER_DAYS, name, "")
    reason = f"several files stand for one partition key: {', '.join(names)}"
    assert refused(bench, CUSTOMER_DAYS) == dict.fromkeys(names, reason)


@pytest.mark.parametrize("name", ["a*", "a?", "a[1]", "a\\b"])
def test_a_folder_with_a_character_of_a_pattern_is_refused(bench: Workbench, name: str) -> None:
    feed = change_feed(CUSTOMER_DAYS, key_pattern=".+")
    bench.land(feed, f"{name}/2018-01-22.csv", "")
    assert refused(bench, feed) == {
        name: "DuckDB takes a character of the folder's name for a pattern: one of * ? [ \\"
    }


def test_a_marker_lies_beside_its_file_in_the_same_folder(bench: Workbench) -> None:
    feed = change_feed(CUSTOMER_DAYS, done_suffix=".done")
    for name in ("acme/2018-01-22.csv", "globex/2018-01-22.csv", "acme/2018-01-22.csv.done"):
        bench.land(feed, name, "")
    assert {file.name: file.lacks for file in bench.list_files(feed)} == {
        "acme/2018-01-22.csv": "",
        "globex/2018-01-22.csv": "its marker file has not landed",
    }


def test_a_key_finds_its_landed_file(bench: Workbench) -> None:
    file = land_one(bench)
    listing = bench.landing.list_files(NOTES)
    assert find_landed_files(NOTES, bench.landing, listing, "a") == [file]


@pytest.mark.parametrize("key", ["b", "../notes/a", "a.csv", "*", "", "a\0"])
def test_a_key_is_looked_up_and_never_made_into_a_path(bench: Workbench, key: str) -> None:
    land_one(bench)
    listing = bench.landing.list_files(NOTES)
    with pytest.raises(LandedFileError) as missing:
        find_landed_files(NOTES, bench.landing, listing, key)
    assert f"partition key {key!a}: no file in {bench.landing_dir}" in str(missing.value)


def test_a_refused_file_is_not_found_and_the_message_says_why(bench: Workbench) -> None:
    for name in ("acme.csv", "ACME.csv"):
        bench.land(NOTES, name, "")
    listing = bench.landing.list_files(NOTES)
    with pytest.raises(LandedFileError, match=r"acme.csv: several files stand for one"):
        find_landed_files(NOTES, bench.landing, listing, "acme")


def append(path: Path) -> None:
    with path.open("ab") as handle:
        handle.write(b"x")


def replace_by_copy(path: Path) -> None:
    copy = path.with_suffix(".new")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_suffix(".old"))
    path.symlink_to(path.with_suffix(".old"))


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def set_mtime(path: Path) -> None:
    os.utime(path, ns=(1, 1))


CHANGES = [append, replace_by_copy, replace_by_link, replace_by_fifo, set_mtime, Path.unlink]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_no_longer_the_listed_one_is_not_opened(
    bench: Workbench, change: Callable[[Path], None]
) -> None:
    file = land_one(bench)
    change(file.path)
    with pytest.raises(LandedFileError, match=r"^a.csv: "), file.open():
        pass


def test_a_file_is_not_opened_through_a_link(bench: Workbench) -> None:
    file = land_one(bench)
    file.path.with_name("link.csv").symlink_to(file.path)
    with (
        pytest.raises(LandedFileError, match=r"^link.csv: cannot be opened: "),
        file._replace(name="link.csv").open(),
    ):
        pass


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_listing_is_noticed(
    bench: Workbench, change: Callable[[Path], None]
) -> None:
    for name in ("a.csv", "b.csv"):
        bench.land(NOTES, name, "id,note\n")
    files = bench.list_files(NOTES)
    assert [file.has_changed for file in files] == [False, False]
    change(files[0].path)
    assert [file.has_changed for file in files] == [True, False]


def test_a_file_that_is_left_alone_is_opened_as_it_was_listed(bench: Workbench) -> None:
    file = land_one(bench, b"id,note\n1,x\n")
    with file.open() as handle:
        assert handle.read() == b"id,note\n1,x\n"
    assert handle.closed


def test_the_content_hash_is_the_sha256_of_all_bytes(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 10
    file = land_one(bench, content)
    monkeypatch.setattr(landing, "CHUNK_BYTES", 100)
    assert hash_content(file) == sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("now_s", "is_settled"),
    [(100, False), (101, False), (102, True), (1_000, True), (99, False), (97, True)],
)
def test_a_file_is_settled_when_it_was_left_alone_for_the_settle_time(
    now_s: int, is_settled: bool
) -> None:
    file = LandedFile("a", "a.csv", "1", 1, 100 * 10**9, LocalFolder(Path()))
    assert file.is_settled(2.0, now_ns=now_s * 10**9) is is_settled


@pytest.mark.parametrize("year", [-300, 0, 2018, 2300, 2446, 12_000])
def test_a_file_of_any_time_is_loaded_once(bench: Workbench, year: int) -> None:
    mtime_ns = (year - 1970) * 31_556_952 * 10**9
    os.utime(bench.land(NOTES, "a.csv", "id,note\n1,x\n"), ns=(mtime_ns, mtime_ns))
    assert [record.source_file for record in bench.sync(NOTES).loaded] == ["a.csv"]
    assert [record.source_file for record in bench.sync(NOTES).unchanged] == ["a.csv"]
    assert bench.rows(NOTES) == [(1, "x", "a", "a.csv")]


def test_without_a_settle_time_every_file_is_settled() -> None:
    file = LandedFile("a", "a.csv", "1", 1, 100, LocalFolder(Path()))
    assert file.is_settled(0, now_ns=100)
