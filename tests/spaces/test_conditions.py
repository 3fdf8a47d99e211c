"""Architectures changed until they meet a condition that few meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import NothingToSample
from swath.spaces.conditions import Condition, mended
from swath.spaces.narrowed import Narrowed
from swath.spaces.restricted import Restricted
from swath.supernets.operators import Operator, covering_sample, operators, reachable

SPACE = spaces.create("nasbenchmacro")  # 3^8 chains
WEIGHTS = {value: weight for weight, value in enumerate(SPACE.genes[0].choices)}


def weight(architecture: Architecture) -> int:
    return sum(WEIGHTS[value] for _, value in architecture.genes)


def at_most(limit: int) -> Condition:
    return Condition(lambda one: max(weight(one) - limit, 0) / max(limit, 1))


@given(st.integers(0, 10), st.integers(0, 99))
@settings(max_examples=40)
def test_what_is_changed_meets_the_condition(limit: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = mended(SPACE, SPACE.sample(rng), at_most(limit), rng)
    assert found is not None
    SPACE.validate(found)
    assert weight(found) <= limit


def test_what_nothing_meets_is_not_found() -> None:
    rng = np.random.default_rng(0)
    assert mended(SPACE, SPACE.sample(rng), Condition(lambda one: 1 + weight(one)), rng) is None
    space = Restricted(SPACE, Condition(lambda one: 1.0), "nothing")
    with pytest.raises(NothingToSample, match="restriction to nothing"):
        space.sample(rng)


def test_a_condition_that_one_of_thousands_meets_is_drawn_from() -> None:
    """The lightest of 6,561 chains would be drawn once in 6,561 times."""
    asked = []

    def excess(one: Architecture) -> float:
        asked.append(one)
        return float(weight(one))

    space = Restricted(SPACE, Condition(excess), "the lightest")
    assert weight(space.sample(np.random.default_rng(0))) == 0
    assert len(asked) < 300
    assert len(set(asked)) == len(asked)  # each is asked about once


@pytest.mark.parametrize("limit", [0, 1, 2, 5])
def test_no_operator_is_lost_that_an_allowed_architecture_has(limit: int) -> None:
    allowed = [one for one in Narrowed(SPACE, {}).enumerate() if weight(one) <= limit]
    held = {Operator(gene, value) for one in allowed for gene, value in one.genes}
    kept = reachable(Narrowed(SPACE, {}), np.random.default_rng(1), at_most(limit))
    assert {Operator(g.name, v) for g in kept.genes for v in g.choices} == held


def test_children_are_found_where_few_are_allowed() -> None:
    """Of 6,561 chains 45 have a weight of at most 2; each operator left is in two of them."""
    limit = at_most(2)
    space = reachable(Narrowed(SPACE, {}), np.random.default_rng(1), limit)
    children = covering_sample(space, 2, np.random.default_rng(2), limit)
    assert len(set(children)) == len(children)
    assert all(weight(one) <= 2 for one in children)
    for operator in operators(space):
        of_all = sum(
            one[operator.gene] == operator.value and weight(one) <= 2 for one in space.enumerate()
        )
        found = sum(one[operator.gene] == operator.value for one in children)
        assert found >= min(2, of_all)
