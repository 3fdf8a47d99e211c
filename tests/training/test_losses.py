"""Losses against loops over pixels, and what must hold for any batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from swath.core.errors import RecipeError
from swath.training.losses import LOSSES, cross_entropy, dice, hardest, loss

NAMES = sorted(LOSSES)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits (n, classes, rows, columns) in double precision, targets with some unlabelled."""
    n, classes, rows, columns = (draw(st.integers(1, high)) for high in (3, 5, 4, 4))
    seed, unlabelled = draw(st.integers(0, 2**31)), draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    spread = draw(st.sampled_from([0.1, 3.0, 60.0]))
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(
        n, classes, rows, columns, generator=generator, dtype=torch.double
    )
    targets = torch.randint(classes, (n, rows, columns), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < unlabelled] = -1
    return logits, targets


def pixels(logits: Tensor, targets: Tensor) -> list[tuple[np.ndarray, int]]:
    """Probabilities and class of each labelled pixel."""
    found = []
    for image, truth in zip(logits.numpy(), targets.numpy(), strict=True):
        for place in np.ndindex(*truth.shape):
            if truth[place] != -1:
                values = image[(slice(None), *place)]
                exponentials = np.exp(values - values.max())
                found.append((exponentials / exponentials.sum(), int(truth[place])))
    return found


def slow_entropies(logits: Tensor, targets: Tensor, smoothing: float) -> list[float]:
    found = []
    for probabilities, truth in pixels(logits, targets):
        wanted = np.full(len(probabilities), smoothing / len(probabilities))
        wanted[truth] += 1 - smoothing
        logs = np.log(np.maximum(probabilities, 1e-300))
        found.append(-float((wanted * logs).sum()))
    return found


def slow_dice(logits: Tensor, targets: Tensor) -> float:
    labelled = pixels(logits, targets)
    coefficients = []
    for c in {truth for _, truth in labelled}:
        common = sum(p[c] for p, truth in labelled if truth == c)
        sizes = sum(p[c] for p, _ in labelled) + sum(truth == c for _, truth in labelled)
        coefficients.append(2 * common / sizes)
    return 1 - float(np.mean(coefficients))


@given(batch=batches(), smoothing=st.sampled_from([0.0, 0.1, 0.5]))
def test_cross_entropy_is_the_mean_of_the_labelled(
    batch: tuple[Tensor, Tensor], smoothing: float
) -> None:
    entropies = slow_entropies(*batch, smoothing)
    expected = np.mean(entropies) if entropies else 0.0
    assert float(cross_entropy(*batch, label_smoothing=smoothing)) == pytest.approx(expected)


@given(
    batch=batches(),
    smoothing=st.sampled_from([0.0, 0.1]),
    share=st.sampled_from([0.2, 0.5, 0.01, 1.0]),
)
def test_hardest_is_the_mean_of_the_highest(
    batch: tuple[Tensor, Tensor], smoothing: float, share: float
) -> None:
    entropies = sorted(slow_entropies(*batch, smoothing), reverse=True)
    taken = entropies[: max(1, math.floor(share * len(entropies)))]
    expected = np.mean(taken) if taken else 0.0
    found = hardest(*batch, share=share, label_smoothing=smoothing)
    assert float(found) == pytest.approx(expected)


@given(batch=batches())
def test_dice_is_that_of_the_classes_present(batch: tuple[Tensor, Tensor]) -> None:
    expected = slow_dice(*batch) if (batch[1] >= 0).any() else 0.0
    assert float(dice(*batch)) == pytest.approx(expected, abs=1e-12)


def test_hardest_fifth_of_ten_pixels_is_two() -> None:
    """By hand: of two classes, the loss is log(1 + exp(-x)) where the first one's logit is x."""
    x = torch.arange(10.0)
    logits = torch.stack([x, torch.zeros(10)]).reshape(1, 2, 2, 5)
    expected = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    assert float(hardest(logits, torch.zeros(1, 2, 5, dtype=torch.long))) == pytest.approx(expected)


