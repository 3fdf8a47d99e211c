"""What the written files hold, read back with rasterio and matplotlib."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from swath.core.errors import DataError, MismatchError, RunError
from swath.data.labels import LabelMap
from swath.data.readers import open_scene
from swath.data.scaling import Scaling, fit_scaling
from swath.data.scene import Scene, array_scene
from swath.mapping.engine import predict
from swath.mapping.prediction import read_array
from swath.mapping.product import ClassTable, entropy_bits, read_map, storage, write_map, write_png
from swath.mapping.scenes import map_scene, predict_scene

WKT = rasterio.crs.CRS.from_epsg(32632).to_wkt()
TRANSFORM = (10.0, 0.0, 500000.0, 0.0, -10.0, 4600000.0)
CLASSES = ClassTable(("water", "corn", "woods"), (10, 3, 200))


def a_scene(rows: int = 40, columns: int = 50, holes: bool = True) -> Scene:
    cube = np.random.default_rng(0).normal(size=(rows, columns, 3)).astype(np.float32)
    if holes:
        cube[5:8, 10:14, 1] = np.nan
    return array_scene(cube, name="field", crs=WKT, transform=TRANSFORM)


def scaling(bands: int = 3) -> Scaling:
    return Scaling("standard", (0.1,) * bands, (2.0,) * bands)


def a_network(classes: int = 3, bands: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(bands, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, classes, 3, padding=1)
    )


@pytest.mark.parametrize("mode", ["plain", "ms+ov"])
def test_map_holds_original_labels_and_georeference(tmp_path: Path, mode: str) -> None:
    scene = a_scene()
    result = map_scene(
        a_network(),
        scene,
        tmp_path / "map.tif",
        scaling=scaling(),
        classes=CLASSES,
        mode=mode,  # type: ignore[arg-type]
        window=16,
        keep=True,
        probabilities=tmp_path / "probabilities.tif",
        entropy=tmp_path / "entropy.tif",
        tags={"RUN": "seed 0"},
    )
    expected = predict_scene(a_network(), scene, scaling=scaling(), mode=mode)  # type: ignore[arg-type]
    valid = scene.valid()
    with rasterio.open(tmp_path / "map.tif") as file:
        stored = file.read(1)
        assert file.crs == rasterio.crs.CRS.from_epsg(32632)
        assert tuple(file.transform)[:6] == TRANSFORM
        assert file.dtypes == ("uint8",)
        assert file.nodata == 0
        assert file.descriptions == ("class",)
        assert file.tags()["SCENE"] == "field"
        assert file.tags()["RUN"] == "seed 0"
        assert file.tags()["MODE"] == mode
        assert file.tags(1)["CLASS_3"] == "corn"
        assert file.tags(1)["CLASSES"] == "10,3,200"
        colours = file.colormap(1)
        assert [colours[value][:3] for value in CLASSES.original] == list(CLASSES.colours)
        assert (file.dataset_mask() > 0).tolist() == valid.tolist()
    best = np.array(CLASSES.original)[expected.argmax(2)]
    np.testing.assert_array_equal(stored, np.where(valid, best, 0))
    assert result.missing == 12
    assert result.pixels == stored.size
    assert result.seconds > 0
    assert [int((stored == value).sum()) for value in CLASSES.original] == list(result.counts)
    assert result.indices is not None
    np.testing.assert_array_equal(result.indices, np.where(valid, expected.argmax(2), -1))
    np.testing.assert_array_equal(result.indices, read_map(result.path, CLASSES))
    with rasterio.open(tmp_path / "probabilities.tif") as file:
        assert file.descriptions == CLASSES.names
        assert file.dtypes == ("float32",) * 3
        assert file.crs is not None
        likely = file.read().transpose(1, 2, 0)
    np.testing.assert_allclose(likely[valid], expected[valid], atol=1e-6)
    assert np.isnan(likely[~valid]).all()
    with rasterio.open(tmp_path / "entropy.tif") as file:
        doubt = file.read(1)
        assert file.descriptions == ("entropy",)
        assert file.units == ("bit",)
    reference = -(expected.astype(float) * np.log2(expected.astype(float))).sum(2)
    np.testing.assert_allclose(doubt[valid], reference[valid], atol=1e-5)
    assert np.isnan(doubt[~valid]).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "entropy.tif",
        "map.tif",
        "probabilities.tif",
    ]


@pytest.mark.parametrize(
    ("original", "dtype", "nodata"),
    [
        ((1, 2, 3), "uint8", 0),
        ((0, 1, 2), "uint8", 255),
        ((0, 255, 2), "uint8", 1),
        (tuple(range(256)), "uint16", 65535),
        ((1, 256, 3), "uint16", 0),
        ((-1, 0, 3), "int16", 32767),
        ((1, 70000, 3), "int32", 0),
        ((1, 2**32 - 1, 3), "uint32", 0),
        ((0, 2**32 - 2, 3), "uint32", 2**32 - 1),
        ((1, 2**40, 3), "int64", 0),
        ((0, 1, 2**63 - 1), "int64", 2),
        ((0, -(2**63), 2**53 + 1), "int64", 1),
    ],
)
def test_storage_of_any_label_values(
    tmp_path: Path, original: tuple[int, ...], dtype: str, nodata: int
) -> None:
    assert storage(original) == (dtype, nodata)
    classes = ClassTable(tuple(map(str, original)), original)
    network = a_network(classes=len(original))
    result = map_scene(
        network, a_scene(), tmp_path / "m.tif", scaling=scaling(), classes=classes, keep=True
    )
    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.dtypes == (dtype,)
        assert file.nodata == nodata
        assert (file.read(1) == nodata).sum() == 12
    np.testing.assert_array_equal(read_map(tmp_path / "m.tif", classes), result.indices)


def test_class_table() -> None:
    labels = LabelMap.from_array(np.array([[0, 10], [14, 10]]), names={10: "corn"})
    table = ClassTable.of(labels)
    assert table.names == ("corn", "class 14")
    assert table.original == (10, 14)
    assert table.colours == labels.colours
    with pytest.raises(DataError, match="do not match"):
        ClassTable(("a", "b"), (1,))
    with pytest.raises(DataError, match="each once"):
        ClassTable(("a", "b"), (1, 1))


def test_entropy_is_bounded_by_the_number_of_classes() -> None:
    even = np.full((2, 8), 1 / 8, dtype=np.float32)
    np.testing.assert_allclose(entropy_bits(even), 3.0)
    assert not np.signbit(entropy_bits(np.eye(8, dtype=np.float32))).any()


def test_scene_without_georeference_or_data(tmp_path: Path) -> None:
    scene = array_scene(np.full((20, 20, 3), np.nan, dtype=np.float32))
    result = map_scene(
        a_network(),
        scene,
        tmp_path / "m.tif",
        scaling=scaling(),
        classes=CLASSES,
        png=tmp_path / "m.png",
    )
    assert result.missing == 400
    assert result.counts == (0, 0, 0)
    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.crs is None
        assert not file.read(1).any()


def test_picture_shows_every_class_in_its_colour(tmp_path: Path) -> None:
    from matplotlib.image import imread

    indices = np.repeat(np.repeat([[0, 1], [2, -1]], 30, axis=0), 30, axis=1)
    write_png(tmp_path / "m.png", indices, CLASSES, title="field")
    picture = (imread(tmp_path / "m.png")[..., :3] * 255).round().astype(int)
    flat = picture.reshape(-1, 3)
    for colour in (*CLASSES.colours, (0, 0, 0)):
        # a quarter of a map drawn at least 500 pixels wide, and the patch in the legend
        assert (flat == colour).all(1).sum() > 240 * 240
    assert picture.shape[1] > 600  # the legend stands beside the map


def test_names_stand_in_the_picture_as_they_are(tmp_path: Path) -> None:
    """Dollars do not begin a formula, which names are not."""
    from matplotlib.image import imread

    indices = np.zeros((20, 20), dtype=np.int16)
    pictures = {}
    for name in (r"$\frac{$", "$x$", "x"):
        write_png(tmp_path / "m.png", indices, ClassTable((name,), (1,)), title=name)
        pictures[name] = imread(tmp_path / "m.png")
    assert pictures["$x$"].shape[1] > pictures["x"].shape[1]


def test_large_maps_are_thinned_out(tmp_path: Path) -> None:
    from matplotlib.image import imread

    indices = np.zeros((5000, 3000), dtype=np.int16)
    write_png(tmp_path / "m.png", indices, CLASSES, counts=[7, 2, 1], largest=500)
    assert max(imread(tmp_path / "m.png").shape) < 700
    scene = a_scene(100, 60, holes=False)
    map_scene(a_network(), scene, tmp_path / "m.tif", scaling=scaling(), classes=CLASSES)
    assert read_map(tmp_path / "m.tif", CLASSES, largest=50).shape == (50, 30)


def test_other_bands_or_classes_are_refused_and_the_earlier_map_stays(tmp_path: Path) -> None:
    out = tmp_path / "m.tif"
    out.write_text("earlier")
    with pytest.raises(MismatchError, match="field has 3 bands, but the model was trained on 4"):
        map_scene(a_network(), a_scene(), out, scaling=scaling(4), classes=CLASSES)
    with pytest.raises(MismatchError, match="5 classes, but 3"):
        map_scene(a_network(5), a_scene(), out, scaling=scaling(), classes=CLASSES)
    pixels = np.zeros((4, 4, 3), dtype=np.float32)
    unchecked = predict(a_network(5), read_array(pixels), pixels.shape)
    with pytest.raises(MismatchError, match="5 classes, but 3"):
        write_map(out, unchecked, a_scene(4, 4, holes=False), CLASSES)
    assert out.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [out]


def test_failure_half_way_leaves_the_earlier_map(tmp_path: Path) -> None:
    out = tmp_path / "m.tif"
    out.write_text("earlier")

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_scene(
            a_network(),
            a_scene(),
            out,
            scaling=scaling(),
            classes=CLASSES,
            window=10,
            progress=stop,
            probabilities=tmp_path / "p.tif",
        )
    assert out.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [out]


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        map_scene(
            a_network(),
            a_scene(),
            tmp_path / "file" / "m.tif",
            scaling=scaling(),
            classes=CLASSES,
        )
    with pytest.raises(RunError, match="cannot read the map"):
        read_map(tmp_path / "nothing.tif", CLASSES)


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
from torch import nn
from swath.data.scaling import Scaling
from swath.data.scene import array_scene
from swath.mapping.product import ClassTable
from swath.mapping.scenes import map_scene

cube = np.zeros((4000, 200, 2), dtype=np.float32)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

sent = []

def interrupt(done, total):
    if not sent:
        sent.append(os.kill(os.getpid(), signal.SIGINT))
        time.sleep(0.2)

network = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1))
try:
    map_scene(network, array_scene(cube), sys.argv[1], classes=ClassTable(("a", "b"), (1, 2)),
              scaling=Scaling("none", (0.0,) * 2, (1.0,) * 2), progress=interrupt)
except KeyboardInterrupt:
    ours = lambda: [t.name for t in threading.enumerate() if "swath" in t.name]
    end = time.monotonic() + 10
    while ours() and time.monotonic() < end:
        time.sleep(0.05)
    print("interrupted", ours())
"""


