"""`partitioned-etl infer`: what it proposes loads, and what it guessed it says."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import duckdb
import pytest
import yaml
from backports import zstd
from click.testing import Result

from partitioned_etl.components.file_feed import FileFeed
from partitioned_etl.engine.infer import infer_feed
from partitioned_etl.engine.sync import sync_feed
from support.samples import order_rows, price_rows
from support.scale import quick_and_long
from support.workbooks import make_xlsx

Call = Callable[..., Result]


def infer(call: Call, sample: Path, *options: str) -> dict[str, object]:
    """Give the attributes of the component that is printed for a sample."""
    result = call("infer", sample, *options)
    assert result.exit_code == 0, result.output
    component = yaml.safe_load(result.stdout)
    assert component["type"] == "partitioned_etl.FileFeed"
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
                "columns": {
                    "id": "VARCHAR",
                    "Tag": {"type": "DATE", "date_format": "%d.%m.%Y"},
                    "yes": "VARCHAR",
                },
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


@pytest.mark.parametrize(
    "beside",
    ["", "orders_2018-01-23.csv.gz", "orders_2018-01-22.csv.done", ".x.csv", "{x}.csv.tmp"],
)
def test_a_feed_with_a_folder_of_its_own_is_named_after_it(
    beside: str, landing_dir: Path, call: Call
) -> None:
    sample = landing_dir / "monthly" / "orders_2018-01-22.csv"
    sample.write_text(price_rows(1))
    if beside:
        sample.with_name(beside).touch()
    attributes = infer(call, sample)
    assert attributes["name"] == "monthly"
    assert "folder" not in attributes
    named = infer(call, sample, "--name", "prices")
    assert (named["name"], named["folder"]) == ("prices", "monthly")


@pytest.mark.parametrize(
    ("folder", "beside"),
    [
        ("monthly", "refunds_2018-01-22.csv"),
        ("monthly", "Refunds 2018.CSV.gz"),
        ("a-b", ""),
        ("2018", ""),
        ("monthly/2018", ""),
        (".", ""),
        ("../elsewhere", ""),
    ],
)
def test_a_feed_without_a_folder_of_its_own_is_named_after_its_files(
    folder: str, beside: str, landing_dir: Path, call: Call
) -> None:
    sample = landing_dir / folder / "orders_2018-01-22.csv"
    sample.parent.mkdir(exist_ok=True)
    sample.write_text(price_rows(1))
    if beside:
        sample.with_name(beside).touch()
    attributes = infer(call, sample)
    assert attributes["name"] == "orders"
    assert attributes.get("folder") == (None if folder.startswith("..") else folder)


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


def test_columns_of_fixed_width_are_printed_with_what_to_check(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "stock.txt"
    sample.write_text("NAME    PIECES\nTEA         12\nCOFFEE       3\n")
    attributes = infer(call, sample, "--format", "fixed_width")
    assert attributes["format"] == {"type": "fixed_width", "skip_lines": 1}
    assert attributes["columns"] == {
        "NAME": {"type": "VARCHAR", "start": 1, "length": 6},
        "PIECES": {"type": "BIGINT", "start": 7, "length": 8},
    }
    printed = call("infer", sample, "--format", "fixed_width").stdout
    assert "the sample loads by it: 2 rows" in printed
    assert "  columns:  # columns of fixed width are told from the sample only: check" in printed


def test_what_the_contract_would_refuse_is_said(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "k.csv"
    sample.write_text("a,b\n1,2\n3,4\n5,6\n7,8\n9\n10,11\n")
    assert "the sample would be refused" in call("infer", sample).stdout


def test_a_column_whose_type_would_refuse_the_sample_becomes_a_text(
    call: Call, tmp_path: Path
) -> None:
    sample = tmp_path / "k.csv"
    sample.write_text("d\n2024-02-30\n2024-03-30\n")
    printed = call("infer", sample).stdout
    assert "d: VARCHAR  # line 2 is not a DATE" in printed
    assert "the sample loads by it: 2 rows" in printed


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
    assert "1 line(s) have not as many fields as the others" in printed
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
    assert infer(call, sample)["pattern"] == "orders_{date:%Y%m%d}_{any}.csv"
    assert "053012 may be anything, also nothing" in call("infer", sample).stdout


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
    "utf-32": (
        lambda path: path.write_bytes("a,b\n1,2\n".encode("utf-32")),
        "it is in UTF-32, which no feed can declare",
    ),
    "carriage returns": (
        lambda path: path.write_bytes(b"a,b\r1,2\r"),
        "its lines end in carriage returns alone",
    ),
    "empty lines": (lambda path: path.write_bytes(b"\n\n"), "it has only empty lines"),
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


@pytest.mark.parametrize("encoding", ["utf-16", "windows-1252"])
@pytest.mark.parametrize(
    ("declared", "content"),
    [
        ({"type": "json_lines"}, '{"id": 1, "note": "5 €"}\n'),
        ({"type": "json"}, '[{"id": 1, "note": "5 €"}]'),
        ({"type": "json", "records": "$.data"}, '{"data":\n[{"id": 1, "note": "5 €"}]}'),
    ],
)
def test_json_in_another_encoding_is_proposed_as_such(
    call: Call, tmp_path: Path, declared: dict[str, str], content: str, encoding: str
) -> None:
    sample = tmp_path / "k.json"
    sample.write_bytes(content.encode(encoding))
    attributes = infer(call, sample)
    assert attributes["format"] == {**declared, "encoding": encoding}
    assert attributes["columns"] == {"id": "BIGINT", "note": "VARCHAR"}
    assert "the sample loads by it: 1 rows" in call("infer", sample).stdout


def zip_text(text: bytes) -> bytes:
    archive = io.BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as opened:
        opened.writestr("k", text)
    return archive.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
    ".zip": zip_text,
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["k.jsonl", "k.json", "k.csv"])
def test_a_sample_whose_compressed_data_is_damaged_is_named(
    call: Call, tmp_path: Path, name: str, suffix: str
) -> None:
    lines = [f'{{"id": {number}, "note": "{number**7}"}}\n' for number in range(300)]
    text = f"[{','.join(lines)}]" if name.endswith(".json") else "".join(lines)
    whole = COMPRESS[suffix](text.encode())
    cut = "the compressed data ends early: cut off?"
    wrong = cut if suffix == ".zip" else "the compressed data is damaged"
    sample = tmp_path / f"{name}{suffix}"
    for content, said in ((whole[: len(whole) // 2], cut), (b"no compressed data", wrong)):
        sample.write_bytes(content)
        result = call("infer", sample)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert f"{sample.name}: nothing can be inferred: {said}" in result.stderr


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
    names = [
        "id",
        "\U0001f600",
        "caf\u00e9",
        "a\\b",
        "c\u0301",
        "\U000e0041d",
        "e\u2028f",
        "g:h",
        "#i",
    ]
    sample.write_text(f"{','.join(names)}\n{'1,' * 8}2\n", encoding="utf-8")
    result = call("infer", sample)
    columns = yaml.safe_load(result.stdout)["attributes"]["columns"]
    found = {
        one.get("from", name) if isinstance(one, dict) else name for name, one in columns.items()
    }
    assert found == {*names}
    assert "caf\u00e9" in result.stdout
    assert not {"\U000e0041", "\u2028"} & {*result.stdout}


def land(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write samples into a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [folder / name for name in files]


SEVERAL: dict[str, tuple[dict[str, str | bytes], dict[str, object], str]] = {
    "a column that some lack": (
        {"f_2024-01-31.csv": "id,x\n1,2\n", "f_2024-02-01.csv": "id,note,x\n2,a,3\n3,b,4\n"},
        {
            "pattern": "f_{date:%Y-%m-%d}.csv",
            "start": "2024-01-31",
            "columns": {
                "id": "BIGINT",
                "note": {"type": "VARCHAR", "optional": True},
                "x": "BIGINT",
            },
        },
        "all 2 samples load by it: 3 rows (f_2024-01-31.csv 1, f_2024-02-01.csv 2)",
    ),
    "another order, and names in capitals": (
        {"acme.csv": "id,note\n1,a\n", "globex.csv": "Note,ID\nb,2\n"},
        {
            "pattern": "{key}.csv",
            "format": {"type": "csv", "header_ignores_case": True, "any_column_order": True},
            "columns": {"id": "BIGINT", "note": "VARCHAR"},
        },
        "all 2 samples load by it",
    ),
    "what only one of them tells": (
        {"s_a.csv": "day\n01/02/2024\n", "s_b.csv": "day\n31/01/2024\n\n"},
        {
            "pattern": "s_{key}.csv",
            "format": {"type": "csv", "skip_blank_lines": True},
            "columns": {"day": {"type": "DATE", "date_format": "%d/%m/%Y"}},
        },
        "all 2 samples load by it",
    ),
    "a type that fits all": (
        {"a.csv": "code\n1\n", "b.csv": "code\nx1\n"},
        {"columns": {"code": "VARCHAR"}},
        "all 2 samples load by it",
    ),
    "JSON": (
        {"a.jsonl": '{"id": 1}\n', "b.jsonl": '{"id": 1.5, "x": 1}\n'},
        {"columns": {"id": "DOUBLE", "x": {"type": "BIGINT", "optional": True}}},
        "all 2 samples load by it",
    ),
    "one that no feed can load": (
        {"a.csv": "id,x\n1,2\n", "b.csv": "id,x\n1,2\n3\n4,5\n"},
        {"columns": {"id": "BIGINT", "x": "BIGINT"}},
        "1 of 2 samples load by it: 1 rows; not loaded: b.csv: line 3: 1 fields instead of 2",
    ),
}


@pytest.mark.parametrize(("files", "expected", "said"), SEVERAL.values(), ids=list(SEVERAL))
def test_several_samples_become_one_feed_that_loads_all_of_them(
    files: dict[str, str | bytes],
    expected: dict[str, object],
    said: str,
    call: Call,
    tmp_path: Path,
) -> None:
    samples = land(tmp_path / "several", files)
    result = call("infer", *samples)
    attributes = yaml.safe_load(result.stdout)["attributes"]
    assert {key: attributes.get(key) for key in expected} == expected
    assert said in result.stdout


def test_samples_of_several_folders_are_refused(call: Call, tmp_path: Path) -> None:
    [one] = land(tmp_path / "a", {"k.csv": "id\n1\n"})
    [other] = land(tmp_path / "b", {"k.csv": "id\n1\n"})
    result = call("infer", one, other)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "in one folder" in result.stderr


def test_the_format_may_be_named(call: Call, tmp_path: Path) -> None:
    [sample] = land(tmp_path / "x", {"k.log": '{"id": 1}\n'})
    attributes = infer(call, sample, "--format", "json_lines")
    assert (attributes["format"], attributes["pattern"]) == ("json_lines", "{key}.log")
    result = call("infer", sample, "--format", "xyz")
    assert (result.exit_code, "format 'xyz' is not one of" in result.stderr) == (2, True)


def test_a_feed_is_written_to_its_place_once(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "code" / "some_feeds"
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "definitions.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("DEFINITIONS_MODULE", "some_feeds.definitions")
    [sample] = land(tmp_path / "prices", {"2018-01-22.csv": price_rows(1, 2)})
    shown = call("infer", sample).stdout
    result = call("infer", sample, "--write")
    place = package / "defs" / "prices" / "defs.yaml"
    assert f"Wrote {place}: check every line. As it stands, the sample loads by it" in result.stdout
    assert place.read_text() == shown
    again = call("infer", sample, "--write")
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)


LAYOUTS: dict[str, tuple[str | bytes, object, dict[str, object]]] = {
    "Windows-1252": (
        "id,note,price\n1,\u201cquoted\u201d, 5 \u20ac\n".encode("windows-1252"),
        {"type": "csv", "encoding": "windows-1252"},
        {
            "id": "BIGINT",
            "note": "VARCHAR",
            "price": {"type": "BIGINT", "strip": ["\u20ac"], "trim": True},
        },
    ),
    "a line for Excel": (
        "sep=;\nid;note\n1;x\n",
        {"type": "csv", "delimiter": ";", "skip_to_header": True},
        {"id": "BIGINT", "note": "VARCHAR"},
    ),
    "a total that is right": (
        "id;note;amount\n1;x;1,50\n2;y;2,00\nTotal;;3,50\n",
        {"type": "csv", "delimiter": ";", "footer": "Total;;(?P<amount>[^;]*)"},
        {
            "id": "BIGINT",
            "note": "VARCHAR",
            "amount": {"type": "DECIMAL(18, 2)", "decimal": ","},
        },
    ),
    "a total that is not": (
        "id,amount\n1,1.50\n2,2.00\nTotal,9.99\n",
        {"type": "csv", "footer": "Total"},
        {"id": "BIGINT", "amount": "DOUBLE"},
    ),
    "NULL in numbers and texts": (
        "id,note,n\n1,NA,1\n2,x,NA\n",
        "csv",
        {"id": "BIGINT", "note": "VARCHAR", "n": "BIGINT"},
    ),
    "no line end after the last line": (
        "id,note\r\n1,x\r\n2,y",
        {"type": "csv", "final_line_end": "optional"},
        {"id": "BIGINT", "note": "VARCHAR"},
    ),
    "a byte order mark, quotes and lines within": (
        b'\xef\xbb\xbf"id","note"\r\n"1","two\nlines"\r\n',
        "csv",
        {"id": "BIGINT", "note": "VARCHAR"},
    ),
    "names that SQL would need quotes for": (
        "Kunden-Nr.,Betrag in EUR,note\u00a0,2024,partition_key\n1,2,x,3,4\n",
        "csv",
        {
            "kunden_nr": {"type": "BIGINT", "from": "Kunden-Nr."},
            "betrag_in_eur": {"type": "BIGINT", "from": "Betrag in EUR"},
            "note": {"type": "VARCHAR", "from": "note\u00a0"},
            "_2024": {"type": "BIGINT", "from": "2024"},
            "partition_key_in_file": {"type": "BIGINT", "from": "partition_key"},
        },
    ),
    "names that are there twice": (
        "a,b,a\n1,2,3\n",
        {"type": "csv", "header": False, "skip_lines": 1},
        {"a": "BIGINT", "b": "BIGINT", "a_2": "BIGINT"},
    ),
    "a delimiter at the end of rows": (
        "id|note\n1|x|\n",
        {"type": "csv", "delimiter": "|", "trailing_delimiter": True},
        {"id": "BIGINT", "note": "VARCHAR"},
    ),
    "comments": (
        "# generated 2024-01-31\nid,note\n1,x\n",
        {"type": "csv", "comment": "#"},
        {"id": "BIGINT", "note": "VARCHAR"},
    ),
    "a header that looks like a comment": (
        "#id\tnote\n1\tx\n",
        "tsv",
        {"id": {"type": "BIGINT", "from": "#id"}, "note": "VARCHAR"},
    ),
    "a title of as many fields": (
        "Report,31.01.2024\n\nid,note\n1,x\n",
        {"type": "csv", "skip_to_header": True},
        {"id": "BIGINT", "note": "VARCHAR"},
    ),
    "a row of units": (
        "t,mass\ns,kg\n1,2.5\n2,3.5\n",
        {"type": "csv", "skip_after_header": 1},
        {"t": "BIGINT", "mass": "DOUBLE"},
    ),
    "two rows of names": (
        "size,,weight\nw,h,kg\n1,2,3\n",
        {"type": "csv", "header_rows": 2},
        {
            "size_w": {"type": "BIGINT", "from": "size w"},
            "h": "BIGINT",
            "weight_kg": {"type": "BIGINT", "from": "weight kg"},
        },
    ),
    "other quotes": (
        "a,b\n'x, y',1\n'it''s, ok',2\n",
        {"type": "csv", "quote": "'"},
        {"a": "VARCHAR", "b": "BIGINT"},
    ),
    "quotes escaped": (
        'a,b\n"say \\"hi\\", ok",1\n"x",2\n',
        {"type": "csv", "escape": "\\"},
        {"a": "VARCHAR", "b": "BIGINT"},
    ),
    "no quotes": (
        'a\tb\n5" pipe\t1\n"big" one\t2\n',
        {"type": "tsv", "quote": ""},
        {"a": "VARCHAR", "b": "BIGINT"},
    ),
    "UTF-16 without a mark": (
        "a,b\n1,x\n".encode("utf-16-le"),
        {"type": "csv", "encoding": "utf-16-le"},
        {"a": "BIGINT", "b": "VARCHAR"},
    ),
    "hours and days without zeros": (
        "t,d\n1:30,2024-1-2\n2:45,2024-11-12\n",
        "csv",
        {
            "t": {"type": "TIME", "time_format": "%-H:%M"},
            "d": {"type": "DATE", "date_format": "%Y-%-m-%-d"},
        },
    ),
    "hexadecimal": ("u\n0x1F\n0x2A\n", "csv", {"u": "VARCHAR"}),
    "several currencies": ("a\n5 EUR\n6 USD\n", "csv", {"a": "VARCHAR"}),
    "numbers too long for a DOUBLE": (
        "a,b\n12345678901234567890,1234567890.123456789\n",
        "csv",
        {"a": "HUGEINT", "b": "DECIMAL(38, 9)"},
    ),
}


@pytest.mark.parametrize(("content", "form", "columns"), quick_and_long(LAYOUTS))
def test_the_layout_of_a_sample_is_found(
    content: str | bytes, form: object, columns: dict[str, object], call: Call, tmp_path: Path
) -> None:
    name = "k.tsv" if "tsv" in str(form) else "k.csv"
    [sample] = land(tmp_path / "x", {name: content})
    result = call("infer", sample)
    attributes = yaml.safe_load(result.stdout)["attributes"]
    assert (attributes.get("format", "csv"), attributes["columns"]) == (form, columns)
    assert "the sample loads by it" in result.stdout


DOUBTS = {
    "days": ("d\n01/02/2024\n", "# no value decides whether day or month is first"),
    "numbers": ("n;x\n1.234;a\n", "# no value decides what . or , means in it"),
    "truths": ("b\nJ\nN\n", "# J taken for true, N for false"),
    "missing values": ("t,x\nNA,1\nb,2\n", "# a text, or NULL? NA"),
    "Unix times": ("created_at\n1704067200\n", "# seconds since 1970, or numbers?"),
    "numbers as Unix times": ("n\n1704067200\n", "# if it is seconds since 1970: TIMESTAMP"),
    "years": ("d\n31.01.24\n", "# years of two digits"),
    "white space": ("t,n\n x,1\ny,2\n", "# some have white space around them"),
}


@pytest.mark.parametrize(("text", "said"), DOUBTS.values(), ids=list(DOUBTS))
def test_what_nothing_in_a_sample_decides_is_said(
    text: str, said: str, call: Call, tmp_path: Path
) -> None:
    [sample] = land(tmp_path / "x", {"k.csv": text})
    assert said in call("infer", sample).stdout
