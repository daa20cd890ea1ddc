"""Nested types: lists, structures and maps as types of columns, and the leaves within them.

Takes the type that a feed declares; returns it parsed, so that no other SQL can stand in it, and
the condition for a value with a leaf that no contract accepts.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from partitioned_etl.engine.sql import quote_identifier, quote_text

_TOKEN = re.compile(r'\s*("(?:[^"]|"")+"|[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[(),\[\]])')
_NESTED = re.compile(r"\]\s*$|^\s*(?:STRUCT|MAP)\s*\(", re.IGNORECASE)


@dataclass(frozen=True)
class NestedType:
    """A type, with those within it.

    Attributes:
        name: `LIST`, `STRUCT`, `MAP`, or the name of a type that is not nested.
        children: The types within it, by name: of the elements, of the fields, or of `key` and
            `value`.
        length: How many elements a list has; empty if any number.
    """

    name: str
    children: dict[str, "NestedType"] = field(default_factory=dict)
    length: str = ""

    def leaves(self) -> Iterator[str]:
        """Yield the names of the types within it that are not nested."""
        if not self.children:
            yield self.name
        for child in self.children.values():
            yield from child.leaves()

    def spell(self, leaf: str = "") -> str:
        """Return the type as SQL; with a type in place of each leaf, lists of any length.

        The names of fields are quoted: one may be a word of SQL, such as `at`.
        """
        parts = {name: child.spell(leaf) for name, child in self.children.items()}
        match self.name:
            case "LIST":
                return f"{parts['element']}[{'' if leaf else self.length}]"
            case "MAP":
                return f"MAP({parts['key']}, {parts['value']})"
            case "STRUCT":
                fields = (f"{quote_identifier(name)} {part}" for name, part in parts.items())
                return f"STRUCT({', '.join(fields)})"
            case _:
                return leaf or self.name

    def find_leaf_sql(self, value: str, is_wrong: Callable[[str, str], str], depth: int = 0) -> str:
        """Return the condition for a value that has a wrong leaf; empty if it never has.

        Args:
            value: SQL for the value.
            is_wrong: Returns the condition for a leaf, by the name of its type and its SQL.
            depth: How many lists it is in.
        """
        if not self.children:
            return is_wrong(self.name, value)
        parts = []
        for name, child in self.children.items():
            if self.name == "STRUCT":
                part = f"struct_extract({value}, {quote_text(name)})"
                parts.append(child.find_leaf_sql(part, is_wrong, depth))
                continue
            elements = f"map_{name}s({value})" if self.name == "MAP" else value
            element = f"element_{depth}"
            if inner := child.find_leaf_sql(element, is_wrong, depth + 1):
                parts.append(f"len(list_filter({elements}, lambda {element}: {inner})) > 0")
        parts = [part for part in parts if part]
        return f"({' OR '.join(parts)})" if parts else ""


def is_nested(type_name: str) -> bool:
    """Return whether a type looks like one of those here."""
    return _NESTED.search(type_name) is not None


def parse_type(type_name: str) -> NestedType | None:
    """Return a type with those within it; None if it is spelled as none."""
    tokens: list[str] = []
    position = 0
    text = type_name.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            return None
        tokens.append(found[1])
        position = found.end()
    parser = _Parser(tokens)
    try:
        found_type = parser.read_type()
    except (IndexError, ValueError):
        return None
    return found_type if parser.is_at_end else None


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._next = tokens, 0

    @property
    def is_at_end(self) -> bool:
        return self._next == len(self._tokens)

    def read_type(self) -> NestedType:
        name = self._take()
        if name.upper() == "STRUCT":
            found = NestedType("STRUCT", dict(self._read_fields()))
        elif name.upper() == "MAP":
            self._expect("(")
            key = self.read_type()
            self._expect(",")
            found = NestedType("MAP", {"key": key, "value": self.read_type()})
            self._expect(")")
        else:
            found = NestedType(self._read_leaf(name))
        while self._peek() == "[":
            self._take()
            length = self._take() if self._peek().isdecimal() else ""
            self._expect("]")
            found = NestedType("LIST", {"element": found}, length)
        return found

    def _read_fields(self) -> Iterator[tuple[str, NestedType]]:
        self._expect("(")
        seen: set[str] = set()
        while True:
            name = self._take()
            name = name[1:-1].replace('""', '"') if name.startswith('"') else name
            if name.lower() in seen or not name:
                raise ValueError
            seen.add(name.lower())
            yield name, self.read_type()
            if self._peek() != ",":
                break
            self._take()
        self._expect(")")

    def _read_leaf(self, name: str) -> str:
        """Read a type of one or several words, and what stands in parentheses after it."""
        words = [name]
        while self._peek()[:1].isalpha():
            words.append(self._take())
        if any(not word[0].isalpha() for word in words):
            raise ValueError
        text = " ".join(words).upper()
        if self._peek() != "(":
            return text
        self._take()
        numbers = [str(int(self._take()))]
        if self._peek() == ",":
            self._take()
            numbers.append(str(int(self._take())))
        self._expect(")")
        return f"{text}({', '.join(numbers)})"

    def _peek(self) -> str:
        return "" if self.is_at_end else self._tokens[self._next]

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1]

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise ValueError
