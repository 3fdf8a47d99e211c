"""The inference form against the plain network."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from swath.core.devices import autocast
from swath.networks import inference
from swath.networks.dense_graph import NotDense, dense_graph
from swath.networks.graph_nodes import ordered
from swath.networks.inference import Inference
from swath.networks.inference_calls import fills_groups
from swath.networks.receptive_field import receptive_field
from swath.spaces import create
from swath.spaces.base import InputSpec, OutputSpec

BANDS, CLASSES = 23, 4
GPUS = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))
]


def shaken(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give normalisation statistics and weights as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 1)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return network.eval()


def child(seed: int, bands: int = BANDS, **options: object) -> nn.Module:
    torch.manual_seed(seed)
    space = create("hsi3d", base_width=4, stem_width=6, head_width=8, **options)
    architecture = space.sample(np.random.default_rng(seed))
    return shaken(space.build(architecture, InputSpec(bands), OutputSpec(CLASSES)), seed)


def streamed(form: Inference, image: Tensor, rows: list[int]) -> Tensor:
    stream = form.stream(image.shape[1])
    answers, top = [], 0
    while top < image.shape[1]:
        height = rows[len(answers) % len(rows)] if rows else 1
        rows = rows[1:] + rows[:1]
        answer = stream.push(image[:, top : top + height])
        top += height
        if answer is not None:
            answers.append(answer)
    return torch.cat(answers, dim=1)


def assert_close(answer: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max())
    np.testing.assert_allclose(answer.numpy() / scale, expected.numpy() / scale, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    bands=st.sampled_from([1, 5, 23, 40]),
    variant=st.sampled_from(["asym-d", "asym-ud", "sym-d", "sym-ud"]),
    stem_length=st.sampled_from([None, 9]),
    rows=st.integers(1, 40),
    columns=st.integers(1, 20),
    pushes=st.lists(st.integers(1, 25), min_size=1, max_size=4),
)
def test_every_cell_network_gives_the_answers_of_the_plain_one(
    seed: int,
    bands: int,
    variant: str,
    stem_length: int | None,
    rows: int,
    columns: int,
    pushes: list[int],
) -> None:
    network = child(seed, bands, variant=variant, stem_length=stem_length)
    images = torch.randn(2, bands, rows, columns, generator=torch.Generator().manual_seed(seed))
    form = Inference(network, bands)
    with torch.inference_mode():
        expected = network(images)
        assert_close(form(images), expected)
        assert_close(streamed(form, images[1], pushes), expected[1])


def test_an_image_may_lie_in_memory_as_files_have_it() -> None:
    network = child(3)
    image = torch.randn(30, 17, BANDS).permute(2, 0, 1)
    with torch.inference_mode():
        expected = network(image[None])
        assert_close(Inference(network, BANDS)(image[None]), expected)
        assert_close(streamed(Inference(network, BANDS), image, [4]), expected[0])


@pytest.mark.parametrize("variant", ["asym-d", "asym-ud", "sym-d", "sym-ud"])
@pytest.mark.parametrize("seed", range(3))
def test_the_calls_for_gpus_give_the_same_answers(
    seed: int, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are public calls, so a processor carries them out too."""
    monkeypatch.setattr(inference, "can_fuse", lambda: False)
    monkeypatch.setattr(
        inference,
        "dense_graph",
        lambda network, bands, _: dense_graph(network, bands, fills_groups),
    )
    network = child(seed, variant=variant)
    form = Inference(network, BANDS)
    kinds = [node.weights for node in form.nodes if node.convolution is not None]
    assert not any(fills_groups(convolution) for convolution in kinds)
    image = torch.randn(2, BANDS, 21, 17)
    with torch.inference_mode():
        expected = network(image)
        assert_close(form(image), expected)
        assert_close(streamed(form, image[1], [5]), expected[1])


