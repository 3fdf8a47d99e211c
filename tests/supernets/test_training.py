"""Training of shared weights against the same steps written out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from supernet_parts import make, samples
from torch import Tensor, nn

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, RunError
from swath.core.seeds import derive, numpy_generator
from swath.spaces.narrowed import Narrowed
from swath.supernets.sampling import update_paths
from swath.supernets.training import SupernetTrainer, SupernetTraining, averaged
from swath.training.checkpoints import load_state, save_state

SEED = 11


class Numbered:
    """Batches that follow from their number; notes which were asked for."""

    def __init__(self, patch: int, classes: int = 3) -> None:
        self.patch, self.classes = patch, classes
        self.asked: list[int] = []

    def batch(self, count: int, step: int, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        self.asked.append(step)
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(count, 7, self.patch, self.patch, generator=generator)
        return x, torch.randint(self.classes, (count,), generator=generator)


def trainer(stage: int = 0, **settings: Any) -> SupernetTrainer:
    space, supernet = make("nasbench201")
    batches = Numbered(space.patch or 1)
    given = {"epochs": 3, "later_epochs": 2, "steps": 4, "batch": 5, "snapshots": 2} | settings
    return SupernetTrainer(
        supernet,
        Narrowed(space, {}),
        batches,
        SupernetTraining(**given),
        stage=stage,
        seed=SEED,
        size=lambda one: sum(value == "nor_conv_3x3" for _, value in one.genes),
        device=torch.device("cpu"),
    )


def weights(made: SupernetTrainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in made.supernet.tensors().items()}


@pytest.mark.parametrize("paths", ["uniform", "fair", "sandwich"])
def test_an_update_follows_the_mean_gradient_of_its_paths(paths: Any) -> None:
    made = trainer(paths=paths, clip_norm=None, learning_rate=0.1, final_rate=0.0, momentum=0.0)
    by_hand = trainer().supernet
    loss = made.update(0)
    rng = numpy_generator(SEED, "supernet", 0, 0)
    drawn = update_paths(made.space, paths, rng, lambda: made.ends)
    assert len(drawn) == {"uniform": 1, "fair": 5, "sandwich": 4}[paths]
    x, y = Numbered(9).batch(5, 0)
    losses = [nn.functional.cross_entropy(by_hand.train()(x, path), y) for path in drawn]
    mean = torch.stack(losses).mean()
    assert loss == pytest.approx(mean.item(), rel=1e-5)
    parameters = dict(by_hand.named_parameters())
    gradients = torch.autograd.grad(mean, list(parameters.values()), allow_unused=True)
    updated = dict(made.supernet.named_parameters())
    untouched = 0
    for (name, before), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is None:
            assert torch.equal(updated[name], before), name
            untouched += 1
            continue
        decay = 0.0 if "bias" in name else 5e-4
        expected = before - 0.1 * (gradient + decay * before)
        torch.testing.assert_close(updated[name], expected, rtol=1e-4, atol=1e-6)
    assert untouched or paths == "fair"


def test_gradients_are_clipped_by_their_norm() -> None:
    made = trainer(clip_norm=1e-3, learning_rate=1.0, momentum=0.0, weight_decay=0.0)
    before = weights(made)
    made.update(0)
    moved = [p - before[name] for name, p in made.supernet.named_parameters()]
    assert math.sqrt(sum(m.square().sum().item() for m in moved)) == pytest.approx(1e-3, rel=1e-3)


def test_each_stage_has_its_own_rates_and_batches() -> None:
    seen: dict[int, list[float]] = {}
    asked: dict[int, list[int]] = {}
    for stage in (0, 1, 2):
        made = trainer(stage, schedule="linear", learning_rate=0.4, final_rate=0.0, later_rate=0.2)
        rates = seen.setdefault(stage, [])
        step = made.optimiser.step
        made.optimiser.step = lambda step=step, made=made, rates=rates: (  # type: ignore[method-assign]
            rates.append(made.optimiser.param_groups[0]["lr"]),
            step(),
        )
        assert made.epochs == (3 if stage == 0 else 2)
        for _ in range(made.epochs):
            made.train_epoch()
        asked[stage] = made.batches.asked  # type: ignore[attr-defined]
    assert seen[0] == pytest.approx([0.4 * (1 - i / 12) for i in range(12)])
    assert seen[1] == seen[2] == pytest.approx([0.2 * (1 - i / 8) for i in range(8)])
    # No batch comes twice, in whatever stage.
    assert asked == {0: [*range(12)], 1: [*range(12, 20)], 2: [*range(20, 28)]}
    whole = SupernetTraining(learning_rate=0.4, schedule="linear", final_rate=0.0)
    assert whole.rate(1, 0.0) == whole.rate(0, 0.0) == 0.4


@pytest.mark.parametrize(
    ("steps", "snapshots", "after"),
    [(4, 1, [3]), (4, 2, [1, 3]), (5, 2, [2, 4]), (7, 3, [2, 4, 6]), (3, 3, [0, 1, 2])],
)
def test_the_mean_is_that_of_the_last_epochs_snapshots(
    steps: int, snapshots: int, after: list[int]
) -> None:
    made = trainer(steps=steps, snapshots=snapshots, epochs=2)
    kept: list[dict[str, Tensor]] = []
    update = made.update

    def noted(step: int) -> float:
        loss = update(step)
        if step - steps in after:
            kept.append(weights(made))
        return loss

    made.update = noted  # type: ignore[method-assign]
    made.train_epoch()
    assert not made.mean
    made.train_epoch()
    assert len(kept) == snapshots
    for name, mean in made.mean.items():
        every = torch.stack([snapshot[name].double() for snapshot in kept])
        expected = every.mean(0) if mean.is_floating_point() else every[-1]
        torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)
    trained = weights(made)
    with averaged(made.supernet, made.mean):
        assert all(torch.equal(t, made.mean[n]) for n, t in made.supernet.tensors().items())
    assert all(torch.equal(t, trained[n]) for n, t in made.supernet.tensors().items())
    with pytest.raises(ZeroDivisionError), averaged(made.supernet, made.mean):
        raise ZeroDivisionError
    assert all(torch.equal(t, trained[n]) for n, t in made.supernet.tensors().items())


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_stage_goes_on_from_a_file_to_the_same_bits(
    tmp_path: Path, done: int, optimiser: Any
) -> None:
    whole, begun = (trainer(optimiser=optimiser, paths="fair") for _ in range(2))
    losses = [whole.train_epoch() for _ in range(3)]
    for _ in range(done):
        begun.train_epoch()
    save_state(tmp_path / "state.safetensors", begun.state())
    again = trainer(optimiser=optimiser, paths="fair")
    torch.manual_seed(99)  # what the process drew before is of no account
    again.load_state(load_state(tmp_path / "state.safetensors"))
    assert [again.train_epoch() for _ in range(3 - done)] == losses[done:]
    for found, expected in ((weights(again), weights(whole)), (again.mean, whole.mean)):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    made = trainer()
    with torch.no_grad():
        next(made.supernet.parameters()).fill_(math.nan)
    with pytest.raises(RunError, match=r"loss became nan in epoch 1; lower one_shot\.training"):
        made.train_epoch()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"one_shot\.training\.epochs must be at least 1, not 0"),
        ({"steps": 4, "snapshots": 5}, r"snapshots \(5\) cannot be more than the 4 steps"),
        ({"schedule": "cosin"}, "no schedule 'cosin' .did you mean 'cosine'"),
    ],
)
def test_unusable_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        SupernetTraining(**settings)


def test_optimisers_know_every_weight_and_no_more() -> None:
    made = trainer()
    known = [id(p) for group in made.optimiser.param_groups for p in group["params"]]
    assert sorted(known) == sorted(id(p) for p in made.supernet.parameters())
    assert len(set(known)) == len(known)
    # Only what was trained has a momentum.
    made.update(0)
    path: Architecture = samples(made.space, 1)[0]
    made.optimiser.state.clear()
    made.supernet.zero_grad()
    made.supernet(torch.randn(3, 7, 9, 9), path).sum().backward()
    made.optimiser.step()
    with made.supernet.path(path) as network:
        own = {id(p) for p in network.parameters()}
    assert {id(p) for p in made.optimiser.state} <= own
    assert made.optimiser.state


def test_batches_are_shaped_as_those_of_a_task(make_task: Callable[..., Any]) -> None:
    """The numbered batches of these tests are shaped as those of a task."""
    from swath.networks.patchwise import Patchwise
    from swath.training.batches import batches

    _, supernet = make("nasbench201")
    drawn = batches(Patchwise(supernet, 9), make_task(bands=7), derive(0), window=8)
    x, y = drawn.batch(5, 0)
    x2, y2 = Numbered(9).batch(5, 0)
    assert (x.shape, y.shape, y.dtype) == (x2.shape, y2.shape, y2.dtype)
