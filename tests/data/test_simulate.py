"""Simulated scenes: statistics as asked for, determinism, real maps, and how hard they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swath.core.errors import DataError, UnknownName
from swath.data.labels import LabelMap
from swath.data.readers import open_labels, open_scene
from swath.data.saving import save_scene
from swath.data.scene import Scene, array_scene
from swath.data.simulate import (
    SIMULATED,
    random_label_map,
    simulate,
    simulate_demo,
    simulate_houston,
    simulate_indian_pines,
    simulate_scene,
)
from swath.data.spectral_library import SpectralLibrary, synthetic_library


def halves(rows: int = 64, columns: int = 64) -> LabelMap:
    values = np.zeros((rows, columns), np.int64)
    values[:, columns // 2 :] = 1
    return LabelMap(values, (1, 2), ("left", "right"))


def pixels(scene: Scene, c: int) -> np.ndarray:
    """Spectra of a class, away from borders."""
    from scipy.ndimage import binary_erosion

    assert scene.labels is not None
    inside = binary_erosion(scene.labels.values == c, iterations=4, border_value=1)
    return scene.read()[inside]


def accuracy(scene: Scene, window: int, seed: int = 0) -> float:
    """Overall accuracy of an RBF-SVM trained on 20 means of ``window`` x ``window`` a class."""
    from scipy.ndimage import uniform_filter
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    assert scene.labels is not None
    truth = scene.labels.values
    rng = np.random.default_rng(seed)
    train = np.zeros(truth.shape, bool)
    large = np.flatnonzero(scene.labels.counts() >= 60)
    for c in large:
        train.ravel()[rng.permutation(np.flatnonzero(truth == c))[:20]] = True
    test = np.isin(truth, large) & ~train
    cube = scene.read()
    if window > 1:
        cube = uniform_filter(cube, (window, window, 1), mode="nearest")
    scaler = StandardScaler().fit(cube[train])
    model = SVC(C=100, gamma=0.3 / cube.shape[2]).fit(scaler.transform(cube[train]), truth[train])
    return float(model.score(scaler.transform(cube[test]), truth[test]))


def test_same_seed_same_scene() -> None:
    a, b, c = (simulate_demo(seed, 40, 36, 20, 4) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a.read(), b.read())
    assert a.labels is not None
    assert b.labels is not None
    np.testing.assert_array_equal(a.labels.values, b.labels.values)
    assert not np.array_equal(a.read(), c.read())
    assert a.simulated
    assert a.shape == (40, 36, 20)
    assert a.source.dtype == np.uint16
    assert a.wavelengths is not None
    assert a.wavelengths[0] == 400
    assert "simulated" in a.notes[0]


def test_tall_scenes_have_no_seams() -> None:
    labels = LabelMap(np.zeros((150, 40), np.int64), (1,), ("one",))
    library = synthetic_library(1, 12, 0)
    scene = simulate_scene(labels, library, seed=0, difficulty=0, dtype="float32")
    steps = np.abs(np.diff(scene.read(), axis=0)).mean(axis=(1, 2))
    assert steps.max() < 1.6 * np.median(steps)


def test_class_statistics_follow_the_library() -> None:
    rng = np.random.default_rng(0)
    bands = 30
    mixing = rng.normal(0, 0.01, (bands, bands)).cumsum(axis=0) * 0.3
    spectra = np.concatenate(
        [0.3 + rng.standard_normal((400, bands)) @ mixing, 0.5 + 0.02 * rng.random((400, bands))]
    )
    library = SpectralLibrary.from_spectra(spectra, np.repeat([4, 9], 400), rank=30)
    assert library.names == ("class 4", "class 9")
    scene = simulate_scene(halves(200, 200), library, seed=1, dtype="float32")
    for c in range(2):
        x = pixels(scene, c)
        np.testing.assert_allclose(x.mean(axis=0), library.means[c], atol=0.04)
    spread = np.cov(pixels(scene, 0).T)
    own = library.covariance(0)
    correlation = np.corrcoef(spread.ravel(), own.ravel())[0, 1]
    assert correlation > 0.8


def test_library_from_spectra_is_the_shrunk_covariance() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(45, 8)) * np.arange(1, 9)
    y = np.repeat([1, 2, 3], 15)
    library = SpectralLibrary.from_spectra(x, y, rank=8, pooled_weight=15)
    pooled = sum(14 * np.cov(x[y == c].T) for c in (1, 2, 3)) / 42
    for c in range(3):
        own = np.cov(x[y == c + 1].T)
        np.testing.assert_allclose(library.covariance(c), 0.5 * own + 0.5 * pooled, rtol=1e-6)
        np.testing.assert_allclose(library.means[c], x[y == c + 1].mean(axis=0))
    few = SpectralLibrary.from_spectra(x, y, rank=3)
    np.testing.assert_allclose(
        np.diag(few.covariance(0)), np.diag(library.covariance(0)), rtol=1e-6
    )
    chosen = library.select([2, 0])
    assert chosen.names == ("class 3", "class 1")
    np.testing.assert_array_equal(chosen.means, library.means[[2, 0]])


def test_borders_mix_and_neighbours_are_alike() -> None:
    means = np.stack([np.full(6, 0.2), np.full(6, 0.6)])
    library = SpectralLibrary(
        ("a", "b"), means, np.full((2, 6, 1), 0.02), np.full((2, 6), 0.001), None
    )
    cube = simulate_scene(halves(), library, seed=0, dtype="float32").read()
    profile = cube.mean(axis=(0, 2))
    assert profile[20] < profile[31] < profile[32] < profile[44]
    assert 0.25 < profile[31] < 0.4
    field = cube[:, :26].mean(axis=2)
    field = field - field.mean()
    near = np.mean(field[:, 1:] * field[:, :-1]) / np.mean(field**2)
    far = np.mean(field[:, 20:] * field[:, :-20]) / np.mean(field**2)
    assert near > 0.5
    assert near > far + 0.3


def test_difficulty_is_monotone() -> None:
    easy, default, hard = (
        accuracy(simulate_demo(0, 64, 64, 32, 6, difficulty=d), 1) for d in (0.0, 0.5, 1.0)
    )
    assert easy > default > hard


def test_unlabelled_ground_is_filled() -> None:
    scene = simulate_demo(0, 80, 80, 16, 4)
    assert scene.labels is not None
    empty = scene.labels.values < 0
    assert 0.1 < empty.mean() < 0.7
    ground = scene.read()[empty]
    assert np.isfinite(ground).all()
    assert (ground.max(axis=1) > 100).mean() > 0.99


@pytest.mark.parametrize(("rows", "columns", "classes"), [(20, 20, 1), (33, 90, 7), (128, 64, 16)])
def test_random_label_map(rows: int, columns: int, classes: int) -> None:
    labels = random_label_map(rows, columns, classes, 5)
    assert labels.shape == (rows, columns)
    assert (labels.counts() > 0).all()
    assert labels.original == tuple(range(1, classes + 1))
    again = random_label_map(rows, columns, classes, 5)
    np.testing.assert_array_equal(labels.values, again.values)
    assert not np.array_equal(labels.values, random_label_map(rows, columns, classes, 6).values)
    # fields, not salt and pepper: most neighbours of a labelled pixel are of its class
    v = labels.values
    pairs = (v[:, 1:] >= 0) & (v[:, :-1] >= 0)
    assert (v[:, 1:] == v[:, :-1])[pairs].mean() > 0.9


def test_synthetic_spectra_are_plausible() -> None:
    library = synthetic_library(9, 120, 2)
    assert library.means.shape == (9, 120)
    assert library.means.min() > 0
    assert library.means.max() < 1
    assert np.abs(np.diff(library.means, axis=1)).max() < 0.12
    wave = np.array(library.wavelengths)
    vegetation = library.means[0]
    assert vegetation[np.abs(wave - 860).argmin()] > 2 * vegetation[np.abs(wave - 670).argmin()]
    distances = np.linalg.norm(library.means[:, None] - library.means[None], axis=2)
    assert distances[~np.eye(9, dtype=bool)].min() > 0.01


def test_saved_scene_opens_again(tmp_path: Path) -> None:
    scene = simulate_demo(1, 30, 28, 10, 3)
    assert scene.labels is not None
    path = save_scene(scene, tmp_path / "demo")
    assert path.name == "demo.npz"
    back = open_scene(path, label_variable="labels", names=scene.labels.names)
    assert back.labels is not None
    np.testing.assert_array_equal(back.read(), scene.read())
    np.testing.assert_array_equal(back.labels.values, scene.labels.values)
    assert back.labels.names == scene.labels.names
    assert back.labels.original == scene.labels.original
    with np.load(path, allow_pickle=False) as content:
        assert content["names"].tolist() == list(scene.labels.names)
        np.testing.assert_allclose(content["wavelengths"], scene.wavelengths)


def test_saved_scene_keeps_class_names_by_value_and_that_it_is_simulated(tmp_path: Path) -> None:
    values = np.array([[-1, 0, 0], [2, 2, 0]])
    # The second class has no pixel: names go by label value, not by order.
    labels = LabelMap(values, (3, 7, 9), ("water", "forest", "road"))
    scene = array_scene(np.arange(12.0).reshape(2, 3, 2), labels, simulated=True)
    path = save_scene(scene, tmp_path / "named.npz")
    back = open_scene(path, label_variable="labels")
    assert back.simulated
    assert back.labels is not None
    assert (back.labels.original, back.labels.names) == ((3, 9), ("water", "road"))
    other = open_scene(path, label_variable="labels", names={3: "lake"})
    assert other.labels is not None
    assert other.labels.names == ("lake", "class 9")
    real = array_scene(np.arange(12.0).reshape(2, 3, 2))
    assert not open_scene(save_scene(real, tmp_path / "real.npz")).simulated


def test_wrong_input() -> None:
    library = synthetic_library(3, 8, 0)
    with pytest.raises(DataError, match=r"3 classes, the label map 2"):
        simulate_scene(halves(), library, seed=0)
    with pytest.raises(DataError, match="between 0 and 1"):
        simulate_scene(halves(), library.select([0, 1]), seed=0, difficulty=2)
    with pytest.raises(DataError, match="uint16 or float32"):
        simulate_scene(halves(), library.select([0, 1]), seed=0, dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="class 2 has one spectrum"):
        SpectralLibrary.from_spectra(np.ones((3, 4)), [1, 1, 2])
    with pytest.raises(DataError, match="not finite"):
        SpectralLibrary.from_spectra(np.full((2, 4), np.nan), [1, 1])
    with pytest.raises(DataError, match="do not fit 3 labels"):
        SpectralLibrary.from_spectra(np.ones((2, 4)), [1, 1, 2])
    with pytest.raises(DataError, match="too few for 40 classes"):
        random_label_map(20, 20, 40, 0)


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulate("demo-simulated", seed=2).name == "demo-simulated"
    with pytest.raises(UnknownName, match="did you mean 'demo-simulated'"):
        simulate("demo-simulatd")
    monkeypatch.delenv("SWATH_DATA", raising=False)
    with pytest.raises(DataError, match="SWATH_DATA"):
        simulate("houston-simulated")
    with pytest.raises(DataError, match=r"no Indian_pines_gt\.mat"):
        simulate("indian-pines-simulated", tmp_path)
    assert set(SIMULATED) == {"demo-simulated", "houston-simulated", "indian-pines-simulated"}


def test_indian_pines(swath_data: Path) -> None:
    scene = simulate_indian_pines(swath_data, seed=0)
    assert scene.shape == (145, 145, 200)
    assert scene.simulated
    assert scene.labels is not None
    counts = dict(zip(scene.labels.names, scene.labels.counts().tolist(), strict=True))
    assert counts["Soybean-mintill"] == 2455
    assert counts["Oats"] == 20
    # what 20 labels a class give an untuned support vector machine (tuned: about .68, .84, .86)
    assert 0.58 < accuracy(scene, 1) < 0.74
    assert 0.74 < accuracy(scene, 5) < 0.88
    assert 0.77 < accuracy(scene, 9) < 0.90


def test_spectra_belong_to_their_classes(swath_data: Path) -> None:
    """The published training map, laid over the ground truth, gives the order of the classes."""
    import rasterio

    from swath.data import simulate as module

    with rasterio.open(swath_data / "indian_pines" / "IndianTR123_temp123.tif") as file:
        training = file.read(1)
    labels = open_labels(swath_data / "gt_maps" / "Indian_pines_gt.mat")
    truth = labels.to_original(labels.values)
    for c, value in enumerate(module._SPECTRALFORMER_INDIAN_PINES, start=1):
        under = truth[training == c]
        assert set(np.unique(under)) <= {0, value}
        assert (under == value).sum() >= 11
    numbers = module._spectra(swath_data, "Train_X.mat", "Train_X", 200)[1]
    assert numbers.tolist() == training.T[training.T > 0].tolist()


def test_houston_files(swath_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swath.data import simulate as module

    seen = {}
    scene = simulate_demo(0, 32, 32, 4, 2)

    def fake(labels: LabelMap, library: SpectralLibrary, **options: object) -> Scene:
        seen.update(labels=labels, library=library, **options)
        return scene

    monkeypatch.setattr(module, "simulate_scene", fake)
    simulate_houston(swath_data, seed=3)
    labels, library = seen["labels"], seen["library"]
    assert labels.shape == (349, 1905)
    assert labels.counts().sum() == 15029
    assert (library.classes, library.bands) == (15, 144)
    assert library.names[0] == labels.names[0] == "Healthy grass"
    assert seen["seed"] == 3
