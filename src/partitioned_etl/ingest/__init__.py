"""Everything that happens to a file, in plain Python and DuckDB.

Nothing in here imports Dagster: behaviour is tested without it, and every front has the same. In
the order of a file's way: `feed` declares it, `landing` finds it, `ledger` and `reconcile` say
whether it is new, `contract` (with `records` and `columns`) judges it, `warehouse` (with `database`
and `statements`) loads it, and `sync` is the whole way in one call.
"""
