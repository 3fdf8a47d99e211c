"""The space of segmentation networks of SEG101: what is done to the features of a RegNet.

Source: the SEG101 search space for roads and buildings in aerial images, with the authors' code
(auroua/zero_costs_nas_rs) where it and the paper differ.

A RegNet gives the outputs of its four stages, S1 to S4, at strides of 4, 8, 16 and 32.  Each is
split into four groups of channels with an operator each (S1 and S2 share this decision, S3 and S4
another), enhanced by channel attention that looks at the stage as it came, and given one more
operator.  Two heads fuse them: the first layer merges three of the six pairs of stages, the second
two of the three pairs of these, the third both of those.  What the two heads answer is merged once
more, into logits, which are brought to the size of the input.

How many there are depends on what is counted:

* 3^4 x 4^4 x 5^4 x (C(6,3) x C(3,2))^2 x 2 = 93,312,000,000 (9.33e10): four operators for four
  groups, one of five for each stage, and a head's pairs without regard to their order.  This is how
  the authors' code counts, it is what the paper's text describes, and it is :meth:`SEG101.size`.
* 3 x 3 x 4 x 4 x 5^4 x (20 x 3)^2 x 2 = 648,000,000 (6.48e8): the paper's own figure.  It has two
  of the four groups' decisions.
* 1.34e13: the encodings of the authors' code, whose lists of pairs have an order.  The order of
  merges, and of the inputs of a merge, changes the order of channels and nothing else.
* 46,935,936,000 (4.69e10): different networks.  The two heads may change places, and of a stage
  that neither head uses the last operator means nothing (:meth:`SEG101.canonical`).

The operators of groups keep their order: a group is a quarter of the channels of a stage, and those
of a pretrained backbone are not alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture, Gene
from swath.core.errors import RecipeError, nearest
from swath.networks.layout import channels_last
from swath.networks.regnet import RegNet, RegNetSettings, load_pretrained, regnet_settings
from swath.networks.seg101 import (
    ConcatHead,
    Enhancement,
    FeatureMerge,
    GlobalSEHead,
    initialise,
    operator_factories,
    resized,
)
from swath.spaces import registry
from swath.spaces._options import read_options
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace
from swath.spaces.choices import Choice, SizedChoice, Zero

__all__ = ["NODES", "SEG101", "SEG101Network", "SEG101Options"]

STAGES = (1, 2, 3, 4)
GROUPS = 4
HEADS = (0, 1)

EARLY = ("Conv2d_3", "AdaptiveAvgPool_25", "DilConv_3")
LATE = ("AdaptiveAvgPool_25", "DilConv_3", "SelfAttention", "SEAttentionStandard_8")
STAGE = ("Conv2d_3", "DilConv_3", "DilConv_5", "AdaptiveAvgPool_25", "AdaptiveAvgPool_75")
MERGES = ("GlobalSEHead_8", "ConcatHead")
NODES = (
    *(f"S{stage}" for stage in STAGES),
    *dict.fromkeys((*EARLY, *LATE, *STAGE)),
    "SEAttention_8",
    "FeatureMerge",
    *MERGES,
)
"""All names of nodes of a graph, in one order for all times."""

PAIRS = tuple(f"{a}{b}" for a, b in itertools.combinations(STAGES, 2))
TRIPLES = tuple(itertools.combinations(PAIRS, 3))
PLACES = tuple(itertools.combinations("ABC", 2))
JOINS = tuple(",".join("".join(join) for join in two) for two in itertools.combinations(PLACES, 2))


@dataclass(frozen=True)
class SEG101Options:
    """What is fixed about the space.

    Parameters
    ----------
    backbone : name of a RegNet (:data:`swath.networks.regnet.SETTINGS`), or the parameters of one
        (:class:`swath.networks.regnet.RegNetSettings`).  The published one has 384 channels in the
        last stage; torchvision's weights fit ``regnet_x_400mf``, which has 400.  ``narrow`` trains
        on processor cores.
    merge_ratio : share of each input's channels that the merges of a head's first two layers keep.
        The published half makes the merge of the heads wide, and with it most of the cost; a
        quarter, with ``narrow``, trains on processor cores.
    pretrained : file of the backbone's weights, read whenever a network or a supernet is made; it
        must fit the backbone, but for the bands.  None: random weights.
    """

    backbone: str | Mapping[str, Any] = "regnet_x_400mf_384"
    merge_ratio: float = 0.5
    pretrained: str | None = None

    def __post_init__(self) -> None:
        if self.pretrained is not None and not isinstance(self.pretrained, str):
            raise RecipeError(
                f"seg101: pretrained must be the path of a file, not {self.pretrained!r}"
            )
        widths = self.settings.widths
        ratio = self.merge_ratio
        if type(ratio) not in (int, float) or not 0 < ratio <= 1:
            raise RecipeError(
                f"seg101: merge_ratio must be a number above 0 and at most 1, not {ratio!r}"
            )
        if min(kept(kept(width, ratio), ratio) for width in widths) < 1:
            raise RecipeError(
                f"seg101: a merge_ratio of {ratio} leaves nothing of {min(widths)} channels in two "
                "layers; give a larger one"
            )

    @property
    def settings(self) -> RegNetSettings:
        """The backbone's parameters.

        Raises
        ------
        UnknownName : there is no backbone of this name.
        RecipeError : its parameters are unknown, missing or no numbers, or give no network.
        """
        if isinstance(self.backbone, str):
            return regnet_settings(self.backbone)
        if not isinstance(self.backbone, Mapping):
            raise RecipeError(
                "seg101: backbone must be the name of a RegNet or its parameters, not "
                f"{self.backbone!r}"
            )
        known = {field.name: field for field in fields(RegNetSettings)}
        for name, value in self.backbone.items():
            if name not in known:
                raise RecipeError(
                    f"seg101: backbone has no parameter '{name}'{nearest(str(name), known)}; "
                    f"it has: {', '.join(known)}"
                )
            kinds = _KINDS[known[name].type]
            if type(value) not in kinds:
                words = " or ".join(_WORDS[kind] for kind in kinds)
                raise RecipeError(f"seg101: backbone's {name} must be {words}, not {value!r}")
        for name, field in known.items():
            if name not in self.backbone and field.default is MISSING:
                raise RecipeError(f"seg101: backbone lacks the parameter '{name}'")
        return RegNetSettings(**self.backbone)


class Stage(nn.Module):
    """What is done to the feature of one stage, whose size and channels stay.

    Parameters
    ----------
    number : of the stage, from 1.
    channels : at least four.
    """

    def __init__(self, number: int, channels: int) -> None:
        super().__init__()
        self.widths = [len(part) for part in np.array_split(np.arange(channels), GROUPS)]
        kind, operators = ("early", EARLY) if number < 3 else ("late", LATE)
        self.groups = nn.ModuleList(
            Choice(f"{kind}.group{group}", _some(width, operators))
            for group, width in enumerate(self.widths)
        )
        self.enhancement = Enhancement(channels)
        self.operator = Choice(f"stage{number}", _some(channels, STAGE))

    def forward(self, x: Tensor) -> Tensor:
        """Return a feature of the size of ``x``."""
        parts = torch.split(x, self.widths, dim=1)
        done = [operator(part) for operator, part in zip(self.groups, parts, strict=True)]
        enhanced: Tensor = self.operator(self.enhancement(x, torch.cat(done, dim=1)))
        return enhanced


def _some(channels: int, operators: Sequence[str]) -> dict[str, Any]:
    factories = operator_factories(channels)
    return {operator: factories[operator] for operator in operators}


class Head(nn.Module):
    """Three layers of merges over the stages.

    Every pair of stages, and every pair of these pairs, has a merge of its own: a choice between it
    and ``none``.  The last merge has as many channels as the two before it, whichever they are.

    Parameters
    ----------
    widths : channels of the stages.
    ratio : share of the channels that the merges of the first two layers keep.
    """

    def __init__(self, number: int, widths: Sequence[int], ratio: float) -> None:
        super().__init__()
        self.pairs, self.joins = nn.ModuleDict(), nn.ModuleDict()
        for pair in PAIRS:
            inputs = sum(widths[int(stage) - 1] for stage in pair)
            outputs = pair_width(widths, ratio, pair)
            self.pairs[pair] = _merge_or_none(f"head{number}.{pair}", inputs, outputs)
        for join in itertools.combinations(PAIRS, 2):
            name = "-".join(join)
            inputs = sum(pair_width(widths, ratio, pair) for pair in join)
            outputs = join_width(widths, ratio, join)
            self.joins[name] = _merge_or_none(f"head{number}.{name}", inputs, outputs)
        sizes = head_widths(widths, ratio)
        self.last = SizedChoice(
            f"head{number}.last", {"FeatureMerge": lambda size: FeatureMerge(size, size)}, sizes
        )

    @property
    def stages(self) -> list[int]:
        """The stages that the chosen pairs are of."""
        used = [pair for pair, merge in self.pairs.items() if not isinstance(merge, Zero)]
        return sorted({int(stage) for pair in used for stage in pair})

    def forward(self, stages: Mapping[int, Tensor]) -> Tensor:
        """Return the feature that three layers make of those of the stages."""
        pairs = {
            pair: merge(*(stages[int(stage)] for stage in pair))
            for pair, merge in self.pairs.items()
            if not isinstance(merge, Zero)
        }
        joins = [
            merge(*(pairs[pair] for pair in join.split("-")))
            for join, merge in self.joins.items()
            if not isinstance(merge, Zero)
        ]
        merged: Tensor = self.last(*joins)
        return merged


def _merge_or_none(name: str, inputs: int, outputs: int) -> Choice:
    return Choice(name, {"FeatureMerge": partial(FeatureMerge, inputs, outputs), "none": Zero})


class SEG101Network(nn.Module):
    """Backbone, stages, two heads and their merge; open until its choices are realised."""

    def __init__(self, bands: int, classes: int, options: SEG101Options) -> None:
        super().__init__()
        settings, ratio = options.settings, options.merge_ratio
        widths = settings.widths
        self.backbone = RegNet(settings, bands)
        self.stages = nn.ModuleDict(
            {str(number): Stage(number, widths[number - 1]) for number in STAGES}
        )
        self.heads = nn.ModuleList(Head(number, widths, ratio) for number in HEADS)
        single = head_widths(widths, ratio)
        self.merge = SizedChoice(
            "merge",
            {
                "GlobalSEHead_8": partial(GlobalSEHead, classes=classes),
                "ConcatHead": partial(ConcatHead, classes=classes),
            },
            sorted({a + b for a in single for b in single}),
        )

    @property
    def used(self) -> list[int]:
        """The stages that a head uses."""
        return sorted({stage for head in self.heads for stage in head.stages})  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, bands, rows, columns) to logits (batch, classes, rows, columns)."""
        features = self.backbone.stages(x)
        stages = {stage: self.stages[str(stage)](features[stage - 1]) for stage in self.used}
        logits: Tensor = self.merge(*(head(stages) for head in self.heads))
        return resized(logits, (x.shape[2], x.shape[3]))


