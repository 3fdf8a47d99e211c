"""Makes ``supernet_parts`` importable, and from it the options of the tests of every space."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "spaces")]
