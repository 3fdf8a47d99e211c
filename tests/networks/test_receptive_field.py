"""The measured halo against stacks whose reach is known on paper."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from swath.core.errors import MismatchError
from swath.networks.receptive_field import Halo, receptive_field


def convolution(kernel: tuple[int, int], dilation: int = 1, channels: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding="same", dilation=dilation)


class Shift(nn.Module):
    """Moves the image down (up, where negative), filling with zeros."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        down, up = max(0, self.rows), max(0, -self.rows)
        return F.pad(x, (0, 0, down, up))[:, :, up : up + x.shape[2]]


class Aspp(nn.Module):
    """Parallel dilated branches, as in the published decoder."""

    def __init__(self, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([convolution((3, 3), rate) for rate in rates])
        self.point = convolution((1, 1))
        self.project = nn.Conv2d(3 * (len(rates) + 1), 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [F.leaky_relu(branch(x), 0.2) for branch in self.branches]
        return self.project(torch.cat([*parts, self.point(x)], 1))


class Spectral(nn.Module):
    """A 3-D network that ends in a mean over the bands, as the published one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, 4, (5, 3, 3), stride=(2, 1, 1), padding=(0, 1, 1))
        self.norm = nn.BatchNorm3d(4)
        self.wide = nn.Conv3d(4, 4, (1, 5, 5), padding=(0, 2, 2), groups=4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm(self.stem(x[:, None])), 0.2)
        return self.head(self.wide(x).mean(2))


class Encoder(nn.Module):
    """Halves the image ``levels`` times and comes back; takes multiples of 2**levels."""

    def __init__(self, levels: int, mode: str = "nearest") -> None:
        super().__init__()
        self.levels = levels
        self.mode = mode
        self.first = convolution((3, 3))
        self.deep = convolution((3, 3))
        self.last = convolution((1, 1))

    def forward(self, x: Tensor) -> Tensor:
        extra = [-size % 2**self.levels for size in x.shape[2:]]
        padded = F.pad(x, (0, extra[1], 0, extra[0]))
        y = self.deep(F.max_pool2d(self.first(padded), 2**self.levels))
        y = F.interpolate(y, scale_factor=2**self.levels, mode=self.mode)
        return self.last(y)[:, :, : x.shape[2], : x.shape[3]]


class GlobalContext(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean((2, 3), keepdim=True)


class Position(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(x.shape[2], dtype=x.dtype)[:, None]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Conv2d(3, 5, 1), Halo(0, 0, 0, 0)),
        (convolution((3, 3)), Halo(1, 1, 1, 1)),
        (nn.Sequential(*[convolution((3, 3)) for _ in range(12)]), Halo(12, 12, 12, 12)),
        (convolution((5, 1)), Halo(2, 2, 0, 0)),
        (convolution((1, 7), dilation=3), Halo(0, 0, 9, 9)),
        # an even kernel with "same" padding looks further to the bottom and right
        (convolution((4, 2)), Halo(1, 2, 0, 1)),
        (
            nn.Sequential(convolution((3, 3), 2), nn.ReLU(), convolution((3, 5), 4)),
            Halo(6, 6, 10, 10),
        ),
        (Aspp((2, 4, 6)), Halo(6, 6, 6, 6)),
        (nn.Sequential(convolution((3, 3)), nn.BatchNorm2d(3), Aspp((3,))), Halo(4, 4, 4, 4)),
        (
            nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Hardswish(), nn.AvgPool2d(5, 1, 2)),
            Halo(3, 3, 3, 3),
        ),
    ],
    ids=[
        "pixel",
        "3x3",
        "twelve 3x3",
        "5x1",
        "1x7 dilated",
        "even",
        "dilations",
        "aspp",
        "normalised aspp",
        "pooling",
    ],
)
def test_known_stacks(network: nn.Module, expected: Halo) -> None:
    assert receptive_field(network, 3) == expected


@settings(max_examples=25, deadline=None)
@given(
    layers=st.lists(
        st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3]), st.integers(1, 3)),
        min_size=1,
        max_size=4,
    )
)
def test_agrees_with_the_gradient_of_one_answer(layers: list[tuple[int, int, int]]) -> None:
    network = nn.Sequential(*[convolution((down, across), d, 2) for down, across, d in layers])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_().add_(0.1)  # all positive: nothing cancels
    image = torch.ones(1, 2, 61, 61, requires_grad=True)
    network(image)[0, :, 30, 30].sum().backward()
    assert image.grad is not None
    _, _, rows, columns = image.grad.nonzero(as_tuple=True)
    assert receptive_field(network, 2) == Halo(
        30 - int(rows.min()), int(rows.max()) - 30, 30 - int(columns.min()), int(columns.max()) - 30
    )


def test_saturated_and_zero_weights_hide_nothing() -> None:
    network = nn.Sequential(convolution((5, 5)), nn.ReLU(), convolution((3, 3)), nn.Sigmoid())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network[0].bias.fill_(-1e6)
    assert receptive_field(network, 3) == Halo(3, 3, 3, 3)


def test_three_dimensional_network_with_few_bands() -> None:
    assert receptive_field(Spectral(), 7) == Halo(3, 3, 3, 3)


@pytest.mark.parametrize(("first", "second"), [(5, -3), (-5, 3)])
def test_border_that_matters_farther_than_the_data(first: int, second: int) -> None:
    # An answer depends on the one row ``first + second`` away, but on its way there that row
    # passes ``second`` rows off on the other side, where a border must not swallow it.
    halo = receptive_field(nn.Sequential(Shift(first), nn.Conv2d(3, 3, 1), Shift(second)), 3)
    assert halo is not None
    assert halo.top >= max(first + second, second)
    assert halo.bottom >= max(-first - second, -second)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_stride_of_networks_that_reduce_the_image(levels: int) -> None:
    stride = 2**levels
    halo = receptive_field(Encoder(levels), 3)
    assert halo is not None
    assert halo.stride == stride
    # A pixel's answer uses its own block, its neighbours (3x3 on the reduced image) and one more
    # pixel around; the last of a block is ``stride - 1`` away from the block's first.
    assert halo.top == halo.bottom == halo.left == halo.right == 2 * stride


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(convolution((3, 3)), GlobalContext()),
        nn.Sequential(convolution((1, 1)), nn.InstanceNorm2d(3)),
        Position(),
        nn.Sequential(*[convolution((3, 3)) for _ in range(30)]),
    ],
    ids=["global pooling", "instance norm", "position", "beyond the limit"],
)
def test_unbounded(network: nn.Module) -> None:
    assert receptive_field(network, 3, limit=24) is None


def test_network_is_left_alone() -> None:
    network = nn.Sequential(convolution((3, 3)), nn.BatchNorm2d(3), nn.Dropout())
    network.train()
    network[0].weight.requires_grad_(False)
    with torch.no_grad():
        network[0].weight[0] = 0
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert receptive_field(network, 3) == Halo(1, 1, 1, 1)
    assert network.training
    assert network[1].training
    assert not network[0].weight.requires_grad
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert next(network.parameters()).dtype == torch.float32


def test_network_that_does_not_answer_each_pixel() -> None:
    network = nn.Sequential(nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    with pytest.raises(MismatchError, match=r"\(batch, classes, rows, columns\)"):
        receptive_field(network, 3)


def test_failing_network_says_why() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        receptive_field(convolution((3, 3)), 5)
