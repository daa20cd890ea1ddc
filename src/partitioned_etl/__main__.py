"""`python -m partitioned_etl`: load every landed file that changed, then print what is there."""

import sys

from partitioned_etl.run_once import main

if __name__ == "__main__":
    sys.exit(main())
