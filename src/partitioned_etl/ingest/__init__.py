"""Everything that happens to a file, in plain Python and DuckDB.

Nothing here imports Dagster, so behaviour is tested without it and is the same for every front end.
In processing order: `feed` (with `file_names` and `formats`) declares it, `landing` finds it,
`ledger` and `reconcile` decide whether it is new, `opening` reads its bytes, `contract` (with
`records`, `json_lines`, `parquet` and `columns`) validates it, `warehouse` (with `database`,
`statements`, `loading`, `judging`, `row_by_row`, `rejected_rows`, `outcomes` and `progress`) loads
or refuses it. `sync` does all of this in one call; `repair` finds what went wrong since, `arrivals`
what came late or not at all. `archive` copies what is loaded; `inference` proposes a feed for a
sample. `settings`, `errors` and `collection` are shared by all; `failpoints` is where tests
interrupt a process.
"""
