"""How the convolutions of the inference form are carried out: on a processor, and on a GPU.

Values are (batch, channels, bands, rows, columns) in the layout ``channels_last_3d``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.networks.conv3d import convolved, has_fast_channels
from swath.networks.graph_nodes import Convolution

__all__ = [
    "LAYOUT",
    "FusedConvolution",
    "PlainConvolution",
    "can_fuse",
    "fills_groups",
    "has_bfloat16",
]

LAYOUT = torch.channels_last_3d


def can_fuse() -> bool:
    """Return whether this torch has the calls that compute a convolution and what follows in one.

    They are those of torch's own compiler, and private: a torch without them maps in the plain
    form.
    """
    names = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in names)


def has_bfloat16() -> bool:
    """Return whether this processor multiplies in bfloat16."""
    name = "_is_mkldnn_bf16_supported"
    return can_fuse() and hasattr(torch.ops.mkldnn, name) and getattr(torch.ops.mkldnn, name)()


def fills_groups(convolution: Convolution) -> bool:
    """Return whether a GPU computes a convolution of groups faster as one of all channels.

    Its matrix units make nothing of groups; zeros between them cost less than any other form.
    """
    c = convolution
    fast = c.depthwise and has_fast_channels(c.kernel, c.dilation)
    return c.groups > 1 and not c.pointwise and not fast


@dataclass
class FusedConvolution:
    """A convolution with its activation, in one call of torch's library for processors.

    Parameters
    ----------
    slope : of the activation that follows; None is none.
    own : whether the second value, onto which is added, is read by nobody else.
    """

    convolution: Convolution
    slope: float | None
    dtype: torch.dtype
    own: bool
    _packed: dict[Any, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        c = self.convolution
        self._weight = c.weight.to(self.dtype)
        self._bias = None if c.bias is None else c.bias.to(self.dtype)
        if self.slope is None:
            self._attribute: tuple[str, list[float]] = ("none", [])
        elif self.slope == 0:
            self._attribute = ("relu", [])
        else:
            self._attribute = ("leaky_relu", [self.slope])
        # Spatially dilated kernels have no fast form in three dimensions.
        same_length = c.stride == 1 and 2 * c.padding[0] == c.dilation[0] * (c.kernel[0] - 1)
        self._flat = max(c.dilation[1:]) > 1 and same_length

    def __call__(self, values: list[Tensor], whole: bool) -> Tensor:
        """Return what it makes of the first value, added to the second where there is one.

        Parameters
        ----------
        whole : whether the rows are all of an image, so that zeros follow beyond; otherwise the
            value brings the rows that the kernel needs.
        """
        c = self.convolution
        x = values[0].to(self.dtype)
        padding = (c.padding[1] if whole else 0, c.padding[2])
        if self._flat:
            answer = self._by_bands(x, padding)
            return answer.add_(values[1]) if len(values) == 2 else answer
        other = None
        if len(values) == 2:
            other = values[1].contiguous(memory_format=LAYOUT)
            other = other if self.own or other is not values[1] else other.clone()
        return self._run(
            x,
            self._weight,
            self._bias,
            (c.padding[0], *padding),
            (c.stride, 1, 1),
            c.dilation,
            0,
            onto=other,
        )

    def _by_bands(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Convolve each band as an image with each slice of the kernel, and add."""
        c = self.convolution
        batch, _, bands = x.shape[:3]
        middle = c.kernel[0] // 2
        around = c.kernel[0] > 1

        def part(of: Tensor, index: int) -> Tensor:
            images = of.transpose(1, 2).flatten(0, 1)
            last = index == middle
            answer = self._run(
                images,
                self._weight[:, :, index],
                self._bias if last else None,
                padding,
                (1, 1),
                c.dilation[1:],
                index,
                plain=around,
            )
            return answer.view(batch, -1, *answer.shape[1:]).transpose(1, 2)

        total = part(x, middle)
        for index in range(c.kernel[0]):
            offset = (index - middle) * c.dilation[0]
            if offset and abs(offset) < bands:
                low, high = max(0, -offset), min(bands, bands - offset)
                total[:, :, low:high] += part(x[:, :, low + offset : high + offset], index)
        if around and self.slope is not None:
            nn.functional.leaky_relu_(total, self.slope)
        return total

    def _run(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        padding: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        index: int,
        plain: bool = False,
        onto: Tensor | None = None,
    ) -> Tensor:
        c = self.convolution
        key = (index, padding)
        packed = self._packed.get(key)
        if packed is None:
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                weight.contiguous(), padding, stride, dilation, c.groups, list(x.shape)
            )
            self._packed[key] = packed
        if onto is not None:
            torch.ops.mkldnn._convolution_pointwise_.binary(
                onto, x, packed, bias, padding, stride, dilation, c.groups, "add", 1.0, None, [], ""
            )
            return onto
        attribute, scalars = ("none", []) if plain else self._attribute
        answer: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, packed, bias, padding, stride, dilation, c.groups, attribute, scalars, ""
        )
        return answer


@dataclass
class PlainConvolution:
    """A convolution in torch's public calls, and its activation: for GPUs.

    Parameters
    ----------
    slope : of the activation that follows; None is none.
    """

    convolution: Convolution
    slope: float | None
    dtype: torch.dtype
    device: torch.device

    def __post_init__(self) -> None:
        c = self.convolution
        self._weight = c.weight.to(self.device, self.dtype).contiguous(memory_format=LAYOUT)
        self._bias = None if c.bias is None else c.bias.to(self.device, self.dtype)

    def __call__(self, values: list[Tensor], whole: bool) -> Tensor:
        """Return what it makes of the values; see :class:`FusedConvolution`."""
        c = self.convolution
        x = values[0].to(self.dtype)
        padding = (c.padding[1] if whole else 0, c.padding[2])
        places = (c.stride, 1, 1), (c.padding[0], *padding), c.dilation
        answer = convolved(x, self._weight, self._bias, *places, c.groups)
        answer = answer.contiguous(memory_format=LAYOUT)
        if len(values) == 2:
            answer += values[1]
        if self.slope is not None:
            F.leaky_relu_(answer, self.slope)
        return answer
