"""`python -m synood` is the command line."""

import sys

from synood.cli import main

sys.exit(main())
