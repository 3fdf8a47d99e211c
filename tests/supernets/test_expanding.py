"""Shrinking and expanding change no child that is left, and free those that were one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from supernet_parts import (
    BANDS,
    CLASSES,
    NAMES,
    answers,
    images,
    make,
    remaining,
    same,
    samples,
    shrunk,
    train,
)

from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.choices import choices
from swath.spaces.narrowed import Narrowed
from swath.supernets.base import Supernet
from swath.supernets.elastic import Elastic

INPUTS, OUTPUTS = InputSpec(BANDS), OutputSpec(CLASSES)
# How many operators are dropped, and what may be merged then; eight times as much later.
GONE = {"darts": 56, "hsi3d": 36, "hytas": 8, "mobilenet": 20, "nasbench201": 13}
THRESHOLD = {"hsi3d": 48, "hytas": 20}


def narrowed(name: str, seed: int = 0) -> tuple[SearchSpace, Supernet, Narrowed]:
    space, supernet = make(name)
    return space, supernet, shrunk(space, GONE.get(name, 6), seed)


@pytest.mark.parametrize("name", NAMES)
def test_expanding_changes_no_childs_answer(name: str) -> None:
    _, supernet, left = narrowed(name)
    for stage, threshold in enumerate(THRESHOLD.get(name, 12) * t for t in (1, 8)):
        some = list(dict.fromkeys(samples(left, 8, seed=stage)))
        before = answers(supernet, left, some)
        groups = supernet.groups
        made = supernet.expand(remaining(left), threshold)
        assert same(answers(supernet, left, some), before)
        assert made, f"nothing was merged in stage {stage}"
        for group in made:
            assert group.private
            assert 1 < group.count(remaining(left)) <= threshold
        # In order, every gene once, and what was merged stays so.
        assert [g for group in supernet.groups for g in group.genes] == [
            g for group in groups for g in group.genes
        ]
        for group in groups:
            assert any(set(group.genes) <= set(now.genes) for now in supernet.groups)
        # A path is still the child with its weights.
        train(supernet, samples(left, 4, seed=7), momentum=0.9, weight_decay=1e-3)
        for architecture, answer in zip(some, answers(supernet, left, some), strict=True):
            child = left.build(architecture, INPUTS, OUTPUTS).eval()
            child.load_state_dict(supernet.extract(architecture).state_dict())
            with torch.no_grad():
                assert torch.equal(child(images(left)), answer)
        left = shrunk(left, 1, seed=stage + 1)


def places_of(space: SearchSpace, supernet: Supernet, genes: tuple[str, ...]) -> tuple[str, ...]:
    """How the names of the weights begin that some genes decide over, in a child."""
    if isinstance(supernet, Elastic):
        return tuple(itertools.chain(*(supernet.owned[gene] for gene in genes)))
    network = space.declare(samples(space, 1)[0], INPUTS, OUTPUTS)
    names = {id(module): path for path, module in network.named_modules()}
    return tuple(
        f"{names[id(choice)]}."
        for choice in choices(network)
        if set(space.deciding(choice.name)) <= set(genes)
    )


def changed_by(
    supernet: Supernet, trained: Architecture, looked: Architecture, places: tuple[str, ...]
) -> set[str]:
    """The weights of one child, in some places, that change where another is trained."""

    def weights() -> dict[str, torch.Tensor]:
        named = supernet.extract(looked).named_parameters()
        return {n: p.detach().clone() for n, p in named if n.startswith(places)}

    before = weights()
    train(supernet, [trained] * 2)
    return {name for name, value in weights().items() if not torch.equal(value, before[name])}


WEIGHTLESS = {"none", "skip_connect", "identity", "avg_pool_3x3", "max_pool_3x3"}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hsi3d"])
def test_partial_models_learn_apart_once_they_are_expanded(name: str) -> None:
    space, supernet = make(name)
    _, shared = make(name)
    left = Narrowed(
        space, {g.name: [c for c in g.choices if c not in WEIGHTLESS][:2] for g in space.genes}
    )
    group = supernet.expand(remaining(left), 8)[0]
    one = samples(left, 1)[0]
    gene = next(gene for gene in left.genes if gene.name == group.genes[-1])
    other = one.replace(**{gene.name: next(c for c in gene.choices if c != one[gene.name])})
    places = places_of(space, supernet, group.genes)
    # Without expanding, what both have in the group is one and the same.
    assert changed_by(shared, one, other, places)
    assert not changed_by(supernet, one, other, places)
    assert changed_by(supernet, other, other, places)
    # What is outside all groups is still shared.
    assert changed_by(supernet, one, other, ("",))


def test_nodes_of_hsi3d_learn_apart_once_they_are_expanded() -> None:
    """A node's three genes decide together from the start; expanding ties it to other nodes."""
    space, supernet = make("hsi3d", layers=1)
    wide = [o for o in space.genes[1].choices if o != "skip_connect"][:2]
    left = Narrowed(space, {gene.name: wide for gene in space.genes if ".op" in gene.name})
    one = samples(left, 1)[0].replace(**{"cell0.node0.op0": wide[0], "cell0.node1.op1": wide[0]})
    other = one.replace(**{"cell0.node1.op1": wide[1]})
    places = ("cells.0.edges.0-",)
    assert changed_by(supernet, one, other, places)
    assert supernet.expand(remaining(left), threshold=4 * 12 * 2)
    assert not changed_by(supernet, one, other, places)


