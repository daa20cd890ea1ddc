"""Files in other dialects than plain CSV: how fast each kind loads, against a plain file.

The same rows are written as a plain CSV file, with decimal commas and German days, in Windows-1252
with umlauts in most lines, in UTF-16, and compressed by zip and gzip. What is compared is the size
of the file, or of the text in it, per second. Lines of JSON are also read record by record, as they
all were once. A workbook is also read by openpyxl in its read-only mode, which merely gives its
cells. Every load begins with no database.
"""

import gzip
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import duckdb
import openpyxl

from measure import REFERENCE, Bar, Figures, report, take_turns
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.json_lines import JsonLinesFormat
from partitioned_etl.engine.sync import sync_feed

ROWS, RECORDS, SHEET_ROWS = 1_000_000, 200_000, 100_000
RUNS = 3
DIALECT_MUST, ARCHIVE_MUST, JSON_MUST, EXCEL_MUST = 0.5, 0.8, 5.0, 5.0
COLUMNS = {
    "id": "BIGINT",
    "day": "DATE",
    "name": "VARCHAR",
    "amount": "DECIMAL(12, 2)",
    "rate": "DOUBLE",
}
COMMA, ANSI, UTF_16 = "decimal comma, dd.mm.yyyy", "Windows-1252, umlauts", "UTF-16"
ZIP, GZ = "zip", "gzip"
JSON, JSON_BY_ROW = "JSON lines", "JSON lines, record by record"
EXCEL, OPENPYXL = "Excel", "openpyxl, cells only"
DECLARED: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: {},
    COMMA: {
        "format": {"type": "csv", "delimiter": ";"},
        "values": {"decimal": ",", "date_format": "%d.%m.%Y"},
    },
    ANSI: {"format": {"type": "csv", "encoding": "windows-1252"}},
    UTF_16: {"format": {"type": "csv", "encoding": "utf-16"}},
    ZIP: {},
    GZ: {},
    JSON: {"format": "json_lines"},
    EXCEL: {"format": "excel"},
}
ENDINGS = {ZIP: ".csv.zip", GZ: ".csv.gz", JSON: ".jsonl", EXCEL: ".xlsx"}


def make_feed(way: str) -> Feed:
    """Give the feed whose files are of a kind."""
    name = f"feed_{list(DECLARED).index(way)}"
    ending = ENDINGS.get(way, ".csv").removesuffix(".zip").removesuffix(".gz")
    return Feed(name=name, pattern=f"{{key}}{ending}", columns=COLUMNS, **DECLARED[way])


def rows_sql(rows: int, *, day: str = "day", amount: str = "amount", name: str = "name") -> str:
    """Give SQL for seeded rows, some of them as a sender spells them."""
    return (
        f"SELECT n AS id, {day} AS day, {name} AS name, {amount} AS amount, rate FROM ("
        "SELECT n, DATE '2018-01-01' + CAST(n % 2000 AS INTEGER) AS day, "
        "'Mueller & Soehne ' || hash(n) % 100000 AS name, "
        "CAST(random() * 1e6 AS DECIMAL(12, 2)) AS amount, random() AS rate "
        f"FROM range({rows}) AS numbers(n))"
    )


