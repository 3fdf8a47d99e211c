"""The NAS-Bench-101 space against the benchmark's published facts and brute force."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, qmc

from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, RecipeError
from swath.networks.cost import count_parameters
from swath.spaces._nasbench101_cells import Cell, canonical, catalogue, cell_hash, from_code, prune
from swath.spaces._nasbench101_encoding import collisions, to_vector, upper_triangle
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.nasbench101 import OPERATORS, NASBench101

C3, C1, MP = OPERATORS
ALL = catalogue(7, 9)


@pytest.fixture(scope="module")
def space() -> NASBench101:
    return NASBench101()


def written(rows: str, operators: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The published form of a cell: the digits before each comma are what a vertex feeds."""
    matrix = np.zeros((len(operators) + 2,) * 2, int)
    for source, targets in enumerate(rows.split(",")):
        matrix[source, [int(target) for target in targets]] = 1
    return matrix, ("input", *operators, "output")


# The benchmark's example in its own order of vertices, as its notebook asks for it and prints it.
INCEPTION = written("1235,6,6,4,6,6", [C1, C3, C3, C3, MP])
INCEPTION_LISTED = written("1234,6,6,6,5,6", [C3, C1, MP, C3, C3])
# A cell of its files, with its key and its parameters.
LISTED = written("145,2,36,5,5,6", [C3, MP, C3, C3, C1])
# The first cells of the published random walks 1 and 16 of the footprint's authors.
WALK_1 = [
    written("16,235,6,4,5,6", [C3, C3, C1, MP, C3]),
    written("14,23,4,4", [C3, C3, C3]),
    written("15,24,35,5,5", [C3, C3, C1, C3]),
    written("16,23,46,6,5,6", [C3, C3, C3, C3, C1]),
    written("1,235,46,6,5,6", [C3, C3, C3, C3, C1]),
    written("12,23,46,6,5,6", [C3, C3, C3, C3, C1]),
    written("12,24,35,5,5", [C3, C3, C1, C3]),
]
WALK_16 = [
    written(rows, [C1] * 5)
    for rows in (
        *("1,235,6,4,56,6", "1,235,6,4,5,6", "13,235,6,4,5,6", "13,23,6,4,5,6", "123,23,6,4,5,6"),
        *("123,2,6,4,5,6", "123,2,36,4,5,6", "13,2,36,4,5,6", "1,2,36,4,5,6", "1,2,3,4,5,6"),
    )
]


def drawn_cells(count: int, seed: int = 0) -> list[Cell]:
    """Different cells, uniformly."""
    return [from_code(int(c)) for c in np.random.default_rng(seed).choice(ALL, count, False)]


def relabelled(cell: Cell, order: tuple[int, ...]) -> Cell:
    """The cell with inner vertex v + 1 renamed order[v] + 1; edges may then lead backwards."""
    new = {0: 0, cell.vertices - 1: cell.vertices - 1} | {v + 1: o + 1 for v, o in enumerate(order)}
    operators = [0] * len(order)
    for vertex, operator in enumerate(cell.operators):
        operators[order[vertex]] = operator
    return Cell(tuple(operators), tuple(sorted((new[a], new[b]) for a, b in cell.edges)))


def listing(vertices: int) -> Iterator[Cell]:
    """All cells without loose ends in the order in which the benchmark lists them."""
    pairs = [(a, b) for b in range(vertices) for a in range(b)]
    for bits in range(2 ** len(pairs)):
        edges = tuple(sorted(p for bit, p in enumerate(pairs) if bits >> bit & 1))
        feeds, fed = {a for a, _ in edges}, {b for _, b in edges}
        whole = len(feeds) == len(fed) == vertices - 1
        if whole and len(edges) <= 9:
            for operators in itertools.product(range(3), repeat=vertices - 2):
                yield Cell(operators, edges)


def isomorphisms(cell: Cell) -> set[Cell]:
    orders = itertools.permutations(range(len(cell.operators)))
    return {relabelled(cell, order) for order in orders}


def test_the_catalogue_is_what_the_benchmark_lists_first_of_each_kind() -> None:
    """By comparison with all that came before, so without any canonical form."""
    ours = [from_code(int(code)) for code in ALL[ALL >> 29 < 6]]
    for vertices in (2, 3, 4, 5):
        seen: set[Cell] = set()
        first = []
        for cell in listing(vertices):
            if cell not in seen:
                first.append(cell)
                seen |= isomorphisms(cell)
        assert first == [cell for cell in ours if cell.vertices == vertices]


