"""The space of SEG101 against its published counts, brute force and the data flow."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import DataError, InvalidArchitecture, RecipeError, SwathError
from swath.networks.cost import count_flops, count_parameters
from swath.networks.regnet import RegNet, regnet_settings
from swath.spaces.base import InputSpec, OpGraph, OutputSpec
from swath.spaces.seg101 import NODES, SEG101
from swath.supernets import create_supernet

TINY: dict[str, Any] = {
    "depth": 4, "w_0": 16, "w_a": 10, "w_m": 1.4, "group_width": 8, "stem_width": 16,
}  # fmt: skip
INPUTS, OUTPUTS = InputSpec(3), OutputSpec(2)
PAIRS = list(itertools.combinations((1, 2, 3, 4), 2))


@pytest.fixture(scope="module")
def space() -> SEG101:
    return SEG101(backbone=TINY)


def samples(space: SEG101, count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def leaving_out(space: SEG101, stage: int, seed: int = 0) -> Architecture:
    """An architecture whose heads use three stages only."""
    pairs = ",".join(f"{a}{b}" for a, b in PAIRS if stage not in (a, b))
    changes = {"head0.pairs": pairs, "head1.pairs": pairs}
    return samples(space, 1, seed)[0].replace(**changes)


def swapped(architecture: Architecture) -> Architecture:
    """The same with its heads in the other order."""
    values = architecture.as_dict()
    heads = {f"head{h}.{part}": values[f"head{1 - h}.{part}"] for h in (0, 1)
             for part in ("pairs", "joins")}  # fmt: skip
    return architecture.replace(**heads)


def test_the_two_published_counts() -> None:
    space = spaces.create("seg101")
    assert space.size() == 93_312_000_000
    choices = {gene.name: len(gene.choices) for gene in space.genes}
    # The paper counts two decisions of four for the groups, and all the rest as it is.
    groups = [name for name in choices if ".group" in name]
    counted = [n for name, n in choices.items() if not name.endswith(("group2", "group3"))]
    assert len(groups) == 8
    assert int(np.prod(counted)) == 648_000_000


def ordered_heads() -> list[tuple[Any, Any]]:
    """All lists that the authors' code can draw: three of six pairs, two of three, in order."""
    return [
        (three, two)
        for three in itertools.permutations(PAIRS, 3)
        for two in itertools.permutations(list(itertools.combinations(range(3), 2)), 2)
    ]


def meaning(head: tuple[Any, Any]) -> frozenset[Any]:
    """What a head computes, without any order: its merges of merges of stages."""
    three, two = head
    return frozenset(frozenset({frozenset(three[a]), frozenset(three[b])}) for a, b in two)


def test_a_head_has_sixty_wirings_among_720_lists() -> None:
    lists = ordered_heads()
    found = Counter(map(meaning, lists))
    assert (len(lists), len(found)) == (720, 60)
    assert set(found.values()) == {12}
    encodings = 3**4 * 4**4 * 5**4 * len(lists) ** 2 * 2
    assert encodings == pytest.approx(1.34e13, rel=0.01)
    # The genes tell just these.
    space = SEG101()
    genes = {gene.name: gene.choices for gene in space.genes}
    told = set()
    for pairs, joins in itertools.product(genes["head0.pairs"], genes["head0.joins"]):
        three = [tuple(map(int, pair)) for pair in str(pairs).split(",")]
        told.add(meaning((three, [tuple(map("ABC".index, j)) for j in str(joins).split(",")])))
    assert told == set(found)


