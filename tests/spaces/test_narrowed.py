"""Narrowed spaces: what remains, against filtering the whole space by hand."""

from __future__ import annotations

import collections
import itertools
import math
import pickle
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from swath import spaces
from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import InvalidArchitecture, NothingToSample
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.narrowed import Narrowed
from swath.spaces.nasbench201 import NASBench201
from swath.spaces.restricted import Listed, Restricted


class Toy(SearchSpace):
    """Four genes of three, two, four and one values."""

    name = "toy"
    genes = tuple(Gene(f"g{i}", tuple("abcd"[:n])) for i, n in enumerate((3, 2, 4, 1)))

    def __init__(self) -> None:
        self.options = {}

    def canonical(self, architecture: Architecture) -> Architecture:
        return architecture.replace(g2="a")


class Ruled(Toy):
    """The same with a rule between two genes."""

    def problem(self, values: Mapping[str, Value]) -> str | None:
        return "no two a" if values["g0"] == values["g2"] == "a" else None


TOY, RULED = Toy(), Ruled()


def everything(space: SearchSpace) -> list[Architecture]:
    names = [gene.name for gene in space.genes]
    found = []
    for combination in itertools.product(*(gene.choices for gene in space.genes)):
        values = dict(zip(names, combination, strict=True))
        if space.problem(values) is None:
            found.append(space.architecture(values))
    return found


def distance(a: Architecture, b: Architecture) -> int:
    return sum(p != q for p, q in zip(a.genes, b.genes, strict=True))


@st.composite
def remainders(draw: st.DrawFn) -> dict[str, list[Value]]:
    remaining = {}
    for gene in TOY.genes:
        if draw(st.booleans()):
            kept = st.lists(st.sampled_from(gene.choices), min_size=1, unique=True)
            remaining[gene.name] = draw(kept)
    return remaining


def brute_force(whole: SearchSpace, remaining: Mapping[str, list[Value]]) -> list[Architecture]:
    return [a for a in everything(whole) if all(a[gene] in remaining[gene] for gene in remaining)]


@given(st.sampled_from([TOY, RULED]), remainders(), st.integers(0, 99))
@settings(max_examples=80)
def test_what_remains_is_what_a_filter_leaves(
    whole: SearchSpace, remaining: dict[str, list[Value]], seed: int
) -> None:
    space = Narrowed(whole, remaining)
    expected = brute_force(whole, remaining)
    assert list(space.enumerate()) == expected  # in the whole's order, too
    assert space.size() == len(expected)
    rng = np.random.default_rng(seed)
    if not expected:
        with pytest.raises(NothingToSample, match="keep more choices"):
            space.sample(rng)
        return
    assert {space.sample(rng) for _ in range(20)} <= set(expected)
    for a in everything(whole):
        if a in expected:
            space.validate(a)
            near = {b for b in expected if distance(a, b) == 1}
            assert set(space.neighbours(a)) == near
            if near:
                assert space.mutate(a, rng) in near
            else:
                with pytest.raises(NothingToSample, match="one gene"):
                    space.mutate(a, rng)
            assert np.array_equal(space.encode(a), whole.encode(a))
            assert space.decode(space.encode(a)) == a
        else:
            for refuse in (space.validate, lambda a: space.decode(whole.encode(a))):
                with pytest.raises(InvalidArchitecture, match=r"cannot be"):
                    refuse(a)


@given(remainders(), remainders())
@settings(max_examples=40)
def test_narrowing_twice_is_narrowing_once(
    first: dict[str, list[Value]], second: dict[str, list[Value]]
) -> None:
    once = Narrowed(TOY, first)
    if any(set(kept) - set(first.get(gene, kept)) for gene, kept in second.items()):
        with pytest.raises(InvalidArchitecture, match="cannot be"):
            Narrowed(once, second)
        return
    twice = Narrowed(once, second)
    assert twice.space is TOY
    assert twice.genes == Narrowed(TOY, {**first, **second}).genes


@pytest.mark.parametrize("whole", [TOY, RULED])
def test_draws_are_uniform_over_what_remains(whole: SearchSpace) -> None:
    space = Narrowed(whole, {"g0": ["c", "a"], "g2": ["a", "b", "d"]})
    rng = np.random.default_rng(0)
    expected = set(space.enumerate())
    counts = collections.Counter(space.sample(rng) for _ in range(3000))
    assert counts.keys() == expected
    mean = 3000 / len(expected)
    # Chi-squared, 11 (9) degrees of freedom: 31.3 (27.9) is passed by chance once in a thousand.
    assert sum((n - mean) ** 2 / mean for n in counts.values()) < (31.3 if whole is TOY else 27.9)
    assert space.sample(np.random.default_rng(5)) == space.sample(np.random.default_rng(5))


