"""One-shot search: train a supernet, shrink and expand it, and rank what is left with its weights.

Sources: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling" (SPOS);
Chu, Zhang, Xu, "FairNAS"; Hu et al., "Improving One-Shot NAS with Shrinking-and-Expanding Supernet"
(SE-NAS), and where it is silent "Angle-based Search Space Shrinking" (ABS) by the same first
author.  They differ in their settings alone (:mod:`swath.strategies.one_shot_settings`).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from swath.core.architecture import Architecture
from swath.core.errors import NothingToSample
from swath.core.evaluation import Evaluation
from swath.core.files import append_json_line, read_json_lines, write_json
from swath.core.history import History, Trial
from swath.core.memory import give_back_freed
from swath.core.seeds import derive, numpy_generator
from swath.estimators.inherited import Inherited, asked_as
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.narrowed import Narrowed
from swath.strategies.one_shot_settings import OneShotSettings, Shrinking
from swath.supernets import create_supernet
from swath.supernets.operators import (
    Operator,
    covering_sample,
    is_possible,
    operators,
    reachable,
    without,
)
from swath.supernets.shrinking import (
    angle,
    dropped,
    importance,
    random_score,
    score,
    sensitivity,
)
from swath.supernets.training import SupernetTrainer, averaged
from swath.tasks.base import Task
from swath.training.batches import batches
from swath.training.checkpoints import cut_history, load_state, save_state

__all__ = ["FoundOneShot", "OneShot", "Ranked", "one_shot_search"]

Progress = Callable[[dict[str, Any]], None]
Allows = Callable[[Architecture], bool]


@dataclass(frozen=True)
class Ranked:
    """An architecture with its score by the supernet."""

    architecture: Architecture
    evaluation: Evaluation


@dataclass(frozen=True)
class FoundOneShot:
    """What a one-shot search ended with.

    Parameters
    ----------
    ranking : all that were judged with the final weights, the best first.
    remaining : what is left of the space.
    """

    ranking: tuple[Ranked, ...]
    remaining: Narrowed
    seconds: float


def one_shot_search(
    space: SearchSpace,
    task: Task,
    settings: OneShotSettings,
    *,
    seed: int,
    folder: Path,
    report: Progress | None = None,
    device: torch.device | None = None,
    allows: Allows | None = None,
) -> FoundOneShot:
    """Search ``space`` for the task with a supernet.

    State is written to ``folder`` at each epoch and with each child that is judged; called again
    after an interruption, the search goes on from there, on a CPU to the same result.

    Parameters
    ----------
    space : whole, or what was left of one.
    folder : for ``checkpoint.safetensors``, ``history.jsonl`` (epochs), ``children.jsonl`` (all
        that were judged), ``stages.json`` (what was dropped and merged, with all scores).
    allows : whether an architecture keeps to the constraints; others are never judged, and
        operators that none of them has are not searched.  A
        :class:`~swath.spaces.conditions.Condition` lets them be found where they are few.

    Raises
    ------
    RunError : the loss became NaN or infinite, or the folder cannot be written.
    NothingToSample : the constraints leave nothing.
    UnknownName : the space has no supernet.
    """
    report = report or (lambda event: None)
    begun = time.perf_counter()
    search = OneShot(space, task, settings, seed=seed, device=device, allows=allows)
    folder.mkdir(parents=True, exist_ok=True)
    search.restore(folder)
    before = search.seconds
    while not search.trained:
        if search.trainer.epoch == search.trainer.epochs:
            search.shrink(report)
            write_json(folder / "stages.json", {"stages": search.stages})
        else:
            line = search.train_epoch()
            line["seconds"] = search.seconds = before + time.perf_counter() - begun
            append_json_line(folder / "history.jsonl", line)
            report(line)
        search.save(folder)
    ranking = search.rank(report)
    return FoundOneShot(tuple(ranking), search.remaining, before + time.perf_counter() - begun)


class OneShot:
    """A one-shot search, step by step: epochs, shrinkings, and in the end the ranking.

    Parameters are those of :func:`one_shot_search`.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        settings: OneShotSettings,
        *,
        seed: int,
        device: torch.device | None = None,
        allows: Allows | None = None,
    ) -> None:
        whole = space.space if isinstance(space, Narrowed) else space
        self.space, self.task, self.settings, self.seed = whole, task, settings, seed
        self.device, self.allows = device or torch.device("cpu"), allows
        self.inputs, self.outputs = InputSpec(task.bands), OutputSpec(task.classes)
        torch.manual_seed(derive(seed, "supernet"))
        self.supernet = create_supernet(whole, self.inputs, self.outputs).to(self.device)
        shrinking = settings.shrinking
        self.initial = (
            copy.deepcopy(self.supernet)
            if shrinking is not None and shrinking.measure == "angle"
            else None
        )
        self.remaining = Narrowed(space, {})
        if allows is not None:
            rng = numpy_generator(seed, "reachable")
            self.remaining = reachable(self.remaining, rng, allows)
        self.stages: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._sizes: dict[Architecture, int] = {}
        self._judged: dict[tuple[int, str], Evaluation] = {}
        self._children: Path | None = None
        self.trainer = self._trainer()

    def _trainer(self) -> SupernetTrainer:
        training = self.settings.training
        drawn = batches(
            asked_as(self.supernet, self.space),
            self.task,
            derive(self.seed, "batches"),
            window=training.window,
            sampling=training.sampling,
        )
        return SupernetTrainer(
            self.supernet,
            self.remaining,
            drawn,
            training,
            stage=len(self.stages),
            seed=self.seed,
            size=self.parameters,
            device=self.device,
        )

    def parameters(self, architecture: Architecture) -> int:
        """Return the number of weights of an architecture's own network."""
        if architecture not in self._sizes:
            with torch.device("meta"):
                network = self.space.build(architecture, self.inputs, self.outputs)
            self._sizes[architecture] = count_parameters(network)
        return self._sizes[architecture]

    @property
    def trained(self) -> bool:
        """Whether all stages are over."""
        return self.trainer.epoch == self.trainer.epochs and not self._shrinks_again()

    def _shrinks_again(self) -> bool:
        shrinking = self.settings.shrinking
        if shrinking is None or not _can_shrink(self.remaining):
            return False
        if shrinking.stages is not None:
            return len(self.stages) < shrinking.stages
        if self.stages and not any(one["dropped"] for one in self.stages[-1]["operators"]):
            return False  # nothing more may go
        return self.remaining.size() > shrinking.target_size

    def train_epoch(self) -> dict[str, Any]:
        """Train the supernet for an epoch; return its line of the history."""
        loss = self.trainer.train_epoch()
        training = self.settings.training
        earlier = training.epochs_before(len(self.stages))
        return {
            "phase": "supernet",
            "stage": len(self.stages),
            "epoch": earlier + self.trainer.epoch,
            "epochs": earlier + self.trainer.epochs,
            "loss": loss,
            "learning_rate": training.rate(
                len(self.stages), (self.trainer.epoch - 1) / self.trainer.epochs
            ),
            "operators": len(operators(self.remaining)),
            "size": self.remaining.size(),
        }

    def judge(
        self, architectures: Sequence[Architecture], report: Progress | None = None
    ) -> dict[Architecture, Evaluation]:
        """Return what the supernet, as trained so far, says of architectures (P(a), Eq. 4).

        In the last epoch of a stage and after it the weights are the mean of the snapshots so far.
        """
        stage, best = len(self.stages), -np.inf
        found: dict[Architecture, Evaluation] = {}
        final = self.trainer.epoch == self.trainer.epochs  # else the next epoch changes the answer
        with averaged(self.supernet, self.trainer.mean or self.supernet.tensors()):
            inherited = self._inherited()
            for done, architecture in enumerate(architectures, start=1):
                place = (stage, architecture.key)
                known = self._judged.get(place)
                found[architecture] = known or inherited.evaluate(architecture)
                if final and known is None:
                    self._note(place, found[architecture], architecture)
                best = max(best, found[architecture].score)
                if report is not None:
                    total = len(architectures)
                    report({"phase": "children", "done": done, "total": total, "best": best})
        give_back_freed()
        return found

    def _inherited(self) -> Inherited:
        return Inherited(
            self.supernet,
            self.space,
            self.task,
            recalibration=self.settings.recalibration,
            window=self.settings.training.window,
            seed=derive(self.seed, "recalibration"),
            device=self.device,
            precision=self.settings.training.precision,
        )

    def _note(
        self, place: tuple[int, str], evaluation: Evaluation, architecture: Architecture
    ) -> None:
        self._judged[place] = evaluation
        if self._children is not None:
            line = {
                "stage": place[0],
                "key": architecture.key,
                "genes": architecture.as_dict(),
                "evaluation": evaluation.to_dict(),
            }
            append_json_line(self._children, line)

    def shrink(self, report: Progress | None = None) -> dict[str, Any]:
        """Drop the worst operators, expand, and begin the next stage; return what was done.

        Operators of which no allowed architecture is left go with them.  What would leave none at
        all stays.

        Raises
        ------
        NothingToSample : the constraints leave no children of some operator, so that nothing can
            be said of it.
        """
        shrinking = self.settings.shrinking
        assert shrinking is not None
        scores, importances = self._scores(shrinking, report)
        sensitivities = sensitivity(importances) if importances else {}
        rng = numpy_generator(self.seed, "remaining", len(self.stages))

        def possible(gone: Sequence[Operator]) -> bool:
            return is_possible(without(self.remaining, gone), rng, self.allows)

        worst = dropped(scores, shrinking.drop, possible)
        self.remaining = reachable(without(self.remaining, worst), rng, self.allows)
        kept = {gene.name: gene.choices for gene in self.remaining.genes}
        made = self._expand(shrinking) if shrinking.expand else []
        record = {
            "stage": len(self.stages),
            "measure": shrinking.measure,
            "operators": [
                {
                    **asdict(operator),
                    "importance": importances.get(operator),
                    "sensitivity": sensitivities.get(operator),
                    "score": _finite(value),
                    "dropped": operator.value not in kept[operator.gene],
                }
                for operator, value in scores.items()
            ],
            "remaining": {gene: list(choices) for gene, choices in kept.items()},
            "merged": made,
            "size": self.remaining.size(),
        }
        self.stages.append(record)
        self.trainer = self._trainer()
        return record

    def _scores(
        self, shrinking: Shrinking, report: Progress | None
    ) -> tuple[dict[Operator, float], dict[Operator, float]]:
        """Return the measure of each operator, and its importance where children were judged."""
        rng = numpy_generator(self.seed, "shrinking", len(self.stages))
        if shrinking.measure == "random":
            return random_score(operators(self.remaining), rng), {}
        children = covering_sample(self.remaining, shrinking.children, rng, self.allows)
        if shrinking.measure == "angle":
            return importance(self.remaining, {one: self._angle(one) for one in children}), {}
        found = self.judge(children, report)
        importances = importance(self.remaining, {one: found[one].score for one in children})
        if shrinking.measure == "importance":
            return importances, importances
        return score(importances, shrinking.normalisation), importances

    def _angle(self, architecture: Architecture) -> float:
        """Return by how much the weights of a child have turned in training."""
        assert self.initial is not None
        children = (net.extract(architecture) for net in (self.initial, self.supernet))
        weights = ([w.detach().cpu().numpy() for w in _layer_weights(one)] for one in children)
        return angle(*weights)

    def _expand(self, shrinking: Shrinking) -> list[list[str]]:
        remaining = {gene.name: gene.choices for gene in self.remaining.genes}
        made = self.supernet.expand(remaining, shrinking.threshold)
        if self.initial is not None:
            self.initial.expand(remaining, shrinking.threshold)
        return [list(group.genes) for group in made]

    def rank(self, report: Progress | None = None) -> list[Ranked]:
        """Return what remains of the space by the supernet's judgement, the best first.

        All of it where it is small, else what a genetic search tries.  Of equal accuracies the
        lower loss is better.

        Raises
        ------
        NothingToSample : the constraints leave nothing.
        """
        if self.remaining.size() <= self.settings.enumerate:
            every = [one for one in self.remaining.enumerate() if self._allowed(one)]
            found = self.judge(every, report)
        else:
            found = self._search(report)
        if not found:
            raise NothingToSample(
                "no architecture that remains keeps to the constraints; widen them, or shrink less"
            )
        return sorted(
            (Ranked(architecture, evaluation) for architecture, evaluation in found.items()),
            key=lambda one: (-one.evaluation.score, one.evaluation.metrics["validation_loss"]),
        )

    def _search(self, report: Progress | None) -> dict[Architecture, Evaluation]:
        settings, strategy = self.settings, self.settings.genetic()
        space: SearchSpace = self.remaining
        if self.allows is not None:
            from swath.spaces.restricted import Restricted

            space = Restricted(self.remaining, self.allows, "the constraints")
        total = settings.population * settings.generations
        trials: list[Trial] = []
        while len(trials) < total:
            proposals = strategy.propose(space, History(trials), derive(self.seed, "genetic"))
            if not proposals:
                break
            found = self.judge([proposal.architecture for proposal in proposals])
            for proposal in proposals:
                trials.append(Trial(len(trials), proposal, found[proposal.architecture]))
            if report is not None:
                best = max(_score(trial) for trial in trials)
                report({"phase": "children", "done": len(trials), "total": total, "best": best})
        return {trial.architecture: trial.evaluation for trial in trials if trial.evaluation}

    def _allowed(self, architecture: Architecture) -> bool:
        return self.allows is None or self.allows(architecture)

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        state = {"stages": self.stages, "seconds": self.seconds, "trainer": self.trainer.state()}
        save_state(folder / "checkpoint.safetensors", state)

    def restore(self, folder: Path) -> None:
        """Go on from the checkpoint, if there is one; note from now on what is judged."""
        path, history = folder / "checkpoint.safetensors", folder / "history.jsonl"
        self._children = folder / "children.jsonl"
        if not path.exists():
            for of_another in (history, self._children, folder / "stages.json"):
                of_another.unlink(missing_ok=True)
            return
        state = load_state(path)
        for record in state["stages"]:
            self.remaining = Narrowed(self.remaining, record["remaining"])
            if self.settings.shrinking is not None and self.settings.shrinking.expand:
                self._expand(self.settings.shrinking)
            self.stages.append(record)
        self.seconds = state["seconds"]
        self.trainer = self._trainer()
        self.trainer.load_state(state["trainer"])
        earlier = self.settings.training.epochs_before(len(self.stages))
        cut_history(history, "epoch", earlier + self.trainer.epoch)
        cut_history(self._children, "stage", len(self.stages))
        self._judged = {
            (line["stage"], line["key"]): Evaluation.from_dict(line["evaluation"])
            for line in read_json_lines(self._children)
        }


def _can_shrink(space: SearchSpace) -> bool:
    return any(len(gene.choices) > 1 for gene in space.genes)


def _finite(value: float) -> float | None:
    """Return a number that JSON knows: None for an infinite one."""
    return value if np.isfinite(value) else None


def _score(trial: Trial) -> float:
    return -np.inf if trial.evaluation is None else trial.evaluation.score


def _layer_weights(network: nn.Module) -> Iterable[nn.Parameter]:
    """Yield the weights of convolutions and linear layers, whose direction ABS looks at."""
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 1:
            yield weight
