"""The file that shows every setting with its default and its meaning: `.env.example`."""

import re
import textwrap

from partitioned_etl.engine.settings import Settings

_HEAD = """\
# Settings and their defaults. Copy this file to .env and remove the "# " from a line to change it.
# Set a variable in only one of the two places: `make run` prefers the environment to lines here,
# Dagster's commands prefer the lines here. Pages named here are those of partitioned-etl.
"""


def render_env_example(settings: type[Settings] = Settings) -> str:
    """Return the text of `.env.example`.

    Args:
        settings: The settings: the package's own, or those of a project that adds some.
    """
    parts = [_HEAD]
    for name, field in settings.model_fields.items():
        text = re.sub(r"\[(\w+)\]\((\S+)\)", r"\1 (\2)", field.description or "")
        comment = textwrap.fill(text, 98, initial_indent="# ", subsequent_indent="# ")
        default = "" if field.default is None else field.default
        parts.append(f"{comment}\n# {name.upper()}={default}\n")
    return "\n".join(parts)
