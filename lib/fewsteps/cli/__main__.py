"""``python -m fewsteps.cli``."""

import sys

from fewsteps.cli import main

sys.exit(main())
