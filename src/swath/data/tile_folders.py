"""Folders of images and masks as a set of tiles: which mask belongs to which image."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from swath.core.errors import DataError
from swath.core.files import expanded
from swath.data._tile_files import TileImage, look_at
from swath.data.tile_set import MaskClasses, Remainder, TileSet, cut

__all__ = ["Pair", "find_pairs", "open_tiles"]

PathLike = str | os.PathLike[str]
Pair = tuple[Path, Path, str | None]
"""An image, its mask and its part: "train", "validation", "test" or None."""

_IMAGES = ("images", "image", "imgs", "img", "sat")
_MASKS = (
    "masks",
    "mask",
    "labels",
    "label",
    "gt",
    "groundtruth",
    "ground_truth",
    "annotations",
    "map",
)
_PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_FILES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_IMAGE_END = re.compile(r"[_-](image|img|rgb|sat)$", re.IGNORECASE)
_MASK_END = re.compile(r"[_-](mask|masks|label|labels|gt|groundtruth|seg)$", re.IGNORECASE)
_SHOWN = 3  # files that a message names
_GREY = 127  # a threshold that halves 8 bits, for a message


def open_tiles(
    images: PathLike,
    masks: PathLike | None = None,
    *,
    classes: Mapping[int, str] | None = None,
    threshold: float | None = None,
    names: Sequence[str] = ("background", "target"),
    ignore: Sequence[int] | None = None,
    tile: int | tuple[int, int] | None = None,
    remainder: Remainder = "overlap",
) -> TileSet:
    """Open a folder of images with masks (PNG, JPEG, GeoTIFF; any number of bands).

    Headers are read, and all masks once, so that no surprise comes in the midst of a training.
    Pixels are read when they are asked for.

    Parameters
    ----------
    images, masks : a folder of images and one of masks; or ``images`` alone, a folder that holds
        both; see :func:`find_pairs`.
    classes : the name of each mask value, in the order of the classes; class 1 is the target.
        None: the masks hold two values, the smaller is the background and the larger the target.
    threshold : the target is where a mask is above it, whatever its values (grey edges of JPEG or
        resampled masks: 127); in place of ``classes``.
    names : of background and target, where ``classes`` does not name them.
    ignore : mask values that mean "no label"; None: the no-data value of the mask files that name
        one, unless ``classes`` names it too.
    tile, remainder : how larger images are cut; see :func:`~swath.data.tile_set.cut`.

    Raises
    ------
    DataError : a folder or file is missing or cannot be read, an image and its mask differ in
        size, images differ in bands or type, a mask holds a value of no class, or all masks hold
        one class alone.
    """
    if classes is not None and threshold is not None:
        raise DataError("classes and a threshold exclude each other; give one of them")
    top = expanded(images)
    pairs = find_pairs(top, masks)
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(look_at, *pair) for pair in pairs]
        try:
            found = tuple(future.result() for future in futures)
        finally:
            pool.shutdown(cancel_futures=True)
    nodata = sorted({image.nodata for image in found if image.nodata is not None})
    ignored = tuple(nodata if ignore is None else map(int, ignore))
    if ignore is None and classes is not None:
        ignored = tuple(value for value in ignored if value not in classes)
    if classes is not None:
        numbers = tuple(int(value) for value in classes)
        meant = MaskClasses(tuple(classes.values()), numbers, ignored=ignored)
    else:
        meant = _two_classes(top, found, threshold, tuple(names), ignored)
    size = (tile, tile) if isinstance(tile, int) else tile
    windows = cut(found, size, remainder)
    return TileSet(top.name, found, windows, meant, _notes(found, size, remainder))


def find_pairs(images: PathLike, masks: PathLike | None = None) -> list[Pair]:
    """Find images and their masks, sorted by part and name.

    With two folders, images are in one and masks in the other.  A single folder may hold

    - ``images`` and ``masks`` (also image, img, imgs, sat; mask, label(s), gt, groundtruth,
      ground_truth, annotations, map; in capitals or not);
    - ``train``, ``val`` and ``test`` (also training, valid, validation, testing; at least one),
      each with such two folders, as WHU Building has them (``train/image``, ``train/label``);
    - ``train`` and ``train_labels``, and so forth, in it or in a folder ``tiff`` of it, as
      Massachusetts Roads has them.

    A folder of images and its folder of masks may both be divided into train, val and test, too.

    An image's mask has the name of the image, whatever the file type.  Where there is none of that
    name, what ends in ``_image``, ``_img``, ``_rgb`` or ``_sat`` belongs to what ends in ``_mask``,
    ``_label``, ``_gt``, ``_groundtruth`` or ``_seg`` (also with a hyphen; one end may be missing):
    ``17_sat.jpg`` to ``17_mask.png``.  Hidden files and other types of file are passed over.

    Raises
    ------
    DataError : there is no such folder, images or masks are missing, or names are not unique.
    """
    top = expanded(images)
    layout = _layout(top) if masks is None else _both(_folder(top), _folder(expanded(masks)))
    return [
        (image, mask, part)
        for part, image_folder, mask_folder in layout
        for image, mask in _matched(image_folder, mask_folder)
    ]


def _layout(top: Path) -> list[tuple[str | None, Path, Path]]:
    """Return the folders of images and of masks in a folder, with their part."""
    inside = {path.name.lower(): path for path in sorted(_folder(top).iterdir()) if path.is_dir()}
    found = _image_and_mask_folder(top, inside)
    if found is not None:
        return _both(*found)
    layout: list[tuple[str | None, Path, Path]] = []
    for part, words in _PARTS.items():
        folder = _first(inside, words)
        if folder is None:
            continue
        labels = _first(inside, [f"{folder.name.lower()}_{word}" for word in _MASKS])
        if labels is not None:
            layout.append((part, folder, labels))
            continue
        deeper = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
        found = _image_and_mask_folder(folder, deeper)
        if found is None:
            raise DataError(
                f"{folder} needs a folder 'images' and a folder 'masks' in it, or a folder "
                f"'{folder.name}_labels' beside it"
            )
        layout.append((part, *found))
    if layout:
        return layout
    if "tiff" in inside:
        return _layout(inside["tiff"])
    raise DataError(
        f"{top} holds no folders 'images' and 'masks', and none of train, val and test; give such "
        "a folder, or name the folder of images and the folder of masks"
    )


def _image_and_mask_folder(top: Path, inside: Mapping[str, Path]) -> tuple[Path, Path] | None:
    images, masks = _first(inside, _IMAGES), _first(inside, _MASKS)
    if images is None and masks is None:
        return None
    if images is None or masks is None:
        there, lacking = (masks, "images") if images is None else (images, "masks")
        raise DataError(f"{top} holds {there} but no folder of {lacking}; name it '{lacking}'")
    return images, masks


def _both(images: Path, masks: Path) -> list[tuple[str | None, Path, Path]]:
    """Return two folders as they are, or divided into parts alike."""
    divided = []
    for folder in (images, masks):
        inside = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
        parts = {part: _first(inside, words) for part, words in _PARTS.items()}
        divided.append({part: path for part, path in parts.items() if path is not None})
    image_parts, mask_parts = divided
    if not image_parts and not mask_parts:
        return [(None, images, masks)]
    if image_parts.keys() != mask_parts.keys():
        raise DataError(
            f"{images} is divided into {', '.join(image_parts) or 'no parts'}, but {masks} into "
            f"{', '.join(mask_parts) or 'no parts'}; divide both alike"
        )
    return [(part, path, mask_parts[part]) for part, path in image_parts.items()]


def _first(inside: Mapping[str, Path], names: Sequence[str]) -> Path | None:
    return next((inside[name] for name in names if name in inside), None)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise DataError(f"{path} is no folder; give one of images and masks")
    return path


def _matched(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """Return each image with its mask."""
    image_of, mask_of = _by_stem(images), _by_stem(masks)
    exact = image_of.keys() & mask_of.keys()
    images_left = _without_end(image_of, exact, _IMAGE_END)
    masks_left = _without_end(mask_of, exact, _MASK_END)
    pairs = {image_of[stem]: mask_of[stem] for stem in exact}
    pairs |= {images_left[k]: masks_left[k] for k in images_left.keys() & masks_left.keys()}
    lacking = [
        (f"no mask in {masks}", [p for k, p in images_left.items() if k not in masks_left]),
        (f"no image in {images}", [p for k, p in masks_left.items() if k not in images_left]),
    ]
    said = [f"{_some(files)} {'has' if len(files) == 1 else 'have'} {what}"
            for what, files in lacking if files]  # fmt: skip
    if said:
        raise DataError(f"{' and '.join(said)}; images and masks belong together by their names")
    return sorted(pairs.items())


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _FILES or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in files:
            raise DataError(
                f"{files[path.stem].name} and {path.name} in {folder} have one name; keep one"
            )
        files[path.stem] = path
    if not files:
        raise DataError(f"{folder} holds no PNG, JPEG or GeoTIFF")
    return files


def _without_end(
    files: Mapping[str, Path], exact: set[str], end: re.Pattern[str]
) -> dict[str, Path]:
    """Return files that are in no exact pair by their names without the end."""
    left: dict[str, Path] = {}
    for stem, path in files.items():
        if stem not in exact:
            short = end.sub("", stem)
            if short in left:
                raise DataError(
                    f"{left[short].name} and {path.name} in {path.parent} could both belong to "
                    f"'{short}'; name images and masks alike"
                )
            left[short] = path
    return left


def _some(files: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in files[:_SHOWN])
    more = f", ... ({len(files)} files)" if len(files) > _SHOWN else ""
    return shown + more


def _two_classes(
    top: Path,
    images: Sequence[TileImage],
    threshold: float | None,
    names: tuple[str, ...],
    ignored: tuple[int, ...],
) -> MaskClasses:
    """Return background and target, by a threshold or as the two values that there are."""
    if len(names) != 2:
        raise DataError(
            f"background and target have two names, not {len(names)}; name more classes by their "
            "mask values"
        )
    if threshold is not None:
        return MaskClasses(names, (0, 1), threshold, ignored)
    pixels: Counter[int] = Counter()
    for image in images:
        pixels.update(dict(image.values))
    values = sorted(value for value in pixels if value not in ignored)
    if len(values) < 2:
        no_data = f" besides 'no label' ({', '.join(map(str, ignored))})" if ignored else ""
        raise DataError(
            f"the masks of {top} hold {f'the value {values[0]} alone' if values else 'nothing'}"
            f"{no_data}, but two classes or more are needed; are these the masks?"
        )
    if len(values) > 2:
        shown = ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
        raise DataError(
            f"the masks of {top} hold {len(values)} values ({shown}); name the class of each, or "
            f"give threshold={_GREY} for grey edges between 0 and 255"
        )
    return MaskClasses(names, (values[0], values[1]), None, ignored)


def _notes(
    images: Sequence[TileImage], tile: tuple[int, int] | None, remainder: Remainder
) -> tuple[str, ...]:
    if tile is None or remainder != "drop":
        return ()
    height, width = tile
    total = sum(image.rows * image.columns for image in images)
    kept = sum(
        (image.rows // height * height) * (image.columns // width * width) for image in images
    )
    if kept == total:
        return ()
    share = 100 * (1 - kept / total)
    return (f"{share:.1f} % of the pixels fill no tile of {height} x {width} and are left out",)
