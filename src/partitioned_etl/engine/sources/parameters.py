"""Parameters: keys that people add, each of which stands for rows that a function computes.

Says what the files of such a feed are named and look like, and which feeds have no use for them.
Next: `computed_rows.py` writes the rows of a key, and from there the feed is like any other.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.file_names import Partitioning
from partitioned_etl.engine.formats.registry import parse_format
from partitioned_etl.engine.sources.source import DeclaredSource

if TYPE_CHECKING:
    from partitioned_etl.engine.feed import Feed


class Parameters(DeclaredSource, frozen=True, hide_input_in_errors=True):
    """Keys that people add, each with the rows that a function computes for it."""

    implied: ClassVar[Mapping[str, Any]] = {"pattern": "{key}.json", "format": {"type": "json"}}

    is_computed: ClassVar[bool] = True

    type: Literal["parameters"] = "parameters"

    def check_feed(self, feed: "Feed") -> None:
        """Refuse a declaration of what the files look like: they are written for the feed."""
        spelled = "value options, such as a date_format"
        is_other = feed.format != parse_format(self.implied["format"])
        for attribute, what, is_wrong in (
            ("pattern", "pattern", feed.pattern != self.implied["pattern"]),
            ("format", "format", is_other),
            ("values", spelled, feed.values.declared),
            ("columns", spelled, feed.declared_values),
            ("done_file", "done_file", feed.done_file),
            ("done_suffix", "done_suffix", feed.done_suffix),
        ):
            if is_wrong:
                reason = (
                    f"{attribute}: a feed with source parameters has no {what}: its files are "
                    "written from the rows that its function gives"
                )
                raise FeedDefinitionError(reason, attribute=attribute)
        if feed.partitioning is not Partitioning.DYNAMIC:
            reason = "partitioning: keys that people add are dynamic partitions, and no list"
            raise FeedDefinitionError(reason, attribute="partitioning")
