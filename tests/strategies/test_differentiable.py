"""The differentiable search: its schedule, what it keeps, and that it resumes exactly."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, RunError
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hsi3d import HSI3D
from swath.strategies import differentiable
from swath.strategies.differentiable import (
    DifferentiableSettings,
    Found,
    differentiable_search,
    learning_rate,
    skip_share,
)
from swath.supernets.hsi3d import HSI3DMixture
from swath.tasks.metrics import Scores
from swath.tasks.scene import SceneTask
from swath.tasks.windows import WindowSampler
from swath.training.checkpoints import load_state
from swath.training.evaluate import Validation

MakeTask = Callable[..., SceneTask]
SPACE = HSI3D(stem_width=3, head_width=4, nodes=1)


def settings(**changes: Any) -> DifferentiableSettings:
    values: dict[str, Any] = {
        "mode": "sampled",
        "width": 2,
        "epochs": 5,
        "warmup": 2,
        "steps": 3,
        "pool": None,
        "window": 5,
        "batch": 2,
        "architecture_rate": 0.05,
    }
    return DifferentiableSettings(**{**values, **changes})


def run(task: SceneTask, folder: Path, report: Any = None, seed: int = 0, **changes: Any) -> Found:
    return differentiable_search(
        SPACE, task, settings(**changes), seed=seed, folder=folder, report=report
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "history.jsonl").read_text()
    return [{**json.loads(line), "seconds": 0} for line in text.splitlines()]


def supernet_of(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = load_state(folder / "checkpoint.safetensors")["supernet"]
    return state


def same_result(a: Path, b: Path) -> None:
    ours, theirs = supernet_of(a), supernet_of(b)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert lines(a) == lines(b)


def test_published_defaults() -> None:
    """Those of 3D-ANAS."""
    found = DifferentiableSettings()
    assert (found.epochs, found.warmup, found.pool, found.window) == (100, 20, 200, 32)
    assert (found.learning_rate, found.final_rate, found.momentum) == (0.025, 0.001, 0.9)
    assert (found.weight_decay, found.architecture_rate, found.architecture_decay) == (
        3e-4,
        1e-3,
        1e-3,
    )
    assert (found.mode, found.width, found.cell_sharing, found.batch) == ("full", 8, True, 5)
    assert (found.optimiser, found.recalibrate) == ("sgd", False)


def test_the_papers_learning_rate_falls_as_a_cosine() -> None:
    """From 0.025 in the first epoch towards 0.001 after the last (3D-ANAS)."""
    paper = DifferentiableSettings()
    rates = [learning_rate(paper, epoch) for epoch in range(1, 101)]
    assert rates[0] == 0.025
    assert rates[50] == pytest.approx(0.013)
    assert rates == sorted(rates, reverse=True)
    assert 0.001 < rates[-1] < 0.00101
    for epoch in (2, 17, 99):
        wave = 0.5 + 0.5 * math.cos((epoch - 1) / 100 * math.pi)
        assert rates[epoch - 1] == pytest.approx(0.001 + 0.024 * wave)


def test_the_authors_learning_rate_oscillates() -> None:
    """The authors' code: a cosine of T_max 10 times a polynomial decay."""
    code = DifferentiableSettings(schedule="oscillating")
    for epoch in range(1, 101):
        expected = 0.001 + 0.024 * (1 + math.cos(math.pi * epoch / 10)) / 2 * (
            (1 - epoch / 100) ** 0.9
        )
        assert learning_rate(code, epoch) == pytest.approx(expected, rel=1e-12)
    assert learning_rate(code, 10) == pytest.approx(0.001)  # down,
    assert learning_rate(code, 20) == pytest.approx(0.001 + 0.024 * 0.8**0.9)  # and up again
    assert learning_rate(code, 100) == 0.001


