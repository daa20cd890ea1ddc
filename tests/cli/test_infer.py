"""`partitioned-etl infer`: what it proposes loads, and what it guessed it says."""

import gzip
import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from zipfile import ZipFile

import duckdb
import pytest
import yaml
from click.testing import Result

from partitioned_etl.components.file_feed import FileFeed
from partitioned_etl.engine.infer import infer_feed
from partitioned_etl.engine.sync import sync_feed
from support.samples import order_rows, price_rows
from support.workbooks import make_xlsx

Call = Callable[..., Result]


def infer(call: Call, sample: Path, *options: str) -> dict[str, object]:
    """Give the attributes of the component that is printed for a sample."""
    result = call("infer", sample, *options)
    assert result.exit_code == 0, result.output
    component = yaml.safe_load(result.stdout)
    assert component["type"] == "partitioned_etl.components.FileFeed"
    assert (
        component["attributes"]
        == json.loads(call("infer", sample, *options, "--json").stdout)["attributes"]
    )
    return component["attributes"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "daily/2018-01-22.csv",
            price_rows(1, 2),
            {"name": "daily", "pattern": "{date:%Y-%m-%d}.csv", "start": "2018-01-22"},
        ),
        (
            "sales/orders_201802.csv",
            order_rows("2018-02", "placed"),
            {
                "name": "orders",
                "pattern": "orders_{date:%Y%m}.csv",
                "start": "2018-02-01",
                "columns": {
                    "id": "BIGINT",
                    "user_id": "BIGINT",
                    "order_date": "DATE",
                    "status": "VARCHAR",
                },
            },
        ),
        (
            "hours/log_2018-01-22-13.csv",
            price_rows(1),
            {"name": "log", "pattern": "log_{date:%Y-%m-%d-%H}.csv", "start": "2018-01-22"},
        ),
        (
            "weeks/2018-W05.csv",
            price_rows(1),
            {"name": "weeks", "pattern": "{date:%G-W%V}.csv", "start": "2018-01-29"},
        ),
        ("customers/acme.csv", price_rows(1.5), {"name": "customers", "pattern": "{key}.csv"}),
        (
            "x/k.csv",
            "id;Tag;yes\n007;22.01.2018;a\n008;23.01.2018;b\n",
            {
                "format": {"type": "csv", "delimiter": ";"},
                "columns": {"id": "VARCHAR", "Tag": "VARCHAR", "yes": "VARCHAR"},
            },
        ),
        ("x/k.tsv", "id\tname\n1\ta\n2\tb\n", {"format": "tsv", "pattern": "{key}.tsv"}),
    ],
)
def test_a_sample_of_csv_becomes_a_feed_that_loads_it(
    name: str, text: str, expected: dict[str, object], call: Call, tmp_path: Path
) -> None:
    sample = tmp_path / "samples" / name
    sample.parent.mkdir(parents=True)
    sample.write_text(text)
    attributes = infer(call, sample)
    assert {key: attributes.get(key) for key in expected} == expected
    assert "the sample loads by it" in call("infer", sample).stdout
    feed = infer_feed(sample).to_feed(sample.parent.name)
    component = FileFeed.resolve_from_yaml(yaml.safe_dump(attributes))
    assert component.pattern == feed.pattern
    assert (component.columns, component.format) == (feed.columns, feed.format)
    report = sync_feed(feed, tmp_path / "samples", tmp_path / "trial.duckdb", settle_seconds=0)
    assert [record.rows for record in report.loaded] == [text.count("\n") - 1]


