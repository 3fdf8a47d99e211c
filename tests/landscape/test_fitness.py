"""A landscape knows its models, their fitness, and who neighbours whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, RecipeError
from swath.core.evaluation import Cost, Evaluation
from swath.estimators._table import Column, Table
from swath.landscape.fitness import Landscape, of_mapping, of_study, of_table
from swath.landscape.neighbours import by_encoding, by_genes, from_edges
from swath.spaces.restricted import Listed
from swath.study.studies import run_study


def neighbour_sets(landscape: Landscape) -> dict[Architecture, set[Architecture]]:
    graph, models = landscape.graph, landscape.architectures
    return {
        one: {models[place] for place in graph.neighbours[row, : graph.degrees[row]]}
        for row, one in enumerate(models)
    }


@pytest.mark.parametrize("name", ["nasbench201", "nasbenchmacro"])
def test_neighbours_of_a_sample_are_those_of_the_space(name: str) -> None:
    space = spaces.create(name)
    rng = np.random.default_rng(0)
    start = space.sample(rng)
    near = [start, *space.neighbours(start)]
    models = dict.fromkeys([*near, *(space.sample(rng) for _ in range(40))])
    landscape = of_mapping(space, dict.fromkeys(models, 0.5), neighbourhood="space")
    expected = {one: {n for n in space.neighbours(one) if n in models} for one in models}
    assert neighbour_sets(landscape) == expected
    everyone = sum(len(list(space.neighbours(one))) for one in models)
    assert landscape.graph.missing == everyone - sum(map(len, expected.values()))


def test_a_whole_table_has_all_neighbours(published: Callable[[str], Table]) -> None:
    landscape = of_table(published("nas_bench_201"), "cifar100-test")
    assert landscape.complete
    assert landscape.graph.missing == 0
    assert landscape.graph.neighbours.shape == (15625, 24)
    space = landscape.space
    sets = neighbour_sets(landscape)
    for row in (0, 777, 15624):
        one = landscape.architectures[row]
        assert sets[one] == set(space.neighbours(one))
    assert landscape.copies == 15625 - 6466  # unique cells, NAS-Bench-201 paper, section 2.1
    assert landscape.fitness.max() == pytest.approx(0.735133, abs=1e-6)  # 73.51 %, their Table 5
    assert list(landscape.stages) == [12, 200]


def test_a_table_of_a_part_takes_the_nearest(published: Callable[[str], Table]) -> None:
    landscape = of_table(published("hytas_indian"))
    assert not landscape.complete
    listed = Listed(landscape.space, landscape.architectures)
    sets = neighbour_sets(landscape)
    for row in (0, 999, 1999):
        one = landscape.architectures[row]
        assert sets[one] == set(listed.neighbours(one))
    with pytest.raises(RecipeError, match="cannot have 0 nearest"):
        of_table(published("hytas_indian"), nearest=0)


@given(st.lists(st.integers(0, 255), min_size=2, max_size=60, unique=True))
def test_encodings_one_place_apart_are_neighbours(rows: list[int]) -> None:
    codes = ((np.array(rows)[:, None] >> np.arange(8)) & 1).astype(np.uint8)
    graph = by_encoding(codes)
    apart = (codes[:, None] != codes).sum(-1)
    for row in range(len(rows)):
        expected = np.flatnonzero(apart[row] == 1).tolist()
        assert graph.neighbours[row, : graph.degrees[row]].tolist() == expected


@given(st.sets(st.tuples(*[st.integers(0, 2)] * 3), min_size=2))
def test_models_one_gene_apart_are_neighbours(rows: set[tuple[int, ...]]) -> None:
    codes = np.array(sorted(rows), np.uint8)
    graph = by_genes(codes, [3, 3, 3])
    apart = (codes[:, None] != codes).sum(-1)
    assert graph.missing == 6 * len(codes) - (apart == 1).sum()
    for row in range(len(codes)):
        expected = np.flatnonzero(apart[row] == 1).tolist()
        assert graph.neighbours[row, : graph.degrees[row]].tolist() == expected
        assert set(graph.neighbours[row, graph.degrees[row] :].tolist()) <= {row}


def test_a_space_too_large_for_keys_is_refused() -> None:
    with pytest.raises(RecipeError, match="'nearest'"):
        by_genes(np.zeros((2, 64), np.uint8), [2] * 64)


def test_spaces_with_neighbours_of_their_own_are_asked(strings: Any) -> None:
    class Ring(strings):  # type: ignore[misc]
        def neighbours(self, architecture: Architecture) -> Any:
            value = int(architecture["g0"])
            for other in (value - 1, value + 1):
                yield self.architecture({"g0": other % 9})

    ring = Ring(1, 9)
    models = ring.all()
    landscape = of_mapping(ring, {one: float(i) for i, one in enumerate(models)})
    assert landscape.neighbourhood == "one step of the space"
    assert neighbour_sets(landscape) == {one: set(ring.neighbours(one)) for one in models}
    half = of_mapping(
        ring, {one: float(i) for i, one in enumerate(models[:5])}, neighbourhood="space"
    )
    assert half.graph.missing == 2
    assert half.graph.degrees.tolist() == [1, 2, 2, 2, 1]


def test_gaps_are_left_out_and_told() -> None:
    space = spaces.create("nasbenchmacro")
    start = space.from_digits("00000000")  # type: ignore[attr-defined]
    models = [start, *space.neighbours(start)]
    values = np.arange(len(models), dtype=float)
    values[3] = np.nan
    table = Table.of("own", models, [Column("accuracy", values, unit="percent")], space)
    landscape = of_table(table, neighbourhood="space")
    assert len(landscape) == len(models) - 1
    assert models[3] not in landscape.architectures
    assert landscape.fitness[-1] == values[-1] / 100
    assert "1 models without accuracy are left out" in landscape.notes


def test_what_makes_no_landscape_is_refused(strings: Any) -> None:
    space = strings(6)
    few = dict.fromkeys(space.all()[:3], 1.0)
    with pytest.raises(RecipeError, match="at least 5"):
        of_mapping(space, few)
    apart = [one for one in space.all() if sum(int(v) for _, v in one.genes) % 2 == 0]
    with pytest.raises(RecipeError, match="no two of the 32 models"):
        of_mapping(space, dict.fromkeys(apart, 1.0), neighbourhood="space")
    assert of_mapping(space, dict.fromkeys(apart, 1.0)).graph.degrees.min() >= 20
    with pytest.raises(RecipeError, match="no two"):  # one-hot genes differ in two places
        of_mapping(space, dict.fromkeys(space.all(), 1.0), neighbourhood="encoding")


def test_the_order_of_genes_does_not_matter(strings: Any) -> None:
    space = strings(4)
    plain = {one: float(i) for i, one in enumerate(space.all())}
    turned = {
        Architecture(one.space, one.genes[::-1]) if i % 2 else one: value
        for i, (one, value) in enumerate(plain.items())
    }
    assert neighbour_sets(of_mapping(space, turned)) == neighbour_sets(of_mapping(space, plain))
    with pytest.raises(InvalidArchitecture, match="twice"):
        of_mapping(space, plain | turned)
    with pytest.raises(InvalidArchitecture, match="'g4' is no gene"):
        of_mapping(space, {**plain, strings(5).all()[0]: 1.0})


def test_another_figure_keeps_the_graph(strings: Any) -> None:
    space = strings(4)
    landscape = of_mapping(space, {one: float(i) for i, one in enumerate(space.all())})
    loss = landscape.with_fitness(-landscape.fitness, "loss", "minimize")
    assert loss.graph is landscape.graph
    np.testing.assert_array_equal(loss.merit, landscape.merit)
    with pytest.raises(RecipeError, match="'loss' is not known of 1 of the 16 models"):
        landscape.with_fitness(np.where(landscape.fitness == 3, np.nan, 1.0), "loss")
    with pytest.raises(RecipeError, match="'loss' has 15 values and landscape 16 models"):
        landscape.with_fitness(landscape.fitness[1:], "loss")


class Count:
    """An estimator of the macro space: how many layers are of each kind, at two budgets."""

    direction = "maximize"
    budgets = (1, 5)

    def cost(self, architecture: Architecture) -> Cost:
        return Cost()

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        return Evaluation(sum(len(str(v)) for _, v in architecture.genes) + float(budget or 5))


def test_a_study_is_a_source() -> None:
    from swath import strategies

    space = spaces.create("nasbenchmacro")
    study = run_study(space, strategies.create("random"), Count(), trials=40, seed=1)
    landscape = of_study(study)
    assert dict(zip(landscape.architectures, landscape.fitness, strict=True)) == {
        trial.architecture: trial.evaluation.score for trial in study.trials if trial.evaluation
    }
    assert "RandomSearch" in landscape.notes[0]
    halving = strategies.create("successive-halving", budgets=[1, 5])
    staged = of_study(run_study(space, halving, Count(), trials=60, seed=1))
    assert list(staged.stages) == [1, 5]
    assert staged.metric == "score"
    known = np.isfinite(staged.stages[1])
    np.testing.assert_allclose(staged.stages[1][known] + 4, staged.stages[5][known])


def test_edges_make_rows_in_order() -> None:
    graph = from_edges([2, 0, 0, 1], [0, 2, 1, 0], 4, missing=3)
    assert graph.neighbours.tolist() == [[1, 2], [0, 1], [0, 2], [3, 3]]
    assert graph.degrees.tolist() == [2, 1, 1, 0]
    assert graph.present.tolist() == [[True, True], [True, False], [True, False], [False, False]]


def test_what_is_no_architecture_is_not_missing(strings: Any) -> None:
    class Even(strings):  # type: ignore[misc]
        def problem(self, values: Any) -> str | None:
            return "no zeros" if not any(values.values()) else None

        def size(self) -> int:
            return int(super().size()) - 1

    space = Even(3, 3)
    models = [one for one in space.all() if any(v for _, v in one.genes)]
    whole = of_mapping(space, dict.fromkeys(models, 1.0))
    assert whole.complete
    assert whole.graph.missing == 0
    part = of_mapping(space, dict.fromkeys(models[1:], 1.0), neighbourhood="space")
    assert part.graph.missing == len(list(space.neighbours(models[0])))
