"""Pictures of zero-cost proxies: how they rank, how they relate, where in a network they come from.

The last three are after figures 1, 2 and 3 of the HyTAS paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.estimators.proxies.base import ProxyScore
from swath.estimators.rank_correlation import RankCorrelation, spearman_matrix
from swath.report.pictures import BLUE, GREY, INK, ORANGE, RULE, SOFT, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from swath.study.scoring import Measured

__all__ = [
    "plot_heat_map",
    "plot_layers",
    "plot_learning",
    "plot_parts",
    "plot_scatter",
    "relations",
]

Floats = npt.NDArray[np.float64]

_WIDTH = 7.0
_KINDS = {
    "embedding": ("embedding", GREY),
    "attention": ("attention (MSA)", BLUE),
    "mlp": ("MLP", ORANGE),
    "head": ("head", SOFT),
    "other": ("layer", BLUE),
}
_LINES = (BLUE, ORANGE, "#3a8f5c", "#8a5aa8", SOFT, "#b03a48")


def plot_scatter(
    measured: Measured, name: str, found: RankCorrelation, path: Path, label: str | None = None
) -> Path:
    """Draw a score against what was measured, one dot a network; the title has the correlation.

    Parameters
    ----------
    label : of what was measured.
    """
    score, values = measured.scores[name], measured.values
    known = np.isfinite(score) & np.isfinite(values)
    x, y = score[known], values[known]
    with picture(path, _WIDTH, 4.4) as figure:
        axes = figure.subplots()
        axes.scatter(
            x, y, s=max(5.0, min(24.0, 10000 / len(x))), color=BLUE, alpha=_opacity(len(x)), lw=0
        )
        _spread(axes, x)
        _draw_trend(axes, x, y)
        rho = found.spearman
        interval = "" if math.isnan(rho.low) else f" [{rho.low:.3f}, {rho.high:.3f}]"
        axes.set_title(f"{name}: Spearman {rho.value:.3f}{interval}")
        better = "small" if measured.directions.get(name) == "minimize" else "large"
        axes.set_xlabel(f"{name}  ({better} is good)")
        axes.set_ylabel(label or measured.metric)
        axes.text(
            1, 1.02, f"{measured.name}, {len(x):,} networks", transform=axes.transAxes,
            ha="right", fontsize=9, color=SOFT,
        )  # fmt: skip
    return path


def _opacity(count: int) -> float:
    return float(np.clip(600 / count, 0.2, 0.85))


def _spread(axes: Axes, x: Floats) -> None:
    """Use a logarithmic axis where a linear one would crowd most dots at one end."""
    if len(x) and x.min() > 0 and np.quantile(x, 0.99) > 50 * np.quantile(x, 0.05):
        axes.set_xscale("log")


def _draw_trend(axes: Axes, x: Floats, y: Floats) -> None:
    """Draw the median of groups of networks with neighbouring scores."""
    count = min(20, len(x) // 15)
    if count < 4:
        return
    groups = np.array_split(np.argsort(x, kind="stable"), count)
    points = np.array([(np.median(x[group]), np.median(y[group])) for group in groups])
    axes.plot(*points.T, color=ORANGE, lw=1.8, label=f"median of each of {count} equal groups")
    axes.legend(loc="best", fontsize=9)


def relations(columns: Mapping[str, Floats]) -> tuple[list[str], Floats]:
    """Return Spearman's correlations of all columns, similar ones beside one another."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    matrix = spearman_matrix(columns)
    names = list(columns)
    if len(names) > 2:
        apart = 1 - np.abs(np.nan_to_num(matrix))
        np.fill_diagonal(apart, 0)
        order = leaves_list(linkage(squareform(apart, checks=False), "average"))
        matrix, names = matrix[np.ix_(order, order)], [names[place] for place in order]
    return names, matrix


def plot_heat_map(
    rows: Sequence[str], columns: Sequence[str], values: Floats, title: str, path: Path
) -> Path:
    """Draw rank correlations as a heat map with the numbers in it.

    Parameters
    ----------
    values : (rows, columns), -1 to 1; NaN is left empty.
    """
    upright = len(columns) > 4
    longest = max(map(len, columns))
    column = 0.52 if upright else max(0.7, 0.1 * longest)
    wide = max(4.6, column * len(columns) + 0.085 * max(map(len, rows)) + 1.6)
    high = 0.34 * len(rows) + (0.07 * longest if upright else 0.2) + 1.0
    with picture(path, wide, high) as figure:
        axes = figure.subplots()
        image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axes.set_xticks(
            range(len(columns)), columns, rotation=60 if upright else 0,
            ha="right" if upright else "center", rotation_mode="anchor" if upright else "default",
        )  # fmt: skip
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0, labelcolor=INK)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                text = f"{value:.2f}".replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
                axes.text(
                    column, row, text, ha="center", va="center", fontsize=8,
                    color="white" if abs(value) > 0.62 else INK,
                )  # fmt: skip
        axes.set_title(title)
        bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05, aspect=30)
        bar.outline.set_visible(False)
        bar.set_label("Spearman's correlation", color=SOFT)
    return path


