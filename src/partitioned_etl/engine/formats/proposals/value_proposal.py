"""Value proposals: types and value options of columns, by all their texts.

Takes the texts of each column, in pieces; returns what they may be, and then, with all columns of
a feed at hand, what they are taken for, and what of it cannot be decided.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from partitioned_etl.engine.formats.proposals.date_proposal import DateTexts
from partitioned_etl.engine.formats.proposals.guess import Evidence, Guess
from partitioned_etl.engine.formats.proposals.number_proposal import NumberTexts
from partitioned_etl.engine.formats.values import concerns

_NULLS = frozenset(
    {
        *("NULL", "null", "Null", "(null)", "<null>", "[NULL]", "NONE", "None", "none", "nil"),
        *("\\N", "NA", "<NA>", "N/A", "n/a", "#N/A", "NaN", "nan", "-", "--", "—", "?"),
        *("n.a.", "N.A.", "k.A.", "0000-00-00", "0000-00-00 00:00:00", "00.00.0000"),
    }
)
"""Texts by which senders mean that there is no value."""
_CERTAIN_NULLS = frozenset(
    {
        *("NULL", "\\N", "(null)", "<null>", "[NULL]", "<NA>", "NaN", "None"),
        *("#N/A", "N/A", "n/a", "n.a.", "N.A."),
    }
)
"""Those that hardly mean anything else, even among texts."""
_TRUTHS = (
    *(("yes", "no"), ("y", "n"), ("t", "f"), ("ja", "nein"), ("j", "n"), ("oui", "non")),
    *(("o", "n"), ("si", "no"), ("sí", "no"), ("s", "n"), ("sim", "não"), ("tak", "nie")),
    *(("wahr", "falsch"), ("vrai", "faux"), ("on", "off"), ("true", "false")),
)
_BOOLEANS = re.compile("true|false", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WHITE_SPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_MOST_WORDS = 4
_EPOCHS = {"epoch": range(946_684_800, 2_208_988_800)}
_EPOCHS["epoch_ms"] = range(_EPOCHS["epoch"].start * 1000, _EPOCHS["epoch"].stop * 1000)
"""Seconds and milliseconds of the years 2000 to 2039."""
COMPACT_DAY = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
"""A day in eight digits."""
_NAMES_OF_DAYS = re.compile(r"dat(e|um|a)|day|tag|(^|_)dt|_on$", re.IGNORECASE)
_NAMES_OF_TIMES = re.compile(
    r"time|stamp|epoch|zeit|(^|_)ts($|_)|_at$|^at$|created|updated|modified|when", re.IGNORECASE
)


@dataclass
class ColumnTexts:
    """What the texts of a column may be.

    Attributes:
        name: The column's name, which tells of times that are spelled as numbers.
        nulls: The texts that may mean NULL.
        count: How many different others there were.
        padded: How many of them have white space around them.
    """

    name: str
    nulls: set[str] = field(default_factory=set)
    count: int = 0
    padded: int = 0
    _lengths: set[int] = field(default_factory=set)
    _words: set[str] = field(default_factory=set)
    _numbers: NumberTexts = field(default_factory=NumberTexts)
    _dates: DateTexts = field(default_factory=DateTexts)
    _are_uuids: bool = True
    _are_compact_days: bool = True

    @property
    def is_open(self) -> bool:
        """Whether the texts may still be something else than texts."""
        are_words = len(self._words) <= _MOST_WORDS
        return self._numbers.is_possible or self._dates.is_possible or self._are_uuids or are_words

    def see(self, texts: Iterable[str]) -> None:
        """Take more texts into account, each of which is seen once."""
        bare = list[str]()
        for text in texts:
            stripped = text.strip(_WHITE_SPACE)
            if stripped in _NULLS:
                self.nulls.add(stripped)
            elif stripped:
                self.padded += stripped != text
                self.count += 1
                if len(self._lengths) < 2:
                    self._lengths.add(len(text))
                bare.append(stripped)
        if not bare:
            return
        if len(self._words) <= _MOST_WORDS:
            self._words.update(bare)
        if self._numbers.is_possible:
            self._numbers.see(bare)
        if self._dates.is_possible:
            self._dates.see(bare)
        self._are_uuids = self._are_uuids and all(map(_UUID.fullmatch, bare))
        self._are_compact_days &= all(map(COMPACT_DAY.fullmatch, bare))

    def guesses(self) -> list[Guess]:
        """Return what the texts may be, if not texts; several if that is open."""
        if not self.count:
            return []
        if all(map(_BOOLEANS.fullmatch, self._words)):
            return [Guess("BOOLEAN")]
        if truths := self._find_truths():
            return [truths]
        if self._are_uuids:
            return [Guess("UUID")]
        if self._dates.is_possible and (found := self._dates.guesses()):
            return found
        if self._numbers.is_possible and (found := self._numbers.guesses()):
            return self._as_times(found)
        return []

    @property
    def is_padded_throughout(self) -> bool:
        """Whether white space is around all texts, or fills them up to one length."""
        is_filled = len(self._lengths) == 1 and self.count > 1
        return bool(self.padded) and (self.padded == self.count or is_filled)

    def _find_truths(self) -> Guess | None:
        words = {text.casefold(): text for text in self._words}
        if len(self._words) != 2:
            return None
        for true, false in _TRUTHS:
            if words.keys() == {true, false}:
                options = {"true_texts": [words[true]], "false_texts": [words[false]]}
                doubt = f"{words[true]} taken for true, {words[false]} for false"
                return Guess("BOOLEAN", options, doubt=doubt)
        return None

    def _as_times(self, found: list[Guess]) -> list[Guess]:
        if found[0].type != "BIGINT" or found[0].options:
            return found
        if self._are_compact_days and (self.count > 2 or _NAMES_OF_DAYS.search(self.name)):
            return [Guess("DATE", {"date_format": "%Y%m%d"}, doubt="days, or numbers?")]
        for option, moments in _EPOCHS.items():
            if self._numbers.lowest not in moments or self._numbers.highest not in moments:
                continue
            unit = "milliseconds" if option == "epoch_ms" else "seconds"
            if _NAMES_OF_TIMES.search(self.name):
                doubt = f"{unit} since 1970, or numbers?"
                return [Guess("TIMESTAMP", {"timestamp_format": option}, doubt=doubt)]
            doubt = f"if it is {unit} since 1970: TIMESTAMP with timestamp_format {option}"
            return [replace(found[0], doubt=doubt)]
        return found


def guess_type(texts: Iterable[str]) -> str:
    """Return the likeliest type of texts; empty if they are nothing but texts."""
    column = ColumnTexts("")
    column.see(dict.fromkeys(texts))
    return next((guess.type for guess in column.guesses()), "")


@dataclass
class ValueProposal:
    """Types and value options of the columns of a feed.

    Attributes:
        types: Maps column name to DuckDB type.
        options: The value options of each column that has some.
        shared: Those that are of all columns.
        doubts: What was guessed, by column name.
    """

    types: dict[str, str] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)

    def add_doubt(self, name: str, doubt: str) -> None:
        """Say one more thing of a column that needs checking."""
        if doubt:
            self.doubts[name] = "; ".join(filter(None, (self.doubts.get(name, ""), doubt)))


def propose_values(columns: Sequence[ColumnTexts], delimiter: str) -> ValueProposal:
    """Take the columns of a feed for what is likely, all of them alike where a choice is open.

    Args:
        columns: What was seen of each.
        delimiter: What stands between fields; where it is a semicolon, commas are decimal ones.
    """
    proposal = ValueProposal()
    guesses = {column.name: column.guesses() for column in columns}
    told = {found[0].evidence for found in guesses.values() if len(found) == 1}
    typed_nulls = set[str]()
    for column in columns:
        found = guesses[column.name]
        if not found:
            proposal.types[column.name] = "VARCHAR"
            continue
        guess, doubt = _choose(found, told, delimiter)
        proposal.types[column.name] = guess.type
        options = dict(guess.options)
        if column.nulls:
            options["nulls"] = sorted(column.nulls)
            typed_nulls |= column.nulls
        if column.padded:
            options["trim"] = True
        proposal.options[column.name] = options
        for each in (guess.doubt, doubt):
            proposal.add_doubt(column.name, each)
    trims = any(options.get("trim") for options in proposal.options.values())
    for column in columns:
        if proposal.types[column.name] == "VARCHAR":
            _propose_text(column, proposal, typed_nulls, trims=trims)
    _share(proposal)
    return proposal


def _choose(
    found: Sequence[Guess], told: Collection[Evidence], delimiter: str
) -> tuple[Guess, str]:
    """Return the likelier guess, and what is open about it."""
    if len(found) == 1:
        return found[0], ""
    by_evidence = {guess.evidence: guess for guess in found}
    for one, other in (
        (Evidence.DAY_FIRST, Evidence.MONTH_FIRST),
        (Evidence.COMMA, Evidence.POINT),
    ):
        if {one, other} != by_evidence.keys():
            continue
        is_of_days = one is Evidence.DAY_FIRST
        question = "whether day or month is first" if is_of_days else "what . or , means in it"
        doubt = f"no value decides {question}"
        if (one in told) != (other in told):
            return by_evidence[one if one in told else other], f"{doubt}; other columns do"
        is_continental = delimiter == ";" or Evidence.COMMA in told
        if is_of_days:
            is_continental |= found[0].separator in (".", "-")
        return by_evidence[one if is_continental else other], doubt
    return found[0], "no value decides its format: or " + " or ".join(
        str(next(iter(guess.options.values()), guess.type)) for guess in found[1:]
    )


def _propose_text(
    column: ColumnTexts, proposal: ValueProposal, typed_nulls: set[str], *, trims: bool
) -> None:
    options = proposal.options.setdefault(column.name, {})
    known = column.nulls & (typed_nulls | _CERTAIN_NULLS)
    if not column.count:
        proposal.add_doubt(column.name, "empty in the sample")
    if known:
        options["nulls"] = sorted(known)
        proposal.add_doubt(column.name, f"taken for NULL: {' '.join(sorted(known))}")
    if open_nulls := column.nulls - known:
        texts = " ".join(sorted(open_nulls))
        proposal.add_doubt(column.name, f"a text, or NULL? {texts}")
    if column.padded and (trims or column.is_padded_throughout):
        options["trim"] = True
    elif column.padded:
        proposal.add_doubt(column.name, "some have white space around them; trim takes it off")


def _share(proposal: ValueProposal) -> None:
    """Let what several columns declare alike be declared once, if it changes no other column."""
    names = dict.fromkeys(name for options in proposal.options.values() for name in options)
    for option in names:
        given = [options[option] for options in proposal.options.values() if option in options]
        value: Any = given[0]
        if option in ("nulls", "strip"):
            value = sorted({text for texts in given for text in texts})
        elif any(one != value for one in given):
            continue
        others = [
            name
            for name, type_name in proposal.types.items()
            if concerns(option, type_name) and option not in proposal.options.get(name, {})
        ]
        if len(given) < 2 or any(
            _would_change(option, proposal.types[name], proposal.doubts.get(name, ""))
            for name in others
        ):
            continue
        proposal.shared[option] = value
        for options in proposal.options.values():
            options.pop(option, None)
    proposal.options = {name: options for name, options in proposal.options.items() if options}


def _would_change(option: str, type_name: str, doubt: str) -> bool:
    """Return whether an option would give values of a column another meaning."""
    if option == "decimal":
        return type_name not in ("BIGINT", "HUGEINT")
    if option == "thousands":
        return type_name in ("DOUBLE",)
    if option == "trim":
        return "white space" in doubt
    return option not in ("nulls", "strip", "trailing_minus")
