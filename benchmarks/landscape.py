"""How fast a landscape is measured, and whether samples of it tell the truth.

Published tables hold every network of their space (NAS-Bench-201, NAS-Bench-Macro), so that the
measures of the footprint are known exactly and a sample can be held against them:

* seconds: neighbours of all models; all local optima, basins and climbs (limit 2 s on
  NAS-Bench-201: 15,625 cells with 24 neighbours); neighbours, optima, basins and their network,
  autocorrelation and FDC of all models together; microseconds of a step of a random walk, 30 walks
  at once and one alone (limit 5).
* truth: the measures of the whole table.
* rivals: the same of parameters and proxies, as landscapes of their own.
* coverage: how often the 95 % interval of a sample of the papers' size holds the truth, and how far
  the sample is off on average (bias, in per cent of the truth).  Walks: 30 of 100 and of 1,000
  steps, all as one and, as in the papers, each by itself.  Models: 100 drawn without replacement.
  Climbs: 16 rounds of 200.
* thinned: ρ(1) of random parts of a table, whose neighbours are the 20 nearest, as those of HyTAS.
* reach: evaluations that random search, local search and evolution need for the best 1 %.

HyTAS's tables hold 2,000 of 7.9e14 networks: their "truth" is that of these.

    python benchmarks/landscape.py             # about a minute on one core
    python benchmarks/landscape.py --quick     # two landscapes, few repetitions
    python benchmarks/landscape.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from swath.core.machine import describe
from swath.estimators import tables
from swath.landscape import Landscape, Measure, footprint, of_mapping, of_table, open_landscapes
from swath.landscape.distance import distance_correlation, distances_to_best
from swath.landscape.measure import bootstrap
from swath.landscape.network import optima_network
from swath.landscape.optima import birthday, chao, find_optima, meetings, sampled_climbs
from swath.landscape.persistence import persistence
from swath.landscape.walks import (
    exact_autocorrelation,
    mean_autocorrelation,
    pooled_autocorrelation,
    random_walks,
    ruggedness,
)

LANDSCAPES = [
    ("nas_bench_201", "cifar10-test", 12),
    ("nas_bench_201", "cifar10-test", 200),
    ("nas_bench_201", "cifar100-test", 12),
    ("nas_bench_201", "cifar100-test", 200),
    ("nas_bench_201", "imagenet16-120-test", 12),
    ("nas_bench_201", "imagenet16-120-test", 200),
    ("nas_bench_macro", "cifar10-test", None),
    ("hytas_indian", "oa", None),
    ("hytas_houston", "oa", None),
    ("hytas_pavia", "oa", None),
]
SAMPLED = (("nas_bench_201", "cifar100-test", 200), ("nas_bench_macro", "cifar10-test", None))
RIVALS = {
    ("nas_bench_201", "cifar100-test"): ["parameters", "synflow"],
    ("nas_bench_macro", "cifar10-test"): ["parameters", "flops"],
    ("hytas_indian", "oa"): ["parameters", "synflow", "naswot"],
}
MODELS = 100
OPTIMA_LIMIT, STEP_LIMIT = 2.0, 5.0

SHOWN = {
    "mean": "mean",
    "deviation": "σ",
    "autocorrelation_exact": "ρ(1)",
    "ruggedness": "τ",
    "ruggedness_100": "τ, the papers' way",
    "optima": "optima",
    "optima_effective": "effective",
    "best_basin": "climbs to the best",
    "distance_correlation": "FDC",
    "neutrality": "neutral",
    "positive_persistence": "Pos P25",
    "positive_area": "Pos AuC",
    "negative_persistence": "Neg P25",
    "negative_area": "Neg AuC",
}
OF_RIVALS = {
    "autocorrelation_exact": "ρ(1)",
    "optima": "optima",
    "best_basin": "climbs to the best",
    "climb": "evaluations of a climb",
    "distance_correlation": "FDC",
    "misled_genes": "genes that mislead",
}


def seconds(work: Callable[[], Any], repeat: int = 3) -> float:
    """Return the median seconds of a call."""
    found = []
    for _ in range(repeat):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def speed(name: str, metric: str, repeat: int) -> dict[str, float]:
    """Return the seconds of the parts of one landscape."""
    table = tables.load_table(name)
    _ = table.architectures
    landscape = of_table(table, metric)
    rng = np.random.default_rng(0)
    steps = 20_000
    return {
        "neighbours": seconds(lambda: of_table(table, metric), repeat),
        "optima": seconds(lambda: find_optima(landscape), repeat),
        "exact": seconds(lambda: exhaustive(of_table(table, metric)), repeat),
        "step of 30 walks, us": 1e6
        * seconds(lambda: random_walks(landscape, 30, 2000, rng), repeat)
        / 60_000,
        "step of one walk, us": 1e6
        * seconds(lambda: random_walks(landscape, 1, steps, rng), repeat)
        / steps,
    }


def exhaustive(landscape: Landscape) -> None:
    """Measure what is known without a draw: optima, basins, autocorrelation, FDC."""
    optima_network(landscape, find_optima(landscape))
    exact_autocorrelation(landscape, 20)
    distances = distances_to_best(landscape)
    rng = np.random.default_rng(0)
    distance_correlation(distances, landscape.merit, resamples=0, rng=rng)


def short_walks(landscape: Landscape) -> Measure:
    """Return what ruggedness is on average as in the papers: 1 / mean rho of walks of 100 steps."""
    rng = np.random.default_rng(0)
    series = landscape.fitness[random_walks(landscape, 1000, 100, rng)]
    return ruggedness(mean_autocorrelation(series))


def coverage(landscape: Landscape, repeat: int) -> dict[str, dict[str, float]]:
    """Return how often each estimate's interval holds the truth, and its bias in per cent."""
    optima = find_optima(landscape)
    distances = distances_to_best(landscape)
    exact = exact_autocorrelation(landscape)
    assert exact is not None
    nothing = np.random.default_rng(0)
    truth = {
        "mean of 100 models": float(landscape.fitness.mean()),
        "σ of 100 models": float(landscape.fitness.std(ddof=1)),
        "FDC of 100 models, to the best of all": distance_correlation(
            distances, landscape.merit, resamples=0, rng=nothing
        ).value,
        **{f"ρ(1), {name}": float(exact[1]) for name in (*WALKS, *OWN)},
        "optima by Chao": float(optima.count),
        "effective optima by meetings": optima.effective,
        "effective optima by birthday": optima.effective,
    }
    truth["FDC of 100 models, to the best of them"] = truth["FDC of 100 models, to the best of all"]
    if landscape.stages:
        whole = persistence(landscape.stages, resamples=0, rng=nothing)
        for side in ("positive", "negative"):
            truth[f"{side} P25 of 100 models"] = whole.at_25[side].value
            truth[f"{side} AuC of 100 models"] = whole.area[side].value
    found: dict[str, list[Measure]] = {name: [] for name in truth}
    for seed in range(repeat):
        for name, one in samples(landscape, optima, distances, np.random.default_rng(seed)):
            found[name].append(one)
    return {name: judged(several, float(truth[name] or 0)) for name, several in found.items()}


