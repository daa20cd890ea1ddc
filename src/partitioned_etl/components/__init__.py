"""Feeds without Python: components that a `defs.yaml` below `defs/` makes feeds of."""

from partitioned_etl.components.file_feed import FileFeed as FileFeed
