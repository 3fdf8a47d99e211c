"""What holds for every registered search space."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, UnknownName
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace

# Options under which a space's networks are small enough to be built and run many times.
SMALL: dict[str, dict[str, Any]] = {
    "darts": {"channels": 2, "cells": 1},
    "hsi3d": {"base_width": 2, "stem_width": 3, "head_width": 4},
    "hytas": {
        "embed_dims": (8, 12),
        "min_depth": 2,
        "max_depth": 5,
        "heads": (2, 3),
        "mlp_ratios": (1, 2),
        "patch": 3,
    },
    "mobilenet": {
        "stem_width": 2,
        "first_width": 2,
        "widths": (2, 3),
        "layers": (3, 2),
        "strides": (2, 2),
        "head_width": 3,
    },
    "nasbench101": {"channels": 5, "cells": 1},
    "nasbench201": {"channels": 2, "cells": 1},
    "nasbenchmacro": {"channels": 2, "head_width": 3},
    "seg101": {
        "backbone": {
            "depth": 4,
            "w_0": 16,
            "w_a": 10,
            "w_m": 1.4,
            "group_width": 8,
            "stem_width": 16,
        }
    },
}
# Options under which all architectures can be listed, and how many there should be.
TINY: dict[str, list[tuple[dict[str, Any], int]]] = {
    "darts": [
        # two kinds of cells of one node, which has two edges
        ({"nodes": 1}, (8 * 8) ** 2),
        # one kind of cells, whose second node has three edges
        ({"nodes": 2, "reduction": "same"}, 8**5),
    ],
    "hsi3d": [
        # one pair of inputs, 7 operators on each of two edges, 2 widths
        ({"layers": 1, "nodes": 1}, 7 * 7 * 2),
        # two such cells; of 2 x 3 widths 0 -> 2 is impossible
        ({"layers": 2, "nodes": 1}, (7 * 7) ** 2 * 5),
        # the second node has three pairs of inputs; one width for all
        ({"layers": 1, "nodes": 2, "width_factors": (1,)}, 7**4 * 3),
    ],
    "hytas": [
        # two widths; two kinds of layers, one to three of them
        (
            {
                "max_depth": 3,
                "min_depth": 1,
                "embed_dims": (8, 12),
                "heads": (2, 3),
                "mlp_ratios": (1,),
            },
            2 * (2 + 4 + 8),
        ),
        # one depth alone
        ({"max_depth": 2, "min_depth": 2, "embed_dims": (8,), "heads": (2,)}, 6**2),
    ],
    "mobilenet": [
        # only the first layer of a stage has no identity
        ({"widths": (8, 8), "layers": (1, 3), "strides": (1, 1)}, 6 * (6 * 7 * 7)),
        ({"widths": (8,), "layers": (3,), "strides": (2,), "variant": "grouped"}, 9 * 10 * 10),
    ],
    "nasbench101": [
        # from input to output alone; or over a vertex, with and without this shortcut
        ({"vertices": 3}, 1 + 3 * 2),
        # also over two in a row, with any of three shortcuts, or side by side in no order
        ({"vertices": 4}, 1 + 3 * 2 + 3**2 * 2**3 + 6 * 2),
    ],
    "nasbench201": [({}, 15_625)],
    "nasbenchmacro": [({}, 6_561)],
    # No option makes it small; its own tests count its parts.
    "seg101": [],
}
# What the papers state, or what follows from their description.
PUBLISHED: dict[str, int] = {
    "darts": 8**14 * 8**14,
    "hsi3d": (1 * 49 * 3 * 49 * 6 * 49) ** 2 * 5,
    "hytas": 12 * sum(24**depth for depth in range(4, 11)),
    "mobilenet": 6**6 * 7**15,
    "nasbench101": 423_624,
    "nasbench201": 5**6,
    "nasbenchmacro": 3**8,
    "seg101": 3**4 * 4**4 * 5**4 * (20 * 3) ** 2 * 2,
}


# Spaces of graphs: samples are canonical, and neighbours, encodings and sizes are those of graphs
# and not of the genes that describe them.  Their own tests say what holds instead.
GRAPHS = {"nasbench101"}


@pytest.fixture(params=spaces.names())
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return spaces.create(request.param, **SMALL.get(request.param, {}))


@pytest.fixture(params=[name for name in spaces.names() if name not in GRAPHS])
def gene_space(request: pytest.FixtureRequest) -> SearchSpace:
    return spaces.create(request.param, **SMALL[request.param])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def samples(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def connected(space: SearchSpace, seed: int) -> Architecture:
    """An architecture without ``none``: only then every weight has a way to the output."""
    rng = np.random.default_rng(seed)
    drawn = (space.sample(rng) for _ in itertools.count())
    return next(a for a in drawn if "none" not in a.as_dict().values())


def answer_shape(space: SearchSpace, classes: int, window: tuple[int, int]) -> tuple[int, ...]:
    """The shape of an input's logits: for every pixel, or for the whole patch."""
    return (classes, *window) if space.answers == "pixels" else (classes,)


