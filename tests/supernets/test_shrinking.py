"""Shrinking and expanding: scores by hand and by brute force, what is dropped, sampled, merged."""

from __future__ import annotations

import collections
import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.core.architecture import Architecture, Gene
from swath.core.errors import NothingToSample
from swath.spaces.base import SearchSpace
from swath.spaces.narrowed import Narrowed
from swath.supernets.shrinking import (
    Operator,
    angle,
    covering_sample,
    dropped,
    importance,
    magnitude,
    merged_runs,
    operators,
    random_score,
    score,
    sensitivity,
    without,
)


class Toy(SearchSpace):
    """Genes of given numbers of choices."""

    name = "toy"

    def __init__(self, *counts: int) -> None:
        self.options = {}
        self.genes = tuple(Gene(f"g{i}", tuple("abcdefgh"[:n])) for i, n in enumerate(counts))


TOY = Toy(3, 2, 1, 3)
ALL = list(Narrowed(TOY, {}).enumerate())
A, B, C = (Operator("g0", value) for value in "abc")
P, Q = (Operator("g1", value) for value in "ab")


def children(*worths: float) -> dict[Architecture, float]:
    return dict(zip(ALL, worths, strict=True))


worth = st.floats(0.01, 1.0)


@given(st.lists(worth, min_size=len(ALL), max_size=len(ALL)))
@settings(max_examples=40)
def test_importance_is_the_mean_of_the_children_that_contain_an_operator(
    worths: list[float],
) -> None:
    found = importance(TOY, children(*worths))
    assert list(found) == operators(TOY)  # without the only choice of g2
    assert {o.gene for o in found} == {"g0", "g1", "g3"}
    for operator, value in found.items():
        of = [w for a, w in zip(ALL, worths, strict=True) if a[operator.gene] == operator.value]
        assert value == pytest.approx(statistics.mean(of))
    spread = sensitivity(found)
    for operator in found:
        same = [value for o, value in found.items() if o.gene == operator.gene]
        assert spread[operator] == pytest.approx(statistics.pvariance(same), abs=1e-15)


def test_importance_needs_every_operator_and_finite_worths() -> None:
    with pytest.raises(NothingToSample, match="none of 12 children has 'c' at gene 'g0'"):
        importance(TOY, {a: 0.5 for a in ALL if a["g0"] != "c"})
    with pytest.raises(ValueError, match="nan; leave the child out"):
        importance(TOY, {a: math.nan for a in ALL})


def test_scores_by_hand() -> None:
    # SI has mean 0.5; variances are 2/300 of g0 and 0.04 of g1, their mean over operators 0.02.
    si = {A: 0.4, B: 0.5, C: 0.6, P: 0.3, Q: 0.7}
    assert sensitivity(si) == pytest.approx({A: 1 / 150, B: 1 / 150, C: 1 / 150, P: 0.04, Q: 0.04})
    assert score(si) == pytest.approx({A: 2.4, B: 3.0, C: 3.6, P: 0.3, Q: 0.7})
    # (x - mean) / (max - min): SI -.25 0 .25 -.5 .5; SC -.4 three times, .6 twice.
    expected = {A: 0.625, B: 0.0, C: -0.625, P: -5 / 6, Q: 5 / 6}
    assert score(si, "range") == pytest.approx(expected)
    # A gene with one operator changes nothing and has no score.
    assert score({**si, Operator("g2", "a"): 99.0}) == score(si)
    assert score({Operator("g2", "a"): 1.0}) == {}


def test_the_more_sensitive_gene_goes_first_whatever_its_operators_are_worth() -> None:
    """What Eq. 7 comes to with x / mean: the best operator of g1 ranks below the worst of g0."""
    si = {A: 0.58, B: 0.60, C: 0.62, P: 0.5, Q: 0.9}
    assert dropped(score(si), 1) == dropped(si, 1) == [P]
    assert max(si, key=si.__getitem__) == Q
    assert score(si)[Q] < score(si)[A]


def test_operators_that_are_all_alike_are_dropped_last() -> None:
    si = {A: 0.1, B: 0.1, C: 0.1, P: 0.5, Q: 0.7}
    assert sensitivity(si)[A] == 0.0
    assert [score(si)[o] for o in (A, B, C)] == [math.inf] * 3
    assert dropped(score(si), 3) == [P, A, B]
    assert set(score({A: 0.2, B: 0.2, P: 0.3, Q: 0.3}).values()) == {math.inf}
    # By range: SI of 0 is the mean here, above and below it are infinite with their sign.
    si = {A: 1.0, B: 1.0, C: 1.0, P: 0.0, Q: 2.0}
    assert [score(si, "range")[o] for o in (A, B, C)] == [0.0] * 3
    flat = {A: 0.1, B: 0.1, P: 0.3, Q: 0.3}
    assert [score(flat, "range")[o] for o in (A, P)] == [-math.inf, math.inf]


