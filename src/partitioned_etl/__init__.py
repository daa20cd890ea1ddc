"""Keeps tables equal to the files that land, partition by partition.

Imports go one way, `cli → defs → components → engine`. `engine` puts files into tables, in plain
Python and DuckDB; `components` makes Dagster definitions of a feed; `defs` holds what runs, and is
what a user edits; `definitions` loads it; `cli` is the command line.
"""

import logging

# A library says nothing unless it is asked to.
logging.getLogger(__name__).addHandler(logging.NullHandler())