def test_weights_use_the_rate_of_their_epoch_and_steps_alternate(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, float]] = []
    sgd, adam = torch.optim.SGD.step, torch.optim.Adam.step

    def weight_step(self: torch.optim.SGD, *args: Any) -> Any:
        order.append(("w", self.param_groups[0]["lr"]))
        return sgd(self, *args)

    def choice_step(self: torch.optim.Adam, *args: Any) -> Any:
        order.append(("a", self.param_groups[0]["lr"]))
        return adam(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", weight_step)
    monkeypatch.setattr(torch.optim.Adam, "step", choice_step)
    run(make_task(), tmp_path, epochs=4, warmup=2, steps=3)
    assert "".join(kind for kind, _ in order) == "www" * 2 + "awawaw" * 2
    rates = [rate for kind, rate in order if kind == "w"]
    assert rates == [learning_rate(settings(epochs=4), e) for e in (1, 2, 3, 4) for _ in range(3)]
    assert {rate for kind, rate in order if kind == "a"} == {0.05}


@pytest.mark.parametrize("mode", ["full", "sampled"])
def test_warm_up_leaves_the_architecture_untouched(
    make_task: MakeTask, tmp_path: Path, mode: str
) -> None:
    states: list[dict[str, torch.Tensor]] = []
    run(
        make_task(),
        tmp_path,
        lambda line: states.append(supernet_of(tmp_path)),
        mode=mode,
        epochs=4,
        warmup=2,
    )
    fresh = HSI3DMixture(SPACE, InputSpec(9), OutputSpec(3), width=2)
    for epoch, state in enumerate(states, start=1):
        untouched = torch.equal(state["alpha"], fresh.alpha) and torch.equal(
            state["beta"], fresh.beta
        )
        assert untouched == (epoch <= 2)
    weights = [state["stem.first.0.weight"] for state in states]
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(weights))
    assert [line["arch_trained"] for line in lines(tmp_path)] == [False, False, True, True]


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[tuple[float, float]]) -> None:
    script = iter(values)

    def answer(*args: Any, **kwargs: Any) -> Validation:
        oa, loss = next(script)
        return Validation(Scores(oa, oa, oa, (oa,), (1,)), loss)

    monkeypatch.setattr(differentiable, "evaluate", answer)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([(1.0, 0.1), (0.9, 0.1), (0.5, 1.0), (0.6, 1.0), (0.4, 0.1)], 4),
        ([(1.0, 0.1), (0.9, 0.1), (0.5, 1.0), (0.5, 0.9), (0.5, 0.95)], 4),
        ([(1.0, 0.1), (0.9, 0.1), (0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], 3),
    ],
)
def test_the_best_epoch_is_one_after_warm_up(
    make_task: MakeTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: list[tuple[float, float]],
    best: int,
) -> None:
    scripted(monkeypatch, values)
    found = run(make_task(), tmp_path, epochs=5, warmup=2)
    assert (found.epoch, found.epochs, found.collapsed) == (best, 5, False)
    history = lines(tmp_path)
    assert found.validation.scores.oa == values[best - 1][0]
    assert found.architecture.as_dict() == history[best - 1]["genes"]
    assert max(x["epoch"] for x in history if x["best"]) == best
    assert not any(x["best"] for x in history[:2])


