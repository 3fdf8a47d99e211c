"""What readers of all file formats share: how an image is told, how files are held and fail."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from swath.core.errors import DataError
from swath.data.scene import CubeSource, Transform

__all__ = ["Cube", "Handle", "Variable", "explained", "nanometres", "number", "text"]

T = TypeVar("T")


@dataclass(frozen=True)
class Cube:
    """What a file says of its image; band metadata is for all bands of the file."""

    source: CubeSource
    band_names: tuple[str, ...] | None = None
    wavelengths: tuple[float, ...] | None = None
    nodata: float | None = None
    crs: str | None = None
    transform: Transform | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """An array inside a file: its shape as the user knows it, type and dimension names."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Handle(Generic[T]):
    """A file opened once in each thread of each process, and again after pickling."""

    def __init__(self, opener: Callable[[], T]) -> None:
        self._opener = opener
        self._local = threading.local()

    def get(self) -> T:
        if getattr(self._local, "process", None) != os.getpid():
            self._local.file = self._opener()
            self._local.process = os.getpid()
        file: T = self._local.file
        return file

    def __reduce__(self) -> tuple[Any, ...]:
        return Handle, (self._opener,)


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a format library raises on a broken file into one :class:`DataError`."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path} holds Python objects, not numbers") from error
        raise DataError(
            f"{path} cannot be read as {what} ({type(error).__name__}: {error}); is it another "
            "type of file, or was it cut off?"
        ) from error


def nanometres(values: Sequence[float], units: str = "") -> tuple[float, ...] | None:
    """Convert wavelengths to nanometres; numbers below 100 without a unit are micrometres."""
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        return None
    unit = units.strip().lower()
    if unit in ("um", "µm", "μm") or unit.startswith(("microm", "micron")):
        factor = 1000.0
    elif unit in ("nm",) or unit.startswith("nanom"):
        factor = 1.0
    elif unit in ("m", "meters", "metres", "meter", "metre"):
        factor = 1e9
    elif unit in ("", "unknown", "1", "index", "none"):
        factor = 1000.0 if max(values) < 100 else 1.0
    else:
        return None
    return tuple(round(value * factor, 6) for value in values)


def number(value: Any) -> float | None:
    """Return an attribute, or the first of its values, as a number; None where it is none."""
    try:
        return float(np.ravel(value)[0])
    except (IndexError, TypeError, ValueError):
        return None


def text(value: Any) -> str:
    """Return an attribute, alone or in an array of one, as text."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
