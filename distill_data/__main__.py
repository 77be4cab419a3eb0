"""`python -m distill_data` is `distill-data`."""

import sys

from distill_data.cli import main

if __name__ == "__main__":
    sys.exit(main())
