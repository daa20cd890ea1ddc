"""The command line: a front end like the web UI, which decides nothing about files.

`main.py` defines the commands and their exit codes, and imports what a command needs when it is
called: `plan.py`, `sync.py` and `status.py` use Dagster; `query.py` and `infer.py` do not.
"""
