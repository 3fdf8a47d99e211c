"""RegNet against the published networks, and its weights' way from files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from swath.core.errors import DataError, RecipeError, UnknownName
from swath.networks.cost import count_parameters
from swath.networks.regnet import (
    SETTINGS,
    RegNet,
    RegNetSettings,
    load_pretrained,
    regnet_settings,
)

NARROW = SETTINGS["narrow"]

# Parameters with 1000 classes, as torchvision documents them ("num_params" of the weights), and of
# the network of the paper as timm has it (regnetx_004).
COUNTS = {
    "regnet_x_400mf": 5_495_976,
    "regnet_x_400mf_384": 5_157_512,
    "regnet_x_800mf": 7_259_656,
    "regnet_x_1_6gf": 9_190_136,
    "regnet_x_3_2gf": 15_296_552,
    "regnet_x_8gf": 39_572_648,
    "regnet_x_16gf": 54_278_536,
    "regnet_x_32gf": 107_811_560,
    "regnet_y_400mf": 4_344_144,
    "regnet_y_800mf": 6_432_512,
    "regnet_y_1_6gf": 11_202_430,
    "regnet_y_3_2gf": 19_436_338,
    "regnet_y_8gf": 39_381_472,
    "regnet_y_16gf": 83_590_140,
    "regnet_y_32gf": 145_046_770,
    "regnet_y_128gf": 644_812_894,
}

# Depths and widths of some networks as the paper lists them.
PAPER = {
    "regnet_x_400mf": ((1, 2, 7, 12), (32, 64, 160, 384)),
    "regnet_x_800mf": ((1, 3, 7, 5), (64, 128, 288, 672)),
    "regnet_x_1_6gf": ((2, 4, 10, 2), (72, 168, 408, 912)),
    "regnet_x_3_2gf": ((2, 6, 15, 2), (96, 192, 432, 1008)),
    "regnet_y_400mf": ((1, 3, 6, 6), (48, 104, 208, 440)),
    "regnet_y_800mf": ((1, 3, 8, 2), (64, 128, 320, 768)),
}


def test_every_published_network_is_counted() -> None:
    assert {*COUNTS, "narrow"} == set(SETTINGS)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_parameters_are_the_published_number(name: str, count: int) -> None:
    with torch.device("meta"):
        assert count_parameters(RegNet(regnet_settings(name), 3, 1000)) == count


@pytest.mark.parametrize(("name", "expected"), PAPER.items())
def test_stages_are_those_of_the_paper(
    name: str, expected: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    settings = dataclasses.replace(regnet_settings(name), ties="even")
    assert (settings.depths, settings.widths) == expected


def torchvision_names(depths: tuple[int, ...], squeeze: bool) -> set[str]:
    """The names in torchvision's files, written from a listing of theirs."""

    def layer(prefix: str) -> set[str]:
        norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return {f"{prefix}.0.weight", *(f"{prefix}.1.{name}" for name in norm)}

    names = layer("stem") | {"fc.weight", "fc.bias"}
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            place = f"trunk_output.block{stage}.block{stage}-{block}"
            for part in (["proj"] if block == 0 else []) + ["f.a", "f.b", "f.c"]:
                names |= layer(f"{place}.{part}")
            if squeeze:
                names |= {
                    f"{place}.f.se.{fc}.{kind}"
                    for fc in ("fc1", "fc2")
                    for kind in ("weight", "bias")
                }
    return names


