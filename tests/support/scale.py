"""Scale: how long the tests go on that try examples, histories or kills of their own making.

TEST_SCALE=20 asks for 20 times as many as usual, and for others each time. Without it a test tries
the same ones every time.
"""

import os

from hypothesis import settings

TEST_SCALE = float(os.environ.get("TEST_SCALE") or 1)
IS_SEEDED = TEST_SCALE <= 1
"""Whether tests try the same examples every time."""


def examples(count: int) -> int:
    """Give how many examples to try, of so many as usual; at least one."""
    return max(1, round(count * TEST_SCALE))


def try_examples(count: int) -> settings:
    """Let Hypothesis try so many examples as usual, and keep none of them."""
    return settings(
        max_examples=examples(count), deadline=None, database=None, derandomize=IS_SEEDED
    )
