"""Each discrete strategy against what it should do, told independently."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from swath import strategies
from swath.core.architecture import Architecture
from swath.core.evaluation import Evaluation
from swath.core.history import History, Objective, Proposal, Trial
from swath.core.seeds import numpy_generator
from swath.estimators.predictors.kernel import KernelPredictor
from swath.spaces.restricted import Listed
from swath.strategies.evolution import Evolution, youngest
from swath.strategies.genetic import Genetic
from swath.strategies.local_search import LocalSearch
from swath.strategies.npenas import NPENAS
from swath.strategies.random import RandomSearch
from swath.strategies.successive_halving import SuccessiveHalving

Search = Callable[..., History]


def texts(history: History) -> list[str]:
    return ["".join(str(v) for _, v in trial.architecture.genes) for trial in history]


# Random search


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_random_trials_do_not_depend_on_the_batch(batch: int, toy: Any, search: Search) -> None:
    expected = texts(search(toy(), RandomSearch(batch=17), 40))
    assert texts(search(toy(), RandomSearch(batch=batch), 40)) == expected


def test_random_search_draws_uniformly(toy: Any, search: Search) -> None:
    # 45 networks: 9 palindromes, each drawn half as often as one of the 36 pairs.
    first = [texts(search(toy(), RandomSearch(batch=1), 1, seed=seed))[0] for seed in range(900)]
    palindromes = sum(text == text[::-1] for text in first)
    assert palindromes / 900 == pytest.approx(9 / 81, abs=4 * (8 / 81 / 900) ** 0.5)


# Regularised evolution


def slow_evolution(
    space: Any, seed: int, count: int, population: int, tournament: int
) -> list[str]:
    """Algorithm 1 of the paper with a queue whose oldest member dies, and no repeats."""
    taken: set[Architecture] = set()
    queue: list[tuple[float, Architecture]] = []
    tried = []
    while len(tried) < count:
        number = len(tried)
        rng = numpy_generator(seed, "evolution", number)
        if number < population:
            child = space.sample(rng)
            while space.canonical(child) in taken:
                child = space.sample(rng)
        else:
            places = rng.choice(population, tournament, replace=False)
            drawn = [queue[place] for place in places]
            parent = sorted(drawn, key=lambda member: -member[0])[0][1]  # stable: first of equals
            for attempt in itertools.count():
                child = parent
                for _ in range(1 + attempt // 20):
                    child = space.mutate(child, rng)
                if space.canonical(child) not in taken:
                    break
            queue.pop(0)
        taken.add(space.canonical(child))
        queue.append((sum(int(v) for _, v in child.genes), child))
        tried.append("".join(str(v) for _, v in child.genes))
    return tried


@pytest.mark.parametrize("seed", range(3))
def test_evolution_is_the_algorithm_of_the_paper(seed: int, toy: Any, search: Search) -> None:
    space = toy(genes=6)
    found = texts(search(space, Evolution(population=8, tournament=3), 100, seed=seed))
    assert found == slow_evolution(space, seed, 100, 8, 3)


def test_the_dead_are_no_parents(toy: Any) -> None:
    space = toy(genes=6, copies=False)
    # The best of all is the oldest, and older than the population is large.
    chains = ["222222", "000000", "000001", "000010", "000100"]
    trials = [
        Trial(i, Proposal(space.chain(chain)), Evaluation(float(chain.count("2"))))
        for i, chain in enumerate(chains)
    ]
    strategy = Evolution(population=4, tournament=4, batch=8)
    for proposal in strategy.propose(space, History(trials), 0):
        assert sum(v == "2" for _, v in proposal.architecture.genes) <= 1


def test_infeasible_trials_take_no_place_in_the_population(toy: Any) -> None:
    space = toy()
    trials = [
        Trial(i, Proposal(space.chain(c)), None if i in (1, 4) else Evaluation(1.0))
        for i, c in enumerate(["0000", "0001", "0002", "0010", "0011"])
    ]
    assert [trial.number for trial in youngest(History(trials), 2)] == [2, 3]
    assert [trial.number for trial in youngest(History(trials), 9)] == [0, 2, 3]


# Local search


def slow_climb(space: Any, place: Architecture, score: Callable[[Architecture], float]) -> int:
    """Return how many steps a best-improvement climb takes from a place to its optimum."""
    steps = 0
    while True:
        best = max(space.neighbours(place), key=score)
        if score(best) <= score(place):
            return steps
        place, steps = best, steps + 1


@pytest.mark.parametrize("options", [{}, {"batch": 3}, {"improvement": "first", "batch": 1}])
@pytest.mark.parametrize("seed", range(3))
def test_a_climb_ends_at_the_only_optimum(
    seed: int, options: dict[str, Any], toy: Any, search: Search
) -> None:
    # Each gene adds to the score, so the climb changes each gene once at most: 8 genes, 16
    # neighbours at each place, of 6561 architectures.
    space = toy(genes=8, copies=False)
    history = search(space, LocalSearch(initial=1, **options), 1 + 9 * 16, seed=seed)
    assert "22222222" in texts(history)


def test_a_climb_looks_at_all_neighbours_of_each_place(toy: Any, search: Search) -> None:
    space = toy(genes=5, copies=False)

    def score(architecture: Architecture) -> float:
        # Different for every architecture, so that the best neighbour is one only.
        return float(sum(int(v) * 3.1**i for i, (_, v) in enumerate(architecture.genes)))

    start = search(space, LocalSearch(initial=1), 1, score=score)[0].architecture
    steps = slow_climb(space, start, score)
    place, expected = start, {start}
    for _ in range(steps + 1):
        expected |= set(space.neighbours(place))
        place = max([place, *space.neighbours(place)], key=score)
    history = search(space, LocalSearch(initial=1), len(expected), score=score)
    assert history.architectures() == expected


def test_an_optimum_is_left_for_a_random_place(toy: Any, search: Search) -> None:
    space = toy(genes=5, copies=False)
    flat = search(space, LocalSearch(initial=2), 25, score=lambda a: 1.0)
    # On a plain every place is an optimum: two starts, the ten neighbours of the first, anew.
    first = flat[0].architecture
    neighbours = set(space.neighbours(first))
    around = neighbours - {flat[1].architecture}
    assert {t.architecture for t in flat[2 : 2 + len(around)]} == around
    assert len({t.architecture for t in flat[2 + len(around) : 4 + len(around)]} - neighbours) == 2


# Successive halving


def test_the_best_of_each_rung_climb(toy: Any, search: Search) -> None:
    space = toy(genes=5)
    history = search(space, SuccessiveHalving([1, 3, 9], number=18, eta=3))
    assert [trial.budget for trial in history] == [1] * 18 + [3] * 6 + [9] * 2
    for before, after in ((history[:18], history[18:24]), (history[18:24], history[24:])):
        kept = [t.architecture for t in after]
        order = sorted(before, key=lambda t: -sum(int(v) for _, v in t.architecture.genes))
        assert kept == [t.architecture for t in order[: len(after)]]


def test_hyperband_begins_later_with_fewer(toy: Any, search: Search) -> None:
    strategy = SuccessiveHalving([1, 3, 9], number=9, eta=3, brackets=3, hyperband=True)
    budgets = [trial.budget for trial in search(toy(genes=6), strategy)]
    # Table 1 of Li et al. for R = 9, eta = 3: 9, 3, 1; then 5, 1; then 3.
    assert budgets == [1] * 9 + [3] * 3 + [9] + [3] * 5 + [9] + [9] * 3


def test_the_infeasible_climb_no_higher(toy: Any, search: Search) -> None:
    def score(architecture: Architecture) -> float | None:
        return 1.0 if architecture["g0"] == "2" else None

    history = search(toy(genes=5), SuccessiveHalving([1, 2], number=12, eta=2), score=score)
    feasible = sum(t.evaluation is not None for t in history[:12])
    assert 0 < feasible < 12
    assert len(history) == 12 + min(6, feasible)
    assert all(t.evaluation is not None for t in history[12:])


def test_an_exhausted_space_is_still_halved(toy: Any, search: Search) -> None:
    history = search(toy(genes=2, choices=2), SuccessiveHalving([1, 2], number=9, eta=3))
    # 00, 01 = 10 and 11: three networks, and one of them at the larger budget.
    assert [trial.budget for trial in history] == [1, 1, 1, 2, 2, 2][:3] + [2] * (len(history) - 3)
    assert len(history) > 3
    assert texts(history)[3] == "11"


# NPENAS


@pytest.mark.parametrize("variant", ["refined", "published"])
def test_npenas_beats_random_search(variant: str, toy: Any, search: Search) -> None:
    space = toy(genes=8, copies=False)  # 6561
    strategy = NPENAS(variant=variant, predictor={"epochs": 40})  # type: ignore[arg-type]
    for seed in range(2):
        best = search(space, strategy, 70, seed=seed).best()
        rival = search(space, RandomSearch(), 70, seed=seed).best()
        assert best.evaluation.score > rival.evaluation.score + 1  # type: ignore[union-attr]


def distance(a: Architecture, b: Architecture) -> int:
    return sum(x != y for x, y in zip(a.genes, b.genes, strict=True))


@pytest.mark.parametrize("candidates", ["spread", "authors"])
def test_candidates_come_from_the_parents(candidates: Any, toy: Any, search: Search) -> None:
    space = toy(genes=8, copies=False)
    history = search(space, RandomSearch(), 30)
    strategy = NPENAS(variant="published", candidates=candidates, pool=12, parents=4, batch=4)
    taken = history.architectures()
    pool = strategy._mutants(space, history.ranked(), np.random.default_rng(0), taken)
    assert len(set(pool)) == 12
    assert not set(pool) & history.architectures()
    parents = [trial.architecture for trial in history.ranked()]
    if candidates == "authors":
        assert {distance(parents[0], child) for child in pool} == {1}
    else:
        for place, child in enumerate(pool):
            assert distance(parents[place // 3], child) == 1


def test_npenas_proposes_the_best_predicted_of_a_list(toy: Any, search: Search) -> None:
    whole = toy(genes=8, copies=False)
    rng = np.random.default_rng(0)
    listed = Listed(whole, list(dict.fromkeys(whole.sample(rng) for _ in range(300))))
    history = search(listed, RandomSearch(), 40)
    proposed = [p.architecture for p in NPENAS(batch=5).propose(listed, history, 0)]
    # Written out anew: all of the list that is left, ordered by the process alone.
    left = [a for a in listed.architectures if a not in history.architectures()]
    predictor = KernelPredictor()
    tried = [trial.architecture for trial in history]
    predictor.fit(listed, tried, np.array([history.merit(trial) for trial in history]))
    predicted = dict(zip(left, predictor.predict(left), strict=True))
    assert len(set(proposed)) == 5
    assert not set(proposed) & history.architectures()
    worst = min(predicted[architecture] for architecture in proposed)
    assert all(predicted[a] <= worst for a in left if a not in proposed)
    # To the end, and never twice.
    everything = search(listed, NPENAS(batch=50, initial=50, pool=50))
    assert len(everything) == len(everything.architectures()) == listed.size()


def test_npenas_finds_the_best_of_a_list_sooner_than_random(toy: Any, search: Search) -> None:
    whole = toy(genes=8, copies=False)
    rng = np.random.default_rng(0)
    listed = Listed(whole, list(dict.fromkeys(whole.sample(rng) for _ in range(1000))))
    most = max(sum(int(v) for _, v in a.genes) for a in listed.architectures)
    for seed in range(3):
        best = search(listed, NPENAS(), 60, seed=seed).best()
        assert best.evaluation.score == most  # type: ignore[union-attr]


def test_npenas_does_not_care_for_the_unit(toy: Any, search: Search) -> None:
    def scaled(factor: float, shift: float) -> list[str]:
        def score(architecture: Architecture) -> float:
            return shift + factor * sum(int(v) for _, v in architecture.genes)

        objectives = (Objective("score", "maximize" if factor > 0 else "minimize"),)
        strategy = NPENAS(predictor={"epochs": 10})
        return texts(search(toy(genes=6), strategy, 40, score=score, objectives=objectives))

    percent = scaled(4.0, 50.0)
    assert scaled(0.5, 0.0) == percent  # powers of two: no rounding comes between
    assert scaled(-4.0, 8.0) == percent


# Optuna's samplers


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("RandomSampler", {}),
        ("TPESampler", {"multivariate": True, "group": True}),
        ("NSGAIIISampler", {"population_size": 5}),
        ("QMCSampler", {}),
    ],
)
def test_samplers_of_optuna_propose(
    sampler: str, options: dict[str, Any], toy: Any, search: Search, capfd: Any
) -> None:
    space = toy(genes=5, least=3)
    history = search(
        space, strategies.create("optuna", sampler=sampler, options=options, batch=3), 21
    )
    assert len({space.canonical(trial.architecture) for trial in history}) == 21
    assert capfd.readouterr() == ("", "")


def test_tpe_learns(toy: Any, search: Search) -> None:
    space = toy(genes=8, copies=False)
    scores = [t.evaluation.score for t in search(space, strategies.create("tpe"), 50)]  # type: ignore[union-attr]
    # Random chains of eight operators 0, 1, 2 sum to 8 in the mean.
    assert np.mean(scores[-15:]) > 10.5


def test_nsga2_spreads_over_the_front(toy: Any, search: Search) -> None:
    # The more the better, the fewer squares the better: a 1 pays more than a 2.
    objectives = (Objective("score"), Objective("parameters", "minimize"))
    space = toy(genes=8, copies=False)
    strategy = strategies.create("nsga2", population_size=10)
    history = search(space, strategy, 80, objectives=objectives)

    def dominated(trials: Any) -> float:
        merits = [history.merits(t) for t in trials]
        beaten = [any(o != m and all(np.array(o) >= m) for o in merits) for m in merits]
        return float(np.mean(beaten))

    def lost(trials: Any) -> float:
        # With n ones and twos the fewest squares that give a sum s <= 8 are s.
        gaps = []
        for t in trials:
            score, squares = t.evaluation.score, t.evaluation.cost.parameters
            gaps.append(squares - (score if score <= 8 else 8 + 3 * (score - 8)))
        return float(np.mean(gaps))

    assert lost(history[-20:]) < lost(history[:20]) - 1


# The genetic search of one-shot supernets


@pytest.mark.parametrize("seed", range(5))
def test_genetic_children_have_the_genes_of_the_best(seed: int, toy: Any, search: Search) -> None:
    space = toy(genes=8, choices=4, copies=False)
    strategy = Genetic(population=12, parents=3, crossover=5, rate=0.25)
    history = search(space, strategy, 48, seed=seed)
    for start in range(12, 48, 12):
        best = sorted(history.trials[:start], key=lambda t: (-t.evaluation.score, t.number))[:3]
        parents = [trial.architecture for trial in best]
        # Of two parents, a gene comes from one or the other.
        crossed = {
            space.chain("".join(map(str, genes)))
            for pair in itertools.combinations(parents, 2)
            for genes in itertools.product(*({one[g.name] for one in pair} for g in space.genes))
        }
        for number in range(start, start + 5):
            untried = crossed - {trial.architecture for trial in history.trials[:number]}
            # Where they have no other child left, it is a random one.
            assert history[number].architecture in untried or not untried
    found = [trial.evaluation.score for trial in history]
    assert np.mean(found[36:]) > np.mean(found[:12])


def test_genetic_mutants_change_as_many_genes_as_the_rate_says(toy: Any, search: Search) -> None:
    space = toy(genes=10, choices=4, copies=False)
    first = search(space, Genetic(population=1, parents=1, crossover=0), 1)
    parent, changed = first[0].architecture, []
    for seed in range(400):
        strategy = Genetic(population=1, parents=1, crossover=0, rate=0.5)
        (proposal,) = strategy.propose(space, first, seed)
        changed.append(sum(proposal.architecture[g.name] != parent[g.name] for g in space.genes))
    # Each gene is drawn anew with probability 1/2, and is then another one in 3 of 4 draws.
    spread = (10 * 0.375 * 0.625 / 400) ** 0.5
    assert np.mean(changed) == pytest.approx(3.75, abs=4 * spread)
