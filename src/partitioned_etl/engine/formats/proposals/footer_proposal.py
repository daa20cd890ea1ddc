"""Footer proposal: how the lines at the end of a sample begin that are no rows.

Takes such lines as texts; returns what a feed declares of them. Which lines they are is found by
the proposals of the formats.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from partitioned_etl.engine.formats.format import FormatProposal

FOOTER = re.compile(
    r"(?:grand |sub)?(?:total|sum)|summe|gesamt|totaal|totale|итого|suma|razem|count|rows?\b|"
    r"records?\b|anzahl|zeilen|end\b|eof|trailer|trl|checksum|\*+|=+$",
    re.IGNORECASE,
)
"""How lines begin that are no rows but say something of them."""


def propose_footer(proposal: FormatProposal, footer: Sequence[str], rows: Iterable[str]) -> None:
    """Propose what the last lines are that are no rows: how they begin, or how many there are.

    Args:
        proposal: What is added to.
        footer: These lines.
        rows: Some lines that are rows.
    """
    starts = list(dict.fromkeys(map(_find_start, footer)))
    pattern = "|".join(starts)
    if "" in starts or any(re.match(pattern, row) for row in rows):
        proposal.options["footer_lines"] = len(footer)
        doubt = "so many lines at the end do not look like rows"
        proposal.doubts["format.footer_lines"] = doubt
        return
    proposal.options["footer"] = pattern
    proposal.doubts["format.footer"] = "the last line(s) look like a footer; one is then needed"


def _find_start(line: str) -> str:
    """Return a regular expression for what a footer begins with: its words, with any numbers."""
    found = re.match(r"[^\w]*(?:\d[\d.,:/-]*\W*)?[^\W\d]+", line)
    if not found:
        return ""
    return re.sub(r"\d[\d.,:/\\-]*", lambda _: r"\d[\d.,:/-]*", _escape(found[0]))


def _escape(text: str) -> str:
    return re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text)


def write_footer(fields: Sequence[str], delimiter: str, totals: Mapping[int, str]) -> str:
    """Return a regular expression for a footer that has control totals.

    Args:
        fields: Its fields.
        delimiter: What stands between them.
        totals: The name of the column whose total stands at a place.
    """
    mark = _escape(delimiter)
    pieces = []
    word_is_seen = False
    for place in range(max(totals) + 1):
        text = fields[place]
        if place in totals:
            pieces.append(f"(?P<{totals[place]}>[^{mark}]*)")
        elif text and not word_is_seen and not text[:1].isdecimal():
            word_is_seen = True
            pieces.append(_escape(text))
        else:
            pieces.append(f"[^{mark}]*" if text else "")
    return mark.join(pieces)
