"""A trial: what a load would make of one file, and what became of each rule of its contract."""

from pathlib import Path

import pytest

from partitioned_etl.engine.feed import Feed
from partitioned_etl.engine.formats.csv import CsvFormat
from partitioned_etl.engine.formats.format import MAX_PROBLEMS
from partitioned_etl.engine.landing.local import LocalLanding
from partitioned_etl.engine.trial import Trial, try_file

ORDERS = Feed(
    name="orders",
    pattern="{key}.csv",
    columns={"id": "BIGINT", "amount": "DECIMAL(9, 2)"},
    format=CsvFormat(footer="Total;(?P<amount>.*)", delimiter=";"),
)
RULED = Feed.model_validate(
    {
        "name": "orders",
        "pattern": "{key}.csv",
        "columns": {"id": "BIGINT", "amount": "DECIMAL(9, 2)"},
        "row_rules": [
            {"name": "is_paid", "column": "amount", "expression": "amount > 0", "reason": "unpaid"}
        ],
    }
)


def try_text(feed: Feed, folder: Path, text: str) -> Trial:
    path = folder / feed.folder / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    landing = LocalLanding(folder, settle_seconds=0)
    [file] = landing.list_files(feed).files.values()
    return try_file(feed, landing, file)


def verdicts_of(trial: Trial) -> dict[str, str]:
    return {one.rule: str(one.verdict) for one in trial.verdicts}


@pytest.mark.parametrize(("total", "verdict"), [("5", "passed"), ("6", "failed")])
def test_a_total_of_the_footer_is_a_rule(total: str, verdict: str, tmp_path: Path) -> None:
    trial = try_text(ORDERS, tmp_path, f"id;amount\n1;2\n2;3\nTotal;{total}\n")
    assert verdicts_of(trial)["totals"] == verdict
    assert trial.outcome.is_loaded == (verdict == "passed")
    assert len(trial.sample) == (2 if verdict == "passed" else 0)


def test_a_total_is_not_reached_where_a_row_is_bad(tmp_path: Path) -> None:
    trial = try_text(ORDERS, tmp_path, "id;amount\n1;2\nx;3\nTotal;5\n")
    verdicts = verdicts_of(trial)
    assert (verdicts["types"], verdicts["totals"]) == ("failed", "not reached")


def test_no_rule_passes_where_too_much_else_is_wrong_to_read_on(tmp_path: Path) -> None:
    rows = "x,1\n" * (MAX_PROBLEMS + 1) + "1,-1\n"
    trial = try_text(RULED, tmp_path, "id,amount\n" + rows)
    verdicts = verdicts_of(trial)
    assert (verdicts["types"], verdicts["is_paid"]) == ("failed", "not reached")


def test_the_columns_that_were_found_are_held_against_those_declared(tmp_path: Path) -> None:
    trial = try_text(RULED, tmp_path, "id,sum,note\n1,2,x\n")
    [columns] = [one for one in trial.verdicts if one.rule == "columns"]
    found = "found id; 2 that the feed does not have; declared, not found: amount"
    assert columns.about == found
    assert columns.problems[0] == "line 1: header: column amount is missing"
