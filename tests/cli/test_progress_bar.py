"""The progress bar: how far a batch of files is, on a terminal and nowhere else."""

import io
import os
import pty
import re
import sys
from collections.abc import Iterator

import pytest

from partitioned_etl.cli.progress_bar import ProgressBars, show_progress
from partitioned_etl.engine import progress
from partitioned_etl.engine.progress import Progress
from support.workbench import NOTES, Workbench, land_numbers

_CONTROL = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")


class Terminal:
    """A terminal, and what was drawn on it."""

    def __init__(self) -> None:
        self._reading, writing = pty.openpty()
        self.stream = os.fdopen(writing, "w", encoding="utf-8")
        os.set_blocking(self._reading, False)

    def read_lines(self) -> list[str]:
        """Give the lines, each as it was left."""
        drawn = b""
        while True:
            try:
                drawn += os.read(self._reading, 1 << 16)
            except BlockingIOError:
                break
        lines = drawn.decode().split("\r\n")
        return [left for line in lines if (left := _CONTROL.sub("", line.split("\r")[-1]))]

    def close(self) -> None:
        self.stream.close()
        os.close(self._reading)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A wide terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    opened = Terminal()
    yield opened
    opened.close()


def test_every_batch_has_a_line_with_all_files_and_bytes_in_the_end(
    bench: Workbench, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    for key in "abc":
        land_numbers(bench, key, 1, 2)
    with show_progress():
        bench.load(NOTES)
    for line, what in zip(terminal.read_lines(), ("surveyed", "loaded"), strict=True):
        assert line.startswith(f"notes: {what} ")
        assert "3 of 3 files" in line
        assert "48/48 bytes" in line


def test_a_bar_shows_how_far_a_batch_is(bench: Workbench, terminal: Terminal) -> None:
    for key in "ab":
        land_numbers(bench, key, 1, 2)
    batch = Progress("notes", bench.list_files(NOTES))
    bars = ProgressBars(terminal.stream)
    bars.show(batch, "loaded", 4.5)
    bars.finish()
    [line] = terminal.read_lines()
    assert "0 of 2 files" in line
    assert "4/32 bytes" in line


def test_a_batch_that_fails_leaves_its_line_and_no_listener(
    bench: Workbench, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal.stream)
    for key in "ab":
        land_numbers(bench, key, 1)
    files = bench.list_files(NOTES)

    def fail_between_files() -> None:
        with show_progress():
            Progress("notes", files).done("surveyed", files[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_between_files()
    assert progress.listener is None
    [line] = terminal.read_lines()
    assert "1 of 2 files" in line


def test_without_a_terminal_no_bar_is_drawn(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    land_numbers(bench, "a", 1)
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with show_progress():
        assert progress.listener is None
        bench.load(NOTES)
    assert stderr.getvalue() == ""
