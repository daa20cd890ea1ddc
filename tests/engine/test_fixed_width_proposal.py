"""Infer on lines of fixed width: what it proposes loads what is in them, and it says its doubts."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from partitioned_etl.engine.errors import LandedFileError
from partitioned_etl.engine.formats.proposals.fixed_width_proposal import propose_fixed_width
from partitioned_etl.engine.infer import Proposal, infer_feed
from support.workbench import Workbench

CHECK = "check start and length against the sender's description"


@dataclass(frozen=True)
class Lines:
    """A file, and what is proposed for it.

    Attributes:
        file: What is in it.
        places: Start, length and type of each column.
        rows: What its table then holds, as texts.
        options: The options of the format.
        said: A part of the doubts, beside that of all columns.
    """

    file: str | bytes
    places: Mapping[str, tuple[int, int, str]]
    rows: Sequence[tuple[str | None, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""


SAMPLES = {
    "blanks between columns": Lines(
        "TEA          12  20260131\nCOFFEE      150  20260201\nSALT          3  20260202\n",
        {"column1": (1, 6, "VARCHAR"), "column2": (7, 11, "BIGINT"), "day": (18, 8, "DATE")},
        [
            ("COFFEE", "150", "2026-02-01"),
            ("SALT", "3", "2026-02-02"),
            ("TEA", "12", "2026-01-31"),
        ],
        said="no line names them",
    ),
    "a header with names of two words": Lines(
        "Article    Unit Price  Sold on\nTEA          1.012,50  31.01.2026\n"
        "COFFEE           3,10  01.02.2026\n",
        {
            "Article": (1, 7, "VARCHAR"),
            "unit_price": (8, 16, "DECIMAL(18, 2)"),
            "sold_on": (24, 10, "DATE"),
        },
        [("COFFEE", "3.10", "2026-02-01"), ("TEA", "1012.50", "2026-01-31")],
        {"skip_lines": 1},
        "the header is among them",
    ),
    "a title, lines of dashes and a count": Lines(
        "STOCK ON 31.01.2026\n\nID   NAME       PIECES\n---- ---------- ------\n"
        "0001 TEA GREEN      12\n0002 OIL            -3\n\n2 rows selected.\n",
        {"ID": (1, 5, "VARCHAR"), "NAME": (6, 11, "VARCHAR"), "PIECES": (17, 6, "BIGINT")},
        [("0001", "TEA GREEN", "12"), ("0002", "OIL", "-3")],
        {"skip_lines": 4, "footer": r"\d[\d.,:/-]* rows"},
        "look like a footer",
    ),
    "a total below a line": Lines(
        "TEA          12.50\nCOFFEE      150.00\nSALT          3.00\n"
        "------------------\nTotal       165.50\n",
        {"column1": (1, 6, "VARCHAR"), "column2": (7, 12, "DOUBLE")},
        [("COFFEE", "150.0"), ("SALT", "3.0"), ("TEA", "12.5")],
        {"footer_lines": 2},
        "so many lines at the end",
    ),
    "columns that touch": Lines(
        "0000123ACME      20260131\n0000124ZETA WORKS20260201\n0000125M         20260202\n",
        {"column1": (1, 7, "VARCHAR"), "column2": (8, 10, "VARCHAR"), "day": (18, 8, "DATE")},
        [
            ("0000123", "ACME", "2026-01-31"),
            ("0000124", "ZETA WORKS", "2026-02-01"),
            ("0000125", "M", "2026-02-02"),
        ],
        said="blank at 12 in all lines",
    ),
    "records of other kinds around": Lines(
        "H20260131SENDER\nD0000123ACME   12\nD0000124ZETA    3\nD0000125M      40\nT0000003\n",
        {
            "column1": (1, 1, "VARCHAR"),
            "column2": (2, 7, "VARCHAR"),
            "column3": (9, 4, "VARCHAR"),
            "column4": (13, 5, "BIGINT"),
        },
        [
            ("D", "0000123", "ACME", "12"),
            ("D", "0000124", "ZETA", "3"),
            ("D", "0000125", "M", "40"),
        ],
        {"skip_lines": 1, "footer": "T"},
        "do they name no columns?",
    ),
    "days with marks that touch": Lines(
        "   12,502026-01-31TEA\n12345,992026-02-01OIL\n    0,052026-02-02JAM\n",
        {"column1": (1, 8, "DOUBLE"), "column2": (9, 10, "DATE"), "column3": (19, 3, "VARCHAR")},
        [
            ("0.05", "2026-02-02", "JAM"),
            ("12.5", "2026-01-31", "TEA"),
            ("12345.99", "2026-02-01", "OIL"),
        ],
    ),
    "one line only": Lines(
        "0001 TEA GREEN  12\n",
        {"column1": (1, 5, "VARCHAR"), "column2": (6, 9, "VARCHAR"), "column3": (15, 4, "BIGINT")},
        [("0001", "TEA GREEN", "12")],
        said="told from one line only",
    ),
    "words with blanks at one place by chance": Lines(
        "01 TEA GREEN FINE\n02 OIL BLACK COLD\n03 JAM WHITE SOFT\n",
        {"column1": (1, 3, "VARCHAR"), "column2": (4, 14, "VARCHAR")},
        [("01", "TEA GREEN FINE"), ("02", "OIL BLACK COLD"), ("03", "JAM WHITE SOFT")],
        said="words of one text, or two columns?",
    ),
    "a moment with blanks in it": Lines(
        "A 31 Jan 2026 12:00\nB 01 Feb 2026 13:30\n",
        {"column1": (1, 2, "VARCHAR"), "column2": (3, 17, "TIMESTAMP")},
        [("A", "2026-01-31 12:00:00"), ("B", "2026-02-01 13:30:00")],
        said="one day or moment, or several columns?",
    ),
    "lines without blanks at their ends": Lines(
        "TEA          12  fine tea\r\nCOFFEE      150\r\nSALT          3  ok\r\n",
        {"column1": (1, 6, "VARCHAR"), "column2": (7, 11, "BIGINT"), "column3": (18, 8, "VARCHAR")},
        [("COFFEE", "150", None), ("SALT", "3", "ok"), ("TEA", "12", "fine tea")],
        {"short_lines": True},
        "lines have 15 to 25 characters",
    ),
    "places in bytes": Lines(
        "Tee       001\nMüller   002\nÖl       003\n",
        {"column1": (1, 10, "VARCHAR"), "column2": (11, 3, "VARCHAR")},
        [("Müller", "002"), ("Tee", "001"), ("Öl", "003")],
        {"unit": "bytes"},
        "lines are of one length in bytes",
    ),
    "Windows-1252": Lines(
        "Müller    12\nÖl         3\nTee €    140\n".encode("cp1252"),
        {"column1": (1, 6, "VARCHAR"), "column2": (7, 6, "BIGINT")},
        [("Müller", "12"), ("Tee €", "140"), ("Öl", "3")],
        {"encoding": "windows-1252"},
        "places may count bytes",
    ),
    "a last row that begins with another letter": Lines(
        "A615       829\nA319      2337\nA320        17\nB190         6\n",
        {"column1": (1, 1, "VARCHAR"), "column2": (2, 3, "BIGINT"), "column3": (5, 10, "BIGINT")},
        [("A", "319", "2337"), ("A", "320", "17"), ("A", "615", "829"), ("B", "190", "6")],
    ),
    "a column without values": Lines(
        "NAME    REMARK   QTY\nTEA               12\nOIL                3\n",
        {"NAME": (1, 8, "VARCHAR"), "REMARK": (9, 6, "VARCHAR"), "QTY": (15, 6, "BIGINT")},
        [("OIL", None, "3"), ("TEA", None, "12")],
        {"skip_lines": 1},
        "empty in the sample",
    ),
}


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A workbench for all samples, each of which has a feed of its own."""
    bench = Workbench(tmp_path_factory.mktemp("samples"))
    yield bench
    bench.close()


