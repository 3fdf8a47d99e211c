"""The footprint of a search problem seen by several sensors: our own trainings on real scenes.

Cells of NAS-Bench-101 in small networks (8 channels, three stacks of one cell) are trained from
scratch after 4, 12 and 36 epochs on patches of two scenes, on each sensor alone and on both:

* sentinel: a Sen1Floods11 chip, Sentinel-1 (2 bands), Sentinel-2 (13) and both; water or land.
* houston: the Houston crop, hyperspectral (48 bands), RGB (3) and both on the grid of the RGB.

Patches are split by blocks, so no two parts share a pixel.  All sensors of a scene see the same
patches, the same split and the same cells.  Cells are drawn uniformly; beside them random walks by
one bit of the encoding, as the footprint papers walk, are trained at the last budget.  Fitness is
Cohen's kappa on the validation patches after the last epoch; test patches are read once for each
trained network and decide nothing.

Each training is one row of OUT/sensor_study.csv as soon as it is done; the same command goes on
where it was stopped.  From the rows follow OUT/sensor_study_cells.csv (a line a cell, for
``swath table convert``) and OUT/sensor_study.json (footprints with 95 % intervals, which
``swath landscape`` compares).

    python benchmarks/sensor_study.py --out FOLDER          # an hour of one core
    python benchmarks/sensor_study.py --quick               # one scene, few cells and epochs
    python benchmarks/sensor_study.py --report --out FOLDER # no training, from the rows alone
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import data_folder
from _sensors.measures import EXPECTED, footprint_of, measured, resampled, trained, verdicts
from _sensors.plan import (
    FULL,
    OPTIONS,
    QUICK,
    SENSORS,
    Plan,
    drawn_cells,
    space,
    tasks,
    walk_hashes,
)
from _sensors.trainings import Rows, read_rows, train_all

from swath.core.files import write_json, write_text
from swath.core.machine import describe
from swath.landscape import Footprint
from swath.report.landscape_page import best_family
from swath.tasks.metrics import score, scores


def rivals(plan: Plan, scene: str) -> dict[str, Any]:
    """Return the split, and kappa of classifiers of patch means: (validation, test)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    found: dict[str, Any] = {}
    for sensors, task in tasks(plan, scene).items():
        means = {
            part: task.images(part, np.arange(len(task.targets(part)))).mean((2, 3)).numpy()
            for part in ("train", "validation")
        }
        test = np.concatenate([x.mean((2, 3)).numpy() for x in task.test_images()])
        found.setdefault("split", task.split.description)
        found.setdefault("notes", [*task.patches.notes, *task.split.notes])
        found.setdefault("counts", task.split.counts(task.patches).tolist())
        for name, model in (
            ("logistic regression", LogisticRegression(max_iter=5000)),
            ("support vectors", SVC()),
        ):
            model.fit(means["train"], task.targets("train"))
            answers = model.predict(means["validation"])
            found.setdefault(name, {})[sensors] = (
                score(task.targets("validation"), answers, task.classes).kappa,
                scores(task.test_confusion(model.predict(test))).kappa,
            )
    return found


def report(plan: Plan, path: Path) -> dict[str, Any]:
    """Return all figures, and write the footprints and the table of cells beside the rows."""
    rows = read_rows(path)
    found: dict[str, Any] = {}
    footprints: list[Footprint] = []
    for scene, sets in plan.scenes.items():
        try:
            several = {sensors: trained(plan, rows, scene, sensors) for sensors in sets}
        except KeyError as error:
            sys.exit(f"{error.args[0]} is not trained yet; run without --report")
        known = resampled(plan, several)
        here = {s: footprint_of(plan, f"{scene} {s}", several[s], *known[s]) for s in sets}
        mine = [row for row in rows.values() if row["scene"] == scene]
        found[scene] = {
            "trainings": len(mine),
            "seconds": round(sum(float(row["seconds"]) for row in mine)),
            "measures": {
                sensors: {
                    name: measured(name, values[name], draws[name], plan).to_dict()
                    for name in values
                }
                | {"ruggedness": here[sensors].measures["ruggedness"].to_dict()}
                for sensors, (values, draws) in known.items()
            },
            "best fit": {sensors: best_family(one) for sensors, one in here.items()},
            "comparisons": verdicts(known),
            "rivals": rivals(plan, scene),
        }
        footprints += here.values()
    write_cells(plan, rows, path.with_name("sensor_study_cells.csv"))
    results = {
        "version": 1,  # with "footprints" what 'swath landscape' reads
        "command": "benchmarks/sensor_study.py",
        "machine": describe(),
        "space": {"name": space().name, "options": OPTIONS},
        "plan": {**dataclasses.asdict(plan), "walk": walk_hashes(plan)},
        "scenes": found,
        "footprints": [one.to_dict() for one in footprints],
    }
    write_json(path.with_suffix(".json"), json.loads(json.dumps(results)))
    return results