@pytest.mark.parametrize("si", [{A: -0.1, B: 0.5}, {A: 0.0, B: 0.0}])
def test_a_mean_that_is_no_measure_is_refused(si: dict[Operator, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        score(si)


scorings = st.dictionaries(
    st.builds(Operator, st.sampled_from(["g0", "g1", "g2", "g3"]), st.sampled_from("abcdef")),
    st.integers(0, 5).map(float),
    min_size=1,
)


@given(scorings, st.integers(0, 30))
def test_dropping_is_walking_up_from_the_worst(scores: dict[Operator, float], k: int) -> None:
    ascending = sorted(scores, key=lambda o: scores[o])
    expected: list[Operator] = []
    for place, operator in enumerate(ascending):
        better = any(other.gene == operator.gene for other in ascending[place + 1 :])
        if len(expected) < k and better:
            expected.append(operator)
    gone = dropped(scores, k)
    assert gone == expected
    left = scores.keys() - set(gone)
    assert {o.gene for o in left} == {o.gene for o in scores}
    assert len(gone) == min(k, len(scores) - len({o.gene for o in scores}))


def test_dropping_refuses_what_has_no_order() -> None:
    with pytest.raises(ValueError, match="cannot drop -1"):
        dropped({A: 1.0}, -1)
    with pytest.raises(ValueError, match=r"g1.*no score"):
        dropped({A: 1.0, P: math.nan}, 1)


def test_what_remains_after_dropping() -> None:
    space = without(TOY, [A, Operator("g3", "b")])
    assert {g.name: "".join(map(str, g.choices)) for g in space.genes} == {
        "g0": "bc",
        "g1": "ab",
        "g2": "a",
        "g3": "ac",
    }
    again = without(space, [B])
    assert again.space is TOY
    assert again.size() == 1 * 2 * 1 * 2
    assert operators(again)[0] == P
    with pytest.raises(NothingToSample, match="g1"):
        without(TOY, [P, Q])


def test_shrinking_finds_the_best_of_a_space_where_operators_add_up() -> None:
    """Where P is a sum over genes, SI ranks operators as the sum does and drops the worst."""
    rng = np.random.default_rng(0)
    whole: SearchSpace = Toy(4, 4, 4)
    merit = {operator: float(rng.random()) for operator in operators(whole)}

    def worth_of(a: Architecture) -> float:
        return sum(merit[Operator(*gene)] for gene in a.genes)

    best = max(Narrowed(whole, {}).enumerate(), key=worth_of)
    space = whole
    for _ in range(3):
        si = importance(space, {a: worth_of(a) for a in Narrowed(space, {}).enumerate()})
        space = without(space, dropped(si, 3))
    assert list(Narrowed(space, {}).enumerate()) == [best]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.integers(1, 30),
    st.integers(0, 99),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_a_sample_covers_every_operator(
    counts: list[int], per_operator: int, seed: int, dump: int
) -> None:
    space = Toy(*counts)

    def allows(a: Architecture) -> bool:
        asked[a] += 1
        return dump == 0 or (sum(len(str(v)) + ord(str(v)) for _, v in a.genes) % 4) != dump

    asked: collections.Counter[Architecture] = collections.Counter()
    everything = [a for a in Narrowed(space, {}).enumerate() if allows(a)]
    asked.clear()
    there = {o: sum(a[o.gene] == o.value for a in everything) for o in operators(space)}
    rng = np.random.default_rng(seed)
    if not all(there.values()):
        with pytest.raises(NothingToSample, match="loosen the constraint"):
            covering_sample(space, per_operator, rng, allows)
        return
    found = covering_sample(space, per_operator, rng, allows)
    assert set(asked.values()) <= {1}
    assert len(set(found)) == len(found)
    assert set(found) <= set(everything)
    for o in operators(space):
        assert sum(a[o.gene] == o.value for a in found) >= min(per_operator, there[o])
    if operators(space) and len(everything) <= per_operator * max(counts) and not dump:
        assert set(found) == set(everything)
    assert found == covering_sample(space, per_operator, np.random.default_rng(seed), allows)


def test_a_large_space_is_drawn_from_and_not_listed() -> None:
    space = Toy(*[6] * 15)  # 4.7e11
    found = covering_sample(space, 20, np.random.default_rng(0))
    counts = collections.Counter(Operator(*gene) for a in found for gene in a.genes)
    assert min(counts[o] for o in operators(space)) >= 20
    # 6 * 20 at least; random draws overshoot for some, but far from 20 for each of 90 operators.
    assert 120 <= len(found) < 400
    with pytest.raises(NothingToSample, match="0 of 20 children with 'a' at gene 'g0'"):
        covering_sample(space, 20, np.random.default_rng(0), lambda a: a["g0"] != "a")
    with pytest.raises(ValueError, match="not 0"):
        covering_sample(space, 0, np.random.default_rng(0))


def test_sampled_importance_comes_near_the_true_one() -> None:
    space = Toy(5, 5, 5, 5, 5)
    rng = np.random.default_rng(1)
    merit = {o: float(rng.random()) for o in operators(space)}
    drawn = covering_sample(space, 200, rng)
    assert 1000 <= len(drawn) < 1500
    si = importance(space, {a: sum(merit[Operator(*g)] for g in a.genes) for a in drawn})
    # The mean over everything is an operator's own merit plus the mean merit of the other genes.
    means = {
        f"g{i}": statistics.mean(merit[Operator(f"g{i}", v)] for v in "abcde") for i in range(5)
    }
    for o, value in si.items():
        truth = merit[o] + sum(m for gene, m in means.items() if gene != o.gene)
        # Four genes of standard deviation at most 0.5 each: 1 / sqrt(200) of them, four times.
        assert value == pytest.approx(truth, abs=4 * 1.0 / math.sqrt(200))


def test_random_scores_order_operators_in_every_way() -> None:
    rng = np.random.default_rng(0)
    orders = collections.Counter(
        tuple(sorted(s := random_score([A, B, C], rng), key=s.__getitem__)) for _ in range(600)
    )
    assert len(orders) == 6
    assert sum((n - 100) ** 2 / 100 for n in orders.values()) < 20.5  # 5 degrees of freedom, 0.001


def test_magnitudes_are_probabilities_of_each_gene() -> None:
    found = magnitude({A: 1.0, B: 2.0, C: 3.0, P: 1000.0, Q: 1000.0})
    total = math.e + math.e**2 + math.e**3
    expected = {A: math.e / total, B: math.e**2 / total, C: math.e**3 / total, P: 0.5, Q: 0.5}
    assert found == pytest.approx(expected)
    assert dropped(found, 2) == [A, B]


vectors = st.lists(st.floats(-10, 10), min_size=2, max_size=6).filter(
    lambda v: math.hypot(*v) > 1e-3
)


@given(vectors, st.floats(0.1, 9), st.floats(0, math.pi))
def test_angles_of_turned_vectors(vector: list[float], length: float, turn: float) -> None:
    start = np.array(vector)
    side = np.roll(start, 1) + np.arange(len(vector)) + 20.5  # no multiple of it
    side -= start * (side @ start) / (start @ start)
    if np.linalg.norm(side) < 1e-6:
        return
    side *= np.linalg.norm(start) / np.linalg.norm(side)
    turned = length * (math.cos(turn) * start + math.sin(turn) * side)
    # arccos is flat at its ends: rounding of 1e-16 there is 1e-8 of the angle.
    assert angle([start], [turned]) == pytest.approx(turn, abs=1e-6)
    cut = len(vector) // 2
    parts = [[v[:cut], v[cut:, None]] for v in (start, turned)]
    assert angle(*parts) == pytest.approx(turn, abs=1e-6)


def test_angles_need_weights_of_one_shape() -> None:
    assert angle([np.ones(3)], [np.ones(3, np.float32)]) == pytest.approx(0.0, abs=1e-7)
    assert angle([np.ones(3)], [-np.ones(3)]) == pytest.approx(math.pi)
    with pytest.raises(ValueError, match="shape"):
        angle([np.ones(3)], [np.ones((3, 1))])
    for nothing in ([], [np.zeros(3)]):
        with pytest.raises(ValueError, match="no direction"):
            angle(nothing, nothing)


def longest_run(counts: list[int], start: int, threshold: int) -> int:
    """The end of the longest run from ``start`` that stays within the threshold."""
    ends = range(start, len(counts) + 1)
    return max(end for end in ends if math.prod(counts[start:end]) <= threshold)


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 60))
def test_runs_are_the_longest_from_each_start(counts: list[int], threshold: int) -> None:
    expected = []
    place = 0
    while place < len(counts):
        end = longest_run(counts, place, threshold)
        if end - place > 1 and math.prod(counts[place:end]) > 1:
            expected.append(range(place, end))
        place = max(end, place + 1)
    runs = merged_runs(counts, threshold)
    assert runs == expected
    for run in runs:
        assert len(run) >= 2
        assert 1 < math.prod(counts[place] for place in run) <= threshold
    assert all(a.stop <= b.start for a, b in itertools.pairwise(runs))


@pytest.mark.parametrize(
    ("counts", "threshold", "runs"),
    [
        ([3, 2, 3, 2], 6, [range(0, 2), range(2, 4)]),  # the toy example's threshold
        ([7] * 4, 50, [range(0, 2), range(2, 4)]),
        ([2, 2, 2, 2, 1, 1], 50, [range(0, 6)]),  # NAS-Bench-201 with 10 operators left
        ([4, 4, 3, 3, 3, 3], 50, [range(0, 3), range(3, 6)]),  # and with 20
        ([60, 60], 50, []),
        ([1, 1, 1], 50, []),
        ([60, 1, 4, 60], 50, [range(1, 3)]),
        ([], 50, []),
    ],
)
def test_merged_runs_by_hand(counts: list[int], threshold: int, runs: list[range]) -> None:
    assert merged_runs(counts, threshold) == runs


@pytest.mark.parametrize(("counts", "threshold"), [([2, 0], 6), ([2], 0)])
def test_empty_layers_cannot_be_merged(counts: list[int], threshold: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        merged_runs(counts, threshold)
