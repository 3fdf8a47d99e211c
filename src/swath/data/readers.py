"""One way to open a scene, whatever its file format.

MATLAB (v5 and v7.3), ENVI, GeoTIFF and every raster GDAL reads, NumPy, HDF5 and NetCDF-4.
Rasters, .npy files and large HDF5 arrays are read in windows, so memory does not grow with them.
"""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.core.files import expanded
from swath.data._file_parts import Cube
from swath.data._formats import (
    Plane,
    list_variables,
    open_cube,
    open_plane,
    saved_names,
    saved_simulated,
)
from swath.data._grids import Grid, difference, upside_down
from swath.data._quality import ranges, usable_bands
from swath.data.labels import LabelMap, label_values
from swath.data.scene import Scene

__all__ = ["majority_labels", "open_labels", "open_scene", "parse_bands", "variables"]

PathLike = str | os.PathLike[str]
Names = Sequence[str] | Mapping[int, str]
Bands = str | int | Sequence[int]

_SHIFT = 0.25  # of a pixel, which labels may lie beside the image by: headers round coordinates
_TURNED = "the rows of the labels were turned over: their file begins at the image's other end"


def open_scene(
    path: PathLike,
    labels: PathLike | npt.ArrayLike | LabelMap | None = None,
    *,
    variable: str | None = None,
    label_variable: str | None = None,
    bands: Bands | None = None,
    names: Names | None = None,
    nodata: float | None = None,
    unlabelled: int | Sequence[int] = (0,),
    check: bool = True,
    axes: str | None = None,
    resample_labels: Literal["majority"] | None = None,
) -> Scene:
    """Open an image and, if given, its label map.

    Parameters
    ----------
    path : MATLAB v5 or v7.3, ENVI (header or data file), GeoTIFF or any raster, .npy, .npz,
        HDF5 or NetCDF-4.
    labels : a file of any of these formats, an array (rows, columns) or a label map.
    variable : which array of the file is the image; needed where it has several.
    label_variable : which array is the label map, in ``labels`` or, without it, in ``path``.
    bands : which bands to use, counted from 0: ``[0, 1, 5]`` or ``"0-9,20"`` (ends included).
    names : class names by ascending label value, or a mapping from label value to name.
    nodata : the stored value of missing pixels; by default what the file says.
    unlabelled : label value or values that mean "no label"; a label raster's own no-data value,
        its mask and NaN mean it too.
    check : look through the image and drop bands that are constant, without data, or missing in
        over a tenth of the pixels, with a note; above 2**28 stored numbers only 25 windows are
        looked at, so that huge files open quickly.
    axes : the order of an array's axes, such as ``"bands,rows,columns"``.  Arrays are taken as
        rows, columns, bands; HDF5 ones by dimension names, a wavelength variable, the size of
        the labels, or else the shortest axis as bands.
    resample_labels : ``"majority"`` reduces labels that are a whole number of times finer than
        the image, see :func:`majority_labels`.

    Raises
    ------
    DataError : the file cannot be read as an image, it holds several, the labels do not fit or
        lie elsewhere, or nothing usable is in it.
    """
    file = expanded(path)
    if labels is None and label_variable is not None:
        labels = file
    label_map, label_grid = None, None
    notes: tuple[str, ...] = ()
    if isinstance(labels, LabelMap):
        label_map = labels
    elif isinstance(labels, str | os.PathLike):
        label_file = expanded(labels)
        label_map, label_grid, notes = _labels_of(label_file, label_variable, names, unlabelled)
        if label_file.resolve() == file.resolve():  # one file is of one place
            label_grid = None
    elif labels is not None:
        label_map = open_labels(labels, names=names, unlabelled=unlabelled)
    cube = open_cube(
        file, variable, axes, label_shape=None if label_map is None else label_map.shape
    )
    scene = Scene(
        file.stem,
        cube.source,
        nodata=cube.nodata if nodata is None else float(nodata),
        band_names=cube.band_names,
        wavelengths=cube.wavelengths,
        crs=cube.crs,
        transform=cube.transform,
        simulated=saved_simulated(file),
        notes=cube.notes,
    )
    if label_map is not None:
        _check_size(scene, label_map, resample_labels)
        label_map, turned = _in_place(_image_grid(file, cube), label_map, label_grid)
        label_map, reduced = _reduced(scene, label_map)
        notes += turned + reduced
        negative = [value for value in label_map.original if value < 0]
        if negative:
            notes += (
                f"the negative label values {', '.join(map(str, negative))} count as classes; if "
                "they mean 'no label', say so with unlabelled=",
            )
        scene = dataclasses.replace(scene, labels=label_map, notes=(*scene.notes, *notes))
    if bands is not None:
        scene = scene.with_bands(parse_bands(bands, scene.source.shape[2], str(file)))
    if check:
        kept, notes = usable_bands(scene)
        scene = scene.with_bands(kept)
        scene = dataclasses.replace(scene, notes=(*scene.notes, *notes))
    return scene


