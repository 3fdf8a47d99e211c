"""The chain space of NAS-Bench-Macro: eight layers, each one of three mobile blocks.

Source: Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search" (CVPR 2021),
with the authors' benchmark where the paper is silent (widths, strides, head).

A stem of 32 channels, stages of two, three and three layers with 64, 128 and 256 channels, a
pointwise convolution to 1280 channels, and a classifier of the whole patch.  The first layer of a
stage has stride two and doubles the channels; there ``identity`` is a pointwise convolution, since
the shape must change.  Everywhere else it is nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from torch import nn

from swath.core.architecture import Architecture, Gene
from swath.core.errors import InvalidArchitecture
from swath.networks.inverted_residual import InvertedResidual, Projection, normalised_convolution
from swath.spaces import registry
from swath.spaces._options import read_options, require_odd, require_whole_numbers
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace
from swath.spaces.choices import Choice, Skip

__all__ = ["OPERATORS", "STAGES", "NASBenchMacro", "NASBenchMacroNetwork", "NASBenchMacroOptions"]

OPERATORS = ("identity", "mbconv3x3-e3", "mbconv5x5-e6")
"""Kernel and expansion of the blocks, in the order of the benchmark's digits 0, 1, 2."""

STAGES = (2, 3, 3)
"""Layers of each stage."""


@dataclass(frozen=True)
class NASBenchMacroOptions:
    """What is fixed about the space.  Defaults are the published values.

    Parameters
    ----------
    channels : of the stem; every stage doubles them.
    head_width : channels that the classifier reads.
    patch : rows and columns of the patch that a pixel of a scene is classified from, odd; the
        networks themselves take images of any size, and scenes are none of the publication's.
    """

    channels: int = 32
    head_width: int = 1280
    patch: int = 9

    def __post_init__(self) -> None:
        require_whole_numbers("nasbenchmacro", self, {"channels": 1, "head_width": 1, "patch": 1})
        require_odd("nasbenchmacro", self, "patch")


@dataclass(frozen=True)
class Layer:
    """A searchable layer: its gene, its channels and its stride."""

    name: str
    inputs: int
    outputs: int
    stride: int

    def choice(self) -> Choice:
        """Return the declaration of what may stand here."""
        shape = (self.inputs, self.outputs)
        identity = Skip if self.stride == 1 else partial(Projection, *shape, self.stride)
        return Choice(
            self.name,
            {
                "identity": identity,
                "mbconv3x3-e3": partial(InvertedResidual, *shape, 3, 3, self.stride),
                "mbconv5x5-e6": partial(InvertedResidual, *shape, 5, 6, self.stride),
            },
        )


def layers(channels: int) -> Iterator[Layer]:
    """Yield the searchable layers behind a stem of ``channels``."""
    number = 0
    for length in STAGES:
        for place in range(length):
            first = place == 0
            outputs = 2 * channels if first else channels
            yield Layer(f"layer{number}", channels, outputs, 2 if first else 1)
            channels = outputs
            number += 1


class NASBenchMacroNetwork(nn.Sequential):
    """Stem, searchable layers, head; open until its choices are realised."""

    def __init__(self, bands: int, classes: int, options: NASBenchMacroOptions) -> None:
        searchable = list(layers(options.channels))
        super().__init__(
            *normalised_convolution(bands, options.channels, 3),
            nn.ReLU(),
            *(layer.choice() for layer in searchable),
            *normalised_convolution(searchable[-1].outputs, options.head_width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(options.head_width, classes),
        )


@registry.register("nasbenchmacro")
class NASBenchMacro(SearchSpace):
    """The 6,561 chains of NAS-Bench-Macro: 8 genes, one a layer, of 3 blocks each.

    Parameters
    ----------
    options : fields of :class:`NASBenchMacroOptions`.
    """

    name = "nasbenchmacro"
    answers = "patch"

    def __init__(self, **options: object) -> None:
        self.settings = read_options(self.name, NASBenchMacroOptions, options)
        self.options = asdict(self.settings)
        self.patch = self.settings.patch
        self.genes = tuple(Gene(f"layer{i}", OPERATORS) for i in range(sum(STAGES)))

    def digits(self, architecture: Architecture) -> str:
        """Return the benchmark's key: a digit 0, 1 or 2 a layer."""
        self.validate(architecture)
        return "".join(str(gene.index(architecture[gene.name])) for gene in self.genes)

    def from_digits(self, text: str) -> Architecture:
        """Return the architecture of a benchmark's key.

        Raises
        ------
        InvalidArchitecture : the text is not eight digits from 0 to 2.
        """
        if len(text) != len(self.genes) or not set(text) <= set("012"):
            raise InvalidArchitecture(
                f"'{text}' is no chain of {self.name}; it is written as {len(self.genes)} digits "
                "from 0 to 2, one a layer"
            )
        return self.architecture(
            {gene.name: OPERATORS[int(digit)] for gene, digit in zip(self.genes, text, strict=True)}
        )

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the same network with the identities of each stage at its end; there are 3,969.

        The first layer of a stage stays where it is: its ``identity`` is a convolution.  The
        benchmark, too, trained only one network of each kind.
        """
        key = self.digits(architecture)
        moved, start = "", 0
        for length in STAGES:
            blocks = key[start + 1 : start + length].replace("0", "")
            moved += (key[start] + blocks).ljust(length, "0")
            start += length
        return self.from_digits(moved)

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> NASBenchMacroNetwork:
        """Return the open network: (batch, bands, rows, columns) to (batch, classes)."""
        return NASBenchMacroNetwork(inputs.bands, outputs.classes, self.settings)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the chain: stem, a node a layer, head.

        A node names block, channels and stride, since the same block in another stage is another
        operator: ``mbconv3x3-e3_64_s2``.
        """
        self.validate(architecture)
        operators = [
            f"{architecture[layer.name]}_{layer.outputs}_s{layer.stride}"
            for layer in layers(self.settings.channels)
        ]
        nodes = len(operators) + 2
        return OpGraph(("stem", *operators, "head"), np.eye(nodes, k=1, dtype=bool))
