"""RegNet: residual bottleneck networks whose widths follow a quantised line.

Source: Radosavovic et al., "Designing Network Design Spaces" (CVPR 2020), section 3.3 for widths
and depths.  Parameters have torchvision's names, so that its published ImageNet weights load.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from swath.core.errors import DataError, RecipeError, UnknownName, nearest
from swath.networks.inverted_residual import normalised_convolution

__all__ = ["SETTINGS", "RegNet", "RegNetSettings", "load_pretrained", "regnet_settings"]

_QUANTUM = 8


@dataclass(frozen=True)
class RegNetSettings:
    """The parameters of one RegNet; they must give four stages.

    Block j would have the width ``w_0 + w_a j``; it gets that of the nearest ``w_0 w_m^k`` (in
    logarithms, equations 2 to 4), rounded to a multiple of eight.  Blocks of one width are a stage.

    Parameters
    ----------
    depth : blocks.
    w_0, w_a, w_m : first width (a multiple of 8), slope, ratio between stages (above 1).
    group_width : channels per group of the 3 x 3 convolutions; a narrower stage has one group, and
        the width of each stage is moved to the nearest multiple of its group width.
    se_ratio : channels inside squeeze-and-excitation, as a share of the block's input (RegNetY);
        None: there is none (RegNetX).
    stem_width : channels of the first convolution.
    ties : how widths are moved to multiples of the group width: "up" as torchvision does (half of a
        group width is rounded up, and no more than a tenth is lost), or "even" as the authors' code
        does (half is rounded to the even multiple).  Three published networks differ: RegNetX-400MF
        (400 channels in the last stage, or 384), RegNetY-800MF and RegNetY-8GF.

    Raises
    ------
    RecipeError : a value is out of its range, or there are not four stages.

    >>> RegNetSettings(22, 24, 24.48, 2.54, 16).widths
    (32, 64, 160, 400)
    >>> RegNetSettings(22, 24, 24.48, 2.54, 16, ties="even").widths
    (32, 64, 160, 384)
    """

    depth: int
    w_0: int
    w_a: float
    w_m: float
    group_width: int
    se_ratio: float | None = None
    stem_width: int = 32
    ties: Literal["up", "even"] = "up"

    def __post_init__(self) -> None:
        """Refuse what gives no network."""
        for name in ("depth", "w_0", "group_width", "stem_width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} of a RegNet is {getattr(self, name)}; give at least 1")
        if self.w_0 % _QUANTUM:
            raise RecipeError(f"w_0 of a RegNet is {self.w_0}; give a multiple of {_QUANTUM}")
        if not 0 <= self.w_a < math.inf:
            raise RecipeError(f"w_a of a RegNet is {self.w_a}; give a number of at least 0")
        if not 1 < self.w_m < math.inf:
            raise RecipeError(f"w_m of a RegNet is {self.w_m}; give a number above 1")
        if self.se_ratio is not None and not 0 < self.se_ratio <= 1:
            raise RecipeError(f"se_ratio of a RegNet is {self.se_ratio}; give a share in (0, 1]")
        if self.ties not in ("up", "even"):
            raise RecipeError(f"ties of a RegNet are '{self.ties}'; give 'up' or 'even'")
        if len(self._stages()) != 4:
            raise RecipeError(
                f"a RegNet of depth {self.depth}, w_0 {self.w_0}, w_a {self.w_a} and w_m {self.w_m}"
                f" has {len(self._stages())} stages; choose values that give 4"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage's output."""
        return tuple(
            _nearest_multiple(width, min(width, self.group_width), self.ties)
            for width, _ in self._stages()
        )

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        return tuple(depth for _, depth in self._stages())

    @property
    def group_widths(self) -> tuple[int, ...]:
        """Channels per group in each stage."""
        return tuple(min(width, self.group_width) for width, _ in self._stages())

    def _stages(self) -> list[tuple[int, int]]:
        """Return width, before it is fitted to the groups, and depth of each stage."""
        widths = []
        for block in range(self.depth):
            line = self.w_0 + self.w_a * block
            power = round(math.log(line / self.w_0) / math.log(self.w_m))
            widths.append(round(self.w_0 * self.w_m**power / _QUANTUM) * _QUANTUM)
        return [(width, len(list(blocks))) for width, blocks in groupby(widths)]


