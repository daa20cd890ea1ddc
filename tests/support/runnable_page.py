"""Runs a documentation page: its marked blocks, in order, in one shell in a folder like a checkout.

A fenced block is run if its first line is ```` ```bash run ```` or ```` ```console run ````. In the
second, a line that begins with `$ ` is a command, one with `> ` continues it, and the others are
what it prints, where `…` stands for anything. What the first prints may follow it in a block of its
own, ```` ```text printed ````. A page joins by having such a block.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.dev_server import PROJECT, default_environment

_BLOCK = re.compile(
    r"^```(bash run|console run|text printed)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
_PROMPTS = ("$ ", "> ")
_LEFT_OUT = shutil.ignore_patterns(
    ".[!e]*", ".env", "tests", "docs", "__pycache__", "*.duckdb*", "build", "dist"
)


@dataclass(frozen=True)
class Block:
    """One runnable block of a page.

    Attributes:
        line: Its first line in the page.
        commands: What the shell runs.
        output: The lines that it prints at least, in this order.
    """

    line: int
    commands: str
    output: list[str]


def list_blocks(page: str) -> list[Block]:
    """Give the runnable blocks of a page's text."""
    blocks = []
    for found in _BLOCK.finditer(page):
        kind, text = found.groups()
        line = page[: found.start()].count("\n") + 2
        if kind == "bash run":
            blocks.append(Block(line, text, []))
            continue
        lines = text.splitlines()
        if kind == "text printed":
            blocks[-1].output.extend(line for line in lines if line.strip("… "))
            continue
        commands = "".join(f"{line[2:]}\n" for line in lines if line.startswith(_PROMPTS))
        output = [line for line in lines if line.strip("… ") and not line.startswith(_PROMPTS)]
        blocks.append(Block(line, commands, output))
    return blocks


def make_checkout(folder: Path) -> None:
    """Fill a folder with what a fresh checkout has, and with this test's environment as `.venv`."""
    shutil.copytree(PROJECT, folder, ignore=_LEFT_OUT)
    (folder / "data" / "staging").mkdir(exist_ok=True)
    environment = folder / ".venv"
    environment.mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.name != ".installed":
            (environment / path.name).symlink_to(path)
    (environment / ".installed").write_text(f"{folder}\n", encoding="utf-8")


def run_blocks(blocks: list[Block], folder: Path, timeout_s: float) -> dict[int, str]:
    """Run blocks in one shell, which stops at the first command that fails.

    Returns:
        What each block printed, by its line.
    """
    settle_seconds = default_environment()["SETTLE_SECONDS"]
    script = "".join(
        f"echo '%% {block.line}'\n{block.commands}"
        # Whoever reads on lets a file settle that the block landed.
        + (f"sleep {settle_seconds}\n" if "data/source" in block.commands else "")
        for block in blocks
    )
    outside = {name for name in os.environ if name in default_environment() or "DAGSTER" in name}
    environment = {name: text for name, text in os.environ.items() if name not in outside}
    paths = {"HOME": str(folder.parent), "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment | paths,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    parts = re.split(r"^%% (\d+)\n", done.stdout, flags=re.MULTILINE)
    assert done.returncode == 0, f"the block at line {parts[-2]} failed:\n{parts[-1]}"
    return dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))


def find_missing(block: Block, printed: str) -> str:
    """Give the first line of a block's output that was not printed, or nothing."""
    rest = iter(printed.splitlines())
    for wanted in block.output:
        words = r"\s+".join(re.escape(word) for word in wanted.split())
        pattern = re.compile(words.replace("…", ".*"))
        if not any(pattern.fullmatch(line.strip()) for line in rest):
            return wanted
    return ""
