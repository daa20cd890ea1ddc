"""Markdown: texts of strangers in what the web UI renders, which cannot act as markdown or HTML.

Takes values of files, names of files and reasons; returns markdown. Next: `events.py` shows the
first rows of a load, and `checks.py` describes results.
"""

import re
from collections.abc import Mapping, Sequence

_MAX_CELL_CHARS = 80
_MAX_REASON_CHARS = 400
_MOST_LISTED = 20
_PLAIN = re.compile(r"[A-Za-z0-9 -]*")
_LOOK_ALIKE = str.maketrans({"`": "\u02cb", "|": "\u2502", "\\": "\u2216"})


def escape_markdown(cell: object, max_chars: int = _MAX_CELL_CHARS) -> str:
    """Return a value as text that markdown shows verbatim.

    A text with more than letters, digits, spaces and hyphens becomes a code span, the only place
    where a renderer creates no link, image or HTML, not even from a bare address. Characters that
    could end the span or the table cell are replaced by look-alikes.

    Args:
        cell: Any value; None is shown as empty.
        max_chars: Longer texts are cut.
    """
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return str(cell)
    text = "".join(char if char.isprintable() else " " for char in cell)
    if len(text) > max_chars:
        text = text[: max_chars - 1] + "…"
    if _PLAIN.fullmatch(text) or not text.strip():
        return text.strip()
    return f"`{text.translate(_LOOK_ALIKE)}`"


def list_sentences(title: str, sentences: Sequence[str]) -> str:
    """Return a sentence with a list below it; of many, the first, and how many others there are."""
    shown = [escape_markdown(one, _MAX_REASON_CHARS) for one in sentences[:_MOST_LISTED]]
    more = len(sentences) - len(shown)
    return f"{title}\n\n" + "\n".join(
        f"- {line}" for line in [*shown, *([f"and {more:,} more"] if more else [])]
    )


def list_reasons(title: str, reasons: Mapping[str, str]) -> str:
    """Return a sentence with a list below it of what is named, and why."""
    return list_sentences(title, [f"{name}: {reason}" for name, reason in reasons.items()])
