"""Mistakes: what is wrong in a `defs.yaml`, as one sentence with file and line.

Dagster reports a mistake as the tree of all components, with the reason as its cause.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from pydantic import ValidationError

from partitioned_etl.ingest.errors import FeedDefinitionError


@contextmanager
def tell_mistakes() -> Iterator[None]:
    """Raise a mistake in a `defs.yaml` with its reason alone; other errors pass unchanged.

    Raises:
        FeedDefinitionError: A `defs.yaml` cannot be loaded.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__:
            cause = cause.__cause__
        if reason := _explain(cause):
            raise FeedDefinitionError(reason) from error
        raise


def _explain(cause: BaseException) -> str:
    if isinstance(cause, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in cause.errors()
        )
    is_of_dagster = type(cause).__module__.startswith("dagster")
    is_mistake = is_of_dagster or isinstance(cause, FeedDefinitionError | yaml.YAMLError)
    return " ".join(str(cause).split()) if is_mistake else ""