def readable(space: SearchSpace, window: tuple[int, int]) -> tuple[int, int]:
    """The window, unless the space's networks are made for patches of one size."""
    return (space.patch, space.patch) if space.patch and space.name == "hytas" else window


def distance(a: Architecture, b: Architecture) -> int:
    return sum(x != y for x, y in zip(a.genes, b.genes, strict=True))


def test_names_and_lookup() -> None:
    assert "hsi3d" in spaces.names()
    assert spaces.names("hsi*") == ["hsi3d"]
    with pytest.raises(UnknownName, match="did you mean 'hsi3d'"):
        spaces.create("hsi3")


def test_every_space_is_covered_here() -> None:
    assert set(spaces.names()) == SMALL.keys() == TINY.keys() == PUBLISHED.keys()


def test_samples_are_valid_distinct_and_repeatable(space: SearchSpace) -> None:
    drawn = samples(space, 30)
    assert drawn == samples(space, 30)
    assert drawn != samples(space, 30, seed=1)
    assert len(set(drawn)) == len({a.key for a in drawn}) > 25
    for architecture in drawn:
        space.validate(architecture)
        assert architecture.space == space.name
        assert [name for name, _ in architecture.genes] == [g.name for g in space.genes]


def test_samples_reach_every_choice_of_every_gene(space: SearchSpace) -> None:
    drawn = samples(space, 400)
    for gene in space.genes:
        # The first vertex of a graph follows the input, but for the one graph that has no vertex.
        if (space.name, gene.name) != ("nasbench101", "0-1"):
            assert {a[gene.name] for a in drawn} == set(gene.choices), gene.name


def test_round_trips(space: SearchSpace) -> None:
    for architecture in samples(space, 20):
        assert Architecture.from_json(architecture.to_json()) == architecture
        assert json.loads(architecture.to_json())["space"] == space.name
        vector = space.encode(architecture)
        assert vector.dtype == np.float32
        if space.name not in GRAPHS:
            assert vector.shape == (sum(len(g.choices) for g in space.genes),)
            assert vector.sum() == len(space.genes)
        assert space.decode(vector) == architecture
        assert space.architecture(architecture.as_dict()) == architecture


def test_encodings_differ_by_two_entries_a_gene(gene_space: SearchSpace) -> None:
    for a, b in itertools.pairwise(samples(gene_space, 12)):
        apart = np.abs(gene_space.encode(a) - gene_space.encode(b)).sum()
        assert apart == 2 * distance(a, b)


def test_neighbours_are_all_valid_single_changes(
    gene_space: SearchSpace, rng: np.random.Generator
) -> None:
    space = gene_space
    for architecture in samples(space, 3):
        neighbours = list(space.neighbours(architecture))
        assert len(set(neighbours)) == len(neighbours)
        assert {distance(architecture, n) for n in neighbours} == {1}
        expected = set()
        for gene in space.genes:
            for choice in gene.choices:
                try:
                    candidate = architecture.replace(**{gene.name: choice})
                    space.validate(candidate)
                except InvalidArchitecture:
                    continue
                expected.add(candidate)
        assert set(neighbours) == expected - {architecture}
        for index in rng.permutation(len(neighbours))[:8]:
            assert architecture in set(space.neighbours(neighbours[index]))


def test_mutation_changes_one_gene_and_reaches_all_neighbours(gene_space: SearchSpace) -> None:
    space = gene_space
    architecture = samples(space, 1)[0]
    mutants = [space.mutate(architecture, np.random.default_rng(i)) for i in range(300)]
    assert {distance(architecture, m) for m in mutants} == {1}

    def changed(others: Iterable[Architecture]) -> set[str]:
        return {n for o in others for n, v in o.genes if v != architecture[n]}

    assert changed(mutants) == changed(space.neighbours(architecture))
    assert space.mutate(architecture, np.random.default_rng(5)) == mutants[5]


def test_validity_names_the_gene(space: SearchSpace) -> None:
    architecture = samples(space, 1)[0]
    gene = space.genes[0].name
    with pytest.raises(InvalidArchitecture, match=f"'{gene}' cannot be 'nonsense'"):
        space.validate(architecture.replace(**{gene: "nonsense"}))
    with pytest.raises(InvalidArchitecture, match=f"'{gene}' is missing"):
        space.validate(Architecture(space.name, architecture.genes[1:]))
    with pytest.raises(InvalidArchitecture, match="'extra' is no gene"):
        space.validate(Architecture(space.name, (*architecture.genes, ("extra", 1))))
    with pytest.raises(InvalidArchitecture, match="belongs to space 'other'"):
        space.validate(dataclasses.replace(architecture, space="other"))


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [(name, options, count) for name, cases in TINY.items() for options, count in cases],
)
def test_size_counts_the_valid_architectures(name: str, options: Any, count: int) -> None:
    space = spaces.create(name, **options)
    valid = set()
    for values in itertools.product(*(gene.choices for gene in space.genes)):
        architecture = Architecture(
            name, tuple(zip((g.name for g in space.genes), values, strict=True))
        )
        try:
            space.validate(architecture)
        except InvalidArchitecture:
            continue
        valid.add(space.canonical(architecture) if name in GRAPHS else architecture)
    assert len(valid) == space.size() == count