def list_places(proposal: Proposal) -> dict[str, tuple[int, int, str]]:
    """Give start, length and type of each column."""
    places = proposal.attributes
    return {
        name: (places[name]["start"], places[name]["length"], type_name)
        for name, type_name in proposal.columns.items()
    }


@pytest.mark.parametrize("lines", SAMPLES.values(), ids=list(SAMPLES))
def test_the_columns_that_are_proposed_load_what_is_in_the_lines(
    lines: Lines, shared_bench: Workbench, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    content = lines.file if isinstance(lines.file, bytes) else lines.file.encode()
    sample = tmp_path / "sample.dat"
    sample.write_bytes(content)
    name = "".join(char if char.isalnum() else "_" for char in request.node.callspec.id)
    proposal = infer_feed(sample, name=name)
    assert list_places(proposal) == lines.places
    assert proposal.options == lines.options
    assert CHECK in proposal.doubts["columns"]
    assert lines.said in "\n".join(proposal.doubts.values())
    assert f"the sample loads by it: {len(lines.rows)} rows" in proposal.verdict
    feed = proposal.to_feed(name)
    shared_bench.land(feed, "sample.dat", content)
    assert shared_bench.load(feed)["sample"].reason == ""
    texts = ", ".join(f"CAST({column} AS VARCHAR)" for column in proposal.columns)
    assert shared_bench.query(f"SELECT {texts} FROM {name} ORDER BY ALL") == list(lines.rows)


NOT_INFERRED: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is no file, or empty"),
    "blanks": (b"   \n\n", "it has only empty lines"),
    "wide characters that count as two": (
        "Tea       001\n東京      002\n大阪市    003\n".encode(),
        "its places count a wide character as two, which no feed can declare",
    ),
    "EBCDIC": (
        "00004711M       20190401\n00004712        20260228\n".encode("cp037"),
        "it looks like EBCDIC: declare its encoding, such as cp037, and its columns",
    ),
    "carriage returns alone": (b"a 1\rb 2\r", "its lines end in carriage returns alone"),
}


