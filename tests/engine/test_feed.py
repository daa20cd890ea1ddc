"""A feed's declaration: what it accepts, and the partition key of a file name."""

import subprocess
import sys
from datetime import date
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from partitioned_etl.engine.contract import RowRule
from partitioned_etl.engine.errors import FeedDefinitionError, PartitionKeyError
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.file_names import Partitioning
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.registry import FORMATS, name_of
from support.workbench import CUSTOMER_DAYS, NOTES, ORDERS, PRICES, change_feed


def make_feed(**declared: Any) -> Feed:
    """A feed that is sound but for what is declared."""
    sound: dict[str, Any] = {
        "name": "f",
        "folder": "f",
        "pattern": "{key}.csv",
        "columns": {"a": "BIGINT"},
        "table": "t",
    }
    return Feed(**sound | declared)


HOURS = make_feed(pattern="{date:%Y-%m-%d-%H}.csv")
ISO_WEEKS = make_feed(pattern="{date:%G-W%V}.csv")
WEEKS = make_feed(pattern="{date:%Y-%m-%d}.csv", partitioning="weekly")
WEEKDAYS = make_feed(pattern="{date:%Y-%m-%d}.csv", partitioning="weekdays")
REGIONS = make_feed(partitioning="static")
MONTH_FOLDERS = make_feed(pattern="month={date:%Y-%m}/{key}.csv")
FLAT = make_feed(pattern="{key}_{date:%Y%m%d}.csv")
HIVE = make_feed(pattern="dt={date:%Y-%m-%d}/data.csv")
CALENDAR = make_feed(pattern="{date:%Y}/{date:%m}/{key}.csv")
YEARS = make_feed(pattern="{date:%Y}/{date:%Y-%m-%d}.csv")
TWICE = make_feed(pattern="{key}/{key}_{date:%Y-%m}.csv")
VARIES = make_feed(pattern="orders_{date:%Y%m%d}_{any}.csv")
ANY_SPELLING = make_feed(pattern="orders_{date:%Y%m%d}{any}.csv", pattern_ignores_case=True)


@pytest.mark.parametrize(
    ("feed", "file_name", "partition_key"),
    [
        (PRICES, "2018-01-22.csv", "2018-01-22"),
        (PRICES, "2024-02-29.csv", "2024-02-29"),
        (ORDERS, "2018-01.csv", "2018-01-01"),
        (NOTES, "acme.csv", "acme"),
        (NOTES, "a.b.csv", "a.b"),
        (NOTES, ".csv.csv", ".csv"),
        (make_feed(pattern="p_{date:%Y%m%d}_v1.csv"), "p_20180122_v1.csv", "2018-01-22"),
        (make_feed(pattern="{date:%d.%m.%Y}"), "22.01.2018", "2018-01-22"),
        (make_feed(pattern="{date:%m+%Y}.csv"), "02+2018.csv", "2018-02-01"),
        (make_feed(pattern="a.({key}).csv"), "a.(x).csv", "x"),
        (HOURS, "2018-01-22-13.csv", "2018-01-22-13:00"),
        (make_feed(pattern="{date:%H_%Y%m%d}.csv"), "00_20180122.csv", "2018-01-22-00:00"),
        (ISO_WEEKS, "2018-W04.csv", "2018-01-22"),
        (ISO_WEEKS, "2020-W53.csv.gz", "2020-12-28"),
        (ISO_WEEKS, "2021-W01.csv", "2021-01-04"),
        (WEEKS, "2018-01-22.csv", "2018-01-22"),
        (WEEKDAYS, "2018-01-22.csv", "2018-01-22"),
        (WEEKDAYS, "2018-01-26.csv", "2018-01-26"),
        (REGIONS, "north.csv", "north"),
        (CUSTOMER_DAYS, "acme/2018-01-22.csv", "acme|2018-01-22"),
        (CUSTOMER_DAYS, "acme/2018-01-22.csv.zst", "acme|2018-01-22"),
        (MONTH_FOLDERS, "month=2018-01/acme.csv", "acme|2018-01-01"),
        (FLAT, "acme_20180122.csv", "acme|2018-01-22"),
        (FLAT, "acme_20180101_20180122.csv.gz", "acme_20180101|2018-01-22"),
        (HIVE, "dt=2018-01-22/data.csv", "2018-01-22"),
        (CALENDAR, "2018/01/acme.csv", "acme|2018-01-01"),
        (YEARS, "2018/2018-01-22.csv", "2018-01-22"),
        (TWICE, "acme/acme_2018-01.csv", "acme|2018-01-01"),
        (VARIES, "orders_20180122_053012.csv", "2018-01-22"),
        (VARIES, "orders_20180122_.csv.zip", "2018-01-22"),
        (ANY_SPELLING, "ORDERS_20180122.CSV", "2018-01-22"),
        (ANY_SPELLING, "orders_20180122 (1).csv", "2018-01-22"),
        (make_feed(pattern="{key}.csv", pattern_ignores_case=True), "Acme.CSV", "Acme"),
    ],
)
def test_a_file_name_stands_for_one_partition_key(
    feed: Feed, file_name: str, partition_key: str
) -> None:
    assert feed.partition_key_of(file_name) == partition_key
    feed.check_partition_key(partition_key)


