"""The tables of benchmarks/hytas_tables.py: ours beside what was published, a row a dictionary."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from _hytas.networks import ALL, SCENES, batch, network
from _hytas.published import (
    EXACT,
    FILES,
    FIRST,
    KINDS,
    TABLE_8,
    column,
    croze_of_sizes,
    independent,
    layers,
    published,
    score_file,
    signed,
    theirs,
)
from _hytas.scores import (
    COMPARED,
    DATA_FREE,
    FUSIONS,
    OWN,
    SETTINGS,
    VARIATIONS,
    Columns,
    Scores,
    Setting,
)
from swath import proxies
from swath.estimators.factors import trivial_rivals
from swath.estimators.proxies.evidence import Codes
from swath.estimators.proxies.layers import scored_layers
from swath.estimators.proxies.recording import recorded
from swath.estimators.rank_correlation import correlate, spearman

__all__ = [
    "Row",
    "all_proxies",
    "clean",
    "compared",
    "dependence",
    "exact",
    "fusions",
    "otherwise",
    "own_weights",
    "signs",
    "table_8",
    "trained_twice",
    "whole_columns",
]

Floats = npt.NDArray[np.float64]
SIZES = ("flops", "parameters", "width")  # proxies that only count, besides depth
LEAST_ROWS = 5  # of fewer networks there is no correlation

Row = dict[str, Any]


def exact() -> list[Row]:
    """Return the first two networks' scores, ours and published."""
    found = []
    for scene, signs, name, expected in EXACT:
        setting = Setting(DATA_FREE, variant="authors", signs=signs)
        space = ALL[scene].space
        row: Row = {"scene": scene, "made positive": signs, "score": name}
        for number, (lists, value) in enumerate(zip(FIRST, expected, strict=True), 1):
            ours = setting.score(scene, space.from_lists(*lists))[name]
            row |= {f"ours {number}": ours, f"published {number}": value}
            row[f"relative difference {number}"] = abs(ours / value - 1)
        found.append(row)
    return found


def whole_columns(scores: Scores) -> list[Row]:
    """Return how far scores as coded are from whole published columns."""
    pairs = []
    for name in DATA_FREE:
        pairs.append(("indian", "authors, none", name, signed(name)))
        pairs += [(scene, "authors, caf", name, column(scene, name)) for scene in SCENES]
        for part, short in KINDS.items() if name != "logsynflow" else ():
            for setting, end in (("authors, none", "_nolinear"), ("authors, caf", "")):
                file = score_file(f"{name}_{short}{end}", name)
                pairs.append(("indian", setting, f"{name}/{part}", file))
    found = []
    for scene, setting, name, values in pairs:
        ours = Columns.of(scores, setting, scene)
        off = np.abs(ours.values[name] / values[ours.rows] - 1)
        found.append(
            {
                "scene": scene,
                "made positive": SETTINGS[setting].signs,
                "score": name,
                "networks": len(ours.rows),
                "rank correlation": spearman(ours.values[name], values[ours.rows]),
                "median relative difference": float(np.median(off)),
                "largest": float(off.max()),
            }
        )
    return found


def clean(scores: Scores) -> list[Row]:
    """Return how data-free scores rank, for each definition and choice of signs."""
    found = []
    kept = ("authors, none", "papers, none", next(iter(OWN)))
    for setting in (*kept, "authors, caf", "papers, caf", "papers"):
        for scene in SCENES:
            ours = Columns.of(scores, setting, scene)
            for name in DATA_FREE:
                values, oa = ours.values[name], column(scene, "oa")
                kept_signs, signs = setting in kept, SETTINGS[setting].signs
                row: Row = {
                    "scene": scene,
                    "definition": SETTINGS[setting].variant,
                    "weights": SETTINGS[setting].weights,
                    "made positive": signs,
                    "score": name,
                    "networks": len(ours.rows),
                    "with OA": interval(values, oa[ours.rows]),
                    "independently": independent(scene, name, signs, ours.rows),
                    "with the published column": None,
                }
                if scene == "indian" or (name == "dss" and not kept_signs):
                    file = signed(name) if kept_signs else column(scene, name)
                    row["with the published column"] = spearman(values, file[ours.rows])
                found.append(row)
    return found