@pytest.mark.parametrize(
    ("remaining", "error", "message"),
    [
        ({"g9": ["a"]}, InvalidArchitecture, r"'g9' is no gene of space 'toy' \(did you mean 'g"),
        ({"g1": ["c"]}, InvalidArchitecture, "gene 'g1' cannot be 'c'; it is one of: a, b"),
        ({"g1": []}, NothingToSample, "gene 'g1' has no choice left"),
    ],
)
def test_impossible_remainders_are_refused(
    remaining: dict[str, list[Value]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Narrowed(TOY, remaining)


def test_the_published_first_stage_of_nas_bench_201() -> None:
    """SE-NAS: 20 of 30 operators on 6 edges are at most 4 * 4 * 3**4 = 1296 children."""
    whole = NASBench201(channels=4, cells=1)
    counts = (4, 4, 3, 3, 3, 3)
    space = Narrowed(
        whole, {g.name: g.choices[-n:] for g, n in zip(whole.genes, counts, strict=True)}
    )
    assert space.size() == 1296 == len(set(space.enumerate()))
    assert (space.name, space.answers, space.patch) == ("nasbench201", "patch", whole.patch)
    kept = space.sample(np.random.default_rng(0))
    copy = kept.replace(**{whole.genes[0].name: "none"})
    with pytest.raises(InvalidArchitecture):
        space.build(copy, InputSpec(3), OutputSpec(2))
    assert space.canonical(kept) == whole.canonical(kept)
    assert space.graph(kept).operators == whole.graph(kept).operators
    states = []
    for part in (whole, space):
        torch.manual_seed(0)
        states.append(part.build(kept, InputSpec(3), OutputSpec(2)).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    dense = space.build_dense(kept, InputSpec(3), OutputSpec(2))
    assert dense(torch.zeros(1, 3, 4, 5)).shape == (1, 2, 4, 5)


def test_what_a_supernet_asks_is_asked_of_the_whole() -> None:
    whole = spaces.create("hsi3d", base_width=2, stem_width=3, head_width=4)
    space = Narrowed(whole, {"cell0.node0.op0": ["skip_connect"]})
    architecture = space.sample(np.random.default_rng(0))
    assert space.structure == whole.structure
    assert space.selection(architecture) == whole.selection(architecture)
    for choice in whole.selection(architecture):
        assert space.deciding(choice) == whole.deciding(choice)
    open_network = space.declare(architecture, InputSpec(5), OutputSpec(2))
    assert type(open_network) is type(whole.declare(architecture, InputSpec(5), OutputSpec(2)))


def test_a_large_space_with_a_rule_tells_an_upper_bound() -> None:
    whole = spaces.create("hsi3d")
    space = Narrowed(whole, {"cell0.node0.op0": whole.genes[1].choices[:1]})
    product = math.prod(len(gene.choices) for gene in space.genes)
    # Six pairs of widths, of which width 2 after width 0 is none: 5 are valid.
    assert product * 5 // 6 < space.size() == min(product, whole.size())
    widths = {g.name: g.choices[:1] for g in whole.genes if not g.name.endswith("width")}
    assert Narrowed(whole, widths).size() == 5


def test_a_space_with_its_own_way_to_draw_is_followed() -> None:
    """HyTAS draws depths alike often; uniform draws would hardly ever end before the last layer."""
    whole = spaces.create("hytas")
    rng = np.random.default_rng(0)
    layers = whole.genes[1].choices
    few = Narrowed(
        whole, {g.name: (*layers[:6], "none")[: len(g.choices)] for g in whole.genes[5:]}
    )
    depths = collections.Counter(
        sum(v != "none" for _, v in few.sample(rng).genes[1:]) for _ in range(700)
    )
    # A layer that is gone may be redrawn as none, so depths shift, but all stay.
    assert set(depths) == set(range(4, 11))
    assert min(depths.values()) > 20
    # Uniform draws would be valid once in 25**5.
    shallow = Narrowed(whole, {"layer.5": ["none"]})
    assert {shallow.sample(rng)["layer.6"] for _ in range(20)} == {"none"}


def test_parts_of_parts() -> None:
    listed = everything(TOY)[:9]
    space = Narrowed(Listed(TOY, listed), {"g2": ["b", "c"]})
    expected = [a for a in listed if a["g2"] in ("b", "c")]
    assert list(space.enumerate()) == expected
    rng = np.random.default_rng(0)
    assert {space.sample(rng) for _ in range(99)} == set(expected)
    # The other way round: a condition on what remains.
    other = Restricted(Narrowed(TOY, {"g2": ["b", "c"]}), lambda a: a["g0"] == "b", "b")
    drawn = {other.sample(rng) for _ in range(99)}
    assert drawn == {a for a in everything(TOY) if a["g2"] in ("b", "c") and a["g0"] == "b"}
    for a in drawn:
        assert other.decode(other.encode(a)) == a
    again = pickle.loads(pickle.dumps(Narrowed(NASBench201(), {"0-1": ["none"]})))
    assert again.size() == 5**5