@pytest.mark.parametrize(
    ("feed", "file_name"),
    [
        (PRICES, "2018-1-22.csv"),
        (PRICES, "18-01-22.csv"),
        (PRICES, "2018-01-22.CSV"),
        (PRICES, "2018-01-22.csv.part"),
        (PRICES, "x2018-01-22.csv"),
        (PRICES, "2018-01-22xcsv"),
        (PRICES, "2018-01-22.csv\n"),
        (PRICES, "\u0662\u0660\u0661\u0668-01-22.csv"),
        (ORDERS, "2018-01-22.csv"),
        (NOTES, ".csv"),
        (NOTES, ""),
        (make_feed(pattern="a.({key}).csv"), "a.x.csv"),
        (NOTES, "a/b.csv"),
        (HOURS, "2018-01-22.csv"),
        (ISO_WEEKS, "2018-04.csv"),
        (CUSTOMER_DAYS, "2018-01-22.csv"),
        (CUSTOMER_DAYS, "/2018-01-22.csv"),
        (CUSTOMER_DAYS, "a/b/2018-01-22.csv"),
        (MONTH_FOLDERS, "2018-01/acme.csv"),
        (FLAT, "acme.csv"),
        (FLAT, "_20180122.csv"),
        (HIVE, "2018-01-22/data.csv"),
        (HIVE, "dt=2018-01-22/other.csv"),
        (HIVE, "dt=2018-01-22/more/data.csv"),
        (CALENDAR, "2018/acme.csv"),
        (YEARS, "2017/2018-01-22.csv"),
        (TWICE, "acme/other_2018-01.csv"),
        (VARIES, "orders_20180122.csv"),
        (VARIES, "orders_20180122_a/b.csv"),
        (VARIES, "ORDERS_20180122_a.csv"),
    ],
)
def test_a_name_of_another_pattern_stands_for_no_key(feed: Feed, file_name: str) -> None:
    assert feed.file_names.match(file_name) is None
    with pytest.raises(PartitionKeyError, match="does not match the pattern"):
        feed.partition_key_of(file_name)


@pytest.mark.parametrize(
    ("feed", "file_name"),
    [
        (PRICES, "2018-02-30.csv"),
        (PRICES, "2018-13-01.csv"),
        (ORDERS, "2018-00.csv"),
        (HOURS, "2018-01-22-24.csv"),
        (ISO_WEEKS, "2018-W00.csv"),
        (ISO_WEEKS, "2021-W53.csv"),
        (CUSTOMER_DAYS, "acme/2018-02-30.csv"),
    ],
)
def test_an_impossible_date_in_a_name_is_no_key(feed: Feed, file_name: str) -> None:
    with pytest.raises(PartitionKeyError, match="holds no date of the form"):
        feed.partition_key_of(file_name)


