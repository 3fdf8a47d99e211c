"""The map modes against slow, plain references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from swath.core.errors import MismatchError, RecipeError
from swath.data.scaling import Scaling
from swath.data.scene import array_scene
from swath.mapping.engine import predict
from swath.mapping.prediction import MapMode, read_array
from swath.mapping.runner import Runner
from swath.mapping.scenes import predict_scene
from swath.networks.patchwise import Patchwise
from swath.spaces import create
from swath.spaces.base import InputSpec, OutputSpec

BANDS, CLASSES = 3, 4


def stack(layers: Sequence[tuple[int, int, int]], seed: int = 0) -> nn.Module:
    """Convolutions (rows, columns, dilation), each normalised and activated, and a classifier."""
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for rows, columns, dilation in layers:
        parts += [
            nn.Conv2d(BANDS, BANDS, (rows, columns), padding="same", dilation=dilation),
            nn.BatchNorm2d(BANDS),
            nn.LeakyReLU(0.2),
        ]
    network = nn.Sequential(*parts, nn.Conv2d(BANDS, CLASSES, 1))
    with torch.no_grad():
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return network


def cube(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, columns, BANDS)).astype(np.float32)


def one_pass(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    network.eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    return torch.softmax(logits[0], 0).permute(1, 2, 0).numpy()


def published(
    network: nn.Module, pixels: np.ndarray, scales: Sequence[int], overlap: bool
) -> np.ndarray:
    """The loop of the authors' inference, one window at a time."""
    height, width, _ = pixels.shape
    result = np.zeros((height, width, CLASSES))
    for crop in scales:
        score = np.zeros((height, width, CLASSES))
        count = np.zeros((height, width, 1))
        step = crop // 2 if overlap else crop
        for top in [*range(0, height - crop, step), height - crop]:
            for left in [*range(0, width - crop, step), width - crop]:
                window = pixels[top : top + crop, left : left + crop]
                score[top : top + crop, left : left + crop] += one_pass(network, window)
                count[top : top + crop, left : left + crop] += 1
        result += score / count
    return result / len(scales)


class GlobalContext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(BANDS, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x * x.mean((2, 3), keepdim=True).exp())


class Halving(nn.Module):
    """Reduces the image by two inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(BANDS, BANDS, 3, padding=1)
        self.last = nn.Conv2d(BANDS, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        y = F.interpolate(self.first(F.max_pool2d(padded, 2)), scale_factor=2)
        return self.last(y)[:, :, : x.shape[2], : x.shape[3]]


@settings(max_examples=40, deadline=None)
@given(
    layers=st.lists(
        st.tuples(st.sampled_from([1, 3, 5]), st.sampled_from([1, 3]), st.integers(1, 3)),
        max_size=4,
    ),
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    window=st.integers(1, 40),
    batch=st.sampled_from([None, 1, 3]),
)
def test_plain_is_one_pass(
    layers: list[tuple[int, int, int]], rows: int, columns: int, window: int, batch: int | None
) -> None:
    if rows * columns > 50 * window**2:  # thousands of tiny windows say nothing more
        window = max(rows, columns) // 4
    network = stack(layers)
    pixels = cube(rows, columns)
    prediction = predict(network, read_array(pixels), pixels.shape, window=window, batch=batch)
    assert prediction.mode == "plain"
    assert prediction.notes == ()
    np.testing.assert_allclose(prediction.array(), one_pass(network, pixels), atol=1e-5)


@pytest.fixture
def in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the inference form answer windows, as on a GPU, instead of being streamed through."""
    monkeypatch.setattr(Runner, "streams", False)


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize("window", [None, 9, 25])
@pytest.mark.parametrize("shape", [(5, 7), (41, 67)])
def test_plain_in_windows_is_one_pass(shape: tuple[int, int], window: int | None) -> None:
    network = stack([(3, 3, 2), (5, 1, 1)])
    pixels = cube(*shape)
    prediction = predict(network, read_array(pixels), pixels.shape, window=window)
    assert prediction.notes == ()
    np.testing.assert_allclose(prediction.array(), one_pass(network, pixels), atol=1e-5)


