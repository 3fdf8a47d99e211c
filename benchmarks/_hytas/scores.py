"""Our scores: which networks are scored how, and a file that keeps what is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from _hytas.networks import ALL, SCENES, SEED, batch, network
from swath import proxies
from swath.core.architecture import Architecture
from swath.core.seeds import derive
from swath.estimators import tables

__all__ = [
    "COMPARED",
    "DATA_FREE",
    "FUSIONS",
    "OWN",
    "QUICK",
    "SETTINGS",
    "VARIATIONS",
    "Columns",
    "Scores",
    "Setting",
    "read_scores",
    "score_all",
]

Floats = npt.NDArray[np.float64]
DATA_FREE = ("synflow", "logsynflow", "dss")
COMPARED = ("snip", "grad_norm", "naswot", "zico_act")
QUICK = 320  # every so many-th network


@dataclass(frozen=True)
class Setting:
    """How networks are scored, and which: every ``step``-th (of a scene); None: as asked."""

    names: Sequence[str] | str
    weights: str = "authors"
    seed: int = SEED  # of the supernet, where it is our own
    fusions: int | None = None  # seed of the one whose fusions it has
    variant: Literal["paper", "authors"] = "paper"
    signs: Literal["none", "caf", "all"] = "none"
    draw: int | None = None  # of pixels; None: data-free
    inputs: Literal["data", "noise"] = "data"
    step: int | Mapping[str, int] | None = 8
    scenes: Sequence[str] = tuple(SCENES)

    def score(self, scene: str, architecture: Architecture) -> dict[str, float]:
        """Return totals, and the parts of attention and MLP layers."""
        given: Any
        if self.draw is None:
            given = torch.zeros(1, ALL[scene].bands, 7, 7)  # only its size is read
        else:
            given = batch(scene, self.draw)
        found = proxies.score(
            network(scene, architecture, self.weights, self.seed, self.fusions),
            given,
            self.names,
            variant=self.variant,
            signs=self.signs,
            inputs=self.inputs,
            seed=derive(SEED, "proxy"),
        )
        parts = {
            f"{name}/{part}": one.parts[part]
            for name, one in found.items()
            for part in ("attention", "mlp")
            if part in one.parts
        }
        return {name: one.total for name, one in found.items()} | parts


WHOLE = {"indian": 1, "houston": 8, "pavia": 8}  # files to compare with are Indian Pines's
OWN = {  # supernets of our own
    f"papers, none, own weights {seed}": Setting(
        DATA_FREE,
        weights="own",
        seed=seed,
        step=WHOLE,
        scenes=tuple(SCENES) if seed == 0 else ("indian",),
    )
    for seed in range(3)
}
FEW: dict[str, Any] = {"step": 32, "scenes": ["indian"]}
FUSIONS = {  # of another supernet
    f"dss, own weights {seed}, fusions {fusions}": Setting(
        ("dss",), weights="own", seed=seed, fusions=fusions, **FEW
    )
    for seed, fusions in ((0, 0), (1, 1), (2, 2), (3, 3), (1, 0), (0, 1))
}
VARIATIONS = {
    "own weights": Setting((*COMPARED, *DATA_FREE), weights="own", draw=0, **FEW),
    "fresh weights": Setting((*COMPARED, *DATA_FREE), weights="fresh", draw=0, **FEW),
    "other pixels": Setting(COMPARED, draw=1, **FEW),
    "noise": Setting(COMPARED, draw=0, inputs="noise", **FEW),
}
SETTINGS = {
    "authors, none": Setting(DATA_FREE, variant="authors", step=WHOLE),
    "authors, caf": Setting(DATA_FREE, variant="authors", signs="caf"),
    "papers, none": Setting(DATA_FREE),
    **OWN,
    **FUSIONS,
    "papers, caf": Setting(DATA_FREE, signs="caf"),
    "compared": Setting(COMPARED, draw=0),
    "papers": Setting("*", signs="all", draw=0, step=None),
    "authors": Setting(("fisher", "t_cet"), variant="authors", draw=0, step=None),
    "not cleared": Setting(("gradsign", "zico"), variant="authors", draw=0, **FEW),
    **VARIATIONS,
}


def rows_of(setting: Setting, scene: str, every: int, quick: bool) -> range:
    """Return which networks of a scene are scored."""
    step = setting.step[scene] if isinstance(setting.step, Mapping) else setting.step or every
    return range(0, len(tables.load_table(f"hytas_{scene}")), QUICK if quick else step)


Scores = dict[tuple[str, str, int], dict[str, float]]


def read_scores(path: Path | None) -> Scores:
    """Return what a file of scores holds; of a line that was cut off, nothing."""
    found: Scores = {}
    if path is None or not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            name, scene, row, scores = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[name, scene, row] = scores
    return found


def score_all(path: Path | None, every: int, quick: bool, names: Sequence[str]) -> Scores:
    """Return all scores by some settings; what the file has not is computed, and added to it."""
    known, found = read_scores(path), {}
    for name in names:
        setting = SETTINGS[name]
        for scene in setting.scenes:
            for row in rows_of(setting, scene, every, quick):
                key = name, scene, row
                if key not in known:
                    architecture = tables.load_table(f"hytas_{scene}").architectures[row]
                    known[key] = setting.score(scene, architecture)
                    if path is not None:
                        with path.open("a", encoding="utf-8") as file:
                            file.write(json.dumps([*key, known[key]]) + "\n")
                found[key] = known[key]
    return found


@dataclass(frozen=True)
class Columns:
    """Ours of a setting on a scene, by network."""

    rows: list[int]
    values: Mapping[str, Floats]

    @classmethod
    def of(cls, scores: Scores, name: str, scene: str) -> Columns:
        """Return those of a setting."""
        rows = sorted(row for setting, where, row in scores if (setting, where) == (name, scene))
        found = [scores[name, scene, row] for row in rows]
        return cls(rows, {key: np.array([one[key] for one in found]) for key in found[0]})

    def at(self, rows: Sequence[int]) -> dict[str, Floats]:
        """Return those of some of the networks."""
        places = [self.rows.index(row) for row in rows]
        return {name: values[places] for name, values in self.values.items()}
