"""Simulated scenes: any label map painted with the spectra of a library.

A pixel's spectrum is a mixture of its classes' spectra (class map blurred by a point-spread
function); each class's spectrum varies about its mean along its own leading covariance components,
partly smoothly over the ground, partly from pixel to pixel; the whole is lit unevenly and seen
through noise.  Everything follows from one seed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, UnknownName, nearest
from swath.core.seeds import numpy_generator
from swath.data.catalogue import entry
from swath.data.labels import LabelMap
from swath.data.readers import open_labels
from swath.data.scene import Scene, array_scene
from swath.data.spectral_library import SpectralLibrary, synthetic_library

__all__ = [
    "DEFAULT_DIFFICULTY",
    "SIMULATED",
    "random_label_map",
    "simulate",
    "simulate_demo",
    "simulate_houston",
    "simulate_indian_pines",
    "simulate_scene",
]

Floats = npt.NDArray[np.float64]

DEFAULT_DIFFICULTY = 0.5
SIMULATED = ("demo-simulated", "houston-simulated", "indian-pines-simulated")
"""Names that :func:`simulate` knows."""

_FULL_SCALE = 10_000  # stored uint16 value of reflectance 1
_STRIP = 32  # rows painted at a time


def random_label_map(
    rows: int,
    columns: int,
    classes: int,
    seed: int,
    *,
    field: float = 14.0,
    labelled: float = 0.6,
) -> LabelMap:
    """Draw a patchwork of fields (warped Voronoi cells) with unlabelled paths between them.

    Parameters
    ----------
    field : mean side of a field in pixels (made smaller where the scene has too few for all
        classes).
    labelled : share of the fields that are labelled; every class gets at least two fields.

    Raises
    ------
    DataError : the scene is too small for so many classes.
    """
    from scipy.spatial import cKDTree

    if classes < 1 or rows < 1 or columns < 1 or rows * columns < 32 * classes:
        raise DataError(
            f"{rows} x {columns} pixels are too few for {classes} classes; give at least "
            f"{32 * max(classes, 1)} pixels"
        )
    rng = numpy_generator(seed, "fields")
    count = max(round(rows * columns / field**2), 3 * classes)
    warp = [3.0 * _smooth(rng, rows, columns, 8.0) for _ in range(2)]
    places = np.stack(
        [np.arange(rows)[:, None] + warp[0], np.arange(columns)[None, :] + warp[1]], axis=-1
    )
    while True:
        centres = rng.uniform((0, 0), (rows, columns), (count, 2))
        fields = np.full(count, -1)
        order = rng.permutation(count)
        named = max(2 * classes, round(labelled * count))
        fields[order[:named]] = np.arange(named) % classes
        found = cKDTree(centres).query(places, k=2)
        distance, owner = np.asarray(found[0]), np.asarray(found[1])
        values = np.where(distance[..., 1] - distance[..., 0] > 1.0, fields[owner[..., 0]], -1)
        if np.unique(values[values >= 0]).size == classes:
            break
    return LabelMap(
        values.astype(np.int64),
        tuple(range(1, classes + 1)),
        tuple(f"class {c + 1}" for c in range(classes)),
    )


def simulate_scene(
    labels: LabelMap,
    library: SpectralLibrary,
    *,
    seed: int,
    difficulty: float = DEFAULT_DIFFICULTY,
    name: str = "simulated",
    dtype: Literal["uint16", "float32"] = "uint16",
) -> Scene:
    """Paint a label map with the spectra of a library.

    Parameters
    ----------
    labels : the label map; class c of the map has the spectra of class c of the library.
    library : spectra of each class.
    seed : the scene is a function of the arguments and this number alone.
    difficulty : 0 (classes far apart, little noise) to 1.  It scales the variation within classes,
        the noise, the blur at borders and how far class means are drawn together.  0.5 keeps the
        library's own means and is set such that an RBF-SVM trained on 20 spectra a class of the
        simulated Indian Pines scene is right on about two pixels in three.
    name : of the scene.
    dtype : "uint16" stores reflectance x 10000, "float32" reflectance.

    Returns
    -------
    Scene with the labels and ``simulated`` set.

    Raises
    ------
    DataError : the library has another number of classes, or ``difficulty`` is outside 0..1.
    """
    if library.classes != labels.classes:
        raise DataError(
            f"the spectral library has {library.classes} classes, the label map {labels.classes}; "
            "give one spectrum class for each class of the map"
        )
    if not 0 <= difficulty <= 1:
        raise DataError(f"difficulty is between 0 and 1, not {difficulty}")
    if dtype not in ("uint16", "float32"):
        raise DataError(f"a simulated scene is stored as uint16 or float32, not {dtype!r}")
    setting = _Setting.of(difficulty)
    rows, columns = labels.shape
    library = _drawn_together(library, setting.overlap)
    materials = _materials(library, seed)
    abundance = _Abundance(labels.values, labels.classes, materials.classes, setting.blur, seed)
    rank = materials.factors.shape[2]
    smooth = _correlated(seed, rank, rows, columns)
    rng = numpy_generator(seed, "light")
    light = 1 + setting.light * _smooth(rng, rows, columns, max(rows, columns) / 6)
    noise = setting.noise * _noise_profile(materials.means[: library.classes], seed)

    cube = np.zeros((rows, columns, library.bands), dtype=dtype)
    for strip, top in enumerate(range(0, rows, _STRIP)):
        window = slice(top, min(top + _STRIP, rows))
        rng = numpy_generator(seed, "pixels", strip)
        shares = abundance.of(window)
        height = shares.shape[1]
        texture = rng.standard_normal((rank, height, columns))
        mixed = smooth[:, window] + _SCALES[0][1] ** 0.5 * texture
        scores = setting.spread * mixed.reshape(rank, -1).T
        fine = rng.standard_normal((height * columns, library.bands))
        pixels = np.zeros((height * columns, library.bands))
        for m in range(materials.classes):
            share = shares[m].ravel()
            index = np.flatnonzero(share > 1e-3)
            if not index.size:
                continue
            spectra = materials.means[m] + scores[index] @ materials.factors[m].T
            spectra += setting.spread * materials.residual[m] * fine[index]
            pixels[index] += share[index, None] * spectra
        pixels *= light[window].reshape(-1, 1)
        pixels += noise * rng.standard_normal(pixels.shape)
        pixels = np.clip(pixels, 0, 6.5).reshape(height, columns, -1)
        cube[window] = np.rint(pixels * _FULL_SCALE) if dtype == "uint16" else pixels
    return array_scene(
        cube,
        labels,
        name,
        wavelengths=library.wavelengths,
        sensor="simulated",
        simulated=True,
        notes=(f"simulated from a spectral library, seed {seed}, difficulty {difficulty:g}",),
    )


def simulate_demo(
    seed: int,
    rows: int = 96,
    columns: int = 96,
    bands: int = 64,
    classes: int = 6,
    *,
    difficulty: float = DEFAULT_DIFFICULTY,
) -> Scene:
    """Simulate a scene that needs no data at all: invented fields, invented spectra."""
    labels = random_label_map(rows, columns, classes, seed)
    library = synthetic_library(classes, bands, seed, names=labels.names)
    return simulate_scene(labels, library, seed=seed, difficulty=difficulty, name="demo-simulated")


def simulate_indian_pines(
    folder: str | os.PathLike[str], *, seed: int = 0, difficulty: float = DEFAULT_DIFFICULTY
) -> Scene:
    """Simulate Indian Pines (145 x 145 x 200, 16 classes) from its real map and real spectra.

    Parameters
    ----------
    folder : holds, at any depth, ``Indian_pines_gt.mat`` and, side by side, ``Train_X.mat`` (695
        spectra) and ``TrLabel.mat`` (their classes in SpectralFormer's order).

    Raises
    ------
    DataError : a file is missing or holds something else.
    """
    labels = _catalogue_labels("indian-pines", [_find(folder, "Indian_pines_gt.mat")])
    spectra, numbers = _spectra(folder, "Train_X.mat", "Train_X", 200)
    # SpectralFormer numbers the classes differently from the ground truth
    library = SpectralLibrary.from_spectra(
        spectra, np.array(_SPECTRALFORMER_INDIAN_PINES)[numbers - 1], labels.names
    )
    return simulate_scene(
        labels, library, seed=seed, difficulty=difficulty, name="indian-pines-simulated"
    )


def simulate_houston(
    folder: str | os.PathLike[str], *, seed: int = 0, difficulty: float = DEFAULT_DIFFICULTY
) -> Scene:
    """Simulate Houston 2013 (349 x 1905 x 144, 15 classes) from its real maps and real spectra.

    Parameters
    ----------
    folder : holds, at any depth, ``2013_IEEE_GRSS_DF_Contest_Samples_TR.tif`` and ``..._VA.tif``
        and, side by side, ``HSI_TrSet.mat`` (2832 spectra) and ``TrLabel.mat`` (their classes).

    Raises
    ------
    DataError : a file is missing or holds something else.
    """
    maps = [_find(folder, f"2013_IEEE_GRSS_DF_Contest_Samples_{part}.tif") for part in ("TR", "VA")]
    labels = _catalogue_labels("houston-2013", maps)
    spectra, numbers = _spectra(folder, "HSI_TrSet.mat", "HSI_TrSet", 144)
    library = SpectralLibrary.from_spectra(spectra, numbers, labels.names)
    return simulate_scene(
        labels, library, seed=seed, difficulty=difficulty, name="houston-simulated"
    )


def simulate(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    difficulty: float = DEFAULT_DIFFICULTY,
) -> Scene:
    """Simulate the scene called ``name``, one of :data:`SIMULATED`.

    Parameters
    ----------
    folder : where the real maps and spectra lie; default ``$SWATH_DATA``.

    Raises
    ------
    UnknownName : there is no such simulated scene.
    DataError : the data needed are missing.
    """
    if name not in SIMULATED:
        raise UnknownName(
            f"there is no simulated scene '{name}'{nearest(name, SIMULATED)}; "
            f"known: {', '.join(SIMULATED)}"
        )
    if name == "demo-simulated":
        return simulate_demo(seed, difficulty=difficulty)
    folder = folder or os.environ.get("SWATH_DATA")
    if folder is None:
        raise DataError(
            f"'{name}' is simulated from real maps and spectra; say where they lie with "
            "SWATH_DATA, or use 'demo-simulated', which needs none"
        )
    make = simulate_houston if name == "houston-simulated" else simulate_indian_pines
    return make(folder, seed=seed, difficulty=difficulty)


# For class 1, 2, ... of SpectralFormer's order: its number in Indian_pines_gt.
_SPECTRALFORMER_INDIAN_PINES = (2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16, 1, 7, 9)


def _find(folder: str | os.PathLike[str], name: str) -> Path:
    found = sorted(Path(folder).rglob(name))
    if not found:
        raise DataError(f"there is no {name} in {folder}; put it there or in a folder below")
    return found[0]


def _catalogue_labels(key: str, paths: Sequence[Path]) -> LabelMap:
    """Put label files together (later ones over earlier) under the names of the catalogue."""
    parts = [open_labels(path) for path in paths]
    values = parts[0].to_original(parts[0].values, ignore=0)
    for path, part in zip(paths[1:], parts[1:], strict=True):
        if part.shape != parts[0].shape:
            raise DataError(f"{path} is {part.shape}, but {paths[0]} is {parts[0].shape}")
        more = part.to_original(part.values, ignore=0)
        values = np.where(more > 0, more, values)
    names = entry(key).names
    labels = LabelMap.from_array(values, names)
    if set(labels.original) != set(names):
        raise DataError(
            f"{paths[0]} holds the classes {labels.original}, not 1 to {len(names)} of {key}"
        )
    return labels


def _spectra(
    folder: str | os.PathLike[str], file: str, variable: str, bands: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Read spectra (n, bands) and the class numbers beside them."""
    from scipy.io import loadmat

    path = _find(folder, file)
    labels = path.with_name("TrLabel.mat")
    found = []
    for source, key in ((path, variable), (labels, "TrLabel")):
        try:
            found.append(np.asarray(loadmat(source, variable_names=[key])[key]))
        except (OSError, KeyError, ValueError, NotImplementedError) as error:
            raise DataError(
                f"cannot read '{key}' from {source}; give the published file"
            ) from error
    spectra, numbers = found[0].astype(np.float64), found[1].ravel().astype(np.int64)
    if spectra.ndim != 2 or spectra.shape[1] != bands or len(spectra) != len(numbers):
        raise DataError(
            f"{path} holds an array of {spectra.shape} and {labels} {len(numbers)} labels; "
            f"expected (n, {bands}) and n"
        )
    return spectra, numbers


# Within-class variation: (correlation length in pixels, share of the variance); a length of 0 is
# texture, independent from pixel to pixel.
_SCALES = ((0.0, 0.1), (1.7, 0.87), (10.0, 0.03))


@dataclass(frozen=True)
class _Setting:
    """What a difficulty means; set by measuring classifiers on the simulated Indian Pines scene."""

    spread: float  # of within-class variation, in the library's own standard deviations
    blur: float  # standard deviation of the point-spread function, pixels
    light: float  # standard deviation of the illumination about 1
    noise: float  # multiple of the noise profile
    overlap: float  # part of the way that class means go to their overall mean

    @classmethod
    def of(cls, difficulty: float) -> _Setting:
        hard = difficulty / DEFAULT_DIFFICULTY
        return cls(
            spread=0.45 + 0.7 * hard,
            blur=0.3 + 0.4 * hard,
            light=0.05 * hard,
            noise=hard,
            overlap=0.3 * max(hard - 1, 0),
        )


def _drawn_together(library: SpectralLibrary, overlap: float) -> SpectralLibrary:
    centre = library.means.mean(axis=0)
    means = library.means + overlap * (centre - library.means)
    return SpectralLibrary(
        library.names, means, library.factors, library.residual, library.wavelengths
    )


def _materials(library: SpectralLibrary, seed: int, extra: int = 3) -> SpectralLibrary:
    """Append background materials: random mixtures of the classes, brighter or darker."""
    rng = numpy_generator(seed, "background")
    weights = rng.dirichlet(np.full(library.classes, 0.5), extra)
    bright = rng.uniform(0.6, 1.3, (extra, 1))
    return SpectralLibrary(
        (*library.names, *(f"background {k + 1}" for k in range(extra))),
        np.concatenate([library.means, bright * (weights @ library.means)]),
        np.concatenate([library.factors, np.tensordot(weights, library.factors, 1)]),
        np.concatenate([library.residual, weights @ library.residual]),
        library.wavelengths,
    )


class _Abundance:
    """Share of every material in every pixel, worked out strip by strip."""

    def __init__(
        self,
        values: npt.NDArray[np.int64],
        classes: int,
        materials: int,
        blur: float,
        seed: int,
    ) -> None:
        from scipy.ndimage import distance_transform_edt

        rows, columns = values.shape
        rng = numpy_generator(seed, "ground")
        gap, nearest = distance_transform_edt(values < 0, return_indices=True)
        self._classes = values[nearest[0], nearest[1]]
        self._first = classes
        backgrounds = materials - classes
        # background materials in patches of their own, the purer the farther from any label
        patches = np.stack([_smooth(rng, rows, columns, 5.0) for _ in range(backgrounds)])
        self._patch = patches.argmax(axis=0)
        wild = np.clip(0.5 + 0.5 * _smooth(rng, rows, columns, 6.0), 0, 1)
        self._wild = np.clip((gap - 1) / 4, 0, 1) * wild
        self._materials, self._blur = materials, blur

    def of(self, window: slice) -> Floats:
        """Return (materials, rows of the window, columns); sums to 1 over materials."""
        from scipy.ndimage import gaussian_filter

        margin = int(np.ceil(4 * self._blur)) + 1
        top = max(window.start - margin, 0)
        area = slice(top, window.stop + margin)
        classes, patch, wild = self._classes[area], self._patch[area], self._wild[area]
        inside = slice(window.start - top, window.stop - top)
        out = np.zeros((self._materials, window.stop - window.start, classes.shape[1]))
        for m in range(self._materials):
            if m < self._first:
                pure = np.where(classes == m, 1 - wild, 0.0)
            else:
                pure = np.where(patch == m - self._first, wild, 0.0)
            if pure.any():
                out[m] = gaussian_filter(pure, self._blur, truncate=4.0)[inside]
        return out


def _smooth(rng: np.random.Generator, rows: int, columns: int, length: float) -> Floats:
    """Return a Gaussian random field of mean 0 and standard deviation 1, smooth over ``length``.

    Drawn on a grid of at most a quarter of that length and interpolated, so that very smooth fields
    over large scenes stay cheap.
    """
    from scipy.ndimage import gaussian_filter, zoom

    step = max(int(length // 4), 1)
    length /= step
    height, width = (-(-side // step) + (3 if step > 1 else 0) for side in (rows, columns))
    margin = int(np.ceil(2 * length))
    white = rng.standard_normal((height + 2 * margin, width + 2 * margin))
    field = gaussian_filter(white, length, mode="wrap", truncate=3.0)
    field = field[margin : margin + height, margin : margin + width] / np.sqrt(np.mean(field**2))
    if step > 1:
        field = zoom(field, step, order=3, mode="nearest", grid_mode=True)
    return np.asarray(field[:rows, :columns], dtype=np.float64)


def _correlated(seed: int, rank: int, rows: int, columns: int) -> npt.NDArray[np.float32]:
    """Return one smooth field for each covariance component, (rank, rows, columns)."""
    fields = np.zeros((rank, rows, columns), dtype=np.float32)
    for k in range(rank):
        rng = numpy_generator(seed, "variation", k)
        for length, share in _SCALES[1:]:
            fields[k] += share**0.5 * _smooth(rng, rows, columns, length)
    return fields


def _noise_profile(means: Floats, seed: int) -> Floats:
    """Return the standard deviation of sensor noise in each band.

    Signal-to-noise ratios run smoothly between about 50 and 200 over the bands and fall at both
    ends of the spectrum, as those of imaging spectrometers do.
    """
    rng = numpy_generator(seed, "noise")
    bands = means.shape[1]
    place = np.linspace(-1, 1, bands)
    wave = np.sin(np.pi * (place * rng.uniform(1, 3) + rng.uniform(0, 2)))
    ratio = (125 + 75 * wave) * (1 - 0.6 * place**6)
    return np.asarray(means.mean(axis=0) / ratio)
