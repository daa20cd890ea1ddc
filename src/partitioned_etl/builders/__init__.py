"""How a feed becomes Dagster definitions, one file per step of a file's way.

`imports` (1), `checks` (2) and `loads` (3) say what each asset is and reports; `assets` runs the
three as one Dagster step; `jobs` (4) says what runs together, `sensors` (5) what starts it, and
`reconciliation` (6) proves the result. `pipelines` puts them together for one feed. They stand on
`resources` (folder and database), `partitions` and `ranges` (keys, and which of them are a run) and
`runs` (which of them are under way), and sensors count `attempts`. What a feed may have besides:
`freshness`, `archives` and, for what is made from its table, `refresh`; what looks at all feeds:
`arrivals`, `alerts`. All behaviour is in `ingest`.
"""

import warnings

import dagster as dg

# Every asset here is loaded by the batch, on purpose; one warning per asset and process is noise.
warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
