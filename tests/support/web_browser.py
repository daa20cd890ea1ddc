"""Debian's Chromium, without a window, for who drives the web UI.

Takes a folder that Chromium may litter; gives Playwright's browser. What is looked at in it is the
caller's.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium")
"""Where it is; None if it is not installed."""


@contextlib.contextmanager
def open_browser(home: Path) -> Iterator[Browser]:
    """Start Chromium, and end it afterwards.

    Args:
        home: Its home directory: Chromium and its libraries leave folders there.
    """
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(home))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage"],
            env={**os.environ, **homes},
        )
        yield browser
        browser.close()
