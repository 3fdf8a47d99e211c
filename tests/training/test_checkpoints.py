"""States on disk."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from swath.core.errors import RunError
from swath.training.checkpoints import load_state, save_state

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
)
tensors = st.sampled_from(
    [
        torch.tensor(3.5),
        torch.arange(6).reshape(2, 3),
        torch.zeros(0, 2),
        torch.tensor([True, False]),
        torch.randn(2, 3, dtype=torch.float64),
        torch.randn(3).bfloat16(),
        torch.randn(2, 3, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d),
        torch.randn(4, 4).t(),
    ]
)
states = st.recursive(
    plain | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(-5, 5), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return (
            list(a) == list(b)
            and [type(k) for k in a] == [type(k) for k in b]
            and all(same(a[k], b[k]) for k in a)
        )
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


@given(state=states)
def test_any_nested_state_comes_back(tmp_path_factory: pytest.TempPathFactory, state: Any) -> None:
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    save_state(path, state)
    assert same(load_state(path), state)


def test_floats_keep_every_bit(tmp_path: Path) -> None:
    values = [0.1, 1e-308, math.pi, 0.025 * 0.9**17, math.inf, -math.inf]
    save_state(tmp_path / "s", {"values": values, "pair": (1, 2)})
    state = load_state(tmp_path / "s")
    assert state["values"] == values
    assert state["pair"] == [1, 2]
    save_state(tmp_path / "s", math.nan)
    assert math.isnan(load_state(tmp_path / "s"))


def test_tensors_that_share_memory_are_kept_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    save_state(tmp_path / "s", {"all": base, "view": base[2:4], "again": base})
    state = load_state(tmp_path / "s")
    assert state["view"].tolist() == [2, 3]
    state["all"][0] = 9
    assert state["again"][0] == 0


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_an_optimiser_goes_on_as_if_nothing_had_been(tmp_path: Path, kind: Any) -> None:
    """Integer keys of its state, and lists that were tuples, are as it needs them."""

    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = nn.Conv3d(2, 3, 3).to(memory_format=torch.channels_last_3d)
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return network, kind(network.parameters(), lr=0.1, **options)

    def steps(network: nn.Module, optimiser: torch.optim.Optimizer, first: int) -> None:
        for step in range(first, first + 3):
            torch.manual_seed(step)
            optimiser.zero_grad()
            network(torch.randn(2, 2, 4, 4, 4)).square().sum().backward()
            optimiser.step()

    network, optimiser = build()
    steps(network, optimiser, 0)
    save_state(tmp_path / "s", {"n": network.state_dict(), "o": optimiser.state_dict()})
    steps(network, optimiser, 3)
    again, other = build()
    state = load_state(tmp_path / "s")
    again.load_state_dict(state["n"])
    other.load_state_dict(state["o"])
    steps(again, other, 3)
    assert same(dict(again.state_dict()), dict(network.state_dict()))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_off_file_is_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_state(path, {"a": torch.randn(100), "b": 1})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors cannot be read.*delete it"):
        load_state(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="missing"):
        load_state(tmp_path / "missing")
    (tmp_path / "text").write_text("no tensors at all, but long enough for a header")
    with pytest.raises(RunError, match="cannot be read"):
        load_state(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(RunError, match="cannot be read"):
        load_state(tmp_path / "foreign")
    save_file({"a": torch.zeros(1)}, tmp_path / "broken", metadata={"state": "{"})
    with pytest.raises(RunError, match="cannot be read"):
        load_state(tmp_path / "broken")
    names = json.dumps({"__tensor__": "t7"})
    save_file({"a": torch.zeros(1)}, tmp_path / "lacking", metadata={"state": names})
    with pytest.raises(RunError, match="cannot be read"):
        load_state(tmp_path / "lacking")


def test_a_failed_write_leaves_the_earlier_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_state(path, {"a": torch.ones(3)})

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match="the disk is full"):
        save_state(path, {"a": torch.zeros(3)})
    monkeypatch.undo()
    assert load_state(path)["a"].tolist() == [1, 1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.safetensors"]
