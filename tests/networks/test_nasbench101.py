"""The networks of NAS-Bench-101 against their description, weight by weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.networks.cost import count_flops, count_parameters
from swath.networks.nasbench101 import (
    Cell,
    NASBench101Network,
    normalised_convolution,
    vertex_channels,
)
from swath.spaces._nasbench101_cells import OPERATORS, catalogue, from_code

ALL = catalogue(7, 9)


def matrix(rows: str) -> np.ndarray:
    """The digits before each comma are what a vertex feeds; the output feeds nothing."""
    sources = rows.split(",")
    found = np.zeros((len(sources) + 1,) * 2, int)
    for source, targets in enumerate(sources):
        found[source, [int(target) for target in targets]] = 1
    return found


def drawn(count: int, seed: int = 0) -> list[tuple[np.ndarray, list[str]]]:
    cells = [from_code(int(c)) for c in np.random.default_rng(seed).choice(ALL, count)]
    return [(cell.matrix(), [OPERATORS[o] for o in cell.operators]) for cell in cells]


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "expected"),
    [
        ("1,2,3", 8, 16, [8, 16, 16, 16]),
        ("1", 5, 1, [5, 1]),
        ("12,3,3,4", 16, 8, [16, 8, 8, 8, 8]),
        ("12,3,3", 8, 15, [8, 8, 7, 15]),
        ("123,4,4,4", 8, 8, [8, 3, 3, 2, 8]),
        ("123,4,4,4", 8, 15, [8, 5, 5, 5, 15]),
        ("1,23,4,4", 8, 9, [8, 5, 5, 4, 9]),
        ("13,24,3,4", 8, 15, [8, 8, 7, 7, 15]),
    ],
)
def test_channels_are_divided_as_the_authors_test_them(
    rows: str, inputs: int, outputs: int, expected: list[int]
) -> None:
    assert vertex_channels(inputs, outputs, matrix(rows)) == expected


def parameters(cell: np.ndarray, operators: list[str], inputs: int, outputs: int) -> int:
    """Weights of a cell, from the rule in words: a kernel, and scale and offset a channel."""
    last = len(cell) - 1
    sharing = [v for v in range(1, last) if cell[v, last]]
    share, left = divmod(outputs, len(sharing)) if sharing else (0, 0)
    width = {v: share + (sharing.index(v) < left) for v in sharing} | {last: outputs}
    total = 0
    for v in range(last, 0, -1):
        if v not in width:
            width[v] = max(width[w] for w in range(v + 1, last) if cell[v, w])
        if v < last:
            kernel = {"conv3x3-bn-relu": 9, "conv1x1-bn-relu": 1, "maxpool3x3": 0}[operators[v - 1]]
            total += (kernel * width[v] + 2) * width[v] if kernel else 0
        if cell[0, v]:
            total += (inputs + 2) * width[v]
    return total


def test_networks_have_the_parameters_of_a_closed_form() -> None:
    for cell, operators in drawn(60):
        with torch.device("meta"):
            network = NASBench101Network(
                *(4, 3, cell, operators), channels=13, stacks=3, cells=2, momentum=0.9
            )
        expected = 9 * 4 * 13 + 2 * 13 + 52 * 3 + 3
        for inputs, outputs in ((13, 13), (13, 13), (13, 26), (26, 26), (26, 52), (52, 52)):
            expected += parameters(cell, operators, inputs, outputs)
        assert count_parameters(network) == expected


def test_a_cell_computes_what_its_graph_says() -> None:
    """Vertex by vertex with the cell's own layers; widths that do not divide are cut."""
    torch.manual_seed(0)
    for cell, operators in drawn(40, seed=1):
        module = Cell(cell, operators, 6, 11, 0.9).eval()
        x = torch.randn(2, 6, 5, 4)
        widths = vertex_channels(6, 11, cell)
        last = len(cell) - 1
        values: dict[int, Tensor] = {}
        for v in range(1, last + 1):
            projected = [module.projections[str(v)](x)] if cell[0, v] else []
            before = [values[w] for w in range(1, v) if cell[w, v]]
            if v < last:
                total = sum([one[:, : widths[v]] for one in before] + projected)
                values[v] = module.operators[str(v)](total)
            else:
                joined = [torch.cat(before, dim=1)] if before else []
                assert torch.allclose(module(x), sum(joined + projected), atol=1e-5)


def test_what_is_cut_is_one_channel() -> None:
    for cell, _ in drawn(500, seed=2):
        widths = vertex_channels(6, 11, cell)
        last = len(cell) - 1
        assert sum(widths[v] for v in range(1, last) if cell[v, last]) in (0, 11)
        for v, w in np.argwhere(cell[1:last, 1:last]) + 1:
            assert widths[v] - widths[w] in (0, 1)


def test_from_input_to_output_is_one_projection() -> None:
    module = Cell(matrix("1"), [], 3, 7, 0.9).eval()
    x = torch.randn(1, 3, 4, 4)
    convolution = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    expected = torch.einsum("oi,bihw->bohw", convolution.weight[:, :, 0, 0], x).clamp(min=0)
    assert torch.allclose(module(x), expected / (1 + 1e-5) ** 0.5, atol=1e-5)


def test_layers_are_initialised_and_normalised_as_published() -> None:
    torch.manual_seed(0)
    convolution, normalisation, activation = normalised_convolution(32, 64, 3, momentum=0.997)
    weight = convolution.weight
    assert weight.std().item() == pytest.approx((1 / (32 * 9)) ** 0.5, rel=0.02)
    assert weight.abs().max().item() <= 2 / 0.879 * (1 / (32 * 9)) ** 0.5
    assert convolution.bias is None
    assert normalisation.eps == 1e-5
    x = torch.randn(4, 32, 8, 8)
    mean = convolution(x).mean(dim=(0, 2, 3))
    activation(normalisation(convolution(x)))
    assert torch.allclose(normalisation.running_mean, 0.003 * mean, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 9), (32, 32)])
def test_stacks_halve_the_image_rounded_up_and_double_the_channels(size: tuple[int, int]) -> None:
    cell, operators = drawn(1)[0]
    network = NASBench101Network(
        *(5, 4, cell, operators), channels=8, stacks=4, cells=1, momentum=0.9
    )
    shapes = []
    for module in network:
        if isinstance(module, Cell):
            module.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    assert network(torch.randn(2, 5, *size)).shape == (2, 4)
    rows, columns = size
    expected = []
    for stack in range(4):
        expected.append((8 << stack, rows, columns))
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
    assert shapes == expected


def test_operations_are_those_of_the_convolutions() -> None:
    """One cell from input to output on 8 x 8 pixels: stem, projection, classifier."""
    network = NASBench101Network(
        *(3, 10, matrix("1"), []), channels=16, stacks=1, cells=1, momentum=0.9
    )
    expected = 64 * (9 * 3 * 16 + 16 * 16) + 16 * 10
    assert count_flops(network, 3, 8) == 2 * expected
