"""Feeds without Python: components that turn a `defs.yaml` below `defs/` into a feed."""

from partitioned_etl.components.file_feed import FileFeed as FileFeed
