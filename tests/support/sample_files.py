"""Sample files: files as senders write them, in known dialects, with what is in them.

Each is made from a number: the same file for the same number.
"""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from random import Random
from typing import Any
from zipfile import ZipFile

from backports import zstd

WORDS = ("Berlin", "Köln", "Zürich", "Łódź", "a long text", "O'Neill", "x", "North", "Größe")
PLAIN_WORDS = ("Berlin", "Oslo", "a long text", "North", "red", "blue", "Smith", "green")


@dataclass(frozen=True)
class SampleFile:
    """A file, and what is in it.

    Attributes:
        name: Its name.
        content: Its bytes.
        columns: The values of each column, in the order of the file.
        texts: The same as they are spelled in the file; None where there is nothing.
        traits: What is special about it.
    """

    name: str
    content: bytes
    columns: Mapping[str, Sequence[Any]]
    texts: Mapping[str, Sequence[str | None]]
    traits: Mapping[str, str]


@dataclass
class _Sender:
    """How a sender writes: a choice of each trait, by chance."""

    chance: Random
    traits: dict[str, str] = field(default_factory=dict)

    def choose(self, trait: str, usual: str, *others: str, often: float = 0.5) -> str:
        is_usual = self.chance.random() < often
        value = usual if is_usual else self.chance.choice(others)
        if value != usual:
            self.traits[trait] = value
        return value


def _spell_number(number: Decimal, decimal: str, thousands: str) -> str:
    text = f"{number:,}" if thousands else f"{number}"
    return text.translate({ord(","): thousands or ",", ord("."): decimal})


def make_sample(seed: int) -> SampleFile:
    """Give the sample file of a number."""
    sender = _Sender(Random(seed))
    if sender.choose("kind", "csv", "json", "jsonl", often=0.92) != "csv":
        return _make_json(seed, sender)
    return _make_csv(seed, sender)


def _make_json(seed: int, sender: _Sender) -> SampleFile:
    chance, rows = sender.chance, sender.chance.randint(2, 20)
    columns: dict[str, list[Any]] = {
        "id": list(range(1, rows + 1)),
        "name": [chance.choice(WORDS) for _ in range(rows)],
        "amount": [
            Decimal(chance.randint(100, 99999)) / 100 + Decimal("0.005") for _ in range(rows)
        ],
        "day": [date(2024, 1, 1) + timedelta(chance.randint(0, 300)) for _ in range(rows)],
        "ok": [chance.random() < 0.5 for _ in range(rows)],
    }
    records = [
        {name: _to_json(values[row]) for name, values in columns.items()} for row in range(rows)
    ]
    if sender.traits["kind"] == "json":
        text, name = json.dumps(records, indent=1), f"s{seed}.json"
    else:
        text, name = "".join(f"{json.dumps(one)}\n" for one in records), f"s{seed}.jsonl"
    return SampleFile(name, text.encode(), columns, {}, sender.traits)


def _to_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, date) else value


DAY_FORMATS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d", "%d.%m.%y"),
    *("%d-%b-%Y", "%d %B %Y", "%-d.%-m.%Y", "%-m/%-d/%Y", "%Y.%m.%d", "%b %d, %Y"),
)
MOMENT_FORMATS = (
    *("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M %p"),
    *("%Y-%m-%d %H:%M:%S.%f", "%d/%m/%Y %H:%M", "epoch", "epoch_ms", "%Y-%m-%dT%H:%M:%SZ"),
)
TRUTHS = ("true/false", "True/False", "yes/no", "Y/N", "J/N", "ja/nein", "1/0", "oui/non", "T/F")
NULLS = ("NULL", "\\N", "NA", "n/a", "-", "None", "NaN", "#N/A")