@pytest.mark.parametrize("name", spaces.names())
def test_size_is_the_published_one(name: str) -> None:
    assert spaces.create(name).size() == PUBLISHED[name]


@pytest.mark.parametrize("name", spaces.names())
def test_options_describe_the_space(name: str) -> None:
    options = {**SMALL[name]}
    space = spaces.create(name, **options)
    again = spaces.create(name, **json.loads(json.dumps(dict(space.options))))
    assert dict(again.options) == dict(space.options)
    assert again.genes == space.genes
    assert options.items() <= dict(space.options).items()


def test_graph_is_acyclic_and_connected(space: SearchSpace) -> None:
    for architecture in samples(space, 10):
        graph = space.graph(architecture)
        nodes = len(graph.operators)
        assert graph.adjacency.shape == (nodes, nodes)
        assert graph.adjacency.dtype == np.bool_
        # in topological order: nothing feeds an earlier node, so there is no circle
        assert not np.tril(graph.adjacency).any()
        feeds, fed = graph.adjacency.any(axis=1), graph.adjacency.any(axis=0)
        assert feeds[:-1].all()
        assert fed[1:].all()
        again = space.graph(architecture)
        assert again.operators == graph.operators
        assert np.array_equal(again.adjacency, graph.adjacency)


def test_one_architecture_stands_for_all_copies(space: SearchSpace) -> None:
    for architecture in samples(space, 40):
        canonical = space.canonical(architecture)
        space.validate(canonical)
        assert space.canonical(canonical) == canonical
        assert space.canonical(architecture) == canonical


def test_the_order_of_the_genes_means_nothing(space: SearchSpace) -> None:
    for one in samples(space, 10, seed=7):
        turned = Architecture(one.space, one.genes[::-1])
        graph, of_turned = space.graph(one), space.graph(turned)
        assert of_turned.operators == graph.operators
        np.testing.assert_array_equal(of_turned.adjacency, graph.adjacency)
        np.testing.assert_array_equal(space.encode(turned), space.encode(one))
        assert space.selection(turned) == space.selection(one)
        assert space.canonical(turned).as_dict() == space.canonical(one).as_dict()


@pytest.mark.parametrize("bands", [1, 2, 3, 5, 8, 13, 23, 40, 103, 200])
@pytest.mark.parametrize("window", [(1, 1), (2, 5), (7, 3), (9, 9)])
def test_networks_answer_for_any_window_and_learn(
    space: SearchSpace, bands: int, window: tuple[int, int]
) -> None:
    architecture = connected(space, seed=bands)
    window = readable(space, window)
    network = space.build(architecture, InputSpec(bands), OutputSpec(4))
    logits = network(torch.randn(2, bands, *window))
    assert logits.shape == (2, *answer_shape(space, 4, window))
    assert logits.dtype == torch.float32
    labels = torch.zeros(2, *logits.shape[2:], dtype=torch.int64)
    nn.functional.cross_entropy(logits, labels).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_networks_run_with_every_number_of_bands(space: SearchSpace) -> None:
    for bands, architecture in enumerate(samples(space, 40), start=1):
        network = space.build(architecture, InputSpec(bands), OutputSpec(2)).eval()
        with torch.no_grad():
            logits = network(torch.randn(1, bands, *readable(space, (2, 3))))
        assert logits.shape == (1, *answer_shape(space, 2, (2, 3)))


def test_building_is_a_function_of_the_architecture_and_the_seed(space: SearchSpace) -> None:
    a, b = samples(space, 2)
    states = []
    for architecture in (a, a, b):
        torch.manual_seed(3)
        states.append(space.build(architecture, InputSpec(9), OutputSpec(2)).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert {k: v.shape for k, v in states[0].items()} != {k: v.shape for k, v in states[2].items()}


def test_building_refuses_an_invalid_architecture(space: SearchSpace) -> None:
    architecture = samples(space, 1)[0]
    broken = architecture.replace(**{space.genes[0].name: "nonsense"})
    with pytest.raises(InvalidArchitecture):
        space.build(broken, InputSpec(5), OutputSpec(2))
    with pytest.raises(InvalidArchitecture):
        space.graph(broken)
