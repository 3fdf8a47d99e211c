"""Fits against the published figures, and against the parameters that data were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from swath.landscape.distribution import (
    Fit,
    akaike,
    bayesian,
    best_shares,
    fit_distributions,
)

# The sensor study's table of fits: log-likelihood, AIC and BIC of the best family on Sentinel-1,
# Sentinel-2 and both.  The number of models is not told; it follows from BIC.
PUBLISHED = {
    "sentinel-1": (53.63, -103.26, -98.62, 75),
    "sentinel-2": (165.18, -326.36, -321.80, 72),
    "both": (109.72, -215.44, -211.09, 65),
}


@pytest.mark.parametrize("sensor", PUBLISHED)
def test_criteria_are_the_published_ones(sensor: str) -> None:
    likelihood, aic, bic, count = PUBLISHED[sensor]
    assert akaike(likelihood) == pytest.approx(aic, abs=0.011)
    assert bayesian(likelihood, count) == pytest.approx(bic, abs=0.011)
    for other in (100, 88, count - 1, count + 1):  # the counts the text states do not fit
        assert abs(bayesian(likelihood, other) - bic) > 0.02


@pytest.mark.parametrize(
    ("family", "drawn", "expected"),
    [
        ("beta", stats.beta(6, 2), {0: 6, 1: 2}),
        ("weibull", stats.weibull_min(5, scale=0.6), {0: 5, 2: 0.6}),
        ("log-normal", stats.lognorm(0.15, scale=0.4), {0: 0.15, 2: 0.4}),
    ],
)
def test_the_family_is_found_again(family: str, drawn: object, expected: dict[int, float]) -> None:
    values = drawn.rvs(4000, random_state=np.random.default_rng(1))  # type: ignore[attr-defined]
    values = values[values < 1] if family != "weibull" else np.minimum(values, 0.999)
    best = fit_distributions(values)[0]
    assert best.family == family
    for place, parameter in expected.items():
        assert best.parameters[place] == pytest.approx(parameter, rel=0.07)
    assert best.log_likelihood is not None
    assert best.aic == akaike(best.log_likelihood)
    assert best.count == len(values)
    grid = np.linspace(values.min(), values.max(), 50)
    empirical = np.searchsorted(np.sort(values), grid, side="right") / len(values)
    assert np.abs(best.cumulative(grid) - empirical).max() < 0.03
    assert np.trapezoid(best.density(np.linspace(1e-6, 0.9999, 4000)), dx=1 / 4000) < 1.01
    shares = best_shares(values, resamples=10, rng=np.random.default_rng(0))
    assert max(shares, key=lambda one: shares[one]) == family
    assert sum(shares.values()) == pytest.approx(1)
    assert Fit.from_dict(best.to_dict()) == best


def test_log_normal_is_the_closed_form() -> None:
    values = np.random.default_rng(0).lognormal(-1, 0.3, 200)
    fits = {one.family: one for one in fit_distributions(values)}
    logs = np.log(values)
    shape, place, scale = fits["log-normal"].parameters
    assert (shape, place, scale) == pytest.approx((logs.std(), 0, np.exp(logs.mean())), rel=1e-4)
    likelihood = stats.norm.logpdf(logs, logs.mean(), logs.std()).sum() - logs.sum()
    assert fits["log-normal"].log_likelihood == pytest.approx(likelihood)


@pytest.mark.parametrize(
    ("values", "family", "why"),
    [
        ([0.5] * 9, "beta", "the same of all models"),
        ([0.2, 0.5, 1.0] * 3, "beta", "between 0 and 1"),
        ([0.0, 0.5, 0.7] * 3, "log-normal", "above 0"),
        ([-1.0, 0.5, 0.7] * 3, "weibull", "above 0"),
    ],
)
def test_what_cannot_be_fitted_is_said(values: list[float], family: str, why: str) -> None:
    fits = {one.family: one for one in fit_distributions(np.array(values))}
    assert fits[family].aic is None
    assert why in fits[family].note
    order = [one.aic is None for one in fit_distributions(np.array(values))]
    assert order == sorted(order)
