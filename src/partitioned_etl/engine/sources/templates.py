"""Templates: how the fields of a listed item become the name of a file, or a URL.

Takes a template such as `{id}.json` or `{updated:%Y-%m-%d}.csv`, and an item; returns the text. The
fields are paths into JSON: names and indexes of arrays.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from itertools import islice, product
from typing import Any, TypeAlias
from urllib.parse import quote

Step: TypeAlias = str | int
"""A part of a path: a name in an object, or an index in an array."""

_STEP = re.compile(
    r"\.?(?P<name>[^\W\d][\w-]*)|\['(?P<quoted>[^'\\]+)'\]|\[(?P<index>0|[1-9][0-9]{0,8})\]"
)
_FIELD = re.compile(r"\{(?P<path>[^{}:]+)(?::(?P<date>[^{}]+))?\}")
_SAMPLES = ("a", "1", "2026-01-05", "2026-01", "20260105", "202601", "2026-01-05-13", "2026-W02")
"""What an item may hold, for a guess whether the names of files can match a pattern."""
_MOST_GUESSES = 4096
_SAMPLE_TIME = datetime(2026, 1, 5, 13, tzinfo=UTC)


class FieldError(ValueError):
    """An item lacks a field, or holds there what is no use; the message holds no value."""


def parse_path(text: str) -> tuple[Step, ...]:
    """Return the steps of a path such as `$.data.items`, `id` or `$['the id'][0]`.

    Raises:
        ValueError: It is none.
    """
    rest, steps = text.removeprefix("$"), list[Step]()
    while rest:
        found = _STEP.match(rest)
        if not found:
            raise ValueError(f"{text!r} is no path of names and indexes, such as $.data.items")
        steps.append(found["name"] or found["quoted"] or int(found["index"]))
        rest = rest[found.end() :]
    return tuple(steps)


def find_value(value: Any, path: str) -> Any:
    """Return what is found at a path; None if there is nothing."""
    for step in parse_path(path):
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
    return value


def to_text(value: Any, path: str) -> str:
    """Return the text of a field: a text as it is, a number as it is spelled.

    Raises:
        FieldError: It is something else, or empty.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise FieldError(f"its field {path} is no text and no number")
    return str(value)


def _to_date(value: Any, path: str, date_format: str) -> str:
    """Return a date as the item has it, in the item's own time zone; a number is of Unix time."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).strftime(date_format)
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).strftime(date_format)
            except ValueError:
                return parsedate_to_datetime(value).strftime(date_format)
    except (ValueError, OverflowError, OSError):
        pass
    raise FieldError(f"its field {path} is no date")


@dataclass(frozen=True)
class Template:
    """A text with fields of an item in braces.

    Attributes:
        text: The template.

    Raises:
        ValueError: A brace is left over, there is no field, or one is no path.
    """

    text: str

    def __post_init__(self) -> None:
        if re.search(r"[{}]", _FIELD.sub("", self.text)) or not self.paths:
            raise ValueError(
                f"{self.text!r} needs fields of an item in braces, such as {{id}} or "
                "{updated:%Y-%m-%d}"
            )
        for path in self.paths:
            parse_path(path)

    @cached_property
    def paths(self) -> list[str]:
        """The paths of its fields."""
        return [found["path"] for found in _FIELD.finditer(self.text)]

    def to_name(self, item: Any) -> str:
        """Return the name that it makes of an item.

        Raises:
            FieldError: The item lacks a field, or the field cannot be part of a name.
        """

        def fill(found: re.Match[str]) -> str:
            text = _fill(found, item)
            if "/" in text or "\\" in text or text in (".", ".."):
                raise FieldError(f"its field {found['path']} cannot be part of a file's name")
            return text

        return _FIELD.sub(fill, self.text)

    def to_url(self, item: Any) -> str:
        """Return the URL that it makes of an item; only a field at its start may be a URL itself.

        Raises:
            FieldError: The item lacks a field.
        """

        def fill(found: re.Match[str]) -> str:
            text = _fill(found, item)
            return quote(text, safe="") if found.start() else text

        return _FIELD.sub(fill, self.text)

    def list_samples(self) -> Iterator[str]:
        """Yield names that it might make."""
        fields = list(_FIELD.finditer(self.text))
        choices = [
            (_SAMPLE_TIME.strftime(found["date"]),) if found["date"] else _SAMPLES
            for found in fields
        ]
        for texts in islice(product(*choices), _MOST_GUESSES):
            given = iter(texts)
            yield _FIELD.sub(lambda _: next(given), self.text)  # noqa: B023


def _fill(found: re.Match[str], item: Any) -> str:
    path, date_format = found["path"], found["date"]
    value = find_value(item, path)
    return _to_date(value, path, date_format) if date_format else to_text(value, path)