def write_cells(plan: Plan, rows: Rows, path: Path) -> None:
    """Write a line a sampled cell: its genes, and kappa of each sensor and budget, of seed 0."""
    sets = [(scene, sensors) for scene, sets in plan.scenes.items() for sensors in sets]
    names = [f"{scene}-{sensors}-{epochs}" for scene, sensors in sets for epochs in plan.budgets]
    lines = [",".join(("cell", "architecture", "parameters", *names))]
    for cell in drawn_cells(plan):
        key = space().cell_hash(cell)
        kappas = [
            rows[scene, sensors, key, epochs, plan.seeds[0]]["kappa_validation"]
            for scene, sensors in sets
            for epochs in plan.budgets
        ]
        genes = ",".join(f"{name}={value}" for name, value in cell.genes)
        size = rows[*sets[0], key, plan.budgets[-1], plan.seeds[0]]["parameters"]
        lines.append(",".join((key, f'"{genes}"', size, *kappas)))
    write_text(path, "\n".join(lines) + "\n")


SHOWN = {
    "mean": "mean κ",
    "deviation": "σ",
    "test": "mean κ, test",
    "autocorrelation": "ρ(1) of the walk",
    "ruggedness": "τ = 1 / ρ(1)",
    "step_true": "ρ(1) without noise",
    "repeated": "two trainings of a cell",
    "distance_correlation": "FDC",
    "positive_persistence": "Pos P25",
    "positive_area": "Pos AuC",
    "negative_persistence": "Neg P25",
    "negative_area": "Neg AuC",
    "size": "κ and parameters",
    "size_autocorrelation": "ρ(1) of parameters",
    "validation_test": "validation and test κ",
}


def number(one: Mapping[str, Any] | None) -> str:
    """Return a figure with its interval as a cell of a table."""
    if one is None or one["value"] is None:
        return "–"
    ends = ("…" if one[end] is None else f"{one[end]:.2f}" for end in ("low", "high"))
    return f"{one['value']:.2f} [{', '.join(ends)}]"


def measures_table(scenes: Mapping[str, Any]) -> str:
    """Return the measures of all sensors of all scenes."""
    columns = [(scene, sensors) for scene, one in scenes.items() for sensors in one["measures"]]
    lines = [
        "| | " + " | ".join(f"{scene} {sensors}" for scene, sensors in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name, label in SHOWN.items():
        figures = [scenes[scene]["measures"][sensors].get(name) for scene, sensors in columns]
        if any(figures):
            lines.append(f"| {label} | {' | '.join(map(number, figures))} |")
    best = [scenes[scene]["best fit"][sensors] for scene, sensors in columns]
    lines.append(f"| best fit | {' | '.join(best)} |")
    for rival in ("logistic regression", "support vectors"):
        pairs = [scenes[scene]["rivals"][rival][sensors] for scene, sensors in columns]
        cells = [f"{validation:.2f}, {test:.2f}" for validation, test in pairs]
        lines.append(f"| {rival}: κ, test | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts_table(scenes: Mapping[str, Any]) -> str:
    """Return how the better-fitting sensor of each pair differs."""
    rows = [row for one in scenes.values() for row in one["comparisons"]]
    names = [name for name in ("mean", *EXPECTED) if any(name in row for row in rows)]
    heads = " | ".join(f"Δ {SHOWN[name]}" for name in names)
    lines = [f"| better, other | {heads} |", "|---" * (len(names) + 1) + "|"]
    for scene, one in scenes.items():
        for row in one["comparisons"]:
            cells = []
            for name in names:
                told = "" if name == "mean" else f" {row[name]['verdict']}"
                figure = {**row[name], "value": row[name]["difference"]}
                cells.append(number(figure) + told)
            lines.append(f"| {scene} {row['better']}, {row['other']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train, measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one scene, few cells and epochs")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--out", type=Path, help="folder of rows and results; --quick needs none")
    parser.add_argument("--scene", choices=SENSORS, help="train this one alone; no report")
    parser.add_argument("--report", action="store_true", help="no training, from the rows alone")
    options = parser.parse_args()
    if options.out is None and not options.quick:
        parser.error("say with --out where the trainings are to be kept")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        options.out = options.out or Path(folder)
        run(options)


def run(options: argparse.Namespace) -> None:
    """Train what is missing; report unless one scene alone is asked for."""
    plan = QUICK if options.quick else FULL
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "sensor_study.csv"
    data_folder()
    if not options.report:
        train_all(plan, path, [options.scene] if options.scene else list(plan.scenes))
    if options.scene:
        return
    results = report(plan, path)
    print(measures_table(results["scenes"]), verdicts_table(results["scenes"]), sep="\n\n")
    for one in results["scenes"].values():
        print("\n" + "\n".join([one["rivals"]["split"], *one["rivals"]["notes"]]))
        print(f"{one['trainings']} trainings, {one['seconds']:.0f} s")
    if options.json:
        del results["footprints"]
        print(json.dumps(results))


if __name__ == "__main__":
    main()
