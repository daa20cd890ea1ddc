"""Compressed files: `.gz` and `.zst` are loaded as their text is, or refused, and never in part."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from backports import zstd

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.landing.landing import CHUNK_BYTES
from partitioned_etl.engine.landing.local import version_in
from partitioned_etl.engine.warehouse.ledger import LoadStatus
from support.scale import quick_and_long
from support.workbench import NO_LINE_END, NOTES, Workbench, change_feed

TEXT = b"id,note\n1,x\n2,y\n"
ROWS = [(1, "x"), (2, "y")]
MIB = 1 << 20


def compress_gz(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


def compress_zst(text: bytes) -> bytes:
    return zstd.compress(text, options={zstd.CompressionParameter.checksum_flag: 1})


def compress_zip(text: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("a.csv"), text)
    return content.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": compress_gz, ".zst": compress_zst}
SUFFIXES = list(COMPRESS)


def make_gz(text: bytes, flags: int = 0, fields: bytes = b"") -> bytes:
    """Make a gzip member whose header has these flags and the fields that they announce."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6)
    if flags & 2:
        fields += struct.pack("<H", zlib.crc32(header + fields) & 0xFFFF)
    trailer = struct.pack("<II", zlib.crc32(text), len(text))
    return header + fields + deflate.compress(text) + deflate.flush() + trailer