def test_canonical_forms_are_counted_by_brute_force(space: SEG101) -> None:
    """All wirings of both heads; where these have the same pairs, other operators of stages too."""
    genes = {gene.name: gene.choices for gene in space.genes}
    heads = list(itertools.product(genes["head0.pairs"], genes["head0.joins"]))
    start = samples(space, 1)[0].replace(**{f"stage{s}": "Conv2d_3" for s in (1, 2, 3, 4)})
    canonical, meanings = set(), set()
    for one, two in itertools.product(heads, heads):
        values = dict(zip(("head0.pairs", "head0.joins"), one, strict=True))
        values |= dict(zip(("head1.pairs", "head1.joins"), two, strict=True))
        for stage in (None, 1, 2, 3, 4) if one[0] == two[0] else (None,):
            changed = {} if stage is None else {f"stage{stage}": "DilConv_5"}
            architecture = start.replace(**values, **changed)
            canonical.add(space.canonical(architecture))
            both = [
                meaning((
                    [tuple(map(int, p)) for p in str(pairs).split(",")],
                    [tuple(map("ABC".index, j)) for j in str(joins).split(",")],
                ))
                for pairs, joins in (one, two)
            ]  # fmt: skip
            seen = stage is not None and any(
                stage in pair for head in both for join in head for pair in join
            )
            meanings.add((frozenset(Counter(both).items()), stage if seen else None))
    assert len(canonical) == len(meanings)
    # 1830 pairs of heads, of which 24 leave a stage out: so many different networks in all.
    assert len({one for one, stage in meanings if stage is None}) == 1830
    assert len(meanings) == 1830 + 20 * 6 * 4 - 24
    assert 3**4 * 4**4 * 2 * ((1830 - 24) * 5**4 + 24 * 5**3) == 46_935_936_000


def test_copies_are_one_network(space: SEG101) -> None:
    for architecture in samples(space, 30):
        canonical = space.canonical(architecture)
        assert space.canonical(swapped(architecture)) == canonical
        for gene in ("early.group1", "late.group3", "merge", "stage1"):
            choices = next(g.choices for g in space.genes if g.name == gene)
            other = next(c for c in choices if c != architecture[gene])
            if gene != "stage1" or "1" in str(architecture["head0.pairs"]):
                assert space.canonical(architecture.replace(**{gene: other})) != canonical


def test_heads_that_change_places_compute_the_same(space: SEG101) -> None:
    """With the weights moved likewise: the heads', and the columns of the merge's first layer."""
    for seed in range(4):
        one = samples(space, 1, seed)[0].replace(merge=("ConcatHead", "GlobalSEHead_8")[seed % 2])
        network = space.build(one, INPUTS, OUTPUTS).eval()
        other = space.build(swapped(one), INPUTS, OUTPUTS).eval()
        weights: dict[str, torch.Tensor] = {}
        moved = {"heads.0.": "heads.1.", "heads.1.": "heads.0."}
        for name, tensor in network.state_dict().items():
            weights[moved.get(name[:8], name[:8]) + name[8:]] = tensor
        first = network.state_dict()["heads.0.last.convolution.0.weight"].shape[0]
        kernel = weights["merge.layers.0.weight"]
        weights["merge.layers.0.weight"] = torch.cat([kernel[:, first:], kernel[:, :first]], 1)
        other.load_state_dict(weights)
        x = torch.randn(2, 3, 40, 33, dtype=torch.float64)  # sums in another order round otherwise
        with torch.no_grad():
            answers = [one.double()(x) for one in (other, network)]
        torch.testing.assert_close(*answers, rtol=1e-4, atol=1e-5)


def read_graph(graph: OpGraph) -> dict[str, Any]:
    """The genes that a graph tells, from its nodes and arrows alone."""
    before = [set(np.flatnonzero(column).tolist()) for column in graph.adjacency.T]
    after = [set(np.flatnonzero(row).tolist()) for row in graph.adjacency]
    stage_of: dict[int, int] = {}
    values: dict[str, Any] = {}
    for stage in (1, 2, 3, 4):
        start = graph.operators.index(f"S{stage}")
        enhanced = next(n for n in after[start] if graph.operators[n] == "SEAttention_8")
        groups = sorted(before[enhanced] - {start})
        assert all(before[n] == {start} for n in groups)
        kind = "early" if stage < 3 else "late"
        told = {f"{kind}.group{i}": graph.operators[n] for i, n in enumerate(groups)}
        assert all(values.get(gene, value) == value for gene, value in told.items())
        values |= told
        (last,) = after[enhanced]
        values[f"stage{stage}"] = graph.operators[last]
        stage_of[last] = stage
    end = len(graph.operators) - 1
    values["merge"] = graph.operators[end]
    for head, answer in enumerate(sorted(before[end])):
        joins = before[answer]
        first = {
            node: "".join(str(s) for s in sorted(stage_of[n] for n in before[node]))
            for node in range(end)
            if before[node] <= stage_of.keys() and before[node] and after[node] & joins
        }
        ordered = sorted(first, key=lambda node: first[node])
        values[f"head{head}.pairs"] = ",".join(first[node] for node in ordered)
        letters = {node: "ABC"[place] for place, node in enumerate(ordered)}
        words = ["".join(sorted(letters[n] for n in before[join])) for join in joins]
        values[f"head{head}.joins"] = ",".join(sorted(words))
    return values


