"""The 3D-ANAS supernet: cells that mix all operators, a trellis that mixes all widths.

Source: 3D-ANAS, section III and Eqs. 3 to 5; the authors' code for stems, routers and heads.

Architecture parameters:

* alpha (layers, edges, operators), one row an edge of a layer's cell; all widths of a layer share
  it.  Softmax over operators.
* beta (rows, 3), one row for each (layer, source width): the moves to width - 1, width, width + 1.
  Softmax over the moves out of a source, so that a product along a path is its probability;
  impossible moves are masked.

With *cell sharing* (Eq. 5) a cell runs once on the mixture of what arrives; without (Eq. 4) it runs
on each arrival and the results are mixed.  In *sampled* mode one operator an edge and one width a
layer are drawn in each pass, so a pass costs about what one child does.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture, Value
from swath.networks.layers3d import AtrousPyramid, SpectralReduction, pointwise
from swath.networks.layout import channels_last
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.choices import Choice, realise
from swath.spaces.hsi3d import HSI3D, Cell, HSI3DOptions, Stem, edge_name, layer_widths
from swath.supernets.mixture import Mixture, hard_sample

__all__ = ["HSI3DMixture", "Mode", "best_path", "decode_cells"]

Mode = Literal["full", "sampled"]
IMPOSSIBLE = -50.0


class HSI3DMixture(nn.Module):
    """Supernet of the hsi3d space; maps (batch, bands, rows, columns) to logits.

    Parameters
    ----------
    space : whose cells and widths are mixed.
    width : base width W of the supernet (8 published).
    mode : "full" mixes everything in each pass; "sampled" draws one operator an edge and one width
        a layer.
    cell_sharing : Eq. 5 (True) or Eq. 4.
    """

    def __init__(
        self,
        space: HSI3D,
        inputs: InputSpec,
        outputs: OutputSpec,
        *,
        width: int = 8,
        mode: Mode = "full",
        cell_sharing: bool = True,
    ) -> None:
        super().__init__()
        options = space.settings
        self.space, self.mode, self.cell_sharing = space, mode, cell_sharing
        edges = sum(2 + node for node in range(options.nodes))
        self.alpha = nn.Parameter(torch.ones(options.layers, edges, len(options.operators)))
        possible = _possible_moves(options)
        self._possible: Tensor
        self.register_buffer("_possible", possible, persistent=False)
        self.beta = nn.Parameter(torch.where(possible, 1.0, IMPOSSIBLE))
        self._forget()
        self.trains_architecture = False
        """In sampled mode: whether a draw carries gradients to alpha and beta."""

        stem_width, narrowest = options.stem_width, options.channels(0, width)  # the stem's width
        self.stem = Stem(inputs.bands, stem_width, narrowest * options.nodes, options, affine=False)
        length = length_before = self.stem.second.length
        self.older = SpectralReduction(
            stem_width, narrowest, self.stem.first.length, kernel=5, activate=False
        )
        self.routers, self.cells = nn.ModuleDict(), nn.ModuleDict()
        self.shorten, self.lift = nn.ModuleDict(), nn.ModuleDict()
        widths_before = range(1)
        for layer in range(options.layers):
            widths = layer_widths(options, layer)
            for target in widths:
                channels = options.channels(target, width)
                for source in widths_before:
                    if self._routed(source, target):
                        inputs_ = options.channels(source, width) * options.nodes
                        self.routers[f"{layer}-{source}-{target}"] = pointwise(inputs_, channels)
                if target not in widths_before:
                    self.lift[f"{layer}-{target}"] = pointwise(
                        options.channels(target - 1, width), channels
                    )
                if layer > 0:
                    self.shorten[f"{layer}-{target}"] = SpectralReduction(
                        channels,
                        channels,
                        length_before,
                        activate=False,
                    )
                cell = Cell(layer, channels, length, options, affine=False)
                self.cells[f"{layer}-{target}"] = realise(cell, self._mixture)
            length_before, length, widths_before = length, cell.length, widths
        self.head = _Head(
            [options.channels(w, width) * options.nodes for w in widths_before],
            width * options.nodes,
            outputs.classes,
        )
        channels_last(self)

    def _routed(self, source: int, target: int) -> bool:
        """Whether a router leads from a source to a target width.

        Sampled paths of three and more layers also need, for a cell's older input, the width two
        steps from the source that was drawn.
        """
        far = 2 if self.mode == "sampled" else 1
        return abs(source - target) <= far

    def _mixture(self, choice: Choice) -> Mixture:
        return Mixture(choice, partial(self._weights_of, *self._edges[choice.name]))

    def _weights_of(self, layer: int, edge: int) -> Tensor:
        """The weights of a choice in this pass.  A method, so that a copy asks its own supernet."""
        return self._alpha_now[layer, edge]

    @property
    def _edges(self) -> dict[str, tuple[int, int]]:
        """Layer and row of alpha of each choice."""
        options = self.space.settings
        return {
            edge_name(layer, node, source): (layer, row)
            for layer in range(options.layers)
            for row, (node, source) in enumerate(_cell_edges(options.nodes))
        }

    def architecture_parameters(self) -> list[nn.Parameter]:
        """alpha and beta."""
        return [self.alpha, self.beta]

    def move_logits(self) -> Tensor:
        """beta, with impossible moves masked.

        Their entries begin masked, but weight decay pulls them up; a long search would let them in.
        """
        return self.beta.masked_fill(~self._possible, IMPOSSIBLE)

    def weight_parameters(self) -> list[nn.Parameter]:
        """All other parameters."""
        return [p for n, p in self.named_parameters() if n not in ("alpha", "beta")]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns) of the current mixture or draw.

        In sampled mode a pass in training mode draws; a pass in evaluation mode follows the
        decoded architecture.
        """
        self._weigh()
        x = x.unsqueeze(1).contiguous(memory_format=torch.channels_last_3d)
        first, second = self.stem(x)
        states: dict[int, Tensor] = {0: second}
        mixed_before = {0: self.older(first)}
        settings = self.space.settings
        for layer in range(settings.layers):
            widths = layer_widths(settings, layer)
            needed = self._needed(layer, widths)
            mixed = {w: m for w in needed if (m := self._mix(layer, states, w)) is not None}
            running = self._running(layer, widths, mixed)
            older = {w: self._older(layer, w, mixed_before) for w in running}
            states = {w: self._run(layer, w, older[w], mixed[w], states) for w in running}
            mixed_before = mixed
        self._forget()
        return self.head(states)

    def _forget(self) -> None:
        """Let go of the weights of a pass: with its gradients they cannot be copied."""
        self._alpha_now, self._beta_now = self.alpha.detach(), self.beta.detach()

    def _weigh(self) -> None:
        """Set the weights of this pass from alpha and beta."""
        if self.mode == "full":
            self._alpha_now = self.alpha.softmax(-1)
            self._beta_now = self.move_logits().softmax(-1)
        elif self.training:
            alpha = self.alpha.clone()
            alpha[..., -1] = float("-inf")  # drawing `none` would compute nothing and teach nothing
            self._alpha_now = hard_sample(alpha, gradients=self.trains_architecture)
            self._beta_now = hard_sample(self.move_logits(), gradients=self.trains_architecture)
        else:
            self._alpha_now, self._beta_now = self._decoded_weights()

    def _decoded_weights(self) -> tuple[Tensor, Tensor]:
        selection = self.space.selection(self.decode())
        operators = self.space.settings.operators
        alpha, beta = torch.zeros_like(self.alpha), torch.zeros_like(self.beta)
        for name, (layer, row) in self._edges.items():
            alpha[layer, row, operators.index(selection[name])] = 1
        before = 0
        for layer, width in enumerate(best_path(self.move_logits(), self.space.settings)):
            beta[_beta_row(self.space.settings, layer, before), width - before + 1] = 1
            before = width
        return alpha, beta

    def _path(self) -> list[int]:
        """The widths that this pass's one-hot beta leads through."""
        path, before = [], 0
        for layer in range(self.space.settings.layers):
            row = self._beta_now.detach()[_beta_row(self.space.settings, layer, before)]
            before += int(row.argmax()) - 1
            path.append(before)
        return path

    def _running(self, layer: int, widths: range, mixed: dict[int, Tensor]) -> list[int]:
        """Widths whose cells run in this pass."""
        return [w for w in widths if w in mixed] if self.mode == "full" else [self._path()[layer]]

    def _needed(self, layer: int, widths: range) -> list[int]:
        """Widths whose inputs are mixed: those that run, and the older input of the next layer."""
        if self.mode == "full":
            return list(widths)
        path = self._path()
        return [w for w in widths if w in path[layer : layer + 2]]

    def _mix(self, layer: int, states: dict[int, Tensor], target: int) -> Tensor | None:
        """The mixture of all states that arrive at a width (the cell's newer input, Eq. 5)."""
        total: Tensor | None = None
        for source, state in states.items():
            if self.mode == "full" and abs(source - target) > 1:
                continue
            term = self._move(layer, source, target) * self.routers[f"{layer}-{source}-{target}"](
                state
            )
            total = term if total is None else total + term
        return total

    def _move(self, layer: int, source: int, target: int) -> Tensor:
        """Weight of a move; one for the side input of a sampled path."""
        if abs(source - target) <= 1:
            row = _beta_row(self.space.settings, layer, source)
            weight = self._beta_now[row, target - source + 1]
            if self.mode == "full" or float(weight.detach()) != 0:
                return weight
        return self._beta_now.new_ones(())

    def _older(self, layer: int, width: int, mixed_before: dict[int, Tensor]) -> Tensor:
        """A cell's older input: what was the newer one, a layer before, at the same width."""
        if f"{layer}-{width}" in self.lift:
            x = self.lift[f"{layer}-{width}"](mixed_before[width - 1])
        else:
            x = mixed_before[width]
        return self.shorten[f"{layer}-{width}"](x) if layer > 0 else x

    def _run(
        self, layer: int, width: int, older: Tensor, mixed: Tensor, states: dict[int, Tensor]
    ) -> Tensor:
        cell = self.cells[f"{layer}-{width}"]
        if self.cell_sharing or self.mode == "sampled":
            return cell(older, mixed)
        total: Tensor | None = None
        for source, state in states.items():
            if abs(source - width) <= 1:
                arrived = self.routers[f"{layer}-{source}-{width}"](state)
                term = self._move(layer, source, width) * cell(older, arrived)
                total = term if total is None else total + term
        assert total is not None
        return total

    def decode(self) -> Architecture:
        """Return the discrete architecture that alpha and beta stand for."""
        values: dict[str, Value] = {}
        alpha = self.alpha.detach().softmax(-1)
        settings = self.space.settings
        for layer, cell in enumerate(decode_cells(alpha)):
            for node, kept in enumerate(cell):
                (first, op0), (second, op1) = kept
                values[f"cell{layer}.node{node}.inputs"] = f"{first},{second}"
                values[f"cell{layer}.node{node}.op0"] = settings.operators[op0]
                values[f"cell{layer}.node{node}.op1"] = settings.operators[op1]
        for layer, width in enumerate(best_path(self.move_logits(), settings)):
            values[f"cell{layer}.width"] = width
        return self.space.architecture(values)


