"""Names for interchangeable parts: spaces, strategies, proxies, predictors, tasks."""

from __future__ import annotations

import fnmatch
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from swath.core.errors import RecipeError, UnknownName, nearest

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

    def create(self, name: str, **options: Any) -> T:
        """Call the factory of ``name`` with its options.

        Raises
        ------
        UnknownName : there is none of that name.
        RecipeError : it has no such option, needs another, or cannot be made of these.
        """
        factory = self.get(name)
        known = inspect.signature(factory).parameters
        open_ended = any(one.kind is one.VAR_KEYWORD for one in known.values())
        for key in options:
            if key not in known and not open_ended:
                raise RecipeError(
                    f"the {self.kind} '{name}' has no option '{key}'{nearest(key, known)}; it has: "
                    f"{', '.join(known) or 'none'}"
                )
        for key, one in known.items():
            needed = one.default is one.empty and one.kind is not one.VAR_KEYWORD
            if needed and key not in options:
                raise RecipeError(f"the {self.kind} '{name}' needs the option '{key}'")
        try:
            return factory(**options)
        except (TypeError, ValueError) as error:
            raise RecipeError(
                f"the {self.kind} '{name}' cannot be made of these options: {error}"
            ) from error

    def __contains__(self, name: object) -> bool:
        return name in self._factories or name in self._lazy

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