def plot_layers(scores: Mapping[str, ProxyScore], path: Path, title: str) -> Path:
    """Draw what each layer of one network adds to each proxy, each over its own mean.

    Raises
    ------
    ValueError : no proxy tells of layers.
    """
    told = {name: one for name, one in scores.items() if _positive(one)}
    if not told:
        raise ValueError("none of the proxies tells of single layers")
    layers = list(next(iter(told.values())).per_layer)
    told = {name: one for name, one in told.items() if list(one.per_layer) == layers}
    with picture(path, min(16.0, max(_WIDTH, 0.17 * len(layers) + 2)), 4.6) as figure:
        axes = figure.subplots()
        for place, (name, one) in enumerate(told.items()):
            values = np.array([one.per_layer.get(layer, math.nan) for layer in layers])
            values = np.abs(values)
            values[values == 0] = np.nan  # a logarithm has no zero
            style = ("-", "--", ":")[place // len(_LINES) % 3]
            axes.plot(
                values / np.nanmean(values), style, marker="o", ms=3.2, lw=1.4,
                color=_LINES[place % len(_LINES)], label=name,
            )  # fmt: skip
        axes.set_yscale("log")
        step = max(1, len(layers) // 45 + 1)
        axes.set_xticks(range(0, len(layers), step), layers[::step], rotation=60, fontsize=7,
                        ha="right", rotation_mode="anchor")  # fmt: skip
        axes.set_ylabel("score of a layer / mean of the layers")
        axes.set_title(title)
        figure.legend(loc="outside lower center", ncols=6, fontsize=9)
    return path


def _positive(one: ProxyScore) -> bool:
    values = [abs(value) for value in one.per_layer.values() if math.isfinite(value)]
    return len(values) > 1 and max(values) > 0


def plot_parts(parts: Mapping[str, Mapping[str, Floats]], path: Path) -> Path:
    """Draw how large the shares of attention and of MLP layers in each proxy are.

    Parameters
    ----------
    parts : by proxy: the sums over "attention" and "mlp" layers of each network.
    """
    with picture(path, max(5.0, 1.35 * len(parts) + 1.6), 4.4) as figure:
        axes = figure.subplots()
        for side, kind in ((-0.19, "attention"), (0.19, "mlp")):
            label, colour = _KINDS[kind]
            several = [np.abs(one[kind][np.isfinite(one[kind])]) for one in parts.values()]
            several = [one[one > 0] for one in several]
            boxes = axes.boxplot(
                several, positions=[place + side for place in range(len(parts))], widths=0.32,
                patch_artist=True, whis=(5, 95), showfliers=False,
                medianprops={"color": "white", "linewidth": 1.4},
                boxprops={"facecolor": colour, "edgecolor": colour},
                whiskerprops={"color": colour}, capprops={"color": colour},
            )  # fmt: skip
            boxes["boxes"][0].set_label(label)
        axes.set_yscale("log")
        axes.set_xticks(range(len(parts)), list(parts))
        axes.tick_params(axis="x", length=0, labelcolor=INK)
        axes.set_xlim(-0.6, len(parts) - 0.4)
        axes.grid(visible=False, axis="x")
        axes.grid(visible=True, axis="y", color=RULE)
        axes.set_ylabel("sum over the layers of a kind")
        axes.set_title("Attention and MLP layers")
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=9, borderaxespad=0.3
        )
    return path


def plot_learning(
    curves: Mapping[str, Mapping[float, tuple[float, float]]], path: Path, title: str
) -> Path:
    """Draw how well predictors rank, by the percentage of the networks that they learned from.

    Parameters
    ----------
    curves : by predictor: rank correlation with its standard deviation, by percentage.
    """
    with picture(path, _WIDTH, 4.4) as figure:
        axes = figure.subplots()
        for place, (name, curve) in enumerate(curves.items()):
            percent = sorted(curve)
            mean, deviation = np.array([curve[one] for one in percent]).T
            colour = _LINES[place % len(_LINES)]
            axes.plot(percent, mean, marker="o", ms=3.6, lw=1.6, color=colour, label=name)
            axes.fill_between(
                percent, mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0
            )
        axes.set_xscale("log")
        every = sorted({percent for curve in curves.values() for percent in curve})
        axes.set_xticks(every, [f"{percent:g}" for percent in every])
        axes.minorticks_off()
        axes.set_xlabel("percent of the networks learned from")
        axes.set_ylabel("Spearman's correlation on the rest")
        axes.set_title(title)
        axes.legend(fontsize=9)
    return path