@pytest.mark.usefixtures("in_windows")
@pytest.mark.parametrize("window", [None, 6])
def test_dense_form_of_patches_in_windows_is_patch_by_patch(window: int | None) -> None:
    torch.manual_seed(3)
    inner = nn.Sequential(
        nn.Conv2d(BANDS, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(4, CLASSES)
    )
    network = Patchwise(inner, 5).eval()
    pixels = cube(17, 22)
    prediction = predict(network, read_array(pixels), pixels.shape, window=window)
    np.testing.assert_allclose(prediction.array(), one_pass(network, pixels), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["plain", "ov"])
def test_a_gpu_maps_as_the_processor_does(mode: MapMode) -> None:
    network = stack([(3, 3, 2), (5, 1, 1)])
    pixels = cube(70, 90)
    here = predict(network, read_array(pixels), pixels.shape, mode=mode).array()
    there = predict(network, read_array(pixels), pixels.shape, mode=mode, device="cuda").array()
    np.testing.assert_allclose(there, here, atol=1e-5)


@pytest.mark.parametrize("shape", [(47, 61), (64, 48)])
def test_plain_is_one_pass_for_networks_that_reduce_the_image(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    network = Halving()
    pixels = cube(*shape)
    prediction = predict(network, read_array(pixels), pixels.shape, window=15)
    assert prediction.halo is not None
    assert prediction.halo.stride == 2
    np.testing.assert_allclose(prediction.array(), one_pass(network, pixels), atol=1e-5)


def test_plain_of_a_small_scene_is_one_pass_without_measuring() -> None:
    network = GlobalContext()
    pixels = cube(30, 20)
    prediction = predict(network, read_array(pixels), pixels.shape)
    assert prediction.mode == "plain"
    assert prediction.halo is None
    np.testing.assert_allclose(prediction.array(), one_pass(network, pixels), atol=1e-6)


def test_network_that_looks_everywhere_falls_back_with_a_note() -> None:
    network = GlobalContext()
    pixels = cube(50, 40)
    prediction = predict(network, read_array(pixels), pixels.shape, window=24)
    assert prediction.mode == "windows"
    assert "32 x 32" in prediction.notes[0]
    np.testing.assert_allclose(
        prediction.array(), published(network, pixels, (32,), False), atol=1e-6
    )


def stitched(network: nn.Module, pixels: np.ndarray, context: int) -> np.ndarray:
    """Windows of a context one at a time, each pixel from the last window that may answer it."""
    rows, columns, _ = pixels.shape
    margin = context // 4
    result = np.zeros((rows, columns, CLASSES), dtype=np.float32)

    def places(length: int) -> list[tuple[int, int, int]]:
        if length <= context:
            return [(0, 0, length)]
        starts = [*range(0, length - context, context - 2 * margin), length - context]
        return [(start, start + margin if start else 0, start + context) for start in starts]

    for top, first_row, bottom in places(rows):
        for left, first_column, right in places(columns):
            answer = one_pass(network, pixels[top:bottom, left:right])
            result[first_row:bottom, first_column:right] = answer[
                first_row - top :, first_column - left :
            ]
    return result


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    context=st.integers(6, 40),
    batch=st.sampled_from([None, 1, 3]),
)
def test_network_that_looks_everywhere_with_a_context(
    rows: int, columns: int, context: int, batch: int | None
) -> None:
    network = GlobalContext()
    pixels = cube(rows, columns)
    prediction = predict(network, read_array(pixels), pixels.shape, context=context, batch=batch)
    assert prediction.mode == "plain"
    assert prediction.halo is None
    answers = prediction.array()
    np.testing.assert_allclose(answers, stitched(network, pixels, context), atol=1e-6)
    if max(rows, columns) <= context:
        assert not prediction.notes
        np.testing.assert_allclose(answers, one_pass(network, pixels), atol=1e-6)
    else:
        assert f"windows of {context} x {context}" in prediction.notes[0]


def test_context_leaves_networks_with_a_halo_exact() -> None:
    network = Halving()
    pixels = cube(47, 61)
    prediction = predict(network, read_array(pixels), pixels.shape, context=32, window=20)
    assert prediction.halo is not None
    np.testing.assert_allclose(prediction.array(), one_pass(network, pixels), atol=1e-5)


def test_sides_are_continued_by_their_mirror_image_to_what_a_network_takes() -> None:
    class Eights(GlobalContext):
        multiple = 8

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[2] % 8 == x.shape[3] % 8 == 0
            return super().forward(x)

    network, pixels = Eights(), cube(13, 22)
    calls: list[tuple[int, int]] = []
    prediction = predict(
        network, read_array(pixels), pixels.shape, context=32, progress=lambda *c: calls.append(c)
    )
    larger = np.pad(pixels, ((0, 3), (0, 2), (0, 0)), mode="symmetric")
    np.testing.assert_allclose(prediction.array(), one_pass(network, larger)[:13, :22], atol=1e-6)
    assert calls[-1] == (16 * 24, 16 * 24)


@pytest.mark.parametrize("shape", [(75, 90), (48, 49), (64, 100)])
@pytest.mark.parametrize(
    ("mode", "scales", "overlap"),
    [
        ("windows", (32,), False),
        ("ov", (32,), True),
        ("ms", (16, 32, 48), False),
        ("ms+ov", (16, 32, 48), True),
    ],
)
def test_published_modes(
    mode: str, scales: tuple[int, ...], overlap: bool, shape: tuple[int, int]
) -> None:
    network = stack([(5, 3, 1), (3, 3, 2)])
    pixels = cube(*shape)
    result = predict_scene(network, pixels, mode=mode)  # type: ignore[arg-type]
    np.testing.assert_allclose(result, published(network, pixels, scales, overlap), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 60),
    scales=st.lists(st.integers(3, 70), min_size=1, max_size=3),
    overlap=st.booleans(),
    batch=st.sampled_from([None, 1, 2]),
)
def test_any_scene_and_any_scales_are_covered_in_order(
    rows: int, columns: int, scales: list[int], overlap: bool, batch: int | None
) -> None:
    network = stack([(3, 3, 1)])
    pixels = cube(rows, columns)
    prediction = predict(
        network,
        read_array(pixels),
        pixels.shape,
        mode="ms+ov" if overlap else "ms",
        scales=scales,
        batch=batch,
    )
    row = 0
    for block in prediction:
        assert block.rows.start == row
        assert block.rows.stop - row <= max(scales)  # streams: never much more than a window
        row = block.rows.stop
        assert block.columns == slice(0, columns)
        np.testing.assert_allclose(block.probabilities.sum(2), 1, atol=1e-5)
        assert block.probabilities.dtype == np.float32
    assert row == rows


