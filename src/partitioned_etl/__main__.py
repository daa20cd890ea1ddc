"""`python -m partitioned_etl`: load every landed file that changed, then print what is there."""

import sys

from partitioned_etl.ingest.errors import SettingError
from partitioned_etl.ingest.settings import read_settings


def main() -> int:
    """Run once, and give the exit code of `run_once.main`."""
    try:
        read_settings()
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # Only now: the partition windows are read from the settings when they are imported.
    from partitioned_etl.run_once import main as run_once

    return run_once()


if __name__ == "__main__":
    sys.exit(main())
