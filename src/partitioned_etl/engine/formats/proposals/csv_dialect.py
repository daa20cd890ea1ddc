"""CSV dialect: which delimiter, quote and escape make most lines of a sample alike.

Takes the start of a sample; returns the dialect in which the largest share of its lines has one
width and its fields hold no other delimiter. What else is in the lines belongs in
`csv_proposal.py`.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from partitioned_etl.engine.errors import FeedDefinitionError
from partitioned_etl.engine.formats.csv_records import CsvRecord, read_csv_records

if TYPE_CHECKING:
    from partitioned_etl.engine.formats.csv import CsvFormat

_DELIMITERS = {
    **dict.fromkeys(",;\t|", 1.0),
    **dict.fromkeys("^~\x1f\x01", 0.9),
    **dict.fromkeys(": ", 0.4),
}
"""How likely each is, beside what the lines say."""
_STRONG = ",;\t|^~\x1f\x01"
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""What Excel writes before a header, to say what the delimiter is."""
_NUMBER = re.compile(r"[-+]?[\d.,'\u2019 \u00a0]+\S{0,3}")
_SEEN_CELLS = 2000
_OFTEN_ENOUGH = 0.2


@dataclass(frozen=True)
class Dialect:
    """How the lines of a sample are cut into fields.

    Attributes:
        delimiter: What stands between fields.
        quote: What stands around some; empty for nothing.
        escape: What makes a quote a part of a field; empty if the quote itself does.
        width: How many fields most lines have.
        doubt: Why it may be another one.
    """

    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    width: int = 1
    doubt: str = ""


def find_dialect(csv: type["CsvFormat"], head: str, likely: str) -> Dialect:
    """Find the dialect of a text.

    Args:
        csv: The format.
        head: The start of the text, in whole lines.
        likely: The delimiter that the name of the file suggests.
    """
    forced = SEPARATOR_LINE.match(head)
    delimiters = [forced[1]] if forced and forced[1].isascii() else list(_DELIMITERS)
    scores: dict[Dialect, float] = {}
    for delimiter in delimiters:
        if delimiter not in head:
            continue
        for quote, escape in _list_quotes(head, delimiter):
            try:
                form = csv(delimiter=delimiter, quote=quote, escape=escape)
            except FeedDefinitionError:
                continue
            width, share, clean = _weigh(form, head)
            if width > 1 and share > _OFTEN_ENOUGH:
                likelihood = _DELIMITERS.get(delimiter, 1.0) + 0.1 * (delimiter == likely)
                found = Dialect(delimiter, quote, escape, width)
                scores[found] = share * (0.3 + 0.7 * clean) * likelihood
    if not scores:
        return Dialect(likely, _find_only_quote(head))
    # The first of equals: a quote that changes nothing is the usual one.
    best = max(scores, key=lambda one: scores[one])
    if best.delimiter in ": ":
        if scores[best] < _DELIMITERS[best.delimiter] * 0.9 or best.width < 2:
            return Dialect(likely, _find_only_quote(head))
        return Dialect(**{**vars(best), "doubt": "all lines have it alike; or is it one column?"})
    return best


def _list_quotes(head: str, delimiter: str) -> Iterator[tuple[str, str]]:
    yield '"', ""
    if '\\"' in head:
        yield '"', "\\"
    mark = re.escape(delimiter)
    if re.search(rf"(?:^|{mark})'(?:[^'\n]|'')*'(?=$|{mark}|\r)", head, re.MULTILINE):
        yield "'", ""
        if "\\'" in head:
            yield "'", "\\"
    if '"' in head:
        yield "", ""


def _find_only_quote(head: str) -> str:
    lines = [line for line in head.splitlines()[1:] if line]
    are_quoted = lines and all(line[0] == line[-1] == "'" and len(line) > 1 for line in lines)
    return "'" if are_quoted else '"'


def read_head_records(form: "CsvFormat", head: str) -> list[CsvRecord]:
    """Cut the start of a text into records."""
    lines = [head.encode()]
    return list(read_csv_records(form, lines, width=None, line_of=lambda line: line, line_end=None))


def _weigh(form: "CsvFormat", head: str) -> tuple[int, float, float]:
    """Return the usual width of lines, how many of them have it, and how many fields are clean."""
    widths: Counter[int] = Counter()
    texts: list[str] = []
    lines = 0
    for record in read_head_records(form, head):
        if not record.line_text.strip():
            continue
        # A record over several lines is worth as many as it has, and so is one that is broken.
        lines += record.text.count("\n") or 1
        if record.problem:
            continue
        fields = record.fields()
        widths[len(fields)] += record.text.count("\n") or 1
        if len(texts) < _SEEN_CELLS and len(fields) > 1:
            unquoted = record.line_text.split(form.delimiter)
            texts += _bare(fields) if record.has_quote else unquoted
    if not widths:
        return 0, 0.0, 0.0
    width, count = max(widths.items(), key=lambda one: (one[1], one[0]))
    clean = sum(map(_is_clean, texts)) / max(len(texts), 1)
    return width, count / lines, clean


def _bare(fields: list[str | None]) -> list[str]:
    """Return the fields of a line with quotes that show how well it is cut."""
    return ["x" if one and any(mark in one for mark in _STRONG) else one or "" for one in fields]


def _is_clean(text: str) -> bool:
    if text.count('"') % 2 or text.startswith("'"):
        return False
    return bool(_NUMBER.fullmatch(text)) or not any(mark in text for mark in _STRONG)