def test_graphs_tell_their_architectures(space: SEG101) -> None:
    for architecture in [*samples(space, 60, 1), *(leaving_out(space, s) for s in (1, 2, 3, 4))]:
        graph = space.graph(architecture)
        assert len(graph.operators) == 41
        assert set(graph.operators) <= set(NODES)
        assert Counter(graph.operators)["FeatureMerge"] == 6 + 4 + 2
        assert Counter(graph.operators)["SEAttention_8"] == 4
        assert space.architecture(read_graph(graph)) == architecture
    assert NODES == (
        "S1", "S2", "S3", "S4", "Conv2d_3", "AdaptiveAvgPool_25", "DilConv_3", "SelfAttention",
        "SEAttentionStandard_8", "DilConv_5", "AdaptiveAvgPool_75", "SEAttention_8",
        "FeatureMerge", "GlobalSEHead_8", "ConcatHead",
    )  # fmt: skip


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_stage_that_no_head_uses_is_not_built(space: SEG101, stage: int) -> None:
    architecture = leaving_out(space, stage)
    other = architecture.replace(**{f"stage{stage}": "AdaptiveAvgPool_75"})
    assert space.canonical(other) == space.canonical(architecture)
    network = space.build(architecture, INPUTS, OUTPUTS)
    assert str(stage) not in network.stages
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    # Taken out of a supernet it is the same.
    supernet = create_supernet(space, INPUTS, OUTPUTS).eval()
    child = supernet.extract(architecture)
    network.load_state_dict(child.state_dict())
    x = torch.randn(1, 3, 35, 64)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), supernet(x, architecture))
    # The stride of the answer before it is resized: 8 without S1, else 4.
    seen: list[torch.Size] = []
    network.merge.register_forward_hook(lambda *given: seen.append(given[2].shape[2:]))
    network(torch.randn(1, 3, 64, 96))
    assert seen == [(8, 12) if stage == 1 else (16, 24)]


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (64, 50), (100, 1)])
def test_any_size_is_answered_in_full(space: SEG101, size: tuple[int, int]) -> None:
    for architecture in samples(space, 4, sum(size)):
        network = space.build(architecture, InputSpec(5), OutputSpec(4))
        assert network(torch.randn(2, 5, *size)).shape == (2, 4, *size)


def test_shared_decisions_have_weights_of_their_own(space: SEG101) -> None:
    supernet = create_supernet(space, INPUTS, OUTPUTS)
    architecture = samples(space, 1)[0].replace(**{"early.group0": "Conv2d_3"})
    with supernet.path(architecture) as network:
        one, two = (network.stages[s].groups[0][0] for s in "12")  # type: ignore[union-attr, index]
        assert one.weight is not two.weight
        assert one.weight.shape[0] == 4
        assert two.weight.shape[0] == 6


def test_smaller_merges_are_cut_from_the_largest(space: SEG101) -> None:
    supernet = create_supernet(space, INPUTS, OUTPUTS)
    widths = set()
    for architecture in samples(space, 12):
        with supernet.path(architecture) as network:
            kernel = network.merge.layers[0].weight  # type: ignore[union-attr, index]
            whole = kernel if kernel._base is None else kernel._base
            assert torch.equal(kernel, whole[: kernel.shape[0], : kernel.shape[1]])
            widths.add(kernel.shape[1])
        alone = supernet.extract(architecture).merge.layers[0].weight  # type: ignore[union-attr, index]
        assert alone.untyped_storage().nbytes() == 4 * alone.numel()
        assert alone.requires_grad
    assert len(widths) > 3


