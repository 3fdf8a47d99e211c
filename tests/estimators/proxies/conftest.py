"""What the tests of proxies share: small networks of every kind, in float64, with a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath import spaces
from swath.spaces.base import InputSpec, OutputSpec


@dataclass(frozen=True)
class Case:
    """A network and what it is scored on."""

    network: nn.Module
    x: Tensor
    y: Tensor

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        return self.x, self.y


def convolutional() -> Case:
    """Every form of convolution, batch normalisation, and a layer that never runs."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(6)
            self.grouped = nn.Conv2d(6, 4, 3, stride=2, groups=2)
            self.depthwise = nn.Conv2d(4, 8, (3, 1), padding=(2, 0), dilation=(2, 1), groups=4)
            self.unused = nn.Linear(2, 2)
            self.relu = nn.ReLU(inplace=True)
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.dropout = nn.Dropout(0.5)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.relu(self.norm(self.stem(x)))
            x = self.depthwise(self.relu(self.grouped(x)))
            return self.head(self.dropout(self.pool(self.relu(x)).flatten(1)))

    return Case(Network(), torch.randn(5, 3, 7, 6), torch.tensor([0, 2, 1, 0, 2]))


def transformer() -> Case:
    space = spaces.create("hytas", embed_dims=[12, 18], max_depth=5, group=3, patch=3)
    architecture = space.from_lists(12, [3, 5, 4, 3], [2, 1, 1, 2])  # type: ignore[attr-defined]
    network = space.build(architecture, InputSpec(6), OutputSpec(4))
    return Case(network, torch.rand(4, 6, 3, 3), torch.tensor([3, 0, 0, 1]))


def dense() -> Case:
    """A network that labels pixels, most of them unlabelled."""
    space = spaces.create(
        "hsi3d", layers=1, nodes=2, base_width=2, stem_width=3, head_width=8, stem_length=6
    )
    architecture = space.sample(np.random.default_rng(3))
    network = space.build(architecture, InputSpec(9), OutputSpec(3))
    y = torch.full((3, 4, 4), -1)
    y[:, :2, 1:3] = torch.randint(0, 3, (3, 2, 2))
    return Case(network, torch.randn(3, 9, 4, 4), y)


class Segmenter(nn.Module):
    """What networks for segmentation are made of; the answer is enlarged at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.dilated = nn.Conv2d(4, 4, 3, padding=2, dilation=2)
        self.attended = nn.Conv2d(4, 4, 1)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 8)
        )
        self.coarse = nn.AdaptiveAvgPool2d(2)
        self.pooled = nn.Sequential(
            nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        )
        self.merge = nn.Sequential(nn.Conv2d(14, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.classify = nn.Conv2d(8, 3, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Return them at half the resolution."""
        x = self.stem(x)
        one, other = x.chunk(2, dim=1)
        tokens = other.flatten(2)
        alike = (tokens.transpose(1, 2) @ tokens / 2).softmax(-1)
        attended = self.attended((tokens @ alike).unflatten(2, other.shape[2:]))
        enhanced = torch.cat([self.dilated(one), attended], dim=1)
        enhanced = enhanced * self.squeeze(x).sigmoid()[:, :, None, None] + enhanced
        pooled = self.pooled(self.coarse(enhanced))
        pooled = nn.functional.interpolate(pooled, x.shape[2:], mode="bilinear")
        return self.classify(self.merge(torch.cat([enhanced, pooled], dim=1)))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(self.logits(x), x.shape[2:], mode="bilinear")


def segmentation() -> Case:
    """A network of strides and branches, with batches whose pixels are partly unlabelled."""
    y = torch.randint(3, (4, 8, 10))
    y[torch.rand(y.shape) < 0.3] = -1
    return Case(Segmenter(), torch.randn(4, 3, 8, 10), y)


CASES = {
    "convolutional": convolutional,
    "transformer": transformer,
    "dense": dense,
    "segmentation": segmentation,
}


def make(kind: str) -> Case:
    torch.manual_seed(1)
    made = CASES[kind]()
    return Case(made.network.double(), made.x.double(), made.y)


@pytest.fixture(params=CASES, scope="session")
def case(request: pytest.FixtureRequest) -> Case:
    """Each kind of network in turn, in float64."""
    return make(request.param)


@pytest.fixture(scope="session")
def make_case() -> Callable[[str], Case]:
    """Return what makes a case of one kind."""
    return make
