"""Runs on tiles that take seconds, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import swath

# A seg101 of few channels, and trainings of two steps.
SPACE = [
    "space.options.backbone={depth: 4, w_0: 16, w_a: 10, w_m: 1.4, group_width: 8, stem_width: 16}",
]
SHORT = [
    "training.iterations=2",
    "training.validate_every=1",
    "training.window=16",
    "training.batch=2",
]
SPLIT: dict[str, Any] = {"test": 3, "validation": 2}


def by_trials(tiles: Path, out: Path, *overrides: str, **given: Any) -> swath.Run:
    """Search seg101 by three random trials."""
    options: dict[str, Any] = {"strategy": "random", "trials": 3, "space": "seg101"} | SPLIT | given
    return swath.search(
        tiles=tiles,
        out=out,
        overrides=[*SPACE, *SHORT, "study.iterations=1", *overrides],
        device="cpu",
        **options,
    )


def with_supernet(tiles: Path, out: Path, *overrides: str) -> swath.Run:
    """Search seg101 with a supernet."""
    return swath.search(
        tiles=tiles,
        out=out,
        space="seg101",
        strategy="spos",
        overrides=[*SPACE, *SHORT, *overrides],
        device="cpu",
        **SPLIT,
    )


def comparator(tiles: Path, out: Path, *overrides: str, **given: Any) -> swath.Run:
    """Train a U-Net."""
    options = {"network": "unet"} | SPLIT | given
    return swath.search(
        tiles=tiles, out=out, overrides=[*SHORT, *overrides], device="cpu", **options
    )
