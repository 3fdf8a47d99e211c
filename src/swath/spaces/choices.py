"""Write a network with its choices in place; space, supernet and child follow from it.

A module *declares* alternatives by holding :class:`Choice` leaves.  A declaration has no weights
where it has choices: each holds named factories.  :func:`realise` replaces every choice of a
network by what a caller makes of it: the one chosen operator (:func:`chosen`, a compact child),
or all of them (the supernets floor).

>>> class Net(nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.edge = Choice("edge", {"linear": lambda: nn.Linear(4, 4), "skip": nn.Identity})
...     def forward(self, x):
...         return self.edge(x)
>>> [(c.name, c.options) for c in choices(Net())]
[('edge', ('linear', 'skip'))]
>>> realise(Net(), chosen({"edge": "skip"})).edge
Identity()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from torch import Tensor, nn

from swath.core.errors import InvalidArchitecture

__all__ = ["Choice", "SizedChoice", "Skip", "Zero", "choices", "chosen", "realise"]

Network = TypeVar("Network", bound=nn.Module)


class Zero(nn.Module):
    """The operator `none`: its output is zero.  Cells leave it out of their sums."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros like ``x``."""
        return x.new_zeros(()).expand_as(x)


class Skip(nn.Identity):
    """The operator `skip_connect`: its output is its input."""


class Choice(nn.Module):
    """A place in a network where one of several operators may stand.

    Parameters
    ----------
    name : of the decision; places of one name decide alike (the cells of NAS-Bench-201).
    candidates : factories by operator name.  They are called only when the choice is realised.
    """

    def __init__(self, name: str, candidates: Mapping[str, Callable[[], nn.Module]]) -> None:
        super().__init__()
        self.name = name
        self.candidates = dict(candidates)

    @property
    def options(self) -> tuple[str, ...]:
        """The operators' names, in order."""
        return tuple(self.candidates)

    def make(self, option: str) -> nn.Module:
        """Build one candidate; raise :class:`InvalidArchitecture` for an unknown name."""
        if option not in self.candidates:
            raise InvalidArchitecture(
                f"choice '{self.name}' has no operator '{option}'; "
                f"it has: {', '.join(self.options)}"
            )
        return self.candidates[option]()

    @property
    def stored(self) -> Mapping[str, str]:
        """What a supernet keeps weights of, and from which option each is made: all options."""
        return {option: option for option in self.candidates}

    def kind(self, option: str) -> str:
        """Return which of :attr:`stored` gives an option its weights."""
        return option

    def forward(self, *inputs: Tensor) -> Tensor:
        """Refuse: a declaration computes nothing until it is realised."""
        raise InvalidArchitecture(
            f"choice '{self.name}' is still open; build a child or a supernet of this network"
        )


class SizedChoice(Choice):
    """A choice among operators whose size follows from the rest of the architecture.

    Its options are operators of a size, such as ``merge@48``.  A child has exactly that; a supernet
    keeps the largest of each operator, and cuts the others from its weights.

    Parameters
    ----------
    candidates : factories by operator name, which take the size.  No weight of a smaller one may
        exceed the larger one's in any dimension.
    sizes : all that can occur.
    """

    def __init__(
        self, name: str, candidates: Mapping[str, Callable[[int], nn.Module]], sizes: Sequence[int]
    ) -> None:
        super().__init__(
            name,
            {
                self.option(operator, size): partial(make, size)
                for operator, make in candidates.items()
                for size in sizes
            },
        )
        self._stored = {operator: self.option(operator, max(sizes)) for operator in candidates}

    @staticmethod
    def option(operator: str, size: int) -> str:
        """Return the name of an operator of a size."""
        return f"{operator}@{size}"

    @property
    def stored(self) -> Mapping[str, str]:
        """What a supernet keeps weights of: the largest of each operator."""
        return self._stored

    def kind(self, option: str) -> str:
        """Return the operator, without its size."""
        return option.rpartition("@")[0]


def choices(network: nn.Module) -> list[Choice]:
    """Return the open choices of a network in the order of declaration."""
    return [module for module in network.modules() if isinstance(module, Choice)]


def realise(network: Network, decide: Callable[[Choice], nn.Module]) -> Network:
    """Replace every open choice of ``network``, in place, by ``decide(choice)``; return it."""
    for parent in list(network.modules()):
        for key, child in list(parent.named_children()):
            if isinstance(child, Choice):
                setattr(parent, key, decide(child))
    return network


def chosen(selection: Mapping[str, str]) -> Callable[[Choice], nn.Module]:
    """Return the decision of a compact child: at each choice, only the operator it names.

    Raises
    ------
    InvalidArchitecture : a choice of the network is missing from ``selection``.
    """

    def decide(choice: Choice) -> nn.Module:
        if choice.name not in selection:
            raise InvalidArchitecture(f"the architecture says nothing of choice '{choice.name}'")
        return choice.make(selection[choice.name])

    return decide
