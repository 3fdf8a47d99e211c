"""The network that is looked at: a copy, so that the one given stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from swath.core.errors import MismatchError, RecipeError
from swath.estimators.proxies.attention import OpenAttention
from swath.estimators.proxies.base import Variant
from swath.estimators.proxies.evidence import Evidence, Layer
from swath.estimators.proxies.layers import scored_layers

__all__ = ["BATCH_NORMS", "Loss", "Subject", "private_copy", "state_of"]

BATCH_NORMS = nn.modules.batchnorm._BatchNorm

Loss = Callable[[Tensor, Tensor], Tensor]
"""Returns a number from logits and targets."""


@dataclass(frozen=True)
class Subject:
    """What is looked at, and how.

    Parameters
    ----------
    network : a :func:`private_copy`.
    x : (samples, ...).
    targets : classes, or None where there are none.
    flow_dtype : in which data-free gradients are computed.
    signs : which weights lose their sign for these: "none", "caf", "all".
    variant : whose definitions are followed.
    toward : what the Hessian is multiplied with, a tensor a layer; None: the gradient.
    parameters : of the network that was given, whose copy may have fewer; see
        :func:`private_copy`.
    """

    network: nn.Module
    x: Tensor
    targets: Tensor | None
    loss: Loss
    flow_dtype: torch.dtype
    signs: str
    seed: int
    variant: Variant = "paper"
    toward: Sequence[Tensor] | None = None
    parameters: int = 0

    def evidence(self) -> Evidence:
        """Return evidence that holds nothing but the layers and the classes.

        Raises
        ------
        MismatchError : the weight of a layer is none of the network's parameters and buffers.
        """
        modules = dict(self.network.named_modules())
        named = {id(tensor): name for name, tensor in _named(self.network).items()}
        layers = []
        for name, kind in scored_layers(self.network).items():
            weight = _weight(modules[name])
            if id(weight) not in named:
                raise MismatchError(
                    f"the weight of layer '{name}' is neither a parameter nor a buffer, and so "
                    "cannot be scored; make it one"
                )
            layers.append(
                Layer(name, kind, modules[name], named[id(weight)], weight.detach(), len(self.x))
            )
        return Evidence(layers, self.targets)


def private_copy(
    network: nn.Module, dtype: torch.dtype | None, *, batch_statistics: bool
) -> nn.Module:
    """Return a copy that draws nothing at random and in which no gradient is wanted yet.

    Weights that are computed from others, as of weight normalisation, are what they are now.

    Parameters
    ----------
    dtype : of its weights; None: as they are.
    batch_statistics : whether batch normalisation takes those of the batch, as in training.

    Raises
    ------
    RecipeError : it holds something that cannot be copied.
    """
    network = _copied(network).to(dtype=dtype).eval()
    for module in list(network.modules()):
        # Hooks belong to who set them; those before a pass may change what is read, and stay.
        for hooks in (module._forward_hooks, module._backward_hooks, module._backward_pre_hooks):
            hooks.clear()
        _settle_weights(module)
        _open(module)
        if isinstance(module, BATCH_NORMS):
            module.training = batch_statistics
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]  # outputs are looked at afterwards
    network.register_forward_hook(_check_answer)
    return network.requires_grad_(False)


def _copied(network: nn.Module) -> nn.Module:
    """Return a copy; tensors of earlier passes that modules keep lose their graph."""
    kept = [value for module in network.modules() for value in vars(module).values()]
    tensors = [one for one in kept if isinstance(one, Tensor) and not one.is_leaf]
    try:
        return copy.deepcopy(network, {id(one): one.detach().clone() for one in tensors})
    except (RuntimeError, TypeError) as error:
        if isinstance(error, RuntimeError) and "deepcopy" not in str(error):
            raise  # such as too little memory
        reason = str(error).partition(". ")[0]
        raise RecipeError(
            f"a {type(network).__name__} cannot be copied ({reason}), and is scored as a copy so "
            "that it stays as it is; clear what it keeps of earlier passes"
        ) from error


@torch.no_grad()
def _settle_weights(module: nn.Module) -> None:
    """Let tensors that a module computes before each pass be parameters of their own."""
    if parametrize.is_parametrized(module):
        found = {name: getattr(module, name) for name in module.parametrizations}  # type: ignore[union-attr]
        # Not by torch's own function, which changes the class, and so the network that was copied.
        del module.parametrizations
        module.__class__ = parametrize.type_before_parametrizations(module)
        for name, value in found.items():
            setattr(module, name, nn.Parameter(value.clone()))
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod):
            hook.remove(module)
            del module._forward_pre_hooks[key]


def _open(module: nn.Module) -> None:
    """Let torch's transformers run layers and nonlinearities that can be looked at."""
    if type(module) is nn.MultiheadAttention:
        module.__class__ = OpenAttention
    if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        made = {F.relu: nn.ReLU, F.gelu: nn.GELU}.get(module.activation)
        if made is not None:
            module.activation = made()


def _check_answer(network: nn.Module, arguments: object, answer: object) -> None:
    if not isinstance(answer, Tensor):
        raise MismatchError(
            f"a {type(network).__name__} answers with a {type(answer).__name__}, not with a tensor "
            "of logits; wrap it in a network that returns its logits alone"
        )


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, detached."""
    return {name: tensor.detach() for name, tensor in _named(network).items()}


def _named(network: nn.Module) -> Mapping[str, Tensor]:
    """Return all parameters and buffers, each by the first of its names."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@contextmanager
def wanting_gradients(layers: list[Layer], *, wanted: bool) -> Iterator[list[Tensor]]:
    """Yield the layers' weights themselves, which within are differentiated if wanted."""
    weights = [_weight(layer.module) for layer in layers]
    for weight in weights:
        weight.requires_grad_(wanted)
    yield weights
    for weight in weights:
        weight.requires_grad_(False)


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