def test_dice_by_hand() -> None:
    """Two pixels of one class, one of another, a third class absent; all probabilities a third."""
    logits = torch.zeros(1, 3, 4)
    targets = torch.tensor([[0, 0, 1, -1]])
    expected = 1 - (2 * (2 / 3) / (1 + 2) + 2 * (1 / 3) / (1 + 1)) / 2
    assert float(dice(logits, targets)) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
@given(batch=batches(), seed=st.integers(0, 1000))
def test_what_is_unlabelled_changes_nothing(
    name: str, batch: tuple[Tensor, Tensor], seed: int
) -> None:
    logits, targets = batch
    generator = torch.Generator().manual_seed(seed)
    more = torch.cat([logits, 50 * torch.randn(logits.shape, generator=generator).double()])
    unlabelled = torch.cat([targets, torch.full_like(targets, -1)])
    calculate = loss(name)
    torch.testing.assert_close(calculate(more, unlabelled), calculate(logits, targets))


@pytest.mark.parametrize("name", NAMES)
@given(batch=batches(), seed=st.integers(0, 1000))
def test_neither_places_nor_names_of_classes_matter(
    name: str, batch: tuple[Tensor, Tensor], seed: int
) -> None:
    logits, targets = batch
    generator = torch.Generator().manual_seed(seed)
    flat, labels = logits.movedim(1, -1).flatten(0, -2), targets.flatten()
    order = torch.randperm(len(labels), generator=generator)
    classes = torch.randperm(flat.shape[1], generator=generator)
    renamed = torch.where(labels < 0, labels, classes.argsort()[labels.clamp(min=0)])
    calculate = loss(name)
    torch.testing.assert_close(
        calculate(flat[order][:, classes], renamed[order]), calculate(logits, targets)
    )


@given(batch=batches())
def test_losses_are_ordered(batch: tuple[Tensor, Tensor]) -> None:
    """The hardest pixels lose at least as much as all do; Dice lies between zero and one."""
    entropy, hard = float(cross_entropy(*batch)), float(hardest(*batch))
    assert hard >= entropy * (1 - 1e-12) >= 0
    assert -1e-12 <= float(dice(*batch)) <= 1
    assert float(loss("cross-entropy+dice")(*batch)) == pytest.approx(entropy + float(dice(*batch)))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 3, 4, 2, generator=generator, dtype=torch.double, requires_grad=True)
    targets = torch.randint(-1, 3, (2, 4, 2), generator=generator)
    calculate = loss(name)
    assert torch.autograd.gradcheck(lambda x: calculate(x, targets), (logits,))
    calculate(logits, targets).backward()
    assert logits.grad is not None
    assert not logits.grad.movedim(1, -1)[targets == -1].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_labels_teaches_nothing(name: str) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    value = loss(name)(logits, torch.full((2, 4, 4), -1))
    value.backward()
    assert float(value.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_certainty_of_the_truth_costs_nothing_and_of_an_error_much(name: str) -> None:
    targets = torch.tensor([[0, 1, 2, -1, 1]])
    truth = torch.nn.functional.one_hot(targets.clamp(min=0), 3).movedim(-1, 1).float()
    assert float(loss(name)(100 * truth, targets)) == pytest.approx(0, abs=1e-6)
    assert float(loss(name)(-100 * truth, targets)) > 0.99


def test_names_and_options_that_cannot_be_used() -> None:
    with pytest.raises(RecipeError, match=r"no loss 'dise' .did you mean 'dice'"):
        loss("dise")
    with pytest.raises(RecipeError, match="'dice' has no label smoothing"):
        loss("dice", label_smoothing=0.1)
    smooth = loss("hardest", label_smoothing=0.3)(torch.tensor([[9.0, 0.0]]), torch.tensor([0]))
    assert float(smooth) == pytest.approx(0.15 * 9 + math.log(1 + math.exp(-9)))
