"""Landscapes whose measures are known from theory: strings of letters, and Kauffman's NK model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from swath.core.architecture import Architecture, Gene
from swath.estimators import tables
from swath.estimators._table import Table
from swath.landscape.fitness import Landscape, of_mapping
from swath.spaces.base import SearchSpace


class Strings(SearchSpace):
    """All strings of ``length`` letters."""

    name = "strings"

    def __init__(self, length: int, letters: int = 2) -> None:
        self.options = {"length": length, "letters": letters}
        self.genes = tuple(Gene(f"g{i}", tuple(range(letters))) for i in range(length))

    def all(self) -> list[Architecture]:
        choices = (gene.choices for gene in self.genes)
        names = [gene.name for gene in self.genes]
        return [
            Architecture(self.name, tuple(zip(names, values, strict=True)))
            for values in itertools.product(*choices)
        ]


def digits(architecture: Architecture) -> tuple[int, ...]:
    return tuple(int(value) for _, value in architecture.genes)


@pytest.fixture(scope="session")
def strings() -> type[Strings]:
    """The space of strings."""
    return Strings


Make = Callable[..., Landscape]


@pytest.fixture(scope="session")
def make() -> Make:
    """Return a function that makes a landscape from a function of the letters."""

    def landscape(
        fitness: Callable[[Sequence[int]], float], length: int, letters: int = 2, **options: object
    ) -> Landscape:
        space = Strings(length, letters)
        values = {one: fitness(digits(one)) for one in space.all()}
        return of_mapping(space, values, **options)  # type: ignore[arg-type]

    return landscape


@pytest.fixture(scope="session")
def nk() -> Callable[[int, int, int], Landscape]:
    """Return a function that draws an NK landscape of N bits with K random others each."""

    def draw(n: int, k: int, seed: int) -> Landscape:
        rng = np.random.default_rng(seed)
        bits = np.array(list(itertools.product((0, 1), repeat=n)))
        total = np.zeros(len(bits))
        for place in range(n):
            others = rng.choice([i for i in range(n) if i != place], k, replace=False)
            read = bits[:, [place, *others]] @ (1 << np.arange(k + 1))
            total += rng.random(2 ** (k + 1))[read]
        return of_mapping(
            Strings(n), dict(zip(Strings(n).all(), (total / n).tolist(), strict=True)), name="nk"
        )

    return draw


@pytest.fixture(scope="session")
def published(swath_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Table]:
    """Return a function that loads a published table; the tests share a cache of their own."""
    folder = tmp_path_factory.getbasetemp() / "table-cache"

    def load(name: str) -> Table:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SWATH_CACHE", str(folder))
            return tables.load_table(name)

    return load