@registry.register("seg101")
class SEG101(SearchSpace):
    """SEG101's search space of 9.33e10 networks.

    Genes: the operators of four groups of channels, once for S1 and S2 (``early``) and once for S3
    and S4 (``late``); the operator of each stage; of each head three pairs of stages, named A, B, C
    in their order, and two pairs of these; and how the heads are merged.

    Parameters
    ----------
    options : fields of :class:`SEG101Options`.
    """

    name = "seg101"

    def __init__(self, **options: object) -> None:
        self.settings = read_options(self.name, SEG101Options, options)
        self.backbone = self.settings.settings
        self.options = asdict(self.settings)
        self.genes = (
            *(Gene(f"early.group{group}", EARLY) for group in range(GROUPS)),
            *(Gene(f"late.group{group}", LATE) for group in range(GROUPS)),
            *(Gene(f"stage{stage}", STAGE) for stage in STAGES),
            *itertools.chain.from_iterable(
                (
                    Gene(f"head{head}.pairs", tuple(map(",".join, TRIPLES))),
                    Gene(f"head{head}.joins", JOINS),
                )
                for head in HEADS
            ),
            Gene("merge", MERGES),
        )

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the same network with its heads in order and nothing said of an unused stage.

        The heads are ordered by their genes' choices; the operator of a stage that neither uses is
        the first one.
        """
        self.validate(architecture)
        values = architecture.as_dict()
        names = [(f"head{head}.pairs", f"head{head}.joins") for head in HEADS]
        places = {gene.name: gene for gene in self.genes}
        heads = sorted(
            ([values[name] for name in head] for head in names),
            key=lambda one: [places[n].index(v) for n, v in zip(names[0], one, strict=True)],
        )
        for head, found in zip(names, heads, strict=True):
            values.update(zip(head, found, strict=True))
        for stage in STAGES:
            if stage not in used_stages(architecture):
                values[f"stage{stage}"] = STAGE[0]
        return self.architecture(values)

    def selection(self, architecture: Architecture) -> dict[str, str]:
        """Return the operator at each choice; merges that a head has not are ``none``."""
        selection = {
            gene: str(value) for gene, value in architecture.genes if not gene.startswith("head")
        }
        widths = self.backbone.widths
        total = 0
        for head in HEADS:
            pairs, joins = wiring_of(architecture, head)
            joined = {"-".join(join) for join in joins}
            every = ["-".join(join) for join in itertools.combinations(PAIRS, 2)]
            for place in (*PAIRS, *every):
                there = place in pairs or place in joined
                selection[f"head{head}.{place}"] = "FeatureMerge" if there else "none"
            width = sum(join_width(widths, self.settings.merge_ratio, join) for join in joins)
            selection[f"head{head}.last"] = SizedChoice.option("FeatureMerge", width)
            total += width
        selection["merge"] = SizedChoice.option(selection["merge"], total)
        return selection

    def deciding(self, choice: str) -> tuple[str, ...]:
        """Return the genes that decide a choice: of the merges of a head, the two of its wiring."""
        head, dot, _ = choice.partition(".")
        return (f"{head}.pairs", f"{head}.joins") if dot and head[:4] == "head" else (choice,)

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> SEG101Network:
        """Return the open network: (batch, bands, rows, columns) to (batch, classes, ...).

        Raises
        ------
        DataError : the pretrained weights cannot be read or do not fit.
        """
        network = SEG101Network(inputs.bands, outputs.classes, self.settings)
        counted_only = next(network.backbone.parameters()).is_meta
        if self.settings.pretrained is not None and not counted_only:
            load_pretrained(network.backbone, self.settings.pretrained)
        return network

    def trim(self, network: nn.Module, architecture: Architecture) -> nn.Module:
        """Take out a stage that neither head uses, and what of the backbone is for it alone."""
        assert isinstance(network, SEG101Network)
        used = used_stages(architecture)
        for stage in STAGES:
            if stage not in used:
                del network.stages[str(stage)]
                if stage == STAGES[-1]:
                    del network.backbone.trunk_output[-1]
        return network

    def finish(self, network: nn.Module) -> nn.Module:
        """Initialise all but the backbone, which has its own weights, and lay the layers out."""
        _initialise(network)
        return channels_last(network)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the 41 nodes of the network.

        For each stage its feature, four operators on groups, the enhancement and the stage's
        operator; then the merges of both heads layer by layer, and the merge of the heads.
        Operators' names are those of :data:`NODES`.  A stage feeds the next one, its groups and its
        enhancement.
        """
        self.validate(architecture)
        operators: list[str] = []
        edges: list[tuple[int, int]] = []

        def add(operator: str, *sources: int) -> int:
            operators.append(operator)
            edges.extend((source, len(operators) - 1) for source in sources)
            return len(operators) - 1

        feature: list[int] = []
        done: dict[str, int] = {}
        for stage in STAGES:
            feature = [add(f"S{stage}", *feature)]
            kind = "early" if stage < 3 else "late"
            groups = [
                add(str(architecture[f"{kind}.group{group}"]), *feature) for group in range(GROUPS)
            ]
            enhanced = add("SEAttention_8", *feature, *groups)
            done[str(stage)] = add(str(architecture[f"stage{stage}"]), enhanced)
        wired = [wiring_of(architecture, head) for head in HEADS]
        first = [
            {pair: add("FeatureMerge", *(done[stage] for stage in pair)) for pair in pairs}
            for pairs, _ in wired
        ]
        second = [
            [add("FeatureMerge", *(merged[pair] for pair in join)) for join in joins]
            for merged, (_, joins) in zip(first, wired, strict=True)
        ]
        add(str(architecture["merge"]), *[add("FeatureMerge", *joins) for joins in second])
        adjacency = np.zeros((len(operators), len(operators)), bool)
        adjacency[tuple(np.array(edges).T)] = True
        return OpGraph(tuple(operators), adjacency)


