"""Every random draw comes from a named stream of the study's seed.

Streams are derived from (seed, names...) alone, so any number of workers, a restart, or another
order of work gives the same draws.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["derive", "numpy_generator", "seed_torch"]


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream ``names`` of ``seed``.

    >>> derive(0, "trial", 7) == derive(0, "trial", 7) != derive(0, "trial", 8)
    True
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return NumPy's generator of a named stream."""
    return np.random.default_rng(derive(seed, *names))


def seed_torch(seed: int) -> None:
    """Seed torch's own generators, of the processor and of all accelerators.

    As ``torch.manual_seed``, but where there is no accelerator that keeps a stack trace of each
    call for later, which takes as long as a tenth of a small network's training step.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
