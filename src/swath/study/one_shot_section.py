"""The section ``one_shot`` of a recipe: a search with the weights of a supernet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swath.core.errors import UnknownName, nearest
from swath.strategies.one_shot_settings import STRATEGIES, OneShotSettings
from swath.study.settings import LimitSettings, given_limits

if TYPE_CHECKING:
    from swath.training.loop import TrainingSettings

__all__ = ["ONE_SHOT", "OneShotSection", "fitted_one_shot", "with_strategy"]

ONE_SHOT = tuple(STRATEGIES)
"""The names of the one-shot strategies."""

_AS_TRAINED = (
    "window",
    "batch",
    "sampling",
    "optimiser",
    "learning_rate",
    "momentum",
    "weight_decay",
    "loss",
    "precision",
)
_EPOCHS, _LATER_EPOCHS = 12, 4


@dataclass(frozen=True)
class OneShotSection(OneShotSettings):
    """How an architecture is searched with a supernet.

    Parameters
    ----------
    constraints : limits of "parameters", "flops" and "latency"; a network that breaks them is
        never judged.
    """

    constraints: dict[str, LimitSettings] = field(default_factory=dict)

    def limits(self) -> dict[str, dict[str, float]]:
        """Return the constraints as :func:`swath.study.constraints.restricted` takes them."""
        return given_limits(self.constraints)


def with_strategy(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe says of the section over what its strategy differs in.

    Raises
    ------
    UnknownName : there is no such one-shot strategy.
    """
    name = given.get("strategy", "spos")
    if name not in STRATEGIES:
        raise UnknownName(
            f"there is no one-shot strategy '{name}'{nearest(str(name), STRATEGIES)}; "
            f"known: {', '.join(STRATEGIES)}"
        )
    merged = dict(given)
    for key, differs in STRATEGIES[name].items():
        if merged.get(key) is None:
            merged[key] = differs
        elif isinstance(merged[key], Mapping):
            merged[key] = {**differs, **merged[key]}
    return merged


def fitted_one_shot(name: str, training: TrainingSettings) -> dict[str, Any]:
    """Return a section that fits a recipe which was not written for a supernet.

    The supernet learns as the recipe's networks do, twice as long in its first stage and 2/3 as
    long in each later one; there are two of these, and some children of each operator.

    Parameters
    ----------
    name : of the strategy.
    training : of the recipe.
    """
    steps = max(5, 2 * training.iterations // _EPOCHS)
    learning = {key: getattr(training, key) for key in _AS_TRAINED} | {
        "epochs": _EPOCHS,
        "later_epochs": _LATER_EPOCHS,
        "steps": steps,
        "snapshots": min(10, steps),
        "final_rate": training.learning_rate / 20,
        "clip_norm": training.clip_norm,
    }
    section: dict[str, Any] = {
        "strategy": name,
        "training": learning,
        "recalibration": 2 * training.batch,
        "enumerate": 200,
        "population": 20,
        "generations": 8,
        "parents": 5,
        "crossover": 10,
    }
    if "shrinking" in STRATEGIES[name]:
        section["shrinking"] = {"stages": 2, "children": 12}
    return with_strategy(section)
