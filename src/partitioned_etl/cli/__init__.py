"""The command line: a front like the web UI, which decides nothing about files.

`main.py` has the commands and their exit codes, and imports what a command needs when it is called:
`plan.py`, `sync.py` and `status.py` know Dagster; `query.py` and `infer.py` do without.
"""