def test_scales_beyond_the_scene_are_cut_and_count_once() -> None:
    network = stack([(3, 3, 1)])
    pixels = cube(20, 20)
    prediction = predict(network, read_array(pixels), pixels.shape, mode="ms")
    assert prediction.window == ((16, 16), (20, 20))
    expected = (
        published(network, pixels, (16,), False) + one_pass(network, pixels).astype(float)
    ) / 2
    np.testing.assert_allclose(prediction.array(), expected, atol=1e-6)


def test_modules_keep_their_own_modes_and_progress_reaches_the_total() -> None:
    network = stack([(3, 3, 1), (3, 3, 1)])
    network.train()
    network[1].eval()
    pixels = cube(50, 50)
    calls: list[tuple[int, int]] = []
    for mode in ("plain", "ms+ov"):
        predict_scene(
            network,
            pixels,
            mode=mode,  # type: ignore[arg-type]
            window=20,
            progress=lambda done, total: calls.append((done, total)),
        )
        assert calls[-1][0] == calls[-1][1] > 0
    assert [module.training for module in network.children()] == [True, False, *[True] * 5]
    assert network.training


def test_bfloat16_agrees_and_answers_float32() -> None:
    network = stack([(3, 3, 1)])
    pixels = cube(20, 20)
    result = predict_scene(network, pixels, precision="bfloat16", device="cpu")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, one_pass(network, pixels), atol=0.03)


