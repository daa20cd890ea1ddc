"""The commands of `partitioned-etl`, their options, and what their exit codes mean.

Takes the arguments; calls the command's module, which is imported only then: invalid settings are
reported in one sentence, and help and queries need not wait for Dagster.
"""

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from partitioned_etl.cli.interrupts import watch_interrupts
from partitioned_etl.cli.options import (
    FAIL_STATES,
    States,
    require_one_feed,
    takes_database,
    takes_feed,
    takes_feeds,
    takes_json,
    takes_landing_dir,
    takes_partitions,
    takes_yes,
)
from partitioned_etl.engine.errors import PartitionedEtlError

EXIT_CODES = {
    0: "done, and nothing is wrong",
    1: "a feed cannot be loaded, a file or statement was refused, or something failed",
    2: "the command could not run: settings, arguments, landing directory, database",
    130: "interrupted by Ctrl-C; what was not loaded whole is not loaded",
    141: "the reader of the output closed the pipe",
}


class ProjectCommand(click.Command):
    """A command whose settings are those of the project that it is about."""

    def invoke(self, ctx: click.Context) -> Any:
        """Enter the project, and call the command."""
        from partitioned_etl.cli.project import enter_project

        enter_project()
        return super().invoke(ctx)


class ExitCodeGroup(click.Group):
    """Commands that end with the documented exit codes and never with a traceback."""

    command_class = ProjectCommand

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command, and turn its outcome into an exit code and at most one line."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                # A stream that is not UTF-8 cannot encode every character.
                stream.reconfigure(errors="backslashreplace")
        try:
            with watch_interrupts() as raise_interrupt:
                try:
                    code = super().invoke(ctx)
                except RuntimeError:
                    # An interrupted DuckDB statement ends this way.
                    raise_interrupt()
                    raise
            sys.stdout.flush()
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            code = 130
        except BrokenPipeError:
            # Python would try to flush the rest again, and report that it cannot.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 141
        except (PartitionedEtlError, OSError) as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            code = 2
        ctx.exit(code or 0)


def _list_exit_codes() -> str:
    lines = "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items())
    return f"\b\nExit codes:\n{lines}"