@pytest.mark.parametrize(
    "key",
    ["acme", "acme_2", "A-1.b", "-x", "_", "x" * 128],
)
def test_a_dynamic_feed_accepts_plain_names_by_default(key: str) -> None:
    feed = make_feed()
    feed.check_partition_key(key)
    assert feed.partition_key_of(f"{key}.csv") == key


@pytest.mark.parametrize(
    "key",
    ["", ".hidden", "a b", "a/b", "../../etc/passwd", "a'b", "a\n", "a\0", "é", "x" * 129, "a[1]"],
)
def test_a_dynamic_feed_refuses_other_names_by_default(key: str) -> None:
    feed = make_feed()
    with pytest.raises(PartitionKeyError) as refused:
        feed.check_partition_key(key)
    assert feed.name in str(refused.value)
    assert str(refused.value).isprintable()
    with pytest.raises(PartitionKeyError):
        feed.partition_key_of(f"{key}.csv")


def test_the_name_in_a_two_dimensional_key_follows_the_key_pattern() -> None:
    for name in ("", "a b", "..", "a/b"):
        with pytest.raises(PartitionKeyError, match="is not made of the characters"):
            CUSTOMER_DAYS.check_partition_key(f"{name}|2018-01-22")
    any_name = change_feed(CUSTOMER_DAYS, key_pattern=".+")
    any_name.check_partition_key("a b|2018-01-22")
    with pytest.raises(PartitionKeyError, match=r"name 'a\|b' has a \|, which parts name and date"):
        any_name.partition_key_of("a|b/2018-01-22.csv")


def test_a_refused_key_is_cut_short_in_the_message() -> None:
    with pytest.raises(PartitionKeyError) as refused:
        make_feed().check_partition_key("é" * 100_000)
    assert len(str(refused.value)) < 2_000


def test_the_key_pattern_must_match_the_whole_key() -> None:
    feed = make_feed(key_pattern="[a-z]+|[0-9]")
    feed.check_partition_key("abc")
    for key in ("abc1", "11", "1a"):
        with pytest.raises(PartitionKeyError):
            feed.check_partition_key(key)


@pytest.mark.parametrize(
    ("feed", "key"),
    [
        (PRICES, "2018-1-22"),
        (PRICES, "2018-02-30"),
        (PRICES, "2018-01-22 "),
        (PRICES, "acme"),
        (PRICES, ""),
        (PRICES, "2018-01-22' OR 1=1"),
        (ORDERS, "2018-01-02"),
        (ORDERS, "2018-01"),
        (ORDERS, "2018-1-01"),
        (HOURS, "2018-01-22-13"),
        (HOURS, "2018-01-22-13:30"),
        (HOURS, "2018-01-22"),
        (ISO_WEEKS, "2018-W04"),
        (ISO_WEEKS, "2018-01-23"),
        (WEEKS, "2018-01-23"),
        (CUSTOMER_DAYS, "acme"),
        (CUSTOMER_DAYS, "2018-01-22|acme"),
    ],
)
def test_a_dated_feed_refuses_a_key_that_is_not_its_own_spelling(feed: Feed, key: str) -> None:
    with pytest.raises(PartitionKeyError, match=f"is not a {feed.partitioning} key"):
        feed.check_partition_key(key)


