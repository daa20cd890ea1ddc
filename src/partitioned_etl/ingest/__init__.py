"""Everything that happens to a file, in plain Python and DuckDB.

Nothing in here imports Dagster: behaviour is tested without it, and every front has the same. In
the order of a file's way: `feed` (with `file_names` and `formats`) declares it, `landing` finds it,
`ledger` and `reconcile` say whether it is new, `opening` reads its bytes, `contract` (with
`records`, `json_lines`, `parquet` and `columns`) judges it, `warehouse` (with `database`,
`statements`, `loading`, `judging`, `row_by_row`, `outcomes` and `progress`) loads or refuses it.
`sync` is the whole way in one call; `repair` finds what went wrong since, `arrivals` what came late
or not at all. `archive` copies what is loaded; `inference` proposes a feed for a sample. `settings`
and `errors` are everybody's; `failpoints` is where tests end a process.
"""
