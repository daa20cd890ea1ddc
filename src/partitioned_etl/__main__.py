"""`python -m partitioned_etl`: the command line, for when the command itself is not on the path."""

from partitioned_etl.cli.main import commands

if __name__ == "__main__":
    commands(prog_name="partitioned-etl")
