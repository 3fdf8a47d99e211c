"""A path of a supernet is the child it stands for, in every space that has a supernet."""

from __future__ import annotations

import copy
import functools
import itertools
from typing import Any

import pytest
import torch
from supernet_parts import BANDS, CLASSES, NAMES, WITHOUT, answers, images, make, samples, train
from torch import nn

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import MismatchError, UnknownName
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.choices import Choice, choices
from swath.supernets import create_supernet, require_supernet
from swath.supernets.base import Supernet
from swath.supernets.elastic import Elastic
from swath.supernets.single_path import SinglePath

INPUTS, OUTPUTS = InputSpec(BANDS), OutputSpec(CLASSES)


def child_of(supernet: Supernet, space: SearchSpace, architecture: Architecture) -> nn.Module:
    """The space's own network with the weights that the supernet hands on."""
    child = space.build(architecture, INPUTS, OUTPUTS)
    child.load_state_dict(supernet.extract(architecture).state_dict())
    return child


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_the_child_with_its_weights(name: str, trained: bool) -> None:
    space, supernet = make(name)
    if trained:
        train(supernet, samples(space, 6, seed=1), momentum=0.9, weight_decay=1e-3)
    some = samples(space, 8, seed=2)
    found = answers(supernet, space, some)
    for architecture, answer in zip(some, found, strict=True):
        child = child_of(supernet, space, architecture).eval()
        with torch.no_grad():
            assert torch.equal(child(images(space)), answer), architecture
    assert len({tuple(answer.flatten().tolist()) for answer in found}) > 4


@pytest.mark.parametrize("name", NAMES)
def test_a_path_learns_what_its_child_would(name: str) -> None:
    space, supernet = make(name, **({"drop_path": 0.0} if name == "hytas" else {}))
    architecture = samples(space, 1, seed=3)[0]
    child = child_of(supernet, space, architecture).train()
    alone = copy.deepcopy(child)
    labels = torch.zeros(child(images(space)).shape[::2][:1], dtype=torch.int64)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        wanted = labels if logits.ndim == 2 else labels[:, None, None].expand_as(logits[:, 0])
        return nn.functional.cross_entropy(logits, wanted)

    optimiser = torch.optim.SGD(alone.parameters(), 0.1, 0.9, weight_decay=0.01)
    shared = torch.optim.SGD(supernet.parameters(), 0.1, 0.9, weight_decay=0.01)
    supernet.train()
    for _ in range(3):
        for network, update in (
            (alone, optimiser),
            (functools.partial(supernet, architecture=architecture), shared),
        ):
            update.zero_grad()
            loss(network(images(space))).backward()
            update.step()
    found, expected = supernet.extract(architecture).state_dict(), alone.state_dict()
    assert found.keys() == expected.keys()
    moved = 0
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)
        moved += not torch.equal(value, child.state_dict()[key])
    assert moved > 1


def active(supernet: Supernet, space: SearchSpace, architecture: Architecture) -> set[int]:
    """The parameters that a path may use, told without running it."""
    if isinstance(supernet, Elastic):
        child = space.build(architecture, INPUTS, OUTPUTS)
        names = {name for name, _ in child.named_parameters()}
        return {id(p) for name, p in supernet.weights.named_parameters() if name in names}
    with supernet.path(architecture) as network:
        found = list(network.parameters())
        # What was cut from a larger weight is a view of it.
        whole = {id(p if p._base is None else p._base) for p in found}
    assert sum(p.numel() for p in found) == count_parameters(
        space.build(architecture, INPUTS, OUTPUTS)
    )
    return whole


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", NAMES)
def test_an_update_changes_the_path_and_nothing_else(name: str, optimiser: Any) -> None:
    space, supernet = make(name)
    others, architecture = samples(space, 3, seed=4), samples(space, 1, seed=5)[0]
    options = {"momentum": 0.9} if optimiser is torch.optim.SGD else {}
    update = optimiser(supernet.parameters(), lr=0.1, weight_decay=0.1, **options)
    supernet.train()
    # Updates of other paths first, so that momentum could move what is not on this one.
    for path in [*others, architecture]:
        before = {name: tensor.clone() for name, tensor in supernet.tensors().items()}
        update.zero_grad()
        supernet(images(space), path).square().sum().backward()
        update.step()
    own = active(supernet, space, architecture)
    assert 0 < len(own) < len(list(supernet.parameters()))
    for key, parameter in supernet.named_parameters():
        if id(parameter) in own:
            assert not torch.equal(parameter, before[key]), key
        else:
            assert parameter.grad is None, key
            assert torch.equal(parameter, before[key]), key
    if isinstance(supernet, SinglePath):
        with supernet.path(architecture) as network:
            used = {id(b if b._base is None else b._base) for b in network.buffers()}
        for key, buffer in supernet.named_buffers():
            assert id(buffer) in used or torch.equal(buffer, before[key]), key


