"""`python -m tools.fault`."""

import sys

from tools.fault.run import main

sys.exit(main())
