"""The gradient of each sample in a layer's weights, from what the layer read and its slopes.

A layer's gradient is a sum, over samples and positions, of products of what it read with the loss's
gradient in what it answered (the slopes).  Both are known after one backward pass over the whole
batch; to leave the sum over samples out gives the samples' gradients, without a pass for each.

Where samples meet within the network (batch statistics), this is a sample's share in the batch's
gradient: what its own copy of the layer's weights would get.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swath.core.errors import MismatchError
from swath.networks.conv3d import Conv3d

__all__ = ["sample_gradients"]

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d

KNOWN = (
    *(nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward),
    Conv3d.forward,
)
"""How layers compute whose gradients are known."""

WINDOW_VALUES = 2**18
"""Of the samples whose windows are cut out at a time: what stays in the processor's cache."""


@torch.no_grad()
def sample_gradients(
    layer: nn.Module, inputs: Tensor, slopes: Sequence[Tensor], *, in_order: bool = False
) -> list[Tensor]:
    """Return (samples, weights) for each of the slopes, the weights in one order for all samples.

    Parameters
    ----------
    layer : linear, or a convolution of one to three dimensions.
    inputs : what it read: (samples, ..., features), or (samples, channels, ...).
    slopes : gradients in what it answered, of as many numbers as are to be differentiated.
    in_order : whether it must be the order of the layer's weight, which may take a copy.

    Raises
    ------
    MismatchError : the layer is of a class of its own that computes otherwise than torch's.
    """
    _check_class(layer)
    if isinstance(layer, nn.Linear):
        read = inputs.reshape(len(inputs), -1, inputs.shape[-1])
        answers = [slope.reshape(len(slope), -1, slope.shape[-1]) for slope in slopes]
        return [torch.bmm(answer.transpose(1, 2), read).flatten(1) for answer in answers]
    assert isinstance(layer, Convolution)
    if _has_large_maps(layer, slopes[0]):
        return [_as_groups(layer, inputs, slope) for slope in slopes]
    padded = _padded_channels_last(layer, inputs)
    if layer.groups == inputs.shape[1]:
        return [_depthwise(layer, padded, slope) for slope in slopes]
    found = _by_windows(layer, padded, slopes)
    return [_channels_first(layer, one) for one in found] if in_order else found


def _check_class(layer: nn.Module) -> None:
    """Refuse layers such as those that normalise their weight in each pass."""
    if type(layer).forward not in KNOWN:
        raise MismatchError(
            f"gradients of samples are known for torch's own layers, not for a "
            f"{type(layer).__name__}, which computes in a way of its own"
        )


def _channels_first(layer: Convolution, gradients: Tensor) -> Tensor:
    """Return what :func:`_by_windows` found in the order of the weight."""
    kernel = len(layer.kernel_size)
    by_place = gradients.view(len(gradients), layer.out_channels, *layer.kernel_size, -1)
    return by_place.movedim(2 + kernel, 2).flatten(1)


def _has_large_maps(layer: Convolution, slope: Tensor) -> bool:
    """Whether cutting out windows would cost more than to multiply them (found by measurement)."""
    outputs = layer.out_channels // layer.groups
    return math.prod(layer.kernel_size) > 1 and outputs > 1 and slope[0, 0].numel() > 2 * outputs


def _as_groups(layer: Convolution, inputs: Tensor, slope: Tensor) -> Tensor:
    """Let each sample be a group of channels of one large sample, with weights of its own."""
    samples, padding = len(inputs), layer.padding
    if isinstance(padding, str) or layer.padding_mode != "zeros":
        inputs, padding = _padded(layer, inputs), (0,) * len(layer.kernel_size)
    weight = layer.weight.new_empty(samples * layer.out_channels, *layer.weight.shape[1:])
    _, gradient, _ = torch.ops.aten.convolution_backward(
        slope.reshape(1, -1, *slope.shape[2:]),
        inputs.reshape(1, -1, *inputs.shape[2:]),
        weight,  # only its size is read
        None,
        layer.stride,
        padding,
        layer.dilation,
        False,
        [0] * len(layer.kernel_size),
        samples * layer.groups,
        [False, True, False],
    )
    return gradient.reshape(samples, -1)


def _padded_channels_last(layer: Convolution, inputs: Tensor) -> Tensor:
    return _padded(layer, inputs).movedim(1, -1).contiguous()


def _padded(layer: Convolution, inputs: Tensor) -> Tensor:
    """Return the inputs as the layer pads them."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(inputs, layer._reversed_padding_repeated_twice, mode)


def _by_windows(layer: Convolution, padded: Tensor, slopes: Sequence[Tensor]) -> list[Tensor]:
    """Multiply the slopes at every position with the window that it saw, as matrices."""
    samples, groups = len(padded), layer.groups
    windows = _windows(layer, padded)
    # (samples, groups, outputs of a group, positions), channels last in memory as most slopes are
    answers = [
        slope.movedim(1, -1)
        .reshape(samples, -1, groups, slope.shape[1] // groups)
        .permute(0, 2, 3, 1)
        for slope in slopes
    ]
    positions, channels = answers[0].shape[-1], padded.shape[-1] // groups
    size = math.prod(layer.kernel_size) * channels
    found = [padded.new_empty(samples, groups, answer.shape[2], size) for answer in answers]
    step = max(1, WINDOW_VALUES // windows[0].numel())
    for start in range(0, samples, step):
        some = slice(start, start + step)
        seen = windows[some].reshape(-1, positions, groups, size).transpose(1, 2)
        for answer, gradients in zip(answers, found, strict=True):
            torch.matmul(answer[some], seen, out=gradients[some])
    return [gradients.flatten(1) for gradients in found]


def _windows(layer: Convolution, padded: Tensor) -> Tensor:
    """Return a view (samples, positions..., groups, kernel..., channels of a group)."""
    dimensions = len(layer.kernel_size)
    along = padded.stride()[1:-1]
    channels = padded.shape[-1] // layer.groups
    return padded.as_strided(
        (
            len(padded),
            *_output_lengths(layer, padded),
            layer.groups,
            *layer.kernel_size,
            channels,
        ),
        (
            padded.stride(0),
            *(layer.stride[d] * along[d] for d in range(dimensions)),
            channels,
            *(layer.dilation[d] * along[d] for d in range(dimensions)),
            1,
        ),
    )


def _depthwise(layer: Convolution, padded: Tensor, slope: Tensor) -> Tensor:
    """One channel at a time there is nothing to multiply as matrices: tap by tap is faster."""
    lengths = _output_lengths(layer, padded)
    answer = slope.movedim(1, -1)
    answer = answer.reshape(*answer.shape[:-1], layer.groups, -1)
    places = tuple(range(1, 1 + len(lengths)))
    taps = []
    for tap in itertools.product(*map(range, layer.kernel_size)):
        cut = tuple(
            slice(at * gap, at * gap + (length - 1) * step + 1, step)
            for at, gap, length, step in zip(
                tap, layer.dilation, lengths, layer.stride, strict=True
            )
        )
        taps.append((padded[(slice(None), *cut)].unsqueeze(-1) * answer).sum(places))
    return torch.stack(taps, dim=-1).flatten(1)


def _output_lengths(layer: Convolution, padded: Tensor) -> tuple[int, ...]:
    return tuple(
        (length - gap * (kernel - 1) - 1) // step + 1
        for length, gap, kernel, step in zip(
            padded.shape[1:-1], layer.dilation, layer.kernel_size, layer.stride, strict=True
        )
    )
