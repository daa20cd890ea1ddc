"""The page of bad inputs names tests that exist, and gives the messages that they expect."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest

from partitioned_etl.engine.project import project_dir

TESTS = project_dir() / "tests"
PAGE = (project_dir() / "docs" / "bad-inputs.md").read_text(encoding="utf-8")
MESSAGE_PARAMETERS = ("problem", "problems", "reason", "message")
"""What a parametrized test calls the message that it expects."""
COLLECT = f"""
import json, sys, pytest

class Collector:
    def pytest_collection_finish(self, session):
        found = {{}}
        for item in session.items:
            spec = getattr(item, "callspec", None)
            values = [spec.params.get(name) for name in {MESSAGE_PARAMETERS}] if spec else []
            found[item.nodeid] = next((each for each in values if isinstance(each, str)), None)
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            json.dump(found, file)

options = ["--collect-only", "-qq", "--assert=plain", "-pno:cacheprovider", "-pno:xdist"]
sys.exit(pytest.main([*options, *sys.argv[2:]], plugins=[Collector()]))
"""


@dataclass(frozen=True)
class Row:
    """A row of the page."""

    says: str
    test: str

    @property
    def file(self) -> str:
        return self.test.split("::")[0]


ROW = re.compile(r"^\| .+? \| (?P<says>.+?) \| `(?P<test>\w.+?)` \|$", re.MULTILINE)
ROWS = [Row(match["says"], match["test"]) for match in ROW.finditer(PAGE)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Every test of the files that the page names, with the message that its parameters hold."""
    found = tmp_path_factory.mktemp("collected") / "tests.json"
    files = sorted({str(TESTS / row.file) for row in ROWS})
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    collected = subprocess.run(
        [sys.executable, "-c", COLLECT, str(found), *files],
        cwd=project_dir(),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr
    tests: dict[str, str | None] = json.loads(found.read_text(encoding="utf-8"))
    return {name.removeprefix("tests/"): message for name, message in tests.items()}


def test_the_page_has_every_row_once() -> None:
    in_tables = [line for line in PAGE.splitlines() if line.startswith("| ")]
    headings = len(re.findall(r"^\| input \|", PAGE, re.MULTILINE))
    assert headings == len(re.findall("^## ", PAGE, re.MULTILINE)) == 13
    assert len(in_tables) == len(ROWS) + 2 * headings
    assert len(set(in_tables)) == len(ROWS) + 2
    assert len(ROWS) >= 60


def find_lie(row: Row, expected: dict[str, str | None]) -> str:
    """Say what is not true of a row of the page; empty if all is."""
    if row.test not in expected:
        return "there is no such test"
    quoted = re.fullmatch(r"`(.+)`", row.says)
    message = expected[row.test]
    if message is not None:
        return "" if quoted and quoted[1] == message else "its test expects another message"
    if quoted and quoted[1] not in (TESTS / row.file).read_text(encoding="utf-8"):
        return "its test expects no such message"
    return ""


def test_the_page_tells_the_truth(expected: dict[str, str | None]) -> None:
    assert {row: lie for row in ROWS if (lie := find_lie(row, expected))} == {}
    assert len([row for row in ROWS if expected[row.test] is not None]) > 60


@pytest.mark.parametrize(
    ("says", "name", "lie"),
    [
        ("`line 3: a NUL character`", "[NUL]", ""),
        ("`line 4: a NUL character`", "[NUL]", "its test expects another message"),
        ("refused", "[NUL]", "its test expects another message"),
        ("`line 3: a NUL character`", "[no such]", "there is no such test"),
    ],
)
def test_a_lie_is_found(expected: dict[str, str | None], says: str, name: str, lie: str) -> None:
    test = "engine/test_contract.py::test_a_breach_changes_no_row_and_its_place_is_on_record"
    assert find_lie(Row(says, test + name), expected) == lie


def test_a_message_that_no_test_has_is_found(expected: dict[str, str | None]) -> None:
    test = "engine/test_local_landing.py::test_a_socket_is_ignored"
    assert find_lie(Row("`not a regular file`", test), expected) == ""
    assert find_lie(Row("`symbolic links`", test), expected) == "its test expects no such message"
