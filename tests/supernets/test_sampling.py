"""Which paths an update trains: fair, at both ends, or uniform."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from supernet_parts import BANDS, CLASSES

from swath import spaces
from swath.core.architecture import Architecture, Gene, Value
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.narrowed import Narrowed
from swath.supernets.sampling import ends, fair_paths, sandwich_paths, update_paths


class Free(SearchSpace):
    """Genes of given numbers of choices, without a rule between them."""

    name = "free"

    def __init__(self, counts: list[int]) -> None:
        self.genes = tuple(Gene(f"g{i}", tuple(range(n))) for i, n in enumerate(counts))
        self.options: Mapping[str, Any] = {}


class Ordered(Free):
    """No gene is larger than the one before it."""

    def problem(self, values: Mapping[str, Value]) -> str | None:
        found = [int(values[gene.name]) for gene in self.genes]
        return None if found == sorted(found, reverse=True) else "not in order"


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(0, 1000))
def test_each_choice_is_trained_exactly_once(counts: list[int], seed: int) -> None:
    space = Free(counts)
    paths = fair_paths(space, np.random.default_rng(seed))
    widest = max(counts)
    assert len(paths) == widest
    for gene in space.genes:
        times = Counter(path[gene.name] for path in paths)
        expected = {widest // len(gene.choices), -(-widest // len(gene.choices))}
        assert times.keys() == set(gene.choices)
        assert set(times.values()) <= expected  # once each where the gene is the widest


@given(st.integers(0, 300))
def test_where_a_rule_forbids_paths_the_others_are_trained(seed: int) -> None:
    space = Ordered([4, 4, 4])
    paths = fair_paths(space, np.random.default_rng(seed))
    assert 1 <= len(paths) <= 4
    for path in paths:
        space.validate(path)
    for gene in space.genes:
        assert max(Counter(path[gene.name] for path in paths).values()) == 1


def test_fair_paths_pair_choices_at_random() -> None:
    space, rng = Free([3, 3]), np.random.default_rng(0)
    pairs = Counter(
        tuple(v for _, v in path.genes) for _ in range(600) for path in fair_paths(space, rng)
    )
    assert len(pairs) == 9
    assert scipy.stats.chisquare(list(pairs.values())).pvalue > 1e-3


def test_one_path_is_drawn_uniformly() -> None:
    space = spaces.create("hsi3d", layers=2, nodes=1)
    left = Narrowed(space, {g.name: g.choices[:1] for g in space.genes if ".op" in g.name})
    rng = np.random.default_rng(0)
    drawn = Counter(update_paths(left, "uniform", rng, lambda: None)[0] for _ in range(2000))  # type: ignore[arg-type, return-value]
    assert len(drawn) == left.size() == 5
    assert scipy.stats.chisquare(list(drawn.values())).pvalue > 1e-3


SMALL: list[tuple[str, dict[str, Any], dict[str, int]]] = [
    ("mobilenet", {"widths": (8, 4), "layers": (1, 1), "strides": (1, 1)}, {}),
    ("hytas", {"max_depth": 3, "min_depth": 1, "embed_dims": (8, 12), "heads": (2, 3)}, {"1": 2}),
    ("hsi3d", {"layers": 2, "nodes": 1, "base_width": 4, "head_width": 4}, {"op0": 2, "op1": 1}),
    ("darts", {"channels": 2, "cells": 1, "nodes": 1}, {"": 2}),
    ("nasbench201", {"channels": 2, "cells": 1}, {"0-": 2, "1-": 1, "2-": 2}),
]


@pytest.mark.parametrize(("name", "options", "kept"), SMALL)
def test_the_ends_are_the_largest_and_the_smallest(name: str, options: Any, kept: Any) -> None:
    whole = spaces.create(name, **options)
    space = Narrowed(
        whole,
        {
            gene.name: gene.choices[-n:]
            for part, n in kept.items()
            for gene in whole.genes
            if part in gene.name
        },
    )

    def size(architecture: Architecture) -> int:
        with torch.device("meta"):
            network = whole.build(architecture, InputSpec(BANDS), OutputSpec(CLASSES))
        return count_parameters(network)

    if name == "hytas":
        space = Narrowed(whole, {g.name: (*g.choices[:1], *g.choices[-2:]) for g in whole.genes})
    every = {one: size(one) for one in space.enumerate()}
    assert 10 < len(every) < 400
    largest, smallest = ends(space, size)
    assert every[largest] == max(every.values()) > min(every.values()) == every[smallest]
    rng = np.random.default_rng(0)
    paths = sandwich_paths(space, rng, (largest, smallest))
    assert paths[:2] == [largest, smallest]
    assert len(paths) == 4
    assert (
        update_paths(space, "sandwich", np.random.default_rng(0), lambda: (largest, smallest))
        == paths
    )