def test_ctrl_c_ends_the_threads_and_leaves_the_earlier_map(tmp_path: Path) -> None:
    out = tmp_path / "m.tif"
    out.write_text("earlier")
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(out)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "interrupted []"
    assert out.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["m.tif"]


def test_maps_of_strips_are_tiled_and_the_same(tmp_path: Path) -> None:
    scene = a_scene(300, 400)
    maps = []
    for window in (None, 280):
        result = map_scene(
            a_network(),
            scene,
            tmp_path / "m.tif",
            scaling=scaling(),
            classes=CLASSES,
            window=window,
            keep=True,
        )
        with rasterio.open(result.path) as file:
            assert file.profile["tiled"] == (window is not None)
            assert file.tags()["PRECISION"] == result.precision == "float32"
            np.testing.assert_array_equal(read_map(result.path, CLASSES), result.indices)
        maps.append(result.indices)
    np.testing.assert_array_equal(*maps)


DISK_SCRIPT = """
import resource, signal, sys
import numpy as np
from torch import nn
from swath.core.errors import RunError
from swath.data.scaling import Scaling
from swath.data.scene import array_scene
from swath.mapping.product import ClassTable
from swath.mapping.scenes import map_scene

cube = np.random.default_rng(0).normal(size=(1000, 1000, 2)).astype(np.float32)
scaling, classes = Scaling("none", (0.0,) * 2, (1.0,) * 2), ClassTable(("a", "b"), (1, 2))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (20_000, 160_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        map_scene(nn.Identity(), array_scene(cube), sys.argv[1], scaling=scaling, classes=classes)
    except RunError as error:
        print("RunError:", error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a file size limit")
def test_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    """A file size limit stands in for the disk: writing fails early, or only while closing."""
    out = tmp_path / "m.tif"
    out.write_text("earlier")
    done = subprocess.run(
        [sys.executable, "-c", DISK_SCRIPT, str(out)], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("RunError") == done.stdout.count("disk full") == 2
    assert done.stdout.count(str(out)) == 2
    assert out.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["m.tif"]


MEMORY_SCRIPT = """
import resource, sys
import numpy as np, rasterio
from torch import nn
from swath.data.readers import open_scene
from swath.data.scaling import Scaling
from swath.data.scene import Scene
from swath.mapping.product import ClassTable
from swath.mapping.scenes import map_scene

