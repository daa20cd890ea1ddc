"""FileFeed: a feed declared in a `defs.yaml`, without Python.

Takes the attributes of the YAML file; returns the same pipeline as a module of `defs/`, built by
the same function. It only holds names and values; what a feed does belongs in `builders/` and
`ingest/`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import BaseModel, ValidationError

from partitioned_etl.builders.jobs import END_OF_WINDOW, ScheduleTime
from partitioned_etl.builders.partitions import build_partitions_def
from partitioned_etl.builders.pipelines import FeedPipeline, build_pipeline
from partitioned_etl.components.scaffolding import FileFeedScaffolder
from partitioned_etl.ingest.errors import FeedDefinitionError
from partitioned_etl.ingest.feed import Feed, RowRule
from partitioned_etl.ingest.formats import CsvFormat, Format, JsonLinesFormat, ParquetFormat


class Column(dg.Model):
    """A column with more than a type."""

    type: str
    description: str = ""


class Rule(dg.Model):
    """What must be true of every row, as `RowRule` takes it."""

    name: str
    column: str
    expression: str
    reason: str


class CsvDialect(dg.Model):
    """How CSV files are written, as `CsvFormat` takes it."""

    delimiter: str | None = None
    quote: str = '"'
    escape: str = '"'
    encoding: str = "utf-8"
    header: bool = True


class Schedule(dg.Model):
    """When the clock starts the job, as `ScheduleTime` takes it."""

    enabled: bool = True
    hour: int = 23
    minute: int = 30
    day_of_month: int = 28


def _says(description: str) -> dg.Resolver:
    """Return a resolver with the description that `dg` and editors show for an attribute."""
    return dg.Resolver(_render, inject_before_resolve=False, description=description)


def _render(context: dg.ResolutionContext, value: Any) -> Any:
    """Render the templates in a value, and leave every other text as written.

    Dagster itself treats each text as a template that yields a Python value: the key "101" would be
    a number. It also ignores texts inside a model.
    """
    if isinstance(value, str):
        if "{{" not in value:
            return value
        rendered = context.resolve_value(value)
        is_number = isinstance(rendered, int | float) and not isinstance(rendered, bool)
        # A text after an equals sign stays a text: 1.10 is not 1.1.
        return context.resolve_value(f"={value}")[1:] if is_number else rendered
    if isinstance(value, BaseModel):
        parts = {name: getattr(value, name) for name in value.model_fields_set}
        return type(value)(**{name: _render(context, part) for name, part in parts.items()})
    if isinstance(value, Mapping):
        return {key: _render(context, part) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [_render(context, part) for part in value]
    return value


@dg.scaffold_with(FileFeedScaffolder)
class FileFeed(dg.Component, dg.Resolvable, dg.Model):
    """Files that keep landing in one folder, and the DuckDB table that is kept equal to them.

    Gives partitions, import asset, load asset, contract checks, job, sensor, reconciliation and,
    for daily and monthly files, a schedule.
    """

    name: Annotated[
        str, _says("Identifies the feed; the ledger, the job and the checks are named after it.")
    ]
    pattern: Annotated[
        str,
        _says(
            "The file name, with a placeholder: `{date:%Y-%m-%d}.csv` for a file a day, "
            "`{key}.csv` for one a name, `{key}/{date:%Y-%m}.csv` for a folder a name."
        ),
    ]
    columns: Annotated[
        dict[str, str | Column],
        _says(
            "Column name to DuckDB type, in the order of the file; or to `type` and `description`."
        ),
    ]
    description: Annotated[
        str, _says("What the files are and who sends them, in plain words. Default: empty.")
    ] = ""
    folder: Annotated[
        str, _says("Folder of the files in the landing directory. Default: the name.")
    ] = ""
    table: Annotated[str, _says("The DuckDB table. Default: the name.")] = ""
    partitioning: Annotated[
        str | None,
        _says(
            "`weekdays` (Monday to Friday) or `weekly` for files with a day, `static` for files "
            "with a name. Default: what the pattern implies."
        ),
    ] = None
    keys: Annotated[
        Sequence[str],
        _says(
            "The names that a static feed takes; needed for it, and possible for a folder a name. "
            "Default: none, new names are registered as they land."
        ),
    ] = ()
    start: Annotated[
        str | None,
        _says("First day of files with a date, such as `2018-01-21`; needed for these."),
    ] = None
    end: Annotated[
        str | None, _says("First day that has no partition any more. Default: no end.")
    ] = None
    timezone: Annotated[
        str, _says("IANA name of the time zone of the dates in the file names. Default: UTC.")
    ] = "UTC"
    dynamic_name: Annotated[
        str | None, _says("Name of the partitions of `{key}` files. Default: the feed's name.")
    ] = None
    format: Annotated[
        Literal["csv", "tsv", "json_lines", "parquet"],
        _says("What the files are: `csv`, `tsv`, `json_lines` or `parquet`. Default: csv."),
    ] = "csv"
    csv: Annotated[
        CsvDialect,
        _says(
            "Dialect of CSV and TSV files: `delimiter`, `quote`, `escape` (one character each), "
            "`encoding` (utf-8, utf-16 or latin-1), `header`. Default: RFC 4180 in UTF-8 with a "
            "header."
        ),
    ] = CsvDialect()
    any_column_order: Annotated[
        bool,
        _says(
            "Whether a file may have its columns in another order, by its header or, in Parquet, "
            "by their names; JSON lines always may. Default: false."
        ),
    ] = False
    row_rules: Annotated[
        Sequence[Rule],
        _says(
            "What must hold for every row, each an asset check: `name`, `column` it is reported "
            "under, `expression` (a DuckDB condition), `reason` for the sender. Default: none."
        ),
    ] = ()
    bad_rows: Annotated[
        Literal["fail", "quarantine"],
        _says(
            "`fail` refuses a file with bad rows; `quarantine` loads the good ones and puts the "
            "others into `rejected_rows`. Default: fail."
        ),
    ] = "fail"
    max_rejected_rows: Annotated[
        int,
        _says(
            "With quarantine: a file with more bad rows than this is refused. Default: 10000 rows."
        ),
    ] = Feed.max_rejected_rows
    max_rejected_percent: Annotated[
        float,
        _says("With quarantine: so is one with a larger share, 0 to 100. Default: 10 percent."),
    ] = Feed.max_rejected_percent
    on_missing: Annotated[
        Literal["keep", "remove"],
        _says(
            "What becomes of a partition whose file is deleted: `keep` its rows, or `remove` "
            "rows, ledger row and, if it is dynamic, its key. Default: keep."
        ),
    ] = "keep"
    done_suffix: Annotated[
        str,
        _says(
            "With `.done`, `x.csv` is loaded only when `x.csv.done` lies beside it. Default: none."
        ),
    ] = ""
    due_after_hours: Annotated[
        float | None,
        _says(
            "How long after its hour, day, week or month, in `timezone`, a file is due: 7 for "
            "07:00 of the next day; less than 672. Default: at no time."
        ),
    ] = None
    short_below_percent: Annotated[
        float,
        _says(
            "A partition with fewer rows than this share of the median of those before it is "
            "warned of by a check, 0 for none. Default: 50 percent."
        ),
    ] = Feed.short_below_percent
    allow_empty: Annotated[
        bool, _says("Whether a file without rows is an empty partition. Default: true.")
    ] = True
    non_finite_columns: Annotated[
        Sequence[str],
        _says("DOUBLE and FLOAT columns in which NaN and infinity are values. Default: none."),
    ] = ()
    key_pattern: Annotated[
        str,
        _says(
            "Regular expression of the keys of `{key}` files. Default: letters, digits, `-`, `_` "
            "and `.`, no leading dot, at most 128 characters."
        ),
    ] = Feed.key_pattern
    max_uncompressed_bytes: Annotated[
        int,
        _says(
            "How large a `.gz` or `.zst` file may be when decompressed. Default: 10737418240 bytes."
        ),
    ] = Feed.max_uncompressed_bytes
    import_asset: Annotated[
        str, _says("Key of the import asset. Default: `import_` and the name.")
    ] = ""
    load_asset: Annotated[str, _says("Key of the load asset. Default: the table.")] = ""
    sensor: Annotated[
        str, _says("Name of the sensor. Default: the name and `_landing_sensor`.")
    ] = ""
    schedule: Annotated[
        Schedule | None,
        _says(
            "When the clock loads the latest day or month again, of daily and monthly feeds only: "
            "`hour` (0 to 23), `minute` (0 to 59), `day_of_month` (1 to 28), in `timezone`; "
            "`enabled: false` for no schedule. "
            "Default: 23:30, on day 28 if monthly, and off until someone switches it on."
        ),
    ] = None
    owners: Annotated[
        Sequence[str],
        _says("Who answers for the assets: e-mail addresses or `team:` names. Default: nobody."),
    ] = ()
    tags: Annotated[dict[str, str] | None, _says("Tags of the assets. Default: none.")] = None

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> "FileFeed":
        """Build the component from its YAML; if its feed is invalid, report file and line."""
        try:
            feed = super().resolve_from_model(context, model)
            assert feed.pipeline
        except ValidationError as error:
            wrong = error.errors()[0]
            path = wrong["loc"]
            reason = f"{'.'.join(map(str, path))}: {wrong['msg']}, not {wrong['input']!r}"
        except FeedDefinitionError as error:
            path, reason = (_IN_YAML.get(error.attribute, error.attribute),), str(error)
        except (dg.DagsterError, ValueError, LookupError) as error:
            path, reason = (), str(error)
        else:
            return feed
        raise FeedDefinitionError(f"{_find_line(context, path)}: {reason}")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Return the pipeline's Dagster definitions."""
        return self.pipeline.to_definitions()

    @cached_property
    def feed(self) -> Feed:
        """The feed."""
        return Feed(
            name=self.name,
            description=self.description,
            folder=self.folder or self.name,
            pattern=self.pattern,
            columns={
                name: column.type if isinstance(column, Column) else column
                for name, column in self.columns.items()
            },
            column_descriptions={
                name: column.description
                for name, column in self.columns.items()
                if isinstance(column, Column) and column.description
            },
            table=self.table or self.name,
            format=self._format,
            partitioning=self.partitioning,
            timezone=self.timezone,
            row_rules=tuple(RowRule(**rule.model_dump()) for rule in self.row_rules),
            key_pattern=self.key_pattern,
            non_finite_columns=tuple(self.non_finite_columns),
            allow_empty=self.allow_empty,
            max_uncompressed_bytes=self.max_uncompressed_bytes,
            done_suffix=self.done_suffix,
            due_after=self._due_after,
            short_below_percent=self.short_below_percent,
            on_missing=self.on_missing,
            bad_rows=self.bad_rows,
            max_rejected_rows=self.max_rejected_rows,
            max_rejected_percent=self.max_rejected_percent,
        )

    @property
    def _due_after(self) -> timedelta | None:
        if self.due_after_hours is None:
            return None
        try:
            return timedelta(hours=self.due_after_hours)
        except (OverflowError, ValueError):
            reason = f"due_after_hours {self.due_after_hours} is not 0 to 672"
            raise FeedDefinitionError(
                f"feed {self.name}: {reason}", attribute="due_after_hours"
            ) from None

    @property
    def _schedule(self) -> ScheduleTime | None:
        at = self.schedule
        if at is None:
            return END_OF_WINDOW
        if not at.enabled:
            return None
        return ScheduleTime(hour=at.hour, minute=at.minute, day_of_month=at.day_of_month)

    @property
    def _format(self) -> Format:
        if self.format in ("json_lines", "parquet") and self.csv != CsvDialect():
            reason = f"feed {self.name}: csv says nothing of {self.format} files"
            raise FeedDefinitionError(reason, attribute="csv")
        if self.format == "json_lines":
            return JsonLinesFormat()
        if self.format == "parquet":
            return ParquetFormat(any_column_order=self.any_column_order)
        dialect = self.csv.model_dump()
        dialect["delimiter"] = self.csv.delimiter or ("\t" if self.format == "tsv" else ",")
        return CsvFormat(**dialect, any_column_order=self.any_column_order)

    @cached_property
    def pipeline(self) -> FeedPipeline:
        """The feed's pipeline."""
        return build_pipeline(
            self.feed,
            partitions_def=build_partitions_def(
                self.feed,
                start=self.start,
                end=self.end,
                keys=self.keys,
                dynamic_name=self.dynamic_name,
            ),
            import_asset=self.import_asset,
            load_asset=self.load_asset,
            sensor=self.sensor,
            schedule=self._schedule,
            owners=self.owners,
            tags=self.tags,
        )


_IN_YAML = {"due_after": "due_after_hours", "column_descriptions": "columns"}
"""The name of an attribute here, where `Feed` has another one."""


def _find_line(context: dg.ResolutionContext, attribute: tuple[Any, ...]) -> str:
    """Return file and line of an attribute, or of the nearest one in the file."""
    tree = context.source_position_tree
    if tree is None:
        return "attributes"
    for part in (*context.path, *attribute):
        if part not in tree.children:
            break
        tree = tree.children[part]
    return f"{tree.position.filename}:{tree.position.start.line}"
