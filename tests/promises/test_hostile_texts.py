"""Hostile texts as keys, names, headers and cells are data, or refused; no message has a cell."""

import csv
import io
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import ascii_letters, digits

import duckdb
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.errors import LandedFileError, PartitionKeyError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.landing.landing import find_landed_files
from partitioned_etl.engine.load import load_files
from partitioned_etl.engine.outcomes import OutcomeStatus
from partitioned_etl.engine.sql import LEDGER_TABLE, LOAD_HISTORY_TABLE, REJECTED_ROWS_TABLE
from partitioned_etl.engine.warehouse.warehouse import FeedTable
from support.scale import try_examples
from support.workbench import NOTES, Workbench, change_feed

pytestmark = pytest.mark.slow

HOSTILE = [
    "'; DROP TABLE raw_notes; --",
    '"; DELETE FROM file_loads; --',
    "x' OR '1'='1",
    "') UNION SELECT * FROM kept --",
    "'",
    '"',
    '""',
    "`",
    "\\",
    "\\'",
    "*",
    "**",
    "?",
    "[a-z]",
    "{a,b}",
    "../decoy",
    "../../etc/passwd",
    "..\\decoy",
    "%2e%2e%2fdecoy",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x",
    "..",
    "~",
    "a\0b",
    "a\nb",
    "a\rb",
    "a\r\nb",
    "\t",
    "![x](/graphql?query=mutation)",
    "[x](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "</td><script>alert(1)</script>",
    "&lt;b&gt;",
    "{}",
    "{0}",
    "{key}",
    "{date:%Y-%m-%d}",
    "{self.__class__.__init__.__globals__}",
    "f'{1+1}'",
    "%s%n",
    "${HOME}",
    "$(touch decoy)",
    "`touch decoy`",
    "x" * 251,
    "\u00e9" * 125 + "x",
    "\u202egnp.exe",
    "\u2066x\u2069\u200b",
    "\ufeff",
    "\ud800",
    "\udcff",
    "a\udce9b",
    "COPY kept TO 'decoy.csv'",
    "COPY kept FROM 'decoy.csv'",
    "ATTACH 'decoy.duckdb'",
    "INSTALL httpfs; LOAD httpfs",
    "SET lock_configuration = false",
    "PRAGMA database_list",
    "$1",
    "?1",
    ":key",
    "null",
    "NULL",
    "1e999",
    "=cmd|'/c calc'!A1",
    "raw_notes",
    "file_loads",
    "\u00df\u0130\u017f",
]
REFUSED = [("a", "nota", "x"), ("a", "note", "\ud800"), ("a", "note", "a\0b")]
"""Files that are refused for what they hold: key, header and cell."""
BYSTANDER = "bystander"
DECOY = "id,note\n666,stolen\n"


def is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def can_be_a_name(name: str) -> bool:
    """Tell whether a file system takes a name; some of the bytes may not be UTF-8."""
    try:
        return not set("/\0") & set(name) and len(os.fsencode(name)) <= 255
    except UnicodeEncodeError:
        return False


hostile_texts = st.sampled_from(HOSTILE) | st.lists(
    st.sampled_from(HOSTILE) | st.text(max_size=5), min_size=1, max_size=3
).map("".join)
hostile_keys = hostile_texts.filter(lambda key: can_be_a_name(f"{key}.csv"))


@pytest.fixture
def guarded(bench: Workbench) -> Workbench:
    """A workbench with a loaded bystander, a foreign table, and files to steal beside it."""
    bench.land(NOTES, f"{BYSTANDER}.csv", "id,note\n7,seven\n")
    bench.load(NOTES)
    with bench.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'kept' AS note")
    for folder in (bench.root, bench.landing_dir):
        for name in ("decoy", "decoy.csv"):
            (folder / name).write_text(DECOY, encoding="utf-8")
    return bench


def read_tree(bench: Workbench) -> dict[Path, bytes]:
    """Give every file with its bytes, but not the database, which is open meanwhile."""
    database = (bench.database, bench.database.with_name(f"{bench.database.name}.wal"))
    files = (path for path in bench.root.rglob("*") if path.is_file() and path not in database)
    return {path: path.read_bytes() for path in files}


