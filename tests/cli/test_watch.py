"""`partitioned-etl watch`: the status in a terminal, until Ctrl-C."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from support.dev_server import default_interrupt
from support.samples import price_rows

Call = Callable[..., Result]

DEADLINE_S = 120


class Watcher:
    """A process that watches in a terminal of its own."""

    def __init__(self, *options: str) -> None:
        self._reading, writing = pty.openpty()
        with default_interrupt():
            self.process = subprocess.Popen(
                [sys.executable, "-m", "partitioned_etl", "watch", "--interval", "0.5", *options],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(sys.path),
                    "COLUMNS": "160",
                    "LINES": "50",
                    "TERM": "xterm",
                },
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
            )
        os.close(writing)
        self.text = ""

    def wait_for(self, pattern: str) -> None:
        """Read on until what was drawn since the last call matches."""
        deadline = time.monotonic() + DEADLINE_S
        self.text = ""
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, self.text
            try:
                self.text += os.read(self._reading, 1 << 16).decode()
            except OSError:  # the other end is closed
                assert re.search(pattern, self.text), self.text

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._reading)


@pytest.fixture
def start(call: Call) -> Iterator[Callable[..., Watcher]]:
    """Start watchers; all are ended."""
    watchers: list[Watcher] = []

    def start_one(*options: str) -> Watcher:
        watchers.append(Watcher(*options))
        return watchers[-1]

    yield start_one
    for watcher in watchers:
        watcher.close()


@pytest.mark.slow
def test_the_table_is_drawn_anew_until_ctrl_c(
    landing_dir: Path, start: Callable[..., Watcher]
) -> None:
    watcher = start("--feed", "customer_prices")
    watcher.wait_for(r"customer_prices  raw_customer_prices +0 +0 +0\s")
    (landing_dir / "customers" / "acme.csv").write_text(price_rows(1))
    (landing_dir / "customers" / "README.md").write_text("hello")
    watcher.wait_for(r"raw_customer_prices +0 +0 +1 [^\n]* 1\s")
    watcher.wait_for("unmatched: customer_prices: README.md")
    assert "daily_prices" not in watcher.text
    (landing_dir / "customers").rename(landing_dir / "away")
    landing_dir.rename(landing_dir.with_name("gone"))
    watcher.wait_for("error: the landing directory .* does not exist")
    watcher.process.send_signal(signal.SIGINT)
    watcher.wait_for("interrupted")
    assert watcher.process.wait(DEADLINE_S) == 130


def test_where_there_is_no_terminal_status_is_named(call: Call) -> None:
    result = call("watch")
    assert result.exit_code == 2
    assert "there is no terminal to draw on: `status` prints once" in result.stderr
    assert call("watch", "--interval", "0").exit_code == 2
