"""Scaffolding: what `dg scaffold defs partitioned_etl.components.FileFeed my_feed` writes.

Takes the folder that `dg` has created below `defs/`; writes a commented `defs.yaml` into it that
loads as it is. What the attributes mean belongs in `file_feed.py`.
"""

import re

import dagster as dg

from partitioned_etl.ingest.errors import FeedDefinitionError

_EXAMPLE = """\
type: {type_name}

# Every attribute, with its meaning and default: dg utils inspect-component {type_name}
attributes:
  name: {name}
  description: What the files are and who sends them.
  # Files lie in a folder of this name in the landing directory.
  folder: {name}
  # {{key}}.csv is a file a name, {{date:%Y-%m-%d}}.csv a file a day, {{date:%Y-%m}}.csv a file a
  # month. The last two need `start`, their first day, such as 2018-01-21.
  pattern: "{{key}}.csv"
  # Name and DuckDB type of every column, in the order of the file.
  columns:
    id: BIGINT
    day: DATE
    amount: {{type: DOUBLE, description: "In euro, without tax."}}
  # What must hold for every row. Each rule is an asset check.
  row_rules:
    - name: {name}_amount_is_positive
      column: amount
      expression: amount > 0
      reason: not greater than 0
  # What to do with bad rows (fail, quarantine), and when a file is deleted (keep, remove).
  bad_rows: fail
  on_missing: keep
"""


class FileFeedScaffolder(dg.Scaffolder):
    """Writes a commented `defs.yaml` that loads as it is."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write the example, named after its folder.

        Args:
            request: Where to write, and for which component type.

        Raises:
            FeedDefinitionError: Python was requested.
        """
        if request.scaffold_format != "yaml":
            raise FeedDefinitionError("a feed in Python is a module of defs/, not a component")
        folder = request.target_path.parent if request.append else request.target_path
        path = folder / "defs.yaml"
        text = _EXAMPLE.format(
            type_name=request.type_name, name=re.sub(r"\W", "_", folder.name).lower()
        )
        with path.open("a" if request.append else "w", encoding="utf-8") as file:
            file.write(f"---\n{text}" if request.append else text)
