"""A 3-D convolution that computes in two dimensions where that gives the same and is faster.

The kernels of 3D-ANAS are decomposed: they extend in space or along the spectrum, rarely in both.
Laid out channels last, the bands of a value are images, and the rows and columns of a band are one
long row; so a spatial kernel is a 2-D convolution of the bands, and a spectral one a 2-D
convolution over (bands, pixels), both without moving a number.  On a CPU, forward passes gain
little by it; backward passes of depthwise and dilated kernels become several times as fast, for
there are no fast 3-D forms of these.  GPUs have none of depthwise kernels either: in space, not
dilated, they are fast in two dimensions; others are computed there as kernels of all channels, zero
but for their own, for which there are matrix units to spare.

Tensors are (batch, channels, bands, rows, columns), or (images, channels, rows, columns).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Conv3d", "convolved", "has_fast_channels", "images", "volumes", "without_groups"]

Places = tuple[int, ...]
"""Three numbers, along bands, rows and columns."""

_COLUMNS = 3
"""The widest kernel whose weights' gradient has a fast form where each channel is by itself."""


class Conv3d(nn.Conv3d):
    """:class:`torch.nn.Conv3d` with the same weights and answer (to rounding).

    On a CPU or an NVIDIA GPU, values in the layout ``channels_last_3d`` go the fast way.
    Everything else, and any kernel that has no fast form, is computed as in torch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (batch, channels, bands, rows, columns)."""
        if not _channels_last(x) or self.padding_mode != "zeros" or isinstance(self.padding, str):
            return super().forward(x)
        if _is_depthwise(self):
            return self._depthwise_on_gpu(x) if x.is_cuda else self._depthwise(x)
        if self.groups > 1:
            return super().forward(x)
        return convolved(x, self.weight, self.bias, *self._places())

    def _depthwise(self, x: Tensor) -> Tensor:
        x, weight = _cast(x, self.weight)
        return _Depthwise.apply(x, weight, self.dilation)  # type: ignore[no-untyped-call]

    def _depthwise_on_gpu(self, x: Tensor) -> Tensor:
        weight, groups = self.weight, self.groups
        if not has_fast_channels(self.kernel_size, self.dilation):
            weight, groups = without_groups(weight, groups), 1
        return convolved(x, weight, self.bias, *self._places(), groups)

    def _places(self) -> tuple[Places, Places, Places]:
        assert not isinstance(self.padding, str)
        return self.stride, self.padding, self.dilation


def convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Places,
    padding: Places,
    dilation: Places,
    groups: int = 1,
) -> Tensor:
    """Return a convolution of values in the layout ``channels_last_3d``, as images where it can.

    Along each of three axes: ``stride``, ``padding`` (of zeros) and ``dilation``.
    """
    bands, *space = weight.shape[2:]
    if (bands, stride[0], padding[0]) == (1, 1, 0):
        answer = F.conv2d(
            images(x), weight.squeeze(2), bias, stride[1:], padding[1:], dilation[1:], groups
        )
        return volumes(answer, len(x))
    if (*space, *stride[1:], *padding[1:]) == (1, 1, 1, 1, 0, 0):
        along = (stride[0], 1), (padding[0], 0), (dilation[0], 1)
        answer = F.conv2d(x.flatten(3), weight.squeeze(4), bias, *along, groups)
        return torch.unflatten(answer, 3, x.shape[3:])
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


def has_fast_channels(kernel: Places, dilation: Places) -> bool:
    """Whether a GPU computes kernels of one channel each fast: in space alone, not dilated.

    Others are computed faster as kernels of all channels (:func:`without_groups`).
    """
    return kernel[0] == 1 and dilation[1:] == (1, 1)


def without_groups(weight: Tensor, groups: int) -> Tensor:
    """Return kernels of all channels (c, c, ...) that see what those of groups (c, c / g, ...) do.

    They are zero for the channels of other groups; gradients reach the kernels given.
    """
    own = torch.eye(groups, dtype=weight.dtype, device=weight.device)
    full = torch.einsum("goi...,gh->gohi...", torch.unflatten(weight, 0, (groups, -1)), own)
    return full.flatten(2, 3).flatten(0, 1)


def _channels_last(x: Tensor) -> bool:
    return (
        x.device.type in ("cpu", "cuda")
        and x.ndim == 5
        and x.shape[1] > 1
        and x.is_contiguous(memory_format=torch.channels_last_3d)
    )


