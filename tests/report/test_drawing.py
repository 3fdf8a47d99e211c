"""Drawings show every part and nothing lies on anything else."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.core.errors import InvalidArchitecture
from swath.report.drawing import (
    Box,
    Edge,
    Layout,
    Node,
    draw_graph,
    lay_out,
)
from swath.report.hsi3d import draw_widths, hsi3d_cell, hsi3d_widths

Genes = Callable[..., dict[str, str | int]]


def check(layout: Layout) -> None:
    """No two boxes overlap, all lie inside, and every arrow runs from left to right."""
    boxes = [*layout.nodes.values(), *layout.labels.values()]
    for one, two in itertools.combinations(boxes, 2):
        assert not one.overlaps(two)
    for box in boxes:
        assert box.x - box.width / 2 >= 0
        assert box.x + box.width / 2 <= layout.width
        assert box.y - box.height / 2 >= 0
        assert box.y + box.height / 2 <= layout.height
    for route in layout.routes:
        for one, two in itertools.pairwise(route):
            assert one.x + one.width / 2 < two.x - two.width / 2


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_cells_have_every_operator_and_no_overlaps(
    random_genes: Genes, seed: int, nodes: int
) -> None:
    values = random_genes(np.random.default_rng(seed), layers=2, nodes=nodes)
    for layer in range(2):
        cell_nodes, edges = hsi3d_cell(values, layer, 24)
        layout = lay_out(cell_nodes, edges)
        check(layout)
        operators = [values[f"cell{layer}.node{i}.op{k}"] for i in range(nodes) for k in range(2)]
        assert sorted(e.label for e in edges if e.label) == sorted(operators)
        assert len(layout.labels) == 2 * nodes
        drawing = draw_graph(cell_nodes, edges)
        for operator in operators:
            assert drawing.count(f">{operator}<") == operators.count(operator)
        for name in ("previous", "before previous", "output", *(f"node {i}" for i in range(nodes))):
            assert f">{name}<" in drawing


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_any_acyclic_graph_is_laid_out_without_overlaps(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    pairs = list(itertools.combinations(range(count), 2))
    chosen = data.draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []
    labels = st.sampled_from(["", "conv3x3-bn-relu", "maxpool", "x"])
    edges = [Edge(str(a), str(b), data.draw(labels)) for a, b in chosen]
    layout = lay_out([Node(str(k), "node " * (k + 1)) for k in range(count)], edges)
    check(layout)
    assert len(layout.routes) == len(edges)


def test_inputs_of_a_cell_are_wired_as_the_genes_say() -> None:
    values = {
        "cell0.node0.inputs": "0,1", "cell0.node0.op0": "con_3-3", "cell0.node0.op1": "sep_5-3",
        "cell0.node1.inputs": "1,2", "cell0.node1.op0": "skip_connect",
        "cell0.node1.op1": "con_3-5",
    }  # fmt: skip
    nodes, edges = hsi3d_cell(values, 0)
    assert {(e.source, e.target, e.label) for e in edges} == {
        ("older", "node0", "con_3-3"),
        ("previous", "node0", "sep_5-3"),
        ("previous", "node1", "skip_connect"),
        ("node0", "node1", "con_3-5"),
        ("node0", "output", ""),
        ("node1", "output", ""),
    }
    # 3D-ANAS: state 0 is the previous-previous cell, state 1 the previous one.
    notes = {node.key: node.note for node in nodes}
    assert notes["older"] == "input 0"
    assert notes["previous"] == "input 1"


@pytest.mark.parametrize(
    ("gene", "value"), [("cell0.node1.inputs", "0,3"), ("cell0.node1.inputs", "two")]
)
def test_a_broken_gene_is_named(random_genes: Genes, gene: str, value: str) -> None:
    values = random_genes(np.random.default_rng(0))
    with pytest.raises(InvalidArchitecture, match=gene):
        hsi3d_cell({**values, gene: value}, 0)
    del values["cell0.node2.op1"]
    with pytest.raises(InvalidArchitecture, match=r"cell0\.node2\.op1"):
        hsi3d_cell(values, 0)


def test_cycles_and_unknown_nodes_are_refused() -> None:
    nodes = [Node("a", "a"), Node("b", "b")]
    with pytest.raises(ValueError, match="cycle"):
        lay_out(nodes, [Edge("a", "b"), Edge("b", "a")])
    with pytest.raises(ValueError, match="names no node"):
        lay_out(nodes, [Edge("a", "c")])
    with pytest.raises(ValueError, match="share a key"):
        lay_out([*nodes, Node("a", "again")], [])


def test_the_trellis_shows_the_path_and_only_moves_that_exist() -> None:
    assert hsi3d_widths({"cell0.width": 1, "cell1.width": 2}) == (1, 2)
    drawing = draw_widths((1, 2), ["× 1", "× 1.5", "× 2"], {(0, 0, 1): 0.73, (1, 1, 2): 0.41})
    # Layer 1 can be 0 or 1; layer 2 from 0: 0, 1; from 1: 0, 1, 2 (five paths).
    assert drawing.count('class="move') == 2 + 5
    assert drawing.count('class="move taken"') == 2
    assert drawing.count('class="state taken"') == 3
    assert ">0.73<" in drawing
    assert ">0.41<" in drawing


def test_labels_are_escaped() -> None:
    drawing = draw_graph([Node("a", "<script>"), Node("b", "b")], [Edge("a", "b", "<b>&")])
    assert "<script>" not in drawing
    assert "&lt;b&gt;&amp;" in drawing


def test_boxes_that_touch_do_not_overlap() -> None:
    assert not Box(0, 0, 2, 2).overlaps(Box(2, 0, 2, 2))
    assert Box(0, 0, 2, 2).overlaps(Box(1.9, 1.9, 2, 2))
