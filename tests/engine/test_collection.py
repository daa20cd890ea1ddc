"""Garbage collection is put off for a look at a folder, and on again after it."""

import gc

import pytest

from partitioned_etl.engine.collection import no_garbage_collection
from support.workbench import NOTES, Workbench


@no_garbage_collection()
def fail_without_collection() -> None:
    """Fail, and say whether collection was on."""
    raise ValueError(f"on: {gc.isenabled()}")


def test_collection_is_put_off_and_on_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="on: False"):
        fail_without_collection()
    assert gc.isenabled()


def test_collection_is_on_again_when_the_first_of_two_that_overlap_is_done() -> None:
    first, second = no_garbage_collection(), no_garbage_collection()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()


def test_collection_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with no_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_collection_is_on_after_a_sync(bench: Workbench) -> None:
    bench.land(NOTES, "a.csv", "id,note\n1,x\n")
    assert bench.sync(NOTES).loaded
    assert gc.isenabled()