def own_weights(scores: Scores) -> list[Row]:
    """Return how scores as defined rank on supernets of our own, one by one and averaged.

    Averaged are the logarithms of the scores.  Supernets that were not scored are left out.
    """
    scored = {setting for setting, scene, _ in scores if scene == "indian"}
    several = {
        str(SETTINGS[name].seed): Columns.of(scores, name, "indian")
        for name in OWN
        if name in scored
    }
    common = sorted(set.intersection(*(set(one.rows) for one in several.values())))
    oa, found = column("indian", "oa")[common], []
    for name in DATA_FREE:
        file = signed(name)[common]
        values = {seed: np.log(one.at(common)[name]) for seed, one in several.items()}
        for seed, one in [*values.items(), ("averaged", np.mean([*values.values()], axis=0))]:
            others = [spearman(one, two) for other, two in values.items() if other != seed]
            found.append(
                {
                    "score": name,
                    "supernet": seed,
                    "networks": len(common),
                    "with the published column": spearman(one, file),
                    "with the other supernets, least": min(others),
                    "with OA": interval(one, oa),
                }
            )
    return found


def fusions(scores: Scores) -> list[Row]:
    """Return how dss ranks on supernets of our own, and on two that have each other's fusions.

    Also how large the scores are beside the published ones, of the shallowest and the deepest
    networks, and what averages of several supernets reach (of the scores' logarithms).
    """
    columns = {
        (one.seed, one.fusions): Columns.of(scores, name, "indian") for name, one in FUSIONS.items()
    }
    rows = next(iter(columns.values())).rows
    file, depth = signed("dss")[rows], layers("indian")[rows]
    found: list[Row] = []
    for (seed, fused), ours in columns.items():
        values = ours.at(rows)["dss"]
        shallow, deep = (depth == end for end in (depth.min(), depth.max()))
        found.append(
            {
                "supernet": str(seed),
                "fusions of": str(fused),
                "networks": len(rows),
                "with the published column": spearman(values, file),
                "median ratio, 4 layers": float(np.median((values / file)[shallow])),
                "median ratio, 10 layers": float(np.median((values / file)[deep])),
            }
        )
    logs = [np.log(one.at(rows)["dss"]) for (seed, own), one in columns.items() if seed == own]
    for number in range(2, len(logs) + 1):
        means = [np.mean(some, axis=0) for some in itertools.combinations(logs, number)]
        reached = [spearman(mean, file) for mean in means]
        found.append(
            {
                "supernet": f"{number} averaged",
                "networks": len(rows),
                "with the published column": min(reached),
                "most": max(reached),
            }
        )
    return found


def compared(scores: Scores) -> list[Row]:
    """Return how four scores of data rank, on more networks than all proxies have.

    Sizes, on the same networks, come first.  Scenes that were not scored are left out.
    """
    found = []
    scored = {scene for setting, scene, _ in scores if setting == "compared"}
    for scene in (scene for scene in SCENES if scene in scored):
        ours, oa = Columns.of(scores, "compared", scene), column(scene, "oa")
        found += trivial(scene, ours.rows)
        for name in (*COMPARED, "zico_act, mean over layers"):
            stem, _, mean = name.partition(", ")
            values, file = ours.values[stem], column(scene, stem)[ours.rows]
            values = values / layers(scene)[ours.rows] if mean else values
            found.append(
                {
                    "scene": scene,
                    "score": name,
                    "networks": len(ours.rows),
                    "with OA": interval(values, oa[ours.rows]),
                    "published, same networks": spearman(file, oa[ours.rows]),
                    "agreement": spearman(values, file),
                }
            )
    return found


def trivial(scene: str, rows: list[int]) -> list[Row]:
    """Return how the sizes of networks rank them."""
    oa = column(scene, "oa")[rows]
    return [
        {
            "scene": scene,
            "score": f"trivial: {name}",
            "networks": len(rows),
            "with OA": interval(one[rows], oa),
            "published, same networks": None,
            "agreement": None,
        }
        for name, one in sizes(scene).items()
    ]


def sizes(scene: str) -> dict[str, Floats]:
    """Return the trivial scores of all networks of a table, by name."""
    found = trivial_rivals(SCENES[scene].space, theirs(scene).architectures)
    return found | {f"{n}, as published": column(scene, n) for n in ("flops", "parameters")}


