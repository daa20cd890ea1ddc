"""JSON stream: the records of a JSON document, one on each line, in memory that does not grow.

Takes a document in UTF-8, in chunks; returns its records as JSON lines, as they are spelled but for
line ends between their parts. Everything around the records is read strictly. What a record must
look like is left to `json_records.py`.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NoReturn

from partitioned_etl.engine.errors import ContractError
from partitioned_etl.engine.formats.format import MAX_RECORD_CHARS

_SPACE = re.compile(r"[ \t\n\r]*")
_SCAN = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
_LINES_CHARS = 1 << 20


def to_json_lines(document: Iterable[bytes], path: Sequence[str]) -> Iterator[bytes]:
    """Yield a line with the path, then a line for each record; nothing for an empty document.

    Args:
        document: The document in UTF-8.
        path: The names that lead to the array of the records; none if the document is the array.

    Raises:
        ContractError: The document is no JSON, has no such array, or something too long in it.
    """
    text = _Document(document)
    if text.peek():
        yield json.dumps(path).encode() + b"\n"
        yield from _in_chunks(_read_records(text, path, []))
        if text.peek():
            text.fail("text behind the end of the JSON document")


def _in_chunks(records: Iterable[str]) -> Iterator[bytes]:
    lines: list[str] = []
    chars = 0
    for record in records:
        lines.append(record)
        chars += len(record)
        if chars >= _LINES_CHARS:
            yield ("\n".join(lines) + "\n").encode()
            lines, chars = [], 0
    if lines:
        yield ("\n".join(lines) + "\n").encode()


def _read_records(text: "_Document", path: Sequence[str], done: Sequence[str]) -> Iterator[str]:
    """Read the value at the beginning of a path, and yield the records at its end."""
    here = ".".join(["$", *done])
    if not path:
        text.take("[", f"no array at {here}")
        if text.try_take("]"):
            return
        while True:
            record = text.take_value()
            # Line ends are only between the parts of a value: within a text they are spelled \n.
            yield record.replace("\r", " ").replace("\n", " ")
            if text.try_take("]"):
                return
            text.take(",", "no comma or bracket behind a record")
    names: set[str] = set()
    text.take("{", f"no object at {here}")
    if not text.try_take("}"):
        while True:
            name = text.take_name()
            if name in names:
                text.fail(f"a name more than once at {here}")
            names.add(name)
            text.take(":", "no colon behind a name")
            if name == path[0]:
                yield from _read_records(text, path[1:], [*done, name])
            else:
                text.take_value()
            if text.try_take("}"):
                break
            text.take(",", "no comma or brace behind a value")
    if path[0] not in names:
        text.fail(f"no {path[0]} at {here}")


class _Document:
    """A document, of which a small part is in memory."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0
        self._line, self._character = 1, 1
        self._is_complete = False

    def fail(self, reason: str) -> NoReturn:
        """Refuse the document for what stands next."""
        raise ContractError(f"line {self._find_place(self._at)[0]}: {reason}")

    def _find_place(self, at: int) -> tuple[int, int]:
        """Return the line of a character, and its number in that line; both start at 1."""
        newlines = self._text.count("\n", 0, at)
        start = self._text.rfind("\n", 0, at) + 1
        return self._line + newlines, at - start + (1 if newlines else self._character)

    def _read_more(self) -> None:
        chunk = next(self._chunks, None)
        self._is_complete = chunk is None
        self._line, self._character = self._find_place(self._at)
        self._text = self._text[self._at :] + self._decoder.decode(chunk or b"")
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is no white space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or self._is_complete:
                return self._text[self._at : self._at + 1]
            self._read_more()

    def try_take(self, character: str) -> bool:
        """Go on behind a character, if it is next."""
        is_next = self.peek() == character
        self._at += is_next
        return is_next

    def take(self, character: str, otherwise: str) -> None:
        """Go on behind a character, which must be next."""
        if not self.try_take(character):
            self._fail_at_end()
            self.fail(otherwise)

    def _fail_at_end(self) -> None:
        if self._is_complete and self._at >= len(self._text):
            self.fail("the JSON document ends early: cut off?")

    def take_name(self) -> str:
        """Go on behind a text, and return what it says."""
        if self.peek() != '"':
            self._fail_at_end()
            self.fail("no name in quotes")
        return str(json.loads(self.take_value()))

    def take_value(self) -> str:
        """Go on behind a value, and return it as it is spelled."""
        self.peek()
        while True:
            try:
                end = _SCAN(self._text, self._at)[1]
            except json.JSONDecodeError as error:
                self._refuse(error)
            except RecursionError:
                self.fail("a nested value")
            else:
                # A number that ends with what was read may go on.
                if end < len(self._text) or self._is_complete:
                    text = self._text[self._at : end]
                    self._refuse_long(len(text))
                    self._at = end
                    return text
                self._refuse_long(end - self._at)
            self._read_more()

    def _refuse(self, error: json.JSONDecodeError) -> None:
        """Refuse what cannot be read, unless it may only be that more of it must be."""
        is_open = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - 12
        if is_open and not self._is_complete:
            self._refuse_long(len(self._text) - self._at)
            return
        self._at = min(error.pos, len(self._text))
        if not self._text[self._at :].strip():
            self._at = len(self._text)
            self._fail_at_end()
        if error.msg.startswith("Unterminated string"):
            self._at = len(self._text)
            self._fail_at_end()
        line, character = self._find_place(self._at)
        raise ContractError(f"line {line}: not JSON from character {character} on")

    def _refuse_long(self, chars: int) -> None:
        if chars > MAX_RECORD_CHARS:
            self.fail(f"a value of over {MAX_RECORD_CHARS:,} characters")
