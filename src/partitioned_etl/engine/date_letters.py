"""Date letters: formats of days and times as Java, .NET, Excel and SQL spell them: `dd.MM.yyyy`.

Takes the text of a format; returns whether it is spelled so, and the form of `strptime` that is
probably meant, for a message. No file is read by such letters; what may stand in a format belongs
in `date_formats.py` and, for the name of a file, in `file_names.py`.
"""

import re

_DIRECTIVE = r"%-?."
_FIELDS = "[yYu]{4}|[yY]{2}|M{2,4}|m{2,3}|D{2,3}|d{2,4}|E{2,4}|H{2}|h{2}|S{2,}|s{2}"
_HAS_FIELDS = re.compile(rf"(?<![^\W\d_])(?:T?(?:{_FIELDS}))+Z?(?![^\W\d_])")
"""A whole word of nothing but such letters, each at least twice, which no other text is."""
_PIECE = re.compile(
    rf"(?P<directive>{_DIRECTIVE})"
    r"|'(?P<quoted>[^']*)'"
    r"|(?P<hour>H{1,2}(?:24)?(?!H)|h{1,2}(?:12|24)?(?!h))"
    r"|(?P<name>(?i:MONTH|MON))"
    r"|(?P<minute>MI|mi)"
    r"|(?P<half>(?i:AM/PM|AM|PM)|tt|[aA])"
    r"|(?P<offset>[XxZz]{1,5}|K)"
    r"|(?P<run>(?P<letter>[yYuMmDdSsfF])(?P=letter)*)"
    r"|(?P<text>.)",
    re.DOTALL,
)
_BY_RUN = {
    **dict.fromkeys(("y", "Y", "yyyy", "YYYY", "uuuu"), "Y"),
    **dict.fromkeys(("yy", "YY"), "y"),
    **dict.fromkeys(("d", "D"), "-d"),
    **dict.fromkeys(("dd", "DD"), "d"),
    **dict.fromkeys(("s", "S"), "-S"),
    **dict.fromkeys(("ss", "SS"), "S"),
}
_MONTHS, _MINUTES = ("-m", "m", "b", "B"), ("-M", "M")
"""By how many letters there are."""


def has_letters(text: str) -> bool:
    """Return whether a format is spelled in letters, such as `dd.mm.yyyy`, or a part of it is."""
    return bool(_HAS_FIELDS.search(re.sub(_DIRECTIVE, " ", text)))


def to_directives(text: str) -> str:
    """Return the form of `strptime` that is probably meant by a format in letters.

    The letter for months is that for minutes, in capitals or not, according to where it was made:
    the first of them behind an hour are minutes. What is no such letter is left as it is.
    """
    pieces = list(_PIECE.finditer(text))
    has_half = any(piece["half"] or piece["directive"] == "%p" for piece in pieces)
    found, seen = "", set[str]()
    for piece in pieces:
        name = piece["directive"][1:] if piece["directive"] else ""
        if piece["hour"]:
            letters = piece["hour"].rstrip("124")
            name = ("-" if len(letters) == 1 else "") + ("I" if has_half else "H")
        elif piece["name"]:
            name = "B" if len(piece["name"]) > len("MON") else "b"
        elif piece["minute"]:
            name = "M"
        elif piece["half"]:
            name = "p"
        elif piece["offset"]:
            name = "z"
        elif piece["run"]:
            name = _name_run(piece["run"], seen)
        found += f"%{name}" if name else piece["quoted"] or piece[0]
        seen.add(name[-1:].replace("I", "H"))
    return found


def _name_run(run: str, seen: set[str]) -> str:
    """Return the name of the directive for one letter, any number of times; empty for a text.

    Args:
        run: The letters.
        seen: The directives before them, by their letters.
    """
    if run[0] in "Mm":
        are_minutes = "H" in seen and "M" not in seen
        names = _MINUTES if are_minutes else _MONTHS
        return names[len(run) - 1] if len(run) <= len(names) else ""
    if run[0] in "fF" or (run[0] in "sS" and "S" in seen):
        return "f"
    return _BY_RUN.get(run, "")