@pytest.mark.parametrize(
    ("pattern", "partitioning"),
    [
        ("{date:%Y-%m-%d}.csv", Partitioning.DAILY),
        ("{date:%Y%m}.csv", Partitioning.MONTHLY),
        ("{key}.csv", Partitioning.DYNAMIC),
        ("{date:%Y-%m-%dT%H}.csv", Partitioning.HOURLY),
        ("{date:%G-W%V}.csv", Partitioning.WEEKLY),
        ("{key}/{date:%Y-%m-%d}.csv", Partitioning.DAILY),
        ("{date:%Y-%m}/{key}.csv", Partitioning.MONTHLY),
        ("{date:%Y}/{date:%m}/{date:%d}/{date:%H}.csv", Partitioning.HOURLY),
        ("{date:%G}/{key}_{date:%V}.csv", Partitioning.WEEKLY),
        ("in/{any}/{key}.csv", Partitioning.DYNAMIC),
    ],
)
def test_the_pattern_decides_the_partitioning(pattern: str, partitioning: Partitioning) -> None:
    assert make_feed(pattern=pattern).partitioning is partitioning
    assert make_feed(pattern=pattern, partitioning=str(partitioning)).partitioning is partitioning


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"pattern": "daily.csv"}, "needs a placeholder"),
        ({"pattern": "{any}/daily.csv"}, "needs a placeholder"),
        ({"pattern": "{customer}.csv"}, "has {customer}, and placeholders are"),
        ({"pattern": "{key}_{time}.csv"}, "has {time}, and placeholders are"),
        ({"pattern": "{date:}.csv"}, "has {date:}, and"),
        ({"pattern": "{date:%Y/%m}.csv"}, "has {date:%Y/%m}, and"),
        ({"pattern": "{key}}.csv"}, "has }, and"),
        ({"pattern": "{key}{any}.csv"}, "something between two placeholders"),
        ({"pattern": "{any}{key}/{date:%Y-%m-%d}"}, "something between two placeholders"),
        ({"pattern": "/{key}.csv"}, "a folder without a name"),
        ({"pattern": "a//{key}.csv"}, "a folder without a name"),
        ({"pattern": "../{key}.csv"}, "a folder without a name"),
        ({"pattern": "{date:%Y}/{date:%m}/{date:%H}.csv"}, "'%Y and %m and %H'"),
        ({"pattern": "{date:%Y-W%V}.csv"}, "or of %G and %V, if weekly"),
        ({"pattern": "{date:%Y-%H}.csv"}, "if hourly, %H"),
        ({"pattern": "{date:%Y}.csv"}, "made of %Y, %m"),
        ({"pattern": "{date:%d.%m.%y}.csv"}, "made of %Y, %m"),
        ({"pattern": "{date:%Y-%m-%d %M}.csv"}, "made of %Y, %m"),
        ({"pattern": "{date:yyyy-MM-dd}.csv"}, "'yyyy-MM-dd': %Y-%m-%d\\?$"),
        ({"pattern": "{date:%Y-%m-dd}.csv"}, "'%Y-%m-dd': %Y-%m-%d\\?$"),
        ({"pattern": "{date:%Y-%m-%d HH:mm}.csv"}, "'%Y-%m-%d HH:mm'$"),
        ({"partitioning": "daily"}, "makes dynamic keys, but its partitioning is daily"),
        (
            {"partitioning": "yearly"},
            "partitioning: Input should be 'hourly', .*, not 'yearly'",
        ),
        ({"on_missing": "drop"}, "on_missing: Input should be 'keep' or 'remove', not 'drop'"),
        ({"bad_rows": "skip"}, "bad_rows: Input should be 'fail' or 'quarantine', not 'skip'"),
        (
            {"max_rejected_percent": 200},
            "max_rejected_percent: .* less than or equal to 100",
        ),
        (
            {"max_rejected_percent": -1},
            "max_rejected_percent: .* greater than or equal to 0",
        ),
        (
            {"max_rejected_rows": -1},
            "max_rejected_rows: .* greater than or equal to 0",
        ),
        (
            {"max_uncompressed_bytes": 0},
            "max_uncompressed_bytes: .* greater than or equal to 1",
        ),
        (
            {"pattern": "{date:%Y-%m}.csv", "partitioning": "weekly"},
            "makes monthly keys, but its partitioning is weekly",
        ),
        (
            {"pattern": "{key}/{date:%Y-%m-%d}.csv", "partitioning": "static"},
            "makes daily keys, but its partitioning is static",
        ),
        ({"columns": {}}, "needs columns"),
        ({"columns": {"a": "BIGINT", "A": "BIGINT"}}, "each name once"),
        ({"columns": {"Partition_Key": "BIGINT"}}, "partition_key is added by a load"),
        ({"columns": {"source_file": "VARCHAR"}}, "source_file is added by a load"),
        (
            {"row_rules": (RowRule(name="r", column="b", expression="true", reason=""),)},
            "rule r is about column b",
        ),
        ({"timezone": "Mars/Base"}, "timezone 'Mars/Base' is not the IANA name of a time zone"),
        ({"timezone": "America"}, "timezone 'America' is not the IANA name"),
        ({"timezone": "../UTC"}, "timezone '../UTC' is not the IANA name"),
        ({"timezone": "Asia/Tokyo"}, "timezone: only a file with a date is in a time zone"),
        ({"colour": "red"}, "colour: there is no such attribute"),
        ({"columns": {"a": {"type": "BIGINT", "desc": "x"}}}, "columns.a.desc: there is no such"),
        ({"columns": {"a": 5}}, "columns.a: YAML takes 5 for no text"),
    ],
)
def test_a_contradictory_declaration_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(FeedDefinitionError, match=message) as refused:
        make_feed(**declared)
    assert str(refused.value).startswith("feed f: ")


