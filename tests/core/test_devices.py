from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from swath.core import devices
from swath.core.errors import RecipeError


def test_auto_takes_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick().type == "cuda"
    assert devices.pick("cuda:1").index == 1
    with pytest.raises(RecipeError, match="no device 'cuda:2'; the CUDA GPUs here are cuda:0 to"):
        devices.pick("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick().type == "cpu"


def test_cuda_asked_for_but_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"'cuda:0'.*no usable CUDA"):
        devices.pick("cuda:0")


def test_unknown_device_lists_the_known() -> None:
    with pytest.raises(RecipeError, match="'gpu'; use auto, cpu or cuda"):
        devices.pick("gpu")


def test_autocast_changes_the_type_only_when_asked() -> None:
    a = torch.ones(4, 4)
    with devices.autocast(torch.device("cpu"), "float32"):
        assert (a @ a).dtype == torch.float32
    with devices.autocast(torch.device("cpu"), "bfloat16"):
        assert (a @ a).dtype == torch.bfloat16


@pytest.fixture
def rounding() -> Iterator[Callable[[], tuple[bool, bool]]]:
    """Whether products and convolutions of a GPU round to TF32; put back afterwards."""

    def now() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    products, convolutions = now()
    yield now
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions


def test_a_gpu_rounds_to_tf32_only_when_asked(rounding: Callable[[], tuple[bool, bool]]) -> None:
    with devices.autocast(torch.device("cuda"), "tf32"):
        pass
    assert rounding() == (True, True)  # a backward pass follows
    with devices.autocast(torch.device("cuda"), "float32"):
        assert rounding() == (False, False)


def test_a_processor_has_no_tf32() -> None:
    with pytest.raises(RecipeError, match=r"'tf32' is for NVIDIA GPUs.*use float32 or bfloat16"):
        devices.autocast(torch.device("cpu"), "tf32")


def test_description_counts_threads() -> None:
    assert devices.describe(torch.device("cpu")) == f"cpu ({torch.get_num_threads()} threads)"
