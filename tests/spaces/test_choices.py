"""Declaring a network with its choices in place, and realising them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from swath.core.errors import InvalidArchitecture
from swath.spaces.choices import Choice, SizedChoice, Skip, Zero, choices, chosen, realise


class Block(nn.Module):
    def __init__(self, name: str, built: list[str]) -> None:
        super().__init__()

        def linear(size: int) -> nn.Module:
            built.append(f"{name}:linear{size}")
            return nn.Sequential(nn.Linear(4, size), nn.Linear(size, 4))

        self.edge = Choice(
            name,
            {"small": lambda: linear(2), "large": lambda: linear(8), "skip": Skip, "none": Zero},
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.edge(x)


class Net(nn.Module):
    """Choices at several depths: directly, in a block, in lists and dictionaries."""

    def __init__(self, built: list[str]) -> None:
        super().__init__()
        self.first = Block("a", built)
        self.rest = nn.ModuleList([Block("b", built), Block("c", built)])
        self.named = nn.ModuleDict({"x": Choice("d", {"skip": Skip, "none": Zero})})
        self.fixed = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for part in (self.first, *self.rest, self.named["x"], self.fixed):
            x = part(x)
        return x


SELECTION = {"a": "small", "b": "large", "c": "skip", "d": "skip"}


def test_choices_are_listed_in_order_and_hold_no_weights() -> None:
    built: list[str] = []
    net = Net(built)
    assert [c.name for c in choices(net)] == ["a", "b", "c", "d"]
    assert choices(net)[0].options == ("small", "large", "skip", "none")
    assert built == []
    assert [name for name, _ in net.named_parameters()] == ["fixed.weight", "fixed.bias"]


def test_a_child_holds_only_what_was_chosen() -> None:
    built: list[str] = []
    net = realise(Net(built), chosen(SELECTION))
    assert built == ["a:linear2", "b:linear8"]
    assert choices(net) == []
    two = 4 * 2 + 2 + 2 * 4 + 4
    eight = 4 * 8 + 8 + 8 * 4 + 4
    assert sum(p.numel() for p in net.parameters()) == two + eight + 4 * 4 + 4
    x = torch.randn(3, 4)
    expected = net.fixed(net.rest[0].edge(net.first.edge(x)))
    assert torch.equal(net(x), expected)


def test_a_decision_sees_every_choice_once() -> None:
    seen: list[str] = []

    def decide(choice: Choice) -> nn.Module:
        seen.append(choice.name)
        return choice.make("skip")

    realise(Net([]), decide)
    assert seen == ["a", "b", "c", "d"]


def test_skip_is_the_input_and_zero_is_zero() -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    assert Skip()(x) is x
    zero = Zero()(x)
    assert zero.shape == x.shape
    assert not zero.any()


def test_an_open_choice_computes_nothing() -> None:
    with pytest.raises(InvalidArchitecture, match="choice 'a' is still open"):
        Net([])(torch.zeros(1, 4))


def test_errors_name_the_choice() -> None:
    with pytest.raises(InvalidArchitecture, match="says nothing of choice 'd'"):
        realise(Net([]), chosen({k: v for k, v in SELECTION.items() if k != "d"}))
    with pytest.raises(
        InvalidArchitecture, match=r"choice 'a' has no operator 'huge'.*small, large"
    ):
        realise(Net([]), chosen({**SELECTION, "a": "huge"}))


def test_an_operator_of_a_size_is_made_at_that_size_and_stored_at_the_largest() -> None:
    sized = SizedChoice("end", {"linear": lambda n: nn.Linear(n, n)}, [3, 8, 5])
    assert sized.options == ("linear@3", "linear@8", "linear@5")
    assert sized.stored == {"linear": "linear@8"}
    assert {sized.kind(option) for option in sized.options} == {"linear"}
    child = realise(nn.Sequential(sized), chosen({"end": SizedChoice.option("linear", 5)}))
    assert child[0].weight.shape == (5, 5)
    with pytest.raises(InvalidArchitecture, match="no operator 'linear@4'"):
        sized.make("linear@4")
    # Any other choice keeps all that it offers, as it is.
    plain = Choice("edge", {"a": nn.Identity, "b": nn.ReLU})
    assert plain.stored == {"a": "a", "b": "b"}
    assert plain.kind("a") == "a"
