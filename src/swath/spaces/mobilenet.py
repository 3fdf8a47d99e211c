"""The chain space of mobile blocks that ProxylessNAS and SE-NAS search.

Source: Hu et al., "Improving One-Shot NAS with Shrinking-and-Expanding Supernet" (SE-NAS), Table 2;
widths and blocks are those of ProxylessNAS for the GPU (Cai, Zhu, Han, "ProxylessNAS: Direct Neural
Architecture Search on Target Task and Hardware", ICLR 2019).

A stem of 40 channels and stride two, a fixed block of 24 channels, six stages of 4, 4, 4, 4, 4 and
1 searchable layers, a pointwise convolution to 1728 channels, and a classifier of the whole patch.
A layer is a mobile block with a kernel of 3, 5 or 7 and an expansion of 3 or 6, or nothing at all
(``identity``).  The first layer of a stage changes the channels and cannot be left out.

The paper counts 7 operators at each of the 21 layers, 7**21 = 5.59e17 networks.  By its own rule
the first layers of the six stages have one operator less: 6**6 * 7**15 = 2.2e17.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from torch import nn

from swath.core.architecture import Architecture, Gene
from swath.core.errors import RecipeError, nearest
from swath.networks.inverted_residual import InvertedResidual, normalised_convolution
from swath.spaces import registry
from swath.spaces._options import read_options, require_odd, require_whole_numbers
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace
from swath.spaces.choices import Choice, Skip

__all__ = ["BLOCKS", "VARIANTS", "MobileNet", "MobileNetNetwork", "MobileNetOptions"]

VARIANTS = ("published", "grouped")

BLOCKS: dict[str, tuple[int, int, int]] = {
    **{f"mbconv{k}x{k}-e{e}": (k, e, 1) for k in (3, 5, 7) for e in (3, 6)},
    **{f"mbconv{k}x{k}-e6-g2": (k, 6, 2) for k in (3, 5, 7)},
}
"""Kernel, expansion, and groups of the pointwise convolutions.  Those of two groups are of the
variant "grouped" alone."""


@dataclass(frozen=True)
class MobileNetOptions:
    """What is fixed about the space.  Defaults are the published values.

    The published strides halve an image five times; a patch of 9 x 9 is a single pixel from the
    third stage on.  For patches of scenes, give strides that keep a few pixels: a ``stem_stride``
    of 1 and two stages of stride 2 leave 3 x 3, as the recipe mobilenet-quick does.
    Sizes are rounded up, so no stride leaves nothing.

    Parameters
    ----------
    stem_width : channels of the stem.
    stem_stride : its stride.
    first_width : channels of the fixed block behind it.
    widths, layers, strides : channels of each stage, its searchable layers, and the stride of the
        first of them; as many of each.
    head_width : channels that the classifier reads.
    variant : "published"; or "grouped", with three more blocks, whose pointwise convolutions have
        two groups.  SE-NAS-D is from a space of three more operators, which the paper does not
        name; its figure shows convolutions of two groups.  These three are our choice.
    patch : rows and columns of the patch that a pixel of a scene is classified from, odd; the
        networks themselves take images of any size, and scenes are none of the publication's.
    """

    stem_width: int = 40
    stem_stride: int = 2
    first_width: int = 24
    widths: tuple[int, ...] = (32, 56, 112, 128, 256, 432)
    layers: tuple[int, ...] = (4, 4, 4, 4, 4, 1)
    strides: tuple[int, ...] = (2, 2, 2, 1, 2, 1)
    head_width: int = 1728
    variant: str = "published"
    patch: int = 9

    def __post_init__(self) -> None:
        names = ("stem_width", "stem_stride", "first_width", "head_width", "patch")
        require_whole_numbers("mobilenet", self, dict.fromkeys(names, 1))
        require_odd("mobilenet", self, "patch")
        for name in ("widths", "layers", "strides"):
            _require_list(name, getattr(self, name))
            if len(getattr(self, name)) != len(self.widths):
                raise RecipeError(
                    f"mobilenet: {name} has {len(getattr(self, name))} numbers and widths has "
                    f"{len(self.widths)}; give one a stage"
                )
        if self.variant not in VARIANTS:
            raise RecipeError(
                f"mobilenet: variant cannot be {self.variant!r}"
                f"{nearest(str(self.variant), VARIANTS)}; it is one of: {', '.join(VARIANTS)}"
            )
        odd = [width for width in (self.first_width, *self.widths) if width % 2]
        if odd and self.variant == "grouped":
            raise RecipeError(
                f"mobilenet: the variant 'grouped' splits channels in two groups, so a width of "
                f"{odd[0]} is impossible; give even ones for first_width and widths"
            )

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the variant's blocks."""
        grouped = self.variant == "grouped"
        return tuple(name for name, (_, _, groups) in BLOCKS.items() if groups == 1 or grouped)