def read_bystanders(table: FeedTable) -> list[object]:
    """Give what no load of another partition may change."""
    return [
        table.duck.execute("SELECT table_name, sql FROM duckdb_tables() ORDER BY 1").fetchall(),
        table.duck.execute("SELECT * FROM kept").fetchall(),
        table.duck.execute(
            "SELECT * FROM raw_notes WHERE partition_key = ?", [BYSTANDER]
        ).fetchall(),
        table.read_ledger().rows[f"{BYSTANDER}.csv"],
    ]


@contextmanager
def landed(bench: Workbench, name: str, content: bytes) -> Iterator[None]:
    path = bench.land(NOTES, name, content)
    yield
    path.unlink()


def csv_bytes(*rows: Sequence[object]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def expect_reason(key: str, header: str, cell: str) -> str:
    """Give a part of the reason why a file is not loaded; empty if it has to be."""
    if f"{key}.csv".startswith("."):
        return "hidden file"
    if key.startswith("~"):
        return "temporary file"
    if "\\" in key:
        return "the name holds a backslash"
    if not is_utf8(key):
        return "the name is not UTF-8"
    if not is_utf8(header + cell):
        return "the bytes are not utf-8"
    if "\0" in header + cell:
        return "a NUL character"
    return "" if header == "note" else "header: column note is missing"


@pytest.mark.scaled
def test_a_hostile_file_is_loaded_as_it_is_or_refused_and_touches_nothing_else(
    guarded: Workbench,
) -> None:
    before, seen = read_tree(guarded), Counter[str]()
    with guarded.open_table(NOTES) as table:
        bystanders = read_bystanders(table)

        @try_examples(6)
        @given(hostile_keys, st.just("note") | hostile_texts, hostile_texts)
        def check(key: str, header: str, cell: str) -> None:
            assume(key.casefold() != BYSTANDER)
            table.duck.execute("DELETE FROM raw_notes WHERE partition_key <> ?", [BYSTANDER])
            content = csv_bytes(["id", header], [1, cell], [2, cell])
            with landed(guarded, f"{key}.csv", content):
                listing = guarded.landing.list_files(NOTES)
                del listing.files[f"{BYSTANDER}.csv"]
                passed_over = [entry.reason for entry in listing.refused + listing.ignored]
                outcomes = load_files(table, guarded.landing, list(listing.files.values()))
                assert read_tree(guarded).items() > before.items()
            (reason,) = passed_over + [outcome.reason for outcome in outcomes]
            expected = expect_reason(key, header, cell)
            seen[expected] += 1
            assert expected in reason
            assert bool(expected) is bool(reason)
            for outcome in outcomes:
                assert table.read_ledger().rows[f"{key}.csv"].error == (reason or None)
                assert (outcome.status is OutcomeStatus.LOADED) is (reason == "")
            loaded = table.duck.execute(
                "SELECT * FROM raw_notes WHERE partition_key <> ? ORDER BY id", [BYSTANDER]
            ).fetchall()
            rows = [(number, cell, key, f"{key}.csv") for number in (1, 2)]
            assert loaded == ([] if reason else rows)
            assert read_bystanders(table) == bystanders
            assert read_tree(guarded) == before

        named = [text for text in HOSTILE if can_be_a_name(f"{text}.csv")]
        for key, header, cell in [*((text, "note", text) for text in named), *REFUSED]:
            check = example(key, header, cell)(check)
        check()
    assert seen[""] > 45
    assert len(seen) == 8


@pytest.mark.scaled
def test_a_hostile_key_that_is_asked_for_is_looked_up_and_named_on_one_line(
    guarded: Workbench,
) -> None:
    listing = guarded.landing.list_files(NOTES)
    default_keys = change_feed(NOTES, key_pattern=Feed.model_fields["key_pattern"].default)

    @try_examples(100)
    @given(hostile_texts | hostile_texts.map(lambda text: f"../{text}"))
    def check(key: str) -> None:
        assume(key != BYSTANDER)
        with pytest.raises(LandedFileError) as missing:
            find_landed_files(NOTES, guarded.landing, listing, key)
        messages = [str(missing.value)]
        if set(key) - set(f"{ascii_letters}{digits}._-"):
            with pytest.raises(PartitionKeyError) as unfit:
                default_keys.check_partition_key(key)
            messages.append(str(unfit.value))
        for message in messages:
            assert message.isprintable()
            assert ascii(key[:200]) in message

    check()


def test_a_feed_may_be_declared_with_hostile_names(guarded: Workbench) -> None:
    # DuckDB takes a carriage return in a header for the line end, so that such files are refused.
    names = [name for name in HOSTILE if is_utf8(name) and not set("\0\r") & set(name)]
    feeds = [
        Feed(
            name=name,
            folder="notes",
            pattern=f"{number} {{key}}.txt",
            columns={name: "BIGINT", f"{name}2": "VARCHAR"},
            table=f"{name} {number}",
        )
        for number, name in enumerate(names)
    ]
    with guarded.open() as opened:
        bystanders = read_bystanders(opened.table(NOTES))[1:]
        for number, feed in enumerate(feeds):
            rows = ((1, "x"), ("", "y")), ((1, "x"), ("secret", "y"))
            for key, of_file in zip("ab", rows, strict=True):
                content = csv_bytes(list(feed.columns), *of_file)
                guarded.land(feed, f"{number} {key}.txt", content)
            outcomes = load_files(opened.table(feed), guarded.landing, guarded.list_files(feed))
            assert [outcome.reason for outcome in outcomes] == [
                "",
                f"{number} b.txt: line {3 + feed.name.count(chr(10)) * 2}, "
                f"column {feed.name}: not a BIGINT",
            ]
            table = feed.table.replace('"', '""')
            loaded = opened.duck.execute(f'SELECT * FROM "{table}" ORDER BY ALL').fetchall()
            name = f"{number} a.txt"
            assert loaded == [(1, "x", "a", name), (None, "y", "a", name)]
        assert read_bystanders(opened.table(NOTES))[1:] == bystanders
    tables = {feed.table for feed in feeds} | {
        LEDGER_TABLE,
        LOAD_HISTORY_TABLE,
        REJECTED_ROWS_TABLE,
        "kept",
        "raw_notes",
    }
    assert set(guarded.tables()) == tables


SECRET = "Tr0ub4dor"
GOOD = {
    "whole": ("BIGINT", "1"),
    "natural": ("UINTEGER", "1"),
    "number": ("DOUBLE", "1.5"),
    "amount": ("DECIMAL(9,2)", "1.50"),
    "day": ("DATE", "2024-01-02"),
    "moment": ("TIMESTAMP", "2024-01-02 03:04:05"),
    "zoned": ("TIMESTAMPTZ", "2024-01-02 03:04:05+00"),
    "hour": ("TIME", "03:04:05"),
    "flag": ("BOOLEAN", "true"),
    "unique": ("UUID", "00000000-0000-0000-0000-000000000001"),
    "text": ("VARCHAR", "x"),
}
PEOPLE = Feed(
    name="people",
    folder="people",
    pattern="{key}.csv",
    columns={name: kind for name, (kind, _) in GOOD.items()},
    table="people",
    row_rules=(
        RowRule(
            name="text_is_public",
            column="text",
            expression=f"text NOT LIKE '%{SECRET[:4]}%'",
            reason="not public",
        ),
    ),
)
HEADER = ",".join(GOOD)
GOOD_ROW = ",".join(text for _, text in GOOD.values())


def row_with(column: str, text: str) -> str:
    return ",".join(text if name == column else good for name, (_, good) in GOOD.items())


SECRET_ROW = row_with("text", SECRET)
BREACHES: dict[str, str | bytes] = {
    **{
        f"{column}: {text}": f"{HEADER}\n{GOOD_ROW}\n{row_with(column, text)}\n"
        for column in GOOD
        for text in (SECRET, f"1{SECRET}", f"2024-01-02 {SECRET}", f'"{SECRET},\n{SECRET}"')
    },
    "a row for the header": f"{SECRET_ROW}\n{SECRET_ROW}\n",
    "another name in the header": f"{HEADER[:-4]}{SECRET}\n{GOOD_ROW}\n",
    "one name more": f"{HEADER},{SECRET}\n{GOOD_ROW},{SECRET}\n",
    "names in another order": f"{','.join(reversed(GOOD))}\n{SECRET_ROW}\n",
    "a header that is not closed": f'{HEADER},"{SECRET}\n{SECRET_ROW}\n',
    "a field more": f"{HEADER}\n{GOOD_ROW},{SECRET}\n",
    "a field less": f"{HEADER}\n{SECRET}\n{GOOD_ROW}\n",
    "fields that add up": f"{HEADER}\n{GOOD_ROW},{SECRET}\n{SECRET_ROW[2:]}\n",
    "an empty line": f"{HEADER}\n\n{SECRET_ROW}\n",
    "a quote that is not closed": f'{HEADER}\n{GOOD_ROW}"{SECRET}\n{SECRET_ROW}\n',
    "text after a closing quote": f"{HEADER}\n{row_with('text', f'{chr(34)}x{chr(34)}{SECRET}')}\n",
    "a quote inside a field": f"{HEADER}\n{SECRET_ROW}{chr(34)}\n",
    "no last line end": f"{HEADER}\n{SECRET_ROW}",
    "two kinds of line end": f"{HEADER}\n{GOOD_ROW}\n{SECRET_ROW}\r\n",
    "a lone carriage return": f"{HEADER}\n{SECRET_ROW}\r{SECRET}\n",
    "a NUL": f"{HEADER}\n{SECRET_ROW}\0\n",
    "bytes that are not UTF-8": f"{HEADER}\n{SECRET_ROW}".encode() + b"\xff\n",
    "UTF-16": f"{HEADER}\n{SECRET_ROW}\n".encode("utf-16"),
    "a line that is too long": f"{HEADER}\n{row_with('text', SECRET * 60_000)}\n",
    "a number that is too long": f"{HEADER}\n{row_with('whole', f'{SECRET}{1:0300}')}\n",
}


def test_every_breach_holds_the_secret() -> None:
    for content in BREACHES.values():
        data = content.encode() if isinstance(content, str) else content
        assert SECRET.encode() in data.replace(b"\0", b"")


def test_no_message_has_a_cell_of_a_file_that_breaks_its_contract(
    bench: Workbench, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    names = {f"{number}": content for number, content in enumerate(BREACHES.values())}
    for key, content in names.items():
        bench.land(PEOPLE, f"{key}.csv", content)
    files = bench.list_files(PEOPLE)
    with bench.open_table(PEOPLE) as table:
        outcomes = [load_files(table, bench.landing, [file])[0] for file in files]
        alone = table.read_ledger()
    for key, content in {**names, "good": f"{HEADER}\n{GOOD_ROW}\n"}.items():
        bench.land(PEOPLE, f"{key}.csv", content)
    together = bench.load(PEOPLE)
    report = bench.sync(PEOPLE)

    assert [row[-1] for row in bench.rows(PEOPLE)] == ["good.csv"]
    assert len(alone.rows) == len(report.refused) == len(BREACHES)
    told = [(outcome.status, outcome.reason, outcome.problems) for outcome in outcomes]
    assert {status for status, _, _ in told} == {OutcomeStatus.REFUSED}
    told += [(each.status, each.reason, each.problems) for each in together.values()]
    everything = [told, alone, bench.ledger(PEOPLE), report, caplog.text, capfd.readouterr()]
    assert SECRET.casefold() not in str(everything).casefold()


FAILING_RULES = [
    "error(text)",
    "CAST(text AS INTEGER) > 0",
    "CAST(text AS JSON) IS NOT NULL",
    "CAST(text AS TIMESTAMP) IS NOT NULL",
    "CAST(text AS ENUM('x')) IS NOT NULL",
    "regexp_matches('x', '(' || text)",
    "date_trunc(text, DATE '2024-01-02') IS NOT NULL",
    "format('{' || text) = 'x'",
]


@pytest.mark.parametrize("expression", FAILING_RULES)
def test_no_message_has_the_cell_that_a_row_rule_failed_on(
    bench: Workbench, caplog: pytest.LogCaptureFixture, expression: str
) -> None:
    caplog.set_level(logging.DEBUG)
    rule = RowRule(name="rule", column="text", expression=expression, reason="not so")
    people = change_feed(PEOPLE, row_rules=(rule,))
    with bench.connect() as connection, pytest.raises(duckdb.Error, match=SECRET):
        connection.execute(f"SELECT {expression} FROM (SELECT ? AS text)", [SECRET]).fetchall()
    bench.land(people, "bad.csv", f"{HEADER}\n{SECRET_ROW}\n")
    bench.land(people, "worse.csv", f"{HEADER}\n{GOOD_ROW}\n{SECRET_ROW}\n")
    outcomes = bench.load(people)
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.REFUSED}
    assert bench.rows(people) == []
    told = [outcomes, bench.ledger(people), bench.sync(people), caplog.text]
    assert SECRET.casefold() not in str(told).casefold()
