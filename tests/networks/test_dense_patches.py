"""Dense forms of patch networks against the patches themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.mapping.engine import predict
from swath.mapping.prediction import MapMode, read_array
from swath.networks.dense_patches import dense_patches
from swath.networks.patchwise import Patchwise
from swath.spaces import create
from swath.spaces.base import InputSpec, OutputSpec

BANDS, CLASSES = 12, 5


class Spectral(nn.Module):
    """Two valid 3-D convolutions and two linear layers, as the field's networks have them."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        left = patch - 4
        self.first = nn.Conv3d(1, 4, (5, 3, 3), padding=(1, 0, 0))
        self.norm = nn.BatchNorm3d(4)
        self.second = nn.Conv3d(4, 6, (3, 3, 3), stride=(2, 1, 1))
        self.hidden = nn.Linear(6 * 4 * left**2, 9)
        self.last = nn.Linear(9, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.first(x.unsqueeze(1))))
        y = torch.relu(self.second(y))
        return self.last(torch.relu(self.hidden(y.flatten(1))))


def flat(patch: int) -> nn.Module:
    left = patch - 4
    return nn.Sequential(
        nn.Conv2d(BANDS, 7, 3),
        nn.LeakyReLU(0.1),
        nn.Conv2d(7, 8, 3, groups=1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(8 * left**2, CLASSES),
    )


@pytest.mark.parametrize("make", [Spectral, flat])
@pytest.mark.parametrize("patch", [5, 7])
@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (23, 31)])
@pytest.mark.parametrize("mode", ["plain", "ov"])
def test_dense_form_gives_what_the_patches_give(
    make: type[nn.Module], patch: int, shape: tuple[int, int], mode: MapMode
) -> None:
    torch.manual_seed(0)
    network = Patchwise(make(patch), patch).eval()
    dense = dense_patches(network, BANDS)
    assert dense is not None
    assert dense.halo == network.halo
    images = torch.randn(2, BANDS, *shape)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(dense.eval()(images), expected, atol=1e-4, rtol=0)
    pixels = images[0].permute(1, 2, 0).numpy()
    for window in (None, 7):
        prediction = predict(
            network, read_array(pixels), pixels.shape, mode=mode, window=window, crop=64
        )
        answer = torch.softmax(expected[0], 0).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(prediction.array(), answer, atol=1e-5)


@pytest.mark.parametrize("space", ["hytas", "nasbench201", "darts", "mobilenet"])
def test_networks_that_see_the_edge_of_their_patch_have_none(space: str) -> None:
    chosen = create(space)
    network = chosen.build_dense(
        chosen.sample(np.random.default_rng(0)), InputSpec(BANDS), OutputSpec(CLASSES)
    )
    assert isinstance(network, Patchwise)
    before = [module.training for module in network.modules()]
    assert dense_patches(network, BANDS) is None
    assert before == [module.training for module in network.modules()]


@pytest.mark.parametrize(
    "inner",
    [
        nn.Sequential(nn.Conv2d(BANDS, 4, 3, padding=1), nn.Flatten(), nn.Linear(100, CLASSES)),
        nn.Sequential(nn.Conv2d(BANDS, 4, 2), nn.Flatten(), nn.Linear(64, CLASSES)),
        nn.Sequential(nn.Conv2d(BANDS, 4, 3, stride=2), nn.Flatten(), nn.Linear(16, CLASSES)),
        nn.Sequential(nn.Conv2d(BANDS, 4, 3), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(4, CLASSES)),
    ],
)
def test_patches_that_are_padded_or_reduced_have_none(inner: nn.Module) -> None:
    assert dense_patches(Patchwise(inner, 5), BANDS) is None
