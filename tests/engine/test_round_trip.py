"""Whatever lands: the table holds what a strict reader reads, or the file is refused."""

import csv
import gzip
import io
from collections import Counter
from typing import Any

import pytest
from backports import zstd
from hypothesis import assume, given
from hypothesis import strategies as st

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.warehouse.feed_table import DuckDBTable
from support.scale import examples, try_examples
from support.workbench import NOTES, Workbench, change_feed

TYPED = Feed(
    name="typed",
    folder="typed",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "amount": "DOUBLE", "day": "DATE", "note": "VARCHAR"},
    table="typed",
)

integers = st.none() | st.integers(-(2**63), 2**63 - 1)
floats = st.none() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
some_rows = st.lists(st.tuples(integers, floats, st.none() | st.dates(), texts), max_size=8)


@st.composite
def dialects(draw: st.DrawFn) -> dict[str, Any]:
    """Options of Python's CSV writer."""
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    options: dict[str, Any] = {
        "delimiter": draw(st.sampled_from(",;\t| :")),
        "quotechar": draw(st.sampled_from("\"'^")),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n"])),
        "quoting": quoting,
    }
    if quoting == csv.QUOTE_ALL and draw(st.booleans()):
        options |= {"doublequote": False, "escapechar": "\\"}
    return options


def write_csv(rows: list[tuple[Any, ...]], dialect: dict[str, Any]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, strict=True, **dialect)
    writer.writerows([tuple(TYPED.columns), *rows])
    return text.getvalue()


@pytest.mark.scaled
def test_the_rows_that_a_csv_writer_wrote_are_the_rows_of_the_table(bench: Workbench) -> None:
    with bench.open() as opened:

        @try_examples(40)
        @given(some_rows, dialects(), st.booleans())
        def check(rows: list[tuple[Any, ...]], dialect: dict[str, Any], mark: bool) -> None:
            minimal = dialect["quoting"] == csv.QUOTE_MINIMAL
            # Python's writer quotes no lone carriage return where lines end in a line feed.
            assume(not (minimal and any("\r" in (row[3] or "") for row in rows)))
            feed = change_feed(
                TYPED,
                format=CsvFormat(
                    delimiter=dialect["delimiter"],
                    quote=dialect["quotechar"],
                    escape=dialect.get("escapechar", dialect["quotechar"]),
                ),
            )
            bench.land(feed, "a.csv", "\ufeff" * mark + write_csv(rows, dialect))
            table = opened.table(feed)
            (outcome,) = load_files(table, bench.landing, bench.list_files(feed))
            assert outcome.reason == ""
            loaded = table.duck.execute("SELECT * EXCLUDE (partition_key, source_file) FROM typed")
            # The writer writes None as an empty text, with quotes or without.
            nothing = None if minimal else ""
            assert Counter(loaded.fetchall()) == Counter(
                (*row[:3], row[3] or nothing) for row in rows
            )
            assert table.read_ledger().rows["a.csv"].row_count == len(rows)

        check()


WAYS = {
    "as it is": lambda text: ("a.csv", text),
    "CRLF": lambda text: ("a.csv", text.replace(b"\n", b"\r\n")),
    "byte order mark": lambda text: ("a.csv", b"\xef\xbb\xbf" + text),
    "gzip": lambda text: ("a.csv.gz", gzip.compress(text, mtime=0)),
    "zstd": lambda text: ("a.csv.zst", zstd.compress(text)),
    "gzip members": lambda text: (
        "a.csv.gz",
        b"".join(gzip.compress(line, mtime=0) for line in text.splitlines(keepends=True)),
    ),
    "all of it": lambda text: (
        "a.csv.zst",
        zstd.compress(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")),
    ),
}
"""A file's name and bytes for a text whose fields hold no line end."""
one_line_texts = st.none() | st.text(
    st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"])
)
one_line_rows = st.lists(
    st.tuples(integers, floats, st.none() | st.dates(), one_line_texts), max_size=6
)


@pytest.mark.scaled
def test_line_ends_byte_order_mark_and_compression_make_no_difference_and_neither_does_a_reload(
    bench: Workbench,
) -> None:
    def load_way(table: DuckDBTable, name: str, content: bytes) -> object:
        path = bench.land(TYPED, name, content)
        (outcome,) = load_files(table, bench.landing, bench.list_files(TYPED))
        path.unlink()
        assert (outcome.reason, outcome.file.name) == ("", name)
        loaded = table.duck.execute("SELECT * FROM typed ORDER BY rowid").fetchall()
        assert {row[4:] for row in loaded} <= {("a", name)}
        return [row[:4] for row in loaded]

    with bench.open_table(TYPED) as table:

        @try_examples(3)
        @given(one_line_rows)
        def check(rows: list[tuple[Any, ...]]) -> None:
            text = write_csv(rows, {"lineterminator": "\n"}).encode()
            expected = [(*row[:3], row[3] or None) for row in rows]
            for way in [*WAYS.values(), *WAYS.values()]:
                assert load_way(table, *way(text)) == expected

        check()


SOUP = ["1", "x", ",", '"', '""', "\n", "\r\n", "\r", " ", "\u00e9", "\0", "\\", "'", "#", "\ufeff"]
TWO_TEXTS = change_feed(NOTES, columns={"a": "VARCHAR", "b": "VARCHAR"})


@pytest.mark.scaled
def test_whatever_lands_is_loaded_as_a_strict_reader_reads_it_or_refused(bench: Workbench) -> None:
    with bench.open_table(TWO_TEXTS) as table:
        seen: Counter[OutcomeStatus] = Counter()

        @try_examples(150)
        @given(
            st.sampled_from(["", "\ufeff"]),
            st.lists(
                st.sampled_from(SOUP)
                | st.sampled_from(["1,x\n", '1,"x\n"\n', '"",\n', '"x""",\n']),
                max_size=10,
            ).map("".join),
        )
        def check(mark: str, body: str) -> None:
            bench.land(TWO_TEXTS, "a.csv", f"{mark}a,b\n{body}")
            (outcome,) = load_files(table, bench.landing, bench.list_files(TWO_TEXTS))
            seen[outcome.status] += 1
            if outcome.status == OutcomeStatus.REFUSED:
                assert outcome.problems
                return
            loaded = table.duck.execute("SELECT a, b FROM raw_notes").fetchall()
            strict = csv.reader(io.StringIO(body, newline=""), strict=True)
            assert [[cell or "" for cell in row] for row in loaded] == list(strict)

        check()
    assert min(seen[OutcomeStatus.LOADED], seen[OutcomeStatus.REFUSED]) > examples(150) / 8
