"""Where tables and ledger are kept: `warehouse` says what a warehouse must be able to do.

`duckdb_file` is a DuckDB file, whose SQL is in `feed_table`, `ledger` and `rejected_rows`.
"""
