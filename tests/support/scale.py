"""Scale: how long the tests go on that try examples, histories or kills of their own making.

TEST_SCALE=20 asks for 20 times as many as usual, and for others each time. Without it a test tries
the same ones every time.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import settings

TEST_SCALE = float(os.environ.get("TEST_SCALE") or 1)
IS_SEEDED = TEST_SCALE <= 1
"""Whether tests try the same examples every time."""


def examples(count: int) -> int:
    """Give how many examples to try, of so many as usual; at least one."""
    return max(1, round(count * TEST_SCALE))


def quick_and_long(cases: Mapping[str, Sequence[Any]], *, every: int = 4) -> list[Any]:
    """Give the cases of a test as its parameters: one in so many is quick, the others are long.

    For cases that another test tries in full on a shorter way.
    """
    return [
        pytest.param(*values, id=name, marks=[] if place % every == 0 else pytest.mark.long)
        for place, (name, values) in enumerate(cases.items())
    ]


def try_examples(count: int) -> settings:
    """Let Hypothesis try so many examples as usual, and keep none of them."""
    return settings(
        max_examples=examples(count), deadline=None, database=None, derandomize=IS_SEEDED
    )