def _is_depthwise(layer: nn.Conv3d) -> bool:
    """Whether each channel is convolved by itself, at stride one, to the same size."""
    same = tuple(d * (k // 2) for k, d in zip(layer.kernel_size, layer.dilation, strict=True))
    return (
        1 < layer.groups == layer.in_channels == layer.out_channels
        and layer.bias is None
        and layer.stride == (1, 1, 1)
        and layer.padding == same
        and all(k % 2 == 1 for k in layer.kernel_size)
    )


def _cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors as autocast hands them to a convolution."""
    if not torch.is_autocast_enabled("cpu"):
        return tensors
    kind = torch.get_autocast_dtype("cpu")
    return tuple(tensor.to(kind) for tensor in tensors)


def images(x: Tensor) -> Tensor:
    """View (batch, channels, bands, rows, columns) as (batch x bands, channels, rows, columns)."""
    return x.permute(0, 2, 3, 4, 1).flatten(0, 1).permute(0, 3, 1, 2)


def volumes(x: Tensor, batch: int) -> Tensor:
    """Undo :func:`images`; ``batch`` is that of the values."""
    return torch.unflatten(x, 0, (batch, -1)).transpose(1, 2)


class _Depthwise(torch.autograd.Function):
    """Each channel with its own kernel (c, 1, bands, rows, columns), to the same size.

    torch's backward pass has no fast form for dilated kernels, and none for the gradient of kernels
    of more than three columns.  The gradient of the input is a forward convolution of the answer's
    with the kernel turned round; the gradient of a dilated kernel that of a plain one on each of
    the image's interleaved parts; a wide kernel's is put together from narrow ones.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, dilation: tuple[int, int, int]) -> Tensor:
        return _convolved(x, weight, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        if ctx.needs_input_grad[0]:
            of_x = _convolved(gradient, weight.flip(2, 3, 4), ctx.dilation)
        if ctx.needs_input_grad[1]:
            of_weight = _gradient_of_kernel(x, gradient, weight, ctx.dilation)
        return of_x, of_weight, None


def _convolved(x: Tensor, weight: Tensor, dilation: tuple[int, int, int]) -> Tensor:
    if weight.shape[3:] == (1, 1):
        answer = _convolved_images(x.flatten(3), weight.squeeze(4), (dilation[0], 1))
        return torch.unflatten(answer, 3, x.shape[3:])
    middle = weight.shape[2] // 2
    total = _of_band(x, weight[:, :, middle], dilation)
    for place, shift in _places(weight.shape[2], dilation[0], x.shape[2]):
        if shift != 0:
            here, there = _overlap(shift, x.shape[2])
            total[:, :, here] += _of_band(x[:, :, there], weight[:, :, place], dilation)
    return total


def _of_band(x: Tensor, weight: Tensor, dilation: tuple[int, int, int]) -> Tensor:
    return volumes(_convolved_images(images(x), weight, dilation[1:]), len(x))


def _convolved_images(x: Tensor, weight: Tensor, dilation: tuple[int, int]) -> Tensor:
    padding = [d * (k // 2) for k, d in zip(weight.shape[2:], dilation, strict=True)]
    return F.conv2d(x, weight, padding=padding, dilation=dilation, groups=x.shape[1])


def _places(size: int, dilation: int, bands: int) -> Iterator[tuple[int, int]]:
    """Yield a kernel's bands that meet any of a value's, with their shift; others meet padding."""
    for place in range(size):
        shift = (place - size // 2) * dilation
        if abs(shift) < bands:
            yield place, shift


def _overlap(shift: int, bands: int) -> tuple[slice, slice]:
    """Return which bands of the answer a shift reaches, and which of the input they see."""
    here = slice(max(-shift, 0), bands - max(shift, 0))
    return here, slice(here.start + shift, here.stop + shift)


def _gradient_of_kernel(
    x: Tensor, gradient: Tensor, weight: Tensor, dilation: tuple[int, int, int]
) -> Tensor:
    if weight.shape[3:] == (1, 1):
        flat = _of_images(x.flatten(3), gradient.flatten(3), weight.squeeze(4), (dilation[0], 1))
        return flat.unsqueeze(4)
    parts = [torch.zeros_like(weight[:, :, 0]) for _ in range(weight.shape[2])]
    for place, shift in _places(weight.shape[2], dilation[0], x.shape[2]):
        here, there = _overlap(shift, x.shape[2])
        seen, answered = images(x[:, :, there]), images(gradient[:, :, here])
        parts[place] = _of_images(seen, answered, weight[:, :, place], dilation[1:])
    return torch.stack(parts, dim=2)


def _of_images(x: Tensor, gradient: Tensor, weight: Tensor, dilation: tuple[int, int]) -> Tensor:
    """Return the gradient of a kernel (c, 1, a, b) over images (n, c, h, w)."""
    if max(dilation) > 1:
        x, gradient = _interleaved(x, dilation), _interleaved(gradient, dilation)
    rows, columns = weight.shape[2:]
    if columns <= _COLUMNS:
        return _plain(x, gradient, weight, (rows // 2, columns // 2))
    width, side = x.shape[3], columns // 2
    padded = F.pad(x, (side, side))
    parts = []
    for first in range(0, columns, _COLUMNS):
        begin = min(first, columns - _COLUMNS)  # the last part overlaps the one before
        some = padded[..., begin : begin + width + _COLUMNS - 1]
        some = some.contiguous(memory_format=torch.channels_last)
        kernel = weight[..., begin : begin + _COLUMNS]
        parts.append(_plain(some, gradient, kernel, (rows // 2, 0))[..., first - begin :])
    return torch.cat(parts, dim=3)


def _plain(x: Tensor, gradient: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    _, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [1, 1], list(padding), [1, 1], False, [0, 0], x.shape[1],
        [False, True, False],
    )  # fmt: skip
    return of_weight


def _interleaved(x: Tensor, dilation: tuple[int, int]) -> Tensor:
    """Return every ``dilation``-th row and column as an image of its own."""
    down, right = dilation
    x = F.pad(x, (0, -x.shape[3] % right, 0, -x.shape[2] % down))
    columns = torch.unflatten(x.permute(0, 2, 3, 1), 2, (-1, right))
    parts = torch.unflatten(columns, 1, (-1, down))
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)