class _Head(nn.Module):
    """The supernet's decoder: a pyramid a width, then as in the final network."""

    def __init__(self, inputs: list[int], width: int, classes: int) -> None:
        super().__init__()
        self.pyramids = nn.ModuleList([AtrousPyramid(n, width, rates=(2,)) for n in inputs])
        self.width = width
        total = width * len(inputs)
        self.classify = nn.Sequential(
            nn.Conv2d(total, total, 3, padding=1, bias=False),
            nn.BatchNorm2d(total),
            nn.Conv2d(total, total, 3, padding=1, bias=False),
            nn.BatchNorm2d(total),
            nn.Conv2d(total, classes, 1),
        )

    def forward(self, states: dict[int, Tensor]) -> Tensor:
        """Return logits; the parts of widths that did not run are zero."""
        example = next(iter(states.values()))
        empty = example.new_zeros((example.shape[0], self.width, *example.shape[3:]))
        parts = [
            self.pyramids[w](states[w]).mean(dim=2) if w in states else empty
            for w in range(len(self.pyramids))
        ]
        return self.classify(torch.cat(parts, dim=1))


def _cell_edges(nodes: int) -> Iterator[tuple[int, int]]:
    """Yield (node, source) in the order of alpha's rows."""
    for node in range(nodes):
        for source in range(2 + node):
            yield node, source


