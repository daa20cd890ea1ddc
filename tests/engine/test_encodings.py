"""Encodings: a text loads as it was written, in the encoding that the feed declares, or not."""

# ruff: noqa: RUF001

from collections.abc import Mapping
from typing import Any

import pytest

from partitioned_etl.engine.contract import BadRows
from partitioned_etl.engine.formats import encodings
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.encodings import EncodingError, to_utf_8
from partitioned_etl.engine.landing import landing as landing_module
from support.scale import quick_and_long
from support.workbench import NOTES, Workbench, change_feed

TEXTS = {
    "utf-8": "naïve – 5 €, 東京",
    "utf-16": "naïve – 5 €, 東京 \U0001f600",
    "utf-16-le": "naïve – 5 €, 東京",
    "utf-16-be": "naïve – 5 €, 東京",
    "latin-1": "Grüße",
    "iso-8859-15": "5 € für Œuvre",
    "windows-1250": "Zażółć gęślą jaźń",
    "windows-1251": "Привет",
    "windows-1252": "„quoted“ – it’s 5 €",
    "windows-1253": "Καλημέρα",
    "windows-1254": "İstanbul ğ",
    "windows-1255": "שלום",
    "windows-1256": "مرحبا",
    "windows-1257": "Ačiū ž",
    "windows-1258": "Đà",
    "cp437": "Ä ¢ ░",
    "cp037": "EBCDIC, too",
    "koi8-r": "Привет",
    "mac-roman": "naïve – ∞",
    "shift_jis": "表示ソ",
    "euc-jp": "東京",
    "iso2022-jp": "東京",
    "gb18030": "北京 €",
    "big5": "台北",
    "euc-kr": "서울",
    "hz": "北京",
}


def in_encoding(encoding: str, **changes: Any) -> Any:
    return change_feed(NOTES, format=CsvFormat(encoding=encoding), **changes)


@pytest.mark.parametrize(
    ("encoding", "text"),
    quick_and_long({name: (name, text) for name, text in TEXTS.items()}, every=3),
)
def test_a_text_loads_as_it_was_written(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, encoding: str, text: str
) -> None:
    # Characters are then cut in pieces, wherever they stand.
    monkeypatch.setattr(landing_module, "CHUNK_BYTES", 7)
    monkeypatch.setattr(encodings, "_PIECE_BYTES", 3)
    quoted = text.replace('"', '""')
    written = f'id,note\n1,"{quoted}"\n2,plain\n'.encode(encoding)
    feed = in_encoding(encoding, bad_rows=BadRows.QUARANTINE, max_rejected_percent=100)
    bench.land(feed, "a.csv", written)
    bench.land(
        feed,
        "b.csv",
        written + "bad,x\n".encode(encoding.removesuffix("-16") + "-16-le")
        if encoding == "utf-16"
        else written + "bad,x\n".encode(encoding),
    )
    outcomes = bench.load(feed)
    assert {key: outcome.reason for key, outcome in outcomes.items()} == {"a": "", "b": ""}
    assert outcomes["b"].rejected_count == 1
    rows = [(1, text), (2, "plain")]
    assert sorted(row[:2] for row in bench.rows(feed)) == sorted(rows * 2)
    assert not (bench.root / "warehouse.duckdb.scratch").exists()


SOUND = "id,note\n1,é\n"
REFUSED: Mapping[str, tuple[str, bytes, str]] = {
    "a byte that Windows-1252 does not have": (
        "windows-1252",
        b"id,note\n1,x\n2,\x81\n",
        "line 3: the bytes are not cp1252",
    ),
    "UTF-16 without a mark": (
        "utf-16",
        SOUND.encode("utf-16-le"),
        "line 1: utf-16 needs a byte order mark: is it utf-16-le?",
    ),
    "UTF-16 of the other order": (
        "utf-16-be",
        SOUND.encode("utf-16-le"),
        "header: column id is missing",
    ),
    "half a character of UTF-16": (
        "utf-16-le",
        SOUND.encode("utf-16-le") + b"x",
        "line 3: the bytes are not utf-16-le",
    ),
    "a NUL in UTF-16": (
        "utf-16-le",
        "id,note\n1,a\0\n".encode("utf-16-le"),
        "line 2: a NUL character",
    ),
    **{
        f"UTF-8 for {encoding}": (
            encoding,
            b"id,note\n1,x\n2,M\xc3\xbcller\n",
            "line 3: what is not ASCII would also be sound in utf-8: utf-8? If it is right, set "
            "encoding_is_certain",
        )
        for encoding in ("windows-1252", "iso-8859-15", "cp850", "mac-roman", "shift_jis", "gbk")
    },
    "Windows-1252 for Latin-9": (
        "iso-8859-15",
        b"id,note\n1,5 \x80\n",
        "line 2: byte 0x80, which iso8859-15 does not use: windows-1252? If it is right, set "
        "encoding_is_certain",
    ),
    "Windows-1251 for ISO 8859-5": (
        "iso-8859-5",
        "id,note\n1,„x“\n".encode("windows-1251"),
        "line 2: byte 0x84, which iso8859-5 does not use: windows-1251? If it is right, set "
        "encoding_is_certain",
    ),
    "ASCII for EBCDIC": (
        "cp273",
        b"id,note\n1,x\n",
        "line 1: all of it would also be sound in utf-8: utf-8? If it is right, set "
        "encoding_is_certain",
    ),
    "a lead byte at the end": ("shift_jis", b"id,note\n1,\x83", "the bytes are not shift_jis"),
}


@pytest.mark.parametrize(("encoding", "content", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_bytes_of_another_encoding_are_refused(
    bench: Workbench, encoding: str, content: bytes, reason: str
) -> None:
    feed = in_encoding(encoding)
    bench.land(feed, "a.csv", content)
    assert reason in bench.load(feed)["a"].reason
    assert bench.rows(feed) == []


def test_a_mark_may_stand_before_a_text_whose_order_is_declared(bench: Workbench) -> None:
    feed = in_encoding("utf-16-be")
    bench.land(feed, "a.csv", ("\ufeff" + SOUND).encode("utf-16-be"))
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [(1, "é")]


@pytest.mark.parametrize("header", ["", "title\n"], ids=["no header", "a title"])
def test_a_mark_in_the_first_row_is_a_part_of_its_text(bench: Workbench, header: str) -> None:
    options = {"type": "csv", "header": False, "encoding": "utf-16", "skip_lines": len(header) // 6}
    feed = change_feed(NOTES, columns={"note": "VARCHAR", "id": "BIGINT"}, format=options)
    bench.land(feed, "a.csv", f"{header}\ufeffx,1\n".encode("utf-16"))
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [("\ufeffx", 1)]


@pytest.mark.parametrize("encoding", ["utf-7", "idna", "rot13", "base64", "utf-32", "nonsense", ""])
def test_what_is_no_encoding_of_files_is_none(encoding: str) -> None:
    assert encodings.find_encoding(encoding) == ""


def test_a_line_is_named_whatever_the_chunks_are() -> None:
    content = b"a\nb\n\xff\n"
    for size in range(1, len(content) + 1):
        chunks = [content[at : at + size] for at in range(0, len(content), size)]
        with pytest.raises(EncodingError) as refused:
            list(to_utf_8(chunks, "utf-8", count_lines=True))
        assert refused.value.line == 3