def test_there_are_as_many_cells_as_published(space: NASBench101) -> None:
    assert space.size() == len(np.unique(ALL)) == 423_624
    assert Counter((ALL >> 29).tolist()) == {2: 1, 3: 6, 4: 84, 5: 2_441, 6: 62_010, 7: 359_082}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(ALL) - 1), st.permutations(range(5)))
def test_all_isomorphic_cells_have_one_canonical_form(place: int, places: list[int]) -> None:
    cell = from_code(int(ALL[place]))
    order = tuple(new for new in places if new < len(cell.operators))
    assert canonical(relabelled(cell, order)) == canonical(cell) == cell


def test_cells_of_one_canonical_form_are_isomorphic(space: NASBench101) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        architecture = space.sample_encoding(rng)
        edges = [(a, b) for a, b in itertools.combinations(range(7), 2) if architecture[f"{a}-{b}"]]
        operators = [OPERATORS.index(str(architecture[f"operator{v}"])) for v in range(1, 6)]
        pruned = prune(operators, edges)
        assert pruned is not None
        assert space.cell(architecture) in isomorphisms(pruned)


def test_a_circle_is_no_cell() -> None:
    assert canonical(Cell((0, 1), ((0, 1), (1, 2), (2, 1), (2, 3)))) is None


def test_published_cells_are_canonical(space: NASBench101) -> None:
    """Our form is exactly that of the benchmark's files."""
    for matrix, operators in (INCEPTION_LISTED, LISTED, *WALK_1, *WALK_16):
        architecture = space.from_matrix(matrix, operators)
        assert space.canonical(architecture) == architecture
        found, names = space.matrix(architecture)
        assert found.tolist() == matrix.tolist()
        assert names == operators


def test_the_benchmark_s_example_is_the_cell_that_it_answers_with(space: NASBench101) -> None:
    asked, answered = space.from_matrix(*INCEPTION), space.from_matrix(*INCEPTION_LISTED)
    assert asked != answered
    assert space.canonical(asked) == answered
    assert space.cell_hash(asked) == space.cell_hash(answered)


@pytest.mark.parametrize(("form", "count"), [(INCEPTION, 2_694_282), (LISTED, 8_555_530)])
def test_networks_have_the_published_parameters(
    space: NASBench101, form: tuple[np.ndarray, tuple[str, ...]], count: int
) -> None:
    with torch.device("meta"):
        network = space.build(space.from_matrix(*form), InputSpec(3), OutputSpec(10))
    assert count_parameters(network) == count


def test_the_key_is_the_benchmark_s(space: NASBench101) -> None:
    key = space.cell_hash(space.from_matrix(*LISTED))
    assert key == "00005c142e6f48ac74fdcf73e3439874"


def test_keys_tell_cells_apart_and_isomorphic_ones_not() -> None:
    small = [from_code(int(code)) for code in ALL[ALL >> 29 < 6]]
    assert len({cell_hash(cell) for cell in small}) == len(small)
    for cell in drawn_cells(20):
        assert len({cell_hash(one) for one in isomorphisms(cell)}) == 1


def test_loose_ends_are_pruned(space: NASBench101) -> None:
    """Vertex 2 leads nowhere, 3 comes from nowhere, 4 and 5 do neither; two edges are left."""
    matrix, _ = written("12,6,,6,5,", [MP] * 5)
    architecture = space.from_matrix(matrix, ("input", C1, C3, C3, MP, MP, "output"))
    found, names = space.matrix(architecture)
    assert found.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert names == ("input", C1, "output")
    network = space.build(architecture, InputSpec(3), OutputSpec(10))
    same = space.build(space.canonical(architecture), InputSpec(3), OutputSpec(10))
    assert count_parameters(network) == count_parameters(same)


def test_edges_are_counted_after_pruning(space: NASBench101) -> None:
    everything = space.sample(np.random.default_rng(0)).as_dict()
    full = everything | {gene.name: 1 for gene in space.genes if gene.choices == (0, 1)}
    with pytest.raises(InvalidArchitecture, match="pruned cell has 21 edges; at most 9 are allow"):
        space.architecture(full)
    # ten edges, of which that into vertex 5, which leads nowhere, does not count
    matrix, operators = written("1234,26,6,56,6,", [C3] * 5)
    space.from_matrix(matrix, operators)
    matrix[5, 6] = 1
    with pytest.raises(InvalidArchitecture, match="has 11 edges"):
        space.from_matrix(matrix, operators)


