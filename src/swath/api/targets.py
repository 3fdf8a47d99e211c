"""Where a map may be written: not over its own scene, and each part of it to a file of its own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from swath.core.errors import DataError, RecipeError, RunError
from swath.core.files import check_writable, expanded
from swath.data.scene import Scene

__all__ = ["check_targets"]

PathLike = str | os.PathLike[str]

_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf")


def check_targets(scene: Scene | PathLike, targets: Mapping[str, PathLike | None]) -> None:
    """Look at the files that a map is to be written to, before it is computed; write nothing.

    Parameters
    ----------
    scene : to be mapped; the files of an open one are not known, and not compared.
    targets : the file of each part, by what it is called in messages; None is left out.

    Raises
    ------
    DataError : one belongs to the scene.
    RecipeError : two are one file, or a name says another format than the one that is written.
    RunError : one is a folder, or cannot be written.
    """
    paths = {name: expanded(path) for name, path in targets.items() if path is not None}
    _check_own_files(paths)
    sources = [] if isinstance(scene, Scene) else _sources(os.fspath(scene))
    for path in paths.values():
        if path.is_dir():
            raise RunError(f"cannot write {path}: it is a folder; give a file")
        if any(_belong_together(source, path) for source in sources):
            raise DataError(
                f"{path} is the scene itself, or a file that belongs to it; choose another file "
                "for the map"
            )
        check_writable(path)
    _check_endings(paths)


def _check_endings(paths: Mapping[str, Path]) -> None:
    """Refuse names that say another format than the one that is written."""
    for name, path in paths.items():
        ending = path.suffix.lower()
        if name == "picture" and ending != ".png":
            raise RecipeError(f"the picture is a PNG; name it {path.with_suffix('.png').name}")
        if name != "picture" and ending in _PICTURES:
            raise RecipeError(
                f"the {name} is a GeoTIFF; name it {path.with_suffix('.tif').name} (png= or --png "
                "writes a picture of the map besides)"
            )


def _check_own_files(paths: Mapping[str, Path]) -> None:
    taken: dict[Path, str] = {}
    for name, path in paths.items():
        other = taken.setdefault(path.resolve(), name)
        if other != name:
            raise RecipeError(
                f"the {other} and the {name} would both be written to {path}; give each a file of "
                "its own"
            )


def _sources(scene: str) -> list[Path]:
    """Return the files that a scene is read from, as far as they are on this machine."""
    from swath.data.catalogue import CATALOGUE, locate
    from swath.study.preparation import scene_path

    path = scene_path(scene)
    if path is not None:
        return [path]
    if scene not in CATALOGUE:
        return []
    located = locate(scene)
    return [file for file in (located.image, *(located.labels or ())) if file is not None]


def _belong_together(source: Path, target: Path) -> bool:
    """Whether two files are one, or one of them a part of the other, as ENVI has data and header.

    Asked both ways, since only the data of such a pair can be opened.
    """
    if not target.exists():
        return False
    return any(file.samefile(target) for file in _parts(source)) or any(
        file.samefile(source) for file in _parts(target)
    )


def _parts(path: Path) -> list[Path]:
    """Return a file and, of a raster, those that are read with it."""
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        try:
            with rasterio.open(path) as raster:
                found = [Path(name) for name in raster.files]
        except rasterio.errors.RasterioError:
            found = []
    return [path, *(file for file in found if file.exists())]
