"""Registry: every source that a feed can declare. A new kind is a module and a line here."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, ValidationError, WithJsonSchema

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.format import explain_first
from partitioned_etl.engine.formats.registry import describe_model
from partitioned_etl.engine.sources.http import HttpSource
from partitioned_etl.engine.sources.parameters import Parameters
from partitioned_etl.engine.sources.remote_folder import RemoteFolder
from partitioned_etl.engine.sources.rss import RssSource
from partitioned_etl.engine.sources.source import DeclaredSource

SOURCES: tuple[type[DeclaredSource], ...] = (HttpSource, RssSource, RemoteFolder, Parameters)


def name_of_source(source_class: type[DeclaredSource]) -> str:
    """Return the name of a kind of source in a feed."""
    return source_class.model_fields["type"].default


def parse_source(value: object) -> DeclaredSource | None:
    """Return the source that a feed declares; None if it declares none.

    It is declared by its `type` and options or, if there are no options, by its type alone.

    Raises:
        FeedDefinitionError: There is no such kind, or an option is wrong; no value is repeated,
            because it may be a secret.
    """
    if value is None or isinstance(value, DeclaredSource):
        return value
    value = {"type": value} if isinstance(value, str) else value
    kinds = {name_of_source(one): one for one in SOURCES}
    kind = value.get("type") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or kind not in kinds:
        reason = f"source: needs a type, one of {', '.join(kinds)}"
        raise FeedDefinitionError(reason, attribute="source")
    options: dict[str, Any] = dict(value)
    try:
        return kinds[str(kind)](**options)
    except ValidationError as error:
        path, reason = explain_first(error, kinds[str(kind)])
        path = f"source.{path}"
        for mistake in error.errors():
            reason = reason.removesuffix(f", not {mistake['input']!r}")
        raise FeedDefinitionError(f"{path}: {reason}", attribute=path) from None


AnySource: TypeAlias = Annotated[
    DeclaredSource,
    BeforeValidator(parse_source),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [name_of_source(Parameters)]},
                *(describe_model(source_class) for source_class in SOURCES),
            ]
        }
    ),
]
"""A source, as a field of a model."""
