"""What every search space offers; most follows from its genes alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import nn

from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import InvalidArchitecture
from swath.networks.layout import channels_last
from swath.networks.patchwise import Patchwise
from swath.spaces.choices import chosen, realise

__all__ = ["InputSpec", "OpGraph", "OutputSpec", "SearchSpace"]


@dataclass(frozen=True)
class InputSpec:
    """What a network reads: tensors (batch, bands, rows, columns)."""

    bands: int


@dataclass(frozen=True)
class OutputSpec:
    """What a network answers: logits (batch, classes, rows, columns), or (batch, classes) of the
    spaces whose networks answer for the whole patch.
    """

    classes: int


@dataclass(frozen=True)
class OpGraph:
    """A network as a directed acyclic graph.

    Parameters
    ----------
    operators : name of the operator at each node, in topological order.
    adjacency : bool (nodes, nodes); ``adjacency[i, j]`` where node i feeds node j, i < j.
    """

    operators: tuple[str, ...]
    adjacency: np.ndarray


class SearchSpace:
    """A set of architectures, given by genes and a rule of validity.

    A subclass sets ``name``, ``genes`` and ``options`` (what it was created with), and implements
    :meth:`declare` and :meth:`graph`; it overrides :meth:`problem` where not every combination of
    genes is valid, and :meth:`canonical` where two encodings may be the same network.  ``answers``
    says what a network tells: the class of every pixel, or one class of the whole patch; of the
    latter ``patch`` says how large it is where it is cut from a scene.  Architectures are values:
    nothing here keeps state, and every random draw takes its generator from the caller.

    From the declaration follow the compact network of an architecture (:meth:`build`) and the
    single-path supernet.  ``structure`` names the genes that choose no operator but shape the
    declared network itself, such as its widths.  A space without choices in its network overrides
    :meth:`build` instead.
    """

    name: ClassVar[str]
    answers: ClassVar[Literal["pixels", "patch"]] = "pixels"
    patch: int | None = None
    structure: tuple[str, ...] = ()
    genes: tuple[Gene, ...]
    options: Mapping[str, Any]

    def problem(self, values: Mapping[str, Value]) -> str | None:
        """Return why a combination of allowed gene values is invalid, or None."""
        return None

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> nn.Module:
        """Return the network with its choices open (:mod:`swath.spaces.choices`).

        It depends on the genes in ``structure`` alone.
        """
        raise NotImplementedError

    def selection(self, architecture: Architecture) -> dict[str, str]:
        """Return the operator at each choice of the declared network (default: its gene's)."""
        return {gene: str(value) for gene, value in architecture.genes}

    def deciding(self, choice: str) -> tuple[str, ...]:
        """Return the genes that decide a choice of the network (default: the one of its name)."""
        return (choice,)

    def trim(self, network: nn.Module, architecture: Architecture) -> nn.Module:
        """Take out, in place, what an architecture's network has and never uses; return it.

        Done to a child, and to one that is taken out of a supernet (default: there is nothing).
        """
        return network

    def finish(self, network: nn.Module) -> nn.Module:
        """Prepare a network whose choices were realised, in place; return it.

        The same is done to a child and to a whole supernet: layout and, where the space has one,
        its own initialisation.
        """
        return channels_last(network)

    def build(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> nn.Module:
        """Return the compact network of an architecture: only the chosen operators."""
        self.validate(architecture)
        network = self.declare(architecture, inputs, outputs)
        realise(network, chosen(self.selection(architecture)))
        return self.finish(self.trim(network, architecture))

    def build_dense(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> nn.Module:
        """Return the network as one that labels every pixel: what is trained and maps scenes.

        One that answers for a patch is asked about the patch around each pixel
        (:class:`~swath.networks.patchwise.Patchwise`).
        """
        network = self.build(architecture, inputs, outputs)
        return network if self.patch is None else Patchwise(network, self.patch)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the operators and their wiring."""
        raise NotImplementedError

    def architecture(self, values: Mapping[str, Value]) -> Architecture:
        """Return the validated architecture with these gene values, in canonical gene order."""
        architecture = Architecture(
            self.name, tuple((g.name, values[g.name]) for g in self.genes if g.name in values)
        )
        self.validate(architecture)
        return architecture

    def validate(self, architecture: Architecture) -> None:
        """Raise :class:`InvalidArchitecture`, naming the gene, unless the architecture is ours."""
        if architecture.space != self.name:
            raise InvalidArchitecture(
                f"the architecture belongs to space '{architecture.space}', not to '{self.name}'"
            )
        values = architecture.as_dict()
        for gene in self.genes:
            if gene.name not in values:
                raise InvalidArchitecture(f"gene '{gene.name}' is missing")
            gene.index(values[gene.name])
        extra = values.keys() - {gene.name for gene in self.genes}
        if extra:
            raise InvalidArchitecture(f"'{sorted(extra)[0]}' is no gene of space '{self.name}'")
        problem = self.problem(values)
        if problem:
            raise InvalidArchitecture(problem)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw uniformly from the valid architectures."""
        while True:
            values = {g.name: g.choices[int(rng.integers(len(g.choices)))] for g in self.genes}
            if self.problem(values) is None:
                return self.architecture(values)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Change one gene to another value, uniformly among the valid changes."""
        neighbours = list(self.neighbours(architecture))
        return neighbours[int(rng.integers(len(neighbours)))]

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield every valid architecture that differs in exactly one gene."""
        values = architecture.as_dict()
        for gene in self.genes:
            for choice in gene.choices:
                if choice != values[gene.name]:
                    changed = {**values, gene.name: choice}
                    if self.problem(changed) is None:
                        yield self.architecture(changed)

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the one representative of all encodings of the same network (default: itself)."""
        return architecture

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Return the one-hot genes as one flat float32 vector, in gene order."""
        parts = []
        for gene in self.genes:
            part = np.zeros(len(gene.choices), np.float32)
            part[gene.index(architecture[gene.name])] = 1
            parts.append(part)
        return np.concatenate(parts)

    def decode(self, vector: np.ndarray) -> Architecture:
        """Return the architecture whose :meth:`encode` is ``vector``."""
        stops = list(itertools.accumulate(len(gene.choices) for gene in self.genes))
        parts = np.split(np.asarray(vector), stops[:-1])
        return self.architecture(
            {
                g.name: g.choices[int(part.argmax())]
                for g, part in zip(self.genes, parts, strict=True)
            }
        )

    def size(self) -> int:
        """Return the number of valid architectures."""
        return math.prod(len(gene.choices) for gene in self.genes)
