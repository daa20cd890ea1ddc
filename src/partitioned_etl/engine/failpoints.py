"""Failpoints: named points in a load at which a test can stop, kill or disturb it.

Nothing listens in production; reaching one costs one comparison. What a test does there belongs in
`tests/`.
"""

from collections.abc import Callable

AFTER_BEGIN = "after_begin"
AFTER_LEDGER = "after_ledger"
AFTER_DELETE = "after_delete"
MID_INSERT = "mid_insert"
BEFORE_COMMIT = "before_commit"
AFTER_COMMIT = "after_commit"
MID_STAGING = "mid_staging"
"""While the files of a bucket are copied to disk, by any of several threads."""
AFTER_SURVEY = "after_survey"
"""When the files of a load have been read once, before its transaction."""
AFTER_ALTER = "after_alter"
"""Before the commit of what a changed declaration alters in a table, which few loads do."""
MID_FETCH = "mid_fetch"
"""When the first bytes of a fetched file are written aside, by any of several threads."""
BEFORE_LANDING = "before_landing"
"""When a fetched file is whole, and not yet renamed."""
AFTER_LANDING = "after_landing"
"""When a fetched file has landed, and is not yet noted."""
AFTER_FETCH = "after_fetch"
"""When it is noted."""
OF_A_FETCH = (MID_FETCH, BEFORE_LANDING, AFTER_LANDING, AFTER_FETCH)
ALL = (AFTER_BEGIN, AFTER_LEDGER, AFTER_DELETE, MID_INSERT, BEFORE_COMMIT, AFTER_COMMIT)

listener: Callable[[str], None] | None = None
"""Callback that a test installs; called with the name of each failpoint that a load reaches."""


def reach(name: str) -> None:
    """Notify the listener, if there is one, that a load has reached a failpoint."""
    if listener is not None:
        listener(name)
