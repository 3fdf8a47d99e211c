"""Is something slower than it was?  Ratios of two ways to do one thing, against stored ratios.

Each ratio is that of a subject to a baseline, the smaller the better: both do their work in turns
in this process, with one thread, and the time of the processor counts, so that the speed of the
machine and its other work nearly cancel.  The ratio of an attempt is the median over the turns.
More attempts are made only where one is too slow, and the best counts.  A ratio that is more than
20 % worse than the stored one fails, and the script ends with 1.

How much a layout or a precision gains depends on the processor: such a ratio is compared only
where the stored one was measured with the same vectors (and bfloat16, or none); the table says so.

    python benchmarks/regressions.py            # compare, in less than a minute
    python benchmarks/regressions.py --store    # write the ratios of this machine
    python benchmarks/regressions.py --only proxies study
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from swath.core.errors import RunError
from swath.core.files import read_json, write_json

STORED = Path(__file__).parent / "results" / "regressions.json"
STORE = "python benchmarks/regressions.py --store"
WORSE = 1.2
"""How many times the stored ratio is too slow."""
ATTEMPTS = 6
STORED_ATTEMPTS = 5
"""Their median is stored."""

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """Two ways to do one thing, and the clock that counts them."""

    subject: Work
    baseline: Work
    clock: Clock = time.process_time


@dataclass(frozen=True)
class Measure:
    """A ratio that is watched.

    Parameters
    ----------
    about : subject over baseline.
    make : prepares both.
    turns : of an attempt.
    depends : on which facts of :func:`capability`.
    """

    name: str
    about: str
    make: Callable[[], Pair]
    turns: int
    depends: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What became of a ratio; ``failed`` where it is too slow or nothing is stored for it."""

    name: str
    text: str
    failed: bool = False


def capability() -> dict[str, str]:
    """Return what the ratios of layouts and precisions depend on."""
    import torch

    from swath.networks.inference_calls import has_bfloat16

    return {
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": "yes" if has_bfloat16() else "no",
    }


def limit(
    measure: Measure, stored: Mapping[str, Any], here: Mapping[str, str]
) -> tuple[float | None, Verdict | None]:
    """Return the largest ratio that passes, or why there is none.

    Parameters
    ----------
    stored : ``{"capability": ..., "ratios": {name: {"ratio": ...}}}``.
    here : this machine's capability.
    """
    there = stored["capability"]
    for fact in measure.depends:
        if here[fact] != there[fact]:
            return None, Verdict(
                measure.name,
                f"not compared: stored with {fact} {there[fact]}, here {here[fact]}",
            )
    entry = stored["ratios"].get(measure.name)
    if entry is None:
        return None, Verdict(
            measure.name, f"no stored ratio; '{STORE} --only {measure.name}' adds it", failed=True
        )
    return WORSE * float(entry["ratio"]), None


def judge(
    measure: Measure,
    stored: Mapping[str, Any],
    here: Mapping[str, str],
    attempt: Callable[[], float],
) -> tuple[list[float], Verdict]:
    """Compare one ratio; return those that were measured, and the verdict on the best.

    Parameters
    ----------
    attempt : measures the ratio once.
    """
    most, unknown = limit(measure, stored, here)
    if most is None:
        assert unknown is not None
        return [], unknown
    found: list[float] = []
    while len(found) < ATTEMPTS and min(found, default=float("inf")) > most:
        found.append(attempt())
    best = min(found)
    times = best * WORSE / most
    if best > most:
        return found, Verdict(measure.name, f"WORSE: {times:.2f} times the stored ratio", True)
    return found, Verdict(measure.name, f"passes: {times:.2f} times the stored ratio")


def read_stored(path: Path) -> Any:
    """Return the stored ratios.

    Raises
    ------
    RunError : there are none.
    """
    if not path.is_file():
        raise RunError(f"there are no stored ratios in {path}; '{STORE}' writes them")
    return read_json(path)


