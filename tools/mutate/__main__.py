"""`python -m tools.mutate`."""

import sys

from tools.mutate.run import main

sys.exit(main())
