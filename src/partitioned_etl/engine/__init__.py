"""Files to tables, in plain Python and DuckDB: the product's heart.

Nothing here imports Dagster, so behaviour is tested without it and is the same for every front end.
In the order of a file's way: `feed` (with `contract` and `file_names`) declares it, a `landing`
lists it, `plan` compares it with the ledger, a format of `formats` surveys it, `load` (with
`replace`, `diagnose` and `row_by_row`) puts its rows into a `warehouse` or refuses it. `sync` does
all of this in one call. `reconcile` finds what went wrong since, and `arrivals` what came late or
not at all; `archive` copies what is loaded, and `infer` proposes a feed for a sample.
"""