def _sources(options: HSI3DOptions, layer: int) -> range:
    return range(1) if layer == 0 else layer_widths(options, layer - 1)


def _beta_row(options: HSI3DOptions, layer: int, source: int) -> int:
    return sum(len(_sources(options, before)) for before in range(layer)) + source


def _possible_moves(options: HSI3DOptions) -> Tensor:
    """Return whether each move of beta (rows, 3) leads to a width that its layer has."""
    rows = []
    for layer in range(options.layers):
        for source in _sources(options, layer):
            targets = [source - 1, source, source + 1]
            possible = layer_widths(options, layer)
            rows.append([target in possible for target in targets])
    return torch.tensor(rows)


def decode_cells(alpha: Tensor) -> list[list[list[tuple[int, int]]]]:
    """Return, per layer and node, the two kept edges as (input, operator index), input ascending.

    For each node the two inputs with the largest weight of any operator but ``none`` (the last)
    are kept, with that operator on each; ties go to the lower index.

    Parameters
    ----------
    alpha : softmax weights (layers, edges, operators).
    """
    layers = []
    for weights in alpha[..., :-1]:
        best, operators = weights.max(dim=-1)
        cell: list[list[tuple[int, int]]] = []
        row = 0
        while row < len(best):
            inputs = 2 + len(cell)
            # A stable descending sort keeps the lower index first among equals.
            order = torch.sort(best[row : row + inputs], descending=True, stable=True).indices
            kept = sorted(order[:2].tolist())
            cell.append([(source, int(operators[row + source])) for source in kept])
            row += inputs
        layers.append(cell)
    return layers


def best_path(beta: Tensor, options: HSI3DOptions) -> list[int]:
    """Return the most probable widths, one a layer (Viterbi over the product of moves).

    The stem has width 0.  The first of equally probable paths wins.

    Parameters
    ----------
    beta : logits (rows, 3) as in :class:`HSI3DMixture`.
    """
    moves = beta.detach().double().softmax(-1)
    paths: dict[int, tuple[float, list[int]]] = {0: (1.0, [])}
    for layer in range(options.layers):
        possible = layer_widths(options, layer)
        reached: dict[int, tuple[float, list[int]]] = {}
        for source, (probability, path) in paths.items():
            row = moves[_beta_row(options, layer, source)]
            for move in (-1, 0, 1):
                target = source + move
                score = probability * float(row[move + 1])
                if target in possible and score > reached.get(target, (-1.0, []))[0]:
                    reached[target] = (score, [*path, target])
        paths = dict(sorted(reached.items()))
    return max(paths.values(), key=lambda item: item[0])[1]
