"""Values: texts as senders spell them become exactly their values, or their file is refused."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioned_etl.engine.contract import BadRows, RowRule
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.formats.parquet import ParquetFormat
from partitioned_etl.engine.formats.rows import FILE_FAULTS, total_sql
from support.scale import try_examples
from support.workbench import NOTES, PRICES, Workbench, change_feed

DAY = date(2024, 1, 31)
MOMENT = datetime(2024, 1, 31, 14, 5, 9)  # noqa: DTZ001, a TIMESTAMP has no time zone
MOMENT_UTC = MOMENT.replace(tzinfo=UTC)
MONEY = "DECIMAL(10,2)"


@dataclass(frozen=True)
class Spelled:
    """A column, the values of texts that it accepts, and texts that it refuses.

    Attributes:
        column: Its type and value options.
        values: Maps text to value.
        refused: Texts that it refuses.
        reason: Why.
    """

    column: dict[str, Any]
    values: dict[str, Any]
    refused: Sequence[str] = ()
    reason: str = ""
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        columns = {"id": "BIGINT", "v": self.column, "note": "VARCHAR"}
        object.__setattr__(self, "feed", change_feed(NOTES, columns=columns))


SPELLED = {
    "a decimal comma": Spelled(
        {"type": MONEY, "decimal": ","},
        {"1234,56": Decimal("1234.56"), "+1,5": Decimal("1.50"), "-7": Decimal(-7), "": None},
        ["12.34", "1,234", "1.234,56", "1,2,3", ",", "x", " 1,5"],
        "not a DECIMAL(10,2) with decimal comma",
    ),
    "a decimal comma and points": Spelled(
        {"type": MONEY, "decimal": ",", "thousands": "."},
        {
            "1.234,56": Decimal("1234.56"),
            "1234,56": Decimal("1234.56"),
            "-1.234.567": Decimal(-1234567),
        },
        ["1.23,4", "12.34", "1.234.5", "1234.567", ".123", "1.234,5.6", "1..234", "1,234.567"],
        "not a DECIMAL(10,2) with decimal comma and thousands point",
    ),
    "commas between thousands": Spelled(
        {"type": "BIGINT", "thousands": ","},
        {"1,234,567": 1234567, "1234567": 1234567, "+0": 0},
        ["1,23", "1,2345", "12,", ",123", "1,234.0", "1,234\n"],
        "not a BIGINT with thousands comma",
    ),
    "a floating-point number with a decimal comma": Spelled(
        {"type": "DOUBLE", "decimal": ",", "thousands": "\u00a0"},
        {"0,1": 0.1, "1,5e-3": 0.0015, "12\u00a0345,5": 12345.5},
        ["0.1", "1_0", "1e-400", "+-1", "nan", "inf", "1\u00a02", " 1"],
        "not a DOUBLE with decimal comma and thousands \u00a0",
    ),
    "signs around a number": Spelled(
        {"type": MONEY, "strip": ["\u20ac", "EUR", "%", "$"]},
        {
            "\u20ac 5": Decimal(5),
            "5\u00a0%": Decimal(5),
            "12.5EUR": Decimal("12.5"),
            "-$5.25": Decimal("-5.25"),
            "$-5": Decimal(-5),
            "5": Decimal(5),
        },
        ["\u20ac", "5 $ $", "$5$", "\u20ac 5 ", "5 USD", "-$", "- $5"],
        "not a DECIMAL(10,2)",
    ),
    "a minus at the end": Spelled(
        {"type": MONEY, "decimal": ",", "trailing_minus": True, "strip": "EUR"},
        {"12,50-": Decimal("-12.50"), "12,50- EUR": Decimal("-12.50"), "-3": Decimal(-3)},
        ["-", "-12,50-", "+12,50-", "12,50--", "12,50 -"],
        "not a DECIMAL(10,2) with decimal comma",
    ),
    "texts for NULL": Spelled(
        {"type": "BIGINT", "nulls": ["NULL", r"\N", "-", "-999"]},
        {"NULL": None, r"\N": None, "-": None, "-999": None, "-998": -998},
        ["null", "NA", "--", " -"],
        "not a BIGINT",
    ),
    "texts for NULL among texts": Spelled(
        {"type": "VARCHAR", "nulls": ["NULL", ""]},
        {"NULL": None, "": None, "null": "null", "it's": "it's", " NULL": " NULL"},
    ),
    "white space around texts": Spelled(
        {"type": "VARCHAR", "trim": True, "nulls": "NA"},
        {" a b\t": "a b", "\u00a0x\u3000": "x", " NA ": None, "  ": None, "": None},
    ),
    "white space around days": Spelled(
        {"type": "DATE", "trim": True}, {" 2024-01-31 ": DAY, " ": None}, ["2024 -01-31"]
    ),
    "day first": Spelled(
        {"type": "DATE", "date_format": "%d.%m.%Y"},
        {"31.01.2024": DAY, "29.02.2024": date(2024, 2, 29), "": None},
        [
            "1.2.2024", "30.02.2024", "01.13.2024", "31.01.24", "2024-01-31", "31.01.2024 ",
            "31/01/2024", "00.01.2024", "31.01.0000", "3\u0661.01.2024", "+1.01.2024", "today",
        ],
        "not a DATE of the form %d.%m.%Y",
    ),
    "numbers without zeros before them": Spelled(
        {"type": "DATE", "date_format": "%-d.%-m.%Y"},
        {
            "1.2.2024": date(2024, 2, 1), "31.12.2024": date(2024, 12, 31), "1.1.0001": date.min,
            "31.12.9999": date.max,
        },
        ["01.2.2024", "1.02.2024", "0.1.2024", "31.2.2024", "1.2.24", "1.1.0000", " 1.2.2024"],
        "not a DATE of the form %-d.%-m.%Y",
    ),
    "two digits for a year": Spelled(
        {"type": "DATE", "date_format": "%d/%m/%y"},
        {
            "31/01/24": DAY, "01/01/68": date(2068, 1, 1), "01/01/69": date(1969, 1, 1),
            "31/12/99": date(1999, 12, 31), "29/02/00": date(2000, 2, 29),
        },
        ["31/01/2024", "29/02/23", "1/1/24"],
    ),
    "no marks": Spelled(
        {"type": "DATE", "date_format": "%Y%m%d"},
        {"20240131": DAY},
        ["2024131", "20241301", "2024-01-31", "202401311"],
    ),
    "a day at midnight": Spelled(
        {"type": "DATE", "date_format": ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %I:%M:%S.%f %p"]},
        {"2024-01-31 00:00:00": DAY, "2024-01-31 12:00:00.000 AM": DAY},
        [
            "2024-01-31 00:00:01", "2024-01-31 24:00:00", "2024-01-31 12:00:00.000 PM",
            "2024-01-31 12:00:00.001 AM", "2024-01-31",
        ],
        "not a DATE of the form %Y-%m-%d %H:%M:%S or of the form %Y-%m-%d %I:%M:%S.%f %p",
    ),
    "names of months": Spelled(
        {"type": "DATE", "date_format": ["%d-%b-%y", "%B %-d, %Y"]},
        {
            "31-JAN-24": DAY, "31-Jan-24": DAY, "January 31, 2024": DAY,
            "01-may-24": date(2024, 5, 1), "December 1, 2024": date(2024, 12, 1),
        },
        ["31-M\u00e4r-24", "31-Foo-24", "31-January-24", "Jan 31, 2024", "31-Feb-24"],
    ),
    "marks that mean something in patterns": Spelled(
        {"type": "DATE", "date_format": r"%%%d_%m\%Y'"}, {r"%31_01\2024'": DAY},
        [r"x31_01\2024'", r"%31x01\2024'", r"%31_01\\2024'"],
    ),
    "two formats": Spelled(
        {"type": "DATE", "date_format": ["%d.%m.%Y", "%Y-%m-%d"]},
        {"31.01.2024": DAY, "2024-01-31": DAY},
        ["2024/01/31", "01-31-2024"],
    ),
    "serial numbers of days": Spelled(
        {"type": "DATE", "date_format": "excel"},
        {
            "45322": DAY, "45322.0": DAY, "1": date(1900, 1, 1), "59": date(1900, 2, 28),
            "61": date(1900, 3, 1), "2958465": date(9999, 12, 31),
        },
        ["60", "0", "-1", "45322.5", "2958466", "9999999999", "2024-01-31", "4e4"],
        "not a DATE as an Excel serial number",
    ),
    "serial numbers of times": Spelled(
        {"type": "TIMESTAMP", "timestamp_format": "excel"},
        {
            "45322": MOMENT.replace(hour=0, minute=0, second=0),
            "45322.586909722224": MOMENT,
            "45322.5869097222": MOMENT,
        },
        ["60.5", "0.5", "45322,5", "45322."],
    ),
    "a time in a form of its own": Spelled(
        {"type": "TIMESTAMP", "timestamp_format": ["%d.%m.%Y %H:%M:%S", "%d.%m.%Y"]},
        {"31.01.2024 14:05:09": MOMENT, "31.01.2024": datetime(2024, 1, 31)},  # noqa: DTZ001
        ["31.01.2024 24:00:00", "31.01.2024 14:05", "31.01.2024 14:05:60", "31.01.2024 14:60:00"],
    ),
    "a time without zeros before its numbers": Spelled(
        {"type": "TIMESTAMP", "timestamp_format": "%-m/%-d/%Y  %-H:%M%%"},
        {
            "1/31/2024  14:05%": MOMENT.replace(second=0),
            "1/31/2024  0:00%": datetime(2024, 1, 31),  # noqa: DTZ001
        },
        [
            "1/31/2024 14:05%", "1/31/2024  24:00%", "1/31/2024  14:60%", "1/31/2024  14:05%%",
            "31/1/2024  14:05%", "1/31/0000  14:05%",
        ],
    ),
    "fractions of a second": Spelled(
        {"type": "TIMESTAMP", "timestamp_format": "%Y%m%d%H%M%S.%f"},
        {
            "20240131140509.5": MOMENT.replace(microsecond=500_000),
            "20240131140509.000001": MOMENT.replace(microsecond=1),
        },
        ["20240131140509.", "20240131140509.1234567", "20240131240509.5"],
    ),
    "seconds since 1970": Spelled(
        {"type": "TIMESTAMP", "timestamp_format": "epoch"},
        {
            "1706709909": MOMENT, "1706709909.000001": MOMENT.replace(microsecond=1),
            "-1": datetime(1969, 12, 31, 23, 59, 59),  # noqa: DTZ001
            "-62135596800": datetime(1, 1, 1),  # noqa: DTZ001
        },
        ["1706709909.0000001", "1e9", "-62135596801", "253402300800", "9" * 40, "x"],
        "not a TIMESTAMP in seconds since 1970",
    ),
    "milliseconds since 1970": Spelled(
        {"type": "TIMESTAMPTZ", "timestamp_format": "epoch_ms"},
        {"1706709909000": MOMENT_UTC, "1706709909000.001": MOMENT_UTC.replace(microsecond=1)},
        ["1706709909000.0001", "253402300800000", "17067099090000000000000"],
        "not a TIMESTAMPTZ in milliseconds since 1970",
    ),
    "offsets": Spelled(
        {
            "type": "TIMESTAMPTZ",
            "timestamp_format": ["%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%z"],
        },
        {
            "31/Jan/2024:15:05:09 +0100": MOMENT_UTC, "31/Jan/2024:15:05:09 +01:00": MOMENT_UTC,
            "31/Jan/2024:14:05:09 Z": MOMENT_UTC, "2024-01-31T14:05:09Z": MOMENT_UTC,
        },
        [
            "31/Jan/2024:15:05:09", "31/Jan/2024:15:05:09+0100", "31/Jan/2024:15:05:09 CET",
            "31/Jan/2024:24:05:09 Z", "31/Jan/2024:15:05:09 +1:00", "31/Jan/2024:15:05:09 +01:60",
        ],
    ),
    "twelve hours": Spelled(
        {"type": "TIME", "time_format": ["%-I:%M %p", "%H%M"]},
        {
            "2:05 PM": time(14, 5), "12:00 am": time(0), "12:30 PM": time(12, 30),
            "1405": time(14, 5), "": None,
        },
        ["02:05 PM", "13:05 PM", "0:05 AM", "2:05", "2:60 PM", "2405"],
        "not a TIME of the form %-I:%M %p or of the form %H%M",
    ),
    "words for true and false": Spelled(
        {"type": "BOOLEAN", "true_texts": ["ja", "J"], "false_texts": "nein", "nulls": "?"},
        {"ja": True, "J": True, "nein": False, "?": None, "": None},
        ["true", "1", "Ja", "n", "ja "],
        "not a BOOLEAN by its true_texts and false_texts",
    ),
    "one word for true": Spelled({"type": "BOOLEAN", "true_texts": "X"}, {"X": True}, ["false"]),
    "texts for NULL among other types": Spelled(
        {"type": "UUID", "nulls": "NA", "trim": True}, {" NA": None}, ["NULL"]
    ),
}  # fmt: skip


def write_csv(texts: Sequence[str], *, quoting: int = csv.QUOTE_ALL) -> str:
    """Write a file with a row for each text, and its place."""
    written = io.StringIO()
    writer = csv.writer(written, quoting=quoting, lineterminator="\n")  # pyright: ignore[reportArgumentType]
    writer.writerow(["id", "v", "note"])
    writer.writerows([place, text, "x"] for place, text in enumerate(texts))
    return written.getvalue()


def convert(duck: duckdb.DuckDBPyConnection, feed: Feed, text: str | None) -> Any:
    """Give the value that the column makes of a text, by the SQL that loads files all at once."""
    [(value,)] = duck.execute(f"SELECT {total_sql(feed, 'v', '?')}", [text]).fetchall()
    return value


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize(
    "quoting",
    [
        pytest.param(csv.QUOTE_ALL, id="quoted", marks=pytest.mark.long),
        pytest.param(csv.QUOTE_MINIMAL, id="plain"),
    ],
)
def test_a_text_in_the_declared_form_becomes_its_value(
    bench: Workbench, name: str, quoting: int
) -> None:
    feed, values = SPELLED[name].feed, SPELLED[name].values
    bench.land(feed, "a.csv", write_csv(list(values), quoting=quoting))
    assert bench.load(feed)["a"].reason == ""
    assert [row[1] for row in bench.rows(feed)] == list(values.values())


@pytest.mark.parametrize("name", [name for name, case in SPELLED.items() if case.refused])
def test_a_text_in_another_form_is_refused_on_both_ways(bench: Workbench, name: str) -> None:
    case = SPELLED[name]
    with duckdb.connect() as duck:
        for text in case.refused:
            with pytest.raises(FILE_FAULTS):
                convert(duck, case.feed, text)
    limits: dict[str, Any] = {"bad_rows": BadRows.QUARANTINE, "max_rejected_percent": 100}
    feed = change_feed(case.feed, **limits)
    bench.land(feed, "a.csv", write_csv([*case.refused, next(iter(case.values))]))
    assert bench.load(feed)["a"].rejected_count == len(case.refused)
    assert [row[1] for row in bench.rows(feed)] == [next(iter(case.values.values()))]
    reasons = bench.query("SELECT DISTINCT column_name, reason FROM rejected_rows")
    assert [column for column, _ in reasons] == ["v"]
    if case.reason:
        assert reasons[0][1] == case.reason


@pytest.mark.parametrize(
    ("column", "text", "reason"),
    [
        pytest.param(
            {"type": "DATE", "date_format": "%d.%m.%Y"},
            "1.2.2024",
            "a.csv: line 3, column v: not a DATE of the form %d.%m.%Y",
            id="a day without its zeros",
        ),
        pytest.param(
            {"type": "DATE", "date_format": "%Y-%m-%d %H:%M:%S"},
            "2024-01-31 00:00:01",
            "a.csv: line 3, column v: not a DATE of the form %Y-%m-%d %H:%M:%S",
            id="a day with a time",
        ),
        pytest.param(
            {"type": "DATE", "date_format": "excel"},
            "60",
            "a.csv: line 3, column v: not a DATE as an Excel serial number",
            id="the day 60 of Excel",
        ),
        pytest.param(
            {"type": MONEY, "decimal": ","},
            "12.34",
            "a.csv: line 3, column v: not a DECIMAL(10,2) with decimal comma",
            id="a point for a comma",
        ),
        pytest.param(
            {"type": MONEY, "decimal": ",", "thousands": "."},
            "1.23,4",
            "a.csv: line 3, column v: not a DECIMAL(10,2) with decimal comma and thousands point",
            id="thousands of two digits",
        ),
        pytest.param(
            {"type": "BOOLEAN", "true_texts": "ja", "false_texts": "nein"},
            "true",
            "a.csv: line 3, column v: not a BOOLEAN by its true_texts and false_texts",
            id="a truth in another language",
        ),
    ],
)
def test_the_form_that_was_declared_is_named(
    bench: Workbench, column: dict[str, Any], text: str, reason: str
) -> None:
    feed = change_feed(NOTES, columns={"id": "BIGINT", "v": column, "note": "VARCHAR"})
    bench.land(feed, "a.csv", write_csv(["", text]))
    assert bench.load(feed)["a"].reason == reason
    assert bench.rows(feed) == []


def test_options_of_the_feed_hold_for_the_columns_they_concern_and_columns_override_them(
    bench: Workbench,
) -> None:
    feed = change_feed(
        NOTES,
        columns={
            "amount": MONEY,
            "rate": {"type": "DOUBLE", "decimal": "."},
            "day": "DATE",
            "until": {"type": "DATE", "date_format": "%Y%m%d", "nulls": "99991231"},
            "text": {"type": "VARCHAR", "nulls": []},
        },
        values={"decimal": ",", "date_format": ["%d.%m.%Y"], "nulls": ["NULL"]},
    )
    header = "amount,rate,day,until,text\n"
    bench.land(
        feed, "a.csv", header + '"1,5",1.5,31.01.2024,20240131,NULL\nNULL,NULL,NULL,99991231,x\n'
    )
    bench.land(feed, "b.csv", header + "NULL,1,31.01.2024,NULL,x\n")
    outcomes = bench.load(feed)
    assert [row[:5] for row in bench.rows(feed)] == [
        (Decimal("1.50"), 1.5, DAY, DAY, "NULL"),
        (None, None, None, None, "x"),
    ]
    assert outcomes["b"].reason == "b.csv: line 2, column until: not a DATE of the form %Y%m%d"


def test_rules_and_quarantine_see_converted_values(bench: Workbench) -> None:
    rules = {
        "small": "amount < 1000",
        "day_is_last": "day = last_day(day)",
    }
    feed = change_feed(
        NOTES,
        columns={"amount": MONEY, "day": "DATE"},
        values={"decimal": ",", "thousands": ".", "date_format": "%d.%m.%Y"},
        row_rules=tuple(
            RowRule(name=name, column="amount", expression=expression, reason="broken")
            for name, expression in rules.items()
        ),
        bad_rows=BadRows.QUARANTINE,
        max_rejected_percent=100,
    )
    rows = ['"999,5",31.01.2024', '"1.000,0",31.01.2024', "1,30.01.2024", "1.5,31.01.2024"]
    bench.land(feed, "a.csv", "\n".join(["amount,day", *rows, ""]))
    bench.load(feed)
    assert [row[:2] for row in bench.rows(feed)] == [(Decimal("999.50"), DAY)]
    assert bench.query("SELECT line, reason FROM rejected_rows ORDER BY line") == [
        (3, "broken (small)"),
        (4, "broken (day_is_last)"),
        (5, "not a DECIMAL(10,2) with decimal comma and thousands point"),
    ]


@pytest.mark.parametrize(
    ("columns", "values", "path", "reason"),
    [
        ({"v": {"type": "DATE", "decimal": ","}}, {}, "columns.v.decimal", "not concern a DATE"),
        ({"v": {"type": "BIGINT", "date_format": "%Y"}}, {}, "columns.v.date_format", "a BIGINT"),
        ({"v": {"type": "VARCHAR", "strip": "%"}}, {}, "columns.v.strip", "concern a VARCHAR"),
        ({"v": {"type": "UUID", "strip": "%"}}, {}, "columns.v.strip", "concern a UUID"),
        ({"v": {"type": "INTEGER", "date_format": "%Y"}}, {}, "columns.v.date_format", "an INT"),
        ({"v": "BIGINT"}, {"true_texts": ["x"]}, "values.true_texts", "no column has a type"),
        ({"v": "BIGINT"}, {"thousands": "."}, "values.thousands", "is the decimal separator"),
        ({"v": "BIGINT"}, {"thousands": "x"}, "values.thousands", "one character that is no"),
        ({"v": "BIGINT"}, {"thousands": ", "}, "values.thousands", "one character that is no"),
        ({"v": "BIGINT"}, {"thousands": r"\u00A0"}, "values.thousands", r'quotes: "\u00A0"'),
        ({"v": "BIGINT"}, {"decimal": ";"}, "values.decimal", "not ';'"),
        ({"v": "BIGINT"}, {"strip": ["0"]}, "values.strip", "may be part of a number"),
        ({"v": "BIGINT"}, {"strip": [" x"]}, "values.strip", "begins or ends with a space"),
        ({"v": "BIGINT"}, {"nulls": [None]}, "values.nulls.0", "put it in quotes"),
        ({"v": "BIGINT"}, {"nulls": None}, "values.nulls", "put it in quotes"),
        ({"v": "BIGINT"}, {"nulls": [-1]}, "values.nulls.0", "put it in quotes"),
        ({"v": "BOOLEAN"}, {"true_texts": [True]}, "values.true_texts.0", "put it in quotes"),
        ({"v": {"type": "BOOLEAN", "false_texts": False}}, {}, "columns.v.false_texts", "quotes"),
        ({"v": "BOOLEAN"}, {"true_texts": "x", "false_texts": "x"}, "values.true_texts", "one"),
        ({"v": "BOOLEAN"}, {"true_texts": "x", "nulls": "x"}, "values.true_texts", "one value"),
        ({"v": "BIGINT"}, {"nul": ["x"]}, "values.nul", "no such attribute"),
        ({"v": {"type": "BIGINT", "nul": "x"}}, {}, "columns.v.nul", "no such attribute"),
        ({"v": "DATE"}, {"date_format": "%d.%m.%Q"}, "values.date_format", "there is no %Q"),
        ({"v": "DATE"}, {"date_format": "%A %d.%m.%Y"}, "values.date_format", "there is no %A"),
        ({"v": "DATE"}, {"date_format": "%d.%m."}, "values.date_format", "has no year"),
        ({"v": "DATE"}, {"date_format": "%d.%m.%Y %"}, "values.date_format", "there is no %"),
        ({"v": "DATE"}, {"date_format": "%d.%m.%Y %y"}, "values.date_format", "the year twice"),
        ({"v": "DATE"}, {"date_format": "%d.%m.%Y %z"}, "values.date_format", "would lose"),
        ({"v": "DATE"}, {"date_format": "%d.%m.%Y %M"}, "values.date_format", "and no hour"),
        ({"v": "DATE"}, {"date_format": "%-d%m%Y"}, "values.date_format", "need a fixed width"),
        ({"v": "DATE"}, {"date_format": "%d.%m.%Y %I"}, "values.date_format", "need one another"),
        ({"v": "TIMESTAMPTZ"}, {"timestamp_format": "%z%d%m%Y"}, "values.timestamp_format", "mark"),
        ({"v": "DATE"}, {"date_format": "epoch"}, "values.date_format", "nothing that a DATE"),
        ({"v": "DATE"}, {"date_format": ["excel", "%Y%m%d"]}, "values.date_format", "alone"),
        ({"v": "TIME"}, {"time_format": "%d %H:%M"}, "values.time_format", "has a day"),
        ({"v": "TIME"}, {"time_format": "%M:%S"}, "values.time_format", "has no hour"),
        ({"v": "TIMESTAMPTZ"}, {"timestamp_format": "%Y%m%d"}, "values.timestamp_format", "z"),
        ({"v": "DATE"}, {"date_format": ["%d.%m.%Y", "%m/%d/%Y"]}, "values.date_format", "month"),
        ({"v": "DATE"}, {"date_format": ["%Y-%d-%m", "%Y/%m/%d"]}, "values.date_format", "month"),
        ({"v": "DATE"}, {"date_format": ["%d%m%y", "%y%m%d"]}, "values.date_format", "told apart"),
        ({"v": "DATE"}, {"date_format": ["%y-%m-%d", "%d-%m-%y"]}, "values.date_format", "apart"),
    ],
)  # fmt: skip
def test_an_option_that_cannot_be_meant_is_refused_when_the_feed_is_defined(
    columns: dict[str, Any], values: dict[str, Any], path: str, reason: str
) -> None:
    with pytest.raises(FeedDefinitionError) as caught:
        change_feed(NOTES, columns=columns, values=values)
    assert caught.value.attribute == path
    assert str(caught.value).startswith(f"feed notes: {path}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("type_name", "declared", "meant"),
    [
        ("DATE", "dd.mm.yyyy", "%d.%m.%Y"),
        ("DATE", "d.M.yy", "%-d.%-m.%y"),
        ("DATE", "d/m/Y", "%-d/%-m/%Y"),
        ("DATE", "DD-MON-YYYY", "%d-%b-%Y"),
        ("DATE", "MMMM d, yyyy", "%B %-d, %Y"),
        ("DATE", "%d.%m.yyyy", "%d.%m.%Y"),
        ("TIME", "HH:mm", "%H:%M"),
        ("TIME", "h:mm:ss tt", "%-I:%M:%S %p"),
        ("TIME", "%H:mm", "%H:%M"),
        ("TIMESTAMP", "yyyy-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S"),
        ("TIMESTAMP", "YYYY-MM-DD HH24:MI:SS", "%Y-%m-%d %H:%M:%S"),
        ("TIMESTAMP", "dd.mm.yyyy hh:mm", "%d.%m.%Y %H:%M"),
        ("TIMESTAMP", "HH:mm dd.MM.yyyy", "%H:%M %d.%m.%Y"),
        ("TIMESTAMP", "yyyy-MM-dd'T'HH:mm:ss.SSS", "%Y-%m-%dT%H:%M:%S.%f"),
        ("TIMESTAMP", "%Y%m%d HHmmss", "%Y%m%d %H%M%S"),
        ("TIMESTAMPTZ", "yyyy-MM-ddTHH:mm:ssXXX", "%Y-%m-%dT%H:%M:%S%z"),
        ("DATE", "EEE, dd.MM.yyyy", ""),
        ("TIMESTAMP", "%Y-%m-%d HH:mm Z", ""),
    ],
)
def test_a_format_in_letters_is_refused_with_the_one_that_is_meant(
    type_name: str, declared: str, meant: str
) -> None:
    option = f"{'timestamp' if 'STAMP' in type_name else type_name.lower()}_format"
    guess = f": {meant}?" if meant else ", such as %d.%m.%Y or %H:%M"
    with pytest.raises(FeedDefinitionError) as caught:
        change_feed(NOTES, columns={"v": type_name}, values={option: ["%Y-%m-%d", declared]})
    assert caught.value.attribute == f"values.{option}"
    assert str(caught.value).endswith(f"column v: {declared!r} is no form of strptime{guess}")


@pytest.mark.parametrize(
    "time_format", ["%-Hh%M", "%H Uhr %M", "%Hh%Mm%Ss", "%H.%M o'clock", "um %H:%M", "T%H:%MZ"]
)
def test_a_format_may_hold_words(time_format: str) -> None:
    feed = change_feed(NOTES, columns={"v": "TIME"}, values={"time_format": time_format})
    assert feed.column_values["v"].formats == (time_format,)


@pytest.mark.parametrize(
    "declared", [{"values": {"trim": True}}, {"columns": {"v": {"type": "BIGINT", "nulls": "x"}}}]
)
def test_a_format_whose_values_are_no_texts_takes_no_options(declared: dict[str, Any]) -> None:
    with pytest.raises(FeedDefinitionError, match="a parquet file holds values and no texts"):
        change_feed(NOTES, **{"pattern": "{key}.parquet", "format": ParquetFormat(), **declared})


def test_a_format_twice_as_wide_can_be_told_apart() -> None:
    formats = ["%d%m%y", "%Y%m%d", "%d.%m.%Y", "%Y-%m-%d", "%d-%b-%Y", "%B %d %Y"]
    feed = change_feed(NOTES, columns={"v": "DATE"}, values={"date_format": formats})
    assert feed.column_values["v"].formats == tuple(formats)


def test_options_are_part_of_the_contract_for_the_columns_they_concern() -> None:
    def fingerprint(column: Any, **values: Any) -> str:
        feed = change_feed(PRICES, columns={"day": "DATE", "price": column}, values=values)
        return feed.contract_fingerprint

    with_comma = fingerprint("DOUBLE", decimal=",")
    assert fingerprint({"type": "DOUBLE"}) == PRICES.contract_fingerprint
    assert fingerprint("DOUBLE", nulls=[]) == PRICES.contract_fingerprint
    assert with_comma != PRICES.contract_fingerprint
    assert fingerprint({"type": "DOUBLE", "decimal": ","}) == with_comma
    assert fingerprint("DOUBLE", decimal=",", trim=True) != with_comma
    assert fingerprint({"type": "DOUBLE", "decimal": "."}, decimal=",") != with_comma


def test_the_value_of_one_text_is_found_by_the_same_rules(bench: Workbench) -> None:
    columns = {"v": {"type": MONEY, "decimal": ",", "nulls": "-"}}
    feed = change_feed(NOTES, columns=columns)
    with duckdb.connect() as duck:
        assert convert(duck, feed, "1,50") == Decimal("1.50")
        assert convert(duck, feed, "-") is convert(duck, feed, None) is None
        for text in ("1.50", "1,505"):
            with pytest.raises(FILE_FAULTS):
                convert(duck, feed, text)


def test_in_json_a_value_is_a_number_a_truth_or_a_text_as_it_is_spelled(bench: Workbench) -> None:
    feed = change_feed(
        NOTES,
        pattern="{key}.jsonl",
        format=JsonLinesFormat(),
        columns={
            "at": {"type": "TIMESTAMPTZ", "timestamp_format": "epoch_ms"},
            "amount": {"type": MONEY, "decimal": ",", "nulls": "-"},
            "is_new": {"type": "BOOLEAN", "true_texts": "ja"},
            "day": {"type": "DATE", "date_format": "%d.%m.%Y"},
        },
    )
    sound = '{"at":1706709909000,"amount":"1,5","is_new":"ja","day":"31.01.2024"}\n'
    missing = '{"at":null,"amount":"-","is_new":null,"day":null}\n'
    bench.land(feed, "a.jsonl", sound + missing)
    bench.land(feed, "b.jsonl", sound.replace('"1,5"', "1.5"))
    bench.land(feed, "c.jsonl", sound.replace('"ja"', "true"))
    outcomes = bench.load(feed)
    assert [row[:4] for row in bench.rows(feed)] == [
        (MOMENT_UTC, Decimal("1.50"), True, DAY),
        (None, None, None, None),
    ]
    assert outcomes["b"].reason.endswith("column amount: a number, where a text belongs")
    assert outcomes["c"].reason.endswith("column is_new: true or false, where a text belongs")


@dataclass(frozen=True)
class Sent:
    """What a sender writes: the declaration of a column, its values, and how they are spelled."""

    column: dict[str, Any]
    values: Sequence[Any]
    texts: Sequence[str]


@st.composite
def sent_numbers(draw: st.DrawFn) -> Sent:
    decimal = draw(st.sampled_from(".,"))
    marks = [mark for mark in ("", ".", ",", "'", " ", "\u2019", "\u00a0") if mark != decimal]
    thousands, sign = draw(st.sampled_from(marks)), draw(st.sampled_from(["", "\u20ac", "%", "kg"]))
    minus = draw(st.booleans())
    values = draw(st.lists(st.decimals(-(10**12), 10**12, places=3), min_size=1, max_size=8))

    def spell(value: Decimal) -> str:
        text = f"{abs(value):,}".translate({ord(","): thousands, ord("."): decimal})
        is_negative = value < 0
        text = f"-{text}" if is_negative and not minus else text
        text += "-" if is_negative and minus else ""
        before, after = draw(st.sampled_from([("", ""), (sign, ""), ("", f" {sign}")]))
        return f"{before}{text}{after}" if sign else text

    column: dict[str, Any] = {
        "type": "DECIMAL(18,3)",
        "decimal": decimal,
        "thousands": thousands,
        "strip": [sign] if sign else [],
        "trailing_minus": minus,
    }
    return Sent(column, values, [spell(value) for value in values])


YEARS = st.sampled_from(["%Y", "%y"])
MONTHS = st.sampled_from(["%m", "%-m", "%b", "%B"])
DAYS = st.sampled_from(["%d", "%-d"])
MARKS = st.sampled_from([".", "/", "-", " ", "x", "_"])
CLOCKS = ["%H:%M:%S", "%-H.%M.%S", "%I:%M:%S %p", "%-I:%-M:%-S %p", "%H%M%S", "%H:%M:%S.%f"]


@st.composite
def sent_moments(draw: st.DrawFn) -> Sent:
    parts = draw(st.permutations([draw(YEARS), draw(MONTHS), draw(DAYS)]))
    has_mark = any(one in ("%-m", "%-d") for one in parts) or draw(st.booleans())
    form = (draw(MARKS) if has_mark else "").join(parts)
    kind = draw(st.sampled_from(["DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME"]))
    clock = draw(st.sampled_from(CLOCKS))
    zone = timezone(timedelta(minutes=draw(st.integers(-15 * 60, 15 * 60))))
    first, last = datetime(1970, 1, 3), datetime(2068, 12, 29)  # noqa: DTZ001
    if "%y" not in parts:
        first, last = datetime(1000, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001
    moments = draw(st.lists(st.datetimes(first, last), min_size=1, max_size=8))
    if "%S.%f" not in clock:
        moments = [moment.replace(microsecond=0) for moment in moments]
    values: list[Any] = [*moments]
    if kind == "DATE":
        values = [moment.date() for moment in moments]
        moments = [datetime.combine(moment, time()) for moment in moments]
        form += f" {clock}" if draw(st.booleans()) else ""
    elif kind == "TIME":
        values, form = [moment.time() for moment in moments], clock
    elif kind == "TIMESTAMP":
        form += f" {clock}"
    else:
        form += f"T{clock}{draw(st.sampled_from(['', ' ']))}%z"
        moments = [moment.replace(tzinfo=zone) for moment in moments]
        values = [moment.astimezone(UTC) for moment in moments]
    option = {"DATE": "date_format", "TIME": "time_format"}.get(kind, "timestamp_format")
    column = {"type": kind, option: form}
    return Sent(column, values, [moment.strftime(form) for moment in moments])


@pytest.mark.scaled
def test_whatever_a_sender_writes_is_loaded_exactly_and_nothing_else_is_taken_for_it(
    bench: Workbench,
) -> None:
    @try_examples(30)
    @given(
        st.data(),
        sent_numbers() | sent_moments(),
        st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    )
    def check(data: st.DataObject, sent: Sent, quoting: int) -> None:
        columns = {"id": "BIGINT", "v": sent.column, "note": "VARCHAR"}
        feed = change_feed(NOTES, columns=columns, bad_rows="quarantine", max_rejected_percent=100)
        if bench.tables():
            bench.query(f'DROP TABLE "{feed.table}"')
        bench.land(feed, "a.csv", write_csv(sent.texts, quoting=quoting))
        assert bench.load(feed)["a"].rejected_count == 0
        assert [row[1] for row in bench.rows(feed)] == list(sent.values)
        marks = st.sampled_from([*"0123456789.,-+ ':/%xAaPMZ_", "\u20ac", "\u0663", "\u00a0"])
        mutated = []
        for text in sent.texts:
            place = data.draw(st.integers(0, len(text)))
            cut = data.draw(st.integers(0, 2))
            mutated.append(text[:place] + data.draw(st.just("") | marks) + text[place + cut :])
        values = dict.fromkeys(range(len(mutated)), "refused")
        for place, text in enumerate(mutated):
            with bench.connect() as duck:
                try:
                    values[place] = convert(duck, feed, text)
                except FILE_FAULTS:
                    continue
        # The last row is never sound, so that all are read row by row.
        bench.land(feed, "a.csv", write_csv([*mutated, "?"]))
        bench.load(feed)
        found = dict.fromkeys(values, "refused") | {row[0]: row[1] for row in bench.rows(feed)}
        assert found == values

    check()
