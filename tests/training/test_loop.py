"""The training loop: what it keeps, when it stops, and that it resumes exactly."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.core.errors import RecipeError, RunError
from swath.core.seeds import derive
from swath.networks.patchwise import Patchwise
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.hsi3d import HSI3D
from swath.spaces.hytas import HyTAS
from swath.spaces.nasbench201 import NASBench201
from swath.tasks.label_patches import PatchSampler
from swath.tasks.metrics import Scores
from swath.tasks.scene import SceneTask
from swath.tasks.windows import WindowSampler
from swath.training import loop
from swath.training.checkpoints import load_state
from swath.training.evaluate import Validation, evaluate
from swath.training.loop import Trained, TrainingSettings, train

MakeTask = Callable[..., SceneTask]
SPACE = HSI3D(base_width=2, stem_width=3, head_width=4, nodes=2)
TRANSFORMERS = HyTAS(embed_dims=[12], min_depth=2, max_depth=3, drop_path=0.3, patch=5)
CELLS = NASBench201(channels=2, cells=1, patch=3)


def settings(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {
        "iterations": 12,
        "window": 6,
        "batch": 2,
        "learning_rate": 0.02,
        "validate_every": 3,
    }
    return TrainingSettings(**{**values, **changes})


def network(task: SceneTask, space: SearchSpace = SPACE) -> nn.Module:
    torch.manual_seed(5)
    architecture = space.sample(np.random.default_rng(3))
    return space.build_dense(architecture, InputSpec(task.bands), OutputSpec(task.classes))


def equal(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "history.jsonl").read_text()
    return [{**json.loads(line), "seconds": 0} for line in text.splitlines()]


def run(
    task: SceneTask,
    folder: Path,
    report: Any = None,
    seed: int = 0,
    space: SearchSpace = SPACE,
    **changes: Any,
) -> Trained:
    given = settings(**changes)
    return train(network(task, space), task, given, seed=seed, folder=folder, report=report)


VARIATIONS: list[dict[str, Any]] = [
    {},
    {"optimiser": "adamw", "averaging": 0.9, "noise": 0.1, "clip_value": None, "clip_norm": 1.0},
    {"sampling": "balanced", "schedule": "warm-cosine", "label_smoothing": 0.1},
    {"space": TRANSFORMERS, "optimiser": "adamw", "sampling": "repeated", "batch": 7},
    {"space": CELLS, "averaging": 0.9, "sampling": "balanced"},
    {"space": HSI3D(base_width=2, stem_width=3, head_width=4, nodes=1, members=3), "noise": 0.1},
]


@pytest.mark.parametrize("changes", VARIATIONS)
def test_resuming_gives_the_same_weights_bit_for_bit(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    task = make_task()
    whole = run(task, tmp_path / "whole", **changes)
    folder = tmp_path / "parts"
    windows = isinstance(changes.get("space", SPACE), HSI3D)
    sampler: Any = WindowSampler if windows else PatchSampler
    original = sampler.batch
    # stopped within a block, then between validation and the next block, then right at the end
    for at in (4, 7):

        def stop(self: Any, count: int, step: int, at: int = at, **kw: Any) -> Any:
            if step == at:
                raise KeyboardInterrupt
            return original(self, count, step, **kw)

        monkeypatch.setattr(sampler, "batch", stop)
        with pytest.raises(KeyboardInterrupt):
            run(task, folder, **changes)
        monkeypatch.undo()

    def stop_after(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(task, folder, stop_after, **changes)
    parts = run(task, folder, **changes)
    assert equal(parts.network, whole.network)
    assert parts.validation == whole.validation
    assert (parts.iteration, parts.iterations) == (whole.iteration, whole.iterations)
    assert lines(folder) == lines(tmp_path / "whole")
    last, same = (load_state(f / "checkpoint.safetensors") for f in (folder, tmp_path / "whole"))
    assert all(torch.equal(last["network"][key], same["network"][key]) for key in same["network"])


def test_a_line_without_its_checkpoint_is_cut_off(make_task: MakeTask, tmp_path: Path) -> None:
    """Killed between history and checkpoint, or in the middle of a line."""
    task = make_task()
    run(task, tmp_path / "whole")
    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        run(task, folder, lambda line: (_ for _ in ()).throw(KeyboardInterrupt))
    with open(folder / "history.jsonl", "a") as file:
        file.write(json.dumps({"phase": "train", "iteration": 6, "loss": -1}) + "\n")
        file.write('{"phase": "tra')
    run(task, folder)
    assert lines(folder) == lines(tmp_path / "whole")
    # no checkpoint at all: the history is begun anew
    (folder / "checkpoint.safetensors").unlink()
    run(task, folder)
    assert lines(folder) == lines(tmp_path / "whole")


def test_a_finished_training_is_returned_as_it_is(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    first = run(task, tmp_path)
    reported: list[Any] = []
    again = run(task, tmp_path, reported.append)
    assert reported == []
    assert equal(first.network, again.network)
    assert (again.iteration, again.stopped) == (first.iteration, "schedule complete")


def test_the_best_network_is_that_of_its_validation(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    done = run(task, tmp_path, iterations=20, validate_every=2, learning_rate=0.05)
    history = lines(tmp_path)
    keys = [(x["validation_accuracy"], -x["validation_loss"]) for x in history]
    best = history[keys.index(max(keys))]
    assert done.iteration == best["iteration"]
    assert [x["best"] for x in history] == [
        key > max(keys[:i], default=(-1.0, 0.0)) for i, key in enumerate(keys)
    ]
    assert not done.network.training
    measured = evaluate(done.network, task, "validation")
    assert measured.scores == done.validation.scores
    assert measured.loss == pytest.approx(done.validation.loss, rel=1e-6)


def test_the_seed_determines_everything(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    noisy = {"noise": 0.2, "iterations": 4}
    torch.manual_seed(1)
    first = run(task, tmp_path / "a", **noisy)
    torch.manual_seed(2)
    torch.randn(100)
    assert equal(first.network, run(task, tmp_path / "b", **noisy).network)
    assert not equal(first.network, run(task, tmp_path / "c", seed=1, **noisy).network)
    assert not equal(first.network, run(task, tmp_path / "d", iterations=4).network)


def scripted(
    monkeypatch: pytest.MonkeyPatch, values: list[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """Let validations answer these (accuracy, loss)."""
    script = iter(values)

    def answer(*args: Any, **kwargs: Any) -> Validation:
        oa, loss = next(script)
        return Validation(Scores(oa, oa, oa, (oa,), (1,)), loss)

    monkeypatch.setattr(loop, "evaluate", answer)
    return script


def test_patience_waits_for_accuracy_and_loss(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [
        (0.5, 1.0),
        (0.5, 1.0),  # 1 without
        (0.4, 0.9),  # lower loss
        (0.5, 0.95),  # better accuracy than the best? equal, at a lower loss than the best's
        (0.5, 0.95),  # 1
        (0.6, 2.0),  # better accuracy
        (0.6, 2.0),  # 1
        (0.5, 0.9),  # 2
        (0.59, 0.95),  # 3: stop
        (1.0, 0.0),  # never asked
    ]
    script = scripted(monkeypatch, values)
    done = run(make_task(), tmp_path, iterations=1000, validate_every=1, patience=3)
    assert done.iterations == 9
    assert done.iteration == 6
    assert done.stopped == "validation accuracy and loss saturated"
    assert next(script) == (1.0, 0.0)
    # again: it stays stopped
    again = run(make_task(), tmp_path, iterations=1000, validate_every=1, patience=3)
    assert (again.iterations, again.iteration, again.stopped) == (9, 6, done.stopped)


def test_patience_ends_a_training_that_keeps_the_last_weights_too(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [
        (0.5, 1.0),
        (0.4, 1.5),  # 1 without
        (0.6, 2.0),  # better accuracy
        (0.55, 1.2),  # 1: better than nothing but the two before
        (0.6, 1.1),  # 2: equal, at a lower loss than the best's, but than no other
        (1.0, 0.0),  # never asked
    ]
    script = scripted(monkeypatch, values)
    options: dict[str, Any] = {"iterations": 1000, "validate_every": 1, "patience": 2}

    def stop(line: dict[str, Any]) -> None:
        if line["iteration"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_task(), tmp_path, stop, keep="last", **options)
    done = run(make_task(), tmp_path, keep="last", **options)
    assert (done.iterations, done.iteration) == (5, 5)
    assert done.stopped == "validation accuracy and loss saturated"
    assert next(script) == (1.0, 0.0)


def test_the_learning_rate_follows_the_schedule_for_each_group(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3D-ANAS: 0.1 (1 - it / max)^0.9 each iteration, biases twice that."""
    rates: list[list[float]] = []
    original = torch.optim.SGD.step

    def note(self: torch.optim.SGD, *args: Any) -> Any:
        rates.append([group["lr"] for group in self.param_groups])
        return original(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", note)
    run(make_task(), tmp_path, iterations=7, validate_every=7, learning_rate=0.1)
    assert len(rates) == 7
    for iteration, found in enumerate(rates):
        expected = 0.1 * (1 - iteration / 7) ** 0.9
        assert sorted(found) == pytest.approx([expected, 2 * expected])
    assert lines(tmp_path)[-1]["learning_rate"] == pytest.approx(0.1 * (1 / 7) ** 0.9)


class Constant(nn.Module):
    """Logits that do not depend on the input, with a gradient of known size."""

    def __init__(self, classes: int, factor: float = 1.0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(classes))
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        logits = self.factor * self.logits
        return logits[None, :, None, None].expand(x.shape[0], -1, *x.shape[2:])


@pytest.mark.parametrize(
    ("clip", "bound"), [({"clip_value": 0.01}, 0.01), ({"clip_value": 5.0}, 5)]
)
def test_gradients_are_clipped_by_value(
    make_task: MakeTask, tmp_path: Path, clip: dict[str, float], bound: float
) -> None:
    task = make_task()
    model = Constant(task.classes, factor=100.0)
    options = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "learning_rate": 1.0}
    train(
        model,
        task,
        settings(iterations=1, validate_every=1, **options, **clip),
        seed=0,
        folder=tmp_path,
    )
    # one step of rate one moves each logit by its clipped gradient
    assert model.logits.abs().max().item() == pytest.approx(bound)


