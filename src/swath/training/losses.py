"""Losses by name: of logits (n, classes, ...) and targets (n, ...), where -1 is unlabelled.

Each is a mean over labelled pixels (or classes) of the whole batch and gives a scalar.  Of a batch
without any label it is zero, and so is its gradient.  Logits should be float32 or wider, since sums
run over all pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from swath.core.errors import RecipeError, nearest

__all__ = ["LOSSES", "cross_entropy", "dice", "hardest", "loss"]

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy.

    Parameters
    ----------
    label_smoothing : share of each target that is spread evenly over all classes.
    """
    if not (targets != -1).any():
        return logits.sum() * 0
    return nn.functional.cross_entropy(
        logits, targets, ignore_index=-1, label_smoothing=label_smoothing
    )


def hardest(
    logits: Tensor, targets: Tensor, *, share: float = 0.2, label_smoothing: float = 0.0
) -> Tensor:
    """Return the mean cross-entropy of the pixels where it is highest.

    Source: DeepLabCE, the loss of Panoptic-DeepLab's code and of SEG101.  There, unlabelled pixels
    count as pixels without loss; here, a share of the labelled ones is taken.

    Parameters
    ----------
    share : of the labelled pixels of the batch, rounded down, but at least one.
    """
    pixels = nn.functional.cross_entropy(
        logits, targets, ignore_index=-1, reduction="none", label_smoothing=label_smoothing
    )[targets != -1]
    if not len(pixels):
        return logits.sum() * 0
    count = max(1, int(share * len(pixels)))
    return torch.topk(pixels, count, sorted=False).values.mean()


def dice(logits: Tensor, targets: Tensor) -> Tensor:
    """Return one minus the mean soft Dice coefficient of the classes that the targets hold.

    Of a class it is ``2 sum(p y) / (sum(p) + sum(y))``, with probabilities p and targets y of all
    labelled pixels of the batch.  Source: Milletari, Navab, Ahmadi, "V-Net" (section 3), here
    without squares in the denominator.
    """
    known = targets != -1
    if not known.any():
        return logits.sum() * 0
    probabilities = logits.movedim(1, -1)[known].softmax(-1)
    truth = nn.functional.one_hot(targets[known], logits.shape[1]).to(probabilities.dtype)
    count = truth.sum(0)
    common = (probabilities * truth).sum(0)
    coefficients = 2 * common / (probabilities.sum(0) + count)
    return 1 - coefficients[count > 0].mean()


def _both(logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    return cross_entropy(logits, targets, label_smoothing=label_smoothing) + dice(logits, targets)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross-entropy": cross_entropy,
    "cross-entropy+dice": _both,
    "dice": dice,
    "hardest": hardest,
}
"""The losses by name; ``cross-entropy+dice`` is the sum of the two."""


def loss(name: str, *, label_smoothing: float = 0.0) -> Loss:
    """Return the loss of a name.

    Parameters
    ----------
    label_smoothing : of the cross-entropy; ``dice`` has none.

    Raises
    ------
    RecipeError : there is no such loss, or it has no use for label smoothing.

    >>> loss("dice")(torch.tensor([[30.0, 0.0], [0.0, 30.0]]), torch.tensor([0, -1])).item()
    0.0
    """
    if name not in LOSSES:
        known = ", ".join(LOSSES)
        raise RecipeError(f"there is no loss '{name}'{nearest(name, LOSSES)}; known: {known}")
    if name == "dice":
        if label_smoothing:
            raise RecipeError("the loss 'dice' has no label smoothing; set label_smoothing to 0")
        return dice
    return partial(LOSSES[name], label_smoothing=label_smoothing)