def skippable_frame(content: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", len(content)) + content


def loaded(bench: Workbench) -> list[tuple[object, ...]]:
    return [row[:2] for row in bench.rows(NOTES)]


SOUND = {
    "one member": (".gz", compress_gz(TEXT)),
    "a member per line": (".gz", b"".join(compress_gz(line) for line in TEXT.splitlines(True))),
    "members that end within a line": (".gz", compress_gz(TEXT[:9]) + compress_gz(TEXT[9:])),
    "an empty member first": (".gz", compress_gz(b"") + compress_gz(TEXT)),
    "an empty member last": (".gz", compress_gz(TEXT) + compress_gz(b"")),
    "not compressed within": (".gz", gzip.compress(TEXT, 0, mtime=0)),
    "a flag for text": (".gz", make_gz(TEXT, 1)),
    "a checksum of the header": (".gz", make_gz(TEXT, 2)),
    "an extra field": (".gz", make_gz(TEXT, 4, b"\x04\0abcd")),
    "a file name within": (".gz", make_gz(TEXT, 8, b"../decoy.csv\0")),
    "a comment": (".gz", make_gz(TEXT, 16, b"a comment\0")),
    "one zero byte behind": (".gz", compress_gz(TEXT) + b"\0"),
    "many zero bytes behind": (".gz", compress_gz(TEXT) + bytes(1000)),
    "one frame": (".zst", compress_zst(TEXT)),
    "a frame per line": (".zst", b"".join(compress_zst(line) for line in TEXT.splitlines(True))),
    "frames that end within a line": (".zst", compress_zst(TEXT[:9]) + compress_zst(TEXT[9:])),
    "an empty frame first": (".zst", compress_zst(b"") + compress_zst(TEXT)),
    "an empty frame last": (".zst", compress_zst(TEXT) + compress_zst(b"")),
    "a frame to skip": (".zst", compress_zst(TEXT) + skippable_frame(b"abcd")),
    "no checksum": (".zst", zstd.compress(TEXT)),
}


@pytest.mark.parametrize(("suffix", "content"), SOUND.values(), ids=list(SOUND))
def test_a_compressed_file_loads_as_its_text(bench: Workbench, suffix: str, content: bytes) -> None:
    bench.land(NOTES, f"a.csv{suffix}", content)
    bench.land(NOTES, "b.csv", "id,note\n7,plain\n")
    outcomes = bench.load(NOTES)
    assert {key: outcome.reason for key, outcome in outcomes.items()} == {"a": "", "b": ""}
    name = f"a.csv{suffix}"
    assert bench.rows(NOTES) == [
        (1, "x", "a", name),
        (2, "y", "a", name),
        (7, "plain", "b", "b.csv"),
    ]
    [row] = bench.ledger(NOTES).by_key["a"]
    assert (row.source_file, row.row_count) == (name, 2)
    assert row.content_hash == sha256(content).hexdigest()


OTHER_GZ, OTHER_ZST = (compress(b"id,note\n3,Zaphod\n") for compress in COMPRESS.values())
DAMAGED, CUT = "the compressed data is damaged", "the compressed data ends early: cut off?"
BREACHES = {
    "gzip: no bytes": ("a.csv.gz", b"", "the file is empty"),
    "gzip: no text": ("a.csv.gz", compress_gz(b""), "the file is empty"),
    "gzip: text behind": ("a.csv.gz", OTHER_GZ + b"4,Zaphod\n", DAMAGED),
    "gzip: one byte behind": ("a.csv.gz", OTHER_GZ + b"x", DAMAGED),
    "gzip: a second member that is cut off": ("a.csv.gz", OTHER_GZ + OTHER_GZ[:-9], CUT),
    "gzip: another checksum": (
        "a.csv.gz",
        OTHER_GZ[:-8] + bytes([OTHER_GZ[-8] ^ 1]) + OTHER_GZ[-7:],
        DAMAGED,
    ),
    "gzip: another length": ("a.csv.gz", OTHER_GZ[:-1] + bytes([OTHER_GZ[-1] ^ 1]), DAMAGED),
    "gzip: no checksum": ("a.csv.gz", OTHER_GZ[:-8], CUT),
    "gzip: another method": ("a.csv.gz", OTHER_GZ[:2] + b"\x07" + OTHER_GZ[3:], DAMAGED),
    "gzip: compressed twice": (
        "a.csv.gz",
        compress_gz(OTHER_GZ),
        "line 1: the bytes are not utf-8",
    ),
    "gzip: a text that is cut off": (
        "a.csv.gz",
        compress_gz(b"id,note\n3,Zaphod"),
        f"line 2: {NO_LINE_END}",
    ),
    "gzip: a bad row": (
        "a.csv.gz",
        compress_gz(b"id,note\n3,Zaphod\nx,Zaphod\n"),
        "line 3, column id: not a BIGINT",
    ),
    "gzip: text under its name": (
        "a.csv.gz",
        b"id,note\n3,Zaphod\n",
        "the file is not compressed (.gz) as its name says",
    ),
    "gzip: zstd under its name": (
        "a.csv.gz",
        OTHER_ZST,
        "the file is compressed (.zst), and its name does not say so",
    ),
    "zstd: no bytes": ("a.csv.zst", b"", CUT),
    "zstd: no text": ("a.csv.zst", compress_zst(b""), "the file is empty"),
    "zstd: text behind": ("a.csv.zst", OTHER_ZST + b"4,Zaphod\n", DAMAGED),
    "zstd: zero bytes behind": ("a.csv.zst", OTHER_ZST + bytes(8), DAMAGED),
    "zstd: a second frame that is cut off": ("a.csv.zst", OTHER_ZST + OTHER_ZST[:-1], CUT),
    "zstd: another checksum": (
        "a.csv.zst",
        OTHER_ZST[:-1] + bytes([OTHER_ZST[-1] ^ 1]),
        DAMAGED,
    ),
    "zstd: a frame to skip first": (
        "a.csv.zst",
        skippable_frame(b"abcd") + OTHER_ZST,
        "the file is not compressed (.zst) as its name says",
    ),
    "zstd: text under its name": (
        "a.csv.zst",
        b"id,note\n3,Zaphod\n",
        "the file is not compressed (.zst) as its name says",
    ),
    "zstd: gzip under its name": (
        "a.csv.zst",
        OTHER_GZ,
        "the file is compressed (.gz), and its name does not say so",
    ),
    "gzip without a name for it": (
        "a.csv",
        OTHER_GZ,
        "the file is compressed (.gz), and its name does not say so",
    ),
    "zstd without a name for it": (
        "a.csv",
        OTHER_ZST,
        "the file is compressed (.zst), and its name does not say so",
    ),
}


@pytest.mark.parametrize(("name", "content", "problem"), quick_and_long(BREACHES, every=2))
def test_a_compressed_breach_changes_no_row(
    bench: Workbench, name: str, content: bytes, problem: str
) -> None:
    compress = COMPRESS.get(Path(name).suffix, bytes)
    bench.land(NOTES, name, compress(TEXT))
    bench.load(NOTES)
    assert loaded(bench) == ROWS
    bench.land(NOTES, name, content)
    bench.land(NOTES, "b.csv", "id,note\n7,good\n")
    bench.load(NOTES)
    [row] = bench.ledger(NOTES).by_key["a"]
    assert (row.status, row.error, row.row_count) == (
        LoadStatus.REFUSED,
        f"{name}: {problem}",
        2,
    )
    assert loaded(bench) == [*ROWS, (7, "good")]
    assert row.content_hash == sha256(content).hexdigest()


def some_rows(count: int) -> bytes:
    chance = random.Random(count)
    rows = (f"{number},{chance.getrandbits(64):x}\n" for number in range(count))
    return b"id,note\n" + "".join(rows).encode()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_cut_off_anywhere_is_refused(bench: Workbench, suffix: str) -> None:
    whole = COMPRESS[suffix](some_rows(300))
    lengths = [*range(24), *range(24, len(whole) - 24, 97), *range(len(whole) - 24, len(whole))]
    for length in lengths:
        bench.land(NOTES, f"{length}.csv{suffix}", whole[:length])
    bench.land(NOTES, f"whole.csv{suffix}", whole)
    outcomes = bench.load(NOTES)
    refused = {key for key, outcome in outcomes.items() if outcome.reason}
    assert refused == {str(length) for length in lengths}
    assert {row[2] for row in bench.rows(NOTES)} == {"whole"}
    assert len(bench.rows(NOTES)) == 300


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_flipped_bit_is_refused_or_changes_no_value(bench: Workbench, suffix: str) -> None:
    whole = COMPRESS[suffix](some_rows(60))
    offsets = [*range(24), *range(24, len(whole) - 16, 17), *range(len(whole) - 16, len(whole))]
    for offset in offsets:
        bits = bytearray(whole)
        bits[offset] ^= 1 << offset % 8
        bench.land(NOTES, f"{offset}.csv{suffix}", bytes(bits))
    outcomes = bench.load(NOTES)
    refused = {int(key) for key, outcome in outcomes.items() if outcome.reason}
    # Some bits mean nothing to the text, such as the time and the system in the header of gzip.
    assert len(set(offsets) - refused) < 9 < len(refused)
    assert set(offsets[-16:]) <= refused
    true_rows = {tuple(line.split(",")) for line in some_rows(60).decode().split()[1:]}
    by_key: dict[str, set[tuple[str, str]]] = {}
    for number, note, key, _ in bench.rows(NOTES):
        by_key.setdefault(key, set()).add((str(number), note))
    assert by_key == {str(offset): true_rows for offset in set(offsets) - refused}


@pytest.mark.parametrize("compress", [compress_zip, bz2.compress, lzma.compress])
def test_a_damaged_archive_is_refused_alone_or_loads_as_it_was(
    bench: Workbench, compress: Callable[[bytes], bytes]
) -> None:
    whole = compress(some_rows(3))
    suffix = {compress_zip: ".zip", bz2.compress: ".bz2"}.get(compress, ".xz")
    for offset in range(len(whole)):
        bits = bytearray(whole)
        bits[offset] ^= 1 << offset % 8
        bench.land(NOTES, f"{offset}.csv{suffix}", bytes(bits))
        if offset % 3 == 0:
            bench.land(NOTES, f"cut-{offset}.csv{suffix}", whole[:offset])
            bench.land(NOTES, f"without-{offset}.csv{suffix}", whole[:offset] + whole[offset + 1 :])
    bench.land(NOTES, f"whole.csv{suffix}", whole)
    outcomes = bench.load(NOTES)
    sound = {key for key, outcome in outcomes.items() if not outcome.reason}
    assert {"whole"} <= sound
    assert not any(key.startswith("cut") for key in sound)
    assert {row[2] for row in bench.rows(NOTES)} == sound
    assert len({row[:2] for row in bench.rows(NOTES)}) == 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_decompression_bomb_is_refused_at_the_limit_and_takes_little_memory(
    bench: Workbench, suffix: str
) -> None:
    limit = 8 * CHUNK_BYTES
    feed = change_feed(NOTES, max_uncompressed_bytes=limit)
    row = b"1," + b"x" * 997 + b"\n"
    bomb = COMPRESS[suffix](b"id,note\n" + row * (3 * limit // len(row)))
    assert len(bomb) < limit // 100
    bench.land(feed, f"a.csv{suffix}", bomb)
    tracemalloc.start()
    outcome = bench.load(feed)["a"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.reason == f"a.csv{suffix}: decompressed, the file is over {limit:,} bytes"
    assert bench.rows(feed) == []
    assert peak < 6 * CHUNK_BYTES < limit


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_text_of_just_the_limit_is_loaded(bench: Workbench, suffix: str) -> None:
    bench.land(NOTES, f"a.csv{suffix}", COMPRESS[suffix](TEXT))
    for limit, reason in (
        (len(TEXT) - 1, f"a.csv{suffix}: decompressed, the file is over {len(TEXT) - 1} bytes"),
        (len(TEXT), ""),
    ):
        feed = change_feed(NOTES, max_uncompressed_bytes=limit)
        assert bench.load(feed)["a"].reason == reason
    assert loaded(bench) == ROWS


def test_the_limit_is_not_for_files_that_are_not_compressed(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", TEXT)
    bench.load(change_feed(NOTES, max_uncompressed_bytes=1))
    assert loaded(bench) == ROWS


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bad_rows_of_a_compressed_file_are_put_aside(bench: Workbench, suffix: str) -> None:
    feed = change_feed(NOTES, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    text = b'id,note\n1,x\nbad,"y\nz"\n2,y\n3\n'
    bench.land(feed, f"a.csv{suffix}", COMPRESS[suffix](text))
    outcome = bench.load(feed)["a"]
    assert (outcome.row_count, outcome.rejected_count) == (2, 2)
    assert loaded(bench) == ROWS
    assert bench.query("SELECT source_file, line, raw_line FROM rejected_rows ORDER BY line") == [
        (f"a.csv{suffix}", 3, 'bad,"y\nz"'),
        (f"a.csv{suffix}", 6, "3"),
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_a_compressed_text_is_read_in_the_encoding_of_its_feed(
    bench: Workbench, suffix: str, encoding: str
) -> None:
    feed = change_feed(NOTES, format=CsvFormat(encoding=encoding.removesuffix("-sig")))
    text = 'id,note\n1,\u00e9\n2,"\u00fc\n\u00df"\n'.encode(encoding)
    bench.land(feed, f"a.csv{suffix}", COMPRESS[suffix](text))
    assert bench.load(feed)["a"].reason == ""
    assert loaded(bench) == [(1, "\u00e9"), (2, "\u00fc\n\u00df")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_compressed_file_that_was_only_touched_is_not_loaded_again(
    bench: Workbench, suffix: str
) -> None:
    path = bench.land(NOTES, f"a.csv{suffix}", COMPRESS[suffix](TEXT))
    bench.sync(NOTES)
    [before] = bench.ledger(NOTES)
    os.utime(path, ns=(1, 1))
    report = bench.sync(NOTES)
    assert [record.partition_key for record in report.unchanged] == ["a"]
    assert report.loaded == []
    [row] = bench.ledger(NOTES)
    assert (row.version, row.loaded_at) == (version_in(path.stat()), before.loaded_at)
    assert row.version != before.version
    assert loaded(bench) == ROWS


def test_the_same_text_compressed_anew_replaces_the_partition(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv.gz", compress_gz(TEXT))
    bench.sync(NOTES)
    bench.land(NOTES, "a.csv.gz", gzip.compress(TEXT, 0, mtime=0))
    assert [record.rows for record in bench.sync(NOTES).loaded] == [2]
    assert loaded(bench) == ROWS


@pytest.mark.parametrize("others", [[".gz"], [".zst"], [".gz", ".zst"]], ids="+".join)
def test_a_compressed_file_beside_another_of_its_key_changes_nothing_until_one_is_left(
    bench: Workbench, others: list[str]
) -> None:
    plain = bench.land(NOTES, "a.csv", "id,note\n9,old\n")
    bench.sync(NOTES)
    paths = [bench.land(NOTES, f"a.csv{suffix}", COMPRESS[suffix](TEXT)) for suffix in others]
    report = bench.sync(NOTES)
    names = ", ".join(["a.csv", *(path.name for path in paths)])
    assert {(record.source_file, record.reason) for record in report.refused} == {
        (name, f"{name}: several files stand for one partition key: {names}")
        for name in names.split(", ")
    }
    assert bench.rows(NOTES) == [(9, "old", "a", "a.csv")]
    for path in [plain, *paths[1:]]:
        path.unlink()
    bench.sync(NOTES)
    assert loaded(bench) == ROWS
    assert {row[3] for row in bench.rows(NOTES)} == {paths[0].name}


def test_a_pattern_may_itself_name_a_compressed_file(bench: Workbench) -> None:
    feed = change_feed(NOTES, pattern="{key}.csv.gz")
    bench.land(feed, "a.csv.gz", compress_gz(TEXT))
    bench.land(feed, "b.csv", TEXT)
    bench.land(feed, "c.csv.gz.zst", compress_zst(compress_gz(TEXT)))
    report = bench.sync(feed)
    assert [record.partition_key for record in report.loaded] == ["a"]
    assert sorted(record.source_file for record in report.ignored) == ["b.csv", "c.csv.gz.zst"]
    assert loaded(bench) == ROWS


@pytest.mark.parametrize("name", ["a.csv.gzip", "a.csv.7z", "a.csv.gz.gz"])
def test_a_file_of_another_compression_is_ignored(bench: Workbench, name: str) -> None:
    bench.land(NOTES, name, compress_gz(TEXT))
    (ignored,) = bench.sync(NOTES).ignored
    assert ignored.reason == "the name does not match the pattern '{key}.csv'"
    assert bench.tables() == []


@pytest.mark.parametrize(("before", "after"), [("a.csv", "a.csv.gz"), ("a.csv.gz", "a.csv")])
def test_a_refused_file_that_is_renamed_as_it_should_be_is_validated_again(
    bench: Workbench, before: str, after: str
) -> None:
    text = b"id,note\n1,x\n"
    path = bench.land(NOTES, before, compress_gz(text) if after.endswith(".gz") else text)
    assert bench.sync(NOTES).refused
    path.rename(path.with_name(after))
    report = bench.sync(NOTES)
    assert not report.refused
    assert bench.rows(NOTES) == [(1, "x", "a", after)]


def test_a_loaded_file_whose_new_name_says_otherwise_is_validated_again(bench: Workbench) -> None:
    path = bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    bench.sync(NOTES)
    path.rename(path.with_name("a.csv.gz"))
    [refused] = bench.sync(NOTES).refused
    assert "not compressed (.gz) as its name says" in refused.reason
    assert bench.rows(NOTES) == [(1, "x", "a", "a.csv")]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("{key}.csv", "a.csv.GZ"), ("{key}.csv.GZ", "a.csv.GZ"), ("{key}", "a.csv.Gz")],
)
def test_a_suffix_in_any_case_says_that_a_file_is_compressed(
    bench: Workbench, pattern: str, name: str
) -> None:
    feed = change_feed(NOTES, pattern=pattern)
    bench.land(feed, name, compress_gz(TEXT))
    assert [record.source_file for record in bench.sync(feed).loaded] == [name]
    assert loaded(bench) == ROWS


def test_a_suffix_within_a_name_says_nothing(bench: Workbench) -> None:
    bench.land(NOTES, "a.gz?.csv", TEXT)
    bench.sync(NOTES)
    assert loaded(bench) == ROWS


def test_plain_and_compressed_files_share_a_batch_also_when_one_is_bad(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    bench.land(NOTES, "b.csv.gz", compress_gz(b"id,note\n2,y\n"))
    bench.land(NOTES, "c.csv.zst", compress_zst(b"id,note\n3,z\n"))
    bench.land(NOTES, "d.csv.gz", compress_gz(b"id,note\noops,y\n"))
    outcomes = bench.load(NOTES)
    assert [row[0] for row in bench.rows(NOTES)] == [1, 2, 3]
    assert "d.csv.gz: line 2, column id: not a BIGINT" in outcomes["d"].reason


def test_what_a_killed_load_left_beside_the_database_is_removed_by_the_next(
    bench: Workbench,
) -> None:
    scratch_dir = bench.database.with_name("warehouse.duckdb.scratch")
    (scratch_dir / "load-killed").mkdir(parents=True)
    (scratch_dir / "load-killed" / "rows").write_bytes(TEXT)
    bench.land(NOTES, "a.csv.gz", compress_gz(TEXT))
    bench.sync(NOTES)
    assert loaded(bench) == ROWS
    assert not scratch_dir.exists()