WALKS = ("one walk of 1,000", "30 walks of 100", "30 walks of 1,000")
OWN = ("mean of 30 walks' own, of 100", "mean of 30 walks' own, of 1,000")


def samples(
    landscape: Landscape, optima: Any, distances: Any, rng: np.random.Generator
) -> Iterator[tuple[str, Measure]]:
    """Yield each estimate from one sample."""
    rows = rng.choice(len(landscape), MODELS, replace=False)
    fitness, merit = landscape.fitness[rows], landscape.merit[rows]

    def interval(statistic: Callable[..., Any]) -> tuple[float | None, float | None]:
        return bootstrap(statistic, fitness, resamples=500, rng=rng)

    mean, spread = float(fitness.mean()), float(fitness.std(ddof=1))
    yield "mean of 100 models", Measure(mean, *interval(lambda x: x.mean(axis=1)))
    yield "σ of 100 models", Measure(spread, *interval(lambda x: x.std(axis=1, ddof=1)))
    ways = {"best of all": distances[rows], "best of them": distances_to_best(landscape, rows)}
    for way, apart in ways.items():
        name = f"FDC of 100 models, to the {way}"
        yield name, distance_correlation(apart, merit, resamples=500, rng=rng)
    for name, count, steps in zip(WALKS, (1, 30, 30), (1000, 100, 1000), strict=True):
        series = landscape.fitness[random_walks(landscape, count, steps, rng)]
        yield f"ρ(1), {name}", pooled_autocorrelation(series)
        if count > 1:
            own = OWN[0] if steps == 100 else OWN[1]
            yield f"ρ(1), {own}", mean_autocorrelation(series)
    climbs = sampled_climbs(optima, 16, 200, rng)
    yield "optima by Chao", chao(climbs)
    yield "effective optima by meetings", meetings(climbs)
    yield "effective optima by birthday", birthday(climbs)
    if landscape.stages:
        stages = {budget: values[rows] for budget, values in landscape.stages.items()}
        few = persistence(stages, resamples=200, rng=rng)
        for side in ("positive", "negative"):
            yield f"{side} P25 of 100 models", few.at_25[side]
            yield f"{side} AuC of 100 models", few.area[side]