def _nearest_multiple(width: int, group_width: int, ties: str) -> int:
    if ties == "even":
        return round(width / group_width) * group_width
    fitted = (width + group_width // 2) // group_width * group_width
    return fitted + group_width if fitted < 0.9 * width else fitted


SETTINGS: dict[str, RegNetSettings] = {
    "narrow": RegNetSettings(10, 16, 8.0, 1.74, 8, stem_width=16),
    "regnet_x_400mf": RegNetSettings(22, 24, 24.48, 2.54, 16),
    "regnet_x_400mf_384": RegNetSettings(22, 24, 24.48, 2.54, 16, ties="even"),
    "regnet_x_800mf": RegNetSettings(16, 56, 35.73, 2.28, 16),
    "regnet_x_1_6gf": RegNetSettings(18, 80, 34.01, 2.25, 24),
    "regnet_x_3_2gf": RegNetSettings(25, 88, 26.31, 2.25, 48),
    "regnet_x_8gf": RegNetSettings(23, 80, 49.56, 2.88, 120),
    "regnet_x_16gf": RegNetSettings(22, 216, 55.59, 2.1, 128),
    "regnet_x_32gf": RegNetSettings(23, 320, 69.86, 2.0, 168),
    "regnet_y_400mf": RegNetSettings(16, 48, 27.89, 2.09, 8, se_ratio=0.25),
    "regnet_y_800mf": RegNetSettings(14, 56, 38.84, 2.4, 16, se_ratio=0.25),
    "regnet_y_1_6gf": RegNetSettings(27, 48, 20.71, 2.65, 24, se_ratio=0.25),
    "regnet_y_3_2gf": RegNetSettings(21, 80, 42.63, 2.66, 24, se_ratio=0.25),
    "regnet_y_8gf": RegNetSettings(17, 192, 76.82, 2.19, 56, se_ratio=0.25),
    "regnet_y_16gf": RegNetSettings(18, 200, 106.23, 2.48, 112, se_ratio=0.25),
    "regnet_y_32gf": RegNetSettings(20, 232, 115.89, 2.53, 232, se_ratio=0.25),
    "regnet_y_128gf": RegNetSettings(27, 456, 160.83, 2.52, 264, se_ratio=0.25),
}
"""The published networks, under torchvision's names, and two more.

``regnet_x_400mf_384`` is RegNetX-400MF as the paper and its authors' code have it, with 384
channels in the last stage; torchvision's, which its weights fit, has 400.  ``narrow`` is not
published: a RegNetX for processors without an accelerator and for tests, of the shape of 400MF (few
early blocks, most in the last stage) at between a quarter and half of its widths.
"""


def regnet_settings(name: str) -> RegNetSettings:
    """Return the parameters of a network in :data:`SETTINGS`.

    Raises
    ------
    UnknownName : there is no such network.
    """
    if name not in SETTINGS:
        known = ", ".join(SETTINGS)
        raise UnknownName(f"there is no RegNet '{name}'{nearest(name, SETTINGS)}; known: {known}")
    return SETTINGS[name]


class RegNet(nn.Module):
    """Stem and four stages, and a classifier of the mean feature where classes are given.

    Parameters
    ----------
    settings : see :class:`RegNetSettings`.
    bands : of the input.
    classes : of the classifier; None: there is none, and only :meth:`stages` can be called.
    output_stride : 32, or 16: then the last stage keeps the size of the third, and the 3 x 3
        convolutions behind its first block are dilated by two (Chen et al., "Rethinking Atrous
        Convolution for Semantic Image Segmentation").  The weights are the same.

    Raises
    ------
    RecipeError : the output stride is another.
    """

    def __init__(
        self,
        settings: RegNetSettings,
        bands: int,
        classes: int | None = None,
        *,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        if output_stride not in (16, 32):
            raise RecipeError(f"the output stride of a RegNet is {output_stride}; give 16 or 32")
        self.settings = settings
        self.bands = bands
        self.widths = settings.widths
        self.strides = (4, 8, 16, output_stride)
        self.stem = _activated(bands, settings.stem_width, 3, stride=2)
        self.trunk_output = nn.Sequential()
        inputs = settings.stem_width
        for stage, (width, depth, group_width) in enumerate(
            zip(settings.widths, settings.depths, settings.group_widths, strict=True), 1
        ):
            dilated = stage == 4 and output_stride == 16
            blocks = nn.Sequential()
            for block in range(depth):
                blocks.add_module(
                    f"block{stage}-{block}",
                    _Block(
                        inputs,
                        width,
                        2 if block == 0 and not dilated else 1,
                        group_width,
                        settings.se_ratio,
                        dilation=2 if block > 0 and dilated else 1,
                        project=block == 0,
                    ),
                )
                inputs = width
            self.trunk_output.add_module(f"block{stage}", blocks)
        self.fc = None if classes is None else nn.Linear(inputs, classes)
        self.apply(_initialise)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the output of the stem, at half of the input's size, and those of the stages."""
        found = [self.stem(x)]
        for stage in self.trunk_output:
            found.append(stage(found[-1]))
        return tuple(found)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of the four stages.

        Each is (batch, widths[i], ceil(rows / strides[i]), ceil(columns / strides[i])).
        """
        return self.features(x)[1:]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, bands, rows, columns)."""
        if self.fc is None:
            raise TypeError("this RegNet was made without classes; call stages")
        logits: Tensor = self.fc(self.stages(x)[-1].mean((2, 3)))
        return logits


class _Block(nn.Module):
    """The bottleneck block (ratio 1): 1 x 1, grouped 3 x 3, 1 x 1, added to its input."""

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        group_width: int,
        se_ratio: float | None,
        *,
        dilation: int,
        project: bool,
    ) -> None:
        super().__init__()
        self.proj = (
            nn.Sequential(*normalised_convolution(inputs, width, stride=stride))
            if project and (inputs != width or stride != 1)
            else None
        )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["a"] = _activated(inputs, width)
        layers["b"] = _activated(
            width, width, 3, stride=stride, groups=width // group_width, dilation=dilation
        )
        if se_ratio is not None:
            # The share is of the block's input, not of the features that are weighted.
            layers["se"] = _SqueezeExcitation(width, max(1, round(se_ratio * inputs)))
        layers["c"] = nn.Sequential(*normalised_convolution(width, width))
        self.f = nn.Sequential(layers)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.proj is None else self.proj(x)
        return self.activation(shortcut + self.f(x))


class _SqueezeExcitation(nn.Module):
    """Each channel times a weight in (0, 1) that all channels' means decide."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))


def _activated(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
) -> nn.Sequential:
    layers = normalised_convolution(
        inputs, outputs, kernel, stride=stride, groups=groups, dilation=dilation
    )
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def _initialise(module: nn.Module) -> None:
    """Draw weights as torchvision does; its fan-out takes no account of groups."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


def load_pretrained(network: RegNet, path: str | os.PathLike[str]) -> None:
    """Load weights, such as torchvision's for ImageNet, into a network.

    The classifier's weights are left out where the network has no classifier.  The first
    convolution of a file with other bands (three, for ImageNet) is adapted: each band gets the mean
    of the file's kernels, times the file's bands over the network's, which keeps the response to an
    image whose bands are all equal.  With the same number of bands it is copied.  Counters of
    batches (``num_batches_tracked``) may be missing.

    Parameters
    ----------
    network : as it was made; nothing of it is changed unless all fits.
    path : a safetensors file, or a state dict that torch has saved (no other objects are loaded).

    Raises
    ------
    DataError : the file is missing, neither of the two, or does not fit; the message names the
        first weight that does not.
    """
    given = _read_weights(Path(path))
    wanted = network.state_dict()
    if network.fc is None:
        given = {name: value for name, value in given.items() if not name.startswith("fc.")}
    kernel = given.get("stem.0.weight")
    if kernel is not None and kernel.ndim == 4 and kernel.shape[1] not in (0, network.bands):
        share = kernel.shape[1] / network.bands
        given["stem.0.weight"] = (kernel.float().mean(1, keepdim=True) * share).expand(
            -1, network.bands, -1, -1
        )
    for name, value in wanted.items():
        if name not in given:
            if name.endswith(".num_batches_tracked"):
                given[name] = value
                continue
            raise DataError(
                f"{path} does not fit: it has no weight '{name}'; give weights of the same RegNet "
                "under torchvision's names"
            )
        if given[name].shape != value.shape:
            raise DataError(
                f"{path} does not fit: '{name}' has the shape {tuple(given[name].shape)}, and "
                f"{tuple(value.shape)} in the network; give weights of the same RegNet"
            )
    for name in given:
        if name not in wanted:
            raise DataError(
                f"{path} does not fit: the network has no weight '{name}'; give weights of the "
                "same RegNet under torchvision's names"
            )
    network.load_state_dict(given)


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise DataError(f"there is no file of weights {path}; check its name")
    try:
        return load_file(path)
    except SafetensorError:
        pass  # The other kind, then.
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Bytes that are no such file can trip torch's reader at any place, with any error.
        raise DataError(
            f"{path} holds no weights: it is neither a safetensors file nor a state dict that "
            "torch reads without running code; convert it to one of these"
        ) from error
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path} holds no state dict, but a {type(found).__name__}; save one of it")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DataError(f"{path} holds no state dict: '{name}' is no tensor; save one of it")
    return dict(found)
