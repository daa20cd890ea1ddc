"""Mishaps: what happens to files and loads in practice, and what the tables then hold.

Takes a way; gives what the page says of it, line by line. Each load is a process of its own.
"""

import os
import tempfile
import time
from pathlib import Path

from landing_site import LandingSite, prices
from ways import Way, count_lines

LARGE_ROWS = 100_000
FEW = 20
_DAY_SECONDS = 86_400


def try_way(way: Way, *, kills: int, files: int) -> dict[str, str]:
    """Put one way through everything.

    Args:
        way: The way.
        kills: How many loads to kill.
        files: How many files land at once.

    Returns:
        What the page says, by what happened.
    """
    said = {"lines written by the user": str(count_lines(way))}
    with tempfile.TemporaryDirectory(prefix="compare_") as folder:
        said |= try_mishaps(LandingSite(way, Path(folder)))
    with tempfile.TemporaryDirectory(prefix="compare_") as folder:
        said |= try_kills(LandingSite(way, Path(folder)), kills)
    with tempfile.TemporaryDirectory(prefix="compare_") as folder:
        said |= time_files(LandingSite(way, Path(folder)), files)
    return said


def try_mishaps(site: LandingSite) -> dict[str, str]:
    """Let one mishap after the other happen, each followed by a load."""
    said = {}
    site.load()
    said["the sample files"] = site.compare()
    site.load()
    said["a re-run"] = site.compare()
    site.land("acme", prices(4, 7.5))
    site.load()
    said["a corrected file"] = site.compare()
    for path in site.landing_dir.rglob("*.csv"):
        path.write_bytes(path.read_bytes())
    site.load()
    said["all files dropped again, the same"] = site.compare()
    said |= _try_bad_file(site)
    kept = site.read_prices("initech")
    site.path("initech").unlink()
    site.load()
    left, before = sum(site.read_prices("initech").values()), sum(kept.values())
    said["a deleted file"] = f"{left} of its {before} rows stay"
    site.land("umbrella", prices(3, 6.5))
    yesterday = time.time() - _DAY_SECONDS
    os.utime(site.path("umbrella"), (yesterday, yesterday))
    site.load()
    loaded = site.read_prices("umbrella") == {6.5: 3}
    said["a new file with an older time"] = "loads" if loaded else "is passed over"
    return said


def _try_bad_file(site: LandingSite) -> dict[str, str]:
    before = site.read_prices("acme")
    site.land("acme", prices(3, 9.5) + "2018-01-16,oops,2,3,4,5\n")
    site.land("globex", prices(2, 9.5))
    site.load()
    after, rows = site.read_prices("acme"), sum(before.values())
    left = sum(count for price, count in after.items() if price in before)
    old = f"keeps its {rows} rows" if after == before else f"has {left} of its {rows} rows left"
    good = "loads" if site.read_prices("globex") == {9.5: 2} else "does not load"
    site.land("acme", prices(5, 10.5))
    site.load()
    return {
        "a bad file beside a good one": f"the bad one {old}, the good one {good}",
        "the bad file put right": site.compare(),
    }


def try_kills(site: LandingSite, kills: int) -> dict[str, str]:
    """Kill loads of a large file at moments that are spread over the time they write for.

    That time goes from the first change of the database's files to their last, in a load that is
    not killed.
    """
    site.land("large", prices(LARGE_ROWS, 0.5))
    site.load()
    site.land("large", prices(LARGE_ROWS, 1.5))
    writing_seconds = _time_writing(site)
    killed = whole = level = 0
    for kill in range(kills):
        old = site.read_prices("large")
        price = 2.5 + kill
        new = {price: LARGE_ROWS}
        site.land("large", prices(LARGE_ROWS, price))
        before = site.list_database_files()
        process = site.start()
        while process.poll() is None and site.list_database_files() == before:
            time.sleep(0.0005)
        time.sleep(writing_seconds * kill / kills)
        process.kill()
        if process.wait() >= 0:  # It was done before.
            continue
        killed += 1
        whole += site.read_prices("large") in (old, new)
        site.load()
        level += site.read_prices("large") == new
    return {
        "a load killed while it writes": f"old or new rows, whole, in {whole} of {killed}",
        "the next load after that": f"the new rows in {level} of {killed}",
    }


def _time_writing(site: LandingSite) -> float:
    files, first, last = site.list_database_files(), 0.0, 0.0
    process = site.start()
    while process.poll() is None:
        if (now := site.list_database_files()) != files:
            files, last = now, time.perf_counter()
            first = first or last
        time.sleep(0.0005)
    return last - first


def time_files(site: LandingSite, files: int) -> dict[str, str]:
    """Measure how long files take that land at once, with the start of the process."""
    site.load()
    started = time.perf_counter()
    site.load()
    nothing_seconds = time.perf_counter() - started
    count = min(files, FEW) if site.way.is_run_per_file else files
    for number in range(count):
        site.land(f"customer{number}", prices(3, 1.5))
    started = time.perf_counter()
    site.load()
    seconds = time.perf_counter() - started
    assert site.compare() == "as the files", site.compare()
    what = f"{files:,} files that land at once"
    if count == files:
        return {what: f"{seconds:.1f} s"}
    scaled = nothing_seconds + (seconds - nothing_seconds) * files / count
    return {what: f"{scaled:.0f} s, scaled from {seconds:.1f} s for {count}"}