rows, columns, folder, mode = 5000, 3000, *sys.argv[1:]
profile = dict(driver="GTiff", width=columns, height=rows, count=8, dtype="uint16", tiled=True,
               blockxsize=256, blockysize=256)
line = np.random.default_rng(0).integers(0, 9999, (8, 256, columns)).astype(np.uint16)
with rasterio.open(folder + "/scene.tif", "w", **profile) as file:
    for top in range(0, rows, 256):
        height = min(256, rows - top)
        file.write(line[:, :height], window=((top, top + height), (0, columns)))
scene = open_scene(folder + "/scene.tif", check=False)

class Upper:
    dtype, shape = scene.source.dtype, (2000, *scene.source.shape[1:])
    read = scene.source.read

network = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
scaling = Scaling("max", (0.0,) * 8, (9999.0,) * 8)
classes = ClassTable(tuple("abcd"), (1, 2, 3, 4))
with rasterio.Env(GDAL_CACHEMAX=16 * 2**20):
    for part in (Scene("upper", Upper()), scene):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        map_scene(network, part, f"{folder}/map.tif", scaling=scaling, classes=classes,
                  mode=mode, probabilities=f"{folder}/probabilities.tif")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("mode", ["plain", "windows"])
def test_memory_does_not_grow_with_the_scene(tmp_path: Path, mode: str) -> None:
    """Mapping 3000 rows more takes no more, though they are 288 MB as float32.

    With the first 2000 rows, all that reads, computes and writes ahead is full.  What is freed is
    given back at once (glibc otherwise keeps some 20 to 130 MiB of it, more or less at random).
    """
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path), mode],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"},
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 30  # MiB
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.shape == (5000, 3000)
        assert file.read(1, window=((4990, 5000), (0, 3000))).all()


def test_a_real_scene_comes_back_in_its_own_label_values(tmp_path: Path, swath_data: Path) -> None:
    scene = open_scene(
        swath_data / "salinas_a" / "SalinasA_corrected.mat",
        swath_data / "salinas_a" / "SalinasA_gt.mat",
    )
    assert scene.labels is not None
    classes = ClassTable.of(scene.labels)
    result = map_scene(
        a_network(6, scene.shape[2]),
        scene,
        tmp_path / "m.tif",
        scaling=fit_scaling(scene, "standard"),
        classes=classes,
        mode="ms",
        png=tmp_path / "m.png",
    )
    assert sum(result.counts) + result.missing == 83 * 86
    with rasterio.open(result.path) as file:
        assert file.shape == (83, 86)
        assert set(np.unique(file.read(1))) <= {0, 1, 10, 11, 12, 13, 14}
        assert file.tags(1)["CLASSES"] == "1,10,11,12,13,14"
