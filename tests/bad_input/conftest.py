"""Tests of bad input share a way to run a real daemon."""

from __future__ import annotations

import sys
from pathlib import Path

# Modules beside the tests are imported by plain name; importlib mode puts nothing on the path.
sys.path.insert(0, str(Path(__file__).parent))