@pytest.mark.parametrize(
    ("declared", "path", "meant"),
    [
        ({"done_sufix": ".done"}, "done_sufix", "done_suffix"),
        ({"values": {"dateformat": "%Y"}}, "values.dateformat", "date_format"),
        ({"columns": {"start": {"tpye": "BIGINT"}}}, "columns.start.tpye", "type"),
        ({"columns": {"a": {"type": "BIGINT", "form": "b"}}}, "columns.a.form", "from"),
        ({"row_rules": [{"nmae": "r", "column": "a"}]}, "row_rules.0.nmae", "name"),
        ({"format": {"type": "csv", "delimeter": ";"}}, "format.delimeter", "delimiter"),
        ({"source": {"type": "http", "ulr": "https://x/"}}, "source.ulr", "url"),
        (
            {"source": {"type": "http", "url": "https://x/", "paging": {"by": "page", "sise": 1}}},
            "source.paging.sise",
            "size",
        ),
        ({"xyz": 1}, "xyz", ""),
        ({"format": {"type": "parquet", "delimiter": ";"}}, "format.delimiter", ""),
    ],
)
def test_a_misspelled_attribute_is_refused_with_the_one_that_is_meant(
    declared: dict[str, Any], path: str, meant: str
) -> None:
    with pytest.raises(FeedDefinitionError) as refused:
        make_feed(**declared)
    said = f"; did you mean {meant!r}?" if meant else ""
    assert str(refused.value) == f"feed f: {path}: there is no such attribute{said}"
    assert refused.value.attribute == path


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"delimiter": ""}, "delimiter must be one ASCII character"),
        ({"delimiter": "||"}, "delimiter must be one ASCII character: '||'$"),
        ({"delimiter": r"\t"}, r'takes it for a character in double quotes: "\\t"$'),
        ({"quote": r"\x01"}, r'takes it for a character in double quotes: "\\x01"$'),
        ({"quote": "\n"}, "quote must be one ASCII character"),
        ({"quote": "«"}, "quote must be one ASCII character"),
        ({"escape": "\0"}, "escape must be one ASCII character"),
        ({"quote": "", "escape": "\\"}, "escape needs a quote"),
        ({"quote": "", "escape": '"'}, "escape needs a quote"),
        ({"delimiter": '"'}, "delimiter must differ"),
        ({"delimiter": "\\", "escape": "\\"}, "delimiter must differ"),
        ({"encoding": "utf-7"}, "no encoding of files is named 'utf-7'"),
        ({"encoding": "no such encoding"}, "no encoding of files is named 'no such encoding'$"),
        ({"encoding": "ansi"}, "no encoding of files is named 'ansi': windows-1252\\?$"),
        ({"encoding": "Win-1251"}, "no encoding of files is named 'Win-1251': windows-1251\\?$"),
        ({"encoding": "UTF-8-BOM"}, "no encoding of files is named 'UTF-8-BOM': utf-8\\?$"),
        ({"encoding": "ISO88592"}, "no encoding of files is named 'ISO88592': iso-8859-2\\?$"),
        ({"encoding": "cp-850"}, "no encoding of files is named 'cp-850': cp850\\?$"),
    ],
)
def test_a_dialect_that_cannot_be_read_is_refused(declared: dict[str, str], message: str) -> None:
    with pytest.raises(FeedDefinitionError, match=message):
        CsvFormat(**declared)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["UTF8", "utf_8", "latin1", "ISO-8859-1", "UTF-16"])