def _make_columns(sender: _Sender, rows: int) -> tuple[dict[str, list[Any]], dict[str, list[str]]]:
    chance = sender.chance
    encoding = sender.traits.get("encoding", "utf-8")
    words = [word for word in WORDS if _fits(word, encoding)]
    decimal = sender.choose("decimal", ".", ",", often=0.55)
    marks = ("", ".", " ", "'") if decimal == "," else ("", ",", " ", "'")
    thousands = sender.choose("thousands", *marks, often=0.75)
    sign = sender.choose("sign", "", "€", "$", "EUR", "%", often=0.85)
    sign = sign if _fits(sign, encoding) else "EUR"
    day_format = sender.choose("days", "%Y-%m-%d", *DAY_FORMATS, often=0.35)
    moment_format = sender.choose("moments", "%Y-%m-%d %H:%M:%S", *MOMENT_FORMATS, often=0.45)
    true, false = sender.choose("truths", TRUTHS[0], *TRUTHS[1:], often=0.4).split("/")
    is_early = sender.choose("early days", "", "yes", often=0.97)

    def day() -> date:
        if is_early:
            return date(2024, chance.randint(1, 12), chance.randint(1, 12))
        return date(2024, 1, 1) + timedelta(chance.randint(0, 360))

    def moment() -> datetime:
        start = datetime.combine(day(), time(chance.randint(0, 23), chance.randint(0, 59)))
        if "%S" in moment_format or "epoch" in moment_format:
            start += timedelta(seconds=chance.randint(0, 59))
        if "%f" in moment_format:
            start += timedelta(milliseconds=chance.randint(1, 999))
        return start

    def spell_moment(value: datetime) -> str:
        if "epoch" in moment_format:
            seconds = int(value.replace(tzinfo=UTC).timestamp())
            return str(seconds * (1000 if moment_format == "epoch_ms" else 1))
        return value.strftime(moment_format)

    kinds: dict[str, tuple[Callable[[], Any], Callable[[Any], str]]] = {
        "city": (lambda: chance.choice(words), str),
        "amount": (
            lambda: Decimal(chance.randint(-99999, 999999)) / 100,
            lambda value: _spell_number(value, decimal, thousands) + (f" {sign}" if sign else ""),
        ),
        "weight": (
            lambda: Decimal(chance.randint(1, 99999)) / 10,
            lambda value: _spell_number(value, decimal, ""),
        ),
        "count": (
            lambda: Decimal(chance.randint(0, 5_000_000)),
            lambda value: _spell_number(value, decimal, thousands),
        ),
        "paid_on": (day, lambda value: value.strftime(day_format)),
        "created_at": (moment, spell_moment),
        "is_open": (lambda: chance.random() < 0.5, lambda value: true if value else false),
        "code": (lambda: f"{chance.randint(0, 99999):05}", str),
        "at": (
            lambda: time(chance.randint(0, 23), chance.randint(0, 59)),
            lambda value: value.strftime("%H:%M"),
        ),
        "comment": (lambda: chance.choice(("plain", "with, comma", "with; semicolon", "x y")), str),
    }
    chosen = sorted(chance.sample(sorted(kinds), chance.randint(2, 7)))
    columns: dict[str, list[Any]] = {"id": [*range(1, rows + 1)]}
    texts: dict[str, list[Any]] = {"id": [str(number) for number in columns["id"]]}
    for name in chosen:
        make, spell = kinds[name]
        columns[name] = [make() for _ in range(rows)]
        if name == "is_open" and rows > 1:
            columns[name][:2] = [True, False]
        if name == "code":
            columns[name][0] = "00042"
        texts[name] = [spell(value) for value in columns[name]]
    if columns.get("is_open") and true == "1":
        columns["is_open"] = [int(value) for value in columns["is_open"]]
    null = sender.choose("null", "", *NULLS, often=0.65)
    for name in chosen[:3]:
        for row in range(2, rows):
            if chance.random() < 0.2:
                columns[name][row], texts[name][row] = None, null
    return columns, texts


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


_BAD_NAMES = {
    "city": "Ort (Stadt)",
    "amount": "Betrag in EUR",
    "id": "Kunden-Nr.",
    "paid_on": "paid on",
    "code": "PLZ/Code",
}
_COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}