@pytest.mark.parametrize(("content", "reason"), NOT_INFERRED.values(), ids=list(NOT_INFERRED))
def test_a_sample_without_lines_of_fixed_width_is_refused(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    sample = tmp_path / "sample.dat"
    sample.write_bytes(content)
    with pytest.raises(LandedFileError, match=reason):
        infer_feed(sample)


def test_a_line_that_is_cut_off_is_said_to_be_refused(tmp_path: Path) -> None:
    sample = tmp_path / "sample.dat"
    sample.write_text("TEA    12\nOIL    13\nSUN    14\nSAL")
    proposal = infer_feed(sample)
    assert "would be refused: sample.dat: line 4: 3 characters instead of 9" in proposal.verdict
    assert proposal.doubts["format.final_line_end"] == "the last line is cut off, as it seems"


def test_several_samples_tell_together_where_a_column_begins(tmp_path: Path) -> None:
    first, second = tmp_path / "a.dat", tmp_path / "b.dat.gz"
    first.write_text("TEA         12\nOIL        150\n")
    second.write_bytes(gzip.compress(b"COFFEE       7\nSALT        10\n"))
    proposal = infer_feed(first, second)
    assert list_places(proposal) == {"column1": (1, 6, "VARCHAR"), "column2": (7, 8, "BIGINT")}
    assert proposal.doubts["columns.column2"] == "begins at 4 in one sample, at 7 in another"
    assert "all 2 samples load by it: 4 rows" in proposal.verdict
    second.write_bytes(gzip.compress(b"COFFEE  1    7\nSALT    2   10\n"))
    assert "the samples differ: 2 columns and 3" in infer_feed(first, second).doubts["columns"]


@pytest.mark.parametrize(
    ("text", "doubt"),
    [("a\t1\nbcd\t22\n", "do tabs part the columns"), ("a;1\nbcd;22\n", "are they csv?")],
    ids=["tabs", "semicolons"],
)
def test_lines_with_delimiters_are_said_to_have_them(text: str, doubt: str, tmp_path: Path) -> None:
    sample = tmp_path / "sample.dat"
    sample.write_text(text)
    proposal = propose_fixed_width(sample)
    assert proposal.attributes == {"column1": {"start": 1, "length": 6}}
    assert proposal.options == {"short_lines": True}
    assert doubt in proposal.doubts["format"]


def test_lines_far_from_the_start_tell_of_columns_too(tmp_path: Path) -> None:
    sample = tmp_path / "sample.dat"
    sample.write_text("TEA     1\n" * 20_100 + "COFFEE  1\n" + "TEA     1\n" * 100)
    proposal = propose_fixed_width(sample)
    assert [one["start"] for one in proposal.attributes.values()] == [1, 7]
