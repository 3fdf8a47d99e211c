"""What is said of a machine."""

from __future__ import annotations

import os
import platform
import time

import numpy as np
import sklearn
import torch

from swath.core import machine


def test_a_machine_is_described() -> None:
    said = machine.describe()
    assert said["cores"] == os.cpu_count()
    assert said["torch"] == torch.__version__
    assert said["python"] == platform.python_version()
    assert said["threads"] == torch.get_num_threads()
    assert said["processor"]
    assert "scikit-learn" not in said
    assert machine.describe("scikit-learn")["scikit-learn"] == sklearn.__version__


def test_rates_are_what_the_clock_says() -> None:
    """NumPy multiplies the same matrices through a library of its own."""
    found = machine.rates(3)
    a = np.ones((2048, 2048), np.float32)
    a @ a
    begun = time.perf_counter()
    a @ a
    theirs = 2 * 2048**3 / (time.perf_counter() - begun) / 1e9
    assert theirs / 20 < found["gemm_float32"] < theirs * 20
    source = np.ones(2**26, np.float32)
    target = np.ones_like(source)
    begun = time.perf_counter()
    np.copyto(target, source)
    theirs = 2 * source.nbytes / (time.perf_counter() - begun) / 1e9
    assert theirs / 20 < found["copy"] < theirs * 20
    assert 0 < found["import_seconds"] < 30
    assert all(rate > 0 for rate in found.values())
