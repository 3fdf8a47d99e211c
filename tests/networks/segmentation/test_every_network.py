"""Every segmentation network: shapes, gradients, counts, determinism, and what it looks at."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swath.core.errors import UnknownName
from swath.networks import segmentation
from swath.networks.cost import count_parameters
from swath.networks.regnet import SETTINGS, RegNetSettings, load_pretrained
from swath.networks.segmentation.base import Segmenter

NAMES = segmentation.names()
NARROW = SETTINGS["narrow"]


def made(name: str, bands: int = 3, classes: int = 4, seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    return segmentation.create(name, bands, classes, "narrow")


def test_the_networks_are_listed() -> None:
    assert NAMES == ["deeplabv3plus", "fcn", "pspnet", "unet"]
    assert segmentation.names("*net") == ["pspnet", "unet"]
    with pytest.raises(UnknownName, match=r"no segmentation network 'u-net'.*did you mean 'unet'"):
        segmentation.create("u-net", 3, 2)
    with pytest.raises(UnknownName, match="no RegNet 'resnet50'"):
        segmentation.create("unet", 3, 2, "resnet50")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 64), (45, 77), (100, 33), (31, 32), (7, 3), (1, 1)])
@pytest.mark.parametrize(("bands", "classes"), [(1, 2), (5, 3)])
def test_logits_are_as_large_as_the_image(
    name: str, size: tuple[int, int], bands: int, classes: int
) -> None:
    network = made(name, bands, classes).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, bands, *size))
    assert logits.shape == (2, classes, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batch", "size"), [(1, (65, 50)), (2, (32, 32)), (3, (90, 64))])
def test_gradients_reach_every_parameter(name: str, batch: int, size: tuple[int, int]) -> None:
    """In training, with one image as well, where the mean of the image is a single value."""
    network = made(name).train()
    logits = network(torch.randn(batch, 3, *size))
    targets = torch.randint(4, (batch, *size))
    nn.functional.cross_entropy(logits, targets).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        if (batch, size) == (3, (90, 64)):
            assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_network_and_answer(name: str) -> None:
    x = torch.randn(2, 3, 50, 70)
    answers = []
    for seed in (1, 1, 2):
        network = made(name, seed=seed).train()
        torch.manual_seed(5)
        answers.append(network(x))
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(name: str) -> None:
    network = made(name).eval()
    x = torch.randn(3, 3, 40, 52)
    with torch.no_grad():
        torch.testing.assert_close(network(x)[1:2], network(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_learns_where_a_square_is(name: str) -> None:
    """A few steps on one image lower the loss by a half: all parts are connected the right way."""
    network = made(name, 1, 2).train()
    x = torch.randn(2, 1, 64, 64) * 0.1
    targets = torch.zeros(2, 64, 64, dtype=torch.long)
    targets[0, 8:40, 16:48] = targets[1, 30:60, 4:36] = 1
    x[targets[:, None] == 1] += 1
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(x), targets)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


# Parameters, counted from the papers' figures with the widths of RegNetX-400MF.

BACKBONE = 5_495_976 - 400 * 1000 - 1000  # torchvision's number without its classifier


def convolution(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> int:
    """Kernels, and scale and offset of the normalisation."""
    return kernel**2 * inputs // groups * outputs + 2 * outputs


def separable(inputs: int, outputs: int) -> int:
    return convolution(inputs, inputs, 3, inputs) + convolution(inputs, outputs)


def unet_head(classes: int) -> int:
    steps = ((400 + 160, 160), (160 + 64, 64), (64 + 32, 32), (32 + 32, 32), (32, 16))
    convolutions = sum(convolution(i, o, 3) + convolution(o, o, 3) for i, o in steps)
    return convolutions + 16 * classes + classes


def fcn_head(classes: int) -> int:
    return (64 + 160 + 400) * classes + 3 * classes


def pspnet_head(classes: int) -> int:
    pyramid = (400 * 100 + 100) + 3 * convolution(400, 100)
    return pyramid + convolution(800, 100, 3) + 100 * classes + classes


def deeplabv3plus_head(classes: int) -> int:
    pyramid = convolution(400, 256) + 3 * separable(400, 256) + (400 * 256 + 256)
    merged = convolution(5 * 256, 256) + convolution(32, 32)
    decoder = separable(256 + 32, 256) + separable(256, 256)
    return pyramid + merged + decoder + 256 * classes + classes


HEADS = {
    "unet": unet_head,
    "fcn": fcn_head,
    "pspnet": pspnet_head,
    "deeplabv3plus": deeplabv3plus_head,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 7])
def test_parameters_are_those_of_the_description(name: str, classes: int) -> None:
    with torch.device("meta"):
        network = segmentation.create(name, 3, classes)
    assert count_parameters(network) == BACKBONE + HEADS[name](classes)


# What a pixel of the answer looks at.


@pytest.mark.parametrize("name", NAMES)
def test_only_networks_with_a_mean_of_all_see_the_whole_image(name: str) -> None:
    """Kernels of the narrow RegNet reach 168 pixels, those of U-Net's way up 62 further."""
    size = 640
    x = torch.randn(1, 3, size, size, requires_grad=True)
    made(name).eval()(x)[0, :, size // 2, size // 2].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].any(0)
    assert seen[size // 2 - 16 : size // 2 + 16, size // 2 - 16 : size // 2 + 16].all()
    corners = [bool(seen[i : i + 32, j : j + 32].any()) for i in (0, -33) for j in (0, -33)]
    assert corners == [name in ("pspnet", "deeplabv3plus")] * 4


@pytest.mark.parametrize("name", ["fcn", "unet"])
@pytest.mark.parametrize("rows", [900, 887, 871])
def test_a_window_gives_the_answers_of_the_whole_image(name: str, rows: int) -> None:
    """Of any size, where it begins at a multiple of the stride, and farther from cuts than 300."""
    network = made(name).double().eval()
    x = torch.randn(1, 3, rows, 45, dtype=torch.double)
    begin, end = 96, 838
    with torch.no_grad():
        whole, window = network(x), network(x[:, :, begin:end])
    found, expected = window[:, :, 300:-300], whole[:, :, begin + 300 : end - 300]
    assert found.shape[2] == 142
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_weights_load_into_the_backbone(name: str, tmp_path: object) -> None:
    path = f"{tmp_path}/weights.pth"
    source = made(name, seed=3).backbone
    torch.save(source.state_dict(), path)
    network = made(name, bands=4, seed=4)
    load_pretrained(network.backbone, path)
    grey = torch.rand(1, 1, 64, 64)
    for found, expected in zip(
        network.eval().backbone.stages(grey.expand(-1, 4, -1, -1)),
        source.eval().stages(grey.expand(-1, 3, -1, -1)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_any_backbone_will_do() -> None:
    tiny = RegNetSettings(4, 8, 14.0, 2.0, 8, se_ratio=0.25, stem_width=1)
    for name in NAMES:
        network = segmentation.create(name, 2, 3, tiny).eval()
        assert network(torch.randn(1, 2, 20, 30)).shape == (1, 3, 20, 30)
