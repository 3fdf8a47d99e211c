"""How a module that defines proxies makes them known."""

from __future__ import annotations

from swath.core.evaluation import Direction
from swath.estimators.proxies.base import Need, Proxy, Rule
from swath.estimators.proxies.catalogue import registry

__all__ = ["register"]


def register(
    name: str,
    rule: Rule,
    *needs: Need,
    source: str,
    direction: Direction = "maximize",
    authors: Rule | None = None,
    seg101: Rule | None = None,
) -> Proxy:
    """Register a proxy under its name and return it."""
    proxy = Proxy(name, rule, frozenset(needs), source, direction, authors, seg101)
    registry.register(name)(lambda: proxy)
    return proxy
