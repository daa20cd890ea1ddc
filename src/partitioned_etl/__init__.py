"""Keeps DuckDB tables equal to the files in a landing directory, partition by partition.

The way of one file runs through the packages in this order: `ingest` (plain Python and DuckDB),
`builders` (a feed becomes Dagster definitions), `components` (a feed in YAML), `defs` (the feeds
that ship), `definitions`. `reports` makes pictures and messages for people, `cli` is the command
line.
"""