def test_epochs_are_compared_by_the_tasks_criterion(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tiles by the mean IoU, which is lower than the overall accuracy."""
    script = iter([(1.0, 1.0), (1.0, 1.0), (0.9, 0.3), (0.8, 0.5), (0.95, 0.4)])

    def answer(*args: Any, **kwargs: Any) -> Validation:
        oa, iou = next(script)
        return Validation(Scores(oa, oa, oa, (oa,), (1,), (iou,)), 1.0, "miou")

    monkeypatch.setattr(differentiable, "evaluate", answer)
    monkeypatch.setattr(SceneTask, "criterion", "miou")
    found = run(make_task(), tmp_path)
    assert (found.epoch, found.validation.score) == (4, 0.5)


def test_a_batch_without_a_label_teaches_nothing(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops of tiles may hold none."""
    original = WindowSampler.batch

    def batch(self: Any, count: int, step: int, **options: Any) -> Any:
        x, y = original(self, count, step, **options)
        return x, torch.full_like(y, -1) if step == 7 else y

    monkeypatch.setattr(WindowSampler, "batch", batch)
    assert run(make_task(), tmp_path).epochs == 5
    assert all(math.isfinite(line["loss"]) for line in lines(tmp_path))


def let_alpha_collapse(monkeypatch: pytest.MonkeyPatch, from_epoch: int) -> None:
    """Push alpha to skip connections in the epochs from this one on."""
    original = differentiable._Search.train_epoch

    def train_epoch(self: Any) -> float:
        loss = original(self)
        if self.epoch + 1 >= from_epoch:
            with torch.no_grad():
                self.supernet.alpha[..., -2] = 50
        return loss

    monkeypatch.setattr(differentiable._Search, "train_epoch", train_epoch)


def test_a_collapse_ends_the_search_and_is_told(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_alpha_collapse(monkeypatch, 4)
    task = make_task()
    found = run(task, tmp_path, epochs=20, warmup=2)
    assert found.collapsed
    assert found.epochs == 6
    assert found.epoch == 3  # the only one after the warm-up that had not collapsed
    assert [x["skip_share"] == 1 for x in lines(tmp_path)] == [False] * 3 + [True] * 3
    # the same call again finds the same, without another epoch
    again = run(task, tmp_path, epochs=20, warmup=2)
    assert (again.collapsed, again.epochs, again.epoch) == (True, 6, found.epoch)
    assert again.architecture == found.architecture


@pytest.mark.parametrize(
    ("collapsed", "values", "best"),
    [
        ((4,), [(0.5, 1.0), (0.6, 1.0), (0.7, 1.0), (0.9, 0.1), (0.6, 1.0)], 3),
        ((3,), [(0.5, 1.0), (0.6, 1.0), (0.9, 0.1), (0.7, 1.0), (0.6, 1.0)], 4),
        ((3, 4, 5), [(0.5, 1.0), (0.6, 1.0), (0.7, 1.0), (0.9, 0.1), (0.8, 1.0)], 4),
    ],
    ids=["after", "before", "all"],
)
def test_a_collapsed_epoch_is_kept_only_where_no_other_is(
    make_task: MakeTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    collapsed: tuple[int, ...],
    values: list[tuple[float, float]],
    best: int,
) -> None:
    scripted(monkeypatch, values)
    shares = iter([0.9 if epoch in collapsed else 0.2 for epoch in range(1, 6)])
    monkeypatch.setattr(differentiable, "skip_share", lambda architecture: next(shares))
    found = run(make_task(), tmp_path, epochs=5, warmup=2)
    assert found.epoch == best
    history = lines(tmp_path)
    assert found.architecture.as_dict() == history[best - 1]["genes"]
    assert [x["epoch"] for x in history if x["best"]][-1] == best


def test_skips_in_warm_up_or_when_allowed_end_nothing(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_alpha_collapse(monkeypatch, 1)
    found = run(make_task(), tmp_path / "allowed", epochs=6, warmup=1, collapse=1.0)
    assert (found.epochs, found.collapsed) == (6, False)
    # three epochs after the warm-up
    found = run(make_task(), tmp_path / "not", epochs=9, warmup=3)
    assert (found.epochs, found.collapsed) == (6, True)


def test_a_collapse_is_said_by_the_study(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swath.study.phases import find_architecture
    from swath.study.recipes import Recipe
    from swath.study.run import RunFolder

    let_alpha_collapse(monkeypatch, 3)
    told: list[dict[str, Any]] = []
    recipe = Recipe(search=settings(epochs=9, warmup=2))
    architecture, _ = find_architecture(
        SPACE, make_task(), recipe, RunFolder(tmp_path), torch.device("cpu"), told.append
    )
    notes = [event["text"] for event in told if event["phase"] == "note"]
    assert len(notes) == 1
    assert "ended in epoch 5" in notes[0]
    assert "collapsed to skip connections" in notes[0]
    assert "is used, the best, though all had" in notes[0]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["collapsed"] for entry in log if entry["event"] == "searched"] == [True]
    kept = json.loads((tmp_path / "best" / "architecture.json").read_text())
    assert Architecture.from_dict(kept) == architecture
    assert kept["key"] == architecture.key
    assert HSI3D(**kept["options"]).genes == SPACE.genes


def test_share_of_skips() -> None:
    genes: list[tuple[str, str | int]] = []
    for cell, skips in (("cell0", 1), ("cell1", 3)):
        for i in range(4):
            genes.append((f"{cell}.node{i}.inputs", "0,1"))
            genes.append((f"{cell}.node{i}.op0", "skip_connect" if i < skips else "con_3-3"))
        genes.append((f"{cell}.width", 1))
    assert skip_share(Architecture("hsi3d", tuple(genes))) == 0.75
    assert skip_share(Architecture("other", (("depth", 3),))) == 0


VARIATIONS: list[dict[str, Any]] = [
    {},
    {"mode": "full", "cell_sharing": False, "pool": 6, "sampling": "balanced"},
    {"mode": "full", "schedule": "oscillating"},
    {"optimiser": "adamw", "recalibrate": True},
]


@pytest.mark.parametrize("changes", VARIATIONS)
def test_resuming_gives_the_same_result_bit_for_bit(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    task = make_task()
    whole = run(task, tmp_path / "whole", **changes)
    folder = tmp_path / "parts"
    original = WindowSampler.batch
    # in warm-up, in an architecture step, and in the middle of the last epoch
    for at in (1, 7, 13):

        def stop(self: WindowSampler, count: int, step: int, at: int = at, **kw: Any) -> Any:
            if step == at:
                raise KeyboardInterrupt
            return original(self, count, step, **kw)

        monkeypatch.setattr(WindowSampler, "batch", stop)
        with pytest.raises(KeyboardInterrupt):
            run(task, folder, **changes)
        monkeypatch.undo()
    with open(folder / "history.jsonl", "a") as file:  # written, but its checkpoint was not
        file.write(json.dumps({"epoch": 5, "loss": -1}) + '\n{"phase": "sea')
    parts = run(task, folder, **changes)
    same_result(folder, tmp_path / "whole")
    assert parts.architecture == whole.architecture
    assert (parts.epoch, parts.epochs) == (whole.epoch, whole.epochs)
    assert parts.validation == whole.validation


def test_a_finished_search_is_returned_as_it_is(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    first = run(task, tmp_path)
    told: list[Any] = []
    again = run(task, tmp_path, told.append)
    assert told == []
    assert (again.architecture, again.epoch) == (first.architecture, first.epoch)


def test_the_seed_determines_everything(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    torch.manual_seed(1)
    run(task, tmp_path / "a", epochs=3)
    torch.manual_seed(2)
    run(task, tmp_path / "b", epochs=3)
    same_result(tmp_path / "a", tmp_path / "b")
    run(task, tmp_path / "c", epochs=3, seed=1)
    assert lines(tmp_path / "c") != lines(tmp_path / "a")


def test_the_two_lists_of_windows_are_drawn_once(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3D-ANAS: two lists of patches from the training labels, drawn once; no augmentation."""
    task = make_task(24, 24)
    drawn: dict[int, set[bytes]] = {}
    original = WindowSampler.batch

    def note(self: WindowSampler, count: int, step: int, **kw: Any) -> Any:
        assert kw == {"augmented": False}
        x, y = original(self, count, step, **kw)
        for window, labels in zip(x, y, strict=True):
            drawn.setdefault(self.seed, set()).add(window.numpy().tobytes())
            assert (labels >= 0).any()
        return x, y

    monkeypatch.setattr(WindowSampler, "batch", note)
    run(task, tmp_path, pool=4, epochs=6, warmup=1, steps=6)
    weights, choices = drawn.values()
    assert len(weights) <= 4
    assert len(choices) <= 4
    assert weights != choices
    # all from the training image, as it lies
    rows, columns = task.labels.values.shape
    every = {
        task.image[:, top : top + 5, left : left + 5].numpy().tobytes()
        for top in range(rows - 4)
        for left in range(columns - 4)
    }
    assert weights | choices <= every


def test_test_labels_change_nothing(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task()
    run(task, tmp_path / "a", epochs=3)
    task.labels.values[task.split.test] = 0
    run(task, tmp_path / "b", epochs=3)
    same_result(tmp_path / "a", tmp_path / "b")


def test_the_history_holds_what_a_report_draws(make_task: MakeTask, tmp_path: Path) -> None:
    found = run(make_task(), tmp_path)
    for epoch, line in enumerate(lines(tmp_path), start=1):
        assert (line["phase"], line["epoch"], line["epochs"]) == ("search", epoch, 5)
        alpha, beta = torch.tensor(line["alpha"]), torch.tensor(line["beta"])
        assert alpha.shape == (2, 2, 8)
        assert beta.shape == (3, 3)
        torch.testing.assert_close(alpha.sum(-1), torch.ones(2, 2), atol=1e-4, rtol=0)
        torch.testing.assert_close(beta.sum(-1), torch.ones(3), atol=1e-4, rtol=0)
        SPACE.architecture(line["genes"])
        assert 0 <= line["validation_accuracy"] <= 1
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("poisoned", "message"),
    [
        ("image", "search loss became nan in epoch 1; lower search.learning_rate"),
        ("validation", "validation loss became inf in epoch 1; lower search.learning_rate"),
    ],
)
def test_a_loss_that_is_no_number_ends_the_search(
    make_task: MakeTask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    poisoned: str,
    message: str,
) -> None:
    task = make_task()
    if poisoned == "image":
        task.image[:] = math.nan
    else:
        scripted(monkeypatch, [(0.5, math.inf)])
    with pytest.raises(RunError, match=message):
        run(task, tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_damaged_checkpoint_is_named(make_task: MakeTask, tmp_path: Path) -> None:
    run(make_task(), tmp_path, epochs=3)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors cannot be read.*delete it"):
        run(make_task(), tmp_path, epochs=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0, "warmup": 0}, "search.epochs must be at least 1, not 0"),
        ({"warmup": 5}, "search.warmup must be less than search.epochs"),
        ({"warmup": -1}, "search.warmup"),
        ({"pool": 0}, "search.pool must be at least 1"),
        ({"batch": 0}, "search.batch"),
        ({"collapse": 67.0}, r"search.collapse must lie in \[0, 1\], not 67.0"),
        ({"learning_rate": 0.0}, "search.learning_rate must be positive"),
        ({"final_rate": -1.0}, "search.final_rate must be at least 0"),
        ({"momentum": 1.5}, "search.momentum must lie in"),
        ({"weight_decay": -1.0}, "search.weight_decay must be at least 0"),
        ({"architecture_rate": -1.0}, "search.architecture_rate must be at least 0"),
        ({"architecture_decay": -1.0}, "search.architecture_decay must be at least 0"),
    ],
)
def test_unusable_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        settings(**changes)


@given(epochs=st.integers(1, 300), data=st.data())
def test_rates_stay_in_range(epochs: int, data: st.DataObject) -> None:
    epoch = data.draw(st.integers(1, epochs))
    for name in ("cosine", "oscillating"):
        found = learning_rate(settings(epochs=epochs, warmup=0, schedule=name), epoch)
        assert 0.001 - 1e-12 <= found <= 0.025 + 1e-12
