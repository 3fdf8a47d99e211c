"""Several networks of one form, each trained on its own windows, that answer together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Members", "count_members"]


class Members(nn.Module):
    """Averages the logits of its members; in training each learns from its share of a batch.

    Networks trained from few labels differ by their first weights and the windows they saw, and
    their mean is better than most of them (Hansen, Salamon, "Neural network ensembles").  As the
    batch is shared out, the loss of a batch trains each member as if it were alone.  Of a batch of
    fewer windows than members, as many members as there are windows learn, drawn anew each time.

    Parameters
    ----------
    members : networks (batch, bands, rows, columns) to logits (batch, classes, rows, columns).
    classes : of the logits.
    """

    def __init__(self, members: Sequence[nn.Module], classes: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        # The mean as a convolution, which the inference form merges with the members' last ones.
        self.mean = nn.Conv2d(len(members) * classes, classes, 1, bias=False)
        self.mean.weight.requires_grad_(False)
        with torch.no_grad():
            self.mean.weight.copy_(
                torch.eye(classes).repeat(1, len(members))[:, :, None, None] / len(members)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns): in training of one member a window."""
        if self.training:
            learning = self._learning(len(x))
            shares = x.tensor_split(len(learning))
            return torch.cat(
                [self.members[m](share) for m, share in zip(learning, shares, strict=True)]
            )
        mean: Tensor = self.mean(torch.cat([member(x) for member in self.members], dim=1))
        return mean

    def _learning(self, windows: int) -> list[int]:
        """Return which members learn from a batch of so many windows."""
        count = len(self.members)
        return list(range(count)) if windows >= count else torch.randperm(count)[:windows].tolist()


def count_members(network: nn.Module) -> int:
    """Return how many networks answer together; of any other network 1."""
    return len(network.members) if isinstance(network, Members) else 1
