"""Names for interchangeable parts: spaces, strategies, proxies, predictors, tasks."""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from swath.core.errors import UnknownName, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from names to factories, listable by wildcard.

    Entries may be registered in place (:meth:`register`) or announced by module path
    (``lazy``), so that listing names does not import the modules that define them.

    >>> colours: Registry[str] = Registry("colour")
    >>> @colours.register("red")
    ... def red() -> str:
    ...     return "#f00"
    >>> colours.create("red")
    '#f00'
    >>> colours.names("r*")
    ['red']
    """

    def __init__(self, kind: str, lazy: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._factories: dict[str, Callable[..., T]] = {}
        self._lazy = dict(lazy or {})

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Register the decorated factory (a class or function) under ``name``."""

        def decorate(factory: Callable[..., T]) -> Callable[..., T]:
            self._factories[name] = factory
            return factory

        return decorate

    def names(self, pattern: str = "*") -> list[str]:
        """Return the registered names that match a wildcard pattern, sorted."""
        return sorted(fnmatch.filter({*self._factories, *self._lazy}, pattern))

    def get(self, name: str) -> Callable[..., T]:
        """Return the factory of ``name``; raise :class:`UnknownName` with the nearest one."""
        if name not in self._factories and name in self._lazy:
            importlib.import_module(self._lazy[name])
        if name not in self._factories:
            known = ", ".join(self.names())
            raise UnknownName(
                f"there is no {self.kind} '{name}'{nearest(name, self.names())}; known: {known}"
            )
        return self._factories[name]

    def create(self, name: str, **kwargs: Any) -> T:
        """Call the factory of ``name`` with keyword arguments."""
        return self.get(name)(**kwargs)

    def __contains__(self, name: object) -> bool:
        return name in self._factories or name in self._lazy

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
