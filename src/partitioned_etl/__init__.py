"""Keeps DuckDB tables equal to the files in a landing directory, partition by partition.

A file passes through the packages in this order: `ingest` (plain Python and DuckDB), `builders` (a
feed becomes Dagster definitions), `components` (a feed in YAML), `defs` (the feeds that ship),
`definitions`. `reports` produces pictures and messages for people; `cli` is the command line.
"""
