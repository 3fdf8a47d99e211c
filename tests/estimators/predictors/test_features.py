"""What predictors see of architectures, against the definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, UnknownName
from swath.estimators.predictors._features import features
from swath.spaces.base import SearchSpace
from swath.spaces.restricted import Listed


def drawn(name: str, count: int = 12) -> tuple[SearchSpace, list[Architecture]]:
    space, rng = spaces.create(name), np.random.default_rng(0)
    return space, [space.sample(rng) for _ in range(count)]


def test_genes_are_one_hot() -> None:
    space, some = drawn("nasbench201")
    found = features(space, some, "genes")
    assert found.shape == (12, 30)
    assert (found.sum(axis=1) == 6).all()
    assert [space.decode(row) for row in found] == some


def test_numbers_are_those_of_the_space_or_places_among_choices() -> None:
    space, some = drawn("hytas")
    found = features(space, some, "numeric")
    assert found.shape == (12, 22)
    # A part of a space has the numbers of the whole.
    np.testing.assert_array_equal(features(Listed(space, some), some, "numeric"), found)
    for row, net in zip(found, some, strict=True):
        layers = [value for name, value in net.genes if name != "embed_dim" and value != "none"]
        heads = [int(str(value).split("-")[0].removeprefix("heads")) for value in layers]
        assert row[:2].tolist() == [len(layers), net["embed_dim"]]
        assert row[2:12].tolist() == heads + [0] * (10 - len(layers))

    space, some = drawn("nasbenchmacro")
    choices = {gene.name: list(gene.choices) for gene in space.genes}
    expected = [[choices[name].index(value) for name, value in net.genes] for net in some]
    assert features(space, some, "numeric").tolist() == expected


def test_summary_of_hytas_is_width_depth_and_means() -> None:
    space, _ = drawn("hytas")
    net = space.from_lists(48, [4, 6, 6, 5, 3, 3], [4, 5, 1, 3, 4, 3])  # type: ignore[attr-defined]
    found = features(Listed(space, [net]), [net], "summary")
    np.testing.assert_allclose(found, [[math.log(48), 6, 4.5, 20 / 6]])


def test_summary_of_other_spaces_counts_choices() -> None:
    space, some = drawn("nasbench201")
    found = features(space, some, "summary")
    for row, net in zip(found, some, strict=True):
        values = [value for _, value in net.genes]
        assert row.tolist() == [values.count(choice) for choice in space.genes[0].choices]


@pytest.mark.parametrize("name", spaces.names())
@pytest.mark.parametrize("kind", ["genes", "numeric", "summary"])
def test_every_space_has_every_kind(name: str, kind: str) -> None:
    space, some = drawn(name, 3)
    found = features(space, some, kind)
    assert found.shape[0] == 3
    assert found.shape[1] > 0
    assert np.isfinite(found).all()


def test_joined_features_stand_side_by_side_and_extra_columns_last() -> None:
    space, some = drawn("hytas")
    extra = np.arange(24.0).reshape(12, 2)
    found = features(space, some, "summary+numeric", extra)
    parts = [features(space, some, kind) for kind in ("summary", "numeric")]
    np.testing.assert_array_equal(found, np.hstack([*parts, extra]))


@pytest.mark.parametrize("extra", [np.zeros(12), np.zeros((11, 2)), np.full((12, 1), np.nan)])
def test_unusable_extra_columns_are_refused(extra: np.ndarray) -> None:
    space, some = drawn("hytas")
    with pytest.raises(RecipeError, match="extra columns"):
        features(space, some, "numeric", extra)


@pytest.mark.parametrize(("kind", "hint"), [("graph", "'gin'"), ("number", "did you mean 'numeri")])
def test_unknown_features_are_refused(kind: str, hint: str) -> None:
    space, some = drawn("hytas")
    with pytest.raises(UnknownName, match=hint):
        features(space, some, f"summary+{kind}")
