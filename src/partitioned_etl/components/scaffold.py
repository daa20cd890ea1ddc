"""Scaffolding: what `dg scaffold defs partitioned_etl.FileFeed my_feed` writes.

Takes the folder that `dg` has created below `defs/`; writes a `defs.yaml` into it that loads as it
is. Its comments are the descriptions of the attributes in `file_feed.py`.
"""

import re
import textwrap

import dagster as dg

from partitioned_etl.engine.errors import FeedDefinitionError

_EXAMPLES = {
    "name": "{name}",
    "description": "What the files are and who sends them.",
    "folder": "{name}",
    "pattern": '"{{key}}.csv"',
    "columns": """
    id: BIGINT
    day: DATE
    amount: {{type: DOUBLE, description: "In euro, without tax."}}""",
    "row_rules": """
    - name: amount_is_positive
      column: amount
      expression: amount > 0
      reason: not greater than 0""",
    "bad_rows": "fail",
    "on_missing": "keep",
}


def write_example(type_name: str, name: str) -> str:
    """Return the text of a `defs.yaml` that loads as it is, with what each attribute means.

    Args:
        type_name: The component's type.
        name: The feed's name.
    """
    from partitioned_etl.components.file_feed import FileFeed

    lines = [
        f"type: {type_name}\n",
        "# Every attribute: page docs/feeds.md of partitioned-etl, as other pages named here.",
        "attributes:",
    ]
    for attribute, value in _EXAMPLES.items():
        meaning = FileFeed.model_fields[attribute].description or ""
        lines.append(
            textwrap.fill(
                meaning,
                98,
                initial_indent="  # ",
                subsequent_indent="  # ",
                break_on_hyphens=False,
                break_long_words=False,
            )
        )
        lines.append(f"  {attribute}: {value.format(name=name)}".replace(": \n", ":\n"))
    return "\n".join(lines) + "\n"


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
        text = write_example(request.type_name, re.sub(r"\W", "_", folder.name).lower())
        with path.open("a" if request.append else "w", encoding="utf-8") as file:
            file.write(f"---\n{text}" if request.append else text)