def signs(scores: Scores) -> list[Row]:
    """Return how scores as defined by their papers rank with each choice, on the same networks."""
    settings = {"none": "papers, none", "caf": "papers, caf", "all": "papers"}
    found = []
    for scene in SCENES:
        ways = {way: Columns.of(scores, name, scene) for way, name in settings.items()}
        common = sorted(set.intersection(*(set(one.rows) for one in ways.values())))
        oa = column(scene, "oa")[common]
        for name in DATA_FREE:
            row: Row = {"scene": scene, "score": name, "networks": len(common)}
            for way, one in ways.items():
                row[f"{way}: with OA"] = interval(one.at(common)[name], oa)
            found.append(row)
    return found


def interval(values: Floats, measured: Floats) -> list[float] | None:
    """Return Spearman's correlation and its 95 % interval; None where values do not differ."""
    known = values[np.isfinite(values)]
    if len(known) < LEAST_ROWS or np.ptp(known) == 0:
        return None
    found = correlate({"score": values}, measured)["score"].spearman
    return [found.value, found.low, found.high]


def scene_columns(
    scores: Scores, scene: str
) -> Iterator[tuple[str, list[int], Floats, Floats | None]]:
    """Yield scores: title, networks, ours, and the published ones of all networks."""
    every = list(range(len(theirs(scene))))
    papers, kept = (Columns.of(scores, name, scene) for name in ("papers", "papers, none"))
    coded = [
        Columns.of(scores, name, scene)
        for name in ("authors", "not cleared")
        if scene in SETTINGS[name].scenes
    ]
    for name, values in sizes(scene).items():
        yield f"trivial: {name}, all networks", every, values, None
        yield f"trivial: {name}", papers.rows, values[papers.rows], None
    for name in SIZES:
        yield f"trivial: {name}", papers.rows, papers.values[name], None
    for name in [*proxies.names(), *(name for name in FILES if "/" in name)]:
        if name in (*SIZES, "depth"):
            continue
        # Two of the data-free columns hold Indian Pines's scores whatever the scene.
        file = column(scene, name) if name in DATA_FREE else published(scene, name)
        yield name, papers.rows, papers.values[name], file
        if name in DATA_FREE:
            file = signed(name) if scene == "indian" else None
            yield f"{name}, signs kept", papers.rows, kept.at(papers.rows)[name], file
        for ours in coded:
            if name in ours.values:
                yield f"{name}, as coded", ours.rows, ours.values[name], file
        if name == "zico_act":
            mean = papers.values[name] / layers(scene)[papers.rows]
            yield "zico_act, mean over layers", papers.rows, mean, file
    # The later a layer, the less it counts; ours has no such variant of zico.
    yield "zico_modified", every, np.full(len(every), math.nan), column(scene, "zico_modified")


def all_proxies(scores: Scores) -> list[Row]:
    """Return each score's correlation with OA, that of the published column, and of the two."""
    found: dict[str, Row] = {}
    for scene, of in SCENES.items():
        oa = column(scene, "oa")
        for name, rows, values, file in scene_columns(scores, scene):
            figures: Row = {"networks": len(rows), "ours": interval(values, oa[rows])}
            figures |= dict.fromkeys(("published", "published, same networks", "agreement"))
            if file is not None:
                figures["published"] = spearman(file, oa)
                figures["published, same networks"] = spearman(file[rows], oa[rows])
                agreement = spearman(values, file[rows])
                figures["agreement"] = agreement if math.isfinite(agreement) else None
            row = found.setdefault(name, {"score": name})
            row |= {f"{of.title}: {head}": value for head, value in figures.items()}
    return list(found.values())


def few_rows(scores: Scores) -> list[int]:
    """Return the networks of Indian Pines that were scored in every way."""
    ways = ("papers", "papers, none", *VARIATIONS)
    rows = [set(Columns.of(scores, name, "indian").rows) for name in ways]
    return sorted(set.intersection(*rows))


