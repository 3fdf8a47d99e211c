"""The landscape of a search problem in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swath.landscape.footprint import Footprint
    from swath.landscape.neighbours import Neighbourhood
    from swath.landscape.sources import Source

__all__ = ["footprint"]


def footprint(
    source: Source,
    metric: str | None = None,
    budget: int | None = None,
    *,
    neighbourhood: Neighbourhood | None = None,
    nearest: int = 20,
    **options: Any,
) -> Footprint:
    """Measure the landscape of a search problem.

    >>> found = swath.footprint("nas_bench_201", "cifar100-test")     # doctest: +SKIP
    >>> found.measures["ruggedness"]                                  # doctest: +SKIP

    Parameters
    ----------
    source : a table by name, file or value; a study by its folder, URL or value; or a
        :class:`swath.landscape.Landscape` of one's own.
    metric, budget : of a table; None: its first, and the largest.
    neighbourhood, nearest : who neighbours whom; see :func:`swath.landscape.of_mapping`.
    options : of the measures; see :func:`swath.landscape.footprint`.

    Raises
    ------
    SwathError : what was given cannot be used; the message says what and how to go on.
    """
    from swath import landscape

    (opened,) = landscape.open_landscapes(
        source, metric, budget, neighbourhood=neighbourhood, nearest=nearest
    )
    return landscape.footprint(opened, **options)
