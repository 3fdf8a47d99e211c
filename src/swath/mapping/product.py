"""Maps as files: GeoTIFFs written as the answers stream in, and pictures with a legend."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, MismatchError, RunError
from swath.core.files import atomic_path
from swath.data.labels import Colour, LabelMap, palette
from swath.mapping.ahead import ahead

if TYPE_CHECKING:
    from swath.data.scene import Scene
    from swath.mapping.prediction import Block, Prediction

__all__ = ["ClassTable", "Written", "entropy_bits", "read_map", "storage", "write_map", "write_png"]

PathLike = str | os.PathLike[str]

_TILE = 256
_CACHE = 400 * 2**20
_WITHOUT_CLASS: Colour = (0, 0, 0)


@dataclass(frozen=True)
class ClassTable:
    """The classes of a map, in class order.

    Parameters
    ----------
    names : one a class.
    original : the value of each class in the label file, and in the map.
    colours : (red, green, blue) in 0..255; by default :func:`swath.data.labels.palette`.

    Raises
    ------
    DataError : lengths that differ, or a value used twice.
    """

    names: tuple[str, ...]
    original: tuple[int, ...]
    colours: tuple[Colour, ...] = ()

    def __post_init__(self) -> None:
        if not self.colours:
            object.__setattr__(self, "colours", palette(len(self.names)))
        if not len(self.names) == len(self.original) == len(self.colours):
            raise DataError(
                f"{len(self.names)} class names, {len(self.original)} label values and "
                f"{len(self.colours)} colours do not match"
            )
        if not self.names or len(set(self.original)) != len(self.original):
            raise DataError(f"the label values {self.original} must be at least one, each once")

    @classmethod
    def of(cls, labels: LabelMap) -> ClassTable:
        """Return the classes of a label map."""
        return cls(labels.names, labels.original, labels.colours)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Written:
    """What was written.

    Parameters
    ----------
    counts : int64 (classes,), mapped pixels of each class.
    missing : pixels without data, which have no class.
    indices : int16 (rows, columns), class of each pixel and -1 without data; None if not kept.
    """

    counts: npt.NDArray[np.int64]
    missing: int
    indices: npt.NDArray[np.int16] | None


def storage(original: Sequence[int]) -> tuple[str, int]:
    """Return the smallest type that holds the label values, and its value for "no data".

    "No data" is 0, unless that is a class: then it is the largest value of the type, or the
    smallest free one.  Of 64 bits it is the smallest free one from 0 on, since a GeoTIFF says its
    "no data" as a floating-point number, which holds no large one exactly.

    >>> storage((1, 10, 14)), storage((0, 1)), storage((1, 300)), storage((-2, 5))
    (('uint8', 0), ('uint8', 255), ('uint16', 0), ('int16', 0))
    >>> storage((1, 4_000_000_000)), storage((0, -5_000_000_000))
    (('uint32', 0), ('int64', 1))
    """
    used = set(original)
    for name in ("uint8", "uint16", "int16", "int32", "uint32"):
        info = np.iinfo(name)
        if min(used) < info.min or max(used) > info.max:
            continue
        for value in (0, int(info.max), *range(int(info.min), int(info.min) + len(used) + 1)):
            if value not in used and value <= info.max:
                return name, value
    return "int64", next(value for value in range(len(used) + 1) if value not in used)


def entropy_bits(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return Shannon's entropy of (..., classes) in bits: 0 where certain, log2(classes) at most.

    >>> entropy_bits(np.array([[1.0, 0.0], [0.5, 0.5]], dtype=np.float32)).tolist()
    [0.0, 1.0]
    """
    logarithms = np.log2(np.where(probabilities > 0, probabilities, 1))
    entropy: npt.NDArray[np.float32] = np.abs((probabilities * logarithms).sum(axis=-1))
    return entropy.astype(np.float32)