def dependence(scores: Scores) -> list[Row]:
    """Return agreement with the published columns when weights or batch are others."""
    few = few_rows(scores)
    columns = {name: column("indian", name) for name in COMPARED}
    columns |= {name: signed(name) for name in DATA_FREE}
    found = []
    for setting in ("papers", "papers, none", *VARIATIONS):
        ours = Columns.of(scores, setting, "indian")
        values_of = ours.at(few)
        row: Row = {"setting": setting, "networks": len(few), **dict.fromkeys(columns)}
        for name, values in columns.items():
            if name in values_of and (setting != "papers" or name in COMPARED):
                own = values_of[name] / (layers("indian")[few] if name == "zico_act" else 1)
                row[name] = spearman(own, values[few])
        found.append(row)
    return found


def table_8() -> list[Row]:
    """Return the published table and that of the files: "without" is Indian Pines's everywhere."""
    place = {one: row for row, one in enumerate(theirs("indian").architectures)}
    found = []
    for (scene, name), expected in TABLE_8.items():
        oa = column(scene, "oa")
        indian = [place[one] for one in theirs(scene).architectures]
        row: Row = {"scene": scene, "score": name}
        pair = {"with": column(scene, name), "without": signed(name)[indian]}
        values = [float(oa[one.argmax()]) for one in pair.values()]
        values += [spearman(one, oa) for one in pair.values()]
        heads = [f"{what} {sign}" for what in ("best", "correlation") for sign in pair]
        for head, files, printed in zip(heads, values, expected, strict=True):
            row |= {f"{head}, published": printed, f"{head}, files": files}
        found.append(row)
    return found


def t_cet_quotient(row: int) -> float:
    """Return the sum, over the layers of all blocks, of log |det K| over log(S / s).

    The code multiplies the two (S and s are sum and deviation of |g W|, K how often two samples
    agree in the sign of an output).
    """
    made = network("indian", theirs("indian").architectures[row], "authors")
    x, targets = batch("indian")
    names = [n for n, kind in scored_layers(made).items() if kind in ("attention", "mlp")]
    with recorded(made, names, outputs=True) as record:
        torch.autograd.backward(nn.functional.cross_entropy(made(x), targets))
    total = 0.0
    for name in names:
        code = Codes(len(x))
        code.add(record.outputs[name][0])
        weight = made.get_parameter(f"{name}.weight")
        assert weight.grad is not None
        saliency = (weight.detach() * weight.grad).abs()
        total += float(code.log_determinant / (saliency.sum() / saliency.std()).log())
    return total


def otherwise(scores: Scores) -> list[Row]:
    """Return how published columns agree with what they are not said to be."""
    few = Columns.of(scores, "noise", "indian").rows
    pairs = [("t_cet", "indian", np.array([t_cet_quotient(row) for row in few]), few)]
    for scene in SCENES:
        every = list(range(len(theirs(scene))))
        pairs.append(("croze", scene, croze_of_sizes(scene), every))
    found: list[Row] = []
    for name, scene, values, rows in pairs:
        own, oa = column(scene, name)[rows], column(scene, "oa")[rows]
        found.append(
            {
                "column": name,
                "scene": scene,
                "networks": len(rows),
                "rank correlation": spearman(values, own),
                "least ratio": float((own / values).min()),
                "median ratio": float(np.median(own / values)),
                "largest ratio": float((own / values).max()),
                "column with OA": spearman(own, oa),
                "this with OA": spearman(values, oa),
            }
        )
    for scene in SCENES:
        # What was rounded to four decimals before it was divided has four decimals again.
        product = column(scene, "zico_act") * layers(scene)
        found.append(
            {
                "column": "zico_act x (4 depth + 3)",
                "scene": scene,
                "networks": len(product),
                "largest rest after four decimals": float(np.abs(product - product.round(4)).max()),
            }
        )
    return found


def trained_twice() -> list[Row]:
    """Return how alike two trainings of the same network are; some of Houston's had two."""
    first, second = column("houston", "oa"), column("houston", "oa-second")
    both = np.isfinite(second)
    gap = np.abs(first - second)[both]
    return [
        {
            "scene": "houston",
            "networks": int(both.sum()),
            "rank correlation": interval(first[both], second[both]),
            "median difference of OA": float(np.median(gap)),
            "largest": float(gap.max()),
            "share of equal": float((gap == 0).mean()),
        }
    ]
