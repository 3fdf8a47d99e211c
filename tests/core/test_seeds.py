from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swath.core.seeds import derive, numpy_generator

SEEDS = st.integers(0, 2**63 - 1)
NAMES = st.lists(
    st.integers(0, 10_000) | st.text(alphabet="abcdefghij-_", min_size=1, max_size=8), max_size=4
)


@given(SEEDS, NAMES)
def test_seed_fits_every_generator(seed: int, names: list[str | int]) -> None:
    value = derive(seed, *names)
    assert 0 <= value < 2**63
    assert value == derive(seed, *names)


@given(SEEDS, SEEDS, NAMES, NAMES)
def test_other_seed_or_names_give_another_stream(
    seed: int, other: int, names: list[str | int], others: list[str | int]
) -> None:
    same = (seed, *map(str, names)) == (other, *map(str, others))
    assert (derive(seed, *names) == derive(other, *others)) == same


def test_streams_are_the_published_ones() -> None:
    # Written into no file, yet a run must resume with the same draws under a later version.
    digest = hashlib.sha256(b"0/trial/7").digest()[:8]
    expected = sum(byte << 8 * place for place, byte in enumerate(digest)) // 2
    assert derive(0, "trial", 7) == expected == 8675220645011954728


def test_numpy_streams_repeat_and_differ() -> None:
    a = numpy_generator(3, "crops").random(1000)
    assert np.array_equal(a, numpy_generator(3, "crops").random(1000))
    b = numpy_generator(3, "flips").random(1000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.15
    assert np.all((a >= 0) & (a < 1))


def test_consecutive_trials_are_spread_evenly() -> None:
    draws = np.array([derive(0, "trial", i) for i in range(2000)], dtype=np.float64) / 2**63
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert counts.min() > 140
    assert counts.max() < 260
