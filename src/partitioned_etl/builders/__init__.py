"""How a feed becomes Dagster definitions, one module per processing step.

`imports` (1), `checks` (2) and `loads` (3) define what each asset is and reports; `assets` runs the
three as one Dagster step; `jobs` (4) defines what runs together, `sensors` (5) what starts it, and
`reconciliation` (6, with `dagster_view`) verifies the result. `pipelines` combines them for one
feed. They build on `resources` (folder and database), `partitions` and `ranges` (keys, and how they
are grouped into runs) and `runs` (which are in progress); sensors count `attempts`. Optional for a
feed: `freshness`, `archives` and, for downstream assets, `refresh`. For all feeds: `arrivals` and
`alerts`; `modules` finds what `defs/` declares, and `clashes` refuses what cannot be loaded
together. All behaviour is in `ingest`.
"""

import warnings

import dagster as dg

# Every asset here is deliberately loaded in batches; a warning per asset and process is noise.
warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