@pytest.mark.parametrize(
    ("name", "depths"), [("regnet_x_400mf", (1, 2, 7, 12)), ("regnet_y_400mf", (1, 3, 6, 6))]
)
def test_names_are_torchvision_s(name: str, depths: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network = RegNet(regnet_settings(name), 3, 1000)
    assert set(network.state_dict()) == torchvision_names(depths, squeeze="_y_" in name)


def test_shapes_of_weights_are_torchvision_s() -> None:
    """Some shapes of regnet_y_400mf, from its file."""
    with torch.device("meta"):
        found = RegNet(regnet_settings("regnet_y_400mf"), 3, 1000).state_dict()
    block = "trunk_output.block2.block2-0"
    expected = {
        "stem.0.weight": (32, 3, 3, 3),
        f"{block}.proj.0.weight": (104, 48, 1, 1),
        f"{block}.f.a.0.weight": (104, 48, 1, 1),
        f"{block}.f.b.0.weight": (104, 8, 3, 3),
        f"{block}.f.se.fc1.weight": (12, 104, 1, 1),  # a quarter of the block's input
        f"{block}.f.se.fc2.weight": (104, 12, 1, 1),
        f"{block}.f.c.0.weight": (104, 104, 1, 1),
        "fc.weight": (1000, 440),
    }
    assert {name: tuple(found[name].shape) for name in expected} == expected


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (5, 1)])
@pytest.mark.parametrize("output_stride", [16, 32])
def test_stages_have_their_strides(size: tuple[int, int], output_stride: int) -> None:
    network = RegNet(NARROW, 4, output_stride=output_stride).eval()
    assert network.strides == (4, 8, 16, output_stride)
    for feature, width, stride in zip(
        network.stages(torch.randn(2, 4, *size)), network.widths, network.strides, strict=True
    ):
        assert feature.shape == (2, width, -(-size[0] // stride), -(-size[1] // stride))


def test_dilation_reads_the_same_pixels_as_a_stride() -> None:
    """Every second value of the dilated stage is one of the strided one, with the same weights."""
    strided, dilated = RegNet(NARROW, 3).eval(), RegNet(NARROW, 3, output_stride=16).eval()
    dilated.load_state_dict(strided.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = strided.stages(x)[-1]
        found = dilated.stages(x)[-1][..., ::2, ::2]
    torch.testing.assert_close(found, expected)


def test_a_block_is_its_formula() -> None:
    """The first block of RegNetY, from its weights: ReLU(proj x + c(se(b(a(x)))))."""
    torch.manual_seed(0)
    network = RegNet(regnet_settings("regnet_y_400mf"), 3).eval()
    weights = network.state_dict()
    functional = nn.functional

    def layer(x: Tensor, name: str, **options: int) -> Tensor:
        y = functional.conv2d(x, weights[f"{place}.{name}.0.weight"], **options)
        norm = [weights[f"{place}.{name}.1.{part}"] for part in ("running_mean", "running_var")]
        return functional.batch_norm(
            y, *norm, weights[f"{place}.{name}.1.weight"], weights[f"{place}.{name}.1.bias"]
        )

    place = "trunk_output.block1.block1-0"
    x = torch.randn(2, 32, 9, 8)
    y = functional.relu(layer(x, "f.a"))
    y = functional.relu(layer(y, "f.b", stride=2, padding=1, groups=6))
    mean = functional.adaptive_avg_pool2d(y, 1)[..., 0, 0]
    fc1, fc2 = (weights[f"{place}.f.se.{fc}.weight"][..., 0, 0] for fc in ("fc1", "fc2"))
    bias1, bias2 = (weights[f"{place}.f.se.{fc}.bias"] for fc in ("fc1", "fc2"))
    gate = torch.sigmoid(functional.relu(mean @ fc1.T + bias1) @ fc2.T + bias2)
    y = layer(y * gate[..., None, None], "f.c")
    expected = functional.relu(layer(x, "proj", stride=2) + y)
    torch.testing.assert_close(network.trunk_output.block1(x), expected)


def test_weights_are_drawn_as_torchvision_draws_them() -> None:
    torch.manual_seed(0)
    network = RegNet(regnet_settings("regnet_x_400mf"), 3, 1000)
    weights = network.state_dict()
    wide = weights["trunk_output.block4.block4-1.f.a.0.weight"]
    assert float(wide.std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    grouped = weights["trunk_output.block4.block4-1.f.b.0.weight"]
    assert float(grouped.std()) == pytest.approx((2 / (9 * 400)) ** 0.5, rel=0.02)
    assert float(weights["fc.weight"].std()) == pytest.approx(0.01, rel=0.02)
    assert not weights["fc.bias"].any()


def test_without_classes_there_is_no_classifier() -> None:
    with pytest.raises(TypeError, match="without classes"):
        RegNet(NARROW, 3)(torch.zeros(1, 3, 32, 32))
    assert RegNet(NARROW, 3, 7).eval()(torch.zeros(2, 3, 40, 32)).shape == (2, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth of a RegNet is 0"),
        ({"w_0": 20}, "multiple of 8"),
        ({"w_a": -1.0}, "w_a of a RegNet"),
        ({"w_a": float("nan")}, "w_a of a RegNet"),
        ({"w_m": 1.0}, "w_m of a RegNet"),
        ({"group_width": 0}, "group_width of a RegNet is 0"),
        ({"se_ratio": 0.0}, "se_ratio of a RegNet"),
        ({"stem_width": -3}, "stem_width of a RegNet is -3"),
        ({"ties": "down"}, "'down'; give 'up' or 'even'"),
        ({"depth": 3}, "has 2 stages"),
    ],
)
def test_settings_out_of_range_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        dataclasses.replace(NARROW, **change)  # type: ignore[arg-type]


def test_unknown_names_and_strides() -> None:
    with pytest.raises(UnknownName, match="did you mean 'regnet_x_400mf'"):
        regnet_settings("regnetx_400mf")
    with pytest.raises(RecipeError, match="give 16 or 32"):
        RegNet(NARROW, 3, output_stride=8)


@given(
    depth=st.integers(4, 30),
    w_0=st.integers(1, 40),
    w_a=st.floats(0, 150),
    w_m=st.floats(1.4, 3.2),
    group_width=st.integers(1, 64),
    ties=st.sampled_from(["up", "even"]),
)
def test_stages_divide_into_blocks_and_groups(
    depth: int, w_0: int, w_a: float, w_m: float, group_width: int, ties: str
) -> None:
    try:
        made = RegNetSettings(depth, 8 * w_0, w_a, w_m, group_width, ties=ties)  # type: ignore[arg-type]
    except RecipeError:
        return
    assert sum(made.depths) == depth
    assert len(made.widths) == len(made.depths) == len(made.group_widths) == 4
    for width, group in zip(made.widths, made.group_widths, strict=True):
        assert width > 0
        assert width % group == 0


# Weights from files.


def save_state_dict(network: nn.Module, path: Path) -> None:
    torch.save(network.state_dict(), path)


def save_as_before_torch_1_6(network: nn.Module, path: Path) -> None:
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)


def save_safetensors(network: nn.Module, path: Path) -> None:
    save_file(network.state_dict(), path)


Save = Callable[[nn.Module, Path], None]


def trained(classes: int | None = 5, bands: int = 3, seed: int = 0) -> RegNet:
    """A network whose every weight differs from what it was made with."""
    torch.manual_seed(seed)
    network = RegNet(NARROW, bands, classes)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.1)
        else:
            tensor.fill_(17)
    return network.eval()


@pytest.mark.parametrize("save", [save_state_dict, save_as_before_torch_1_6, save_safetensors])
@pytest.mark.parametrize("classes", [5, None])
def test_weights_come_back_from_a_file(tmp_path: Path, save: Save, classes: int | None) -> None:
    source = trained()
    save(source, tmp_path / "weights")
    network = RegNet(NARROW, 3, classes)
    load_pretrained(network, tmp_path / "weights")
    given = source.state_dict()
    assert len(network.state_dict()) == len(given) - (0 if classes else 2)
    for name, value in network.state_dict().items():
        assert torch.equal(value, given[name]), name


def test_weights_without_counters_load(tmp_path: Path) -> None:
    source = trained()
    save_file(
        {k: v for k, v in source.state_dict().items() if "num_batches" not in k},
        tmp_path / "weights",
    )
    network = RegNet(NARROW, 3, 5).eval()
    load_pretrained(network, os.fspath(tmp_path / "weights"))
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(network(x), source(x))


@pytest.mark.parametrize("bands", [1, 3, 4, 12])
def test_a_grey_image_is_answered_alike_with_any_bands(tmp_path: Path, bands: int) -> None:
    source = trained()
    save_safetensors(source, tmp_path / "weights")
    network = RegNet(NARROW, bands, 5).eval()
    load_pretrained(network, tmp_path / "weights")
    grey = torch.rand(2, 1, 37, 41)
    torch.testing.assert_close(
        network.stem[0](grey.expand(-1, bands, -1, -1)), source.stem[0](grey.expand(-1, 3, -1, -1))
    )
    kernel = network.stem[0].weight
    if bands == 3:
        assert torch.equal(kernel, source.stem[0].weight)
    else:
        assert all(torch.equal(kernel[:, band], kernel[:, 0]) for band in range(bands))


def expect(path: Path, network: RegNet, message: str) -> None:
    """The error says so, and no weight of the network has changed."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(DataError, match=message):
        load_pretrained(network, path)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    save_state_dict(trained(), path)
    expect(path, RegNet(NARROW, 3, 6), r"'fc.weight' has the shape \(5, 88\), and \(6, 88\)")
    expect(path, RegNet(SETTINGS["regnet_x_400mf"], 3), r"'stem.0.weight' has the shape \(16, 3")
    deeper = dataclasses.replace(NARROW, depth=11)
    expect(path, RegNet(deeper, 3), r"it has no weight '.*block4-4")
    save_state_dict(RegNet(deeper, 3), path)
    expect(path, RegNet(NARROW, 3), r"the network has no weight '.*block4-4")
    expect(path, RegNet(NARROW, 3, 5), r"it has no weight 'fc.weight'")


def test_a_kernel_of_another_kind_is_named(tmp_path: Path) -> None:
    weights = trained().state_dict() | {"stem.0.weight": torch.zeros(16, 3)}
    torch.save(weights, tmp_path / "weights")
    expect(tmp_path / "weights", RegNet(NARROW, 4, 5), r"'stem.0.weight' has the shape \(16, 3\)")


class Harm:
    """What a pickle could do on loading."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("harm",)


def test_files_without_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network = RegNet(NARROW, 3, 5)
    path = tmp_path / "file"
    expect(path, network, "there is no file of weights")
    expect(tmp_path, network, "there is no file of weights")
    for content in (b"", b"PK", b"no weights at all", bytes(range(256)) * 9, b"\x80\x02}q\x00."):
        path.write_bytes(content)
        expect(path, network, "neither a safetensors file nor a state dict")
    save_safetensors(trained(), path)
    path.write_bytes(path.read_bytes()[:-100])
    expect(path, network, "neither a safetensors file nor a state dict")
    save_state_dict(trained(), path)
    path.write_bytes(path.read_bytes()[:-5000])
    expect(path, network, "neither a safetensors file nor a state dict")
    torch.save([1, 2], path)
    expect(path, network, "holds no state dict, but a list")
    torch.save({"model": trained().state_dict()}, path)
    expect(path, network, "'model' is no tensor")
    torch.save({"stem.0.weight": Harm()}, path)
    expect(path, network, "neither a safetensors file nor a state dict")
    assert not (tmp_path / "harm").exists()
