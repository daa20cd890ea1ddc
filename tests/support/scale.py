"""Scale: how long the tests go on that try examples, histories or kills of their own making.

TEST_SCALE=20 asks for 20 times as many as a test says, and for others each time. Without it a test
tries half as many, and the same ones every time.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import settings

TEST_SCALE = float(os.environ.get("TEST_SCALE") or 0.5)
IS_SEEDED = TEST_SCALE <= 1
"""Whether tests try the same examples every time."""


def examples(count: int) -> int:
    """Give how many examples to try where a test says so many; at least one."""
    return max(1, round(count * TEST_SCALE))


def quick_and_long(cases: Mapping[str, Sequence[Any]], *, every: int = 4) -> list[Any]:
    """Give the cases of a test, which are alike, as its parameters: one in so many is quick."""
    return [
        pytest.param(*values, id=name, marks=[] if place % every == 0 else pytest.mark.long)
        for place, (name, values) in enumerate(cases.items())
    ]


def try_examples(count: int) -> settings:
    """Let Hypothesis try examples where a test says so many, and keep none of them."""
    return settings(
        max_examples=examples(count), deadline=None, database=None, derandomize=IS_SEEDED
    )
