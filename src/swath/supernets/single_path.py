"""Single-path supernets: all operators of a space, of which a pass uses one in each place.

Made from the declaration of a space alone: every :class:`~swath.spaces.choices.Choice` gets all its
candidates, and a pass puts those of one architecture into their places.  What runs is then exactly
that architecture's compact network, at its cost.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling".
"""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from swath.core.architecture import Architecture, Value
from swath.core.seeds import numpy_generator
from swath.networks.layout import channels_last
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.choices import Choice
from swath.supernets.base import Group, Remaining, Supernet
from swath.supernets.elastic import leading

__all__ = ["SinglePath"]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where one of several operators stands.

    Parameters
    ----------
    parent, key : the module that holds it, and under which name.
    operators : all there are, by :func:`_label`.
    """

    parent: nn.Module
    key: str
    choice: Choice
    operators: nn.ModuleDict

    def operator(self, label: str, option: str) -> nn.Module:
        """Return the operator of this name, cut to the size of an option where it is larger."""
        whole = self.operators[label]
        if option in self.choice.stored.values():
            return whole
        return _cut(self._outline(option), whole)

    def alone(self, option: str) -> nn.Module | None:
        """Return the operator that stands here with its own weights if it was cut, else None."""
        here = self.parent._modules[self.key]
        if here is None or option in self.choice.stored.values():
            return None
        alone = self._outline(option)
        weights = {name: tensor.clone() for name, tensor in here.state_dict().items()}
        alone.load_state_dict(weights, assign=True)
        return channels_last(alone.train(here.training))

    def _outline(self, option: str) -> nn.Module:
        with torch.device("meta"):
            return self.choice.make(option)


class SinglePath(Supernet):
    """The single-path supernet of a space whose networks are declared with choices.

    Where genes shape the declared network itself (``space.structure``), there is one network for
    each of their combinations, and networks share the layers that stand in the same place and
    have the same form.

    Parameters
    ----------
    space : any space that implements ``declare``.  Initial weights are drawn as a child's are.
    """

    def __init__(self, space: SearchSpace, inputs: InputSpec, outputs: OutputSpec) -> None:
        super().__init__(_units(space, inputs, outputs))
        self.space = space
        self.networks, self.operators = nn.ModuleDict(), nn.ModuleDict()
        self._places: dict[str, list[_Place]] = {}
        self._structures: dict[str, dict[str, Value]] = {}
        for architecture in _structures(space):
            name = _structure_name(space, architecture)
            self._structures[name] = {gene: architecture[gene] for gene in space.structure}
            network = space.declare(architecture, inputs, outputs)
            _share(network, self.networks.values())
            self.networks[name] = network
            self._places[name] = [
                _Place(parent, key, choice, self._all(f"{path}.{key}", choice))
                for path, parent in network.named_modules()
                for key, choice in parent.named_children()
                if isinstance(choice, Choice)
            ]
        every = {p.choice.name: p.choice for p in itertools.chain(*self._places.values())}
        self._genes = {name: space.deciding(name)[0] for name in every}
        self._kinds = {name: choice.kind for name, choice in every.items()}
        space.finish(self)

    def _all(self, path: str, choice: Choice) -> nn.ModuleDict:
        """Return all operators of a place, made now or shared with the networks before."""
        operators = nn.ModuleDict({k: choice.make(option) for k, option in choice.stored.items()})
        form = "|".join(map(_form, operators.values()))
        for number in itertools.count():
            key = f"{path.replace('.', '/')}/{number}"
            if key not in self.operators:
                self.operators[key] = operators
            shared = self.operators[key]
            assert isinstance(shared, nn.ModuleDict)
            if shared is operators or "|".join(map(_form, shared.values())) == form:
                return shared
        raise AssertionError  # pragma: no cover

    @contextlib.contextmanager
    def path(self, architecture: Architecture) -> Iterator[nn.Module]:
        """Give the network of an architecture, whose weights are the supernet's own.

        Raises
        ------
        InvalidArchitecture : one of its operators was dropped when the supernet was expanded.
        """
        self.require(architecture)
        name = _structure_name(self.space, architecture)
        labels, options = self._labels(architecture), self.space.selection(architecture)
        chosen = [
            (place, place.operator(labels[place.choice.name], options[place.choice.name]))
            for place in self._places[name]
        ]
        try:
            for place, operator in chosen:
                place.parent._modules[place.key] = operator
            yield self.networks[name]
        finally:
            for place, _ in chosen:
                place.parent._modules[place.key] = place.choice

    def _labels(self, architecture: Architecture) -> dict[str, str]:
        """Return under which name an architecture's operator is kept, for each choice."""
        selection = self.space.selection(architecture)
        groups = {gene: group for group in self.groups for gene in group.genes}
        return {
            choice: _label(self._kinds[choice](selection[choice]), groups[gene], architecture)
            for choice, gene in self._genes.items()
        }

    def extract(self, architecture: Architecture) -> nn.Module:
        """Return the compact network of an architecture with a copy of its weights."""
        options = self.space.selection(architecture)
        with self.path(architecture) as network:
            copies: dict[int, nn.Module] = {}
            for place in self._places[_structure_name(self.space, architecture)]:
                alone = place.alone(options[place.choice.name])
                if alone is not None:
                    copies[id(place.parent._modules[place.key])] = alone
            child = copy.deepcopy(network, copies)
        return self.space.trim(child, architecture)

    def _separate(self, made: Sequence[Group], remaining: Remaining) -> None:
        for name, structure in self._structures.items():
            if any(value not in remaining[gene] for gene, value in structure.items()):
                del self._places[name], self.networks[name]
        self._structures = {name: self._structures[name] for name in self._places}
        separated = {gene: group for group in made for gene in group.genes}
        for key, operators in list(self.operators.items()):
            users = {
                name: place
                for name, places in self._places.items()
                for place in places
                if place.operators is operators
            }
            if not users:
                del self.operators[key]
                continue
            place = next(iter(users.values()))
            before = self.group_of(self._genes[place.choice.name])
            after = separated.get(before.genes[0], before)
            self._copy(place, [self._structures[name] for name in users], before, after, remaining)

    def _copy(
        self,
        place: _Place,
        structures: Sequence[Mapping[str, Value]],
        before: Group,
        after: Group,
        remaining: Remaining,
    ) -> None:
        """Replace a place's operators by those that the combinations of ``after`` need.

        Parameters
        ----------
        structures : in which the place is; no other needs its operators.
        """
        some = next(_structures(self.space))
        kept: dict[str, nn.Module] = {}
        for values in after.combinations(remaining):
            own = dict(zip(after.genes, values, strict=True))
            if not any(_agree(own, structure) for structure in structures):
                continue
            architecture = _with(some, own)
            option = place.choice.kind(self.space.selection(architecture)[place.choice.name])
            label = _label(option, after, architecture)
            source = place.operators[_label(option, before, architecture)]
            if label not in kept:
                kept[label] = source if after == before else copy.deepcopy(source)
        place.operators.clear()
        place.operators.update(kept)