def open_labels(
    labels: PathLike | npt.ArrayLike,
    *,
    variable: str | None = None,
    names: Names | None = None,
    unlabelled: int | Sequence[int] = (0,),
    scene: Scene | None = None,
) -> LabelMap:
    """Open a label map from a file or an array; see :func:`open_scene`.

    Parameters
    ----------
    scene : of which the labels are: where both files say where they lie, it must be the same
        place, and rows that run from its other end are turned over.

    Raises
    ------
    DataError : it cannot be read, holds no whole numbers, labels no pixel, or lies elsewhere.
    """
    if not isinstance(labels, str | os.PathLike):
        return LabelMap.from_array(labels, names, unlabelled)
    found, grid, _ = _labels_of(expanded(labels), variable, names, unlabelled)
    if scene is None:
        return found
    image = Grid(scene.name, *scene.source.shape[:2], scene.crs, scene.transform)
    return _in_place(image, found, grid)[0]


def variables(path: PathLike) -> dict[str, tuple[int, ...]]:
    """Return the numeric arrays of a MATLAB, HDF5, NetCDF or .npz file with their shapes."""
    return {name: found.shape for name, found in list_variables(expanded(path)).items()}


def parse_bands(bands: Bands, available: int, what: str = "the scene") -> tuple[int, ...]:
    """Read a choice of bands, counted from 0.

    >>> parse_bands("0-2,5", available=6)
    (0, 1, 2, 5)

    Raises
    ------
    DataError : it cannot be read, names a band twice, or one that is not there.
    """
    chosen: list[int] = []
    if isinstance(bands, str):
        for part in bands.split(","):
            first, dash, last = (text.strip() for text in part.partition("-"))
            try:
                end = min(int(last), available) if dash else int(first)
                chosen += range(int(first), end + 1)
            except ValueError:
                raise DataError(
                    f"bands {bands!r} cannot be read; write numbers from 0 and ranges, as '0-9,20'"
                ) from None
            if dash and int(last) < int(first):
                raise DataError(f"the range '{part.strip()}' in bands {bands!r} runs backwards")
    else:
        try:
            chosen = [operator.index(band) for band in np.atleast_1d(bands)]
        except TypeError:
            raise DataError(f"bands {bands!r} are no whole numbers; count them from 0") from None
    wrong = [band for band in chosen if not 0 <= band < available]
    if wrong:
        raise DataError(
            f"{what} has no band {wrong[0]}: its {available} bands are 0 to {available - 1}"
        )
    if not chosen or len(set(chosen)) != len(chosen):
        raise DataError(f"bands {bands!r} must name at least one band, and each once")
    return tuple(chosen)


