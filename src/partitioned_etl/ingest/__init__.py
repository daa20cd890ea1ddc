"""Everything that happens to a file, in plain Python and DuckDB.

Nothing in here imports Dagster: behaviour is tested without it, and every front has the same.
"""