def ratio(pair: Pair, turns: int) -> tuple[float, float, float]:
    """Return the median ratio over the turns, and the median seconds of subject and baseline."""
    ratios, subject, baseline = [], [], []
    for turn in range(turns):
        order = (pair.subject, pair.baseline)[:: 1 if turn % 2 else -1]
        seconds = {}
        for work in order:
            begun = pair.clock()
            work()
            seconds[work] = pair.clock() - begun
        subject.append(seconds[pair.subject])
        baseline.append(seconds[pair.baseline])
        ratios.append(subject[-1] / baseline[-1])
    return statistics.median(ratios), statistics.median(subject), statistics.median(baseline)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| ratio | of | measured | stored | attempts | |", "|---|---|---:|---:|---:|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def mapping(precision: str) -> Pair:
    """The engine that maps, beside the network as torch computes it, on a small scene."""
    import numpy as np
    import torch
    from mapping import BANDS, final_network, mapper, torchs, windows

    network = final_network().eval()
    pixels = np.random.default_rng(0).normal(size=(48, 64, BANDS)).astype(np.float32)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    engine: Any = mapper(network, pixels, precision)  # type: ignore[arg-type]
    return Pair(engine, windows(torchs(final_network().eval()), image, "float32"))


def supernet() -> Pair:
    """Steps of a sampled supernet, the paths being the same each time, beside one of the mixture.

    The mean of six steps hangs little on a single path.
    """
    import torch
    from torch import nn

    from swath.spaces.base import InputSpec, OutputSpec
    from swath.spaces.hsi3d import HSI3D
    from swath.supernets.hsi3d import HSI3DMixture, Mode

    torch.manual_seed(0)
    x, y = torch.randn(2, 40, 12, 12), torch.randint(9, (2, 12, 12))

    def steps(mode: Mode, count: int) -> Work:
        network = HSI3DMixture(HSI3D(), InputSpec(40), OutputSpec(9), mode=mode).train()

        def run() -> None:
            for number in range(count):
                torch.manual_seed(number)
                network.zero_grad()
                nn.functional.cross_entropy(network(x), y).backward()

        return run

    return Pair(steps("sampled", 6), steps("full", 1))


def proxies() -> Pair:
    """Five proxies in one shared pass beside each by itself."""
    import torch

    from swath import proxies as known
    from swath import spaces
    from swath.spaces.base import InputSpec, OutputSpec

    space = spaces.create("nasbench201")
    names = ("grad_norm", "snip", "fisher", "jacob_cov", "synflow")
    torch.manual_seed(0)
    batch = (torch.randn(16, 3, 16, 16), torch.randint(10, (16,)))
    architecture = space.architecture({gene.name: "nor_conv_3x3" for gene in space.genes})
    network = space.build(architecture, InputSpec(3), OutputSpec(10)).train()

    def single() -> None:
        for name in names:
            known.score(network, batch, name)

    return Pair(lambda: known.score(network, batch, names), single)


def patches() -> Pair:
    """A dense network of patches of 7 beside the loop over them."""
    import numpy as np
    import torch
    from mapping import BANDS, flat_patch_network, mapper, patch_loop

    from swath.networks.patchwise import Patchwise

    torch.manual_seed(0)
    inner = flat_patch_network().eval()
    pixels = np.random.default_rng(0).normal(size=(32, 32, BANDS)).astype(np.float32)
    dense = mapper(Patchwise(inner, 7).eval(), pixels, "float32")
    # a pass takes a few milliseconds
    return Pair(lambda: [dense() for _ in range(10)], lambda: patch_loop(inner, 7, pixels))


def layout() -> Pair:
    """A training step beside that of torch's convolutions, default layout; sixteen windows."""
    import torch
    from mapping import CLASSES, authors_form, final_network
    from torch import nn

    bands = 48
    network = final_network(bands).train()
    torch.manual_seed(0)
    x, y = torch.randn(16, bands, 8, 8), torch.randint(CLASSES, (16, 8, 8))

    def step(network: nn.Module) -> None:
        nn.functional.cross_entropy(network(x), y).backward()

    return Pair(partial(step, network), partial(step, authors_form(network)))


def study() -> Pair:
    """Trials of a study in memory beside those of plain Optuna."""
    import optuna
    from study_overhead import fill_table, with_optuna, with_swath

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fill_table()
    return Pair(partial(with_swath, 6, 300, None), partial(with_optuna, 6, 300, None))


def imports() -> Pair:
    """A new interpreter that imports swath beside one that imports NumPy."""

    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def run(program: str) -> None:
        subprocess.run([sys.executable, "-c", program], check=True, env=one_thread)

    def clock() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    return Pair(partial(run, "import swath"), partial(run, "import numpy"), clock)