def judged(several: list[Measure], truth: float) -> dict[str, float]:
    """Return truth, mean estimate, bias in per cent, and the share of intervals that hold it."""
    inside = [
        (one.low is None or one.low <= truth) and (one.high is None or truth <= one.high)
        for one in several
    ]
    mean = statistics.fmean(one.value for one in several if one.value is not None)
    return {
        "truth": truth,
        "mean": mean,
        "bias": 100 * (mean - truth) / abs(truth),
        "inside": sum(inside) / len(several),
        "samples": len(several),
    }


def title(name: str, metric: str, budget: int | None) -> str:
    """Return how a landscape is called in the tables."""
    return f"{name}, {metric}" + ("" if budget is None else f", {budget} epochs")


def of_rivals(name: str, metric: str, columns: list[str]) -> dict[str, Any]:
    """Return the measures of a figure's landscape and of those of other figures beside it."""
    found = {}
    for landscape in open_landscapes(name, metric, columns=columns):
        one = footprint(landscape, resamples=0)
        found[landscape.metric] = {key: one.measures[key].to_dict() for key in OF_RIVALS}
    return found


def rivals_table(found: dict[str, Any]) -> str:
    """Return landscapes of accuracy beside those of other figures."""
    heads = " | ".join(OF_RIVALS.values())
    lines = [f"| table | landscape of | {heads} |", "|---" * (len(OF_RIVALS) + 2) + "|"]
    for table, rows in found.items():
        for metric, row in rows.items():
            cells = " | ".join(cell(row[key]) for key in OF_RIVALS)
            lines.append(f"| {table} | {metric} | {cells} |")
    return "\n".join(lines)


def thinned(landscape: Landscape, sizes: tuple[int, ...], draws: int) -> dict[str, Any]:
    """Return how far nearest neighbours are and how alike, in random parts of a landscape."""
    found = {}
    for size in sizes:
        apart, rho = [], []
        for seed in range(draws):
            rows = np.random.default_rng(seed).choice(len(landscape), size, replace=False)
            part = of_mapping(
                landscape.space,
                {landscape.architectures[row]: landscape.fitness[row] for row in rows},
                neighbourhood="nearest",
            )
            apart.append(genes_apart(part))
            exact = exact_autocorrelation(part)
            assert exact is not None
            rho.append(float(exact[1]))
        found[f"{landscape.name}, {size:,} drawn"] = {
            "genes apart": statistics.fmean(apart),
            "ρ(1)": statistics.fmean(rho),
        }
    return found


def genes_apart(landscape: Landscape) -> float:
    """Return in how many genes neighbours differ on average."""
    graph = landscape.graph
    differ = (landscape.codes[:, None] != landscape.codes[graph.neighbours]).sum(-1)
    return float(differ[graph.present].mean())


def of_parts(names: dict[str, str], draws: int) -> dict[str, Any]:
    """Return how far neighbours are and how alike, of thinned NAS-Bench-Macro and of HyTAS."""
    found = {}
    for name, metric in names.items():
        landscape = of_table(tables.load_table(name), metric)
        if landscape.complete and name != "nas_bench_macro":
            continue
        exact = exact_autocorrelation(landscape)
        assert exact is not None
        found[name] = {"genes apart": genes_apart(landscape), "ρ(1)": float(exact[1])}
        if landscape.complete:
            found |= thinned(landscape, (2000, 500, 200), draws)
    return found


def thinned_table(found: dict[str, Any]) -> str:
    """Return how alike neighbours are that are further apart."""
    lines = ["| models | genes in which neighbours differ | ρ(1) |", "|---|---|---|"]
    lines += [
        f"| {name} | {row['genes apart']:.2f} | {row['ρ(1)']:.3f} |" for name, row in found.items()
    ]
    return "\n".join(lines)