def test_unused_parts_of_elastic_weights_have_no_gradient() -> None:
    space, supernet = make("hytas")
    assert isinstance(supernet, Elastic)
    narrow = next(a for a in samples(space, 99) if a["embed_dim"] == 8)
    supernet.train()(images(space), narrow).square().sum().backward()
    project = supernet.weights.head.weight
    assert project.grad is not None
    assert (project.grad[:, :8] != 0).any()
    assert (project.grad[:, 8:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_extracted_child_stands_alone(name: str) -> None:
    space, supernet = make(name)
    architecture = samples(space, 1)[0]
    before = answers(supernet, space, [architecture])[0]
    child = supernet.extract(architecture)
    assert not any(isinstance(module, Choice) for module in child.modules())
    with torch.no_grad():
        for tensor in child.state_dict().values():
            tensor.zero_()
    assert torch.equal(answers(supernet, space, [architecture])[0], before)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_leaves_the_supernet_as_it_was(name: str) -> None:
    space, supernet = make(name)
    some = samples(space, 3)
    before = answers(supernet, space, some)
    keys = list(supernet.state_dict())
    with pytest.raises(ZeroDivisionError), supernet.path(some[0]):
        raise ZeroDivisionError
    assert list(supernet.state_dict()) == keys
    assert all(map(torch.equal, answers(supernet, space, some), before))


@pytest.mark.parametrize("name", NAMES)
def test_tensors_are_all_that_a_copy_needs(name: str) -> None:
    space, supernet = make(name)
    _, other = make(name, seed=1)
    some = samples(space, 3)
    before = answers(supernet, space, some)
    assert not any(map(torch.equal, answers(other, space, some), before))
    other.load_tensors(supernet.tensors())
    assert all(map(torch.equal, answers(other, space, some), before))
    some_name = next(iter(supernet.tensors()))
    fewer = {name: t for name, t in supernet.tensors().items() if name != some_name}
    with pytest.raises(MismatchError, match="another supernet"):
        other.load_tensors(fewer)


@pytest.mark.parametrize(("name", "options"), [("hsi3d", {}), ("nasbench201", {"cells": 1})])
def test_initial_weights_are_drawn_as_a_childs_are(name: str, options: Any) -> None:
    """By size: the mean square of each kernel is that of the same kernel of fresh children."""
    torch.manual_seed(0)
    space = spaces.create(name, **options)
    supernet = create_supernet(space, INPUTS, OUTPUTS)
    architecture = samples(space, 1)[0]
    fresh = space.build(architecture, INPUTS, OUTPUTS).state_dict()
    looked = 0
    for key, tensor in supernet.extract(architecture).state_dict().items():
        if tensor.ndim > 3 and tensor.numel() > 2000:
            ratio = float(tensor.square().mean() / fresh[key].square().mean())
            assert ratio == pytest.approx(1, abs=0.2), key
            assert not torch.equal(tensor, fresh[key])
            looked += 1
    assert looked


@pytest.mark.parametrize("stem_length", [None, 4])
def test_networks_of_other_widths_share_what_has_the_same_form(stem_length: int | None) -> None:
    space, supernet = make("hsi3d", stem_length=stem_length)
    expected: dict[Any, int] = {}  # parameters by place and shape, each once
    structures = 0
    for widths in itertools.product(range(2), range(3)):
        values = {**samples(space, 1)[0].as_dict()}
        values |= {f"cell{layer}.width": width for layer, width in enumerate(widths)}
        if space.problem(values) is not None:
            continue
        structures += 1
        network = space.declare(space.architecture(values), INPUTS, OUTPUTS)
        parts = dict(network.named_parameters())
        for path, module in network.named_modules():
            if isinstance(module, Choice):
                for option in module.options:
                    operator = module.make(option)
                    parts |= {f"{path}|{option}|{n}": p for n, p in operator.named_parameters()}
        expected |= {(name, tuple(p.shape)): p.numel() for name, p in parts.items()}
    assert structures == 5
    assert sum(p.numel() for p in supernet.parameters()) == sum(expected.values())


def test_a_supernet_holds_every_operator_once() -> None:
    for name in ("darts", "mobilenet", "nasbench201", "nasbenchmacro"):
        space, supernet = make(name)
        network = space.declare(samples(space, 1)[0], INPUTS, OUTPUTS)
        every = [choice.make(option) for choice in choices(network) for option in choice.options]
        expected = count_parameters(network) + sum(map(count_parameters, every))
        assert count_parameters(supernet) == expected


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_a_space_without_choices_is_refused(name: str) -> None:
    space = spaces.create(name)
    for refused in (require_supernet, lambda s: create_supernet(s, INPUTS, OUTPUTS)):
        with pytest.raises(UnknownName, match=f"'{name}' has no supernet, which one-shot"):
            refused(space)
    for other in NAMES:
        require_supernet(spaces.create(other))