def _make_csv(seed: int, sender: _Sender) -> SampleFile:
    chance = sender.chance
    encodings = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "windows-1252", "latin-1")
    encoding = sender.choose("encoding", "utf-8", *encodings, often=0.55)
    rows = chance.randint(3, 40)
    columns, texts = _make_columns(sender, rows)
    delimiter = sender.choose("delimiter", ",", ";", "\t", "|", "^", often=0.35)
    quoting = sender.choose("quoting", "minimal", "all", "texts", "single", often=0.7)
    quote = "'" if quoting == "single" else '"'
    end = sender.choose("line end", "\n", "\r\n", often=0.6)
    padding = sender.choose("padding", "", " ", often=0.95) if quoting == "minimal" else ""
    trailing = delimiter if sender.choose("trailing", "", "rows", "all", often=0.92) else ""

    def write(cells: Sequence[str]) -> str:
        return delimiter.join(map(put_in_quotes, cells))

    def put_in_quotes(text: str) -> str:
        is_text = quoting == "texts" and text and not text[0].isdigit()
        if quoting == "all" or is_text or any(mark in text for mark in (delimiter, quote, "\n")):
            return f"{quote}{text.replace(quote, quote * 2)}{quote}"
        return f"{padding}{text}{padding}" if text else text

    bad_names = sender.choose("names", "plain", "odd", often=0.8) == "odd"
    names = [_BAD_NAMES.get(name, name) if bad_names else name for name in columns]
    header = write(names) + (delimiter if trailing and sender.traits["trailing"] == "all" else "")
    lines = [header]
    body = [write([texts[name][row] or "" for name in columns]) + trailing for row in range(rows)]
    has_header = sender.choose("header", "yes", "no", often=0.95) == "yes"
    before = sender.choose("before", "", "title", "sep", "blank", "comment", "pairs", often=0.65)
    marks: list[str] = {
        "": [],
        "title": ["Report of all sales", f"Created 2024-01-31{delimiter}12:30", ""],
        "sep": [f"sep={delimiter}"],
        "blank": ["", ""],
        "comment": ["# made by a system", "# of a partner"],
        "pairs": [f"Report{delimiter}sales", f"Month{delimiter}01/2024", ""],
    }[before if has_header else sender.traits.pop("before", "") and ""]
    if has_header and not trailing and sender.choose("units", "", "yes", often=0.95):
        lines.append(write(["(no)" if name == "id" else "(unit)" for name in columns]))
    if before == "comment" and has_header and chance.random() < 0.5:
        body.insert(rows // 2, "# a remark, in between")
    after = sender.choose("after", "", "total", "count", "words", "blank", "empty", often=0.7)
    ends = {
        "": [],
        "total": [write(["Total", *["" for _ in names[2:]], "99"])],
        "count": ["", f"{rows} rows"],
        "words": ["End of report"],
        "blank": ["", ""],
        "empty": [delimiter * (len(names) - 1 + bool(trailing))] * 2,
    }[after]
    if after == "total" and trailing:
        ends = [ends[0] + trailing]
    text = end.join([*marks, *(lines if has_header else []), *body, *ends, ""])
    if sender.choose("final line end", "yes", "no", often=0.93) == "no" and not after:
        text = text.removesuffix(end)
    content = text.encode(encoding)
    suffix = sender.choose("compression", "", *_COMPRESSIONS, ".zip", often=0.85)
    name = f"s{seed}{'.tsv' if delimiter == chr(9) and seed % 2 else '.csv'}"
    if suffix == ".zip":
        archive = BytesIO()
        with ZipFile(archive, "w") as file:
            file.writestr(name, content)
        content = archive.getvalue()
    elif suffix:
        content = _COMPRESSIONS[suffix](content)
    if not has_header:
        columns = {f"column{number}": columns[key] for number, key in enumerate(columns, 1)}
        texts = {f"column{number}": texts[key] for number, key in enumerate(texts, 1)}
    return SampleFile(name + suffix, content, columns, texts, sender.traits)
