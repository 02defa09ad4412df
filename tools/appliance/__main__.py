"""`python -m tools.appliance`."""

import sys

from tools.appliance.run import main

sys.exit(main())
