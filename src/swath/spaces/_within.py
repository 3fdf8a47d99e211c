"""What all spaces within a space share: their networks, graphs and encodings are the whole's."""

from __future__ import annotations

import numpy as np
from torch import nn

from swath.core.architecture import Architecture
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace

__all__ = ["Within"]


class Within(SearchSpace):
    """A part of ``space``; all that a part does not change is asked of the whole."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.name = space.name  # type: ignore[misc]  # a class variable of other spaces
        self.answers = space.answers  # type: ignore[misc]
        self.patch = space.patch
        self.structure = space.structure
        self.genes = space.genes
        self.options = space.options

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> nn.Module:
        """Return the whole space's open network."""
        return self.space.declare(architecture, inputs, outputs)

    def selection(self, architecture: Architecture) -> dict[str, str]:
        """Return the operator at each choice of the open network."""
        return self.space.selection(architecture)

    def deciding(self, choice: str) -> tuple[str, ...]:
        """Return the genes that decide a choice of the open network."""
        return self.space.deciding(choice)

    def trim(self, network: nn.Module, architecture: Architecture) -> nn.Module:
        """Take out what an architecture's network never uses."""
        return self.space.trim(network, architecture)

    def finish(self, network: nn.Module) -> nn.Module:
        """Prepare a network whose choices were realised."""
        return self.space.finish(network)

    def build(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> nn.Module:
        """Return the network of an architecture of this part."""
        self.validate(architecture)
        return self.space.build(architecture, inputs, outputs)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the operators and their wiring."""
        self.validate(architecture)
        return self.space.graph(architecture)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the representative in the whole space, which need not lie in this part."""
        return self.space.canonical(architecture)

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Return the whole space's encoding."""
        return self.space.encode(architecture)

    def decode(self, vector: np.ndarray) -> Architecture:
        """Return the architecture of this part whose :meth:`encode` is ``vector``."""
        architecture = self.space.decode(vector)
        self.validate(architecture)
        return architecture
