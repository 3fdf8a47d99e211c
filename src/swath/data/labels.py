"""Label maps: which class each pixel belongs to, whatever numbers the file uses."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError

__all__ = ["Colour", "LabelMap", "label_values", "palette"]

Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The classes of a scene's pixels, with the label values and names of their file.

    Parameters
    ----------
    values : int64 (rows, columns); the class 0..classes-1 of each pixel, -1 where unlabelled.
    original : the label value of each class in the file; each once.
    names : the name of each class.
    unlabelled : the values of the file that mean "no label"; the first is written back.

    Raises
    ------
    DataError : the parts do not fit together.

    >>> labels = LabelMap.from_array(np.array([[0, 10], [14, 10]]), names={10: "corn"})
    >>> labels.original, labels.names, labels.counts().tolist()
    ((10, 14), ('corn', 'class 14'), [2, 1])
    """

    values: npt.NDArray[np.int64]
    original: tuple[int, ...]
    names: tuple[str, ...]
    unlabelled: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise DataError(f"a label map is (rows, columns), not {_sizes(self.values.shape)}")
        if len(self.names) != len(self.original) or len(set(self.original)) != len(self.original):
            raise DataError(
                f"{len(self.names)} class names and label values {self.original} do not match"
            )
        if self.values.size and not -1 <= self.values.min() <= self.values.max() < self.classes:
            raise DataError(
                f"class indices run from -1 to {self.classes - 1}, but the map holds "
                f"{self.values.min()} to {self.values.max()}"
            )

    @classmethod
    def from_array(
        cls,
        array: npt.ArrayLike,
        names: Sequence[str] | Mapping[int, str] | None = None,
        unlabelled: int | Sequence[int] = (0,),
        missing: npt.NDArray[np.bool_] | None = None,
    ) -> LabelMap:
        """Number the label values of ``array`` in ascending order.

        Parameters
        ----------
        array : (rows, columns), whole numbers of any type, with gaps or not; NaN is unlabelled.
        names : by class order (ascending label value), or a mapping from label value to name;
            classes without a name are called ``class <value>``.
        unlabelled : the value, or the values, that mean "no label".
        missing : which pixels have no label, whatever their value, (rows, columns).

        Raises
        ------
        DataError : wrong number of dimensions, fractions, no labelled pixel, or names that do
            not match.
        """
        whole, missing = _whole_numbers(array, missing)
        ignored = label_values(unlabelled)
        missing = missing | np.isin(whole, ignored)
        if missing.all():
            raise DataError(
                f"no pixel of the {_sizes(whole.shape)} label map is labelled (every value is one "
                f"of {', '.join(map(str, ignored)) or 'NaN'}); give the map that holds the classes"
            )
        original, indices = np.unique(whole[~missing], return_inverse=True)
        values = np.full(whole.shape, -1, dtype=np.int64)
        values[~missing] = indices
        numbers = tuple(int(value) for value in original)
        return cls(values, numbers, _named(numbers, names), ignored or (0,))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.original)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """One colour a class, (red, green, blue) in 0..255, by class order."""
        return palette(self.classes)

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the number of labelled pixels of each class, (classes,)."""
        labelled = self.values[self.values >= 0]
        return np.bincount(labelled, minlength=self.classes).astype(np.int64)

    def __repr__(self) -> str:
        rows, columns = self.shape
        pairs = zip(self.original, self.names, strict=True)
        classes = ", ".join(f"{value} {name}" for value, name in pairs)
        return f"<LabelMap {rows} x {columns} pixels: {classes}>"

    def with_names(self, names: Mapping[int, str]) -> LabelMap:
        """Return the same labels with other names for some label values."""
        pairs = zip(self.original, self.names, strict=True)
        return dataclasses.replace(self, names=tuple(names.get(v, name) for v, name in pairs))

    def to_original(
        self,
        indices: npt.ArrayLike,
        dtype: npt.DTypeLike = np.int64,
        ignore: int | None = None,
    ) -> npt.NDArray[Any]:
        """Turn class indices of any shape into the label values of the file.

        Parameters
        ----------
        indices : classes 0..classes-1; negative means unlabelled.
        dtype : of the result.
        ignore : what to write where unlabelled; by default the file's own value for it.

        Raises
        ------
        DataError : an index is no class, or a label value does not fit ``dtype``.
        """
        indices = np.asarray(indices)
        if indices.size and indices.max() >= self.classes:
            raise DataError(f"class {indices.max()} is none of the {self.classes} classes")
        table = np.array([*self.original, self.unlabelled[0] if ignore is None else ignore])
        typed = table.astype(dtype)
        needed = np.unique(np.where(indices < 0, self.classes, indices))
        if not np.array_equal(typed[needed].astype(table.dtype), table[needed]):
            raise DataError(
                f"the label values {sorted(int(v) for v in table[needed])} do not fit "
                f"{np.dtype(dtype).name}; choose a wider type"
            )
        return typed[np.where(indices < 0, self.classes, indices)]


def label_values(given: int | Sequence[int]) -> tuple[int, ...]:
    """Return one label value, or several, as whole numbers."""
    return tuple(int(value) for value in np.ravel(given))


def palette(count: int) -> tuple[Colour, ...]:
    """Return ``count`` colours, always the same and told apart easily up to about twenty.

    Beyond the fixed list, hues step by the golden ratio.  Black and white are left for pixels
    without a class.
    """
    colours = list(_PALETTE[:count])
    while len(colours) < count:
        step = len(colours) - len(_PALETTE)
        hue = (0.07 + step * 0.6180339887498949) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.55)[step % 2], (0.65, 0.9)[step % 2])
        colour = (round(red * 255), round(green * 255), round(blue * 255))
        while colour in colours:
            colour = (colour[0], colour[1], (colour[2] + 1) % 256)
        colours.append(colour)
    return tuple(colours)


_PALETTE: tuple[Colour, ...] = (
    (230, 25, 75),
    (60, 180, 75),
    (255, 225, 25),
    (0, 130, 200),
    (245, 130, 48),
    (145, 30, 180),
    (70, 240, 240),
    (240, 50, 230),
    (210, 245, 60),
    (250, 190, 212),
    (0, 128, 128),
    (220, 190, 255),
    (170, 110, 40),
    (255, 250, 200),
    (128, 0, 0),
    (170, 255, 195),
    (128, 128, 0),
    (255, 215, 180),
    (0, 0, 128),
    (128, 128, 128),
    (90, 60, 110),
    (20, 80, 30),
    (255, 140, 160),
    (120, 170, 255),
)


def _whole_numbers(
    array: npt.ArrayLike, missing: npt.NDArray[np.bool_] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the values as int64 and where they are missing (as told, or NaN)."""
    array = np.asarray(array)
    if array.ndim != 2:
        raise DataError(f"a label map is (rows, columns), not {_sizes(array.shape)}")
    if array.dtype.kind not in "biuf":
        raise DataError(f"a label map holds whole numbers, not values of type {array.dtype.name}")
    if missing is None:
        missing = np.zeros(array.shape, dtype=np.bool_)
    if array.dtype.kind == "f":
        missing = missing | np.isnan(array)
        array = np.where(missing, 0, array)
        if (array != np.trunc(array)).any() or (np.abs(array) > 2**53).any():
            raise DataError(
                "a label map holds whole numbers, but this one has "
                f"{float(array[(array != np.trunc(array)) | (np.abs(array) > 2**53)][0]):g}; "
                "is it the image rather than the labels?"
            )
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"label value {array.max()} is too large")
    return array.astype(np.int64), missing


def _named(
    original: tuple[int, ...], names: Sequence[str] | Mapping[int, str] | None
) -> tuple[str, ...]:
    if names is None:
        names = {}
    if isinstance(names, Mapping):
        odd = [value for value in names if not isinstance(value, int | np.integer)]
        if odd:
            raise DataError(
                f"class names are given by label value, a whole number, but {odd[0]!r} is none; "
                "write {1: 'water'}"
            )
        return tuple(names.get(value, f"class {value}") for value in original)
    if len(names) != len(original):
        raise DataError(
            f"{len(names)} class names were given, but the labels hold {len(original)} classes "
            f"(values {', '.join(map(str, original))}); give names by value, as {{value: name}}"
        )
    return tuple(str(name) for name in names)


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
