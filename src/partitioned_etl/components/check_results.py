"""Check results: a verdict with its reason, in words for people and as values for programs.

Takes a check's verdict and what speaks against it; returns Dagster's result. What is checked
belongs in `checks.py`.
"""

from collections.abc import Mapping
from typing import Any, cast

import dagster as dg

from partitioned_etl.components.markdown import list_reasons

MOST_REASONS = 20


def describe_reasons(
    check: dg.AssetCheckKey,
    what: str,
    reasons: Mapping[str, str],
    said: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """Return the result of a check that passes if there are no reasons against it.

    Args:
        check: The check.
        what: What the reasons are of, as a name for their number.
        reasons: Why not, by partition or by name.
        said: What it says if it passes.
        severity: How bad it is if it does not.
    """
    metadata = {
        what: dg.MetadataValue.int(len(reasons)),
        "reasons": dg.MetadataValue.json(dict(list(reasons.items())[:MOST_REASONS])),
    }
    if reasons:
        said = list_reasons(f"{what.replace('_', ' ').capitalize()}: {len(reasons):,}", reasons)
    return describe_result(check, not reasons, said, metadata, severity)


def warn_of_reasons(
    check: dg.AssetCheckKey, what: str, reasons: Mapping[str, str], said: str
) -> dg.AssetCheckResult:
    """Return such a result for what a person should look at, and that stops nothing."""
    return describe_reasons(check, what, reasons, said, dg.AssetCheckSeverity.WARN)


def describe_result(
    check: dg.AssetCheckKey,
    passed: bool,
    description: str,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """Return a result.

    Args:
        check: The check.
        passed: Whether it passes.
        description: Why, as markdown: the web UI renders it.
        metadata: The same for programs.
        severity: How bad it is if it does not pass.
    """
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=passed,
        description=description,
        metadata=metadata,
        severity=severity,
    )


def to_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Return a result as an event that is reported outside of the check's own step."""
    return dg.AssetCheckEvaluation(
        # Every result of a feed names its asset.
        cast("dg.AssetKey", result.asset_key),
        result.check_name or "",
        result.passed,
        description=result.description,
        metadata=result.metadata,
        severity=result.severity,
    )