Wiring = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]
"""The pairs of stages of a head, and its pairs of these."""


def wiring(pairs: str, joins: str) -> Wiring:
    """Return what the two genes of a head say.

    >>> wiring("12,13,24", "AB,BC")
    (('12', '13', '24'), (('12', '13'), ('13', '24')))
    """
    three = tuple(pairs.split(","))
    named = dict(zip("ABC", three, strict=True))
    return three, tuple((named[join[0]], named[join[1]]) for join in joins.split(","))


def wirings() -> list[Wiring]:
    """Return the 60 wirings of a head."""
    return [wiring(",".join(three), joins) for three in TRIPLES for joins in JOINS]


def wiring_of(architecture: Architecture, head: int) -> Wiring:
    """Return the wiring of one of the two heads."""
    return wiring(str(architecture[f"head{head}.pairs"]), str(architecture[f"head{head}.joins"]))


def used_stages(architecture: Architecture) -> set[int]:
    """Return the stages that a head uses: all, or three where both heads leave out the same."""
    return {int(s) for head in HEADS for pair in wiring_of(architecture, head)[0] for s in pair}


def kept(channels: int, ratio: float) -> int:
    """Return how many of some channels a merge keeps: a share of them, rounded down."""
    return int(ratio * channels)


def pair_width(widths: Sequence[int], ratio: float, pair: str) -> int:
    """Return the channels of a merge of two stages."""
    return sum(kept(widths[int(stage) - 1], ratio) for stage in pair)


def join_width(widths: Sequence[int], ratio: float, join: Sequence[str]) -> int:
    """Return the channels of a merge of two pairs of stages."""
    return sum(kept(pair_width(widths, ratio, pair), ratio) for pair in join)


def head_widths(widths: Sequence[int], ratio: float) -> list[int]:
    """Return all numbers of channels that a head can have: those of its two merges of merges."""
    return sorted({sum(join_width(widths, ratio, j) for j in joins) for _, joins in wirings()})


def _initialise(module: nn.Module) -> None:
    if isinstance(module, RegNet):
        return
    initialise(module)
    for part in module.children():
        _initialise(part)


_KINDS: dict[Any, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "Literal['up', 'even']": (str,),
    'Literal["up", "even"]': (str,),
}
_WORDS = {int: "a whole number", float: "a number", type(None): "null", str: "a text"}
