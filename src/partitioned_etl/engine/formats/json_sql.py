"""JSON in SQL: records read by DuckDB as `json_records.py` reads them, or not at all.

Takes a relation of lines; returns a relation of the texts of their values. It fails on the first
line that it might read otherwise; the file is then read record by record. DuckDB's JSON functions
are strict but for these: they take a comma behind the last value, `nan` and `inf`, and a name that
is there twice; they forget how a number is spelled; and a text with a NUL character is one to them.

So a line is read in this form: around each number behind a name, quotes and a mark are put by a
regular expression. In a line without the mark, a text with the mark is then a number, as it is
spelled. Nothing else is changed: a quote that is put into a text ends it, and the mark behind it is
no JSON. A number that is not JSON is left half outside the quotes, and is none then either.
"""

from collections.abc import Sequence

from partitioned_etl.engine.formats.format import MAX_RECORD_CHARS
from partitioned_etl.engine.formats.json_columns import JsonColumn, JsonKind, JsonOptions, Step
from partitioned_etl.engine.formats.whole_lines import LINE_TEXT
from partitioned_etl.engine.sql import internal_identifier, quote_identifier, quote_text

LEFT_SQL = "error('a record is to be read by itself')"
"""What takes the place of the values of a record that is left to `json_records.py`."""
_MARKED = internal_identifier("text with marked numbers")
_NAMES = internal_identifier("names")
_TYPES = internal_identifier("types of the values")
_TEXTS = internal_identifier("texts of the values")
_IS_READ = internal_identifier("whether its values are read exactly")
_VALUES = internal_identifier("values as JSON")

_MARK = "\x7f"
_MARK_ESCAPES = (r"\u007f", r"\u007F")
_NUL_ESCAPE = r"\u0000"
_ESCAPE_START = r"\u00"
_USUAL_ENDS = ('"}', "e}", "l}", *(f"{digit}}}" for digit in range(10)))
_NUMBER = r"""([^\\]"[ \t]*:[ \t]*)(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"""
_AS_MARKED = rf'\1"{_MARK}\2"'
_OBJECT = r"^[ \t]*\{"
_LAST_COMMA = r",[ \t]*[}\]]"
_NO_NUMBERS = r""""[ \t]*:[ \t]*-?(?i:nan|inf)|[\[,][ \t]*-?(?i:nan|inf|infinity)[ \t]*[,\]]"""
"""What DuckDB takes for a number, and JSON does not, somewhere within a record."""
_RESPELLED = r"""":-?[0-9]|[\[,]-?(?:[0-9]+[.eE]|[0-9]{19})"""
"""A number in DuckDB's JSON that is not marked, and may not be as it was spelled."""
_MINUS_ZERO = r"[\[,][ \t]*-0[ \t]*[,\]]"
"""One that DuckDB makes 0."""
_CONSTANTS = ("NaN", "Infinity", "-Infinity")
"""What JSON does not have, and is taken for a number nevertheless."""
_SMALL = "[eE]-[0-9]{3}|0{300}"
"""How a number is spelled that is too small for a DOUBLE, and not 0."""
_MOST_BRACKETS = 500
"""With more, values may be nested more deeply than can be read record by record."""


def select_texts(columns: Sequence[JsonColumn], options: JsonOptions, lines: str) -> str:
    """Return a relation of the texts of records' values, one column for each of the feed's.

    Args:
        columns: The feed's columns.
        options: How the format is declared.
        lines: A relation with the column `LINE_TEXT`; its other columns are passed on.
    """
    prefixes = _list_prefixes(columns)
    paths = [column.path for column in columns] + prefixes
    is_marked = _is_marked(columns)
    names = [quote_identifier(column.name) for column in columns]
    texts = [
        f"CASE WHEN {_IS_READ} THEN {_text_of(column, number, is_marked=is_marked)} "
        f"ELSE {LEFT_SQL} END AS {name}"
        for number, (column, name) in enumerate(zip(columns, names, strict=True), 1)
    ]
    conditions = [
        *_check_line(columns, options),
        _check_names(columns, options),
        *_check_prefixes(columns, prefixes),
        *(
            _check_value(column, options, number, prefixes, columns)
            for number, column in enumerate(columns, 1)
        ),
    ]
    own = (LINE_TEXT, _MARKED, _NAMES, _TYPES, _TEXTS, _VALUES, _IS_READ)
    has_any = any(column.kind is JsonKind.ANY for column in columns)
    pointers = _pointers([column.path for column in columns])
    marked = f"regexp_replace({LINE_TEXT}, {quote_text(_NUMBER)}, {quote_text(_AS_MARKED)}, 'g')"
    marked = f"(SELECT *, {marked if is_marked else LINE_TEXT} AS {_MARKED} FROM {lines})"
    # The message of the error for what is no JSON may end in the middle of a character.
    named = f"(SELECT *, TRY(json_keys({_MARKED})) AS {_NAMES} FROM {marked})"
    taken_apart = (
        f"(SELECT *, {_if_json(f'json_type({_MARKED}, {_pointers(paths)})')} AS {_TYPES}, "
        f"{_if_json(f'json_extract_string({_MARKED}, {pointers})')} AS {_TEXTS}, "
        f"{_if_json(f'json_extract({_MARKED}, {pointers})') if has_any else 'NULL'} AS {_VALUES} "
        f"FROM {named})"
    )
    # A condition for rows would be evaluated before, and so most expressions twice.
    checked = f"(SELECT *, {' AND '.join(conditions)} AS {_IS_READ} FROM {taken_apart})"
    return f"(SELECT * EXCLUDE ({', '.join(own)}), {', '.join(texts)} FROM {checked})"