@pytest.mark.parametrize("name", NAMES)
def test_dropped_operators_are_refused(name: str) -> None:
    space, supernet, left = narrowed(name)
    supernet.expand(remaining(left), THRESHOLD.get(name, 12))
    for gene, kept in zip(space.genes, left.genes, strict=True):
        for value in set(gene.choices) - set(kept.choices):
            gone = samples(left, 1)[0].replace(**{gene.name: value})
            for asked in (supernet.extract, lambda a: supernet(torch.zeros(1), a)):
                with pytest.raises(InvalidArchitecture, match=f"'{value}' at gene '{gene.name}'"):
                    asked(gone)


@pytest.mark.parametrize("name", ["darts", "mobilenet", "nasbench201", "nasbenchmacro"])
def test_the_weights_of_dropped_operators_are_gone(name: str) -> None:
    space, supernet, left = narrowed(name)
    supernet.expand(remaining(left), threshold=1)  # nothing is merged
    assert not any(group.private for group in supernet.groups)
    network = space.declare(samples(space, 1)[0], INPUTS, OUTPUTS)
    kept = remaining(left)
    every = [choice.make(str(o)) for choice in choices(network) for o in kept[choice.name]]
    expected = count_parameters(network) + sum(map(count_parameters, every))
    assert count_parameters(supernet) == expected


@pytest.mark.parametrize("name", ["darts", "mobilenet", "nasbench201", "nasbenchmacro"])
def test_partial_models_have_as_many_weights_as_they_need(name: str) -> None:
    space, supernet, left = narrowed(name)
    supernet.expand(remaining(left), THRESHOLD.get(name, 12))
    network = space.declare(samples(space, 1)[0], INPUTS, OUTPUTS)
    kept, expected = remaining(left), count_parameters(network)
    for choice in choices(network):
        group = supernet.group_of(choice.name)
        # Each operator once for every combination of the other genes of its group.
        copies = math.prod(len(kept[g]) for g in group.genes if g != choice.name)
        own = sum(count_parameters(choice.make(str(o))) for o in kept[choice.name])
        expected += own * (copies if group.private else 1)
    assert count_parameters(supernet) == expected


def test_dropped_widths_take_their_networks_with_them() -> None:
    space, supernet = make("hsi3d")
    one = samples(Narrowed(space, {"cell0.width": [0], "cell1.width": [1]}), 1)[0]
    before = answers(supernet, space, [one])
    left = Narrowed(space, {"cell0.width": [0], "cell1.width": [1]})
    supernet.expand(remaining(left), threshold=1)
    assert same(answers(supernet, space, [one]), before)
    network = space.declare(one, INPUTS, OUTPUTS)
    every = [
        choice.make(option)
        for choice in choices(network)
        for option in choice.options
        # A pair of inputs is always there: with two of them, no edge is left out.
        if option != "none"
    ]
    expected = count_parameters(network) + sum(map(count_parameters, every))
    assert count_parameters(supernet) == expected
    with pytest.raises(InvalidArchitecture, match=r"'1' at gene 'cell0\.width'"):
        supernet.extract(one.replace(**{"cell0.width": 1}))


def test_a_width_in_a_group_copies_only_what_its_networks_need() -> None:
    """A node's operators of one width are no copies for the other."""
    space, supernet = make("hsi3d", layers=1, nodes=1)
    before = count_parameters(supernet)
    left = Narrowed(space, {})
    (made,) = supernet.expand(remaining(left), threshold=98)
    assert made.genes[-1] == "cell0.width"
    per_width = [
        sum(
            count_parameters(choice.make(option))
            for choice in choices(space.declare(one, INPUTS, OUTPUTS))
            for option in choice.options
        )
        for one in (samples(space, 1)[0].replace(**{"cell0.width": w}) for w in (0, 1))
    ]
    # Each operator of an edge once for the seven of the other edge, where it was there once.
    assert count_parameters(supernet) == before + 6 * sum(per_width)


def test_absent_layers_of_hytas_have_no_copies() -> None:
    space, supernet = make("hytas")
    assert isinstance(supernet, Elastic)
    genes = {gene.name: gene.choices for gene in space.genes}
    left = Narrowed(
        space,
        {
            name: (genes[name][0], "none") if "none" in genes[name] else genes[name][:1]
            for name in genes
        },
    )
    supernet.expand(remaining(left), 50)
    values = np.prod([len(gene.choices) for gene in left.genes])
    (group,) = supernet.groups
    assert group.private
    last = f"blocks.{len(left.genes) - 2}."
    copies = [name for name in supernet.copies if name.startswith(last.replace(".", "/"))]
    parts = {name for name, _ in supernet.weights.named_parameters() if name.startswith(last)}
    assert len(copies) == len(parts) * values / 2


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_supernet_that_was_expanded_likewise_takes_the_weights(name: str) -> None:
    """What a checkpoint needs: names and shapes follow from the stages alone."""
    _, supernet, left = narrowed(name)
    _, other = make(name, seed=9)
    later = shrunk(left, 1, seed=8)
    for part in (left, later):
        train(supernet, samples(left, 2))
        supernet.expand(remaining(part), THRESHOLD.get(name, 12))
        other.expand(remaining(part), THRESHOLD.get(name, 12))
    assert list(other.tensors()) == list(supernet.tensors())
    other.load_tensors(supernet.tensors())
    some = samples(later, 4)
    assert same(answers(other, later, some), answers(supernet, later, some))