def test_bfloat16_that_changes_classes_is_not_taken() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(BANDS, BANDS, 1), nn.ReLU(), nn.Conv2d(BANDS, CLASSES, 1))
    with torch.no_grad():  # the class is the largest band
        network[0].weight.copy_(torch.eye(BANDS)[:, :, None, None])
        network[0].bias.zero_()
        network[2].weight.copy_(torch.eye(CLASSES, BANDS)[:, :, None, None])
        network[2].bias.copy_(torch.tensor([0.0, 0.0, 0.0, -9.0]))
    alike = 1 + 1e-3 * cube(60, 70)
    noticed = predict(network, read_array(alike), alike.shape, precision="bfloat16")
    assert noticed.precision == "float32"
    assert "changes the class of" in noticed.notes[0]
    np.testing.assert_allclose(noticed.array(), one_pass(network, alike), atol=1e-6)
    apart = np.round(4 * cube(60, 70))
    taken = predict(network, read_array(apart), apart.shape, precision="bfloat16")
    assert taken.precision == "bfloat16"
    assert not taken.notes
    best = taken.array().argmax(2) == one_pass(network, apart).argmax(2)
    assert best.mean() >= 0.999
    # pixels without data, here most, have no class that could stay
    mixed, valid = apart.copy(), np.ones(apart.shape[:2], dtype=bool)
    mixed[:2], valid[2:] = alike[:2], False
    noticed = predict(network, read_array(mixed, valid), mixed.shape, precision="bfloat16")
    assert noticed.precision == "float32"
    valid[:] = False
    empty = predict(network, read_array(mixed, valid), mixed.shape, precision="bfloat16")
    assert empty.precision == "bfloat16"
    # the same for networks that have no inference form
    pooled = nn.Sequential(*network, nn.MaxPool2d(1))
    noticed = predict(pooled, read_array(alike), alike.shape, precision="bfloat16")
    assert (noticed.precision, len(noticed.notes)) == ("float32", 1)


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 100),
    rows=st.integers(1, 70),
    columns=st.integers(1, 70),
    window=st.integers(12, 50),
    mode=st.sampled_from(["plain", "ov"]),
)
def test_cell_networks_in_any_windows(
    seed: int, rows: int, columns: int, window: int, mode: MapMode
) -> None:
    torch.manual_seed(seed)
    space = create("hsi3d", base_width=2, stem_width=3, head_width=8)
    network = space.build(
        space.sample(np.random.default_rng(seed)), InputSpec(BANDS), OutputSpec(CLASSES)
    )
    pixels = cube(rows, columns, seed)
    prediction = predict(
        network, read_array(pixels), pixels.shape, mode=mode, window=window, crop=100
    )
    # windows of 100 are cut to the scene: all modes are one pass
    np.testing.assert_allclose(prediction.array(), one_pass(network, pixels), atol=1e-4)


def test_scene_is_scaled_and_pixels_without_data_are_zero() -> None:
    pixels = cube(12, 9)
    scaling = Scaling("standard", (1.0, 2.0, 3.0), (2.0, 0.5, 1.0))
    stored = pixels * np.float32([2, 0.5, 1]) + np.float32([1, 2, 3])
    stored[3, 4] = np.nan
    pixels[3, 4] = 0
    network = stack([(3, 3, 1)])
    expected = one_pass(network, pixels)
    result = predict_scene(network, array_scene(stored), scaling=scaling)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "ms-ov"}, "did you mean 'ms\\+ov'"),
        ({"crop": 0}, "'crop'"),
        ({"scales": ()}, "'scales'"),
        ({"scales": (16, 0)}, "'scales'"),
        ({"window": 0}, "'window'"),
        ({"context": 0}, "'context'"),
        ({"batch": 0}, "'batch'"),
        ({"device": "abacus"}, "abacus"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        predict_scene(stack([]), cube(9, 9), **options)  # type: ignore[arg-type]


def test_network_and_scene_that_do_not_fit() -> None:
    with pytest.raises(MismatchError, match="4 classes, but 7"):
        predict_scene(stack([]), cube(9, 9), classes=7)
    with pytest.raises(MismatchError, match="one answer a pixel"):
        predict_scene(nn.AvgPool2d(3), cube(9, 9))
    scaling = Scaling("none", (0.0,) * 5, (1.0,) * 5)
    with pytest.raises(MismatchError, match="3 bands, but the model was trained on 5"):
        predict_scene(stack([]), cube(9, 9), scaling=scaling)
