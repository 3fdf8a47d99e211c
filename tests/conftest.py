"""What all tests share: the folder of real data, and how property tests run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No time limit for an example, since machines differ; in CI the same examples in every run.
settings.register_profile("swath", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("swath")


@pytest.fixture(scope="session")
def swath_data() -> Path:
    """The folder ``$SWATH_DATA``; its tests skip without it, but fail where ``$CI`` is set."""
    folder = os.environ.get("SWATH_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    reason = f"SWATH_DATA is no folder: {folder}" if folder else "SWATH_DATA is not set"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; tests on real data may not be skipped in CI")
    pytest.skip(f"{reason}: real data are missing")