MEASURES = (
    Measure(
        "mapping",
        "mapping engine over plain network, float32",
        partial(mapping, "float32"),
        5,
        ("vectors",),
    ),
    Measure(
        "mapping-bfloat16",
        "mapping engine in bfloat16 over plain network in float32",
        partial(mapping, "bfloat16"),
        5,
        ("vectors", "bfloat16"),
    ),
    Measure("supernet", "six sampled steps over one of the mixture", supernet, 5, ("vectors",)),
    Measure("proxies", "five proxies in a shared pass over five passes", proxies, 5),
    Measure("patches", "ten passes of the dense form over one loop over patches", patches, 7),
    Measure("layout", "training step over torch's in the default layout", layout, 5, ("vectors",)),
    Measure("study", "300 trials of a study over those of plain Optuna", study, 7),
    Measure("import", "import swath over import numpy", imports, 9),
)


def prepared(measure: Measure) -> Callable[[], tuple[float, float, float]]:
    """Return what makes an attempt, after both works were done once."""
    pair = measure.make()
    pair.subject()
    pair.baseline()
    return lambda: ratio(pair, measure.turns)


def store(measures: Sequence[Measure], path: Path) -> None:
    """Measure and write the ratios; those of other names stay where the machine is the same kind.

    Raises
    ------
    RunError : the file has ratios of another kind of machine, and not all are measured anew.
    """
    from swath.core.machine import describe

    here = capability()
    ratios: dict[str, Any] = {}
    if path.is_file() and len(measures) < len(MEASURES):
        earlier = read_json(path)
        if earlier["capability"] != here:
            raise RunError(
                f"{path} was stored with {earlier['capability']}, this machine has {here}; "
                f"'{STORE}' measures all anew"
            )
        ratios = dict(earlier["ratios"])
    about = describe("optuna")
    for measure in measures:
        attempt = prepared(measure)
        attempts = sorted(attempt() for _ in range(STORED_ATTEMPTS))
        middle = attempts[STORED_ATTEMPTS // 2]
        ratios[measure.name] = {
            "of": measure.about,
            "ratio": middle[0],
            "least": attempts[0][0],
            "most": attempts[-1][0],
            "subject_seconds": middle[1],
            "baseline_seconds": middle[2],
        }
        print(f"{measure.name}: {middle[0]:.3f} ({attempts[0][0]:.3f} to {attempts[-1][0]:.3f})")
    known = [measure.name for measure in MEASURES]
    write_json(
        path,
        {
            "command": shlex.join(["python", *sys.argv]),
            "machine": about,
            "capability": here,
            "ratios": {name: ratios[name] for name in known if name in ratios},
        },
    )


def compare(measures: Sequence[Measure], path: Path) -> tuple[list[Verdict], dict[str, Any]]:
    """Compare with the stored ratios and print the table; return verdicts and figures."""
    stored, here = read_stored(path), capability()
    verdicts, figures, rows = [], {}, []
    for measure in measures:
        begun = time.process_time()
        if limit(measure, stored, here)[0] is None:
            found, verdict = judge(measure, stored, here, lambda: float("nan"))
        else:
            attempt = prepared(measure)
            found, verdict = judge(measure, stored, here, lambda attempt=attempt: attempt()[0])
        verdicts.append(verdict)
        entry = stored["ratios"].get(measure.name, {})
        figures[measure.name] = {
            "attempts": found,
            "stored": entry.get("ratio"),
            "verdict": verdict.text,
            "seconds": time.process_time() - begun,
        }
        rows.append(
            (
                measure.name,
                measure.about,
                f"{min(found):.3f}" if found else "",
                f"{entry['ratio']:.3f}" if entry else "",
                str(len(found)),
                verdict.text,
            )
        )
    print(table(rows))
    return verdicts, figures


def main() -> int:
    """Compare, or store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [measure.name for measure in MEASURES]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--store", action="store_true", help="write the ratios measured here")
    parser.add_argument("--stored", type=Path, default=STORED, help="the file of the ratios")
    parser.add_argument("--quick", action="store_true", help="the same; it is short as it is")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    measures = [measure for measure in MEASURES if measure.name in options.only]
    try:
        if options.store:
            store(measures, options.stored)
            return 0
        verdicts, figures = compare(measures, options.stored)
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(figures))
    return int(any(verdict.failed for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