def _if_json(expression: str) -> str:
    return f"CASE WHEN {_NAMES} IS NOT NULL THEN {expression} END"


def _is_marked(columns: Sequence[JsonColumn]) -> bool:
    """Return whether numbers are marked, because of one whose spelling is needed."""
    return any(column.is_spelling_needed for column in columns)


def _list_prefixes(columns: Sequence[JsonColumn]) -> list[tuple[Step, ...]]:
    """Return the paths to what the columns' values stand in, each once, without the record."""
    found = (column.path[:depth] for column in columns for depth in range(1, len(column.path)))
    return list(dict.fromkeys(found))


def _pointers(paths: Sequence[tuple[Step, ...]]) -> str:
    """Return paths as a list of JSON pointers; what they lead through is checked."""
    return "[" + ", ".join(quote_text(_pointer(path)) for path in paths) + "]"


def _pointer(path: tuple[Step, ...]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(map(quote_text, texts)) + "]"


def _check_line(columns: Sequence[JsonColumn], options: JsonOptions) -> list[str]:
    escapes = [_NUL_ESCAPE]
    conditions = [
        f"strlen({LINE_TEXT}) < {MAX_RECORD_CHARS - 2}",
        f"(starts_with({LINE_TEXT}, '{{') OR regexp_matches({LINE_TEXT}, {quote_text(_OBJECT)}))",
    ]
    if _is_marked(columns):
        escapes += _MARK_ESCAPES
        conditions.append(f"NOT contains({LINE_TEXT}, {quote_text(_MARK)})")
    has_escape = " OR ".join(f"contains({LINE_TEXT}, {quote_text(each)})" for each in escapes)
    # Most lines have none of them, and one search tells.
    has_any = f"contains({LINE_TEXT}, {quote_text(_ESCAPE_START)})"
    conditions.append(f"NOT ({has_any} AND ({has_escape}))")
    has_last_comma = f"regexp_matches({LINE_TEXT}, {quote_text(_LAST_COMMA)})"
    may_be_nested = options.extra_columns == "ignore" or any(
        len(column.path) > 1 or column.kind is JsonKind.ANY for column in columns
    )
    if may_be_nested:
        flat = f"replace(replace({LINE_TEXT}, '[', ''), '{{', '')"
        conditions += [
            f"(strlen({LINE_TEXT}) < {_MOST_BRACKETS} "
            f"OR strlen({LINE_TEXT}) - strlen({flat}) < {_MOST_BRACKETS})",
            f"NOT regexp_matches({LINE_TEXT}, {quote_text(_NO_NUMBERS)})",
            f"NOT {has_last_comma}",
        ]
    else:
        # In a record without nested values, a last comma can only be behind the last of them.
        ends = " OR ".join(f"suffix({LINE_TEXT}, {quote_text(end)})" for end in _USUAL_ENDS)
        conditions.append(f"(({ends}) OR NOT {has_last_comma})")
    return conditions


def _check_names(columns: Sequence[JsonColumn], options: JsonOptions) -> str:
    starts = list(dict.fromkeys(column.start for column in columns))
    needed = list(dict.fromkeys(column.start for column in columns if not column.may_be_absent))
    conditions = [f"len(list_distinct({_NAMES})) = len({_NAMES})"]
    if options.extra_columns == "refuse":
        conditions.append(f"list_has_all({_list(starts)}, {_NAMES})")
    if needed:
        conditions.append(f"list_has_all({_NAMES}, {_list(needed)})")
    return f"CASE WHEN {_NAMES} = {_list(starts)} THEN true ELSE {' AND '.join(conditions)} END"


def _check_prefixes(
    columns: Sequence[JsonColumn], prefixes: Sequence[tuple[Step, ...]]
) -> list[str]:
    conditions = []
    for number, prefix in enumerate(prefixes, len(columns) + 1):
        steps = {
            type(column.path[len(prefix)])
            for column in columns
            if len(column.path) > len(prefix) and column.path[: len(prefix)] == prefix
        }
        found = f"{_TYPES}[{number}]"
        wanted = ["'OBJECT'" if step is str else "'ARRAY'" for step in steps]
        is_one = f"{found} = {wanted[0]}" if len(wanted) == 1 else "false"
        conditions.append(f"({found} IS NULL OR {found} = 'NULL' OR {is_one})")
        if str in steps:
            names = _if_json(f"json_keys({_MARKED}, {quote_text(_pointer(prefix))})")
            conditions.append(f"coalesce(len(list_distinct({names})) = len({names}), true)")
    return conditions


def _check_value(
    column: JsonColumn,
    options: JsonOptions,
    number: int,
    prefixes: Sequence[tuple[Step, ...]],
    columns: Sequence[JsonColumn],
) -> str:
    """Return the condition for a value that the column takes, or for its absence if it may be."""
    found, text, is_marked = f"{_TYPES}[{number}]", f"{_TEXTS}[{number}]", _is_marked(columns)
    is_null = [f"{found} = 'NULL'"]
    if column.may_be_absent:
        is_null.append(f"{found} IS NULL")
    for place, prefix in enumerate(prefixes, len(columns) + 1):
        if len(prefix) < len(column.path) and column.path[: len(prefix)] == prefix:
            is_null.append(f"({found} IS NULL AND {_TYPES}[{place}] = 'NULL')")
    is_number = f"starts_with({text}, {quote_text(_MARK)})"
    is_constant = f"({found} = 'DOUBLE' AND {text} IN ({', '.join(map(quote_text, _CONSTANTS))}))"
    is_full = "true" if column.form.may_be_empty else f"{text} <> ''"
    is_either = f"({found} = 'VARCHAR' AND {is_full})"
    match column.kind:
        case JsonKind.ANY:
            fits = (
                f"(NOT regexp_matches({_VALUES}[{number}], {quote_text(_RESPELLED)}) "
                f"AND NOT regexp_matches({LINE_TEXT}, {quote_text(_MINUS_ZERO)}) "
                f"AND {found} IN ('VARCHAR', 'BOOLEAN', 'OBJECT', 'ARRAY'))"
            )
        case JsonKind.TRUTH:
            fits = f"{found} = 'BOOLEAN'"
        case JsonKind.NUMBER if not is_marked:
            fits = _fits_without_mark(column, found, text)
            if options.numbers_as_texts:
                fits = f"({is_either} OR {fits})"
        case JsonKind.NUMBER if options.numbers_as_texts:
            fits = f"({is_either} OR {is_constant})"
        case JsonKind.NUMBER:
            fits = f"(({found} = 'VARCHAR' AND {is_number}) OR {is_constant})"
        case _ if options.numbers_as_texts:
            fits = is_either
        case _ if is_marked:
            fits = f"({is_either} AND NOT {is_number})"
        case _:
            fits = is_either
    return f"coalesce({' OR '.join(is_null)} OR {fits}, false)"


def _fits_without_mark(column: JsonColumn, found: str, text: str) -> str:
    """Return the condition for a number that DuckDB spells such that its value is the same.

    Minus zero is to it the one signed integer 0. A number that is too small for a DOUBLE is 0.
    """
    is_same = f"({found} = 'UBIGINT' OR ({found} = 'BIGINT' AND {text} <> '0'))"
    if column.is_integer:
        return is_same
    is_small = f"regexp_matches({LINE_TEXT}, {quote_text(_SMALL)})"
    constants = ", ".join(map(quote_text, _CONSTANTS))
    is_exact = (
        f"CASE WHEN {text} IN ('0.0', '-0.0') THEN NOT {is_small} "
        f"ELSE {text}[-1] <= '9' OR {text} IN ({constants}) END"
    )
    return f"({is_same} OR ({found} = 'DOUBLE' AND {is_exact}))"


def _text_of(column: JsonColumn, number: int, *, is_marked: bool) -> str:
    """Return a value's text without the mark of a number."""
    if column.kind is JsonKind.TRUTH:
        return f"{_TEXTS}[{number}]"
    if column.kind is JsonKind.ANY:
        marked = quote_text(rf'"{_MARK}([^"]*)"')
        unmarked = rf"regexp_replace({_VALUES}[{number}], {marked}, '\1', 'g')"
        return f"CASE WHEN {_TYPES}[{number}] <> 'NULL' THEN {unmarked} END"
    if not is_marked:
        return f"{_TEXTS}[{number}]"
    return f"ltrim({_TEXTS}[{number}], {quote_text(_MARK)})"
