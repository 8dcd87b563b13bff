"""Run the package: `python -m tilewright_host`."""

import sys

from .cli import main

sys.exit(main())
