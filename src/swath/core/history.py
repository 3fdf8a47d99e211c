"""What a search knows: the trials made so far, in the order of their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, nearest
from swath.core.evaluation import Direction, Evaluation

__all__ = ["History", "Objective", "Proposal", "Trial", "direction_of"]

_COSTS = ("parameters", "flops", "latency", "seconds")


def direction_of(name: str, told: Mapping[str, Direction] | None = None) -> Direction:
    """Return which way a figure is better: costs are to be small, others go as ``told``.

    What is not told is to be small where its name is or ends in "loss" or "error", else large.

    >>> direction_of("validation_loss"), direction_of("accuracy")
    ('minimize', 'maximize')
    """
    if name in _COSTS:
        return "minimize"
    small = name.lower().endswith(("loss", "error"))
    return (told or {}).get(name, "minimize" if small else "maximize")


@dataclass(frozen=True)
class Objective:
    """One figure of an evaluation that is to be made large or small.

    Parameters
    ----------
    name : "score", a cost ("parameters", "flops", "latency", "seconds") or a key of the
        evaluation's ``metrics``.
    direction : which way is better.
    """

    name: str = "score"
    direction: Direction = "maximize"

    def value(self, evaluation: Evaluation) -> float:
        """Return the figure as it was measured.

        Raises
        ------
        RecipeError : the evaluation has no such figure; the message lists those it has.
        """
        if self.name == "score":
            return evaluation.score
        found = (
            getattr(evaluation.cost, self.name)
            if self.name in _COSTS
            else evaluation.metrics.get(self.name)
        )
        if found is None:
            costs = [name for name in _COSTS if getattr(evaluation.cost, name) is not None]
            known = ["score", *costs, *evaluation.metrics]
            raise RecipeError(
                f"the estimator gives no '{self.name}'{nearest(self.name, known)}; "
                f"it gives: {', '.join(known)}"
            )
        return float(found)

    def merit(self, evaluation: Evaluation) -> float:
        """Return the figure turned so that larger is better; NaN counts as worst."""
        value = self.value(evaluation)
        merit = value if self.direction == "maximize" else -value
        return -math.inf if math.isnan(merit) else merit


@dataclass(frozen=True)
class Proposal:
    """What a strategy wants evaluated: an architecture, at a budget where there are several."""

    architecture: Architecture
    budget: int | None = None


@dataclass(frozen=True)
class Trial:
    """One finished evaluation.

    Parameters
    ----------
    number : from 0, in the order of proposal (not of finishing).
    evaluation : None where the trial was infeasible.
    reason : why it was infeasible (out of memory, training diverged, ...); None otherwise.
    """

    number: int
    proposal: Proposal
    evaluation: Evaluation | None
    reason: str | None = None

    @property
    def architecture(self) -> Architecture:
        """The architecture that was evaluated."""
        return self.proposal.architecture

    @property
    def budget(self) -> int | None:
        """The budget it was evaluated at."""
        return self.proposal.budget


@dataclass(frozen=True)
class History(Sequence[Trial]):
    """The finished trials, numbered 0, 1, 2, ... without gaps, and what they are judged by."""

    trials: Sequence[Trial] = ()
    objectives: tuple[Objective, ...] = (Objective(),)

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # as of the sequence it wraps
        return self.trials[index]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def merit(self, trial: Trial) -> float:
        """Return the first objective of a trial, larger is better; infeasible counts as worst."""
        if trial.evaluation is None:
            return -math.inf
        return self.objectives[0].merit(trial.evaluation)

    def merits(self, trial: Trial) -> tuple[float, ...]:
        """Return all objectives of a trial, larger is better; infeasible counts as worst."""
        if trial.evaluation is None:
            return (-math.inf,) * len(self.objectives)
        return tuple(objective.merit(trial.evaluation) for objective in self.objectives)

    def ranked(self) -> list[Trial]:
        """Return the feasible trials, best first; of equals the earlier first."""
        feasible = [trial for trial in self.trials if trial.evaluation is not None]
        return sorted(feasible, key=lambda trial: (-self.merit(trial), trial.number))

    def best(self) -> Trial | None:
        """Return the best feasible trial, or None."""
        ranked = self.ranked()
        return ranked[0] if ranked else None

    def architectures(self) -> set[Architecture]:
        """Return every architecture that was tried, the infeasible ones too."""
        return {trial.architecture for trial in self.trials}
