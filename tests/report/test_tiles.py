"""The page of a run on tiles, and the pictures in it."""

from __future__ import annotations

import base64
import re
import shutil
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from tile_files import write_bright
from tile_runs import comparator

import swath
from swath.data.labels import palette
from swath.report import write_report
from swath.report.images import rgb_png
from swath.report.record import LabelClass, RunRecord, TileRecord
from swath.report.tiles import tiles as show_tiles


def unpacked(png: bytes) -> npt.NDArray[np.uint8]:
    """Decode an RGB PNG of 8 bits by the standard's own words (ISO 15948, filters 0 to 4)."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, data, head = 8, b"", b""
    while place < len(png):
        (length,), kind = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        body = png[place + 8 : place + 8 + length]
        (crc,) = struct.unpack(">I", png[place + 8 + length : place + 12 + length])
        assert crc == zlib.crc32(kind + body)
        head = body if kind == b"IHDR" else head
        data += body if kind == b"IDAT" else b""
        place += 12 + length
    columns, rows, depth, colour, *rest = struct.unpack(">IIBBBBB", head)
    assert (depth, colour, rest) == (8, 2, [0, 0, 0])
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(rows, 1 + 3 * columns)
    above, found = [0] * (3 * columns), []
    for kind, *line in lines.tolist():
        now: list[int] = []
        for n, value in enumerate(line):
            left = now[n - 3] if n >= 3 else 0
            corner = above[n - 3] if n >= 3 else 0
            guess = (0, left, above[n], (left + above[n]) // 2, _paeth(left, above[n], corner))
            now.append((value + guess[kind]) % 256)
        found.append(now)
        above = now
    return np.array(found, np.uint8).reshape(rows, columns, 3)


def _paeth(a: int, b: int, c: int) -> int:
    return min((a, b, c), key=lambda one: abs(a + b - c - one))


@settings(max_examples=30)
@given(arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 5), st.just(3))))
def test_pictures_decode_to_their_pixels(pixels: npt.NDArray[np.uint8]) -> None:
    png = rgb_png(pixels)
    assert np.array_equal(unpacked(png), pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(png) as file, file.open() as image:
            assert np.array_equal(image.read().transpose(1, 2, 0), pixels)


def pictures(page: str) -> list[npt.NDArray[np.uint8]]:
    """The RGB pictures of a page."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [unpacked(base64.b64decode(one)) for one in found]


def record(folder: Path, truth: Any, prediction: Any, image: Any = None) -> RunRecord:
    shape = np.shape(truth)
    if image is None:
        image = np.full((*shape, 3), 90, np.uint8)
    colours = palette(3)
    return RunRecord(
        folder,
        recipe={"task": {"kind": "tiles"}},
        classes=tuple(LabelClass(f"class {n}", n, colours[n]) for n in range(3)),
        tiles=(TileRecord("<one>.png", image, np.array(truth), np.array(prediction)),),
    )


def test_errors_are_where_truth_and_answer_differ(tmp_path: Path) -> None:
    truth = [[0, 1, 2, 0], [1, -1, -1, 2]]
    answer = [[0, 1, 1, 2], [0, 0, 1, 2]]
    page = str(show_tiles(record(tmp_path, truth, answer)))
    image, true, said, errors = pictures(page)
    assert (image == 90).all()
    background = [90, 90, 90]
    plain = {  # which pixels are left as the image is
        "truth": [[True, False, False, True], [False, True, True, False]],
        "answer": [[True, False, False, False], [True, True, False, False]],
        "errors": [[True, True, False, False], [False, True, True, True]],
    }
    for name, picture in (("truth", true), ("answer", said), ("errors", errors)):
        assert np.array_equal((picture == background).all(axis=2), plain[name]), name
    # a wrong class counts as missed, as a target that was not found does
    assert np.array_equal(errors[0, 2], errors[1, 0])
    assert not np.array_equal(errors[0, 2], errors[0, 3])
    # of the six labelled pixels three are right
    assert "50.00" in page
    assert "&lt;one&gt;.png" in page
    assert "<one>" not in page


def test_large_tiles_are_thinned(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (700, 500))
    page = str(
        show_tiles(record(tmp_path, truth, truth, rng.integers(0, 256, (700, 500, 3), np.uint8)))
    )
    assert "100.00" in page
    assert pictures(page)[0].shape == (234, 167, 3)  # every third pixel


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> swath.Run:
    top = tmp_path_factory.mktemp("unet")
    return comparator(write_bright(top / "tiles", size=(32, 36)), top / "run")


def words(page: str) -> str:
    page = re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_of_a_network_to_compare_with(unet: swath.Run) -> None:
    page = (unet.path / "report.html").read_text("utf-8")
    text = words(page)
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert "Test tiles" in headings
    assert "Map" not in headings
    assert len(pictures(page)) == 12  # three test tiles of four pictures
    assert all(picture.shape == (32, 36, 3) for picture in pictures(page))
    assert "The network is unet" in text
    for name in ("IoU", "mean IoU (mIoU)", "validation mIoU", "3 test tiles"):
        assert name in text
    test = unet.metrics["test"]
    assert f"{100 * test['iou'][1]:.2f}" in text
    assert f"{100 * test['miou']:.2f}" in text
    assert "None" not in text
    assert not re.search(r"\bnan\b", text)
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize(
    "missing",
    ["tiles.safetensors", "metrics.json", "best/model.safetensors", "training/history.jsonl"],
)
def test_an_unfinished_run_gives_a_page(unet: swath.Run, tmp_path: Path, missing: str) -> None:
    folder = shutil.copytree(unet.path, tmp_path / "run")
    (folder / missing).unlink()
    text = words(write_report(folder).read_text("utf-8"))
    assert ("This run has labelled no test tile yet." in text) == missing.startswith("tiles")
    assert ("No test figures" in text) == (missing == "metrics.json")
    assert "None" not in text


def test_a_run_that_has_just_begun_gives_a_page(unet: swath.Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text((unet.path / "recipe.yaml").read_text())
    text = words(write_report(tmp_path).read_text("utf-8"))
    assert "This run has labelled no test tile yet." in text
    assert "The network is unet" in text


def test_broken_tiles_are_named(unet: swath.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(unet.path, tmp_path / "run")
    (folder / "tiles.safetensors").write_bytes(b"no tensors")
    with pytest.raises(swath.core.errors.RunError, match=r"tiles\.safetensors holds no tiles"):
        write_report(folder)


def test_the_loss_that_was_trained_with_is_named(unet: swath.Run, tmp_path: Path) -> None:
    folder = shutil.copytree(unet.path, tmp_path / "run")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))

    def told(loss: str) -> str:
        recipe["training"]["loss"] = loss
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
        return words(write_report(folder).read_text("utf-8"))

    assert "Cross-entropy" in told("cross-entropy")
    assert "Loss: hardest in training, cross-entropy in validation" in told("hardest")
