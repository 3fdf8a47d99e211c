"""Segmentation networks of SEG101's space trained on real road tiles, and what can be told of them.

    SWATH_DATA=... python benchmarks/segmentation_table.py train [--part 0/2] [--out FILE.csv]
    SWATH_DATA=... python benchmarks/segmentation_table.py compare [--quick] [--out FILE.json]

The task: roads in 60 aerial tiles of 400 x 400 pixels (40 train, 10 validate, 10 test; split by
image with seed 0; masks above 127 are road).  The space: `seg101` on the backbone `narrow`, with
merges that keep a quarter of the channels; 64 canonical networks drawn evenly.

``train`` trains each from scratch, once for each seed, and notes its mean IoU on the validation
tiles after 40, 80 and 160 of 160 updates of one schedule: the figures of a network along one
training, not of three.  The last weights count, no best ones are picked.  Test tiles are not read.
The result is a CSV file, a line each, which a later call continues; two processes share the work
with ``--part 0/2`` and ``--part 1/2`` and files of their own.

``compare`` asks what is known of these networks before they are trained: Spearman's rank
correlation of zero-cost scores with the mean IoU (mean over seeds), with bootstrap intervals over
networks, of the six scores of SEG101's table and all others, beside parameters and operations; how
well shorter trainings and the other seed rank them; and the mean IoU that NPENAS-NP, random search
and evolution have found after 30 queries of the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import data_folder
from scipy.stats import spearmanr, wilcoxon

from swath import estimators, spaces, strategies
from swath.core.architecture import Architecture
from swath.core.files import write_json
from swath.core.seeds import derive
from swath.estimators import proxies
from swath.estimators._table_csv import ScoreColumn, convert_csv
from swath.estimators._table_file import write_table
from swath.estimators.rank_correlation import correlate
from swath.networks.cost import count_flops, count_parameters
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.study.studies import run_study
from swath.study.tile_tasks import TileTaskSettings, make_tile_task
from swath.tasks.tiles import TileSampler, TileTask
from swath.training.loop import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
TABLE = RESULTS / "segmentation_table.csv"
SPACE = {"backbone": "narrow", "merge_ratio": 0.25}
NETWORKS, SEEDS, BUDGETS = 64, (0, 1), (40, 80, 160)
CROP = 192
TRAINING = TrainingSettings(
    iterations=BUDGETS[-1],
    window=CROP,
    batch=4,
    loss="cross-entropy+dice",
    optimiser="adamw",
    learning_rate=0.03,
    weight_decay=0.01,
    bias_rate=1.0,
    schedule="warm-cosine",
    clip_value=None,
    clip_norm=5.0,
    validate_every=BUDGETS[0],
)
PAPER = ("grad_norm", "snip", "grasp", "fisher", "synflow", "jacob_cov")
PUBLISHED = {
    "grad_norm": -0.45,
    "snip": -0.46,
    "grasp": 0.07,
    "fisher": -0.48,
    "synflow": 0.05,
    "jacob_cov": 0.03,
}
QUERIES = 30


def road_tiles() -> TileTask:
    """Return the task."""
    folder = data_folder() / "epfl_roads"
    settings = TileTaskSettings(
        source=str(folder), threshold=127, split="random", train=40, validation=10, test=10
    )
    task = make_tile_task(settings, 0)
    task.load()
    return task


def drawn(space: SearchSpace, count: int = NETWORKS) -> list[Architecture]:
    """Return different networks, drawn evenly."""
    rng = np.random.default_rng(0)
    found: dict[Architecture, None] = {}
    while len(found) < count:
        found[space.canonical(space.sample(rng))] = None
    return list(found)


def train_all(out: Path, part: int, parts: int) -> None:
    """Train what is missing in a file, a part of all."""
    torch.set_num_threads(1)
    space, task = spaces.create("seg101", **SPACE), road_tiles()
    genes = [gene.name for gene in space.genes]
    fields = [*genes, "seed", *(f"miou_{b}" for b in BUDGETS), "parameters", "flops", "seconds"]
    done: set[tuple[str, ...]] = set()
    if out.exists():
        with open(out, newline="") as file:
            done = {(*(row[g] for g in genes), row["seed"]) for row in csv.DictReader(file)}
    else:
        with open(out, "w", newline="") as file:
            csv.writer(file).writerow(fields)
    jobs = [(one, seed) for seed in SEEDS for one in drawn(space)]
    for one, seed in jobs[part::parts]:
        if (*(str(one[g]) for g in genes), str(seed)) in done:
            continue
        row = {**one.as_dict(), "seed": seed, **train_one(space, one, task, seed)}
        with open(out, "a", newline="") as file:
            csv.DictWriter(file, fields).writerow(row)


def train_one(space: SearchSpace, one: Architecture, task: TileTask, seed: int) -> dict[str, Any]:
    """Return the mean IoU of a network along its training, and its cost."""
    begun = time.process_time()
    torch.manual_seed(derive(seed, "network"))
    network = space.build(one, InputSpec(task.bands), OutputSpec(task.classes))
    parameters, flops = count_parameters(network), count_flops(network, task.bands, CROP)
    history: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        train(
            network,
            task,
            TRAINING,
            seed=derive(seed, "training"),
            folder=Path(folder),
            report=history.append,
        )
    along = {line["iteration"]: line["validation_miou"] for line in history}
    return {
        **{f"miou_{budget}": f"{along[budget]:.6f}" for budget in BUDGETS},
        "parameters": parameters,
        "flops": flops,
        "seconds": f"{time.process_time() - begun:.1f}",
    }


class Collected:
    """The table: of each network its mean IoU (networks, seeds, budgets), NaN where it was not
    trained with a seed, and its cost.
    """

    def __init__(self, path: Path) -> None:
        self.space = spaces.create("seg101", **SPACE)
        rows: dict[Architecture, dict[int, dict[str, str]]] = {}
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                one = self.space.architecture({g.name: row[g.name] for g in self.space.genes})
                rows.setdefault(one, {})[int(row["seed"])] = row
        self.networks = list(rows)
        self.miou = np.full((len(rows), len(SEEDS), len(BUDGETS)), np.nan)
        for place, runs in enumerate(rows.values()):
            for seed, row in runs.items():
                self.miou[place, SEEDS.index(seed)] = [float(row[f"miou_{b}"]) for b in BUDGETS]
        first = [next(iter(runs.values())) for runs in rows.values()]
        self.parameters = np.array([float(row["parameters"]) for row in first])
        self.flops = np.array([float(row["flops"]) for row in first])
        self.seconds = sum(float(r["seconds"]) for runs in rows.values() for r in runs.values())

    @property
    def truth(self) -> np.ndarray:
        """Mean IoU at the largest budget, mean over the seeds that there are (networks,)."""
        return np.nanmean(self.miou[:, :, -1], axis=1)


def proxy_scores(
    table: Collected, networks: Sequence[Architecture], asked: Sequence[str], variant: str
) -> dict[str, np.ndarray]:
    """Return zero-cost scores (networks,) on one batch of training crops, the same for all."""
    task = road_tiles()
    # Their flow passes a single crop in training mode: pools of the last stage need two pixels.
    count, crop = (8, 256) if variant == "seg101" else (16, 128)
    batch = TileSampler(task, derive(0, "batch"), crop).batch(count, 0, augmented=False)
    columns: dict[str, list[float]] = {name: [] for name in asked}
    for one in networks:
        torch.manual_seed(derive(0, "network"))
        network = table.space.build(one, InputSpec(task.bands), OutputSpec(task.classes))
        found = proxies.score(network, batch, list(asked), variant=variant, seed=0)
        for name in asked:
            columns[name].append(found[name].total)
    return {name: np.array(values) for name, values in columns.items()}


def search_table(table: Collected, repeats: int) -> dict[str, Any]:
    """Return what strategies have found in the table after some queries, over repeats."""
    best = float(table.truth.max())
    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        estimator = estimators.create("table", table=str(_as_table(table, Path(folder))))
        chosen = {
            "random": strategies.create("random"),
            "evolution": strategies.create("evolution", population=10, tournament=4),
            "npenas": strategies.create("npenas", initial=10, batch=5),
            "npenas, published": strategies.create(
                "npenas", variant="published", initial=10, batch=10
            ),
        }
        found: dict[str, list[float]] = {name: [] for name in chosen}
        for seed in range(repeats):
            for name, strategy in chosen.items():
                study = run_study(
                    estimator.search_space(), strategy, estimator, trials=QUERIES, seed=seed
                )
                assert study.best is not None
                assert study.best.evaluation is not None
                found[name].append(study.best.evaluation.score)
    regrets = {name: 100 * (best - np.array(values)) for name, values in found.items()}
    rival = regrets["npenas, published"]
    return {
        "queries": QUERIES,
        "repeats": repeats,
        "best": best,
        "regret_points": {
            name: {
                "mean": float(values.mean()),
                "standard_error": float(values.std(ddof=1) / np.sqrt(len(values))),
                "p_against_npenas": None
                if name == "npenas, published" or not (values != rival).any()
                else float(wilcoxon(values, rival).pvalue),
            }
            for name, values in regrets.items()
        },
    }


def _as_table(table: Collected, folder: Path) -> Path:
    """Write the mean over seeds as a table that studies search, and return its file."""
    source, made = folder / "table.csv", folder / "table.safetensors"
    with open(source, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(gene.name for gene in table.space.genes), "miou"])
        for one, value in zip(table.networks, table.truth, strict=True):
            writer.writerow([*(one[gene.name] for gene in table.space.genes), value])
    write_table(convert_csv(source, table.space, [ScoreColumn("miou")]), made)
    return made


def compare(quick: bool) -> dict[str, Any]:
    """Return the correlations and what strategies find."""
    table = Collected(TABLE)
    both = np.isfinite(table.miou[:, :, -1]).all(axis=1)
    found: dict[str, Any] = {
        "networks": len(table.networks),
        "seeds": list(SEEDS),
        "budgets": list(BUDGETS),
        "training_cpu_seconds": table.seconds,
        "miou": {
            "min": float(table.truth.min()),
            "median": float(np.median(table.truth)),
            "max": float(table.truth.max()),
        },
        "with_both_seeds": int(both.sum()),
        "between_seeds": float(spearmanr(*table.miou[both, :, -1].T).statistic),
        "of_shorter_budgets": {
            str(budget): float(
                spearmanr(np.nanmean(table.miou[:, :, k], axis=1), table.truth).statistic
            )
            for k, budget in enumerate(BUDGETS[:-1])
        },
        "search": search_table(table, 3 if quick else 50),
    }
    rivals = {"parameters": table.parameters, "flops": table.flops}
    names = PAPER if quick else tuple(sorted({*PAPER, *proxies.names()} - {*rivals}))
    networks = table.networks[:12] if quick else table.networks
    truth = table.truth[: len(networks)]
    found["scored_networks"] = len(networks)
    for variant in ("paper",) if quick else ("paper", "seg101"):
        asked = names if variant == "paper" else PAPER
        begun = time.perf_counter()
        columns = {name: values[: len(networks)] for name, values in rivals.items()}
        columns |= proxy_scores(table, networks, asked, variant)
        found[f"proxies_{variant}"] = {
            name: dict(zip(("rho", "low", "high"), astuple(one.spearman), strict=True))
            for name, one in correlate(columns, truth, resamples=1000).items()
            if np.isfinite(one.spearman.value)  # else it is the same for all networks
        }
        found[f"seconds_{variant}"] = time.perf_counter() - begun
    return found


def show(found: dict[str, Any]) -> None:
    """Print the figures as tables."""
    miou = found["miou"]
    print(
        f"{found['networks']} networks: mean IoU {miou['min']:.3f} to "
        f"{miou['max']:.3f}, median {miou['median']:.3f}"
    )
    print(
        f"Spearman between two seeds: {found['between_seeds']:.2f} "
        f"({found['with_both_seeds']} networks with both)"
    )
    for budget, rho in found["of_shorter_budgets"].items():
        print(f"Spearman of {budget} updates with {BUDGETS[-1]}: {rho:.2f}")
    search = found["search"]
    print(
        f"\nregret after {search['queries']} queries, points of mean IoU, {search['repeats']} seeds"
    )
    for name, one in search["regret_points"].items():
        p = one["p_against_npenas"]
        print(
            f"  {name:<18} {one['mean']:6.3f} +- {one['standard_error']:.3f}"
            + ("" if p is None else f"   p {p:.2g}")
        )
    for variant in ("paper", "seg101"):
        if f"proxies_{variant}" in found:
            print(f"\nSpearman with mean IoU, {found['scored_networks']} networks, {variant}:")
            for name, one in found[f"proxies_{variant}"].items():
                published = f"   published {PUBLISHED[name]:+.2f}" if name in PUBLISHED else ""
                interval = f"[{one['low']:+.2f}, {one['high']:+.2f}]"
                print(f"  {name:<16} {one['rho']:+.2f} {interval}{published}")


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="compare", choices=("train", "compare"))
    parser.add_argument("--part", default="0/1", help="of train: this share of the work")
    parser.add_argument("--quick", action="store_true", help="of compare: 12 networks, 3 repeats")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.what == "train":
        part, parts = map(int, options.part.split("/"))
        train_all(options.out or TABLE, part, parts)
        return
    found = compare(options.quick)
    show(found)
    if options.out:
        write_json(options.out, found)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