def write_files(folder: Path) -> dict[str, Path]:
    """Write a file of each kind, and give where it is landed."""
    paths = {}
    for way in DECLARED:
        paths[way] = folder / make_feed(way).folder / f"a{ENDINGS.get(way, '.csv')}"
        paths[way].parent.mkdir(parents=True)
    with duckdb.connect() as duck:

        def copy(sql: str, path: Path, options: str = "HEADER") -> None:
            duck.execute("SELECT setseed(0.42)")
            duck.execute(f"COPY ({sql}) TO '{path}' ({options})")

        duck.execute("SET threads = 1")
        copy(rows_sql(ROWS), paths[REFERENCE])
        day, amount = "strftime(day, '%d.%m.%Y')", "replace(CAST(amount AS TEXT), '.', ',')"
        comma = rows_sql(ROWS, day=day, amount=amount)
        comma = f"SELECT * REPLACE (replace(CAST(rate AS TEXT), '.', ',') AS rate) FROM ({comma})"
        copy(comma, paths[COMMA], "HEADER, DELIMITER ';'")
        umlauts = "CASE WHEN n % 10 > 0 THEN replace(replace(name, 'ue', 'ü'), 'oe', 'ö') END"
        copy(rows_sql(ROWS, name=umlauts), paths[ANSI])
        copy(rows_sql(RECORDS), paths[JSON], "FORMAT json")
        write_workbook(duck.execute(rows_sql(SHEET_ROWS)), paths[EXCEL])
    plain = paths[REFERENCE].read_text(encoding="utf-8")
    paths[ANSI].write_bytes(paths[ANSI].read_text(encoding="utf-8").encode("cp1252"))
    paths[UTF_16].write_bytes(plain.encode("utf-16"))
    with zipfile.ZipFile(paths[ZIP], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(paths[REFERENCE], "a.csv")
    with paths[REFERENCE].open("rb") as text, gzip.open(paths[GZ], "wb", 6) as packed:
        shutil.copyfileobj(text, packed)
    return paths


def write_workbook(rows: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Write rows to the only sheet of a workbook."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(list(COLUMNS))
    while row := rows.fetchone():
        sheet.append(row)
    book.save(path)


def count_cells(path: Path) -> None:
    """Iterate over the rows of a workbook as openpyxl gives them."""
    book = openpyxl.load_workbook(path, read_only=True)
    rows = sum(1 for _ in book.worksheets[0].iter_rows(values_only=True))
    assert rows == SHEET_ROWS + 1, rows


def main() -> int:
    """Measure, and give 0 if all bars are met."""
    with tempfile.TemporaryDirectory(prefix="dialects_") as name:
        folder = Path(name)
        paths = write_files(folder / "landing")
        database = folder / "warehouse.duckdb"

        def load(way: str) -> Callable[[], None]:
            feed = make_feed(way)
            rows = {JSON: RECORDS, EXCEL: SHEET_ROWS}.get(way, ROWS)

            def run() -> None:
                synced = sync_feed(feed, folder / "landing", database, settle_seconds=0)
                assert [record.rows for record in synced.loaded] == [rows], synced

            return run

        def load_by_row() -> None:
            with patch.object(JsonLinesFormat, "is_read_at_once", new=False):
                load(JSON)()

        ways = {way: load(way) for way in DECLARED}
        ways |= {JSON_BY_ROW: load_by_row, OPENPYXL: lambda: count_cells(paths[EXCEL])}
        forget = dict.fromkeys(ways, lambda: database.unlink(missing_ok=True))
        figures = take_turns(ways, runs=RUNS, prepare=forget)
        sizes = {way: path.stat().st_size / 1e6 for way, path in paths.items()}
    return report(
        "dialects",
        f"files in other dialects, against a plain one of {sizes[REFERENCE]:.0f} MB",
        figures,
        list_bars(figures, sizes),
    )


def list_bars(figures: Mapping[str, Figures], sizes: Mapping[str, float]) -> list[Bar]:
    """Give what must be reached; `sizes` are those of the files, in MB."""
    took = {way: one.median for way, one in figures.items()}

    def throughput_of(way: str) -> float:
        return sizes[way] / took[way] / (sizes[REFERENCE] / took[REFERENCE])

    return [
        Bar("decimal comma: ratio of the plain file's MB/s", throughput_of(COMMA), DIALECT_MUST),
        Bar("Windows-1252: ratio of the plain file's MB/s", throughput_of(ANSI), DIALECT_MUST),
        Bar("UTF-16: ratio of the plain file's MB/s", throughput_of(UTF_16), DIALECT_MUST),
        Bar("zip: ratio of gzip's speed", took[GZ] / took[ZIP], ARCHIVE_MUST),
        Bar("gzip: ratio of zip's speed", took[ZIP] / took[GZ], ARCHIVE_MUST),
        Bar("JSON lines: times the speed of one by one", took[JSON_BY_ROW] / took[JSON], JSON_MUST),
        Bar("Excel: times the speed of openpyxl's cells", took[OPENPYXL] / took[EXCEL], EXCEL_MUST),
    ]


if __name__ == "__main__":
    sys.exit(main())
