"""Elastic weights: one large network whose sliced weights are the weights of every smaller one.

Nothing is declared twice.  A network class that is made from sizes says, once, which parameters
there are and how large; an :class:`Elastic` supernet holds the weights of one large member, and
cuts from each the part that has the shape of the smaller member's parameter of the same name.
A parameter of blocks that a shallower network has not is not used by it.

Source: Chen et al., "AutoFormer: Searching Transformers for Visual Recognition" (entangled
weights).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from swath.core.architecture import Architecture, Value
from swath.core.errors import MismatchError
from swath.supernets.base import Group, Remaining, Supernet

__all__ = ["Cut", "Elastic", "interleaved", "leading"]

Cut = Callable[[Tensor, torch.Size], Tensor]
"""How the weight of a shape is cut from a larger one."""


def leading(weight: Tensor, shape: torch.Size) -> Tensor:
    """Return the first entries along every dimension: a view, which shares the storage."""
    if weight.shape == shape:
        return weight
    return weight[tuple(slice(length) for length in shape)]


def interleaved(parts: int) -> Cut:
    """Return the cut of layers that answer for several parts at once, such as q, k and v.

    Of the rows to keep, part i takes rows i, i + parts, i + 2 parts, ... of the large weight (so
    AutoFormer slices its q, k, v layers), along the other dimensions the first entries.  Whether
    few rows are kept or many, a row thus always serves the same part.  The result is a copy
    through which gradients reach the weight.
    """

    def cut(weight: Tensor, shape: torch.Size) -> Tensor:
        kept = leading(weight, shape)
        return torch.cat([kept[part::parts] for part in range(parts)])

    return cut


class Elastic(Supernet):
    """A supernet that runs any architecture on slices of shared weights.

    Parameters
    ----------
    weights : the large network.  Only its parameters are used.
    build : makes the network of an architecture.  It is called on the meta device, so that no
        weights are drawn.
    cuts : cuts other than :func:`leading`, by the end of a parameter's name.
    owned : for each gene, in the order of the network, how the names of the parameters begin that
        only it decides over.  These are what gets copies when the supernet is expanded.
    absent : the value with which a gene leaves its parameters out, where there is one.
    """

    def __init__(
        self,
        weights: nn.Module,
        build: Callable[[Architecture], nn.Module],
        cuts: Mapping[str, Cut] | None = None,
        owned: Mapping[str, Sequence[str]] | None = None,
        absent: Value | None = None,
    ) -> None:
        super().__init__([(gene,) for gene in owned or {}])
        self.weights = weights
        self.copies = nn.ParameterDict()
        self.cuts = dict(cuts or {})
        self.owned = {gene: tuple(beginnings) for gene, beginnings in (owned or {}).items()}
        self.absent = absent

        def outline(architecture: Architecture) -> tuple[nn.Module, list[_Slot]]:
            with torch.device("meta"), _Undrawn():
                network = build(architecture)
            return network, [
                _Slot(f"{path}.{key}" if path else key, module, key, parameter.shape)
                for path, module in network.named_modules()
                for key, parameter in module._parameters.items()
                if parameter is not None
            ]

        self._outline = lru_cache(maxsize=64)(outline)
        # By the name of a parameter, which many architectures share.
        self._cut = lru_cache(maxsize=None)(self._find_cut)
        self._owner = lru_cache(maxsize=None)(self._find_owner)

    @contextlib.contextmanager
    def path(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Give the network of an architecture on its slices of the weights."""
        network, slots = self._outline(architecture)
        parts = self._parts(architecture, slots)
        before = [slot.module._parameters[slot.key] for slot in slots]
        try:
            for slot, part in zip(slots, parts, strict=True):
                slot.module._parameters[slot.key] = part  # type: ignore[assignment]
            yield network.train(self.training)
        finally:
            for slot, outlined in zip(slots, before, strict=True):
                slot.module._parameters[slot.key] = outlined

    def slices(self, architecture: Architecture) -> dict[str, Tensor]:
        """Return the weights of an architecture by parameter name, connected to the shared ones.

        Raises
        ------
        MismatchError : the large network lacks a parameter, or has one that is too small.
        InvalidArchitecture : one of its operators was dropped when the supernet was expanded.
        """
        _, slots = self._outline(architecture)
        names = (slot.name for slot in slots)
        return dict(zip(names, self._parts(architecture, slots), strict=True))

    def _parts(self, architecture: Architecture, slots: Sequence[_Slot]) -> list[Tensor]:
        self.require(architecture)
        shared = dict(self.weights.named_parameters())
        groups = {gene: group for group in self.groups for gene in group.genes if group.private}
        parts = []
        for slot in slots:
            whole = self._whole(slot.name, architecture, shared, groups)
            part = None if whole is None else self._cut(slot.name)(whole, slot.shape)
            if part is None or part.shape != slot.shape:
                found = "none of this name" if whole is None else tuple(whole.shape)
                raise MismatchError(
                    f"the supernet cannot give '{slot.name}' of shape {tuple(slot.shape)}: its own "
                    f"is {found}; make it from larger sizes"
                )
            parts.append(part)
        return parts

    def extract(self, architecture: Architecture) -> nn.Module:
        """Return the compact network of an architecture with a copy of its weights."""
        child = copy.deepcopy(self._outline(architecture)[0])
        weights = {n: part.detach().clone() for n, part in self.slices(architecture).items()}
        child.load_state_dict(weights, assign=True)
        return child.train(self.training)

    def _find_cut(self, name: str) -> Cut:
        return next((cut for end, cut in self.cuts.items() if name.endswith(end)), leading)

    def _whole(
        self,
        name: str,
        architecture: Architecture,
        shared: Mapping[str, nn.Parameter],
        groups: Mapping[str, Group],
    ) -> Tensor | None:
        """Return the large parameter from which an architecture's is cut.

        Parameters
        ----------
        groups : the private ones by gene.
        """
        group = groups.get(self._owner(name) or "")
        if group is None or name not in shared:
            return shared.get(name)
        return self.copies[_label(name, group.combination(architecture))]

    def _find_owner(self, name: str) -> str | None:
        return next((gene for gene, begins in self.owned.items() if name.startswith(begins)), None)

    def _separate(self, made: Sequence[Group], remaining: Remaining) -> None:
        shared = dict(self.weights.named_parameters())
        kept: dict[str, Tensor] = {}
        for name in shared:
            gene = self._owner(name)
            if gene is None:
                continue
            before = self.group_of(gene)
            after = next((group for group in made if gene in group.genes), before)
            if not after.private:
                continue
            for values in after.combinations(remaining):
                own = dict(zip(after.genes, values, strict=True))
                if own[gene] == self.absent:
                    continue
                earlier = _label(name, [own[gene] for gene in before.genes])
                whole = self.copies[earlier] if before.private else shared[name]
                kept[_label(name, values)] = whole if before == after else whole.detach().clone()
        self.copies = nn.ParameterDict(kept)


class _Undrawn(TorchFunctionMode):
    """Leaves new weights as they are: on the meta device drawing them takes most of the time."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run anything but initialisers."""
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, eq=False)
class _Slot:
    """Where a network keeps a parameter."""

    name: str
    module: nn.Module
    key: str
    shape: torch.Size


def _label(name: str, values: Sequence[Value]) -> str:
    """Return under which name a combination's copy of a parameter is kept."""
    return f"{name}@{','.join(map(str, values))}".replace(".", "/")
