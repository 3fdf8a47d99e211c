"""Drawings of any space show what the genes say, wired as they say."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath import spaces
from swath.core.errors import InvalidArchitecture
from swath.report.networks import cell_of_edges, cells, draw_network
from swath.spaces.base import SearchSpace

SPACES = {name: spaces.create(name) for name in spaces.names()}


def drawings(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", html)]


def words(drawn: list[ElementTree.Element]) -> list[str]:
    return [text.text or "" for one in drawn for text in one.iter("text")]


@pytest.mark.parametrize("name", SPACES)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_every_operator_of_every_space_is_drawn_and_counted(name: str, seed: int) -> None:
    space = SPACES[name]
    architecture = space.sample(np.random.default_rng(seed))
    shown = draw_network(space, architecture)
    told = words(drawings(shown))
    legend = dict(re.findall(r"</i>(\S+) × (\d+)</li>", shown))
    assert legend
    for operator, count in legend.items():
        assert told.count(operator) == (0 if operator == "none" else int(count))
    # What the genes choose is there, as often as they choose it.
    chosen = [value for _, value in architecture.genes if value in legend]
    if name in ("darts", "hsi3d", "mobilenet", "nasbench201", "nasbenchmacro"):
        assert {o: chosen.count(o) for o in set(chosen)} == {o: int(n) for o, n in legend.items()}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_cells_of_nasbench201_are_wired_as_the_names_of_their_genes(seed: int) -> None:
    space = SPACES["nasbench201"]
    architecture = space.sample(np.random.default_rng(seed))
    nodes, edges = cell_of_edges(space.graph(architecture), str)
    assert len(nodes) == 4
    assert sorted((f"{e.source}-{e.target}", e.label) for e in edges) == sorted(
        (gene, value) for gene, value in architecture.genes if value != "none"
    )


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_cells_of_darts_are_wired_as_the_names_of_their_genes(seed: int) -> None:
    space = SPACES["darts"]
    architecture = space.sample(np.random.default_rng(seed))
    found = cells(space.graph(architecture), str)
    assert [name for name, _ in found] == ["Normal cell", "Reduction cell"]
    expected = {gene: value for gene, value in architecture.genes if value != "none"}
    wired = {}
    for (_, (nodes, edges)), kind in zip(found, ("normal", "reduction"), strict=True):
        states = {node.key: number for number, node in enumerate(nodes[:-1])}
        assert [node.label for node in nodes[:2]] == ["before previous", "previous"]
        for edge in edges:
            if edge.label:
                wired[f"{kind}.{states[edge.source]}-{states[edge.target]}"] = edge.label
        assert {e.source for e in edges if e.target == nodes[-1].key} == set(list(states)[2:])
    assert wired == expected


def test_layers_of_a_chain_lie_in_their_order_without_overlaps() -> None:
    space: SearchSpace = SPACES["mobilenet"]
    architecture = space.sample(np.random.default_rng(0))
    (drawn,) = drawings(draw_network(space, architecture))
    width, height = map(float, drawn.attrib["viewBox"].split()[2:])
    assert width <= 1040
    boxes = [
        tuple(float(box.attrib[key]) for key in ("y", "x", "width", "height"))
        for box in drawn.iter("rect")
    ]
    assert len(boxes) == 2 + len(architecture.genes)
    assert boxes == sorted(boxes)
    for (y1, x1, wide, high), (y2, x2, *_) in itertools.pairwise(boxes):
        assert x2 >= x1 + wide or y2 >= y1 + high
        assert x2 + wide <= width
        assert y2 + high <= height
    names = [text.text for text in drawn.iter("text") if text.attrib["class"] == "strong"]
    assert names == ["stem", *(value for _, value in architecture.genes), "head"]


def test_a_fusion_names_the_box_that_it_bridges_from() -> None:
    space = SPACES["hytas"]
    rng = np.random.default_rng(0)
    architecture = next(
        a for a in iter(lambda: space.sample(rng), None)
        if "fusion" in space.graph(a).operators
    )  # fmt: skip
    graph = space.graph(architecture)
    told = words(drawings(draw_network(space, architecture)))
    bridges = [f"+ no. {source + 1}" for source, target in np.argwhere(np.triu(graph.adjacency, 2))]
    assert bridges
    assert sorted(word for word in told if word.startswith("+ no. ")) == sorted(bridges)


def test_an_operator_has_one_colour_in_all_drawings_of_a_space() -> None:
    space = SPACES["darts"]
    colours: dict[str, set[str]] = {}
    for seed in range(10):
        shown = draw_network(space, space.sample(np.random.default_rng(seed)))
        for kind, name in re.findall(r'class="swatch (\w+)"></i>(\S+) ×', shown):
            colours.setdefault(name, set()).add(kind)
    assert all(len(kinds) == 1 for kinds in colours.values())
    loud = [kinds for name, kinds in colours.items() if name not in ("none", "skip_connect")]
    assert len(set.union(*loud)) == len(loud) == 6


def test_an_architecture_of_another_space_is_refused() -> None:
    architecture = SPACES["nasbench201"].sample(np.random.default_rng(0))
    with pytest.raises(InvalidArchitecture):
        draw_network(SPACES["darts"], architecture)
