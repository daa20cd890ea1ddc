"""FileFeed: a feed declared in a `defs.yaml`, without Python.

Takes the attributes of the YAML file; returns the same definitions as a module of `defs/`, by the
same calls. It is the feed's model with Dagster's mixins; what a feed does belongs in the functions
that it calls, and in the engine.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Annotated, Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, create_model
from pydantic.config import JsonDict

from partitioned_etl.components.assets import feed_assets, feed_job
from partitioned_etl.components.events import FeedEvent
from partitioned_etl.components.fetches import fetch_job, fetch_sensor
from partitioned_etl.components.partitions import build_partitions_def
from partitioned_etl.components.resources import LandingResource, WarehouseResource
from partitioned_etl.components.scaffold import FileFeedScaffolder
from partitioned_etl.components.schedule import ReloadSchedule, reload_schedule
from partitioned_etl.components.sensor import landing_sensor
from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.feed import NEEDS_PATTERN, Feed
from partitioned_etl.engine.sources.computed_rows import Rows


@dg.scaffold_with(FileFeedScaffolder)
class FileFeed(Feed, dg.Component, dg.Resolvable, frozen=True):
    """Files that keep landing in one folder, and the table that is kept equal to them.

    Gives partitions, import asset, load asset, checks, job, sensor and, for daily and monthly
    files, a schedule; and another job and sensor that fetch, if its source is a place.
    """

    dynamic_name: Annotated[
        str,
        Field(description="Name of the partitions of `{key}` files. Default: the feed's name."),
    ] = ""
    import_asset: Annotated[
        str, Field(description="Key of the import asset. Default: `import_` and the name.")
    ] = ""
    load_asset: Annotated[str, Field(description="Key of the load asset. Default: the table.")] = ""
    sensor: Annotated[
        str,
        Field(description="Name of the sensor. Default: the name and `_sensor`."),
    ] = ""
    schedule: Annotated[
        ReloadSchedule | None,
        Field(
            description="When the clock loads the latest day or month again, of daily and monthly "
            "feeds only: `hour` (0 to 23), `minute` (0 to 59), `day_of_month` (1 to 28), in "
            "`timezone`; `enabled: false` for no schedule. Default: 23:30, on day 28 if monthly, "
            "and off until someone switches it on."
        ),
    ] = None
    owners: Annotated[
        tuple[str, ...],
        Field(
            description="Who answers for the assets: e-mail addresses or `team:` names. "
            "Default: nobody."
        ),
    ] = ()
    tags: Annotated[
        Mapping[str, str],
        Field(description="Tags of the assets. Default: none.", default_factory=dict),
    ]

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of the YAML file, which takes any value: templates come first."""
        return _model_of_yaml(cls)

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> "FileFeed":
        """Build the component from its YAML; if its feed is invalid, report file and line."""
        given = {**model.__dict__, **(model.__pydantic_extra__ or {})}
        names = {*model.model_fields_set, *(model.__pydantic_extra__ or ())}
        values = {name: _render(context, given[name]) for name in given if name in names}
        try:
            component = cls(**values)
            # Whatever its definitions refuse is also the fault of a line.
            component.definitions  # noqa: B018
            return component
        except FeedDefinitionError as error:
            where = _find_line(context, error.attribute)
            raise FeedDefinitionError(f"{where}: {error}", attribute=error.attribute) from None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Return the feed's assets, job, sensor and schedule."""
        return self.definitions

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The feed's assets, job, sensor and schedule.

        Raises:
            FeedDefinitionError: Dagster does not accept a name, an owner, a tag or the schedule.
        """
        if self.is_computed and type(self).compute is FileFeed.compute:
            reason = "source parameters: a subclass of FileFeed overrides compute, and is the type"
            raise FeedDefinitionError(f"feed {self.name}: {reason}", attribute="source")
        load = feed_assets(
            self,
            partitions_def=build_partitions_def(self, dynamic_name=self.dynamic_name),
            import_asset=self.import_asset,
            load_asset=self.load_asset,
            owners=self.owners,
            tags=self.tags,
            get_metadata=self.get_metadata,
        )

        @load
        def assets(
            context: dg.AssetExecutionContext,
            landing: LandingResource,
            warehouse: WarehouseResource,
        ) -> Iterator[FeedEvent]:
            yield from self.execute(context, landing, warehouse)

        job = feed_job(assets)
        fetches = [fetch_job(assets)] if self.fetched_from else []
        schedule = reload_schedule(assets, job, self.schedule)
        return dg.Definitions(
            assets=[assets],
            jobs=[job, *fetches],
            sensors=[
                landing_sensor(assets, job, name=self.sensor),
                *(fetch_sensor(assets, fetch) for fetch in fetches),
            ],
            schedules=[schedule] if schedule else [],
        )

    def execute(
        self,
        context: dg.AssetExecutionContext,
        landing: LandingResource,
        warehouse: WarehouseResource,
    ) -> Iterator[FeedEvent]:
        """Load the partitions of a run. Override it to do something before or after."""
        files = (
            landing.compute(context, self.compute) if self.is_computed else landing.find(context)
        )
        yield from warehouse.load(context, files)

    def compute(self, key: str) -> Rows:
        """Return or yield the rows of an ad-hoc key. Override it with source `parameters`.

        Args:
            key: The partition key that a person added.
        """
        raise NotImplementedError(key)

    def get_metadata(self, partition_key: str, source_file: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Return metadata to add to every materialization of a partition. Override it to add some.

        Args:
            partition_key: The partition.
            source_file: The name of its file; empty if the file is gone.
        """
        return {}


@cache
def _model_of_yaml(component: type[FileFeed]) -> type[BaseModel]:
    """Return a model with the component's schema that takes any value for an attribute."""
    fields: dict[str, Any] = {}
    for name, field in component.model_fields.items():
        skip: Any = SkipValidation
        anything = Annotated[(field.annotation, *field.metadata, skip())]
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        fields[name] = (anything, Field(default, description=field.description))
    fields_of = component.model_fields.items()
    extra: JsonDict = {
        "required": [name for name, field in fields_of if field.is_required()],
        "additionalProperties": False,
        **NEEDS_PATTERN,
    }
    return create_model(
        f"{component.__name__}Yaml",
        __config__=ConfigDict(extra="allow", json_schema_extra=extra),
        **fields,
    )


def _render(context: dg.ResolutionContext, value: Any) -> Any:
    """Render the templates in a value, and leave every other text as written.

    Dagster itself treats each text as a template that yields a Python value: the key "101" would be
    a number.
    """
    if isinstance(value, str):
        if "{{" not in value:
            return value
        rendered = context.resolve_value(value)
        is_number = isinstance(rendered, int | float) and not isinstance(rendered, bool)
        # A text after an equals sign stays a text: 1.10 is not 1.1.
        return context.resolve_value(f"={value}")[1:] if is_number else rendered
    if isinstance(value, Mapping):
        return {key: _render(context, part) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [_render(context, part) for part in value]
    return value


def _find_line(context: dg.ResolutionContext, attribute: str) -> str:
    """Return file and line of an attribute, or of the nearest one in the file."""
    tree = context.source_position_tree
    if tree is None:
        return "attributes"
    parts = [int(part) if part.isdecimal() else part for part in attribute.split(".")]
    for part in (*context.path, *parts):
        if part not in tree.children:
            break
        tree = tree.children[part]
    return f"{tree.position.filename}:{tree.position.start.line}"