@pytest.mark.parametrize("bands", [1, 3, 13])
def test_the_published_network_is_counted_without_being_made(bands: int) -> None:
    """RegNetX-400MF has 5.16e6 parameters with its classifier, and 5.495e6 with 400 channels."""
    space = SEG101()
    assert space.backbone.widths == (32, 64, 160, 384)
    with torch.device("meta"):
        backbone = count_parameters(RegNet(space.backbone, bands))
        networks = [space.build(a, InputSpec(bands), OUTPUTS) for a in samples(space, 3)]
    assert backbone + 385 * 1000 == pytest.approx(5.16e6, rel=0.02)
    for network in networks:
        assert count_parameters(network.backbone) == backbone
        operations = count_flops(network, bands, 512)
        # The backbone has 400 million multiply-adds at 224 x 224.
        assert operations > 2 * 400e6 * (512 / 224) ** 2


def test_pretrained_weights_are_those_of_children_and_supernets(tmp_path: Path) -> None:
    path = str(tmp_path / "regnet.safetensors")
    torch.manual_seed(1)
    weights = RegNet(regnet_settings("narrow"), 3, classes=10).state_dict()
    save_file(weights, path)
    space = SEG101(backbone="narrow", pretrained=path)
    assert json.loads(json.dumps(dict(space.options)))["pretrained"] == path
    architecture = samples(space, 1)[0]
    child = space.build(architecture, INPUTS, OUTPUTS)
    taken = create_supernet(space, INPUTS, OUTPUTS).extract(architecture)
    for network in (child, taken):
        for name, tensor in network.backbone.state_dict().items():  # type: ignore[union-attr, operator]
            assert torch.equal(tensor, weights[name]), name
    assert torch.isfinite(
        space.build(architecture, InputSpec(5), OUTPUTS)(torch.rand(2, 5, 9, 9))
    ).all()
    with torch.device("meta"):
        space.build(architecture, INPUTS, OUTPUTS)
    for options in ({"pretrained": path}, {"backbone": "narrow", "pretrained": path + "x"}):
        with pytest.raises(DataError, match=r"regnet\.safetensors"):
            SEG101(**options).build(architecture, INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbon": "narrow"}, "no option 'backbon' .did you mean 'backbone'"),
        ({"backbone": "regnet_x_400"}, "no RegNet 'regnet_x_400' .did you mean 'regnet_x_400mf'"),
        ({"backbone": 400}, "must be the name of a RegNet or its parameters, not 400"),
        ({"backbone": {**TINY, "width": 3}}, "backbone has no parameter 'width'"),
        ({"backbone": {**TINY, "depth": "4"}}, "depth must be a whole number, not '4'"),
        ({"backbone": {**TINY, "w_m": None}}, "w_m must be a whole number or a number, not None"),
        ({"backbone": {**TINY, "depth": 3}}, "3 stages; choose values that give 4"),
        ({"backbone": {"depth": 4}}, "lacks the parameter 'w_0'"),
        ({"merge_ratio": 0}, "merge_ratio must be a number above 0 and at most 1, not 0"),
        ({"merge_ratio": 0.1, "backbone": TINY}, "leaves nothing of 16 channels"),
        ({"pretrained": 3}, "pretrained must be the path of a file, not 3"),
    ],
)
def test_unusable_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SwathError, match=message) as caught:
        SEG101(**options)
    assert isinstance(caught.value, RecipeError) or "RegNet" in message


def test_an_impossible_wiring_is_refused(space: SEG101) -> None:
    architecture = samples(space, 1)[0]
    for pairs in ("12,12,13", "13,12,24"):
        with pytest.raises(InvalidArchitecture, match=r"gene 'head0\.pairs' cannot be"):
            space.validate(architecture.replace(**{"head0.pairs": pairs}))