def test_an_encoding_may_have_any_name_that_python_knows(name: str) -> None:
    assert CsvFormat(encoding=name).text_encoding in ("utf-8", "iso8859-1", "utf-16")


def test_the_format_is_part_of_the_contract_and_a_csv_feed_keeps_its_fingerprint() -> None:
    alike = [each for each in FORMATS if name_of(each) != "fixed_width"]  # its columns have places
    contracts = {make_feed(format=each()).contract_fingerprint for each in alike}
    assert len(contracts) == len(alike) >= 5
    # A rule may look at the partition key, which comes from the name.
    by_month = change_feed(NOTES, pattern="{date:%Y-%m}.csv")
    assert by_month.contract_fingerprint != NOTES.contract_fingerprint
    # What ledgers hold; with another one, every refused file is validated again.
    assert PRICES.contract_fingerprint == "b92cbd3a08887578"


def test_a_feed_cannot_be_changed_after_it_was_declared() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        NOTES.table = "other"  # pyright: ignore[reportAttributeAccessIssue]
    assert change_feed(NOTES, table="other").table == "other"
    assert NOTES.table == "raw_notes"


def test_a_declaration_is_validated_without_assertions() -> None:
    """`python -O` leaves assertions out."""
    code = (
        "from partitioned_etl.engine.feed import Feed\n"
        "Feed(name='f', pattern='{date:%Y-%m}.csv', columns={'a': 'DATE'}, "
        "timezone='Mars/Base')"
    )
    refused = subprocess.run(
        [sys.executable, "-O", "-c", code], check=False, capture_output=True, text=True
    )
    assert "timezone 'Mars/Base' is not the IANA name of a time zone" in refused.stderr


UNQUOTED = {
    "keys": {"partitioning": "static", "keys": ["se", False, "dk"]},
    "columns": {"columns": {True: "BIGINT"}},
    "columns.a.description": {"columns": {"a": {"type": "BIGINT", "description": True}}},
    "name": {"name": True},
    "format.quote": {"format": {"type": "csv", "quote": False}},
    "keys.1": {"partitioning": "static", "keys": ["a", 1]},
    "columns of a day": {"columns": {date(2024, 1, 1): "BIGINT"}},
}


@pytest.mark.parametrize("declared", UNQUOTED.values(), ids=list(UNQUOTED))
def test_a_text_that_yaml_takes_for_something_else_is_to_be_quoted(
    declared: dict[str, Any],
) -> None:
    with pytest.raises(FeedDefinitionError, match=r"YAML takes .*: put it in quotes$"):
        make_feed(**declared)


def test_a_type_whose_comma_parts_a_yaml_mapping_is_to_be_quoted() -> None:
    columns = yaml.safe_load("{amount: DECIMAL(10, 2), day: DATE}")
    with pytest.raises(FeedDefinitionError, match=r'needs quotes, such as "DECIMAL\(10, 2\)"$'):
        make_feed(columns=columns)
