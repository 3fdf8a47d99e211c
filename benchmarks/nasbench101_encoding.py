"""What the encodings of NAS-Bench-101 tell apart, and who neighbours whom in them.

Table 1: cells by their number of vertices; there should be 423,624.

Table 2: of so many cells (all, or 100,000 drawn uniformly with --quick), how many have the bits of
an earlier one: in all 289 bits, where no two should be alike, and in the 136 above the diagonal,
which the authors of the footprint use in some of their evaluations.

Table 3: neighbours of 1,000 cells drawn uniformly (200 with --quick): by one edit, as
``NASBench101.neighbours`` has it, and by one bit of 289; and the share of cells without any.

    python benchmarks/nasbench101_encoding.py             # all cells, under a minute
    python benchmarks/nasbench101_encoding.py --quick
    python benchmarks/nasbench101_encoding.py --json
    python benchmarks/nasbench101_encoding.py --out FILE.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.machine import describe
from swath.spaces._nasbench101_cells import catalogue, from_code
from swath.spaces._nasbench101_encoding import collisions, to_vector, upper_triangle
from swath.spaces.nasbench101 import NASBench101

DRAWN = 100_000


def cells_by_vertices() -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
    """List all cells."""
    begun = time.perf_counter()
    codes = catalogue(7, 9)
    seconds = time.perf_counter() - begun
    counts = {
        str(vertices): sum(1 for code in codes.tolist() if from_code(code).vertices == vertices)
        for vertices in range(2, 8)
    }
    return codes, {"cells": counts, "all": len(codes), "seconds": round(seconds, 2)}


def encoded(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return the bits of cells, (cells, 289)."""
    rows: Iterator[Any] = (to_vector(from_code(int(code)), 5) for code in codes)
    return np.fromiter(rows, np.dtype((bool, 289)), len(codes))


def told_apart(codes: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Count vectors that are equal to an earlier one."""
    vectors = encoded(codes)
    halves = [upper_triangle(some) != 0 for some in np.array_split(vectors, 20)]
    return {
        "cells": len(codes),
        "289 bits": collisions(vectors),
        "136 bits": collisions(np.concatenate(halves)),
    }


def neighbourhoods(count: int) -> dict[str, dict[str, float]]:
    """Count neighbours of drawn cells."""
    space = NASBench101()
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(count)]
    kinds = {"one edit": space.neighbours, "one of 289 bits": space.encoding_neighbours}
    found: dict[str, dict[str, float]] = {}
    for kind, ask in kinds.items():
        begun = time.perf_counter()
        degrees = [len(list(ask(architecture))) for architecture in drawn]
        seconds = time.perf_counter() - begun
        found[kind] = {
            "least": min(degrees),
            "median": float(np.median(degrees)),
            "most": max(degrees),
            "none": round(float(np.mean(np.array(degrees) == 0)), 4),
            "ms a cell": round(1e3 * seconds / count, 2),
        }
    return found


def main() -> None:
    """Count, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a sample of the cells")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    about = describe()
    codes, listed = cells_by_vertices()
    print(f"{about}\n\n| {' | '.join(('vertices', *listed['cells'], 'all', 'seconds'))} |")
    print("|---" * 9 + "|")
    figures = (*listed["cells"].values(), listed["all"], listed["seconds"])
    print(f"| cells | {' | '.join(map(str, figures))} |\n")
    some = np.random.default_rng(0).choice(codes, DRAWN, False) if options.quick else codes
    apart = told_apart(some)
    print("| cells | alike in 289 bits | alike in 136 bits |\n|---|---|---|")
    print(f"| {' | '.join(f'{value:,}' for value in apart.values())} |\n")
    near = neighbourhoods(200 if options.quick else 1000)
    names = ("neighbours", "least", "median", "most", "cells without", "ms a cell")
    print(f"| {' | '.join(names)} |\n" + "|---" * len(names) + "|")
    for kind, row in near.items():
        print(f"| {kind} | {' | '.join(f'{value:g}' for value in row.values())} |")
    command = "benchmarks/nasbench101_encoding.py" + " --quick" * options.quick
    result: dict[str, Any] = {
        "command": command,
        "machine": about,
        "listed": listed,
        "alike": apart,
        "neighbours": near,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