def test_gradients_are_clipped_by_norm(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    model = Constant(task.classes, factor=100.0)
    options = {"momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "learning_rate": 1.0}
    train(
        model,
        task,
        settings(iterations=1, validate_every=1, clip_value=None, clip_norm=0.5, **options),
        seed=0,
        folder=tmp_path,
    )
    assert model.logits.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_the_average_moves_as_written(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decay min(0.9, step / (step + 9)); the averaged weights are what is kept."""
    task = make_task()
    model = Constant(task.classes)
    after: list[Tensor] = []
    original = torch.optim.SGD.step

    def note(self: torch.optim.SGD, *args: Any) -> Any:
        original(self, *args)
        after.append(model.logits.detach().clone())

    monkeypatch.setattr(torch.optim.SGD, "step", note)
    done = train(
        model,
        task,
        settings(iterations=15, validate_every=15, averaging=0.6, weight_decay=0.0),
        seed=0,
        folder=tmp_path,
    )
    average = torch.zeros(task.classes, dtype=torch.float64)
    for step, weights in enumerate(after, start=1):
        decay = min(0.6, step / (step + 9))
        average = decay * average + (1 - decay) * weights.double()
    assert isinstance(done.network, Constant)
    assert done.network is not model
    torch.testing.assert_close(done.network.logits.double(), average, rtol=1e-4, atol=1e-6)


def test_unlabelled_pixels_do_not_count(make_task: MakeTask, tmp_path: Path) -> None:
    """The loss is the mean over labelled pixels: log(classes) for equal logits."""
    task = make_task()
    losses: list[float] = []
    model = Constant(task.classes)
    train(
        model,
        task,
        settings(iterations=1, validate_every=1),
        seed=0,
        folder=tmp_path,
        report=lambda line: losses.append(line["loss"]),
    )
    assert losses == [pytest.approx(math.log(task.classes))]


class Broken(Constant):
    """Answers NaN when asked in training (or in evaluation)."""

    def __init__(self, classes: int, in_training: bool) -> None:
        super().__init__(classes)
        self.in_training = in_training

    def forward(self, x: Tensor) -> Tensor:
        bad = math.nan if self.training == self.in_training else 1.0
        return super().forward(x) * bad


@pytest.mark.parametrize(
    ("in_training", "message"),
    [
        (True, "training loss became nan at iteration 0; lower training.learning_rate"),
        (False, "validation loss became nan at iteration 3; lower training.learning_rate"),
    ],
)
def test_a_loss_that_is_no_number_ends_the_training(
    make_task: MakeTask, tmp_path: Path, in_training: bool, message: str
) -> None:
    task = make_task()
    with pytest.raises(RunError, match=message):
        train(Broken(task.classes, in_training), task, settings(), seed=0, folder=tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_damaged_checkpoint_is_named(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    run(task, tmp_path, iterations=3)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors cannot be read"):
        run(task, tmp_path, iterations=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "training.iterations must be at least 1, not 0"),
        ({"patience": -1}, "training.patience"),
        ({"averaging": 1.0}, "training.averaging must lie in"),
        ({"warmup": 1.5}, "training.warmup is a share below 1 or a whole number of updates"),
        ({"warmup": -1}, "training.warmup is a share"),
        ({"schedule": "polly"}, "no schedule 'polly' .did you mean 'poly'"),
        ({"learning_rate": 0.0}, "training.learning_rate must be positive"),
        ({"learning_rate": math.nan}, "training.learning_rate must be positive, not nan"),
        ({"final_rate": -1e-3}, "training.final_rate must be at least 0"),
        ({"first_rate": -1e-3}, "training.first_rate must be at least 0"),
        ({"momentum": 1.0}, r"training.momentum must lie in \[0, 1\), not 1.0"),
        ({"weight_decay": -1e-4}, "training.weight_decay must be at least 0"),
        ({"bias_rate": -1.0}, "training.bias_rate must be at least 0"),
        ({"clip_value": 0.0}, "training.clip_value must be positive"),
        ({"clip_norm": -5.0}, "training.clip_norm must be positive"),
        ({"label_smoothing": 10.0}, r"training.label_smoothing must lie in \[0, 1\]"),
        ({"noise": -0.1}, "training.noise must be at least 0"),
    ],
)
def test_unusable_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        settings(**changes)


@pytest.mark.parametrize("space", [SPACE, TRANSFORMERS], ids=lambda space: space.name)
def test_hidden_pixels_never_enter(make_task: MakeTask, tmp_path: Path, space: SearchSpace) -> None:
    """With a spatial split, spectra of hidden pixels change nothing in the training."""
    results = []
    for scale in (1.0, 100.0):
        task = make_task(32, 32, train=3, validation=2, spatial=True)
        assert task.split.visible is not None
        hidden = torch.from_numpy(~task.split.visible)
        task.image[:, hidden] *= scale
        model = network(task, space)
        # validation looks at its surroundings as mapping does; so compare the weights
        train(model, task, settings(iterations=3), seed=0, folder=tmp_path / str(scale))
        results.append(load_state(tmp_path / str(scale) / "checkpoint.safetensors")["network"])
    assert all(torch.equal(results[0][key], results[1][key]) for key in results[0])


@pytest.mark.parametrize("augmented", [True, False])
def test_patch_networks_learn_from_patches_around_labels(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, augmented: bool
) -> None:
    """One update is that of a plain optimiser on the sampler's batch."""
    task = make_task()
    model = network(task, TRANSFORMERS)
    assert isinstance(model, Patchwise)
    expected = copy.deepcopy(model.network).train()
    given = settings(
        iterations=1, validate_every=1, batch=6, augmentation=augmented, momentum=0.0, bias_rate=1.0
    )
    # no layer is skipped, since nobody else can know which
    monkeypatch.setattr("swath.networks.spectral_transformer.DropPath.forward", lambda self, x: x)
    train(model, task, given, seed=3, folder=tmp_path)
    sampler = PatchSampler(task.image, task.targets("train"), 5, derive(3, "train"), "uniform")
    x, y = sampler.batch(6, 0, augmented=augmented)
    nn.functional.cross_entropy(expected(x), y).backward()
    nn.utils.clip_grad_value_(expected.parameters(), 5.0)
    optimiser = torch.optim.SGD(expected.parameters(), lr=0.02)
    for name, parameter in expected.named_parameters():
        decay = 0.0 if "bias" in name else 4e-5
        assert parameter.grad is not None
        parameter.grad += decay * parameter.detach()
    optimiser.step()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.network.state_dict()[name], value, msg=name)


def test_repeated_sampling_is_for_patch_networks(make_task: MakeTask, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'repeated' is for networks that classify patches"):
        run(make_task(), tmp_path, sampling="repeated")


def test_the_published_schedule_of_hytas(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 1e-6 in 5 of 300 epochs to 3.125e-4, then down to 1e-5."""
    rates: list[float] = []
    original = torch.optim.AdamW.step

    def note(self: torch.optim.AdamW, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    published = {
        "optimiser": "adamw",
        "learning_rate": 3.125e-4,
        "weight_decay": 0.005,
        "bias_rate": 1.0,
        "schedule": "warm-cosine",
        "warmup": 5 / 300,
        "first_rate": 1e-6,
        "final_rate": 1e-5,
        "clip_value": None,
        "sampling": "repeated",
        "augmentation": False,
    }
    space = HyTAS(embed_dims=[12], min_depth=2, max_depth=3, patch=1)
    run(
        make_task(8, 8, bands=2, train=1, validation=1),
        tmp_path,
        space=space,
        iterations=300,
        validate_every=300,
        **published,
    )
    assert rates[:6] == pytest.approx([1e-6 + n / 5 * (3.125e-4 - 1e-6) for n in range(6)])
    for epoch in (6, 100, 152, 299):
        fallen = (1 + math.cos(math.pi * (epoch - 5) / 295)) / 2
        assert rates[epoch] == pytest.approx(1e-5 + (3.125e-4 - 1e-5) * fallen)


def test_a_warm_up_in_updates_is_as_long_however_long_the_training() -> None:
    for iterations in (20, 200):
        made = settings(iterations=iterations, schedule="warm-poly", warmup=10, first_rate=0.001)
        assert made.rate(0) == pytest.approx(0.001)
        assert made.rate(5 / iterations) == pytest.approx(0.0105)
        assert made.rate(10 / iterations) == pytest.approx(made.learning_rate)
    short = settings(iterations=5, schedule="warm-poly", warmup=10, first_rate=0.001)
    assert short.rate(1) == pytest.approx(0.0105)  # its half is all there is


def test_the_last_weights_are_kept_where_they_are_asked_for(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations get worse and worse: the best are the first, the last the last."""
    task, losses = make_task(), iter(range(100))
    found = evaluate(network(task), task, "validation")

    def worse(network: nn.Module, task: SceneTask, part: str, **options: Any) -> Validation:
        return Validation(found.scores, float(next(losses)), found.criterion)

    monkeypatch.setattr(loop, "evaluate", worse)
    best = run(task, tmp_path / "best", iterations=9, keep="best")
    last = run(task, tmp_path / "last", iterations=9, keep="last")
    assert (best.iteration, last.iteration) == (3, 9)
    state = load_state(tmp_path / "last" / "checkpoint.safetensors")
    kept = last.network.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in state["network"].items())
