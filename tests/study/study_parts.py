"""Parts of studies that are quick to import and to compute, and can be sent to other processes."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from swath.core.architecture import Architecture, Gene
from swath.core.errors import Infeasible, NothingToSample
from swath.core.evaluation import Cost, Evaluation
from swath.core.history import History, Proposal
from swath.core.seeds import derive, numpy_generator

OPERATORS = ("none", "skip", "conv1", "conv3", "pool")


class ToySpace:
    """What a study asks of a space: ``genes`` edges with five operators each."""

    answers = "pixels"
    patch = None
    structure = ()

    def __init__(self, genes: int = 6, name: str = "toy") -> None:
        self.name = name
        self.options = {"genes": genes}
        self.genes = tuple(Gene(f"edge{i}", OPERATORS) for i in range(genes))

    def architecture(self, values: dict[str, Any]) -> Architecture:
        return Architecture(self.name, tuple((g.name, values[g.name]) for g in self.genes))

    def validate(self, architecture: Architecture) -> None:
        for gene in self.genes:
            gene.index(architecture[gene.name])

    def problem(self, values: Any) -> str | None:
        return None

    def canonical(self, architecture: Architecture) -> Architecture:
        return architecture

    def sample(self, rng: np.random.Generator) -> Architecture:
        places = rng.integers(len(OPERATORS), size=len(self.genes))
        return Architecture(
            self.name,
            tuple((g.name, OPERATORS[i]) for g, i in zip(self.genes, places, strict=True)),
        )

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        for gene in self.genes:
            for choice in gene.choices:
                if choice != architecture[gene.name]:
                    yield architecture.replace(**{gene.name: choice})

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        neighbours = list(self.neighbours(architecture))
        return neighbours[int(rng.integers(len(neighbours)))]

    def size(self) -> int:
        return len(OPERATORS) ** len(self.genes)


@dataclass(frozen=True)
class Random:
    """Draws at random; a batch of ``batch``."""

    batch: int = 8

    def propose(self, space: Any, history: History, seed: int) -> Sequence[Proposal]:
        rng = numpy_generator(seed, "toy-random", len(history))
        return [Proposal(space.sample(rng)) for _ in range(self.batch)]


@dataclass(frozen=True)
class Climber:
    """Adaptive: mutates the best of the history."""

    batch: int = 7

    def propose(self, space: Any, history: History, seed: int) -> Sequence[Proposal]:
        rng = numpy_generator(seed, "toy-climber", len(history))
        best = history.best()
        if best is None:
            return [Proposal(space.sample(rng)) for _ in range(self.batch)]
        return [Proposal(space.mutate(best.architecture, rng)) for _ in range(self.batch)]


@dataclass(frozen=True)
class Given:
    """Proposes what is on a list, then nothing."""

    architectures: tuple[Architecture, ...]
    batch: int = 2

    def propose(self, space: Any, history: History, seed: int) -> Sequence[Proposal]:
        rest = self.architectures[len(history) : len(history) + self.batch]
        return [Proposal(architecture) for architecture in rest]


@dataclass(frozen=True)
class Hashed:
    """A score that looks like noise, of the architecture and the trial's seed alone.

    Parameters
    ----------
    sleep : seconds that an evaluation takes.
    log : a file to which every evaluation appends its architecture.
    """

    sleep: float = 0.0
    log: str | None = None
    direction: str = "maximize"
    budgets: tuple[int, ...] = ()

    def cost(self, architecture: Architecture) -> Cost:
        convolutions = sum(str(value).startswith("conv") for _, value in architecture.genes)
        return Cost(parameters=100 * convolutions, flops=2000 * convolutions)

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        if self.sleep:
            time.sleep(self.sleep)
        if self.log:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(architecture.key + "\n")
        score = derive(0, architecture.key, budget or 0) / 2**63
        noise = derive(seed) / 2**63
        return Evaluation(
            score, self.direction, self.cost(architecture), {"noise": noise, "odd": math.nan}
        )


@dataclass(frozen=True)
class Failing:
    """Does what the operator of the first edge says; see ``evaluate``."""

    folder: str = ""
    direction: str = "maximize"
    budgets: tuple[int, ...] = ()
    calls: list[str] = field(default_factory=list, compare=False)

    def cost(self, architecture: Architecture) -> Cost:
        return Cost()

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        kind = architecture["edge0"]
        if kind == "none":
            raise Infeasible("the training diverged")
        if kind == "skip":
            raise MemoryError
        if kind == "pool":
            return Evaluation(math.nan)
        if kind == "conv1" and self.folder:
            raise ValueError("the estimator is broken")
        return Evaluation(1.0)


@dataclass(frozen=True)
class Dying:
    """Kills its process at the architectures of which ``deaths`` speaks, so often as it says."""

    folder: str
    deaths: dict[str, int] = field(default_factory=dict)
    direction: str = "maximize"
    budgets: tuple[int, ...] = ()

    def cost(self, architecture: Architecture) -> Cost:
        return Cost()

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        counted = Path(self.folder) / architecture.key
        died = counted.stat().st_size if counted.exists() else 0
        if died < self.deaths.get(str(architecture["edge0"]), 0):
            with open(counted, "ab") as file:
                file.write(b"x")
            os.kill(os.getpid(), signal.SIGKILL)
        return Hashed().evaluate(architecture, budget=budget, seed=seed)


class Empty(ToySpace):
    """Nothing can be drawn."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        raise NothingToSample("nothing is left")


def children(process: int) -> set[int]:
    """The processes that a process has started (Linux)."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process:
                found.add(int(entry.name))
    return found


def coordinate(told: Any, store: str, trials: int, workers: int, pause: float) -> None:
    """Run a study; tell of every trial that was stored, and of every record half written.

    Parameters
    ----------
    pause : seconds between the halves of a record; 0: records are written whole.
    """
    from swath.study.studies import run_study

    write = os.write

    def write_in_halves(file: int, data: bytes) -> int:
        half = write(file, data[: len(data) // 2])
        told.send("half")
        time.sleep(pause)
        return half + write(file, data[half:])

    if pause:
        os.write = write_in_halves

    def progress(event: dict[str, Any]) -> None:
        if event["phase"] == "trials":
            told.send(event["done"])

    space: Any = ToySpace()
    estimator: Any = Hashed(sleep=0.001)
    run_study(
        space,
        Climber(),
        estimator,
        trials=trials,
        seed=11,
        store=store,
        workers=workers,
        progress=progress,
    )
