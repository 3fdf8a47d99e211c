"""How a one-shot search runs, and what the published ones differ in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from swath.core.errors import RecipeError
from swath.strategies.genetic import Genetic
from swath.supernets.shrinking import Normalisation
from swath.supernets.training import SupernetTraining

__all__ = ["STRATEGIES", "Measure", "OneShotSettings", "Shrinking"]

Measure = Literal["score", "importance", "angle", "random"]


@dataclass(frozen=True)
class Shrinking:
    """How a supernet is shrunk and expanded between stages.  Defaults are those of SE-NAS.

    Parameters
    ----------
    measure : of which operators with the least are dropped: "score" S (Eq. 7), "importance" SI
        (Eq. 5) alone, "angle" (ABS), or "random".
    normalisation : in Eq. 7, see :func:`swath.supernets.shrinking.score`.
    drop : k, operators that go in each stage; each gene keeps its best.
    children : of which each operator's importance is the mean, at least; all where the space is
        not larger than that takes.
    stages : how often the space is shrunk; None: until ``target_size``.
    target_size : architectures that are few enough (ABS; SE-NAS does not say).
    expand : give combinations of operators their own weights where few enough are left.
    threshold : T, such combinations of neighbouring layers at most.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    measure: Measure = "score"
    normalisation: Normalisation = "ratio"
    drop: int = 10
    children: int = 1000
    stages: int | None = None
    target_size: float = 1e6
    expand: bool = True
    threshold: int = 50

    def __post_init__(self) -> None:
        for name in ("drop", "children", "threshold"):
            if getattr(self, name) < 1:
                raise RecipeError(
                    f"one_shot.shrinking.{name} must be at least 1, not {getattr(self, name)}"
                )
        if self.stages is not None and self.stages < 1:
            raise RecipeError(
                f"one_shot.shrinking.stages must be at least 1, or null, not {self.stages}"
            )


@dataclass(frozen=True)
class OneShotSettings:
    """How a one-shot search runs.

    Parameters
    ----------
    strategy : under which name it was chosen.
    training : of the supernet.
    shrinking : None: the space stays whole.
    recalibration : training patches (or windows) over which each child's BatchNorm statistics are
        gathered before it is judged.
    enumerate : spaces of at most so many architectures are ranked whole, larger ones searched.
    population, generations, parents, crossover, rate : of that search, see
        :class:`~swath.strategies.genetic.Genetic`.
    retrain : so many of the best are trained on their own, and the best of these is taken.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    strategy: str = "spos"
    training: SupernetTraining = field(default_factory=SupernetTraining)
    shrinking: Shrinking | None = None
    recalibration: int = 256
    enumerate: int = 10_000
    population: int = 50
    generations: int = 20
    parents: int = 10
    crossover: int = 25
    rate: float = 0.1
    retrain: int = 1

    def __post_init__(self) -> None:
        for name in ("population", "generations", "parents", "retrain"):
            if getattr(self, name) < 1:
                raise RecipeError(f"one_shot.{name} must be at least 1, not {getattr(self, name)}")
        for name in ("recalibration", "enumerate"):
            if getattr(self, name) < 0:
                raise RecipeError(f"one_shot.{name} cannot be negative: {getattr(self, name)}")
        if self.recalibration == 1:
            raise RecipeError(
                "one_shot.recalibration must be 0 or at least 2: one input has no statistics"
            )
        if not 0 <= self.crossover <= self.population:
            raise RecipeError(
                "one_shot.crossover must be from 0 to one_shot.population "
                f"({self.population}), not {self.crossover}"
            )
        if not 0 < self.rate <= 1:
            raise RecipeError(f"one_shot.rate must be in (0, 1], not {self.rate}")

    def genetic(self) -> Genetic:
        """Return the search of spaces that are too large to be listed."""
        return Genetic(self.population, self.parents, self.crossover, self.rate)


STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "spos": {},
    "fairnas": {"training": {"paths": "fair"}},
    "se-nas": {"shrinking": {}},
}
"""What the settings of each published strategy have that differs from the defaults."""