def test_input_and_output_must_be_connected(space: NASBench101) -> None:
    matrix, operators = written("12,3,4,,5,,", [C3] * 5)
    with pytest.raises(InvalidArchitecture, match="no path of edges leads from the input"):
        space.from_matrix(matrix, operators)


@pytest.mark.parametrize(
    ("matrix", "operators", "message"),
    [
        (np.zeros((3, 4)), ("input", C3, "output"), "must be 3 x 3 zeros and ones"),
        (np.eye(3, k=1) * 2, ("input", C3, "output"), "zeros and ones"),
        (np.eye(3, k=-1), ("input", C3, "output"), "above the diagonal alone"),
        (np.eye(8, k=1), ("input", *[C3] * 6, "output"), "this one has 8 vertices"),
        (np.eye(3, k=1), ("input", "conv5x5", "output"), "no operator 'conv5x5'; it has: conv3x3"),
    ],
)
def test_other_forms_are_no_cells(
    space: NASBench101, matrix: np.ndarray, operators: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        space.from_matrix(matrix, operators)


def test_the_bits_are_where_the_paper_puts_them(space: NASBench101) -> None:
    """Slots: input, 1 x 1 from 1, 3 x 3 from 6, pooling from 11, output 16."""
    vector = space.encode(space.from_matrix(*INCEPTION))
    assert vector.shape == (289,)
    ones = {(int(a), int(b)) for a, b in np.argwhere(vector.reshape(17, 17))}
    assert ones == {(0, 6), (0, 1), (0, 11), (0, 7), (6, 16), (1, 16), (11, 16), (7, 8), (8, 16)}


def test_bits_tell_all_cells_apart_and_the_upper_triangle_does_not() -> None:
    vectors = np.array([to_vector(cell, 5) for cell in drawn_cells(20_000)])
    assert collisions(vectors) == 0
    halves = upper_triangle(vectors)
    assert halves.shape == (20_000, 136)
    distinct = len({row.tobytes() for row in halves.astype(bool)})
    assert collisions(halves) == 20_000 - distinct > 1000


def test_published_walks_are_single_flips(space: NASBench101) -> None:
    """Walk 16 in all bits; walk 1 only in the upper triangle, which loses what else changes."""

    def steps(walk: list[tuple[np.ndarray, tuple[str, ...]]], half: bool) -> list[int]:
        vectors = np.array([space.encode(space.from_matrix(*cell)) for cell in walk])
        vectors = upper_triangle(vectors) if half else vectors
        return np.abs(np.diff(vectors, axis=0)).sum(axis=1).astype(int).tolist()

    assert steps(WALK_16, half=False) == steps(WALK_16, half=True) == [1] * 9
    assert steps(WALK_1, half=True) == [1] * 6
    assert max(steps(WALK_1, half=False)) > 1


def test_isomorphic_cells_have_the_same_bits_and_come_back(space: NASBench101) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        architecture = space.sample_encoding(rng)
        vector = space.encode(architecture)
        assert np.array_equal(vector, space.encode(space.canonical(architecture)))
        assert space.decode(vector) == space.canonical(architecture)


def test_bits_in_another_order_of_slots_are_the_same_cell(space: NASBench101) -> None:
    order = np.arange(17)
    order[[6, 8, 1, 5]] = order[[8, 6, 5, 1]]
    matrix = space.encode(space.from_matrix(*INCEPTION)).reshape(17, 17)
    shuffled = matrix[order][:, order].ravel()
    assert not np.array_equal(shuffled, matrix.ravel())
    assert space.decode(shuffled) == space.from_matrix(*INCEPTION_LISTED)


@pytest.mark.parametrize(
    "edges",
    [
        [],
        [(0, 1)],  # leads nowhere
        [(0, 16), (0, 1)],  # a loose end
        [(0, 16), (1, 2), (2, 1)],  # a circle aside
        [(0, 1), (1, 6), (6, 1), (6, 16)],  # a circle between
        [(0, 1), (1, 1), (1, 16)],
        [(0, 16), (16, 1), (1, 0)],  # out of the output, into the input
        [edge for v in (1, 2, 6, 7, 11, 12) for edge in ((0, v), (v, 16))],  # six vertices
        [(a, b) for a, b in itertools.combinations((0, 1, 2, 3, 16), 2)],  # ten edges
    ],
)
def test_other_bits_are_no_cell(space: NASBench101, edges: list[tuple[int, int]]) -> None:
    matrix = np.zeros((17, 17))
    for edge in edges:
        matrix[edge] = 1
    with pytest.raises(InvalidArchitecture):
        space.decode(matrix.ravel())


def test_neighbours_are_cells_that_some_single_gene_makes() -> None:
    """Brute force over all 27,648 combinations of genes of up to five vertices.

    Two cells are neighbours if any two combinations that encode them differ in one gene, and they
    differ by no more than one vertex.
    """
    small = NASBench101(vertices=5, edges=6)
    pairs = list(itertools.combinations(range(5), 2))
    encoded: dict[tuple[int, ...], Cell | None] = {}
    for bits in itertools.product((0, 1), repeat=10):
        edges = [pair for pair, bit in zip(pairs, bits, strict=True) if bit]
        for operators in itertools.product(range(3), repeat=3):
            cell = prune(operators, edges)
            valid = cell is not None and len(cell.edges) <= 6
            encoded[*bits, *operators] = canonical(cell) if valid else None  # type: ignore[arg-type]
    expected: dict[Cell, set[Cell]] = {cell: set() for cell in encoded.values() if cell}
    for genes, cell in encoded.items():
        for gene, value in enumerate(genes):
            for other in range(value + 1, 2 if gene < 10 else 3):
                there = encoded[*genes[:gene], other, *genes[gene + 1 :]]
                if cell and there and cell != there and abs(cell.vertices - there.vertices) < 2:
                    expected[cell].add(there)
                    expected[there].add(cell)
    assert len(expected) == small.size()
    for cell, around in expected.items():
        found = [small.cell(n) for n in small.neighbours(small.from_cell(cell))]
        assert len(found) == len(set(found))
        assert set(found) == around
    reached, front = {next(iter(expected))}, [next(iter(expected))]
    while front:
        new = expected[front.pop()] - reached
        reached |= new
        front += new
    assert len(reached) == small.size()


def test_neighbours_are_canonical_and_symmetric(space: NASBench101) -> None:
    rng = np.random.default_rng(2)
    for sample in (space.sample, space.sample_encoding):
        for architecture in (sample(rng) for _ in range(3)):
            here = space.canonical(architecture)
            neighbours = list(space.neighbours(architecture))
            assert neighbours == list(space.neighbours(here))
            assert here not in neighbours
            for neighbour in neighbours:
                assert space.canonical(neighbour) == neighbour
                assert here in set(space.neighbours(neighbour))
            assert space.mutate(architecture, rng) in neighbours


def test_neighbours_of_the_encoding_are_one_bit_away() -> None:
    """Against the distances between all 2,532 cells of up to five vertices."""
    small = NASBench101(vertices=5)
    everyone = [small.from_cell(from_code(int(code))) for code in catalogue(5, 9)]
    vectors = np.array([small.encode(one) for one in everyone])
    size = vectors.sum(axis=1)
    apart = size[:, None] + size - 2 * vectors @ vectors.T
    for place in np.random.default_rng(0).choice(len(everyone), 300, replace=False):
        found = set(small.encoding_neighbours(everyone[place]))
        assert found == {everyone[other] for other in np.flatnonzero(apart[place] == 1)}
    assert (apart == 1).sum() > 2532


def test_samples_are_uniform_over_cells_and_encodings_over_genes() -> None:
    small = NASBench101(vertices=4)
    rng = np.random.default_rng(0)
    drawn = Counter(small.sample(rng) for _ in range(4000))
    assert len(drawn) == small.size() == 91
    assert all(small.canonical(one) == one for one in drawn)
    assert chisquare(list(drawn.values())).pvalue > 0.01
    tiny = NASBench101(vertices=3)
    encodings = Counter(tiny.sample_encoding(rng) for _ in range(3000))
    # a way past the vertex with any two of its edges, or over it without it, times three operators
    assert len(encodings) == 3 * (2**2 + 1)
    assert chisquare(list(encodings.values())).pvalue > 0.01


def test_a_latin_hypercube_is_one_and_has_different_cells(
    space: NASBench101, monkeypatch: pytest.MonkeyPatch
) -> None:
    hypercubes = []
    draw = qmc.LatinHypercube.random

    def watched(self: qmc.LatinHypercube, n: int) -> np.ndarray:
        hypercubes.append(draw(self, n))
        return hypercubes[-1]

    monkeypatch.setattr(qmc.LatinHypercube, "random", watched)
    design = space.latin_hypercube(60, np.random.default_rng(3))
    assert len({space.canonical(a) for a in design}) == 60
    points = []
    for points_of_one in hypercubes:
        strata = np.sort(np.floor(60 * points_of_one), axis=0)
        assert (strata == np.arange(60)[:, None]).all()
        points += points_of_one.tolist()
    asked = [
        tuple(int(u > 0.5) for u in p[:21]) + tuple(int(3 * u) for u in p[21:]) for p in points
    ]
    places = [asked.index(tuple(g.index(a[g.name]) for g in space.genes)) for a in design]
    assert places == sorted(places)  # none is passed over but for a reason
    missed = set(range(places[-1])) - set(places)
    taken = {space.canonical(a) for a in design}
    for place in missed:
        values = {g.name: g.choices[i] for g, i in zip(space.genes, asked[place], strict=True)}
        if space.problem(values) is None:
            assert space.canonical(space.architecture(values)) in taken


def test_a_latin_hypercube_cannot_have_more_points_than_there_are_cells() -> None:
    small = NASBench101(vertices=3)
    assert len(small.latin_hypercube(7, np.random.default_rng(0))) == 7
    with pytest.raises(RecipeError, match="has 7 cells, fewer than 8"):
        small.latin_hypercube(8, np.random.default_rng(0))


def test_the_published_design_has_nine_edges_before_pruning(space: NASBench101) -> None:
    design = space.published_design(100, np.random.default_rng(0))
    assert len(design) == 100
    edges = [gene.name for gene in space.genes if gene.choices == (0, 1)]
    assert {sum(int(a[edge]) for edge in edges) for a in design} == {9}
    left = [len(space.cell(a).edges) for a in design]
    assert min(left) < 9
    assert {a[f"operator{v}"] for a in design for v in range(1, 6)} == set(OPERATORS)


def test_isomorphic_encodings_are_one_network() -> None:
    """The same weights from the same seed, also where channels do not divide evenly."""
    small = NASBench101(channels=8, cells=1, stacks=2)
    rng = np.random.default_rng(0)
    x = torch.randn(2, 4, 5, 5)
    for _ in range(10):
        architecture = small.sample_encoding(rng)
        answers = []
        for one in (architecture, small.canonical(architecture)):
            torch.manual_seed(1)
            answers.append(small.build(one, InputSpec(4), OutputSpec(3)).eval()(x))
        assert torch.equal(*answers)


def test_the_graph_is_the_canonical_cell(space: NASBench101) -> None:
    graph = space.graph(space.from_matrix(*INCEPTION))
    assert graph.operators == INCEPTION_LISTED[1]
    assert graph.adjacency.astype(int).tolist() == INCEPTION_LISTED[0].tolist()


def test_an_architecture_is_its_genes(space: NASBench101) -> None:
    architecture = space.from_matrix(*WALK_1[1])
    values = architecture.as_dict()
    edges = {name for name, value in values.items() if value == 1}
    assert edges == {"0-1", "0-6", "1-2", "1-3", "2-6", "3-6"}
    assert [values[f"operator{v}"] for v in range(1, 6)] == [C3] * 5
    assert Architecture.from_json(architecture.to_json()) == architecture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": 3}, "no option 'chanels' .did you mean 'channels'"),
        ({"channels": 4}, "channels must be a whole number of at least 5, not 4"),
        ({"vertices": 8}, "vertices must be at most 7, not 8"),
        ({"vertices": 2}, "vertices must be a whole number of at least 3, not 2"),
        ({"edges": 0}, "edges must be a whole number of at least 1, not 0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and less than 1, not 1.0"),
        ({"momentum": "slow"}, "momentum must be .* not 'slow'"),
        ({"patch": 8}, "patch must be odd, not 8"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        NASBench101(**options)
