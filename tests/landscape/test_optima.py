"""Optima, basins and their estimates against functions with known numbers and brute force."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.estimators._table import Table
from swath.landscape.fitness import Landscape, of_mapping, of_table
from swath.landscape.network import global_optima_reached, optima_network, parts
from swath.landscape.optima import (
    Climbs,
    birthday,
    chao,
    find_optima,
    meetings,
    neutrality,
    published_birthday,
    sampled_climbs,
)


def traps(bits: tuple[int, ...]) -> float:
    """Two traps of three bits: 2 x 2 optima, of which one is best."""
    return sum(4.0 if all(b) else 2.0 - sum(b) for b in (bits[:3], bits[3:]))


def test_onemax_has_one_optimum_and_traps_have_four(make: Callable[..., Landscape]) -> None:
    ones = find_optima(make(lambda x: float(sum(x)), 6))
    assert (ones.count, ones.strict.sum(), ones.weak.sum()) == (1, 1, 1)
    assert ones.basins.tolist() == [64]
    assert ones.global_basin == 1
    assert ones.effective == 1
    np.testing.assert_array_equal(ones.steps, 6 - make(lambda x: float(sum(x)), 6).fitness)

    trap = make(traps, 6)
    found = find_optima(trap)
    assert found.count == 4
    assert found.strict.sum() == 4
    assert sorted(trap.fitness[found.strict].tolist()) == [4, 6, 6, 8]
    assert len(found.best) == 1
    assert sorted(found.basins.tolist()) == sorted(slow_basins(trap).values())


def slow_climb(landscape: Landscape, place: int) -> int:
    """Best improvement in plain words; of equals the first."""
    graph, merit = landscape.graph, landscape.merit
    while True:
        around = graph.neighbours[place, : graph.degrees[place]].tolist()
        best = max(around, key=lambda one: (merit[one], -one))
        if merit[best] <= merit[place]:
            return place
        place = best


def slow_plateaus(landscape: Landscape) -> dict[int, frozenset[int]]:
    """The weak optima that hang together, by a search through each."""
    graph, merit = landscape.graph, landscape.merit
    around = [graph.neighbours[i, : graph.degrees[i]].tolist() for i in range(len(merit))]
    weak = {i for i in range(len(merit)) if all(merit[o] <= merit[i] for o in around[i])}
    found: dict[int, frozenset[int]] = {}
    for start in weak:
        group, todo = {start}, [start]
        while todo:
            here = todo.pop()
            new = {o for o in around[here] if o in weak and merit[o] == merit[here]} - group
            group |= new
            todo += new
        found[start] = frozenset(group)
    return found


def slow_basins(landscape: Landscape) -> Counter[frozenset[int]]:
    plateaus = slow_plateaus(landscape)
    return Counter(plateaus[slow_climb(landscape, i)] for i in range(len(landscape)))


@given(st.lists(st.integers(0, 4), min_size=27, max_size=27), st.booleans())
def test_small_spaces_by_brute_force(
    make: Callable[..., Landscape], values: list[int], minimise: bool
) -> None:
    landscape = make(
        lambda x: float(values[9 * x[0] + 3 * x[1] + x[2]]), 3, 3,
        direction="minimize" if minimise else "maximize",
    )  # fmt: skip
    found = find_optima(landscape)
    plateaus, basins = slow_plateaus(landscape), slow_basins(landscape)
    assert set(np.flatnonzero(found.weak).tolist()) == set(plateaus)
    assert found.count == len(set(plateaus.values()))
    merit, around = landscape.merit, landscape.graph.neighbours
    assert found.strict.tolist() == [
        bool((merit[a] < merit[i]).all()) for i, a in enumerate(around)
    ]
    for number in range(found.count):
        group = frozenset(np.flatnonzero(found.plateaus == number).tolist())
        assert found.basins[number] == basins[group]
        assert number in found.ends[list(group)]
    best = {i for i in plateaus if merit[i] == merit.max()}
    assert found.global_basin == pytest.approx(
        sum(basins[group] for group in {plateaus[i] for i in best}) / 27
    )
    # A climb looks at its start and at all neighbours of each place.
    np.testing.assert_array_equal(found.evaluations, 1 + 6 * (found.steps + 1))
    transitions(landscape, found)


def transitions(landscape: Landscape, found: object) -> None:
    """The network, edge by edge."""
    net = optima_network(landscape, found)  # type: ignore[arg-type]
    ends, basins = found.ends, found.basins  # type: ignore[attr-defined]
    weights = np.zeros((len(basins), len(basins)))
    for one in range(len(landscape)):
        around = landscape.graph.neighbours[one, : landscape.graph.degrees[one]]
        for other in around:
            weights[ends[one], ends[other]] += 1 / (len(around) * basins[ends[one]])
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert net.edges == (weights > 0).sum() - (np.diag(weights) > 0).sum()
    assert net.leaving == pytest.approx(1 - np.diag(weights).mean())
    assert net.largest == basins.max() / len(landscape)
    best = set(found.best.tolist())  # type: ignore[attr-defined]
    rest = [one for one in range(len(basins)) if one not in best]
    if rest:
        reach = [any(weights[one, b] > 0 for b in best) for one in rest]
        assert net.to_best == pytest.approx(sum(reach) / len(rest))
    else:
        assert net.to_best is None


def test_a_flat_landscape_is_one_plateau(make: Callable[..., Landscape]) -> None:
    flat = make(lambda x: 1.0, 4)
    found = find_optima(flat)
    assert (found.count, found.strict.sum(), found.weak.sum()) == (1, 0, 16)
    assert neutrality(flat, rng=np.random.default_rng(0)).value == 1


def test_a_plateau_with_a_way_up_is_no_optimum(make: Callable[..., Landscape]) -> None:
    # Everything below three ones is level; a climb from afar stops there, for no step is better.
    landscape = make(lambda x: float(max(0, sum(x) - 2)), 4)
    found = find_optima(landscape)
    assert found.weak.sum() == 1 + sum(1 for x in landscape.codes if x.sum() <= 1)
    assert found.count == 2
    assert found.global_basin == (1 + 4 + 6) / 16


def test_neutrality_counts_equal_neighbours(make: Callable[..., Landscape]) -> None:
    rng = np.random.default_rng(0)
    landscape = make(lambda x: float(x[0]) + 0.01 * x[1], 5)  # three of five genes do nothing
    found = neutrality(landscape, rng=rng)
    assert (found.value, found.low, found.high) == pytest.approx((0.6, 0.6, 0.6))
    assert neutrality(landscape, 0.02, rng=rng).value == pytest.approx(0.8)


def test_parts_are_counted(strings: type) -> None:
    space = strings(6)
    chosen = [one for one in space.all() if one["g0"] == one["g1"]]
    halves = of_mapping(space, dict.fromkeys(chosen, 1.0), neighbourhood="space")
    assert parts(halves) == 2
    whole = of_mapping(space, dict.fromkeys(space.all(), 1.0))
    assert parts(whole) == 1


def test_the_birthday_figure_is_the_published_one() -> None:
    # k = 94.0 gives 6,373 in the authors' notebook.
    assert int(published_birthday(94)) == 6373
    climbs = Climbs(np.zeros((16, 200), int), np.full(16, 94))
    assert "published formula 6,373" in birthday(climbs).note


def test_chao_is_a_lower_bound_with_an_interval() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.dirichlet(np.full(60, 0.6))
    inside, values = 0, []
    for _ in range(40):
        ends = rng.choice(60, size=(4, 60), p=sizes)
        found = chao(Climbs(ends, np.zeros(4, int)))
        assert found.value is not None
        assert found.low == len(np.unique(ends)) <= found.value
        values.append(found.value)
        inside += found.high is None or found.high >= 60
    assert np.mean(values) <= 60
    assert inside >= 30
    everything = chao(Climbs(np.arange(12).repeat(3).reshape(4, 9), np.zeros(4, int)))
    assert (everything.value, everything.low, everything.high) == (12, 12, None)


@given(st.lists(st.integers(0, 4), min_size=3, max_size=12))
def test_meetings_are_counted_pair_by_pair(ends: list[int]) -> None:
    def slow(ends: list[int]) -> float:
        pairs = list(itertools.combinations(ends, 2))
        met = sum(a == b for a, b in pairs)
        return len(pairs) / met if met else math.inf

    found = meetings(Climbs(np.array([ends]), np.zeros(1, int)))
    if math.isinf(slow(ends)):
        assert found.value is None
        return
    assert found.value == pytest.approx(slow(ends))
    without = [slow(ends[:i] + ends[i + 1 :]) for i in range(len(ends))]
    if math.inf in without:
        assert found.low is found.high is None
        return
    logs = np.log(without)
    reach = math.exp(1.96 * math.sqrt((len(ends) - 1) * logs.var()))
    assert (found.low, found.high) == pytest.approx((slow(ends) / reach, slow(ends) * reach))


def test_no_repeat_is_said_in_words() -> None:
    climbs = Climbs(np.arange(20).reshape(2, 10), np.zeros(2, int))
    assert birthday(climbs).value is meetings(climbs).value is None
    assert "no two of 10 climbs" in birthday(climbs).note


@pytest.mark.parametrize(
    ("table", "metric", "optima"),
    [("nas_bench_201", "cifar100-test", 24), ("nas_bench_macro", "cifar10-test", 15)],
)
def test_tables_by_brute_force_and_by_climbs(
    table: str, metric: str, optima: int, published: Callable[[str], Table]
) -> None:
    landscape = of_table(published(table), metric)
    found = find_optima(landscape)
    space, fitness = (
        landscape.space,
        dict(zip(landscape.architectures, landscape.fitness.tolist(), strict=True)),
    )
    tops = np.flatnonzero(found.weak)
    assert found.count == optima
    for place in tops:  # by the space's own neighbours and the table's own figures
        one = landscape.architectures[place]
        assert all(fitness[other] <= fitness[one] for other in space.neighbours(one))
    rng = np.random.default_rng(0)
    for place in rng.integers(len(landscape), size=30):
        assert found.ends[place] == found.plateaus[slow_climb(landscape, int(place))]
    climbs = sampled_climbs(found, 16, 200, rng)
    assert chao(climbs).low <= optima  # type: ignore[operator]
    met = len(np.unique(climbs.ends))
    assert optima - 3 <= met <= optima
    # Basins differ: it is the effective number that is estimated, and not 24 or 15.
    for estimate in (birthday(climbs), meetings(climbs)):
        assert estimate.value is not None
        assert estimate.value < 0.7 * optima
    share = global_optima_reached(found, rng=rng)
    assert share.low < found.global_basin < share.high  # type: ignore[operator]