@click.group(
    cls=ExitCodeGroup,
    epilog=_list_exit_codes(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(None, "-V", "--version", package_name="partitioned-etl")
def commands() -> None:
    """Keep DuckDB tables equal to the files in a landing directory, partition by partition.

    Settings are environment variables, or lines in `.env`; --landing-dir and --database of a
    command come before both.
    """


@commands.command(cls=click.Command)
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> int:
    """Make a project of your own in FOLDER, which is called like it.

    It has one sample feed, a test, and a Makefile whose `make run` and `make test` work at once.
    """
    from partitioned_etl.cli.init import make_project

    return make_project(folder)


@commands.command()
@takes_feeds
@takes_partitions
@takes_landing_dir
@takes_database
@takes_json
def plan(feeds: tuple[str, ...], partitions: tuple[str, ...], as_json: bool) -> int:
    """Show what would happen to every file, and why.

    It changes nothing. The feed's sensor does what it shows at its next tick, and `sync` at once.
    """
    if partitions:
        require_one_feed(feeds, "--partition")
    from partitioned_etl.cli.plan import show_plan

    return show_plan(feeds, partitions, as_json=as_json)


@commands.command()
@takes_feeds
@takes_partitions
@click.option("--reload", "reloads", is_flag=True, help="Load what is unchanged, too, of one feed.")
@takes_landing_dir
@takes_database
@takes_json
def sync(feeds: tuple[str, ...], partitions: tuple[str, ...], reloads: bool, as_json: bool) -> int:
    """Load every landed file that is new or changed.

    Then it prints what the tables hold. It loads through Dagster, in this process, so that the web
    UI shows the runs. --reload replaces each partition in one transaction, also what is unchanged
    or was refused; to load all that ever landed again is expensive, so it takes one feed.
    """
    if partitions or reloads:
        require_one_feed(feeds, "--partition" if partitions else "--reload")
    from partitioned_etl.cli.sync import sync_feeds

    return sync_feeds(feeds, partitions, reloads=reloads, as_json=as_json)


@commands.command("add-key")
@takes_feed
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--no-run", is_flag=True, help="Only add the keys: the feed's sensor does the rest.")
@takes_landing_dir
@takes_database
@takes_json
def add_key(feed: str, keys: tuple[str, ...], no_run: bool, as_json: bool) -> int:
    """Add ad-hoc keys to FEED, and have their rows computed and loaded.

    It is for a feed with source `parameters`, and does what "Add a partition" does in the web UI.
    All keys are added, or none if one of them cannot be a key. Then it prints what `sync` does. A
    key that is there, and whose rows are loaded, stays as it is: `sync --partition KEY` computes it
    again.
    """
    if no_run:
        from partitioned_etl.cli.added_keys import add_keys_only

        return add_keys_only(feed, keys, as_json=as_json)
    from partitioned_etl.cli.sync import sync_feeds

    return sync_feeds([feed], keys, adds=True, as_json=as_json)


@commands.command()
@takes_feeds
@takes_landing_dir
@takes_database
@click.option(
    "--fail-on",
    "fail_on",
    metavar="STATE,…",
    type=States(),
    multiple=True,
    help=f"End with 1 if anything is in one of these states: {', '.join(FAIL_STATES)}.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "prometheus"]),
    help="How to print it; a table by default. --json is short for --format json.",
)
@click.option(
    "--changes", is_flag=True, help="Instead, which loads changed the tables, by how many rows."
)
@click.option(
    "--days",
    type=click.FloatRange(min=0, max=36_500),
    metavar="N",
    help="With --changes: for how many days back; by default 7.",
)
@takes_json
def status(
    feeds: tuple[str, ...],
    fail_on: tuple[frozenset[str], ...],
    form: str | None,
    changes: bool,
    days: float | None,
    as_json: bool,
) -> int:
    """Show what the tables hold, what waits, what is refused.

    Waiting is what has landed and is not loaded. It changes nothing.
    """
    if as_json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} are two forms of one output")
    form = "json" if as_json else form or "table"
    if changes:
        from partitioned_etl.cli.changes import DAYS, show_changes

        if fail_on or form == "prometheus":
            raise click.UsageError("--changes is told as a table or as JSON, and fails on nothing")
        return show_changes(feeds, DAYS if days is None else days, as_json=form == "json")
    if days is not None:
        raise click.UsageError("--days says how far --changes looks back: give both")
    from partitioned_etl.cli.status import show_status

    states = frozenset[str]().union(*fail_on)
    return show_status(feeds, form, states)


@commands.command()
@takes_feeds
@takes_landing_dir
@takes_database
@click.option(
    "--interval",
    "interval_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0.5),
    default=5.0,
    show_default=True,
    help="How long to wait between two looks.",
)
def watch(feeds: tuple[str, ...], interval_seconds: float) -> int:
    """Show the status, drawn anew every few seconds, until Ctrl-C.

    It needs a terminal, and changes nothing. It ends with 130, as every command does by Ctrl-C.
    """
    from partitioned_etl.cli.watch import watch_feeds

    return watch_feeds(feeds, interval_seconds)


@commands.command()
@click.argument("file")
@takes_feeds
@takes_landing_dir
@takes_database
@takes_json
def explain(file: str, feeds: tuple[str, ...], as_json: bool) -> int:
    """Show what the feeds make of one FILE, without loading it.

    FILE is a path, a name from the landing directory on, or a URL. It shows which feed takes it and
    why others do not, what the ledger knows, what the next tick does, and what became of each rule
    of the contract, with lines and columns. A file that lies elsewhere is tried as if it had landed
    for the one feed that --feed names. The file is read as a whole, into a database that is thrown
    away.
    """
    from partitioned_etl.cli.explain import explain_file

    return explain_file(file, feeds, as_json=as_json)


@commands.command()
@takes_feed
@click.option("--apply", "is_applied", is_flag=True, help="Do it, all in one transaction.")
@takes_landing_dir
@takes_database
@takes_json
def migrate(feed: str, is_applied: bool, as_json: bool) -> int:
    """Show what no load does by itself to make a table what FEED declares.

    Columns that the feed no longer declares are dropped, and types are changed. A partition with a
    value that does not fit the new type is removed and loads again from its landed file; without
    one, nothing is done.
    """
    from partitioned_etl.cli.migrate import migrate_feed

    return migrate_feed(feed, is_applied=is_applied, as_json=as_json)


@commands.command()
@takes_feed
@click.option(
    "--stale", is_flag=True, help="What the feed, as it is declared now, cannot name any more."
)
@click.option(
    "--partition",
    "partitions",
    metavar="KEY",
    multiple=True,
    help="The partition of this key; may be given several times.",
)
@takes_landing_dir
@takes_database
@takes_yes
@takes_json
def forget(
    feed: str, stale: bool, partitions: tuple[str, ...], is_sure: bool, as_json: bool
) -> int:
    """Remove what a feed's table holds of stale files, or of partitions.

    It shows what that is, and asks. Rows, rejected rows and ledger rows go in one transaction, in a
    run that the web UI shows. A file that is still landed is loaded again.
    """
    if not stale and not partitions:
        raise click.UsageError("what is to be forgotten: --stale, or --partition KEY?")
    from partitioned_etl.cli.forget import forget_partitions

    return forget_partitions(feed, partitions, stale=stale, is_sure=is_sure, as_json=as_json)


@commands.command()
@takes_feed
@click.option("--table", default="", help="The table of a feed that is declared no more.")
@takes_database
@takes_yes
@takes_json
def drop(feed: str, table: str, is_sure: bool, as_json: bool) -> int:
    """Remove a feed's table, its rejected rows and its ledger rows.

    It shows what that is, and asks. The ledger does not know the table of a feed that is declared
    no more: without --table, that table stays.
    """
    from partitioned_etl.cli.forget import drop_feed

    return drop_feed(feed, table, is_sure=is_sure, as_json=as_json)


@commands.command()
@click.argument("sql", required=False)
@click.option(
    "--file",
    "path",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file that the statement is read from, instead of SQL.",
)
@takes_database
@takes_json
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header.")
def query(sql: str | None, path: Path | None, as_json: bool, as_csv: bool) -> int:
    """Run one SELECT on the database.

    It is given as SQL, or read from standard input if SQL is `-`, or from a file. The query changes
    nothing and reads no file but the database. A table ends after 1,000 rows and says so; JSON and
    CSV have all. In JSON, what is no JSON number, such as a decimal, a day, NaN or infinity, is a
    string.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two forms of one output: choose one")
    if (sql is None) == (path is None):
        raise click.UsageError("one statement: SQL, or - for standard input, or --file FILE")
    from partitioned_etl.cli.query import read_statement, run_query

    return run_query(read_statement(sql, path), "json" if as_json else "csv" if as_csv else "table")


@commands.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option(
    "--name",
    help="The feed's name; by default that of a folder of its own in the landing directory, else "
    "what stands beside a date, or the folder's name.",
)
@click.option(
    "--format",
    "format_name",
    metavar="NAME",
    default="",
    help="The format, such as tsv; by default the one that the ending of the name suggests.",
)
@click.option(
    "--write", is_flag=True, help="Write it to `defs/NAME/defs.yaml`, unless that is there."
)
@takes_json
def infer(
    files: tuple[Path, ...], name: str | None, format_name: str, write: bool, as_json: bool
) -> int:
    """Propose a feed from sample files.

    It prints the `defs.yaml` of a component. Several files of one feed tell more than one: which
    columns are optional, and what fits all of them. This is the one place where something is
    guessed. The comments say what, and what to check.
    """
    from partitioned_etl.cli.infer import propose_feed

    return propose_feed(files, name, format_name, write=write, as_json=as_json)