def test_the_name_is_taken_and_what_no_name_can_be_is_refused(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "2018-01-22.csv"
    sample.write_text(price_rows(1))
    assert infer(call, sample, "--name", "prices")["name"] == "prices"
    assert call("infer", sample, "--name", "a b").exit_code == 2


@pytest.mark.parametrize("name", ["x_99991231.csv", "9999-12-31.csv", "9999-12.csv"])
def test_a_date_without_an_end_is_none(name: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / name).write_text(price_rows(1))
    assert infer(call, tmp_path / name)["pattern"] == "{key}.csv"


def test_a_compressed_sample_stands_for_plain_names(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "2018-01-22.csv.gz"
    sample.write_bytes(gzip.compress(price_rows(1).encode()))
    assert infer(call, sample)["pattern"] == "{date:%Y-%m-%d}.csv"


def test_a_sample_in_the_landing_directory_gives_the_folder(landing_dir: Path, call: Call) -> None:
    sample = landing_dir / "daily" / "2018-01-22.csv"
    sample.write_text(price_rows(1))
    assert infer(call, sample, "--name", "prices")["folder"] == "daily"


JSON_SAMPLES = {
    "lines": (
        '{"id": 1, "at": {"x": 1.5}, "tags": ["a"], "code": "5"}\n'
        '{"id": 2, "at": null, "note": "x"}\n',
        "json_lines",
        {
            "id": "BIGINT",
            "at_x": {"type": "DOUBLE", "from": "$.at.x"},
            "tags": {"type": "JSON", "optional": True},
            "code": {"type": "VARCHAR", "optional": True},
            "note": {"type": "VARCHAR", "optional": True},
        },
    ),
    "an array": (
        '[{"id": 1, "day": "2018-01-22"},\n {"id": 2, "day": "2018-01-23"}]',
        "json",
        {"id": "BIGINT", "day": "DATE"},
    ),
    "a document": (
        '{\n "total": 1,\n "data": {"items": [\n {"id": 1}\n]}}\n',
        {"type": "json", "records": "$.data.items"},
        {"id": "BIGINT"},
    ),
}


@pytest.mark.parametrize(
    ("content", "form", "columns"), JSON_SAMPLES.values(), ids=list(JSON_SAMPLES)
)
def test_json_is_proposed_as_what_it_is(
    content: str, form: object, columns: dict[str, object], call: Call, tmp_path: Path
) -> None:
    sample = tmp_path / "events.json"
    sample.write_text(content)
    attributes = infer(call, sample)
    assert (attributes["format"], attributes["columns"]) == (form, columns)
    assert "the sample loads by it" in call("infer", sample).stdout


def test_other_formats_are_described(call: Call, tmp_path: Path) -> None:
    lines = tmp_path / "events-2018-01.jsonl"
    lines.write_text('{"id": 1, "day": "2018-01-02", "of": {"a": 1}}\n')
    attributes = infer(call, lines)
    assert attributes["format"] == "json_lines"
    assert attributes["columns"] == {
        "id": "BIGINT",
        "day": "DATE",
        "of_a": {"type": "BIGINT", "from": "$.of.a"},
    }
    assert "the sample loads by it: 1 rows" in call("infer", lines).stdout
    parquet = tmp_path / "acme.parquet"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a, 1.5::DECIMAL(9, 2) AS b")
        connection.execute(f"COPY t TO '{parquet}'")
    attributes = infer(call, parquet)
    assert attributes["format"] == "parquet"
    assert "the sample loads by it: 1 rows" in call("infer", parquet).stdout
    assert attributes["columns"] == {"a": "INTEGER", "b": "DECIMAL(9,2)"}


def test_what_the_contract_would_refuse_is_said(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "k.csv"
    sample.write_text("a,b\n1,2")
    assert "the sample would be refused" in call("infer", sample).stdout


REFUSING = {
    "hours without a zero": ("t\n1:30\n2:45\n", "t: VARCHAR  # line 2 is not a TIME"),
    "days without a zero": ("d\n2024-1-2\n2024-11-12\n", "d: VARCHAR  # line 2 is not a DATE"),
    "hexadecimal": ("u\n0x1F\n0x2A\n", "u: VARCHAR  # line 2 is not a BIGINT"),
    "leading spaces": ("u,v\n 1,2\n 3,4\n", "u: VARCHAR  # line 2 is not a BIGINT"),
}


@pytest.mark.parametrize(("text", "line"), REFUSING.values(), ids=list(REFUSING))
def test_a_column_whose_type_would_refuse_the_sample_becomes_a_text(
    call: Call, tmp_path: Path, text: str, line: str
) -> None:
    sample = tmp_path / "k.csv"
    sample.write_text(text)
    printed = call("infer", sample).stdout
    assert line in printed
    assert f"the sample loads by it: {text.count(chr(10)) - 1} rows" in printed


def test_leading_zeros_are_found_in_the_last_row(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "k.csv"
    rows = "".join(f"{number}\n" for number in range(1, 30_001))
    sample.write_text(f"v\n{rows}0012\n")
    assert infer(call, sample)["columns"] == {"v": "VARCHAR"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_line_of_another_width_does_not_make_all_of_them_one_column(
    call: Call, tmp_path: Path, delimiter: str
) -> None:
    sample = tmp_path / "k.csv"
    rows = "".join(f"{number},x{number}\n" for number in range(300))
    sample.write_text(f"a,b\n{rows}1,x,y\n".replace(",", delimiter))
    assert infer(call, sample)["columns"] == {"a": "BIGINT", "b": "VARCHAR"}
    printed = call("infer", sample).stdout
    assert "by the first line; not all lines have as many fields" in printed
    assert "the sample would be refused: k.csv: line 302: 3 fields instead of 2" in printed


def test_a_column_name_of_any_length_is_yaml(call: Call, tmp_path: Path) -> None:
    name, sample = "x" * 2000, tmp_path / "k.csv"
    sample.write_text(f"{name},b\n1,2\n")
    assert infer(call, sample)["columns"] == {name: "BIGINT", "b": "BIGINT"}


def test_a_day_with_two_digits_of_its_year_is_no_month(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "sales_241201.csv"
    sample.write_text("id\n1\n")
    assert infer(call, sample)["pattern"] == "{key}.csv"


def test_digits_that_stay_in_a_pattern_are_named(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "orders_20240131_053012.csv"
    sample.write_text("id\n1\n")
    assert infer(call, sample)["pattern"] == "orders_{date:%Y%m%d}_053012.csv"
    assert "053012 must be in every name" in call("infer", sample).stdout


def test_a_workbook_is_read_by_the_kinds_of_its_cells(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "prices" / "2024-02-29.xlsx"
    sample.parent.mkdir()
    columns = ("article", "pieces", "price", "day", "sold", "open", "empty", "mixed")
    at = datetime.fromisoformat
    first = ("A", 1, 0.5, date(2024, 2, 29), at("2024-02-29 10:11"), True, None, 4711)
    second = ("B", None, 2, date(2024, 3, 1), at("2024-03-01 00:00"), False, None, "x")
    sample.write_bytes(make_xlsx(("Prices",), (), columns, first, (), second))
    found = infer(call, sample)
    assert found["format"] == {
        "type": "excel",
        "header_row": 3,
        "skip_empty_rows": True,
        "numbers_as_texts": True,
    }
    assert found["columns"] == {
        "article": "VARCHAR",
        "pieces": "BIGINT",
        "price": "DOUBLE",
        "day": "DATE",
        "sold": "TIMESTAMP",
        "open": "BOOLEAN",
        "empty": "VARCHAR",
        "mixed": "VARCHAR",
    }
    said = call("infer", sample).stdout
    assert "the sample loads by it: 2 rows" in said
    assert "some cells have texts and some have numbers" in said
    without = tmp_path / "plain" / "acme.xlsx"
    without.parent.mkdir()
    without.write_bytes(make_xlsx((1, date(2024, 2, 29)), (2, date(2024, 3, 1)), sheet="Data"))
    found = infer(call, without)
    assert found["format"] == {"type": "excel", "header": False}
    assert found["columns"] == {"column1": "BIGINT", "column2": "DATE"}


def test_a_workbook_that_is_none_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "k.xlsx").write_bytes(b"a,b\n1,2\n")
    result = call("infer", tmp_path / "k.xlsx")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "k.xlsx: nothing can be inferred: the file is no workbook" in result.stderr


def test_nanoseconds_and_nested_types_of_parquet_are_proposed(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "points" / "acme.parquet"
    sample.parent.mkdir()
    query = "SELECT TIMESTAMP_NS '2024-01-02 03:04:05.123456789' AS at, {'x': 0.5::DOUBLE} AS point"
    with duckdb.connect() as duck:
        duck.execute(f"COPY ({query}) TO '{sample}' (FORMAT parquet)")
    found = infer(call, sample)
    assert found["columns"] == {"at": "TIMESTAMP_NS", "point": "STRUCT(x DOUBLE)"}
    assert "the sample loads by it: 1 rows" in call("infer", sample).stdout


def make_workbook(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")


def make_archive(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "id\n1\n")


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "xlsx": (make_workbook, "it is an Excel workbook: its name must end in .xlsx"),
    "xls": (
        lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "it is an Excel workbook: its name must end in .xls",
    ),
    "zip": (make_archive, "it is a zip archive: unpack it"),
    "cut zip": (lambda path: path.write_bytes(b"PK\x03\x04"), "it is a zip archive: unpack it"),
    "no encoding of many": (
        lambda path: path.write_bytes(b"a,b\n1,\x93x\x81\n"),
        "its bytes are not UTF-8, Latin-1 or Windows-1252",
    ),
}


@pytest.mark.parametrize(("make", "said"), KINDS.values(), ids=list(KINDS))
def test_what_no_feed_can_be_of_is_named(
    call: Call, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "k.csv")
    result = call("infer", tmp_path / "k.csv")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


def test_a_sample_in_windows_1252_is_proposed_as_such(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "k.csv"
    sample.write_bytes("id;note\n1;„x“\n2;5 €\n".encode("windows-1252"))
    attributes = infer(call, sample)
    assert attributes["format"] == {"type": "csv", "delimiter": ";", "encoding": "windows-1252"}
    assert attributes["columns"] == {"id": "BIGINT", "note": "VARCHAR"}
    assert "the sample loads by it: 2 rows" in call("infer", sample).stdout


@pytest.mark.parametrize("content", [b"", b"no parquet"])
def test_what_cannot_be_read_ends_with_two_and_one_line(
    content: bytes, call: Call, tmp_path: Path
) -> None:
    sample = tmp_path / "k.parquet"
    sample.write_bytes(content)
    result = call("infer", sample)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "k.parquet: nothing can be inferred" in result.stderr


def test_any_character_of_a_column_name_survives_the_yaml(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "notes" / "acme.csv"
    sample.parent.mkdir()
    sample.write_text("id,\U0001f600,caf\u00e9\n1,2,3\n", encoding="utf-8")
    assert list(infer(call, sample)["columns"]) == ["id", "\U0001f600", "caf\u00e9"]  # type: ignore[call-overload]
