"""`python -m synood` is the command line."""

import sys

from synood.cli.app import main

sys.exit(main())
