"""Supernets: one set of shared weights for a whole search space, made from its declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from swath.core.errors import UnknownName

if TYPE_CHECKING:
    from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
    from swath.spaces.hsi3d import HSI3D
    from swath.supernets.base import Supernet
    from swath.supernets.elastic import Elastic
    from swath.supernets.hsi3d import HSI3DMixture

__all__ = [
    "create_elastic",
    "create_mixture",
    "create_supernet",
    "require_mixture",
    "require_supernet",
]


def create_mixture(
    space: SearchSpace, inputs: InputSpec, outputs: OutputSpec, **options: Any
) -> HSI3DMixture:
    """Return the mixture supernet of a space: all candidates, weighted by differentiable choices.

    Raises
    ------
    UnknownName : the space has none.
    """
    from swath.supernets.hsi3d import HSI3DMixture

    return HSI3DMixture(require_mixture(space), inputs, outputs, **options)


def require_mixture(space: SearchSpace) -> HSI3D:
    """Return the space, unless it has no mixture supernet.

    Raises
    ------
    UnknownName : the space has none.
    """
    from swath.spaces.hsi3d import HSI3D

    if isinstance(space, HSI3D):
        return space
    raise UnknownName(
        f"space '{space.name}' has no mixture supernet, which the differentiable search needs; "
        "give --strategy NAME, one of 'swath strategies', which search any space"
    )


def create_elastic(
    space: SearchSpace, inputs: InputSpec, outputs: OutputSpec, **options: Any
) -> Elastic:
    """Return the elastic supernet of a space: one large network, sliced for every smaller one.

    Raises
    ------
    UnknownName : the space has none.
    """
    from swath.spaces.hytas import HyTAS
    from swath.supernets.hytas import hytas_elastic

    if isinstance(space, HyTAS):
        return hytas_elastic(space, inputs, outputs, **options)
    raise UnknownName(f"space '{space.name}' has no elastic supernet; it is there for hytas")


def create_supernet(space: SearchSpace, inputs: InputSpec, outputs: OutputSpec) -> Supernet:
    """Return the supernet of a space that runs one architecture at a time.

    It is the elastic one where networks differ in their sizes (hytas), else the single-path one.
    Its networks answer as those of ``space.build`` do.

    Raises
    ------
    UnknownName : the space has none.
    """
    from swath.spaces.hytas import HyTAS
    from swath.supernets.single_path import SinglePath

    require_supernet(space)
    if isinstance(space, HyTAS):
        settings = space.settings
        heads = max(settings.heads)
        longest = -(-max(settings.embed_dims) // heads) * heads
        return create_elastic(space, inputs, outputs, embed_dim=longest)
    return SinglePath(space, inputs, outputs)


def require_supernet(space: SearchSpace) -> None:
    """Refuse a space that :func:`create_supernet` knows no supernet for.

    Raises
    ------
    UnknownName : the space does not declare its networks with choices.
    """
    from swath.spaces.base import SearchSpace
    from swath.spaces.hytas import HyTAS

    if type(space).declare is SearchSpace.declare and not isinstance(space, HyTAS):
        raise UnknownName(
            f"space '{space.name}' has no supernet, which one-shot search needs; give --strategy "
            "NAME, one of 'swath strategies' that makes trials"
        )