def _require_list(name: str, values: object) -> None:
    """Raise :class:`RecipeError` unless ``values`` are whole numbers of at least one."""
    if not isinstance(values, tuple) or not values or any(type(v) is not int for v in values):
        raise RecipeError(f"mobilenet: {name} must be a list of whole numbers, not {values!r}")
    if min(values) < 1:
        raise RecipeError(f"mobilenet: {name} must be at least 1 each, not {min(values)}")


@dataclass(frozen=True)
class Layer:
    """A searchable layer: its gene, its channels, its stride and what may stand there."""

    name: str
    inputs: int
    outputs: int
    stride: int
    operators: tuple[str, ...]

    def choice(self) -> Choice:
        """Return the declaration of what may stand here."""
        return Choice(self.name, {operator: self._factory(operator) for operator in self.operators})

    def _factory(self, operator: str) -> Callable[[], nn.Module]:
        if operator == "identity":
            return Skip
        kernel, expansion, groups = BLOCKS[operator]
        return partial(
            InvertedResidual,
            self.inputs,
            self.outputs,
            kernel,
            expansion,
            self.stride,
            groups=groups,
            activation=nn.ReLU6,
        )


def layers(options: MobileNetOptions) -> Iterator[Layer]:
    """Yield the searchable layers."""
    channels, number = options.first_width, 0
    for width, length, stride in zip(options.widths, options.layers, options.strides, strict=True):
        yield Layer(f"layer{number}", channels, width, stride, options.blocks)
        for later in range(number + 1, number + length):
            yield Layer(f"layer{later}", width, width, 1, ("identity", *options.blocks))
        channels, number = width, number + length


class MobileNetNetwork(nn.Sequential):
    """Stem, fixed block, searchable layers, head; open until its choices are realised."""

    def __init__(self, bands: int, classes: int, options: MobileNetOptions) -> None:
        super().__init__(
            *normalised_convolution(bands, options.stem_width, 3, stride=options.stem_stride),
            nn.ReLU6(),
            InvertedResidual(options.stem_width, options.first_width, 3, 1, activation=nn.ReLU6),
            *(layer.choice() for layer in layers(options)),
            *normalised_convolution(options.widths[-1], options.head_width),
            nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(options.head_width, classes),
        )


@registry.register("mobilenet")
class MobileNet(SearchSpace):
    """SE-NAS's chains of mobile blocks: 21 genes, one a layer, of 6 or 7 operators each.

    Parameters
    ----------
    options : fields of :class:`MobileNetOptions`.
    """

    name = "mobilenet"
    answers = "patch"

    def __init__(self, **options: object) -> None:
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        self.settings = read_options(self.name, MobileNetOptions, given)
        self.options = asdict(self.settings)
        self.patch = self.settings.patch
        self.genes = tuple(Gene(layer.name, layer.operators) for layer in layers(self.settings))

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the same network with the identities of each stage at its end."""
        self.validate(architecture)
        values = [architecture[gene.name] for gene in self.genes]
        moved, start = [], 0
        for length in self.settings.layers:
            stage = values[start : start + length]
            moved += sorted(stage, key=lambda operator: operator == "identity")  # stable
            start += length
        return self.architecture(
            {gene.name: value for gene, value in zip(self.genes, moved, strict=True)}
        )

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> MobileNetNetwork:
        """Return the open network: (batch, bands, rows, columns) to (batch, classes)."""
        return MobileNetNetwork(inputs.bands, outputs.classes, self.settings)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the chain: stem, a node a layer, head.

        A node names block, channels and stride, since the same block in another stage is another
        operator: ``mbconv3x3-e3_56_s2``.
        """
        self.validate(architecture)
        operators = [
            f"{architecture[layer.name]}_{layer.outputs}_s{layer.stride}"
            for layer in layers(self.settings)
        ]
        nodes = len(operators) + 2
        return OpGraph(("stem", *operators, "head"), np.eye(nodes, k=1, dtype=bool))