def cell(measure: dict[str, Any]) -> str:
    """Return a measure as a cell."""
    if measure["value"] is None:
        return "–"
    return f"{measure['value']:,.3g}" if measure["value"] < 1e4 else f"{measure['value']:,.0f}"


def truth_table(truth: dict[str, Any]) -> str:
    """Return the measures of whole tables."""
    lines = [
        f"| landscape | models | {' | '.join(SHOWN.values())} | best fit |",
        "|---" * (len(SHOWN) + 3) + "|",
    ]
    for name, one in truth.items():
        cells = " | ".join(cell(one["measures"][key]) for key in SHOWN)
        lines.append(f"| {name} | {one['models']:,} | {cells} | {one['fit']} |")
    return "\n".join(lines)


def coverage_table(found: dict[str, Any]) -> str:
    """Return how far samples are off, and how often their intervals hold the truth."""
    lines = []
    for name, rows in found.items():
        lines += [
            f"**{name}**",
            "",
            "| estimate | truth | mean of the samples | bias | intervals that hold the truth |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {key} | {row['truth']:.3g} | {row['mean']:.3g} | {row['bias']:+.1f} % | "
            f"{100 * row['inside']:.0f} % of {row['samples']} |"
            for key, row in rows.items()
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def reach_table(found: dict[str, Any]) -> str:
    """Return what it costs to reach the best 1 %."""
    names = list(next(iter(found.values())))
    lines = [f"| landscape | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, rows in found.items():
        cells = [
            f"{one['value']:.0f} [{one['low']:.0f}, {one['high']:.0f}]" for one in rows.values()
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed_table(found: dict[str, Any]) -> str:
    """Return the seconds."""
    names = list(next(iter(found.values())))
    heads = [f"{name}, s" if "us" not in name else name for name in names]
    lines = [f"| table | {' | '.join(heads)} |", "|---" * (len(names) + 1) + "|"]
    for name, row in found.items():
        lines.append(f"| {name} | {' | '.join(f'{row[key]:.2g}' for key in names)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two landscapes, few repetitions")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    here = [one for one in LANDSCAPES if tables.table_files(one[0])]
    if not here:
        sys.exit("set SWATH_DATA to the folder of the data")
    if options.quick:
        here = [one for one in here if one in SAMPLED] or here[:1]
    names = {name: metric for name, metric, _ in here}
    results: dict[str, Any] = {"command": "benchmarks/landscape.py --json", "machine": describe()}
    repeat = 3 if options.quick else 9
    results["speed"] = {name: speed(name, metric, repeat) for name, metric in names.items()}
    results["truth"], results["reach"] = {}, {}
    searches = 10 if options.quick else 50
    for name, metric, budget in here:
        landscape = of_table(tables.load_table(name), metric, budget)
        last = (name, metric, budget) in SAMPLED or not landscape.complete
        found = footprint(landscape, searches=searches if last else 0)
        called = title(name, metric, budget)
        results["truth"][called] = {
            "models": found.models,
            "measures": {
                key: one.to_dict()
                for key, one in {**found.measures, "ruggedness_100": short_walks(landscape)}.items()
                if key in SHOWN
            },
            "fit": found.fits[0].family,
        }
        if last:
            results["reach"][called] = {
                key.removeprefix("reach_"): one.to_dict()
                for key, one in found.measures.items()
                if key.startswith("reach_")
            }
    results["coverage"] = {
        title(*one): coverage(
            of_table(tables.load_table(one[0]), *one[1:]), 10 if options.quick else 100
        )
        for one in here
        if one in SAMPLED
    }
    results["rivals"] = {
        name: of_rivals(name, metric, columns)
        for (name, metric), columns in RIVALS.items()
        if name in names
    }
    results["thinned"] = of_parts(names, 2 if options.quick else 10)
    print(f"{results['machine']}\n\n{speed_table(results['speed'])}\n")
    print(f"{truth_table(results['truth'])}\n\n{coverage_table(results['coverage'])}\n")
    print(f"{rivals_table(results['rivals'])}\n")
    print(f"{thinned_table(results['thinned'])}\n")
    print(f"Evaluations to the best 1 %\n\n{reach_table(results['reach'])}\n")
    slowest = max(row["optima"] for row in results["speed"].values())
    step = max(row["step of one walk, us"] for row in results["speed"].values())
    print(
        f"all optima of the largest: {slowest:.3f} s (limit {OPTIMA_LIMIT:g}); a step of one walk: "
        f"{step:.2f} us (limit {STEP_LIMIT:g})"
    )
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
