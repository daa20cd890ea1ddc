"""Dialect values: random value options for a column, values, and how a sender spells them.

Takes a source of chance; returns options as a feed declares them, and texts with the values that
they stand for, or texts that are nearly so spelled.
"""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from support.strict_values import FORMAT_OPTIONS, INTEGERS, as_list, to_microseconds

TYPES = [
    *("BIGINT", "INTEGER", "UINTEGER", "HUGEINT", "TINYINT", "DOUBLE", "DOUBLE", "DECIMAL(12, 2)"),
    *("DECIMAL(12, 2)", "DECIMAL(30,8)", "DATE", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ"),
    *("BOOLEAN", "VARCHAR", "VARCHAR", "VARCHAR"),
]
DATE_FORMATS = [
    *("%d.%m.%Y", "%-d.%-m.%Y", "%d/%m/%y", "%m/%d/%Y", "%Y%m%d", "%d %b %Y", "%B %-d, %Y"),
    *("%Y-%m-%d %H:%M:%S", "excel", "%d%m%y", "%y_%m_%d"),
]
TIME_FORMATS = ["%H:%M", "%I:%M %p", "%H%M%S", "%-H:%-M:%-S", "%H.%M.%S,%f", "%-I%p"]
TIMESTAMP_FORMATS = [
    *("%d.%m.%Y %H:%M:%S", "%-m/%-d/%Y %-I:%M %p", "%Y%m%dT%H%M%S", "%d.%m.%Y %H:%M:%S.%f"),
    *("%Y-%m-%d", "epoch", "epoch_ms", "excel", "%d %B %y, %H:%M"),
]
ZONED_FORMATS = ["%d.%m.%Y %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "epoch", "epoch_ms"]
PAIRS = [["%d.%m.%Y", "%-d.%-m.%y"], ["%d.%m.%Y", "%Y-%m-%d"], ["%Y%m%d", "%d.%m.%Y"]]
TEXTS = [
    *("x", "Müller", "€", "ß", "日本", "😀", "a b", '"', "'", ",", ";", "\t", "|", "\n", "\r\n"),
    *("\r", "#", "--", "-", "NULL", "é", "\\", " ", "1", "0", ".", "\u00a0", "^", "{", ":", "~"),
    *("\u0085", "\u2028", "Total", "end", "//", "я", "½", "\u0301", "\x0b", "\x1f", "\ufeff"),
]


def pick_options(rng: random.Random, type_name: str) -> dict[str, Any]:
    """Return value options that concern a type."""
    found: dict[str, Any] = {}
    if rng.random() < 0.15:
        texts = ["NULL", "-", "n/a", "\\N", "0", "?", " ", "N.V."]
        found["nulls"] = rng.sample(texts, rng.randint(1, 3))
    if rng.random() < 0.15:
        found["trim"] = True
    if type_name in INTEGERS or type_name.startswith(("DO", "DE")):
        if rng.random() < 0.5:
            found["decimal"] = ","
        if rng.random() < 0.35:
            found["thousands"] = rng.choice([".", "'", " ", "\u00a0", ",", "_"])
        if rng.random() < 0.3:
            found["strip"] = rng.sample(["€", "EUR", "%", "E", "kg", "$"], rng.randint(1, 3))
        if rng.random() < 0.2:
            found["trailing_minus"] = True
    elif type_name == "BOOLEAN" and rng.random() < 0.5:
        found["true_texts"], found["false_texts"] = rng.choice(
            [(["ja"], ["nein"]), (["Y", "J"], ["N", "n"]), (["X"], ["-"]), (["1"], ["0", "2"])]
        )
    elif rng.random() < 0.6 and type_name in FORMAT_OPTIONS:
        choices = {
            "DATE": DATE_FORMATS,
            "TIME": TIME_FORMATS,
            "TIMESTAMP": TIMESTAMP_FORMATS,
            "TIMESTAMPTZ": ZONED_FORMATS,
        }[type_name]
        is_pair = type_name == "DATE" and rng.random() < 0.2
        found[FORMAT_OPTIONS[type_name]] = rng.choice(PAIRS) if is_pair else rng.choice(choices)
    return found


def make_value(rng: random.Random, type_name: str, options: dict[str, Any], alphabet: str) -> Any:
    """Return a value that the options can spell; never NULL."""
    if limits := INTEGERS.get(type_name):
        return rng.choice([rng.randrange(*limits), rng.randint(0, 99), limits[0], limits[1] - 1])
    if type_name == "DOUBLE":
        return rng.choice([rng.random(), rng.uniform(-1e6, 1e6), float(rng.randint(-999, 9999))])
    if type_name.startswith("DECIMAL"):
        scale = int(type_name.rstrip(")").split(",")[1])
        return Decimal(rng.randint(-(10**10), 10 ** rng.randint(1, 12) - 1)).scaleb(-scale)
    if type_name == "BOOLEAN":
        return rng.random() < 0.5
    if type_name == "VARCHAR":
        return "".join(rng.choices(alphabet.split("\0"), k=rng.choice([0, 1, 1, 2, 3, 5])))
    days = rng.choice([rng.randint(0, 20_000), rng.randint(-25_000, 30_000)])
    formats = as_list(options.get(FORMAT_OPTIONS[type_name], ()))
    text = "".join(formats)
    if "excel" in text or "%y" in text:
        days = rng.randint(0, 20_000)
    moment = datetime(1970, 1, 1) + timedelta(days, seconds=rng.randrange(86_400))  # noqa: DTZ001
    if not formats or "%f" in text:
        moment += timedelta(microseconds=rng.choice([0, rng.randrange(10**6)]))
    for unit, zeros in (("%S", {"second": 0}), ("%M", {"minute": 0}), ("%H", {"hour": 0})):
        is_spelled = unit in text or unit.replace("%", "%-") in text
        is_spelled |= unit == "%H" and ("%I" in text or "%-I" in text)
        if "%" in text and not is_spelled:
            moment = moment.replace(**zeros)  # type: ignore[arg-type]
    if type_name == "DATE":
        return moment.date()
    if type_name == "TIME":
        return moment.time()
    return to_microseconds(moment.replace(tzinfo=UTC)) if type_name == "TIMESTAMPTZ" else moment


def spell(rng: random.Random, value: Any, type_name: str, options: dict[str, Any]) -> str:
    """Return a text for a value, as the options have it."""
    if type_name == "VARCHAR":
        return value
    if isinstance(value, bool):
        own = "true_texts" if value else "false_texts"
        texts = options.get(own) or (["true", "True", "1"] if value else ["false", "FALSE", "0"])
        return rng.choice([one for one in texts if one] or texts)
    if option := FORMAT_OPTIONS.get(type_name):
        return _spell_moment(rng, value, type_name, as_list(options.get(option, ())))
    return _spell_number(rng, value, options)


def _spell_number(rng: random.Random, value: Any, options: dict[str, Any]) -> str:
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, fraction = text.partition(".")
    mark = options.get("thousands")
    if mark and whole.isdecimal() and rng.random() < 0.8:
        whole = f"{int(whole):,}".replace(",", mark)
    text = whole + (options.get("decimal", ".") if point else "") + fraction
    if sign and options.get("trailing_minus") and rng.random() < 0.7:
        text, sign = f"{text}-", ""
    if (signs := options.get("strip")) and rng.random() < 0.6:
        one, space = rng.choice(signs), rng.choice(["", " ", "\u00a0"])
        if rng.random() < 0.5:
            return (
                f"{sign}{one}{space}{text}" if rng.random() < 0.5 else f"{one}{space}{sign}{text}"
            )
        return f"{sign}{text}{space}{one}"
    return sign + text


def _spell_moment(rng: random.Random, value: Any, type_name: str, formats: Sequence[str]) -> str:
    form = rng.choice(formats) if formats else ""
    offset = 0
    if type_name == "TIMESTAMPTZ":
        if form.startswith("epoch"):
            return _spell_count(value, 6 if form == "epoch" else 3)
        offset = rng.choice([0, 60, -210, 330, 840])
        value = datetime(1970, 1, 1) + timedelta(microseconds=value, minutes=offset)  # noqa: DTZ001
    if form.startswith("epoch"):
        return _spell_count(to_microseconds(value.replace(tzinfo=UTC)), 6 if form == "epoch" else 3)
    if form == "excel":
        day = value.date() if isinstance(value, datetime) else value
        serial = (day - date(1899, 12, 30)).days
        if isinstance(value, datetime):
            seconds = (value - datetime.combine(day, time.min)).seconds
            part = f"{Decimal(seconds) / 86_400:.12f}".removeprefix("0")
            return f"{serial}{part}"
        return f"{serial}{rng.choice(['', '.0'])}"
    zone = "Z" if offset == 0 and rng.random() < 0.5 else _spell_offset(rng, offset)
    if not form:
        text = value.isoformat()
        if isinstance(value, datetime):
            text = text.replace("T", rng.choice("T "))
        return text + (zone if type_name == "TIMESTAMPTZ" else "")
    return _strftime(value, form).replace("%z", zone)


def _strftime(value: Any, form: str) -> str:
    moment = value
    if isinstance(value, time):
        moment = datetime.combine(date(2000, 1, 1), value)
    elif not isinstance(value, datetime):
        moment = datetime.combine(value, time.min)
    text = form.replace("%z", "%%z").replace("%Y", f"{moment.year:04}")
    return moment.strftime(text)


def _spell_count(micros: int, digits: int) -> str:
    return f"{Decimal(micros).scaleb(-digits).normalize():f}"


def _spell_offset(rng: random.Random, minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    if not rest and rng.random() < 0.3:
        return f"{sign}{hours:02}"
    return f"{sign}{hours:02}{rng.choice(['', ':'])}{rest:02}"


NEAR_MISSES = [
    *("", " ", "-", "+", "0", "1", "x", "NaN", "inf", "1e400", "1e-400", "1_000", "0x10", "--1"),
    *("+-1", "1.5.2", "1,5", "1.5", ".5", "5.", "1.234", "1,234", "1.234,5", "1,234.5", "12.34,5"),
    *(
        "1 000",
        "1\u00a0000",
        "1'000",
        "1.2345.678",
        "9" * 40,
        "-0",
        "1e3",
        "1E-3",
        "\u0661",
        "\uff11",
    ),
    *("2024-02-30", "2024-13-01", "30.02.2024", "01.13.2024", "1.1.2024", "2024-1-1", "0000-01-01"),
    *("2024-01-01 24:00:00", "24:00", "24:00:00", "23:59:60", "12:60", "00:00 AM", "13:00 PM"),
    *("2024-01-01T00:00:00+16:00", "2024-01-01 00:00:00", "29.02.2023", "31.12.99", "60", "0.5"),
    *("infinity", "epoch", "today", "null", "Null", "NULL", "n/a", "N/A", "true", "TRUE", "ja"),
    *("Ja", "yes", "Yes", "on", "2", "99999999999999", "1704067200.5", "1704067200000", "45292"),
    *("€", "€5", "5 €", "5€€", "€5€", "5 %", "-€5", "€-5", "5-", "-5-", "5 -", "5- €", "EUR 5"),
]


def nearly_spell(rng: random.Random, text: str) -> str:
    """Return a text that is nearly, or by chance really, one for a column."""
    place = rng.randint(0, len(text))
    mark = rng.choice([*",.-+ eE€%0159:/'_\u00a0", "00", "-", " ", "ä"])
    return rng.choice(
        [
            rng.choice(NEAR_MISSES),
            text[:place] + mark + text[place:],
            text[:place] + text[place + 1 :],
            text[:place] + mark + text[place + 1 :],
            text.translate(str.maketrans(".,", ",.")),
            f" {text}",
            f"{text} ",
            text.swapcase(),
            text + text,
            text.zfill(len(text) + 2),
        ]
    )
