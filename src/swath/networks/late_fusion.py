"""Several sensors, a network each: fused at the answers instead of at the input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["LateFusion"]


class LateFusion(nn.Module):
    """Asks a network about the bands of each sensor and averages their logits.

    Parameters
    ----------
    branches : one for each sensor, (batch, its bands, rows, columns) to logits of one shape.
    bands : which bands of the stack each reads.
    """

    def __init__(self, branches: Sequence[nn.Module], bands: Sequence[slice]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.bands = tuple(bands)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean logits of stacked sensors (batch, bands, rows, columns)."""
        logits = [
            branch(x[:, bands]) for branch, bands in zip(self.branches, self.bands, strict=True)
        ]
        return torch.stack(logits).mean(0)
