"""A network that classifies patches, as one that answers for all pixels of an image at once."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from swath.networks.patchwise import Patchwise, continued
from swath.networks.receptive_field import Halo
from swath.networks.tracing import traced

__all__ = ["DensePatches", "dense_patches"]

_ANY = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
)
_FUNCTIONS = (
    torch.relu,
    nn.functional.relu,
    nn.functional.leaky_relu,
    torch.cat,
    operator.add,
    torch.add,
)
_METHODS = ("contiguous", "relu")


class DensePatches(nn.Module):
    """Gives the answers of a :class:`Patchwise` network in one pass over the image.

    Parameters
    ----------
    network : images (batch, bands, rows, columns) to logits (batch, classes, rows, columns), which
        are those of the patches where they are farther than ``reach`` from the border.
    reach : half a patch.
    """

    def __init__(self, network: nn.Module, reach: int) -> None:
        super().__init__()
        self.network = network
        self.reach = reach

    @property
    def halo(self) -> Halo:
        """How far the answers depend on their surroundings."""
        return Halo(self.reach, self.reach, self.reach, self.reach)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns) of images (batch, bands, rows, columns)."""
        rows, columns = x.shape[2:]
        answer: Tensor = self.network(continued(continued(x, self.reach, 2), self.reach, 3))
        return answer[:, :, self.reach :, self.reach :][:, :, :rows, :columns]


def dense_patches(network: Patchwise, bands: int) -> DensePatches | None:
    """Return the dense form of a patch network, or None where there is none that is exact.

    There is one where nothing is padded inside a patch along rows and columns: convolutions of
    stride 1 without padding there, normalisation, activations, then a flattening and linear
    layers.  A convolution then gives each patch of an image what it gives the patch alone, and a
    linear layer is a convolution as large as what is left of the patch.  Networks that pad inside
    the patch see its edge, differently for each patch, and have to be shown patches.

    Parameters
    ----------
    network : of which patch.
    bands : of its input.

    Returns
    -------
    The dense network, which shares the weights that are the same.
    """
    inner = network.network
    modes = [(module, module.training) for module in inner.modules()]
    inner.eval()
    try:
        graph = traced(inner)
        device = next((p.device for p in inner.parameters()), torch.device("cpu"))
        image = torch.zeros(1, bands, network.patch, network.patch, device=device)
        with torch.no_grad():
            ShapeProp(graph).propagate(image)
    except Exception:  # forward runs on proxies and may raise whatever it likes
        return None
    finally:
        for module, training in modes:
            module.training = training
    modules = dict(graph.named_modules())
    spectral: bool | None = None  # of the first linear layer, once it is passed
    for step in list(graph.graph.nodes):
        if step.op in ("placeholder", "output"):
            continue
        source = step.args[0] if step.args else None
        if step.op == "call_module":
            module = modules[str(step.target)]
            if isinstance(module, nn.Conv2d | nn.Conv3d) and spectral is None:
                same = _same(module)
                if same is None:
                    return None
                graph.add_submodule(str(step.target), same)
            elif isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
                graph.add_submodule(str(step.target), nn.Identity())
            elif isinstance(module, nn.Linear) and isinstance(source, fx.Node):
                shape = _unflattened(source, modules)
                spectral = len(shape) == 4 if spectral is None else spectral
                linear = _linear(module, shape, spectral)
                if linear is None:
                    return None
                graph.add_submodule(str(step.target), linear)
            elif not isinstance(module, _ANY):
                return None
        elif step.op == "call_method" and step.target == "flatten" and step.args[1:] == (1,):
            step.target, step.args = "contiguous", (source,)
        elif step.op == "call_function" and step.target is torch.flatten and step.args[1:] == (1,):
            step.op, step.target, step.args = "call_method", "contiguous", (source,)
        elif not _stays(step):
            return None
    if spectral is None:
        return None
    graph.recompile()
    return DensePatches(_WithoutBands(graph, bool(spectral)), network.patch // 2)


def _stays(step: fx.Node) -> bool:
    """Whether an operation gives each patch of an image what it gives the patch alone."""
    if step.op == "call_method":
        return step.target in _METHODS or (step.target == "unsqueeze" and step.args[1:] == (1,))
    if step.target is torch.cat and (step.args[1:] or (step.kwargs.get("dim"),)) != (1,):
        return False
    # Terms that are spread over the patch would have to be spread over each patch of the image.
    extents = {tuple(node.meta["tensor_meta"].shape[2:]) for node in step.all_input_nodes}
    return step.target in _FUNCTIONS and len(extents) == 1


class _WithoutBands(nn.Module):
    """Takes away the spectral axis of answers that have one."""

    def __init__(self, network: nn.Module, spectral: bool) -> None:
        super().__init__()
        self.network = network
        self._spectral = spectral

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns)."""
        answer: Tensor = self.network(x)
        return answer.squeeze(2) if self._spectral else answer


def _same(module: nn.Conv2d | nn.Conv3d) -> nn.Conv2d | nn.Conv3d | None:
    """Return a convolution with padding along rows and columns, of one that has none there."""
    spatial = slice(-2, None)
    padding = module.padding if not isinstance(module.padding, str) else None
    if module.padding == "valid":
        padding = (0,) * len(module.kernel_size)
    if padding is None or tuple(padding[spatial]) != (0, 0):
        return None
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)][spatial]
    if tuple(module.stride[spatial]) != (1, 1) or any(r % 2 for r in reach):
        return None
    if module.padding_mode != "zeros":
        return None
    same = copy.copy(module)
    same.padding = (*padding[:-2], *(r // 2 for r in reach))
    return same


def _unflattened(source: fx.Node, modules: dict[str, nn.Module]) -> tuple[int, ...]:
    """Return the shape (channels, ...) of what was flattened before a linear layer."""
    node = source
    while True:
        shape = tuple(node.meta["tensor_meta"].shape[1:])
        before = node.args[0] if node.args else None
        if len(shape) > 1 or not isinstance(before, fx.Node):
            return shape
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            return shape
        node = before


def _linear(
    module: nn.Linear, shape: tuple[int, ...], spectral: bool
) -> nn.Conv2d | nn.Conv3d | None:
    """Return the convolution that a linear layer on flattened (channels, ...) is."""
    channels, *extent = shape
    kernel = [*(extent or [1, 1, 1])][-3 if spectral else -2 :]
    if kernel[-2] % 2 == 0 or kernel[-1] % 2 == 0:
        return None
    padding = [0, *(length // 2 for length in kernel[-2:])][-len(kernel) :]
    kind: Any = nn.Conv3d if spectral else nn.Conv2d
    convolution: nn.Conv2d | nn.Conv3d = kind(
        channels, module.out_features, kernel, padding=padding, bias=module.bias is not None
    )
    with torch.no_grad():
        convolution.weight.copy_(module.weight.view(module.out_features, channels, *kernel))
        if module.bias is not None and convolution.bias is not None:
            convolution.bias.copy_(module.bias)
    return convolution.to(module.weight.device)