def majority_labels(labels: LabelMap, rows: int, columns: int) -> LabelMap:
    """Reduce labels to a coarser grid by the vote of the fine pixels in each coarse one.

    A coarse pixel gets the class most of its labelled fine pixels have (of equals, the one with
    the smaller label value), provided that at least half of its fine pixels are labelled;
    otherwise it is unlabelled.  Classes that win nowhere are left out.

    Raises
    ------
    DataError : the grid is not a whole number of times coarser, or no label is left.
    """
    fine_rows, fine_columns = labels.shape
    if fine_rows % rows or fine_columns % columns:
        raise DataError(
            f"labels of {fine_rows} x {fine_columns} pixels cannot be reduced to "
            f"{rows} x {columns}: the factor must be a whole number"
        )
    blocks = labels.values.reshape(rows, fine_rows // rows, columns, fine_columns // columns)
    best = np.zeros((rows, columns), dtype=np.int64)
    winner = np.full((rows, columns), -1, dtype=np.int64)
    for index in range(labels.classes):
        votes = (blocks == index).sum(axis=(1, 3))
        winner[votes > best] = index
        best = np.maximum(best, votes)
    enough = 2 * (blocks >= 0).sum(axis=(1, 3)) >= blocks.shape[1] * blocks.shape[3]
    winner[~enough] = -1
    left = [int(index) for index in np.unique(winner[winner >= 0])]
    if not left:
        raise DataError(f"no label is left when reduced to {rows} x {columns} pixels by majority")
    table = np.full(labels.classes + 1, -1, dtype=np.int64)
    table[left] = np.arange(len(left))
    return LabelMap(
        table[winner],
        tuple(labels.original[index] for index in left),
        tuple(labels.names[index] for index in left),
        labels.unlabelled,
    )


def _labels_of(
    path: Path, variable: str | None, names: Names | None, unlabelled: int | Sequence[int]
) -> tuple[LabelMap, Grid, tuple[str, ...]]:
    """Open the label map of a file, and say where it lies; with notes."""
    plane = open_plane(path, variable)
    names = saved_names(path) if names is None else names
    ignored = [*label_values(unlabelled)]
    notes: tuple[str, ...] = ()
    if _is_label_value(plane.nodata) and int(plane.nodata) not in ignored:
        notes = _also_unlabelled(plane, ignored)
        ignored.append(int(plane.nodata))
    try:
        labels = LabelMap.from_array(plane.values, names, ignored, plane.missing)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return labels, Grid(str(path), *labels.shape, plane.crs, plane.transform), notes


def _also_unlabelled(plane: Plane, ignored: Sequence[int]) -> tuple[str, ...]:
    """Return a note where values count as unlabelled although the file says which one does."""
    found = [value for value in ignored if (plane.values == value).any()]
    if not found or plane.nodata is None or not (plane.values == plane.nodata).any():
        return ()
    return (
        f"the label value {ranges(found)} counts as unlabelled, like the no-data value "
        f"{int(plane.nodata)} of the file; if it is a class, say so with "
        f"unlabelled={int(plane.nodata)}",
    )


def _is_label_value(nodata: float | None) -> TypeGuard[float]:
    """Whether a no-data value could stand in a label map, unlike the -3.4e38 of many programs."""
    if nodata is None or not np.isfinite(nodata):
        return False
    limits = np.iinfo(np.int64)
    return float(nodata).is_integer() and limits.min <= int(nodata) <= limits.max


def _image_grid(file: Path, cube: Cube) -> Grid:
    rows, columns, _ = cube.source.shape
    return Grid(str(file), rows, columns, cube.crs, cube.transform)


def _in_place(image: Grid, labels: LabelMap, grid: Grid | None) -> tuple[LabelMap, tuple[str, ...]]:
    """Return labels in the image's order of rows, or refuse those of other ground."""
    if grid is None:
        return labels, ()
    if upside_down(image, grid, _SHIFT):
        values = np.ascontiguousarray(labels.values[::-1])
        turned = dataclasses.replace(labels, values=values)
        return turned, (_TURNED,)
    apart = difference(image, grid, _SHIFT)
    if apart is not None:
        raise DataError(f"{apart}; warp the labels to the image's grid")
    return labels, ()


def _check_size(scene: Scene, labels: LabelMap, resample: str | None) -> None:
    """Refuse labels of another size, naming both sizes and the way out."""
    rows, columns, _ = scene.shape
    fine_rows, fine_columns = labels.shape
    if resample not in (None, "majority"):
        raise DataError(f"labels can be resampled by 'majority', not by {resample!r}")
    if labels.shape == (rows, columns):
        return
    said = (
        f"the image {scene.name} has {rows} x {columns} pixels (rows x columns), but its labels "
        f"have {fine_rows} x {fine_columns}"
    )
    order = _order_of(scene.source.shape, labels.shape)
    if order is not None:
        raise DataError(
            f"{said}; if the axes of the image are {order.replace(',', ', ')}, say so with "
            f"axes={order!r}"
        )
    if fine_rows % rows or fine_columns % columns:
        turned = labels.shape == (columns, rows)
        way = "they look transposed" if turned else "are they the labels of another image?"
        raise DataError(f"{said}; {way}")
    if resample is None:
        raise DataError(
            f"{said}, a whole number of times finer; give labels on the image's grid, or reduce "
            "them with resample_labels='majority'"
        )


def _order_of(cube: tuple[int, int, int], labels: tuple[int, int]) -> str | None:
    """Return the order of a cube's axes, taken for another one, that its labels have."""
    first, second, third = cube
    return {(second, third): "bands,rows,columns", (first, third): "rows,bands,columns"}.get(labels)


def _reduced(scene: Scene, labels: LabelMap) -> tuple[LabelMap, tuple[str, ...]]:
    """Return labels of the scene's size, by majority where they are finer."""
    rows, columns, _ = scene.shape
    if labels.shape == (rows, columns):
        return labels, ()
    fine_rows, fine_columns = labels.shape
    reduced = majority_labels(labels, rows, columns)
    notes = [
        f"labels reduced from {fine_rows} x {fine_columns} to {rows} x {columns} pixels by majority"
    ]
    lost = sorted(set(labels.original) - set(reduced.original))
    if lost:
        notes.append(f"label values lost in reducing the labels: {ranges(lost)}")
    return reduced, tuple(notes)
