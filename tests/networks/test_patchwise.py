"""Patch networks over whole images: the same as asking about each pixel's patch alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from swath.mapping.engine import predict
from swath.mapping.prediction import read_array
from swath.networks import patchwise
from swath.networks.cost import count_flops, count_flops_per_pixel
from swath.networks.patchwise import Patchwise, patch_network
from swath.networks.receptive_field import Halo, receptive_field
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.hytas import HyTAS
from swath.spaces.nasbench201 import NASBench201


@dataclass(frozen=True)
class Case:
    """A small space whose networks answer for patches."""

    space: SearchSpace
    patch: int

    def network(self) -> nn.Module:
        torch.manual_seed(1)
        architecture = self.space.sample(np.random.default_rng(2))
        return self.space.build_dense(architecture, InputSpec(4), OutputSpec(3)).eval()


CASES = [
    Case(HyTAS(embed_dims=[12], min_depth=2, max_depth=3, patch=5), 5),
    Case(NASBench201(channels=2, cells=1, patch=3), 3),
]


class Affine(nn.Module):
    """The simplest network that sees every place of its patch apart."""

    def __init__(self, bands: int, classes: int, patch: int) -> None:
        super().__init__()
        self.layer = nn.Linear(bands * patch**2, classes)
        self.largest = 0

    def forward(self, x: Tensor) -> Tensor:
        self.largest = max(self.largest, len(x))
        return self.layer(x.flatten(1))


def pixel_by_pixel(network: Patchwise, image: Tensor) -> Tensor:
    """The slow reference, with numpy's own symmetric padding."""
    reach, side = network.patch // 2, network.patch
    padded = np.pad(image.numpy(), ((0, 0), (reach, reach), (reach, reach)), "symmetric")
    rows, columns = image.shape[1:]
    answers = [
        [
            network.network(torch.from_numpy(padded[None, :, r : r + side, c : c + side].copy()))[0]
            for c in range(columns)
        ]
        for r in range(rows)
    ]
    return torch.stack([torch.stack(row) for row in answers]).permute(2, 0, 1)


@given(
    batch=st.integers(1, 3),
    bands=st.integers(1, 3),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    reach=st.integers(0, 4),
    at_once=st.integers(1, 40),
)
def test_it_is_the_network_asked_about_each_pixel(
    batch: int, bands: int, rows: int, columns: int, reach: int, at_once: int
) -> None:
    """Images of all shapes, also smaller than a patch; in groups that end anywhere."""
    inner = Affine(bands, 2, 2 * reach + 1)
    network = Patchwise(inner, 2 * reach + 1)
    images = torch.randn(batch, bands, rows, columns)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(patchwise, "_PATCHES", at_once)
        found = network(images)
        assert inner.largest <= at_once
        assert found.shape == (batch, 2, rows, columns)
        expected = torch.stack([pixel_by_pixel(network, image) for image in images])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.space.name)
def test_networks_of_the_spaces_too(case: Case) -> None:
    network = case.network()
    assert isinstance(network, Patchwise)
    assert network.patch == case.patch
    image = torch.randn(4, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(
            network(image[None])[0], pixel_by_pixel(network, image), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.space.name)
def test_the_halo_it_knows_is_the_one_that_is_measured(case: Case) -> None:
    network = case.network()

    class Unknowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    reach = case.patch // 2
    assert receptive_field(network, 4) == Halo(reach, reach, reach, reach)
    assert receptive_field(Unknowing(), 4) == receptive_field(network, 4)
    assert receptive_field(network, 4, limit=reach - 1) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.space.name)
def test_a_map_in_windows_is_that_of_one_pass(case: Case) -> None:
    network = case.network()
    cube = np.random.default_rng(0).normal(size=(17, 14, 4)).astype(np.float32)

    def probabilities(window: int | None) -> np.ndarray:
        made = predict(network, read_array(cube), (17, 14, 4), window=window)
        assert made.mode == "plain"
        assert made.notes == ()
        return made.array()

    whole = probabilities(None)
    for window in (1, 5, 16):
        np.testing.assert_allclose(probabilities(window), whole, atol=1e-5)
    with torch.no_grad():
        once = torch.softmax(network(torch.from_numpy(cube.transpose(2, 0, 1))[None])[0], 0)
    np.testing.assert_allclose(whole, once.permute(1, 2, 0).numpy(), atol=1e-6)


def test_a_pixel_costs_one_patch() -> None:
    network = CASES[0].network()
    assert count_flops_per_pixel(network, 4) == count_flops(patch_network(network), 4, 5)


def test_it_runs_under_autocast() -> None:
    network = CASES[0].network()
    image = torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(image)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, atol=0.05, rtol=0.05)


def test_the_weights_are_those_of_the_inner_network() -> None:
    inner = Affine(2, 2, 3)
    assert patch_network(Patchwise(inner, 3)) is inner
    assert patch_network(inner) is inner
