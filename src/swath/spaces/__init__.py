"""Search spaces: genes and their choices, and how an architecture becomes a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swath.core.registry import Registry

if TYPE_CHECKING:
    from swath.spaces.base import SearchSpace

__all__ = ["create", "names", "registry"]

registry: Registry[SearchSpace] = Registry(
    "search space",
    lazy={
        "darts": "swath.spaces.darts",
        "hsi3d": "swath.spaces.hsi3d",
        "hytas": "swath.spaces.hytas",
        "mobilenet": "swath.spaces.mobilenet",
        "nasbench101": "swath.spaces.nasbench101",
        "nasbench201": "swath.spaces.nasbench201",
        "nasbenchmacro": "swath.spaces.nasbenchmacro",
        "seg101": "swath.spaces.seg101",
    },
)


def create(name: str, **options: Any) -> SearchSpace:
    """Create a search space by name, e.g. ``create("hsi3d", variant="asym-d")``."""
    return registry.create(name, **options)


def names(pattern: str = "*") -> list[str]:
    """Return the names of the registered spaces that match a wildcard pattern."""
    return registry.names(pattern)