def write_map(
    path: PathLike,
    prediction: Prediction,
    scene: Scene,
    classes: ClassTable,
    *,
    probabilities: PathLike | None = None,
    entropy: PathLike | None = None,
    keep: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Written:
    """Write a prediction as a GeoTIFF of the classes' own label values, while it is computed.

    The map has the scene's coordinate reference system and transform, a colour table (8-bit maps),
    the tags ``CLASS_<value>=<name>`` and ``CLASSES=<value>,...`` on its band, and "no data" where
    the scene has none (see :func:`storage`).  Files appear whole or not at all.

    Parameters
    ----------
    path : of the class map.
    prediction : from :func:`swath.mapping.engine.predict`; iterated once.
    scene : gives coordinate reference system, transform and name.
    probabilities : also write a float32 GeoTIFF here, one band a class, NaN without data.
    entropy : also write a float32 GeoTIFF of the entropy in bits here, NaN without data.
    keep : return the class of each pixel as well.
    tags : further tags of the class map.

    Raises
    ------
    RunError : a file cannot be written, or the disk is full; earlier files stay as they were.
    MismatchError : the prediction has another number of classes.
    """
    import rasterio

    dtype, nodata = storage(classes.original)
    values = np.array([*classes.original, nodata], dtype=dtype)
    rows, columns = prediction.shape
    counts = np.zeros(len(classes), dtype=np.int64)
    missing = 0
    indices = np.full((rows, columns), -1, dtype=np.int16) if keep else None
    about = {
        f"CLASS_{value}": name for value, name in zip(classes.original, classes.names, strict=True)
    }
    # Strips that do not hold whole rows would write lines of the file again and again.
    tiled = prediction.mode == "plain" and prediction.window[0][1] < columns
    with contextlib.ExitStack() as files:
        files.enter_context(_bounded_cache())
        chart = files.enter_context(
            _geotiff(path, prediction.shape, scene, dtype=dtype, nodata=nodata, tiled=tiled)
        )
        chart.set_band_description(1, "class")
        chart.update_tags(
            SCENE=scene.name,
            MODE=prediction.mode,
            PRECISION=prediction.precision,
            **dict(tags or {}),
        )
        chart.update_tags(1, CLASSES=",".join(map(str, classes.original)), **about)
        if dtype == "uint8":
            colours = dict(zip(classes.original, classes.colours, strict=True))
            table = {value: (0, 0, 0, 255) for value in range(256)}
            table |= {value: (*colour, 255) for value, colour in colours.items()}
            chart.write_colormap(1, table | {nodata: (*_WITHOUT_CLASS, 0)})
        likely: Any = None
        if probabilities is not None:
            likely = files.enter_context(
                _geotiff(
                    probabilities,
                    prediction.shape,
                    scene,
                    dtype="float32",
                    nodata=np.nan,
                    count=len(classes),
                    tiled=tiled,
                )
            )
            likely.descriptions = classes.names
            for band, value in enumerate(classes.original, 1):
                likely.update_tags(band, CLASS=str(value))
        doubt: Any = None
        if entropy is not None:
            doubt = files.enter_context(
                _geotiff(
                    entropy, prediction.shape, scene, dtype="float32", nodata=np.nan, tiled=tiled
                )
            )
            doubt.set_band_description(1, "entropy")
            doubt.units = ("bit",)
        for block in ahead(iter(prediction)):
            window = rasterio.windows.Window.from_slices(block.rows, block.columns)
            best = _classes_of(block, len(classes))
            chart.write(values[best], 1, window=window)
            counts += np.bincount(best[block.valid], minlength=len(classes))
            missing += int(np.count_nonzero(~block.valid))
            if indices is not None:
                indices[block.rows, block.columns] = best
            hidden = ~block.valid[..., None]
            if likely is not None:
                shown = np.where(hidden, np.float32(np.nan), block.probabilities)
                likely.write(shown.transpose(2, 0, 1), window=window)
            if doubt is not None:
                shown = np.where(
                    hidden[..., 0], np.float32(np.nan), entropy_bits(block.probabilities)
                )
                doubt.write(shown, 1, window=window)
    return Written(counts, missing, indices)


def read_map(
    path: PathLike, classes: ClassTable, largest: int | None = None
) -> npt.NDArray[np.int16]:
    """Read a class map back as class indices, -1 without data.

    Parameters
    ----------
    path : written by :func:`write_map`.
    largest : thin the map out (nearest pixel) until no side is longer.

    Returns
    -------
    int16 (rows, columns)

    Raises
    ------
    RunError : the file cannot be read.
    """
    import rasterio

    try:
        with _quiet(), rasterio.open(path) as file:
            step = max(1.0, max(file.shape) / (largest or max(file.shape)))
            shape = tuple(max(1, int(length / step)) for length in file.shape)
            stored = file.read(1, out_shape=shape)
    except rasterio.errors.RasterioError as error:
        raise RunError(f"cannot read the map {path}: {error}") from error
    indices = np.full(stored.shape, -1, dtype=np.int16)
    for index, value in enumerate(classes.original):
        indices[stored == value] = index
    return indices


def write_png(
    path: PathLike,
    indices: npt.NDArray[np.integer[Any]],
    classes: ClassTable,
    *,
    title: str | None = None,
    counts: Sequence[int] | npt.NDArray[np.integer[Any]] | None = None,
    largest: int = 2000,
) -> None:
    """Write a class map as a picture with a legend of names and shares of the mapped area.

    Parameters
    ----------
    indices : (rows, columns), classes 0..classes-1, -1 where there is none (black).
    counts : mapped pixels of each class, (classes,); by default counted in ``indices``.
    largest : longest side that is drawn; larger maps are thinned out to the nearest pixel.

    Raises
    ------
    RunError : the file cannot be written.
    """
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.patches

    if counts is None:
        counts = np.bincount(indices[indices >= 0].ravel(), minlength=len(classes))
    step = -(-max(indices.shape) // largest)
    shown = indices[::step, ::step]
    table = np.array([*classes.colours, _WITHOUT_CLASS], dtype=np.uint8)
    # One inch a hundred pixels, small maps enlarged, so that the legend's text stays readable.
    rows, columns = shown.shape
    zoom = max(1.0, 500 / max(rows, columns))
    height, width = max(1.0, rows * zoom / 100), max(1.0, columns * zoom / 100)
    figure = matplotlib.figure.Figure(figsize=(width, height), layout=None)
    matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(table[shown], interpolation="nearest", aspect="equal")
    axes.set_axis_off()
    if title:
        axes.set_title(title, fontsize=11, parse_math=False)
    mapped = max(1, int(np.sum(counts)))
    handles = [
        matplotlib.patches.Patch(
            facecolor=(colour[0] / 255, colour[1] / 255, colour[2] / 255),
            edgecolor="0.3",
            linewidth=0.5,
            label=f"{name}  {100 * int(count) / mapped:.1f} %",
        )
        for name, colour, count in zip(classes.names, classes.colours, counts, strict=True)
    ]
    if (indices < 0).any():
        handles.append(matplotlib.patches.Patch(facecolor="black", label="no data"))
    legend = axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=9, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold dollars
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100, bbox_inches="tight", pad_inches=0.1)


def _classes_of(block: Block, classes: int) -> npt.NDArray[np.int16]:
    """Return the likeliest class of each pixel, -1 without data."""
    if block.probabilities.shape[2] != classes:
        raise MismatchError(
            f"the network knows {block.probabilities.shape[2]} classes, but {classes} are named; "
            "give the class names it was trained with"
        )
    best: npt.NDArray[np.int16] = block.probabilities.argmax(axis=2).astype(np.int16)
    best[~block.valid] = -1
    return best


@contextlib.contextmanager
def _geotiff(
    path: PathLike,
    shape: tuple[int, int],
    scene: Scene,
    *,
    dtype: str,
    nodata: float,
    count: int = 1,
    tiled: bool = False,
) -> Iterator[Any]:
    """Open a GeoTIFF for writing that replaces ``path`` once it is complete."""
    import rasterio

    profile = {
        "driver": "GTiff",
        "height": shape[0],
        "width": shape[1],
        "count": count,
        "dtype": dtype,
        "nodata": nodata,
        "compress": "deflate",
        "predictor": 3 if dtype == "float32" else 1,
        "interleave": "band",
        "bigtiff": "IF_SAFER",
    }
    if tiled and min(shape) > _TILE:
        profile |= {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE}
    if scene.crs is not None:
        profile["crs"] = rasterio.crs.CRS.from_wkt(scene.crs)
    if scene.transform is not None:
        profile["transform"] = rasterio.Affine(*scene.transform)
    with atomic_path(path) as temporary:
        try:
            with _quiet():
                file = rasterio.open(temporary, "w", **profile)
            with file:
                yield file
            _check_whole(temporary, shape)
        except rasterio.errors.RasterioError as error:
            raise RunError(
                f"cannot write {path}: {error}; is the disk full? Free space, or choose another "
                "place, and run again"
            ) from error
        finally:
            Path(f"{temporary}.aux.xml").unlink(missing_ok=True)


def _check_whole(path: Path, shape: tuple[int, int]) -> None:
    """Read the last block, which a disk that filled up while closing would not hold."""
    import rasterio

    with _quiet(), rasterio.open(path) as file:
        file.read(file.count, window=((shape[0] - 1, shape[0]), (0, shape[1])))


def _bounded_cache() -> contextlib.AbstractContextManager[Any]:
    """Keep GDAL from caching a twentieth of the machine's memory, unless a size was set."""
    import rasterio

    outer = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    if "GDAL_CACHEMAX" in os.environ or "GDAL_CACHEMAX" in outer:
        return contextlib.nullcontext()
    environment: contextlib.AbstractContextManager[Any] = rasterio.Env(GDAL_CACHEMAX=_CACHE)
    return environment


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing of scenes without georeference: they are common here."""
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield
