"""docs/recipes.md: every feed of it is short, loads its file, and does what it says of bad ones."""

import csv
import gzip
import io
import re
import zipfile
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import dagster as dg
import duckdb
import pytest
import yaml

from partitioned_etl.components import FileFeed
from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.text import TextFormat
from partitioned_etl.engine.project import project_dir
from partitioned_etl.engine.sql import quote_identifier
from support.workbench import Workbench

PAGE = (project_dir() / "docs" / "recipes.md").read_text(encoding="utf-8")
MAX_LINES = 15
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SAMPLE = re.compile(r"^```text (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"^```csv\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_BAD = re.compile(
    r"^\| `(.+)` \| (?:`(.+)`|nothing) \| (refused|loaded without the row): `(.+)` \|$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class BadFile:
    """A file that differs from a recipe's sample.

    Attributes:
        old: What is replaced in the sample.
        new: What takes its place; empty if the line is left out.
        outcome: What becomes of the file.
        reason: Why.
    """

    old: str
    new: str
    outcome: str
    reason: str


@dataclass(frozen=True)
class Recipe:
    """A feed of the page.

    Attributes:
        title: Its heading.
        text: What stands below it.
    """

    title: str
    text: str

    @property
    def declaration(self) -> str:
        """The feed's `defs.yaml`."""
        [found] = _YAML.findall(self.text)
        return str(found)

    @cached_property
    def feed(self) -> FileFeed:
        """The feed."""
        attributes = yaml.safe_load(self.declaration)["attributes"]
        return FileFeed.resolve_from_yaml(yaml.safe_dump(attributes, sort_keys=False))

    @property
    def name(self) -> str:
        """The sample's name in the feed's folder."""
        [(path, _), *_] = _SAMPLE.findall(self.text)
        return str(path).removeprefix(f"{self.feed.folder}/")

    @property
    def sample(self) -> str:
        """The sample."""
        [(_, content), *_] = _SAMPLE.findall(self.text)
        return str(content)

    @property
    def others(self) -> list[tuple[str, str]]:
        """Name and content of what lies beside it."""
        _, *others = _SAMPLE.findall(self.text)
        return [(path.removeprefix(f"{self.feed.folder}/"), content) for path, content in others]

    @property
    def table(self) -> str:
        """What the table holds after the sample was loaded."""
        [found] = _TABLE.findall(self.text)
        return str(found)

    @property
    def bad_files(self) -> list[BadFile]:
        """The bad files that are made of the sample."""
        found = [BadFile(*(cell.replace("\\|", "|") for cell in row)) for row in self.rows]
        assert len(found) == self.text.count("\n| `")
        return found

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """The rows of the table of bad files."""
        return _BAD.findall(self.text)

    def make(self, content: str) -> bytes:
        """Make a file of what the page shows of it."""
        if self.name.endswith(".xlsx"):
            return make_workbook(content)
        form = self.feed.format
        assert isinstance(form, TextFormat)
        data = content.encode(form.encoding)
        if self.name.endswith(".gz"):
            return gzip.compress(data)
        if self.name.endswith(".zip"):
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
                zipped.writestr("export.txt", data)
            return archive.getvalue()
        return data


def make_workbook(content: str) -> bytes:
    """Make a workbook of rows with ` | ` between cells; a text that is no word begins with `'`."""
    from openpyxl import Workbook

    workbook = Workbook(write_only=True)
    sheet = workbook.create_sheet("Prices")
    for line in content.splitlines():
        sheet.append([to_cell(text) for text in line.split(" | ")])
    written = io.BytesIO()
    workbook.save(written)
    return written.getvalue()


def to_cell(text: str) -> object:
    """Return the value of a cell."""
    if re.fullmatch(r"[\d.]+", text):
        return float(text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return date.fromisoformat(text)
    return text.removeprefix("'") or None


PARTS = re.split(r"^## \d+\. (.+)$", PAGE, flags=re.MULTILINE)[1:]
RECIPES = [Recipe(*part) for part in zip(PARTS[::2], PARTS[1::2], strict=True)]


def name_recipes() -> list[object]:
    return [pytest.param(recipe, id=recipe.title) for recipe in RECIPES]


def show(duck: duckdb.DuckDBPyConnection, feed: Feed) -> str:
    """Return the feed's columns in its table as CSV."""
    names = ", ".join(f"{quote_identifier(name)}::VARCHAR" for name in feed.columns)
    duck.execute(f"SELECT {names} FROM {quote_identifier(feed.table)} ORDER BY ALL")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([feed.columns, *duck.fetchall()])
    return text.getvalue()


def test_there_are_ten_and_all_are_short() -> None:
    assert len(RECIPES) == 10
    lines = {recipe.title: len(recipe.declaration.splitlines()) for recipe in RECIPES}
    assert {title: count for title, count in lines.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize("recipe", name_recipes())
def test_the_sample_becomes_the_table(recipe: Recipe, bench: Workbench) -> None:
    feed = recipe.feed
    land(recipe, recipe.sample, bench)
    report = bench.sync(feed)
    assert [one.reason for one in report.refused] == []
    with bench.connect() as duck:
        assert show(duck, feed) == recipe.table
    bench.assert_level(feed)


@pytest.mark.parametrize("recipe", name_recipes())
def test_bad_files_are_what_the_page_says(recipe: Recipe, bench: Workbench) -> None:
    said = {(bad.old, bad.new): (bad.outcome, bad.reason) for bad in recipe.bad_files}
    assert len(said) >= 2
    assert {(bad.old, bad.new): load_bad(recipe, bad, bench) for bad in recipe.bad_files} == said


def land(recipe: Recipe, content: str, bench: Workbench) -> None:
    """Let the sample's file land, with what lies beside it."""
    bench.land(recipe.feed, recipe.name, recipe.make(content))
    for name, other in recipe.others:
        bench.land(recipe.feed, name, recipe.make(other))


def rows_of(recipe: Recipe, bench: Workbench) -> list[tuple[object, ...]]:
    """Return the rows of the sample's file."""
    if recipe.feed.table not in bench.tables():
        return []
    return [row for row in bench.rows(recipe.feed) if row[-1] == recipe.name]


def load_bad(recipe: Recipe, bad: BadFile, bench: Workbench) -> tuple[str, str]:
    """Load a bad file, and say what happened to it, and why."""
    feed = recipe.feed
    assert recipe.sample.count(bad.old) == 1
    content = recipe.sample.replace(bad.old if bad.new else f"{bad.old}\n", bad.new)
    before = rows_of(recipe, bench)
    land(recipe, content, bench)
    report = bench.sync(feed)
    if report.refused:
        [refused] = report.refused
        assert rows_of(recipe, bench) == before
        return "refused", refused.reason.removeprefix(f"{recipe.name}: ")
    rejected = bench.query("SELECT line, column_name, reason FROM rejected_rows")
    if not rejected:
        return "loaded", ""
    [(line, column, reason)] = rejected
    assert len(bench.rows(feed)) == recipe.table.count("\n") - 2
    return "loaded without the row", f"line {line}, column {column}: {reason}"


def test_a_file_of_before_march_may_lack_the_new_column(bench: Workbench) -> None:
    [recipe] = [one for one in RECIPES if "March" in one.title]
    bench.land(recipe.feed, recipe.name, recipe.make(recipe.sample))
    bench.land(recipe.feed, "payments_2026-02.csv", "id,amount\n6,1.25\n")
    assert len(bench.sync(recipe.feed).loaded) == 2
    with bench.connect() as duck:
        assert show(duck, recipe.feed) == recipe.table.replace("\n7", "\n6,1.25,\n7")


def test_a_corrected_file_takes_the_place_of_the_one_before(bench: Workbench) -> None:
    [recipe] = [one for one in RECIPES if "March" in one.title]
    bench.land(recipe.feed, recipe.name, recipe.make(recipe.sample))
    bench.sync(recipe.feed)
    corrected = recipe.sample.replace("12.50", "12.75")
    bench.land(recipe.feed, "payments_2026-03_v2.csv", corrected)
    [loaded] = bench.sync(recipe.feed).loaded
    assert loaded.source_file == "payments_2026-03_v2.csv"
    with bench.connect() as duck:
        assert show(duck, recipe.feed) == recipe.table.replace("12.50", "12.75")


def test_a_feed_of_the_page_loads_by_dagster(
    landing_dir: Path, resources: dict[str, object], database: Path
) -> None:
    recipe = RECIPES[3]
    feed = recipe.feed
    landed = landing_dir / feed.folder / recipe.name
    landed.parent.mkdir(parents=True)
    landed.write_bytes(recipe.make(recipe.sample))
    definitions = feed.build_defs(dg.ComponentTree.for_test().load_context)
    [definition] = list(definitions.assets or ())
    assert isinstance(definition, dg.AssetsDefinition)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(feed.name, ["berlin"])
        result = dg.materialize(
            [definition],
            partition_key="berlin|2026-03-02",
            resources=resources,
            instance=instance,
        )
    assert result.success
    with duckdb.connect(str(database), read_only=True) as duck:
        assert show(duck, feed) == recipe.table