def _cut(outline: nn.Module, whole: nn.Module) -> nn.Module:
    """Give a smaller module the leading part of each weight of a larger one, as views; return it.

    Gradients reach the larger one's weights, and so do running statistics.
    """
    for small, large in zip(outline.modules(), whole.modules(), strict=True):
        for own, others in (
            (small._parameters, large._parameters),
            (small._buffers, large._buffers),
        ):
            for name, tensor in own.items():
                other = others[name]
                if tensor is not None and other is not None:
                    own[name] = leading(other, tensor.shape)  # type: ignore[assignment]
    return outline.train(whole.training)


def _label(option: str, group: Group, architecture: Architecture) -> str:
    """Return under which name an operator's weights are kept."""
    if not group.private:
        return option
    combination = ",".join(map(str, group.combination(architecture)))
    return f"{option}@{combination}".replace(".", "_")


def _structures(space: SearchSpace) -> Iterator[Architecture]:
    """Yield an architecture for each valid combination of the genes that shape the network."""
    some = space.sample(numpy_generator(0, "structure"))
    genes = [gene for gene in space.genes if gene.name in space.structure]
    for values in itertools.product(*(gene.choices for gene in genes)):
        changed = {**some.as_dict(), **dict(zip(space.structure, values, strict=True))}
        if space.problem(changed) is None:
            yield space.architecture(changed)


def _structure_name(space: SearchSpace, architecture: Architecture) -> str:
    return "-".join(str(architecture[gene]) for gene in space.structure) or "network"


def _units(space: SearchSpace, inputs: InputSpec, outputs: OutputSpec) -> list[tuple[str, ...]]:
    """Return the space's genes, in order; those that decide the same choice together."""
    together: dict[str, tuple[str, ...]] = {gene.name: (gene.name,) for gene in space.genes}
    network = space.declare(next(_structures(space)), inputs, outputs)
    for choice in network.modules():
        if isinstance(choice, Choice):
            genes = space.deciding(choice.name)
            together.update(dict.fromkeys(genes, genes))
    return list(dict.fromkeys(together.values()))


def _with(architecture: Architecture, values: Mapping[str, Value]) -> Architecture:
    """Return an architecture with some other values, valid or not."""
    genes = tuple((gene, values.get(gene, value)) for gene, value in architecture.genes)
    return Architecture(architecture.space, genes)


def _agree(values: Mapping[str, Value], others: Mapping[str, Value]) -> bool:
    """Whether no gene has two values."""
    return all(others.get(gene, value) == value for gene, value in values.items())


def _form(module: nn.Module) -> str:
    """Return all that tells the form of a module: its layers and the sizes of its weights."""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()]
    return f"{module!r}{shapes}"


def _share(network: nn.Module, others: Iterable[nn.Module]) -> None:
    """Let a network have the layers of others that stand in the same place and have its form."""
    known = {
        (path, _form(layer)): layer
        for other in others
        for path, layer in other.named_modules()
        if _is_layer(layer)
    }
    for path, parent in list(network.named_modules()):
        for key, layer in list(parent.named_children()):
            if _is_layer(layer):
                place = f"{path}.{key}" if path else key
                parent._modules[key] = known.get((place, _form(layer)), layer)


def _is_layer(module: nn.Module) -> bool:
    """Whether a module has weights of its own and no parts."""
    return not any(module.children()) and any(module.state_dict())
