"""Numerics that stay finite where proxies meet dead units, equal samples or constant rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = [
    "condition",
    "correlation",
    "cosine",
    "eigenvalues",
    "gram",
    "log",
    "log_determinant",
    "moments",
    "pieces",
    "ratio",
    "rows",
    "rows_alike",
    "singular_values",
]


PIECE_VALUES = 2**18
"""Of what is computed at a time: as much as stays in the processor's cache."""


def log(value: Tensor) -> Tensor:
    """Return the natural logarithm; NaN, which sums leave out, for what is not above zero."""
    return torch.where(value > 0, value, torch.nan).log()


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient, 0 where the denominator is 0."""
    safe = torch.where(denominator == 0, 1, denominator)
    return torch.where(denominator == 0, 0, numerator / safe)


def moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and (population) standard deviation over the samples of (samples, n).

    In a tenth of the time of ``torch.std_mean``, and as exact: deviations are squared, not values.
    """
    average = values.new_full((1, len(values)), 1 / len(values))
    mean = average @ values
    deviation = (average @ (values - mean).square_()).sqrt()
    return mean[0], deviation[0]


def pieces(*matrices: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the same few columns of matrices (samples, n), one piece after the other.

    What is computed of large matrices piece by piece takes half the time, since nothing in between
    is written to memory.
    """
    samples, columns = matrices[0].shape
    step = max(1, PIECE_VALUES // max(1, samples))
    for start in range(0, columns, step):
        yield tuple(matrix[:, start : start + step] for matrix in matrices)


def gram(matrix: Tensor) -> Tensor:
    """Return ``matrix @ matrix.T``, which is symmetric: a quarter of it is not computed."""
    half = len(matrix) // 2
    lower = matrix[half:] @ matrix.T
    upper = torch.cat([matrix[:half] @ matrix[:half].T, lower[:, :half].T], dim=1)
    return torch.cat([upper, lower])


def rows(values: Tensor) -> Tensor:
    """Return (samples, n) of (samples, channels, ...), each sample's values as they lie in memory.

    Where the order is all the same, this saves the copy of tensors whose channels come last.
    """
    turned = values.movedim(1, -1)
    return turned.flatten(1) if turned.is_contiguous() else values.flatten(1)


def rows_alike(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as :func:`rows`, their values in the same order."""
    if one.stride() == other.stride():
        return rows(one), rows(other)
    return one.flatten(1), other.flatten(1)


def cosine(one: Tensor, other: Tensor) -> Tensor:
    """Return the cosine of the angle between two (a, b, ...); 0 where one of them is zero."""
    one, other = (matrix.flatten() for matrix in rows_alike(one, other))
    return ratio(one @ other, one.norm() * other.norm())


def correlation(rows: Tensor) -> Tensor:
    """Return the correlation matrix of rows, float64 (rows, rows).

    A constant row has no correlation in theory.  It counts as wholly correlated with all: a network
    whose answer does not depend on its input cannot tell any two samples apart.
    """
    centred = rows.double() - rows.double().mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1)
    constant = norms <= norms.max() * 1e-12
    unit = centred / torch.where(constant, 1, norms)[:, None]
    matrix = (unit @ unit.T).clamp(-1, 1)
    matrix[constant] = 1
    matrix[:, constant] = 1
    return matrix.fill_diagonal_(1)


def singular_values(matrix: Tensor) -> Tensor:
    """Return the singular values of a matrix, in descending order; NaN where it is not finite.

    A wide one is turned first: a tall one takes less than half the time.
    """
    rows, columns = matrix.shape
    if not matrix.isfinite().all():
        return matrix.new_full((min(rows, columns),), torch.nan)
    return torch.linalg.svdvals(matrix if rows >= columns else matrix.T)


def eigenvalues(matrix: Tensor) -> Tensor:
    """Return the eigenvalues of a symmetric matrix, float64, ascending; NaN if it is not finite."""
    if not matrix.isfinite().all():
        return matrix.new_full((len(matrix),), torch.nan, dtype=torch.float64)
    return torch.linalg.eigvalsh(matrix.double())


def log_determinant(matrix: Tensor) -> Tensor:
    """Return log |det| of a symmetric matrix without negative eigenvalues.

    Eigenvalues below the rounding error of the largest count as that error: two samples with the
    same code make the value small, not minus infinity.
    """
    return _raised(eigenvalues(matrix)).log().sum()


def condition(matrix: Tensor) -> Tensor:
    """Return largest over smallest eigenvalue of a symmetric matrix without negative ones.

    The smallest is no less than the rounding error of the largest.  A zero matrix has NaN.
    """
    values = _raised(eigenvalues(matrix))
    return values[-1] / values[0]


def _raised(eigenvalues: Tensor) -> Tensor:
    error = len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps
    floor = eigenvalues[-1] * error
    return torch.where(eigenvalues[-1] > 0, eigenvalues.clamp(min=floor), torch.nan)
