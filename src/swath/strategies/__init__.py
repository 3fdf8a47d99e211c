"""Strategies: what to evaluate next, as a function of what is known and a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swath.core.registry import Registry

if TYPE_CHECKING:
    from swath.strategies.base import Strategy

__all__ = ["create", "names", "registry"]

registry: Registry[Strategy] = Registry(
    "strategy",
    lazy={
        "evolution": "swath.strategies.evolution",
        "genetic": "swath.strategies.genetic",
        "local-search": "swath.strategies.local_search",
        "npenas": "swath.strategies.npenas",
        "nsga2": "swath.strategies.optuna_adapter",
        "optuna": "swath.strategies.optuna_adapter",
        "random": "swath.strategies.random",
        "rank-and-train": "swath.strategies.rank_and_train",
        "successive-halving": "swath.strategies.successive_halving",
        "tpe": "swath.strategies.optuna_adapter",
    },
)


def create(name: str, **options: Any) -> Strategy:
    """Create a strategy by name, e.g. ``create("evolution", population=20)``."""
    return registry.create(name, **options)


def names(pattern: str = "*") -> list[str]:
    """Return the names of the registered strategies that match a wildcard pattern."""
    return registry.names(pattern)
