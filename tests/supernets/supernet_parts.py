"""What the tests of supernets that run one architecture at a time share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from test_every_space import SMALL
from torch import Tensor, nn

from swath import spaces
from swath.core.architecture import Architecture, Value
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.narrowed import Narrowed
from swath.supernets import create_supernet
from swath.supernets.base import Supernet

WITHOUT = {"nasbench101"}  # spaces that declare no choices
NAMES = [name for name in spaces.names() if name not in WITHOUT]
BANDS, CLASSES = 7, 3
# Where those of every space still make many modules.
FEWER: dict[str, dict[str, Any]] = {"darts": {"nodes": 2}, "hsi3d": {"nodes": 2}}


def make(name: str, seed: int = 0, **options: Any) -> tuple[SearchSpace, Supernet]:
    """A small space and its supernet, with running statistics of many paths."""
    torch.manual_seed(seed)
    space = spaces.create(name, **{**SMALL[name], **FEWER.get(name, {}), **options})
    supernet = create_supernet(space, InputSpec(BANDS), OutputSpec(CLASSES))
    train(supernet, samples(space, 6), rate=0.0)
    return space, supernet


def images(space: SearchSpace, count: int = 3, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, BANDS, space.patch or 5, space.patch or 5, generator=generator)


def samples(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def train(
    supernet: Supernet,
    paths: Iterable[Architecture],
    rate: float = 0.05,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
    **options: Any,
) -> None:
    """Make one update for each path."""
    update = optimiser(supernet.parameters(), lr=rate, **options)
    supernet.train()
    for path in paths:
        space = getattr(supernet, "space", None)
        side = 3 if space is None else space.patch or 5
        x = torch.randn(4, BANDS, side, side)
        update.zero_grad()
        logits = supernet(x, path)
        labels = torch.randint(CLASSES, (4, *logits.shape[2:]))
        nn.functional.cross_entropy(logits, labels).backward()
        update.step()
    supernet.zero_grad()


@torch.no_grad()
def answers(
    supernet: Supernet, space: SearchSpace, architectures: Sequence[Architecture]
) -> list[Tensor]:
    supernet.eval()
    return [supernet(images(space), architecture) for architecture in architectures]


def same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def shrunk(space: SearchSpace, gone: int, seed: int = 0) -> Narrowed:
    """What remains after so many operators, drawn at random, of genes that no rule ties."""
    rng = np.random.default_rng(seed)
    here = Narrowed(space, {})
    while gone:
        free = [
            (gene, value)
            for gene in here.genes
            for value in gene.choices
            if len(gene.choices) > 2 and not gene.name.endswith("width") and value != "none"
        ]
        gene, value = free[int(rng.integers(len(free)))]
        here = Narrowed(here, {gene.name: [c for c in gene.choices if c != value]})
        gone -= 1
    return here


def remaining(space: SearchSpace) -> dict[str, tuple[Value, ...]]:
    return {gene.name: gene.choices for gene in space.genes}


def count(modules: Iterable[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())
