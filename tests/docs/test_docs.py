"""The runnable blocks of the documentation print what the pages say, and the services work."""

from pathlib import Path

import pytest

from support.dev_server import DEADLINE_S, PROJECT
from support.runnable_page import find_missing, list_blocks, make_checkout, run_blocks
from support.services import check_services

PAGES = sorted(
    str(path.relative_to(PROJECT))
    for path in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    if list_blocks(path.read_text(encoding="utf-8"))
)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_runnable_block_prints_what_the_page_says(page: str, tmp_path: Path) -> None:
    blocks = list_blocks((PROJECT / page).read_text(encoding="utf-8"))
    make_checkout(tmp_path / "partitioned-etl")
    printed = run_blocks(blocks, tmp_path / "partitioned-etl", DEADLINE_S)
    missing = {block.line: find_missing(block, printed[block.line]) for block in blocks}
    assert not {line: text for line, text in missing.items() if text}, printed


@pytest.mark.long
@pytest.mark.slow
def test_the_services_load_what_lands_show_it_and_stop(tmp_path: Path) -> None:
    check_services(tmp_path / "partitioned-etl", ".", {})
