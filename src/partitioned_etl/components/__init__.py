"""How a feed becomes Dagster definitions.

In the order of a run's way: `sensor` requests it, by an `agenda` that `plan` and `sync` share;
`assets` declares the step, `resources` does it, `events` and `checks` say what happened.
`reconcile` repairs what went wrong since, `orphans` ends runs that nothing will finish, and
`downstream` keeps other assets up to date with the table; `archive` is one of these. For all feeds
together: `calendar`, `alerts`, and `isolation`, by which one feed's mistake stops no other. Keys
that people add are in `ad_hoc_keys`, and their rows come from `computations`.
`file_feed` is a feed in YAML. All behaviour that does not need Dagster is in `engine`.
"""

import warnings

import dagster as dg

# What Dagster's own modules call is no user's business.
for _category in (dg.BetaWarning, dg.PreviewWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"dagster\.")

from partitioned_etl.components.file_feed import FileFeed as FileFeed  # noqa: E402
