"""Pictures of proxies: what they show, and that they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swath.estimators.proxies.base import ProxyScore
from swath.report.proxy_plots import (
    plot_heat_map,
    plot_layers,
    plot_learning,
    plot_parts,
    plot_scatter,
    relations,
)
from swath.study.scoring import Measured


def test_scores_that_rank_alike_stand_together() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 200))
    columns = {"a": one, "x": other, "b": -(one**3), "y": np.exp(other)}
    names, matrix = relations(columns)
    places = [names.index(name) for name in "axby"]
    assert abs(places[0] - places[2]) == 1
    assert abs(places[1] - places[3]) == 1
    assert matrix[places[0], places[2]] == pytest.approx(-1)
    assert matrix[places[1], places[3]] == pytest.approx(1)


def test_numbers_stand_in_the_heat_map(tmp_path: Path) -> None:
    values = np.array([[0.6, -0.25], [np.nan, 1.0]])
    path = plot_heat_map(["p", "q"], ["left", "right"], values, "Title", tmp_path / "map.svg")
    text = path.read_text()
    for word in (".60", "\N{MINUS SIGN}.25", "1.00", "left", "right", "Title"):
        assert f">{word}<" in text
    assert ">nan<" not in text


def test_layers_of_proxies_that_tell_of_them(tmp_path: Path) -> None:
    layers = {"first": 1.0, "second": 0.0, "third": -4.0}
    scores = {
        "told": ProxyScore(1.0, layers, "maximize", 0.0),
        "silent": ProxyScore(1.0, {}, "maximize", 0.0),
    }
    text = plot_layers(scores, tmp_path / "layers.svg", "Title").read_text()
    for word in (*layers, "told"):
        assert f">{word}<" in text
    assert ">silent<" not in text
    with pytest.raises(ValueError, match="none of the proxies"):
        plot_layers({"silent": scores["silent"]}, tmp_path / "none.svg", "Title")


def test_parts_with_gaps_and_zeros(tmp_path: Path) -> None:
    parts = {"snip": {"attention": np.array([1, np.nan, 0]), "mlp": np.array([10, 20, 30.0])}}
    assert ">snip<" in plot_parts(parts, tmp_path / "parts.svg").read_text()


def test_curves_of_predictors(tmp_path: Path) -> None:
    curves = {"genes": {1.0: (0.2, 0.1), 2.5: (0.4, 0.05)}, "proxies": {2.5: (0.8, 0.01)}}
    text = plot_learning(curves, tmp_path / "curves.svg", "Title").read_text()
    for word in (*curves, "1", "2.5", "Title"):
        assert f">{word}<" in text
    assert ">10<" not in text


@pytest.mark.parametrize("count", [5, 14, 59, 60])
def test_a_curve_is_drawn_through_enough_networks(count: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values, score = rng.random((2, count))
    measured = Measured("own", "accuracy", "maximize", values, {"snip": score}, {}, (), {})
    (found,) = measured.correlations(resamples=0).values()
    text = plot_scatter(measured, "snip", found, tmp_path / "snip.svg").read_text()
    assert f"{count} networks" in text
    assert ("equal groups" in text) == (count >= 60)