def test_the_calls_for_gpus_pad_along_the_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of one band may be padded along them all the same."""
    monkeypatch.setattr(inference, "can_fuse", lambda: False)

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv3d(1, CLASSES, (1, 3, 3), padding=(2, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.unsqueeze(1)).mean(2)

    network = Padded().eval()
    image = torch.randn(1, BANDS, 9, 8)
    with torch.inference_mode():
        assert_close(Inference(network, BANDS)(image), network(image))


@pytest.mark.parametrize("device", GPUS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_answers_of_the_processor(device: str, dtype: torch.dtype) -> None:
    network = child(1)
    image = torch.randn(2, BANDS, 40, 33)
    with torch.inference_mode(), autocast(torch.device(device), "float32"):
        expected = network(image)
        answer = Inference(network, BANDS, dtype, torch.device(device))(image.to(device)).cpu()
    if dtype == torch.float32:
        assert_close(answer, expected)
    else:
        assert float((answer - expected).norm() / expected.norm()) < 0.03


@pytest.mark.parametrize("seed", range(3))
def test_halo_is_the_measured_receptive_field(seed: int) -> None:
    network = child(seed)
    assert Inference(network, BANDS).halo == receptive_field(network, BANDS)


def test_the_graph_is_simpler_than_the_network() -> None:
    network = child(0)
    nodes = ordered(dense_graph(network, BANDS))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    assert sum(n.convolution is not None for n in nodes) < len(convolutions)
    # no normalisation is left: none of the convolutions is pointwise and depthwise
    for node in nodes:
        if node.convolution is not None:
            assert not (node.convolution.pointwise and node.convolution.depthwise)


@pytest.mark.parametrize("bands", [1, 2, 3, 5])
def test_no_band_of_a_kernel_meets_padding_alone_at_both_ends(bands: int) -> None:
    """Beside wasted work: in bfloat16, libraries answered kernels around one band with garbage."""
    for node in ordered(dense_graph(child(0, bands), bands)):
        if (c := node.convolution) is not None and c.kernel[0] > 1:
            length = node.inputs[0].bands
            begins = np.arange(node.bands) * c.stride - c.padding[0]
            ends = begins + c.dilation[0] * (c.kernel[0] - 1)
            assert (begins >= 0).any() or (ends < length).any()


def test_one_band_in_bfloat16() -> None:
    for seed in range(3):
        x, network = torch.randn(1, 1, 19, 13), child(seed, 1)
        with torch.no_grad():
            expected = network(x)
        answer = Inference(network, 1, torch.bfloat16)(x)
        assert float((answer - expected).abs().max() / expected.abs().max()) < 0.1


def test_the_network_is_not_changed() -> None:
    network = child(0)
    network.train()
    network.decoder.eval()  # type: ignore[operator, union-attr]
    before = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    Inference(network, BANDS)(torch.randn(1, BANDS, 8, 8))
    assert modes == [module.training for module in network.modules()]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


class _Odd(nn.Module):
    """Normalisation that nothing absorbs, ReLU and LeakyReLU of one tensor, twice the same term."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(BANDS, 8, 5, padding="same", dilation=2)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, (1, 3), padding=(0, 1), groups=4)
        self.third = nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = self.norm(torch.relu(y) + F.leaky_relu(y, 0.1)) + y
        y = y + y
        return self.third(torch.cat([self.second(self.norm(y)), torch.relu(self.norm(y))], 1))


def test_odd_networks() -> None:
    torch.manual_seed(0)
    network = shaken(_Odd())
    images = torch.randn(2, BANDS, 21, 18)
    with torch.inference_mode():
        expected = network(images)
        form = Inference(network, BANDS)
        assert_close(form(images), expected)
        assert_close(streamed(form, images[0], [2, 9]), expected[0])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(1)), "MaxPool2d"),
        (nn.Conv2d(3, 4, 3), "changes rows or columns"),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), "reflect"),
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), "changes rows or columns"),
        (nn.BatchNorm2d(3, track_running_stats=False), "without stored statistics"),
    ],
)
def test_other_networks_are_refused(network: nn.Module, message: str) -> None:
    wrapped = nn.Sequential(network)
    with pytest.raises(NotDense, match=message):
        Inference(wrapped, 3)


def test_bfloat16_is_close() -> None:
    network = child(1)
    images = torch.randn(1, BANDS, 32, 32)
    with torch.inference_mode():
        expected = network(images)
        answer = Inference(network, BANDS, torch.bfloat16)(images)
    assert answer.dtype == torch.float32
    assert float((answer - expected).abs().max()) < 0.05 * float(expected.abs().max())
