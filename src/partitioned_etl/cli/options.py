"""Options: what several commands take, and the settings that two of them take the place of.

Each is a decorator of a command. An option that overrides a setting is that setting for the time of
the call, in this process and in those that it starts; so it is validated where the setting is.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from warnings import catch_warnings, simplefilter

import click
from click.shell_completion import CompletionItem

Command = Callable[..., int]

_OVERRIDDEN = "partitioned_etl.overridden"
_LANDING_DIR, _DATABASE = "--landing-dir", "--database"
_IS_ADDRESS = re.compile(r"[A-Za-z][A-Za-z+]+:")
"""What begins so is an address, and of a known kind or refused; `./` before it makes it a path."""
_DUCKDB = "duckdb:"


def complete_feeds(
    context: click.Context,  # noqa: ARG001
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[str]:
    """Return the names of feeds that begin with what was typed; none if they cannot be loaded.

    Nothing may be printed meanwhile: the shell would show it within the line that is typed.
    """
    with redirect_stderr(StringIO()), catch_warnings(), suppress(Exception):
        simplefilter("ignore")
        from partitioned_etl.cli.location import list_feed_names

        return [name for name in list_feed_names() if name.startswith(incomplete)]
    return []


def takes_feed(command: Command) -> Command:
    """Add the argument FEED."""
    return click.argument("feed", shell_complete=complete_feeds)(command)


def takes_feeds(command: Command) -> Command:
    """Add `--feed`."""
    return click.option(
        "--feed",
        "feeds",
        metavar="NAME",
        multiple=True,
        shell_complete=complete_feeds,
        help="Only the feed of this name; may be given several times.",
    )(command)


def takes_partitions(command: Command) -> Command:
    """Add `--partition`, of the feed that the call is about."""
    text = "Only the partition of this key, of one feed; may be given several times."
    return click.option("--partition", "partitions", metavar="KEY", multiple=True, help=text)(
        command
    )


FAIL_STATES: Mapping[str, str] = {
    "late": "a partition was due in the last days, and nothing of it is loaded",
    "refused": "a file is refused, or an ad-hoc key can be no file",
    "rejected": "rows of a loaded file were rejected",
    "unmatched": "something in a feed's folder is a file of no feed",
    "waiting": "a file has landed and is not loaded, or an ad-hoc key is to be computed",
    "unfetched": "the latest fetch from a source could not fetch something",
    "stale": "the table holds rows of a file that its feed cannot name any more",
    "failed": "a file or an ad-hoc key waits because its runs failed too often",
}
"""What `status --fail-on` knows."""


class States(click.ParamType):
    """Names of states, separated by commas."""

    name = "states"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str]:
        """Return the names; any other is refused."""
        names = [name.strip() for name in str(value).split(",")]
        for name in names:
            if name not in FAIL_STATES:
                self.fail(f"{name!a} is none of {', '.join(FAIL_STATES)}", param, ctx)
        return frozenset(names)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return what completes the last name."""
        named, comma, last = incomplete.rpartition(",")
        taken = {name.strip() for name in named.split(",")}
        return [
            CompletionItem(f"{named}{comma}{name}")
            for name in FAIL_STATES
            if name.startswith(last) and name not in taken
        ]


def takes_json(command: Command) -> Command:
    """Add `--json`."""
    text = "Print one JSON document; whatever else there is to say goes to standard error."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def takes_yes(command: Command) -> Command:
    """Add `--yes`."""
    text = "Ask nobody; needed where there is no terminal."
    return click.option("--yes", "is_sure", is_flag=True, help=text)(command)


def takes_landing_dir(command: Command) -> Command:
    """Add `--landing-dir`, in place of a setting."""
    return click.option(
        _LANDING_DIR,
        metavar="PATH|URL",
        expose_value=False,
        callback=_override_landing_dir,
        help="Landing directory, or a bucket's prefix, for this call; instead of LANDING_DIR.",
    )(command)


def takes_database(command: Command) -> Command:
    """Add `--database`, in place of two settings."""
    return click.option(
        _DATABASE,
        metavar="PATH|ADDRESS",
        expose_value=False,
        callback=_override_database,
        help="DuckDB file, or address of a warehouse, for this call; instead of DUCKDB_DATABASE "
        "and WAREHOUSE.",
    )(command)


def require_one_feed(names: Sequence[str], option: str) -> None:
    """Make sure that an option is given together with the one feed that it is about.

    Raises:
        click.UsageError: It is not.
    """
    if len({*names}) != 1:
        raise click.UsageError(f"{option} is about one feed: name it, by one --feed NAME")


def list_overridden() -> frozenset[str]:
    """Return the options of the present call that are there in place of a setting."""
    context = click.get_current_context(silent=True)
    return frozenset(context.meta.get(_OVERRIDDEN, ())) if context else frozenset()


def _override_landing_dir(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> None:
    if value is None:
        return
    text = _require_text(value, parameter)
    is_url = "://" in text
    _override(context, _LANDING_DIR, {"LANDING_DIR": text if is_url else _to_absolute(text)})


def _override_database(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> None:
    if value is None:
        return
    text = _require_text(value, parameter)
    if text.startswith(_DUCKDB):
        text = _DUCKDB + _to_absolute(text.removeprefix(_DUCKDB))
    is_address = _IS_ADDRESS.match(text)
    database = {"WAREHOUSE": text} if is_address else {"DUCKDB_DATABASE": _to_absolute(text)}
    _override(context, _DATABASE, {"WAREHOUSE": "", **database})


def _require_text(value: str, parameter: click.Parameter) -> str:
    # An empty setting is the default; an empty option is a variable of a script that is not set.
    if not value.strip():
        raise click.BadParameter("must not be empty", param=parameter)
    return value.strip()


def _to_absolute(text: str) -> str:
    """Return a path as the shell means it; in a setting, it would be relative to the project."""
    return text if text.startswith("~") else str(Path(text).absolute())


def _override(context: click.Context, option: str, values: Mapping[str, str]) -> None:
    context.meta[_OVERRIDDEN] = list_overridden() | {option}
    context.with_resource(_set_variables(values))


@contextmanager
def _set_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which come before `.env`, until the command has ended."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
