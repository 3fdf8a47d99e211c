"""Where the real data of the benchmarks are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["data_folder"]


def data_folder() -> Path:
    """Return the folder that ``SWATH_DATA`` names; end the script where there is none."""
    folder = os.environ.get("SWATH_DATA", "")
    if not folder or not Path(folder).is_dir():
        sys.exit("set SWATH_DATA to the folder of the data")
    return Path(folder)
